//! Carries out what the session decides.

use crate::channel::{self, Channel, Outgoing, Socket};
use crate::events::{Event, Events};
use crate::failure;
use crate::peer::{MediaQueue, Peer, PeerConfig, PeerError, PeerEvent, UdpPeer};
use crate::receive::{Receive, ReceiveConfig};
use crate::servers::servers;
use crate::session::{Action, Failure, Input, Phase, Session};
use crate::state::State;
use crate::tracks::Tracks;
use kvs::{ChannelId, ControlPlane};
use kvs_aws::AwsContext;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Replies, peer events and signaling messages that wait for the driver. When it is full their
/// senders wait; media does not pass here.
const MESSAGES: usize = 256;

/// The driver looks after the session at least this often.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// What reaches the driver from its tasks.
enum Message {
    /// For the session as it is.
    Input(Input),
    Resolved {
        attempt: u64,
        result: Result<Channel, Failure>,
    },
    SocketOpen {
        attempt: u64,
        socket: Socket,
    },
    PeerBuilt {
        generation: u64,
        /// Why it has no TURN server, if it has none.
        without_turn: Option<String>,
        /// The peer with its media.
        result: Result<(UdpPeer, MediaQueue), Failure>,
    },
}

/// What the driver works with.
pub struct DriverConfig {
    pub channel: ChannelId,
    /// Create the channel when it is missing.
    pub create_channel: bool,
    /// What to offer, without servers.
    pub peer: PeerConfig,
    pub receive: ReceiveConfig,
    /// How long the end of a recording may take when the agent stops.
    pub stop_within: Duration,
}

struct PeerSlot {
    generation: u64,
    peer: Arc<UdpPeer>,
    media: Option<MediaQueue>,
    key_frame_request: Arc<Notify>,
    stop: CancellationToken,
}

/// The shell around a [`Session`].
pub struct Driver {
    config: DriverConfig,
    context: AwsContext,
    control: ControlPlane,
    session: Session,
    channel: Option<Channel>,
    /// The attempt whose socket is wanted; any other that opens is dropped.
    wanted_socket: Option<u64>,
    socket: Option<Socket>,
    peer: Option<PeerSlot>,
    /// Why the newest peer has no TURN server.
    without_turn: Option<String>,
    receiving: JoinSet<()>,
    messages: mpsc::Sender<Message>,
    inbox: mpsc::Receiver<Message>,
    inputs: mpsc::Sender<Input>,
    input_inbox: mpsc::Receiver<Input>,
    events: Arc<Events>,
    state: Arc<State>,
}

impl Driver {
    /// A driver of `session`.
    pub fn new(
        config: DriverConfig,
        context: AwsContext,
        session: Session,
        events: Arc<Events>,
        state: Arc<State>,
    ) -> Self {
        let (messages, inbox) = mpsc::channel(MESSAGES);
        let (inputs, input_inbox) = mpsc::channel(MESSAGES);
        Self {
            control: ControlPlane::new(&context),
            config,
            context,
            session,
            channel: None,
            wanted_socket: None,
            socket: None,
            peer: None,
            without_turn: None,
            receiving: JoinSet::new(),
            messages,
            inbox,
            inputs,
            input_inbox,
            events,
            state,
        }
    }

    /// Runs until `stop`; then the recording is brought to its end.
    pub async fn run(mut self, stop: CancellationToken) {
        self.step(Input::Tick).await;
        loop {
            let now = Instant::now();
            let wake =
                self.session.poll_timeout().map_or(now + HEARTBEAT, |at| at.min(now + HEARTBEAT)).max(now);
            tokio::select! {
                () = stop.cancelled() => break,
                Some(message) = self.inbox.recv() => self.receive(message).await,
                Some(input) = self.input_inbox.recv() => self.step(input).await,
                () = tokio::time::sleep_until(wake.into()) => self.step(Input::Tick).await,
            }
            while self.receiving.try_join_next().is_some() {}
        }
        self.step(Input::Stop).await;
        let delivered = tokio::time::timeout(self.config.stop_within, async {
            while self.receiving.join_next().await.is_some() {}
        });
        if delivered.await.is_err() {
            tracing::warn!(
                within = ?self.config.stop_within,
                "stopping without the acknowledgement of the last fragment"
            );
        }
    }

    async fn receive(&mut self, message: Message) {
        match message {
            Message::Input(input) => self.step(input).await,
            Message::Resolved { attempt, result } => {
                let result = result.map(|channel| {
                    let ttl = channel.message_ttl;
                    self.channel = Some(channel);
                    ttl
                });
                self.step(Input::Resolved { attempt, result }).await;
            }
            Message::SocketOpen { attempt, socket } => {
                if self.wanted_socket == Some(attempt) {
                    self.socket = Some(socket);
                    self.step(Input::SignalingOpened { attempt, result: Ok(()) }).await;
                }
            }
            Message::PeerBuilt { generation, without_turn, result } => match result {
                // One that was built so slowly that another was asked for ends as it is dropped.
                Ok(_) if self.peer.as_ref().is_some_and(|slot| slot.generation > generation) => {}
                Ok((peer, media)) => {
                    if let Some(reason) = without_turn.clone() {
                        let already_logged = self.without_turn == without_turn;
                        self.events.emit(Event::WithoutTurn { reason, already_logged });
                    }
                    self.without_turn = without_turn;
                    let peer = Arc::new(peer);
                    let slot = PeerSlot {
                        generation,
                        peer,
                        media: Some(media),
                        key_frame_request: Arc::new(Notify::new()),
                        stop: CancellationToken::new(),
                    };
                    if let Some(older) = self.peer.replace(slot) {
                        close(older);
                    }
                    self.step(Input::PeerCreated { generation, result: Ok(()) }).await;
                }
                Err(failure) => self.step(Input::PeerCreated { generation, result: Err(failure) }).await,
            },
        }
    }

    /// Feeds the session and carries out what follows, including what follows from that.
    async fn step(&mut self, input: Input) {
        let mut next = Some(input);
        let mut failures = Vec::new();
        while let Some(input) = next.take() {
            for action in self.session.handle(input, Instant::now()) {
                if let Action::Report(failure) = action {
                    failures.push(failure);
                } else if let Some(reply) = self.carry_out(action).await {
                    next = Some(reply);
                }
            }
        }
        let now = Instant::now();
        let mut view = self.config.receive.outputs.view(self.session.view(now), now);
        let is_the_message: Vec<_> =
            failures.iter().map(|failure: &Failure| failure.message == view.message).collect();
        if let Some(reason) = &self.without_turn
            && !matches!(view.phase, Phase::Stopping | Phase::Failed)
        {
            view.message.push_str("; there are no TURN servers: ");
            view.message.push_str(reason);
        }
        let before = self.state.set_view(view.clone());
        for (failure, is_the_message) in failures.into_iter().zip(is_the_message) {
            // Logged once: by the transition, if it leads to one.
            let already_logged = before.is_some() && is_the_message;
            self.events.emit(Event::Failed { failure, already_logged });
        }
        if let Some(from) = before {
            self.events.emit(Event::Transition { from, to: view });
        }
    }

    async fn carry_out(&mut self, action: Action) -> Option<Input> {
        match action {
            Action::Resolve { attempt } => {
                let (control, channel) = (self.control.clone(), self.config.channel.clone());
                let create = self.config.create_channel;
                let messages = self.messages.clone();
                tokio::spawn(async move {
                    let result = channel::resolve(&control, &channel, create).await;
                    let _ = messages.send(Message::Resolved { attempt, result }).await;
                });
            }
            Action::OpenSignaling { attempt, client_id } => {
                self.socket = None;
                self.wanted_socket = Some(attempt);
                let channel = self.channel.clone()?;
                let (context, messages) = (self.context.clone(), self.messages.clone());
                let events = Arc::clone(&self.events);
                tokio::spawn(async move {
                    let (socket, mut incoming) =
                        match channel::open(&context, channel, &client_id, attempt, events).await {
                            Ok(halves) => halves,
                            Err(failure) => {
                                let input = Input::SignalingOpened { attempt, result: Err(failure) };
                                let _ = messages.send(Message::Input(input)).await;
                                return;
                            }
                        };
                    if messages.send(Message::SocketOpen { attempt, socket }).await.is_err() {
                        return;
                    }
                    while let Some(input) = incoming.recv().await {
                        if messages.send(Message::Input(input)).await.is_err() {
                            return;
                        }
                    }
                });
            }
            Action::CloseSignaling => {
                self.socket = None;
                self.wanted_socket = None;
            }
            Action::CreatePeer { generation, client_id } => self.create_peer(generation, client_id),
            Action::ClosePeer { generation } => {
                if let Some(slot) = self.peer.take_if(|slot| slot.generation == generation) {
                    close(slot);
                }
            }
            Action::SendOffer { generation, candidates } => {
                let slot = self.peer.as_ref().filter(|slot| slot.generation == generation)?;
                let offer = with_candidates(slot.peer.offer(), &candidates);
                self.socket.as_ref()?.send(Outgoing::Offer(offer), &self.events);
            }
            Action::SendCandidate { candidate } => {
                self.socket.as_ref()?.send(Outgoing::Candidate(candidate), &self.events);
            }
            Action::ApplyAnswer { generation, sdp } => {
                let result = self.apply_answer(generation, &sdp).await.map_err(|error| failure::peer(&error));
                return Some(Input::AnswerApplied { generation, result });
            }
            Action::AddCandidate { generation, candidate, section } => {
                let slot = self.peer.as_ref().filter(|slot| slot.generation == generation)?;
                match slot.peer.add_remote_candidate(&candidate, section).await {
                    Ok(true) => tracing::debug!(candidate, "remote candidate"),
                    Ok(false) => tracing::debug!(candidate, "remote candidate ignored"),
                    Err(error) => tracing::debug!(%error, "remote candidate refused"),
                }
            }
            Action::RequestKeyFrame { generation } => {
                if let Some(slot) = self.peer.as_ref().filter(|slot| slot.generation == generation) {
                    slot.key_frame_request.notify_one();
                }
            }
            // Dealt with where the view is known.
            Action::Report(_) => {}
        }
        None
    }

    fn create_peer(&mut self, generation: u64, client_id: String) {
        let Some(channel) = self.channel.clone() else {
            return;
        };
        let (context, messages) = (self.context.clone(), self.messages.clone());
        let mut config = self.config.peer.clone();
        tokio::spawn(async move {
            let mut without_turn = None;
            let result = async {
                let found = servers(&context, &channel, &client_id, config.relay_only).await?;
                (config.ice_servers, without_turn) = (found.servers, found.without_turn);
                UdpPeer::new(config).await.map_err(|error| failure::peer(&error))
            }
            .await;
            let (result, peer_events) = match result {
                Ok((peer, peer_events, media)) => (Ok((peer, media)), Some(peer_events)),
                Err(failure) => (Err(failure), None),
            };
            if messages.send(Message::PeerBuilt { generation, without_turn, result }).await.is_err() {
                return;
            }
            let Some(mut peer_events) = peer_events else {
                return;
            };
            while let Some(event) = peer_events.recv().await {
                let input = match event {
                    PeerEvent::LocalCandidate(candidate) => Input::LocalCandidate { generation, candidate },
                    PeerEvent::Connected => Input::PeerConnected { generation },
                    PeerEvent::Recovered => Input::PeerConnected { generation },
                    PeerEvent::Disconnected => Input::PeerDisconnected { generation },
                    PeerEvent::Goodbye => Input::PeerEnded { generation },
                    PeerEvent::Failed { reason } => Input::PeerFailed { generation, reason },
                };
                if messages.send(Message::Input(input)).await.is_err() {
                    return;
                }
            }
            // Of a connection that was left nobody hears any more.
            let reason = "its thread has ended".to_owned();
            let _ = messages.send(Message::Input(Input::PeerFailed { generation, reason })).await;
        });
    }

    async fn apply_answer(&mut self, generation: u64, sdp: &str) -> Result<Option<String>, PeerError> {
        let Some(slot) = self.peer.as_mut().filter(|slot| slot.generation == generation) else {
            return Err(PeerError::Apply("the peer is gone".to_owned()));
        };
        let lines = sdp.lines().filter(|line| !line.contains("ice-pwd")).collect::<Vec<_>>();
        tracing::debug!(answer = lines.join("\n"), "answer");
        let negotiated = slot.peer.accept_answer(sdp).await?;
        if !negotiated.left_out.is_empty() {
            tracing::info!(left_out = negotiated.left_out.join("; "), "lines of the answer were passed over");
        }
        if !negotiated.refused.is_empty() {
            self.events.emit(Event::TracksRefused { what: negotiated.refused.clone() });
        }
        let Some(media) = slot.media.take() else {
            return Err(PeerError::Apply("the answer was applied before".to_owned()));
        };
        let refused = (!negotiated.refused.is_empty()).then(|| negotiated.refused.join("; "));
        let receive = Receive {
            generation,
            peer: Arc::clone(&slot.peer) as Arc<dyn Peer>,
            expected: Tracks { video: negotiated.video, audio: negotiated.audio, ..Tracks::default() },
            video_payload_types: negotiated.video_payload_types,
            audio_payload_types: negotiated.audio_payload_types,
            config: self.config.receive.clone(),
            session: self.inputs.clone(),
            figures: self.state.new_peer(generation),
            events: Arc::clone(&self.events),
            key_frame_request: Arc::clone(&slot.key_frame_request),
            stop: slot.stop.clone(),
        };
        self.receiving.spawn(receive.run(media));
        Ok(refused)
    }
}

/// Ends a peer; what it received is written out by its own task.
fn close(slot: PeerSlot) {
    slot.stop.cancel();
    tokio::spawn(async move { slot.peer.close().await });
}

/// Longest offer: 10,000 characters of base64 hold 7,500 bytes of JSON.
const MAX_OFFER: usize = 7_000;

/// Writes candidates into the first media section, as many as fit.
fn with_candidates(offer: &str, candidates: &[String]) -> String {
    let first = offer.find("\r\nm=").map(|at| at + 2);
    let second = first.and_then(|first| offer[first..].find("\r\nm=").map(|at| first + at + 2));
    let (head, tail) = offer.split_at(second.unwrap_or(offer.len()));
    let mut text = head.to_owned();
    for candidate in candidates {
        if text.len() + tail.len() + candidate.len() > MAX_OFFER {
            break;
        }
        text.push_str("a=");
        text.push_str(candidate);
        text.push_str("\r\n");
    }
    text.push_str(tail);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_go_into_the_first_section_as_far_as_they_fit() {
        let offer = "v=0\r\nm=audio 9 X 111\r\na=mid:0\r\nm=video 9 X 102\r\na=mid:1\r\n";
        let text = with_candidates(offer, &["candidate:1".to_owned()]);
        assert_eq!(
            text,
            "v=0\r\nm=audio 9 X 111\r\na=mid:0\r\na=candidate:1\r\nm=video 9 X 102\r\na=mid:1\r\n"
        );
        let one = "v=0\r\nm=video 9 X 102\r\na=mid:0\r\n";
        assert_eq!(
            with_candidates(one, &["candidate:1".to_owned()]),
            "v=0\r\nm=video 9 X 102\r\na=mid:0\r\na=candidate:1\r\n"
        );
        let many = vec!["candidate:".to_owned() + &"x".repeat(190); 100];
        assert!(with_candidates(offer, &many).len() <= MAX_OFFER + 10);
    }
}
