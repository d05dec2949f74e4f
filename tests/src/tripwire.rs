//! Stands between the operator and what it writes to, the API server and KVS, and stops it at its next write: what is
//! written is done, and the answer never comes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::Client;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// Both ways of one operator.
pub struct Tripwire {
    shared: Arc<Shared>,
    api_server: SocketAddr,
    kvs: SocketAddr,
}

#[derive(Default)]
struct Shared {
    armed: AtomicBool,
    tripped: Notify,
    /// The last write at which an operator ended: path and body.
    last: Mutex<(String, Bytes)>,
}

impl Shared {
    /// Has the operator to end at this write? Not if the one before has ended at the very same: it had not written down yet
    /// that this was done, nor would the next one ever.
    fn trips(&self, path: &str, body: &Bytes) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if *last == (path.to_owned(), body.clone()) || !self.armed.swap(false, Ordering::SeqCst) {
            return false;
        }
        *last = (path.to_owned(), body.clone());
        true
    }
}

impl Tripwire {
    /// `client` has the operator's rights; `kvs` is the address of a `kvs-local`.
    pub async fn new(client: Client, kvs: &str) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let kvs = kvs.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let to_api_server = {
            let shared = shared.clone();
            serve(move |request| to_api_server(request, client.clone(), shared.clone())).await?
        };
        let to_kvs = {
            let shared = shared.clone();
            serve(move |request| to_kvs(request, kvs.clone(), shared.clone())).await?
        };
        Ok(Self { shared, api_server: to_api_server, kvs: to_kvs })
    }

    /// The next write is the operator's last.
    pub fn arm(&self) {
        self.shared.armed.store(true, Ordering::SeqCst);
    }

    /// Comes back when that was done.
    pub async fn tripped(&self) {
        self.shared.tripped.notified().await;
    }

    /// Where KVS is, by this way.
    pub fn kvs(&self) -> String {
        format!("http://{}", self.kvs)
    }

    /// The kubeconfig of this way, made of another one.
    pub fn kubeconfig(&self, of: &Path, folder: &Path) -> Result<PathBuf> {
        let mut config: Value = serde_yaml_ng::from_slice(&std::fs::read(of)?)?;
        let cluster = &mut config["clusters"][0]["cluster"];
        *cluster = serde_json::json!({"server": format!("http://{}", self.api_server)});
        let path = folder.join("tripwire.kubeconfig");
        std::fs::write(&path, serde_json::to_vec(&config)?)?;
        Ok(path)
    }
}

async fn serve<F, R>(handle: F) -> Result<SocketAddr>
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<Response<Body>>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let handle = handle.clone();
            let service = service_fn(move |request| {
                let answer = handle(request);
                async move {
                    Ok::<_, Infallible>(answer.await.unwrap_or_else(|error| {
                        let text = Full::new(Bytes::from(format!("{error:#}")));
                        let mut response = Response::new(text.map_err(|never| match never {}).boxed_unsync());
                        *response.status_mut() = StatusCode::BAD_GATEWAY;
                        response
                    }))
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service),
            );
        }
    });
    Ok(address)
}

/// The write is done; whoever asked has ended when it would be answered.
async fn end(shared: &Shared) -> Result<Response<Body>> {
    shared.tripped.notify_one();
    std::future::pending().await
}

async fn to_api_server(
    request: Request<Incoming>,
    client: Client,
    shared: Arc<Shared>,
) -> Result<Response<Body>> {
    let (mut parts, body) = request.into_parts();
    // The lease is no part of anybody's life.
    let of_an_object = ["/kvsingests/", "/deployments/"].iter().any(|part| parts.uri.path().contains(part));
    let body = body.collect().await?.to_bytes();
    let trips = of_an_object && parts.method != Method::GET && shared.trips(parts.uri.path(), &body);
    parts.uri = parts.uri.path_and_query().context("a path")?.as_str().parse()?;
    for header in [http::header::HOST, http::header::AUTHORIZATION, http::header::CONNECTION] {
        parts.headers.remove(header);
    }
    let request = Request::from_parts(parts, kube::client::Body::from(body.to_vec()));
    let response = client.send(request).await?;
    if trips {
        return end(&shared).await;
    }
    Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
}

async fn to_kvs(request: Request<Incoming>, kvs: String, shared: Arc<Shared>) -> Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let changes = ["/create", "/delete", "/update", "/tag", "/TagResource"];
    let body = body.collect().await?.to_bytes();
    let path = parts.uri.path();
    let trips = changes.iter().any(|change| path.starts_with(change)) && shared.trips(path, &body);
    let body = Full::new(body);
    let socket = TcpStream::connect(&kvs).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    tokio::spawn(connection);
    let response = sender.send_request(Request::from_parts(parts, body)).await?;
    if trips {
        return end(&shared).await;
    }
    Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
}
