//! The TLS listener's certificates: a CA made once per data folder (`ca.pem`, for `AWS_CA_BUNDLE`), and a server
//! certificate made at each start.

use std::{fs, io::Write, net::IpAddr, path::Path, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls_pki_types::PrivateKeyDer;

use crate::private;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// For a listener that is reached by these IPs, which are in the certificate unless they stand for every address. `protocols`
/// are those of ALPN; without any, clients may ask for what they like.
pub(crate) fn acceptor(
    data: &Path,
    ips: &[IpAddr],
    names: &[String],
    protocols: &[&str],
) -> Result<tokio_rustls::TlsAcceptor, Error> {
    let issuer = authority(data)?;
    let mut all: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    let own = ips.iter().filter(|ip| !ip.is_unspecified()).map(IpAddr::to_string);
    for name in own.chain(names.iter().cloned()) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    let mut params = CertificateParams::new(all)?;
    params.distinguished_name.push(DnType::CommonName, "kvs-local");
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;
    let private = PrivateKeyDer::try_from(key.serialize_der()).map_err(|e| e.to_owned())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)?;
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Ok(tokio_rustls::TlsAcceptor::from(Arc::new(config)))
}

/// The CA of the data folder, made when it is not there.
fn authority(data: &Path) -> Result<Issuer<'static, KeyPair>, Error> {
    let (certificate, key) = (data.join("ca.pem"), data.join("ca-key.pem"));
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name.push(DnType::CommonName, "kvs-local CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    if certificate.exists() && key.exists() {
        let pair = KeyPair::from_pem(&fs::read_to_string(key)?)?;
        return Ok(Issuer::new(params, pair));
    }
    let pair = KeyPair::generate()?;
    private::empty_file(&key)?.write_all(pair.serialize_pem().as_bytes())?;
    fs::write(&certificate, params.self_signed(&pair)?.pem())?;
    Ok(Issuer::new(params, pair))
}
