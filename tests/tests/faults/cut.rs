//! What stands between an agent and the service: it cuts a WebSocket when so many pieces have gone through it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The first WebSocket through it is cut before its first piece goes on, the second one behind its first, and so on: each step
/// of the handshake is the last one once. Every other connection is let be.
pub struct Cutter {
    pub address: SocketAddr,
    cuts: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Cutter {
    /// In front of `service`; cuts `most` of them.
    pub async fn start(service: SocketAddr, most: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cuts = Arc::<AtomicUsize>::default();
        let task = tokio::spawn({
            let cuts = cuts.clone();
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(carry(client, service, cuts.clone(), most));
                }
            }
        });
        Self { address, cuts, task }
    }

    /// How many it has cut.
    pub fn cuts(&self) -> usize {
        self.cuts.load(Ordering::Relaxed)
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A piece is what was read at once: a message, on this machine.
async fn carry(
    mut client: TcpStream,
    service: SocketAddr,
    cuts: Arc<AtomicUsize>,
    most: usize,
) -> Option<()> {
    let mut server = TcpStream::connect(service).await.ok()?;
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    let mut left: Option<usize> = None;
    loop {
        let from_client = tokio::select! {
            read = client.read(&mut up) => (true, read.ok()?),
            read = server.read(&mut down) => (false, read.ok()?),
        };
        let piece = match from_client {
            (_, 0) => return None,
            (true, length) => &up[..length],
            (false, length) => &down[..length],
        };
        if from_client.0 && left.is_none() && is_upgrade(piece) {
            let cut = cuts.load(Ordering::Relaxed);
            left = (cut < most).then_some(cut);
        }
        match &mut left {
            Some(0) => {
                cuts.fetch_add(1, Ordering::Relaxed);
                // Without a word: what is open is reset or ended as the kernel likes.
                return None;
            }
            Some(left) => *left -= 1,
            None => {}
        }
        if from_client.0 {
            server.write_all(piece).await.ok()?;
        } else {
            client.write_all(piece).await.ok()?;
        }
    }
}

fn is_upgrade(piece: &[u8]) -> bool {
    piece.windows(18).any(|window| window.eq_ignore_ascii_case(b"upgrade: websocket"))
}
