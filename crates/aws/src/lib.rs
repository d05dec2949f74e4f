//! One [`AwsContext`] for everything in kvs-ingest that talks to AWS: credentials from the default chain and role
//! chaining, endpoints, TLS roots, Signature Version 4, clock skew, and errors sorted by what to do about them.
#![forbid(unsafe_code)]

mod class;
mod clock;
mod context;
mod credential_file;
mod credentials;
mod http;
mod iot;
pub mod sign;
mod tls;

pub use self::class::{ErrorClass, classify_credentials, classify_http, classify_sdk};
pub use self::clock::Clock;
pub use self::context::{
    AssumeRole, AwsContext, AwsContextBuilder, CA_BUNDLE, ContextError, CredentialsError,
};
pub use self::credential_file::CredentialFile;
pub use self::iot::IotCertificate;
pub use self::tls::TlsError;
pub use aws_credential_types::provider::ProvideCredentials;
