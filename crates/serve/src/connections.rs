//! [`serve`]: nobody holds the server by connections that he keeps open.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

/// Connections at the same time: those of one address, which a scraper or a kubelet needs few of, and all.
const OF_ONE: usize = 16;
const OF_ALL: usize = 256;
/// Until the head of a request is there, and until a connection ends in any case.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(300);

/// Serves the paths to whoever reaches the port, for ever. Who holds connections open has few of them, and not for long:
/// the kubelet's probes get through. What is too much is closed at once, and `closed` is called with the address that it came
/// from.
pub async fn serve(listener: TcpListener, router: Router, closed: impl Fn(IpAddr)) {
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
                closed(address);
                continue;
            }
            open.insert(address, own + 1);
        }
        let (counted, router) = (Counted { open: open.clone(), address }, router.clone());
        tokio::spawn(async move {
            serve_connection(stream, router).await;
            drop(counted);
        });
    }
}

/// A connection that is open; gives its place back also when a handler panics.
struct Counted {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.open.lock();
        if let Some(own) = open.get_mut(&self.address) {
            *own -= 1;
            if *own == 0 {
                open.remove(&self.address);
            }
        }
    }
}

async fn serve_connection(stream: impl AsyncRead + AsyncWrite + Unpin, router: Router) {
    let service = TowerToHyperService::new(router);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(LONGEST, served).await {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an HTTP connection ended"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn who_holds_connections_open_stops_nobody_else() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let closed = Arc::new(AtomicUsize::new(0));
        let count = {
            let closed = closed.clone();
            move |_| {
                closed.fetch_add(1, Ordering::Relaxed);
            }
        };
        tokio::spawn(serve(listener, Router::new().route("/healthz", get(|| async { "ok" })), count));
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
        assert_eq!(closed.load(Ordering::Relaxed), 2 * OF_ONE);
    }

    /// A byte now and then holds no connection: the whole head has its time, and no byte has time of its own.
    #[tokio::test]
    async fn who_sends_a_head_slowly_is_cut_off() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let router = Router::new().route("/healthz", get(|| async { "ok" }));
        tokio::time::pause();
        let served = tokio::spawn(serve_connection(ours, router));
        let started = tokio::time::Instant::now();
        for byte in b"GET /healthz HTTP/1.1\r\nhost: ".iter().cycle() {
            if theirs.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(900)).await;
        }
        assert!(started.elapsed() < HEAD_WITHIN + Duration::from_secs(2), "{:?}", started.elapsed());
        served.await.unwrap();
    }
}
