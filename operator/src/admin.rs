//! `/healthz`, `/readyz` and `/metrics`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};

use crate::context::Context;

/// Connections at the same time: those of one address, which a scraper or a kubelet needs few of, and all.
const OF_ONE: usize = 16;
const OF_ALL: usize = 256;
/// Until the head of a request is there, and until a connection ends in any case.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(300);

/// Serves the paths to whoever reaches the port, for ever. Who holds connections open has few of them, and not for long:
/// the kubelet's probes get through. What is too much is closed at once.
pub async fn serve(listener: TcpListener, router: Router) {
    let open = Arc::new(Mutex::new(HashMap::<IpAddr, usize>::new()));
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "no connection is accepted");
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        let address = from.ip().to_canonical();
        {
            let mut open = open.lock();
            let own = open.get(&address).copied().unwrap_or(0);
            if own >= OF_ONE || open.values().sum::<usize>() >= OF_ALL {
                continue;
            }
            open.insert(address, own + 1);
        }
        let (open, router) = (open.clone(), router.clone());
        tokio::spawn(async move {
            serve_connection(stream, router).await;
            let mut open = open.lock();
            if let Some(own) = open.get_mut(&address) {
                *own -= 1;
                if *own == 0 {
                    open.remove(&address);
                }
            }
        });
    }
}

async fn serve_connection(stream: TcpStream, router: Router) {
    let service = TowerToHyperService::new(router);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(LONGEST, served).await {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection to the operator ended"),
    }
}

/// The operator's HTTP paths.
pub fn router(context: Arc<Context>) -> Router {
    Router::new()
        // That this answers at all: the process ends by itself when its loop or its lease does.
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(context)
}

/// A standby is ready, too: its caches are what it is for.
async fn ready(State(context): State<Arc<Context>>) -> impl IntoResponse {
    if context.is_ready() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the caches are not filled yet")
    }
}

async fn metrics(State(context): State<Arc<Context>>) -> impl IntoResponse {
    context.metrics.leading(*context.leading.borrow());
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], context.metrics.encode())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn who_holds_connections_open_stops_nobody_else() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(serve(listener, Router::new().route("/healthz", get(|| async { "ok" }))));
        let mut held = Vec::new();
        for _ in 0..3 * OF_ONE {
            held.push(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
        }
        // Beyond his share they are closed.
        let mut last = held.pop().unwrap();
        assert_eq!(last.read(&mut [0]).await.unwrap_or(0), 0);
        let other = tokio::net::TcpSocket::new_v4().unwrap();
        other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut other = other.connect(([127, 0, 0, 1], port).into()).await.unwrap();
        other.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        other.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}
