//! The task of one connection: it empties the sockets, runs the engine, and sends what the engine has to say. Whatever waits behind
//! it, the sockets are emptied first, so that a key frame at line rate finds a reader.

use super::queue::{MediaQueue, MediaSender, media_queue};
use super::rest::Rest;
use super::sockets::{self, Buffers, Socket};
use super::streams::{Incoming, Streams};
use super::{MediaEvent, Negotiated, Peer, PeerConfig, PeerError, PeerEvent, PeerStats, Unbound, servers};
use async_trait::async_trait;
use kvs_aws::AwsContext;
use kvs_peer::{Event, MAX_REMOTE_CANDIDATES, Receiver, ReceiverError, Stage, sdp};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep_until, timeout};

/// Candidates and state changes of one connection. When it is full the event is dropped with a warning; a connection
/// makes a few dozen of them in its life.
const EVENT_QUEUE: usize = 256;

/// Datagrams taken from the sockets and not looked at yet, bytes.
const MAX_BACKLOG: usize = 16 << 20;

/// What a datagram costs beside its bytes.
const ENTRY: usize = 128;

/// Batches read from one socket before others, and timers, have their turn.
const READS: usize = 64;

/// Datagrams handled before the sockets are emptied again.
const BATCH: usize = 32;

/// Batches of messages from streams that are handled at the end: more than their queue holds.
const LAST_BATCHES: usize = 64;

/// Between figures.
const FIGURES: Duration = Duration::from_millis(400);

/// Between looks at what the kernel dropped.
const DROPS: Duration = Duration::from_secs(2);

/// A [`Peer`] on sockets of this machine.
pub struct UdpPeer {
    offer: String,
    /// A request or two for each thing that is missing, and each is taken at once.
    commands: mpsc::UnboundedSender<Command>,
    stats: Arc<Mutex<PeerStats>>,
}

enum Command {
    Answer { sdp: String, reply: oneshot::Sender<Result<Negotiated, PeerError>> },
    Candidate { text: String, section: usize, reply: oneshot::Sender<Result<(), PeerError>> },
    Nack { media_ssrc: u32, sequences: Vec<u16> },
    PictureLoss { media_ssrc: u32 },
    Close { reply: oneshot::Sender<()> },
}

impl UdpPeer {
    /// Binds the sockets, makes the offer and starts to gather candidates. `context` connects to TURN servers over TCP and
    /// TLS, with its roots and proxies.
    ///
    /// # Errors
    ///
    /// [`PeerError::Build`] when no socket can be bound.
    pub async fn new(
        config: PeerConfig,
        context: &AwsContext,
    ) -> Result<(Self, mpsc::Receiver<PeerEvent>, MediaQueue), PeerError> {
        let build = |error: &dyn std::fmt::Display| PeerError::Build(error.to_string());
        let servers = servers::resolve(&config.ice_servers).await;
        let (urls, turn_streams) = servers.streams.into_iter().unzip();
        let sockets = sockets::bind(&config.bind, config.ports.as_ref(), config.receive_buffer)
            .map_err(|error| build(&error))?;
        let receive_buffer = sockets.iter().map(|socket| socket.receive_buffer).min().unwrap_or_default();
        let receiver = Receiver::new(
            &kvs_peer::Config {
                video: config.video,
                audio: config.audio,
                data: config.data,
                start_bitrate_kbps: config.start_bitrate_kbps,
                relay_only: config.relay_only,
                ice_servers: servers.udp,
                turn_streams,
                sockets: sockets.iter().map(|socket| socket.local).collect(),
                receive_buffer,
                destinations: config.destinations,
            },
            Instant::now(),
        )
        .map_err(PeerError::from)?;
        tracing::debug!(
            sockets = ?sockets.iter().map(|socket| socket.local).collect::<Vec<_>>(),
            receive_buffer, "bound"
        );
        let (commands, command_receiver) = mpsc::unbounded_channel();
        let (events, event_receiver) = mpsc::channel(EVENT_QUEUE);
        let (media, queue) = media_queue();
        let stats = Arc::new(Mutex::new(PeerStats { receive_buffer, ..PeerStats::default() }));
        let peer = Self { offer: receiver.offer().to_owned(), commands, stats: Arc::clone(&stats) };
        let streams = Streams::new(context.clone(), urls);
        let engine = Engine {
            receiver,
            streams,
            sockets,
            backlog: VecDeque::new(),
            backlog_bytes: 0,
            answered: false,
            early: Vec::new(),
            early_refused: 0,
            commands: command_receiver,
            events,
            media,
            stats,
            rest: Rest::new(receive_buffer, Instant::now()),
            figures_at: Instant::now(),
            drops_at: Instant::now(),
            server_failures_logged: 0,
        };
        tokio::spawn(engine.run());
        Ok((peer, event_receiver, queue))
    }

    fn command(&self, command: Command) -> Result<(), PeerError> {
        self.commands.send(command).map_err(|_| PeerError::Gone)
    }
}

impl Drop for UdpPeer {
    fn drop(&mut self) {
        let (reply, _) = oneshot::channel();
        // Closed already.
        let _ = self.command(Command::Close { reply });
    }
}

#[async_trait]
impl Peer for UdpPeer {
    fn offer(&self) -> &str {
        &self.offer
    }

    async fn accept_answer(&self, sdp: &str) -> Result<Negotiated, PeerError> {
        let (reply, result) = oneshot::channel();
        self.command(Command::Answer { sdp: sdp.to_owned(), reply })?;
        result.await.map_err(|_| PeerError::Gone)?
    }

    async fn add_remote_candidate(&self, text: &str, section: usize) -> Result<bool, PeerError> {
        let text = match sdp::usable_candidate(text) {
            Ok(text) => text,
            Err(reason) => {
                tracing::debug!(reason, text, "remote candidate left out");
                return Ok(false);
            }
        };
        let (reply, result) = oneshot::channel();
        self.command(Command::Candidate { text, section, reply })?;
        result.await.map_err(|_| PeerError::Gone)?.map(|()| true)
    }

    async fn send_nack(&self, media_ssrc: u32, sequences: &[u16]) -> Result<(), PeerError> {
        self.command(Command::Nack { media_ssrc, sequences: sequences.to_vec() })
    }

    async fn send_pli(&self, media_ssrc: u32) -> Result<(), PeerError> {
        self.command(Command::PictureLoss { media_ssrc })
    }

    async fn stats(&self) -> PeerStats {
        self.stats.lock().clone()
    }

    async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.command(Command::Close { reply }).is_ok() {
            // Gone meanwhile is closed, too.
            let _ = closed.await;
        }
    }
}

struct Engine {
    receiver: Receiver,
    streams: Streams,
    sockets: Vec<Socket>,
    backlog: VecDeque<Datagram>,
    backlog_bytes: usize,
    answered: bool,
    /// Remote candidates that came before the answer, at most [`MAX_REMOTE_CANDIDATES`].
    early: Vec<(String, usize)>,
    early_refused: u64,
    commands: mpsc::UnboundedReceiver<Command>,
    events: mpsc::Sender<PeerEvent>,
    media: MediaSender,
    stats: Arc<Mutex<PeerStats>>,
    rest: Rest,
    figures_at: Instant,
    drops_at: Instant,
    server_failures_logged: usize,
}

struct Datagram {
    local: SocketAddr,
    remote: SocketAddr,
    /// At the socket: masters are told, and estimate what the path carries from how far packets come apart.
    arrived: Instant,
    data: Box<[u8]>,
}

impl Engine {
    async fn run(mut self) {
        let mut buffers = Buffers::new();
        loop {
            let first = match self.wait().await {
                Ok(first) => first,
                Err(error) => {
                    self.emit(PeerEvent::Failed { reason: format!("cannot wait for datagrams: {error}") });
                    return;
                }
            };
            self.empty_sockets(&mut buffers);
            self.handle_backlog();
            self.handle_streams();
            let closing = self.handle_commands(first);
            if closing.is_some() {
                self.drain(&mut buffers);
            }
            let now = Instant::now();
            if closing.is_some() {
                self.receiver.close(now);
            } else if self.receiver.poll_timeout().is_some_and(|at| at <= now) {
                self.receiver.handle_timeout(now);
            }
            self.send(now);
            self.emit_all(now);
            self.media.flush();
            if let Some(reply) = closing {
                let _ = reply.send(());
                return;
            }
        }
    }

    /// Waits until there is something to do. The command that ended it, if one did.
    async fn wait(&mut self) -> io::Result<Option<Command>> {
        if !self.backlog.is_empty()
            || self.streams.has_more()
            || self.sockets.iter().any(|socket| socket.ready)
        {
            // Who makes frames of it has the same thread.
            tokio::task::yield_now().await;
            return Ok(None);
        }
        let now = Instant::now();
        if let Some(rest) = self.rest.begin(now) {
            // Commands end it. Datagrams do not, nor do they wake the thread: nobody watches the sockets.
            for socket in &mut self.sockets {
                socket.rest();
            }
            return Ok(timeout(rest, self.commands.recv()).await.ok().flatten());
        }
        for socket in &mut self.sockets {
            socket.watch()?;
        }
        let due = self.receiver.poll_timeout().map_or(now + FIGURES, |at| at.min(now + FIGURES));
        tokio::select! {
            command = self.commands.recv() => Ok(command),
            () = sockets::ready(&mut self.sockets) => Ok(None),
            () = self.streams.brought() => Ok(None),
            () = sleep_until(due.into()) => Ok(None),
        }
    }

    /// Takes what the kernel holds, as fast as it goes: it holds little.
    fn empty_sockets(&mut self, buffers: &mut Buffers) {
        let (backlog, bytes) = (&mut self.backlog, &mut self.backlog_bytes);
        for socket in &mut self.sockets {
            let local = socket.local;
            for _ in 0..READS {
                if !socket.ready || *bytes >= MAX_BACKLOG {
                    break;
                }
                socket.read(buffers, |remote, arrived, data| {
                    *bytes += data.len() + ENTRY;
                    backlog.push_back(Datagram { local, remote, arrived, data: data.into() });
                });
            }
        }
    }

    fn handle_backlog(&mut self) {
        for _ in 0..BATCH {
            let Some(Datagram { local, remote, arrived, data }) = self.backlog.pop_front() else {
                return;
            };
            self.backlog_bytes -= data.len() + ENTRY;
            self.rest.datagram(data.len(), arrived);
            self.receiver.handle_datagram(local, remote, &data, arrived);
            self.take_events(arrived);
        }
    }

    /// What has arrived until now is still received: a fraction of a second at most, for both is bounded.
    fn drain(&mut self, buffers: &mut Buffers) {
        for socket in &mut self.sockets {
            socket.ready = true;
        }
        self.empty_sockets(buffers);
        while !self.backlog.is_empty() {
            self.handle_backlog();
            self.media.flush();
        }
        for _ in 0..LAST_BATCHES {
            if !self.streams.has_more() {
                break;
            }
            self.handle_streams();
            self.emit_all(Instant::now());
        }
    }

    fn handle_streams(&mut self) {
        for _ in 0..BATCH {
            let Some((stream, incoming)) = self.streams.poll() else {
                return;
            };
            let now = Instant::now();
            match incoming {
                Incoming::Opened => self.receiver.stream_opened(stream, now),
                Incoming::Data(data) => {
                    self.rest.datagram(data.len(), now);
                    self.receiver.handle_stream(stream, &data, now);
                }
                Incoming::Closed(reason) => self.receiver.stream_closed(stream, &reason, now),
            }
        }
    }

    /// Carries out the `first` that was taken already and all that wait. Who waits for the end, if it is to end.
    fn handle_commands(&mut self, mut first: Option<Command>) -> Option<oneshot::Sender<()>> {
        loop {
            let next = first.take().map_or_else(|| self.commands.try_recv(), Ok);
            match next {
                Ok(Command::Answer { sdp, reply }) => {
                    let result = self.accept_answer(&sdp);
                    let _ = reply.send(result);
                }
                Ok(Command::Candidate { text, section, reply }) => {
                    let result = self.add_candidate(text, section);
                    let _ = reply.send(result);
                }
                Ok(Command::Nack { media_ssrc, sequences }) => {
                    log_feedback(self.receiver.nack(media_ssrc, &sequences, Instant::now()));
                }
                Ok(Command::PictureLoss { media_ssrc }) => {
                    log_feedback(self.receiver.picture_loss(media_ssrc))
                }
                Ok(Command::Close { reply }) => return Some(reply),
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Disconnected) => return Some(oneshot::channel().0),
            }
        }
    }

    fn accept_answer(&mut self, sdp: &str) -> Result<Negotiated, PeerError> {
        let now = Instant::now();
        let negotiated = Negotiated::from(self.receiver.accept_answer(sdp, now)?);
        self.answered = true;
        for (text, section) in std::mem::take(&mut self.early) {
            if let Err(error) = self.receiver.add_remote_candidate(&text, section, now) {
                tracing::debug!(%error, "candidate passed over");
            }
        }
        Ok(negotiated)
    }

    fn add_candidate(&mut self, text: String, section: usize) -> Result<(), PeerError> {
        if self.answered {
            return Ok(self.receiver.add_remote_candidate(&text, section, Instant::now())?);
        }
        if self.early.len() >= MAX_REMOTE_CANDIDATES {
            self.early_refused += 1;
            let reason = format!("more than {MAX_REMOTE_CANDIDATES} before the answer");
            return Err(PeerError::Candidate { candidate: text, reason });
        }
        self.early.push((text, section));
        Ok(())
    }

    fn send(&mut self, now: Instant) {
        while let Some(transmit) = self.receiver.poll_transmit(now) {
            if let Some(socket) = self.sockets.iter().find(|socket| socket.local == transmit.local) {
                socket.send(transmit.remote, &transmit.data);
            }
        }
        while let Some(transmit) = self.receiver.poll_stream_transmit() {
            self.streams.carry_out(transmit);
        }
    }

    fn emit_all(&mut self, now: Instant) {
        self.take_events(now);
        let failures = self.receiver.server_failures();
        for failure in failures.get(self.server_failures_logged..).unwrap_or_default() {
            tracing::info!(failure, "STUN or TURN server without use");
        }
        self.server_failures_logged = failures.len();
        if now >= self.figures_at {
            self.figures_at = now + FIGURES;
            self.take_figures(now);
            // An error may have hidden datagrams that nobody is told of any more.
            for socket in &mut self.sockets {
                socket.ready = true;
            }
        }
    }

    /// Hands on what came of what arrived at `at`.
    fn take_events(&mut self, at: Instant) {
        while let Some(event) = self.receiver.poll_event() {
            match event {
                Event::Rtp { kind, packet } => {
                    self.rest.packet(kind, packet.ssrc, packet.sequence, at);
                    self.media.push(MediaEvent::Rtp { kind, packet }, at);
                }
                Event::Message(message) => self.media.push(MediaEvent::Message(message), at),
                Event::SenderReport(report) => self.media.push(MediaEvent::SenderReport(report), at),
                Event::LocalCandidate(text) => {
                    if let Some(text) = sdp::sendable_candidate(&text) {
                        self.emit(PeerEvent::LocalCandidate(text));
                    }
                }
                Event::PathFound => {
                    // The figures know more than they did.
                    self.figures_at = at;
                    self.emit(PeerEvent::PathFound);
                }
                Event::Connected => {
                    self.figures_at = at;
                    self.rest.connected(at);
                    self.emit(PeerEvent::Connected);
                }
                Event::Disconnected => self.emit(PeerEvent::Disconnected),
                Event::Recovered => self.emit(PeerEvent::Recovered),
                Event::RelayEnds { reason } => self.emit(PeerEvent::RelayEnds { reason }),
                Event::Goodbye => {
                    // What came before it is in the queue first.
                    self.media.flush();
                    self.emit(PeerEvent::Goodbye);
                }
                Event::Failed { stage, reason } => {
                    let udp_is_silent = self.receiver.udp_is_silent();
                    let silent = if udp_is_silent { "; no server answered over UDP" } else { "" };
                    let reason = match stage {
                        Stage::Ice => format!(
                            "{reason}{silent}. Check that UDP, or at least TCP port 443 to the TURN servers, may leave this network"
                        ),
                        Stage::Dtls => format!("ICE found a path to the master, but {reason}"),
                    };
                    self.emit(PeerEvent::Failed { reason });
                }
            }
        }
    }

    fn take_figures(&mut self, now: Instant) {
        let figures = self.receiver.figures(now);
        let dropped = (now >= self.drops_at).then(|| {
            self.drops_at = now + DROPS;
            sockets::dropped(&self.sockets)
        });
        let mut stats = self.stats.lock();
        stats.pair = figures.pair;
        stats.servers = figures.servers;
        stats.header_bytes = figures.header_bytes;
        stats.packets_discarded = self.media.discarded() + figures.early_dropped;
        stats.unbound = Unbound { by_payload_type: figures.unbound, undecryptable: figures.undecryptable };
        stats.udp_is_silent = figures.udp_is_silent;
        stats.data = figures.data;
        stats.relay_dropped = self.streams.dropped;
        stats.strangers = figures.strangers;
        stats.candidates_refused = figures.candidates_refused + self.early_refused;
        if let Some(dropped) = dropped {
            if dropped > stats.socket_drops {
                self.rest.overflowed(now);
            }
            stats.socket_drops = dropped;
        }
    }

    fn emit(&self, event: PeerEvent) {
        if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
            tracing::warn!(?event, "peer event dropped: the session does not keep up");
        }
    }
}

fn log_feedback(result: Result<(), ReceiverError>) {
    if let Err(error) = result {
        tracing::debug!(%error, "not sent");
    }
}
