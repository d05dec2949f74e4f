//! AWS IoT Core's credentials provider on localhost: credentials for whoever has a certificate of its CA.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::PrivateKeyDer;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// The provider, until it is dropped.
pub struct CredentialsProvider {
    /// `localhost:PORT`
    pub endpoint: String,
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub ca: PathBuf,
    served: Arc<AtomicU32>,
    task: tokio::task::JoinHandle<()>,
}

impl CredentialsProvider {
    /// Gives these keys, for `life`, to who asks for the role alias `camera` of the thing `front-door`.
    pub async fn start(folder: &Path, access_key: &str, secret_key: &str, life: Duration) -> Result<Self> {
        let ca_key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let ca = params.self_signed(&ca_key)?;
        let issuer = Issuer::new(params, ca_key);
        let issue = |name: &str| {
            let key = KeyPair::generate()?;
            let certificate = CertificateParams::new(vec![name.to_owned()])?.signed_by(&key, &issuer)?;
            Ok::<_, rcgen::Error>((certificate, key))
        };
        let files = ["device.pem", "device.key", "ca.pem"].map(|name| folder.join(name));
        let (device, device_key) = issue("device")?;
        for (file, text) in files.iter().zip([device.pem(), device_key.serialize_pem(), ca.pem()]) {
            std::fs::write(file, text)?;
        }
        let mut roots = RootCertStore::empty();
        roots.add(ca.der().clone())?;
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), ring.clone()).build()?;
        let (server, server_key) = issue("localhost")?;
        let private = PrivateKeyDer::try_from(server_key.serialize_der()).map_err(anyhow::Error::msg)?;
        let config = rustls::ServerConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![server.der().clone()], private)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("localhost:0").await?;
        let endpoint = format!("localhost:{}", listener.local_addr()?.port());
        let served = Arc::new(AtomicU32::new(0));
        let [certificate, key, ca] = files;
        let task = tokio::spawn({
            let (served, keys) = (served.clone(), (access_key.to_owned(), secret_key.to_owned()));
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let (acceptor, served, keys) = (acceptor.clone(), served.clone(), keys.clone());
                    // Who has no certificate fails here, and nobody else minds.
                    tokio::spawn(async move { answer(stream, acceptor, &served, &keys, life).await });
                }
            }
        });
        Ok(Self { endpoint, certificate, key, ca, served, task })
    }

    /// How often credentials were given.
    pub fn served(&self) -> u32 {
        self.served.load(Ordering::Relaxed)
    }
}

impl Drop for CredentialsProvider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    served: &AtomicU32,
    (access_key, secret_key): &(String, String),
    life: Duration,
) -> Result<()> {
    let mut stream = BufReader::new(acceptor.accept(stream).await?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).await? > 0 {}
    let good = head.starts_with("GET /role-aliases/camera/credentials HTTP/1.1\r\n")
        && head.to_ascii_lowercase().contains("\r\nx-amzn-iot-thingname: front-door\r\n");
    let (status, body) = if good {
        let number = served.fetch_add(1, Ordering::Relaxed);
        let end = OffsetDateTime::from(SystemTime::now() + life).format(&Rfc3339)?;
        let body = serde_json::json!({"credentials": {
            "accessKeyId": access_key,
            "secretAccessKey": secret_key,
            "sessionToken": format!("token{number}"),
            "expiration": end,
        }});
        ("200 OK", body)
    } else {
        ("403 Forbidden", serde_json::json!({"message": "Access Denied"}))
    };
    let body = body.to_string();
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    Ok(())
}
