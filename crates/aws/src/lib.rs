//! One [`AwsContext`] for everything in kvs-ingest that talks to AWS: credentials from the default chain and role
//! chaining, endpoints, TLS roots, connections, Signature Version 4, clock skew, and errors sorted by what to do about
//! them; and how long to wait before the next attempt.
#![forbid(unsafe_code)]

mod backoff;
mod causes;
mod class;
mod clock;
mod connect;
mod context;
mod credential_file;
mod credentials;
mod error_response;
mod http;
mod iot;
mod proxy;
mod sign;
mod tls;

pub use self::backoff::Backoff;
pub use self::causes::causes;
pub use self::class::{ErrorClass, classify_sdk};
pub use self::connect::{ConnectError, Connection, Peer, Security};
pub use self::context::{AwsContext, AwsContextBuilder, ContextError, CredentialsError};
pub use self::credential_file::CredentialFile;
pub use self::credentials::AssumeRole;
pub use self::error_response::ErrorResponse;
pub use self::iot::IotCertificate;
pub use self::proxy::{ProxyError, is_direct};
pub use self::sign::SignError;
pub use self::tls::{CA_BUNDLE, TlsError};
pub use aws_credential_types::provider::ProvideCredentials;
