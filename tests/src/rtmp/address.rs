//! Addresses for servers that cannot be asked which port they took.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::time::{Instant, sleep};

/// A server listens within so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// A free address of this machine, on a loopback address that only this process uses: nobody else's connection takes the port
/// while its server is away.
pub fn free() -> Result<SocketAddr> {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    // Away from 127.0.0.1, which everybody uses. Linux has at most 2^22 processes.
    let own = Ipv4Addr::new(127, 64 | (high & 0x3f), middle, low);
    // Each once: who was given one may not listen yet.
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let free = TcpListener::bind((own, 0))?.local_addr()?;
        if GIVEN.lock().expect("not poisoned").insert(free.port()) {
            return Ok(free);
        }
    }
}

/// Waits until the server listens there.
pub async fn listens(address: SocketAddr, server: &mut Child) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(address).await.is_err() {
        if let Some(status) = server.try_wait()? {
            bail!("it ended with {status}");
        }
        if Instant::now() > deadline {
            bail!("it does not listen at {address}");
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
