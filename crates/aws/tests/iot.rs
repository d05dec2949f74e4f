//! Device certificates, against a credentials provider that demands one.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kvs_aws::{AwsContext, ErrorClass, IotCertificate};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    certificate: rustls_pki_types::CertificateDer<'static>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            certificate: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    /// Certificate and key.
    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// Writes a device's files, and the CA's.
    fn device(&self, folder: &Path) -> [PathBuf; 3] {
        let (certificate, key) = self.issue("device");
        let files = ["device.pem", "device.key", "ca.pem"].map(|name| folder.join(name));
        for (file, text) in files.iter().zip([certificate.pem(), key.serialize_pem(), self.pem.clone()]) {
            std::fs::write(file, text).unwrap();
        }
        files
    }
}

/// A provider that gives the credentials AKID1, AKID2, … for the role alias `camera` of the thing `front-door`.
async fn provider(authority: &Authority) -> String {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate.clone()).unwrap();
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), ring.clone()).build().unwrap();
    let (certificate, key) = authority.issue("localhost");
    let config = rustls::ServerConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("localhost:0").await.unwrap();
    let endpoint = format!("localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        let count = Arc::new(AtomicU32::new(0));
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, count) = (acceptor.clone(), count.clone());
            tokio::spawn(async move {
                let mut stream = BufReader::new(acceptor.accept(stream).await?);
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).await? > 0 {}
                let good = head.starts_with("GET /role-aliases/camera/credentials HTTP/1.1")
                    && head.to_ascii_lowercase().contains("\r\nx-amzn-iot-thingname: front-door\r\n")
                    && head.to_ascii_lowercase().contains("\r\nhost: localhost:");
                let (status, body) = if good {
                    ("200 OK", credentials(&count))
                } else {
                    ("403 Forbidden", "{\"message\":\"Access Denied\"}".to_owned())
                };
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).await?;
                stream.shutdown().await
            });
        }
    });
    endpoint
}

fn credentials(count: &AtomicU32) -> String {
    let number = count.fetch_add(1, Ordering::Relaxed) + 1;
    let end = time::OffsetDateTime::from(SystemTime::now() + Duration::from_secs(3600));
    let end = end.format(&time::format_description::well_known::Rfc3339).unwrap();
    format!(
        "{{\"credentials\":{{\"accessKeyId\":\"AKID{number}\",\"secretAccessKey\":\"topsecret\",\
         \"sessionToken\":\"token{number}\",\"expiration\":\"{end}\"}}}}"
    )
}

fn certificate(endpoint: &str, [cert, key, ca]: &[PathBuf; 3]) -> IotCertificate {
    IotCertificate {
        endpoint: endpoint.to_owned(),
        cert_path: cert.clone(),
        key_path: key.clone(),
        ca_path: ca.clone(),
        role_alias: "camera".to_owned(),
        thing_name: "front-door".to_owned(),
        connect_timeout: Duration::from_secs(3),
        completion_timeout: Duration::from_secs(5),
    }
}

async fn context(certificate: IotCertificate) -> AwsContext {
    AwsContext::builder().region("eu-central-1").credentials_provider(certificate).build().await.unwrap()
}

struct Bench {
    authority: Authority,
    endpoint: String,
    folder: TempDir,
}

async fn bench() -> Bench {
    let authority = Authority::new();
    let endpoint = provider(&authority).await;
    Bench { authority, endpoint, folder: tempfile::tempdir().unwrap() }
}

#[tokio::test]
async fn a_device_certificate_buys_credentials_and_new_ones_when_they_are_refused() {
    let it = bench().await;
    let context = context(certificate(&it.endpoint, &it.authority.device(it.folder.path()))).await;
    let first = context.credentials().await.unwrap();
    assert_eq!((first.access_key_id(), first.session_token()), ("AKID1", Some("token1")));
    let life = first.expiry().unwrap().duration_since(UNIX_EPOCH).unwrap();
    assert!(life > SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(3500));
    assert_eq!(context.credentials().await.unwrap().access_key_id(), "AKID1");
    // Another certificate has come in the meantime.
    it.authority.device(it.folder.path());
    context.invalidate_credentials().await;
    assert_eq!(context.credentials().await.unwrap().access_key_id(), "AKID2");
}

#[tokio::test]
async fn what_goes_wrong_is_named_and_nothing_secret_shown() {
    let it = bench().await;
    let files = it.authority.device(it.folder.path());
    let good = certificate(&it.endpoint, &files);
    let stranger = tempfile::tempdir().unwrap();
    let strange = Authority::new().device(stranger.path());
    let missing = it.folder.path().join("missing.pem");
    let closed = TcpListener::bind("localhost:0").await.unwrap().local_addr().unwrap();
    use ErrorClass::{AccessDenied, Network};
    for (bad, words, class) in [
        (
            IotCertificate { role_alias: "other".to_owned(), ..good.clone() },
            "403: Access Denied",
            AccessDenied,
        ),
        (
            IotCertificate { thing_name: "other".to_owned(), ..good.clone() },
            "403: Access Denied",
            AccessDenied,
        ),
        (IotCertificate { thing_name: "a\nb".to_owned(), ..good.clone() }, "thing name", AccessDenied),
        (IotCertificate { cert_path: missing.clone(), ..good.clone() }, "missing.pem", AccessDenied),
        (
            IotCertificate { key_path: files[0].clone(), ..good.clone() },
            "private key (key-path)",
            AccessDenied,
        ),
        (IotCertificate { ca_path: files[1].clone(), ..good.clone() }, "no certificate", AccessDenied),
        (IotCertificate { ca_path: strange[2].clone(), ..good.clone() }, &it.endpoint, Network),
        (
            IotCertificate { cert_path: strange[0].clone(), key_path: strange[1].clone(), ..good.clone() },
            &it.endpoint,
            Network,
        ),
        (
            IotCertificate { endpoint: format!("localhost:{}", closed.port()), ..good.clone() },
            "refused",
            Network,
        ),
        (IotCertificate { endpoint: "https://x/y".to_owned(), ..good.clone() }, "no host", AccessDenied),
    ] {
        let error = context(bad).await.credentials().await.unwrap_err();
        assert!(error.to_string().contains(words), "{error} does not say {words}");
        assert_eq!(error.class(), class, "{error}");
        assert!(!error.to_string().contains("PRIVATE"), "{error}");
    }
}
