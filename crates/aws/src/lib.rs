//! One [`AwsContext`] for everything in kvs-ingest that talks to AWS: credentials from the default chain and role
//! chaining, endpoints, TLS roots, Signature Version 4, clock skew, and errors sorted by what to do about them.
#![forbid(unsafe_code)]

mod class;
mod clock;
mod context;
mod credentials;
mod http;
pub mod sign;
mod tls;

pub use self::class::{ErrorClass, classify_credentials, classify_http, classify_sdk};
pub use self::clock::Clock;
pub use self::context::{
    AssumeRole, AwsContext, AwsContextBuilder, CA_BUNDLE, ContextError, CredentialsError,
};
pub use self::tls::TlsError;
