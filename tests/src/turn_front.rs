//! What stands between an agent and its TURN server: a network that stops letting UDP through, and a server that does not take
//! a credential any more.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

/// In front of a TURN server over UDP.
pub struct UdpFront {
    pub address: SocketAddr,
    open: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl UdpFront {
    pub async fn start(server: SocketAddr) -> Result<Self> {
        let front = Arc::new(UdpSocket::bind("127.0.0.1:0").await?);
        let address = front.local_addr()?;
        let open = Arc::new(AtomicBool::new(true));
        let gate = open.clone();
        let task = tokio::spawn(async move {
            let mut clients: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
            let mut buffer = vec![0; 65_535];
            while let Ok((length, from)) = front.recv_from(&mut buffer).await {
                if !gate.load(Ordering::Relaxed) {
                    continue;
                }
                let back = match clients.get(&from) {
                    Some(back) => back.clone(),
                    None => {
                        let Ok(socket) = UdpSocket::bind("127.0.0.1:0").await else { continue };
                        let back = Arc::new(socket);
                        tokio::spawn(return_datagrams(back.clone(), front.clone(), from, gate.clone()));
                        clients.insert(from, back.clone());
                        back
                    }
                };
                let _ = back.send_to(&buffer[..length], server).await;
            }
        });
        Ok(Self { address, open, task })
    }

    /// Nothing passes any more.
    pub fn block(&self) {
        self.open.store(false, Ordering::Relaxed);
    }
}

impl Drop for UdpFront {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn return_datagrams(
    back: Arc<UdpSocket>,
    front: Arc<UdpSocket>,
    client: SocketAddr,
    gate: Arc<AtomicBool>,
) {
    let mut buffer = vec![0; 65_535];
    while let Ok((length, _)) = back.recv_from(&mut buffer).await {
        if gate.load(Ordering::Relaxed) {
            let _ = front.send_to(&buffer[..length], client).await;
        }
    }
}

/// In front of a TURN server over TCP.
pub struct TcpFront {
    pub address: SocketAddr,
    refuses: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

/// Of requests (RFC 8656, section 17).
const REFRESH: [u8; 2] = [0x00, 0x04];
const CREATE_PERMISSION: [u8; 2] = [0x00, 0x08];

impl TcpFront {
    pub async fn start(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let refuses = Arc::new(AtomicBool::new(false));
        let refusal = refuses.clone();
        let task = tokio::spawn(async move {
            // Those that are here when refusing begins: whoever comes later has a new credential.
            while let Ok((client, _)) = listener.accept().await {
                let Ok(upstream) = TcpStream::connect(server).await else { return };
                let old = if refusal.load(Ordering::Relaxed) { Arc::default() } else { refusal.clone() };
                tokio::spawn(pass(client, upstream, old));
            }
        });
        Ok(Self { address, refuses, task })
    }

    /// Of the connections that there are, no credential is good any more.
    pub fn refuse(&self) {
        self.refuses.store(true, Ordering::Relaxed);
    }
}

impl Drop for TcpFront {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(client: TcpStream, upstream: TcpStream, refuses: Arc<AtomicBool>) {
    // What waits here, the TURN server drops.
    for stream in [&client, &upstream] {
        let _ = stream.set_nodelay(true);
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = upstream.into_split();
    let (mut from_client, mut from_server) = (BufReader::new(from_client), BufReader::new(from_server));
    let to_client = Arc::new(Mutex::new(to_client));
    let down = to_client.clone();
    let back = tokio::spawn(async move {
        // Message by message, so that an answer of the front's comes between two.
        while let Ok(message) = message(&mut from_server).await {
            if down.lock().await.write_all(&message).await.is_err() {
                return;
            }
        }
    });
    while let Ok(message) = message(&mut from_client).await {
        let kind = [message[0], message[1]];
        if refuses.load(Ordering::Relaxed) && (kind == REFRESH || kind == CREATE_PERMISSION) {
            if to_client.lock().await.write_all(&unauthorized(&message)).await.is_err() {
                break;
            }
        } else if to_server.write_all(&message).await.is_err() {
            break;
        }
    }
    back.abort();
}

/// A STUN message or ChannelData with its padding.
async fn message(from: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut message = vec![0; 4];
    from.read_exact(&mut message).await?;
    let length = usize::from(u16::from_be_bytes([message[2], message[3]]));
    let rest = if message[0] < 0x40 { 16 + length } else { length.next_multiple_of(4) };
    message.resize(4 + rest, 0);
    from.read_exact(&mut message[4..]).await?;
    Ok(message)
}

/// 401 to a request (RFC 8489, section 14.8).
fn unauthorized(request: &[u8]) -> Vec<u8> {
    let mut answer = vec![request[0] | 0x01, request[1] | 0x10, 0, 8];
    answer.extend(&request[4..20]);
    answer.extend([0x00, 0x09, 0x00, 0x04, 0, 0, 4, 1]);
    answer
}
