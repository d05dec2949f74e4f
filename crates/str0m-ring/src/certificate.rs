//! Certificates of our own.

use rcgen::{CertificateParams, DnType, Error, KeyPair};
use str0m::crypto::dtls::DtlsCert;

/// One that signs itself, with a key of P-256: who it is says the fingerprint in the SDP (RFC 8827 section 6.5).
pub(crate) fn generate() -> Result<DtlsCert, Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "WebRTC");
    let certificate = params.self_signed(&key)?;
    Ok(DtlsCert { certificate: certificate.der().to_vec(), private_key: key.serialize_der() })
}
