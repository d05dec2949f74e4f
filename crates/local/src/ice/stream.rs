//! TURN over TCP and TLS: connections, and the messages in them (RFC 8656 section 3.1).

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{
    shared::Shared,
    turn::{Client, Frame, Link, next_frame},
};

/// How long a connection has to show what it is, to be through with its TLS handshake, and to send the rest of a message.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection may be without an allocation, and how often that is looked at.
const WITHOUT_ALLOCATION: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_secs(5);
/// How long a client may take no byte of what is sent to it.
const STUCK: Duration = Duration::from_secs(30);
/// The first byte of a TLS record of a handshake (RFC 8446 section 5.1). No message of TURN begins with it.
const TLS_HANDSHAKE: u8 = 0x16;

pub(super) async fn accept(shared: Arc<Shared>, listener: TcpListener, tls: TlsAcceptor) {
    loop {
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (socket, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accept failed for TURN");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Some((id, queue)) = shared.streams.open(address.ip()) else {
            tracing::warn!(%address, "a TURN connection too many is closed");
            continue;
        };
        let _ = socket.set_nodelay(true);
        let (serving, tls) = (shared.clone(), tls.clone());
        shared.tasks.spawn(async move {
            let client = Client { link: Link::Stream(id), address };
            let ended = tokio::select! {
                () = serving.stop.cancelled() => "the server ends",
                ended = serve(&serving, client, socket, queue, tls) => ended,
            };
            serving.streams.close(id);
            serving.client_gone(client);
            tracing::debug!(%address, ended, "TURN connection ended");
        });
    }
}

/// Serves a connection to its end; says why it ended.
async fn serve(
    shared: &Arc<Shared>,
    client: Client,
    socket: TcpStream,
    queue: mpsc::Receiver<Vec<u8>>,
    tls: TlsAcceptor,
) -> &'static str {
    let mut first = [0];
    match timeout(PATIENCE, socket.peek(&mut first)).await {
        Ok(Ok(1)) if first[0] == TLS_HANDSHAKE => match timeout(PATIENCE, tls.accept(socket)).await {
            Ok(Ok(socket)) => messages(shared, client, socket, queue).await,
            Ok(Err(error)) => {
                tracing::debug!(address = %client.address, %error, "TLS handshake of a TURN client failed");
                "its TLS handshake failed"
            }
            Err(_) => "its TLS handshake took too long",
        },
        Ok(Ok(1)) => messages(shared, client, socket, queue).await,
        Ok(_) => "it sent nothing",
        Err(_) => "nothing came",
    }
}

async fn messages(
    shared: &Arc<Shared>,
    client: Client,
    socket: impl AsyncRead + AsyncWrite,
    mut queue: mpsc::Receiver<Vec<u8>>,
) -> &'static str {
    let (mut from, mut to) = tokio::io::split(socket);
    let reading = async {
        // at most one message and what came with the read that completed it
        let mut read = Vec::with_capacity(2048);
        let mut last_complete = Instant::now();
        let mut allocated = Instant::now();
        loop {
            match timeout(LOOK, from.read_buf(&mut read)).await {
                Ok(Ok(0)) => return "closed by the client",
                Ok(Err(_)) => return "the connection broke",
                Ok(Ok(_)) | Err(_) => {}
            }
            let mut taken = 0;
            loop {
                match next_frame(&read[taken..]) {
                    Frame::Whole { length, padded } => {
                        shared.handle_client(client, &read[taken..taken + length]);
                        taken += padded;
                    }
                    Frame::Partial => break,
                    Frame::Broken(why) => return why,
                }
            }
            read.drain(..taken);
            let now = Instant::now();
            if taken > 0 || read.is_empty() {
                last_complete = now;
            }
            if now - last_complete > PATIENCE {
                return "the rest of a message did not come";
            }
            if shared.has_allocation(client) {
                allocated = now;
            }
            if now - allocated > WITHOUT_ALLOCATION {
                return "it has had no allocation for too long";
            }
        }
    };
    let writing = async {
        while let Some(packet) = queue.recv().await {
            match timeout(STUCK, to.write_all(&packet)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return "the connection broke",
                Err(_) => return "it does not read",
            }
            // TLS holds back what is not flushed
            if queue.is_empty() && to.flush().await.is_err() {
                return "the connection broke";
            }
        }
        "its queue is closed"
    };
    tokio::select! {
        ended = reading => ended,
        ended = writing => ended,
    }
}
