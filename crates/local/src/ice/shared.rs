//! [`Shared`]: the core of the TURN server between its sockets.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    relay::RelaySockets,
    streams::Streams,
    turn::{At, Client, Figures, Link, Output, RelayId, Turn},
};

/// Longest datagram of UDP.
pub(super) const DATAGRAM: usize = 65_535;

/// What all tasks of the server have together.
pub(super) struct Shared {
    turn: Mutex<Turn>,
    /// Sends to clients over UDP.
    udp: std::net::UdpSocket,
    pub(super) streams: Streams,
    relays: RelaySockets,
    /// Datagrams that the operating system, or a client that does not read, had no room for.
    lost: AtomicU64,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Shared {
    pub(super) fn new(turn: Turn, udp: std::net::UdpSocket, relays: RelaySockets) -> Self {
        Self {
            turn: Mutex::new(turn),
            udp,
            streams: Streams::default(),
            relays,
            lost: AtomicU64::new(0),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Gives the core something, and sends what it causes.
    fn with<T>(self: &Arc<Self>, input: impl FnOnce(&mut Turn) -> T) -> T {
        let mut outputs = Vec::new();
        let result = {
            let mut turn = self.turn.lock();
            let result = input(&mut turn);
            while let Some(output) = turn.poll_output() {
                outputs.push(output);
            }
            result
        };
        for output in outputs {
            let sent = match output {
                Output::ToClient(client, packet) => match client.link {
                    Link::Datagram => self.udp.send_to(&packet, client.address).is_ok(),
                    Link::Stream(id) => self.streams.send(id, packet),
                },
                Output::ToPeer(relay, peer, data) => self.relays.send(relay, peer, &data),
                Output::Close(relay) => {
                    self.relays.close(relay);
                    true
                }
            };
            // as any network between them may lose one
            self.lost.fetch_add(u64::from(!sent), Ordering::Relaxed);
        }
        result
    }

    /// A datagram, or a whole message of a stream.
    pub(super) fn handle_client(self: &Arc<Self>, client: Client, data: &[u8]) {
        let serve = |relay, socket, stop| {
            self.tasks.spawn(self.clone().read_relay(relay, socket, stop));
        };
        let mut opener = self.relays.opener(&serve);
        self.with(|turn| turn.handle_client(client, data, At::now(), &mut opener));
    }

    /// Reads what peers send to a relay, until it is closed.
    async fn read_relay(self: Arc<Self>, relay: RelayId, socket: UdpSocket, closed: CancellationToken) {
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let received = tokio::select! {
                () = closed.cancelled() => return,
                () = self.stop.cancelled() => return,
                received = socket.recv_from(&mut buffer) => received,
            };
            // an error is of a datagram that was sent before, to somebody who has gone
            if let Ok((length, peer)) = received {
                self.handle_peer(relay, peer, &buffer[..length]);
            }
        }
    }

    /// Ends what is over.
    pub(super) fn sweep(self: &Arc<Self>) {
        self.with(|turn| turn.handle_timeout(Instant::now()));
    }

    /// What is counted, and datagrams that there was no room for.
    pub(super) fn figures(&self) -> (Figures, u64) {
        (self.turn.lock().figures(), self.lost.load(Ordering::Relaxed))
    }

    fn handle_peer(self: &Arc<Self>, relay: RelayId, peer: SocketAddr, data: &[u8]) {
        self.with(|turn| turn.handle_peer(relay, peer, data, Instant::now()));
    }

    pub(super) fn client_gone(self: &Arc<Self>, client: Client) {
        self.with(|turn| turn.client_gone(client));
    }

    pub(super) fn has_allocation(&self, client: Client) -> bool {
        self.turn.lock().has_allocation(client)
    }
}
