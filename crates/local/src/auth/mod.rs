//! Who is calling: AWS Signature Version 4, verified here with nothing but HMAC and SHA-256.

mod canonical;
mod extract;
mod keys;
mod sigv4;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod vectors;

pub use self::extract::{Caller, Signed, authorize};
pub use self::keys::{AccessKey, KeyRing, TemporaryKey};
pub use self::sigv4::{PayloadHash, Request, Verified, verify};
