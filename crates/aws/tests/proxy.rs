//! Proxies: what goes through them, and what is said when one refuses. The hosts are names that only the proxy knows.
//!
//! As in `environment.rs`, each test has its other half (`child_…`) in a process of its own.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kvs_aws::{AwsContext, ConnectError, ContextError, IotCertificate, ProvideCredentials};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls_pki_types::PrivateKeyDer;
use support::{Answer, Server, in_environment, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use url::Url;

/// A CA, and an acceptor for what it has issued.
struct Tls {
    folder: tempfile::TempDir,
    acceptor: TlsAcceptor,
}

impl Tls {
    fn new(names: &[&str]) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let authority = params.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        Self { folder, acceptor: TlsAcceptor::from(Arc::new(config)) }
    }

    fn bundle(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A TLS server that answers everything with `body`.
    async fn serve(&self, body: String) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = self.acceptor.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, body) = (acceptor.clone(), body.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let script = move |_: &support::Request, _| Answer(200, vec![], body.clone());
                    serve(stream, Arc::default(), Arc::new(script)).await;
                });
            }
        });
        address
    }
}

/// The heads of the requests that a proxy got.
type Heads = Arc<Mutex<Vec<String>>>;

/// A proxy whose every name is `target`; without one it answers with `refusal`, whatever that is.
async fn proxy(target: Option<SocketAddr>, refusal: &'static str, tls: Option<TlsAcceptor>) -> (u16, Heads) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heads = Heads::default();
    let seen = heads.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (seen, tls) = (seen.clone(), tls.clone());
            tokio::spawn(async move {
                match tls {
                    None => tunnel(stream, target, refusal, seen).await,
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => tunnel(stream, target, refusal, seen).await,
                        Err(error) => panic!("{error}"),
                    },
                }
            });
        }
    });
    (port, heads)
}

async fn tunnel(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    target: Option<SocketAddr>,
    refusal: &str,
    heads: Heads,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    heads.lock().unwrap().push(String::from_utf8(head).unwrap());
    let Some(target) = target else {
        let _ = stream.write_all(refusal.as_bytes()).await;
        let _ = stream.shutdown().await;
        return;
    };
    let mut far = TcpStream::connect(target).await.unwrap();
    stream.write_all(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n").await.unwrap();
    let _ = copy_bidirectional(&mut stream, &mut far).await;
}

/// What STS answers to AssumeRoleWithWebIdentity.
fn sts() -> String {
    let end = time::OffsetDateTime::now_utc() + time::Duration::hours(2);
    let end = end.format(&time::format_description::well_known::Rfc3339).unwrap();
    format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>AKIDWEB</AccessKeyId><SecretAccessKey>s\
         </SecretAccessKey><SessionToken>t</SessionToken><Expiration>{end}</Expiration></Credentials>\
         <AssumedRoleUser><AssumedRoleId>x:y</AssumedRoleId><Arn>arn:aws:sts::111122223333:assumed-role/r/y</Arn>\
         </AssumedRoleUser></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
    )
}

/// Nobody here is that slow.
const LIMIT: Duration = Duration::from_secs(60);

const REGION: (&str, &str) = ("AWS_REGION", "eu-west-1");

/// Runs a child whose credentials are an exchange with `https://sts.test`.
async fn with_web_identity(child: &str, variables: &[(&str, &str)]) {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "the-token").unwrap();
    let mut all = vec![
        REGION,
        ("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/r"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
        ("AWS_ENDPOINT_URL_STS", "https://sts.test"),
    ];
    all.extend_from_slice(variables);
    in_environment(child, &all).await;
}

/// The answer to a `GET` over this connection.
async fn get(context: &AwsContext, url: &str) -> String {
    let url = Url::parse(url).unwrap();
    let mut connection = context.connect(&url, LIMIT).await.unwrap();
    connection.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // the server closes without TLS's own goodbye, or with it
    let _ = connection.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn credentials_and_connections_go_through_the_proxy_that_is_for_them() {
    let tls = Tls::new(&["sts.test", "kvs.test", "127.0.0.1"]);
    let secure = tls.serve(sts()).await;
    let plain = Server::start(|_, _| Answer(200, vec![], "plain".to_owned())).await;
    let plain: SocketAddr = plain.url.strip_prefix("http://").unwrap().parse().unwrap();
    for tls_to_proxy in [None, Some(tls.acceptor.clone())] {
        let scheme = if tls_to_proxy.is_some() { "https" } else { "http" };
        let (https, https_heads) = proxy(Some(secure), "", tls_to_proxy.clone()).await;
        let (http, http_heads) = proxy(Some(plain), "", tls_to_proxy).await;
        with_web_identity(
            "child_through",
            &[
                ("AWS_CA_BUNDLE", tls.bundle().to_str().unwrap()),
                ("HTTPS_PROXY", &format!("{scheme}://user:p%40ss@127.0.0.1:{https}")),
                ("http_proxy", &format!("{scheme}://127.0.0.1:{http}")),
            ],
        )
        .await;
        let heads = https_heads.lock().unwrap().clone();
        let targets: Vec<_> = heads.iter().map(|head| head.lines().next().unwrap()).collect();
        assert_eq!(targets, ["CONNECT sts.test:443 HTTP/1.1", "CONNECT kvs.test:8443 HTTP/1.1"]);
        for head in heads {
            let head = head.to_ascii_lowercase();
            assert!(head.contains("proxy-authorization: basic dxnlcjpwqhnz\r\n"), "{head}");
        }
        let heads = http_heads.lock().unwrap().clone();
        assert_eq!(heads.len(), 1);
        assert!(heads[0].starts_with("CONNECT kvs.test:80 HTTP/1.1\r\n"), "{}", heads[0]);
        assert!(!heads[0].to_ascii_lowercase().contains("authorization"), "{}", heads[0]);
    }
}

#[tokio::test]
#[ignore = "runs in a process of its own"]
async fn child_through() {
    let context = AwsContext::builder().build().await.unwrap();
    assert_eq!(context.credentials().await.unwrap().access_key_id(), "AKIDWEB");
    assert!(get(&context, "wss://kvs.test:8443/").await.contains("AKIDWEB"));
    assert!(get(&context, "ws://kvs.test/").await.ends_with("plain"));
}

#[tokio::test]
async fn the_certificate_is_the_targets_and_no_proxy_can_be_another() {
    let tls = Tls::new(&["elsewhere.test"]);
    let secure = tls.serve(String::new()).await;
    let (port, _) = proxy(Some(secure), "", None).await;
    let proxy = format!("127.0.0.1:{port}");
    let bundle = tls.bundle();
    in_environment(
        "child_wrong_certificate",
        &[REGION, ("HTTPS_PROXY", &proxy), ("AWS_CA_BUNDLE", bundle.to_str().unwrap())],
    )
    .await;
}

#[tokio::test]
#[ignore = "runs in a process of its own"]
async fn child_wrong_certificate() {
    let context = AwsContext::builder().build().await.unwrap();
    let error =
        context.connect(&Url::parse("https://kvs.test").unwrap(), LIMIT).await.err().unwrap().to_string();
    assert!(error.starts_with("no TLS with kvs.test:443: "), "{error}");
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_with_its_answer_and_without_its_password() {
    // the SDK tries three times, and waits in between: all at once
    let mut cases = tokio::task::JoinSet::new();
    for (refusal, user, said) in [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 3\r\n\r\nno!",
            "",
            "answered 407 Proxy Authentication Required to CONNECT sts.test:443: it wants a user and a password",
        ),
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
            "user:hunter2@",
            "answered 407 Proxy Authentication Required to CONNECT sts.test:443: it does not take the user",
        ),
        (
            "HTTP/1.0 403 Filtered\r\nContent-Length: 6\r\n\r\n<html>",
            "user:hunter2@",
            "answered 403 Forbidden to CONNECT sts.test:443: it must allow",
        ),
        (
            "HTTP/1.1 502 Bad Gateway\r\n\r\n",
            "",
            "answered 502 Bad Gateway to CONNECT sts.test:443: it does not reach the host",
        ),
        ("SSH-2.0-OpenSSH_9.2p1\r\n", "user:hunter2@", "gave no answer to CONNECT sts.test:443: "),
        ("", "user:hunter2@", "gave no answer to CONNECT sts.test:443: "),
    ] {
        let (port, _) = proxy(None, refusal, None).await;
        let url = format!("http://{user}127.0.0.1:{port}");
        let said = format!("the proxy http://127.0.0.1:{port} (HTTPS_PROXY) {said}");
        cases.spawn(async move {
            with_web_identity("child_refused", &[("HTTPS_PROXY", &url), ("EXPECTED", &said)]).await;
        });
    }
    while let Some(case) = cases.join_next().await {
        case.unwrap();
    }
}

/// The signaling and media connections, the SDK's calls and those to AWS IoT all say the same.
#[tokio::test]
#[ignore = "runs in a process of its own"]
async fn child_refused() {
    let expected = std::env::var("EXPECTED").unwrap();
    let context = AwsContext::builder().build().await.unwrap();
    let connect = context.connect(&Url::parse("https://sts.test").unwrap(), LIMIT).await.err().unwrap();
    let credentials = context.credentials().await.unwrap_err();
    let folder = tempfile::tempdir().unwrap();
    let device = device(&folder, "sts.test");
    let iot = device.provide_credentials().await.unwrap_err();
    for said in [
        kvs_aws::causes(&connect),
        format!("{connect:?}"),
        kvs_aws::causes(&credentials),
        kvs_aws::causes(&iot),
    ] {
        assert!(!said.contains("hunter2") && !said.contains("aHVudGVy"), "{said}");
        if !said.starts_with("ProxyRefused") && !said.starts_with("ProxyBroken") {
            assert!(said.contains(&expected), "{said}");
        }
    }
    assert!(!format!("{credentials:?}{iot:?}{context:?}").contains("hunter2"));
}

/// A device of AWS IoT with files that are all right.
fn device(folder: &tempfile::TempDir, endpoint: &str) -> IotCertificate {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["x".to_owned()]).unwrap().self_signed(&key).unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    IotCertificate {
        endpoint: endpoint.to_owned(),
        cert_path: file("cert.pem", certificate.pem()),
        key_path: file("key.pem", key.serialize_pem()),
        ca_path: file("ca.pem", certificate.pem()),
        role_alias: "camera".to_owned(),
        thing_name: "front-door".to_owned(),
        connect_timeout: Duration::from_secs(20),
        completion_timeout: Duration::from_secs(20),
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_there_or_cannot_be_is_named() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    in_environment("child_gone", &[REGION, ("https_proxy", &gone.to_string())]).await;
    let socks = |name| (name, "socks5://u:hunter2@proxy.test:1080");
    in_environment("child_socks", &[REGION, socks("HTTPS_PROXY"), ("VARIABLE", "HTTPS_PROXY")]).await;
    let custom = ("AWS_ENDPOINT_URL_KINESIS_VIDEO", "http://kvs.test");
    in_environment("child_socks", &[REGION, socks("http_proxy"), custom, ("VARIABLE", "http_proxy")]).await;
}

/// Whoever set it for all programs of a machine does not stop those that call nobody by it.
#[tokio::test]
async fn a_variable_that_nothing_goes_by_may_say_what_it_likes() {
    let socks = |name| (name, "socks5://u:hunter2@proxy.test:1080");
    let no_proxy = ("NO_PROXY", "kvs.test,.amazonaws.com");
    let custom = |url| ("AWS_ENDPOINT_URL_KINESIS_VIDEO", url);
    for variables in [
        vec![REGION, socks("HTTP_PROXY")],
        vec![REGION, socks("HTTPS_PROXY"), no_proxy],
        vec![REGION, socks("HTTPS_PROXY"), custom("http://127.0.0.1:1")],
        vec![REGION, socks("HTTP_PROXY"), custom("http://kvs.test"), no_proxy],
        vec![("AWS_REGION", "cn-north-1"), socks("HTTPS_PROXY"), ("NO_PROXY", ".amazonaws.com.cn")],
    ] {
        in_environment("child_another_way", &variables).await;
    }
}

/// What would go by it says so.
#[tokio::test]
#[ignore = "runs in a process of its own"]
async fn child_another_way() {
    let context = AwsContext::builder().build().await.unwrap();
    let scheme = if std::env::var_os("HTTP_PROXY").is_some() { "http" } else { "https" };
    let url = Url::parse(&format!("{scheme}://elsewhere.test")).unwrap();
    let error = context.connect(&url, LIMIT).await.err().unwrap();
    assert!(matches!(error, ConnectError::Proxy { .. }), "{error:?}");
    let error = format!("{error} {error:?}");
    assert!(error.contains("_PROXY names no proxy: only http") && !error.contains("hunter2"), "{error}");
}

#[tokio::test]
#[ignore = "runs in a process of its own"]
async fn child_gone() {
    let context = AwsContext::builder().build().await.unwrap();
    let error =
        context.connect(&Url::parse("https://kvs.test").unwrap(), LIMIT).await.err().unwrap().to_string();
    assert!(error.starts_with("cannot reach the proxy http://127.0.0.1:"), "{error}");
    assert!(error.contains("(https_proxy)") && error.contains("kvs.test:443"), "{error}");
}

#[tokio::test]
#[ignore = "runs in a process of its own"]
async fn child_socks() {
    let error = AwsContext::builder().build().await.unwrap_err();
    assert!(matches!(error, ContextError::Proxy(_)), "{error:?}");
    let error = format!("{error} {error:?}");
    let variable = std::env::var("VARIABLE").unwrap();
    assert!(error.starts_with(&variable) && !error.contains("hunter2"), "{error}");
}
