//! Certificates for servers of the tests, each of an authority that nobody else knows.

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// A server's certificate: all of it in PEM.
pub struct Issued {
    pub authority: String,
    pub certificate: String,
    pub key: String,
}

/// For a server of these names and addresses.
pub fn issue(names: Vec<String>) -> Result<Issued> {
    let authority_key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let authority = params.self_signed(&authority_key)?.pem();
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(names)?.signed_by(&key, &Issuer::new(params, authority_key))?;
    Ok(Issued { authority, certificate: certificate.pem(), key: key.serialize_pem() })
}
