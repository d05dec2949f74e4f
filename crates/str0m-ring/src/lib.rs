//! The cryptography of [str0m] by ring, which is what all of this workspace's TLS is by.
//!
//! str0m's own providers are aws-lc-rs, OpenSSL, and one in pure Rust whose certificates are made with aws-lc-rs all the same.
//! What ring has no function for, AES without a mode around it and in counter mode, is by the crate `aes`. DTLS is dimpl's, as
//! it is with str0m's own; which of its algorithms are there is in [`record`], [`exchange`] and [`signature`].
#![forbid(unsafe_code)]

mod certificate;
mod digest;
mod dtls;
mod exchange;
mod record;
mod signature;
mod srtp;

use std::sync::Arc;

use str0m::crypto::CryptoProvider;

/// All that is asked of a provider, str0m's and dimpl's.
#[derive(Debug)]
struct Ring;

/// What `RtcConfig::set_crypto_provider` takes.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        srtp_provider: &Ring,
        sha1_hmac_provider: &Ring,
        sha1_provider: &Ring,
        sha256_provider: &Ring,
        dtls_provider: &Ring,
    })
}
