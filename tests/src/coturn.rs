//! A TURN server that nobody here wrote (coturn), over UDP, TCP and TLS, and GetIceServerConfig that names it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::{certificate, proxy};

/// KVS's has a colon in it, which ends a name on coturn's command line.
const USER: &str = "camera";
const PASSWORD: &str = "p-ss";

/// A running coturn; killed when dropped.
pub struct Coturn {
    _child: Child,
    /// Over UDP and TCP.
    pub plain: SocketAddr,
    pub tls: SocketAddr,
    /// For `AWS_CA_BUNDLE`: its certificate names `localhost`, and what a [`proxy::Proxy`] knows.
    pub ca: PathBuf,
    log: PathBuf,
}

impl Coturn {
    /// Starts one that keeps its files in `folder`. `None` where there is none.
    pub async fn start(folder: &Path) -> Result<Option<Self>> {
        if Command::new("turnserver").arg("--version").output().await.is_err() {
            return Ok(None);
        }
        let issued = certificate::issue(vec!["localhost".to_owned(), proxy::NAME.to_owned()])?;
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).map(|()| path)
        };
        let ca = write("turn-ca.pem", issued.authority)?;
        let certificate = write("turn.pem", issued.certificate)?;
        let key = write("turn.key", issued.key)?;
        // It takes no port of the system's choice, and one for UDP and TCP.
        let free = || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
            let address = listener.local_addr()?;
            std::net::UdpSocket::bind(address)?;
            Ok::<_, std::io::Error>((listener, address))
        };
        let ((one, plain), (other, tls)) = (free()?, free()?);
        drop((one, other));
        let log = folder.join("coturn.log");
        let output = std::fs::File::create(&log)?;
        let port = |address: SocketAddr| address.port().to_string();
        let child = Command::new("turnserver")
            .args(["-n", "--no-cli", "--no-dtls", "--lt-cred-mech", "--realm=test", "--allow-loopback-peers"])
            .args(["--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", "--log-file=stdout", "--simple-log"])
            .args(["--listening-port", &port(plain), "--tls-listening-port", &port(tls)])
            .args(["--user", &format!("{USER}:{PASSWORD}"), "--relay-threads=1"])
            .arg("--cert")
            .arg(&certificate)
            .arg("--pkey")
            .arg(&key)
            .arg("--pidfile")
            .arg(folder.join("coturn.pid"))
            .arg("--userdb")
            .arg(folder.join("coturn.db"))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start turnserver")?;
        let coturn = Self { _child: child, plain, tls, ca, log };
        let deadline = Instant::now() + Duration::from_secs(20);
        for address in [plain, tls] {
            while TcpStream::connect(address).await.is_err() {
                if Instant::now() > deadline {
                    bail!("coturn does not listen on {address}:\n{}", coturn.log());
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(Some(coturn))
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// Answers GetIceServerConfig in the place of kvs-local, until it is dropped.
pub struct IceConfig {
    /// For `AWS_ENDPOINT_URL_KINESIS_VIDEO_SIGNALING`.
    pub url: String,
    task: JoinHandle<()>,
}

impl IceConfig {
    /// With these URIs and coturn's user.
    pub async fn start(uris: &[String]) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let named: Arc<[String]> = uris.into();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let named = named.clone();
                let service = service_fn(move |request| answer(request, named.clone()));
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        Ok(Self { url, task })
    }
}

impl Drop for IceConfig {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    request: Request<Incoming>,
    uris: Arc<[String]>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let is_it = request.uri().path() == "/v1/get-ice-server-config";
    request.into_body().collect().await?;
    let body: Value = json!({
        "IceServerList": [{ "Uris": *uris, "Username": USER, "Password": PASSWORD, "Ttl": 300 }],
    });
    let mut answer = Response::new(Full::from(body.to_string()));
    if !is_it {
        *answer.status_mut() = hyper::StatusCode::NOT_FOUND;
    }
    Ok(answer)
}
