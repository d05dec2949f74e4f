//! The TLS listener: the CA of the data folder is enough to trust it, for REST and for signaling.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::{Value, json};
use support::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

async fn connect(kvs: &Kvs, name: &str) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let ca = CertificateDer::from_pem_file(kvs.data.path().join("ca.pem")).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let address = kvs.server.tls_url().unwrap().replace("https://", "");
    let socket = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, socket).await
}

#[tokio::test]
async fn one_ca_for_rest_and_signaling() {
    let kvs = start(|config| {
        config.tls_listen = Some("127.0.0.1:0".parse().unwrap());
        config.tls_names = vec!["kvs.test".to_owned()];
    })
    .await;
    let arn = channel(&kvs.server, "c").await;
    let url = kvs.server.tls_url().unwrap();
    let host = url.strip_prefix("https://").unwrap();
    let mut socket = connect(&kvs, "localhost").await.unwrap();
    let body = json!({ "ChannelARN": arn, "SingleMasterChannelEndpointConfiguration": { "Protocols": ["WSS", "HTTPS"] } });
    let request = signed(host, KEY, REGION, 0, "/getSignalingChannelEndpoint", &body.to_string());
    socket.write_all(&request).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    let reply = parse(&answer);
    let list: Vec<Value> = reply.json()["ResourceEndpointList"].as_array().unwrap().clone();
    // a caller over TLS gets endpoints with TLS
    assert!(
        list.contains(&json!({ "Protocol": "WSS", "ResourceEndpoint": format!("wss://{host}") })),
        "{list:?}"
    );
    assert!(list.contains(&json!({ "Protocol": "HTTPS", "ResourceEndpoint": url })), "{list:?}");

    for name in ["127.0.0.1", "kvs.test"] {
        connect(&kvs, name).await.unwrap();
    }
    assert!(connect(&kvs, "other.test").await.is_err());

    let socket = connect(&kvs, "localhost").await.unwrap();
    let wss = format!("wss://{host}{}", signaling_query(host, &arn, Some("v"), 0));
    let (mut viewer, _) = tokio_tungstenite::client_async(wss, socket).await.unwrap();
    let state = console(&kvs.server, "GET", "state", "").await.json();
    assert_eq!(state["channels"][0]["viewers"], json!(["v"]));
    viewer.close(None).await.unwrap();
}

#[tokio::test]
async fn the_ca_stays_the_same() {
    let data = tempfile::tempdir().unwrap();
    let mut certificates = Vec::new();
    for _ in 0..2 {
        let mut config = config(&data);
        config.tls_listen = Some("127.0.0.1:0".parse().unwrap());
        let server = kvs_local::Server::start(config).await.unwrap();
        certificates.push(std::fs::read(data.path().join("ca.pem")).unwrap());
        let kvs = Kvs { server, data: tempfile::tempdir().unwrap() };
        std::fs::copy(data.path().join("ca.pem"), kvs.data.path().join("ca.pem")).unwrap();
        connect(&kvs, "localhost").await.unwrap();
        kvs.server.shutdown().await;
    }
    assert_eq!(certificates[0], certificates[1]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(data.path().join("ca-key.pem")).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }
}
