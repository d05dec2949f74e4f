//! Carries out what the session decides.

use crate::channel::{self, Channel, Outgoing, Socket};
use crate::connecting::{Connecting, Step};
use crate::events::{Event, Events};
use crate::failure;
use crate::hand_over::HandOver;
use crate::peer::{MediaQueue, Peer, PeerConfig, PeerError, PeerEvent, UdpPeer};
use crate::receive::{Receive, ReceiveConfig};
use crate::servers::servers;
use crate::session::{Action, Failure, Input, Phase, Session};
use crate::state::State;
use crate::tracks::Tracks;
use kvs::{ChannelId, ControlPlane};
use kvs_aws::AwsContext;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};
use tokio::task::{Id, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Replies, peer events and signaling messages that wait for the driver. When it is full their
/// senders wait; media does not pass here.
const MESSAGES: usize = 256;

/// The driver looks after the session at least this often.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// A peer replies at once: one that does not for so long hangs, and must not hold up everything else.
const REPLIES: Duration = Duration::from_secs(5);

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
        /// For how long the credentials of its TURN servers are good.
        good_for: Option<Duration>,
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
    /// For the connection that takes its place.
    hand_over: Arc<HandOver>,
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
    /// The generation whose peer is wanted; any other that is built is dropped.
    wanted_peer: Option<u64>,
    peer: Option<PeerSlot>,
    /// Another one, which is recorded from until that one brings frames.
    leaving: Option<PeerSlot>,
    /// Why the newest peer has no TURN server.
    without_turn: Option<String>,
    receiving: JoinSet<()>,
    /// Peers that say goodbye.
    closing: TaskTracker,
    /// Whose media they receive.
    generations: HashMap<Id, u64>,
    messages: mpsc::Sender<Message>,
    inbox: mpsc::Receiver<Message>,
    inputs: mpsc::Sender<Input>,
    input_inbox: mpsc::Receiver<Input>,
    events: Arc<Events>,
    connecting: Arc<Connecting>,
    state: Arc<State>,
}

impl Driver {
    /// A driver of `session`.
    pub fn new(
        config: DriverConfig,
        context: AwsContext,
        session: Session,
        events: Arc<Events>,
        connecting: Arc<Connecting>,
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
            wanted_peer: None,
            peer: None,
            leaving: None,
            without_turn: None,
            receiving: JoinSet::new(),
            closing: TaskTracker::new(),
            generations: HashMap::new(),
            messages,
            inbox,
            inputs,
            input_inbox,
            events,
            connecting,
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
            self.join_receiving().await;
        }
        self.step(Input::Stop).await;
        self.closing.close();
        let delivered = tokio::time::timeout(self.config.stop_within, async {
            while self.receiving.join_next().await.is_some() {}
            self.closing.wait().await;
        });
        if delivered.await.is_err() {
            tracing::warn!(
                within = ?self.config.stop_within,
                "stopping without the acknowledgement of the last fragment"
            );
        }
    }

    /// Takes note of media tasks that have ended. One that panicked has left its connection alone: another is made at once.
    async fn join_receiving(&mut self) {
        while let Some(ended) = self.receiving.try_join_next_with_id() {
            let id = ended.as_ref().map_or_else(|error| error.id(), |(id, ())| *id);
            let generation = self.generations.remove(&id);
            if let (Err(error), Some(generation)) = (ended, generation)
                && error.is_panic()
            {
                let reason =
                    "the task that receives its media has panicked: report this with the log".to_owned();
                self.events.emit(Event::MediaTaskPanicked { message: error.to_string() });
                self.step(Input::PeerFailed { generation, reason }).await;
            }
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
            Message::PeerBuilt { generation, without_turn, good_for, result } => match result {
                // One that was built so slowly that it is not waited for any more ends as it is dropped.
                Ok(_) if self.wanted_peer != Some(generation) => {
                    tracing::info!(generation, wanted = ?self.wanted_peer, "a peer connection was built too late");
                }
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
                        hand_over: Arc::default(),
                    };
                    if let Some(older) = self.peer.replace(slot) {
                        self.close(older);
                    }
                    self.step(Input::PeerCreated { generation, result: Ok(good_for) }).await;
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
            let actions = self.session.handle(input, Instant::now());
            self.note_ends(&actions);
            for action in actions {
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

    /// Attempts that end with these actions, before what follows begins another.
    fn note_ends(&self, actions: &[Action]) {
        let failure = actions.iter().find_map(|action| match action {
            Action::Report(failure) => Some(failure),
            _ => None,
        });
        for action in actions {
            match action {
                Action::ClosePeer { generation } => self.connecting.ended(*generation, failure),
                // It has its stored fragments; the one that takes its place is another attempt.
                Action::LeavePeer { generation } => self.connecting.ended(*generation, None),
                Action::Report(failure) => self.connecting.not_joined(failure),
                _ => {}
            }
        }
    }

    async fn carry_out(&mut self, action: Action) -> Option<Input> {
        match action {
            Action::Resolve { attempt } => {
                let (control, channel) = (self.control.clone(), self.config.channel.clone());
                let create = self.config.create_channel;
                let messages = self.messages.clone();
                let connecting = Arc::clone(&self.connecting);
                connecting.begin(&self.session.client_id());
                tokio::spawn(async move {
                    let result = channel::resolve(&control, &channel, create, &connecting).await;
                    let _ = messages.send(Message::Resolved { attempt, result }).await;
                });
            }
            Action::OpenSignaling { attempt, client_id } => {
                self.socket = None;
                self.wanted_socket = Some(attempt);
                let channel = self.channel.clone()?;
                let (context, messages) = (self.context.clone(), self.messages.clone());
                let (connecting, events) = (Arc::clone(&self.connecting), Arc::clone(&self.events));
                connecting.begin(&client_id);
                tokio::spawn(async move {
                    let opened =
                        channel::open(&context, channel, &client_id, attempt, &connecting, events).await;
                    let (socket, mut incoming) = match opened {
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
                self.wanted_peer.take_if(|wanted| *wanted == generation);
                let is_it = |slot: &mut PeerSlot| slot.generation == generation;
                if let Some(slot) = self.peer.take_if(is_it).or_else(|| self.leaving.take_if(is_it)) {
                    self.close(slot);
                }
            }
            Action::LeavePeer { generation } => {
                if let Some(slot) = self.peer.take_if(|slot| slot.generation == generation) {
                    slot.hand_over.begin();
                    if let Some(older) = self.leaving.replace(slot) {
                        self.close(older);
                    }
                }
            }
            Action::SendOffer { generation, candidates } => {
                let slot = self.slot(generation, "offered")?;
                let offer = with_candidates(slot.peer.offer(), &candidates);
                self.connecting.offered(generation);
                self.socket.as_ref()?.send(Outgoing::Offer(offer), &self.events);
            }
            Action::SendCandidate { candidate } => {
                self.socket.as_ref()?.send(Outgoing::Candidate(candidate), &self.events);
            }
            Action::ApplyAnswer { generation, sdp } => {
                self.connecting.step(generation, Step::Answer, Instant::now());
                let result = self.apply_answer(generation, &sdp).await.map_err(|error| failure::peer(&error));
                return Some(Input::AnswerApplied { generation, result });
            }
            Action::AddCandidate { generation, candidate, section } => {
                let slot = self.slot(generation, "given a candidate")?;
                match timeout(REPLIES, slot.peer.add_remote_candidate(&candidate, section)).await {
                    Ok(Ok(true)) => tracing::debug!(candidate, "remote candidate"),
                    Ok(Ok(false)) => tracing::debug!(candidate, "remote candidate ignored"),
                    Ok(Err(error)) => tracing::debug!(%error, "remote candidate refused"),
                    Err(_) => {
                        let reason = format!("it did not take a candidate within {} s", REPLIES.as_secs());
                        return Some(Input::PeerFailed { generation, reason });
                    }
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

    /// The peer of this generation, which is to be `treated` somehow.
    fn slot(&self, generation: u64, treated: &str) -> Option<&PeerSlot> {
        let slot = self.peer.as_ref().filter(|slot| slot.generation == generation);
        if slot.is_none() {
            let current = self.peer.as_ref().map(|slot| slot.generation);
            tracing::warn!(generation, ?current, "a peer connection that is gone was to be {treated}");
        }
        slot
    }

    fn create_peer(&mut self, generation: u64, client_id: String) {
        self.wanted_peer = Some(generation);
        self.connecting.begin(&client_id);
        self.connecting.peer(generation);
        let Some(channel) = self.channel.clone() else {
            return;
        };
        let (context, messages) = (self.context.clone(), self.messages.clone());
        let connecting = Arc::clone(&self.connecting);
        let mut config = self.config.peer.clone();
        tokio::spawn(async move {
            let (mut without_turn, mut good_for) = (None, None);
            let result = async {
                let found = servers(&context, &channel, &client_id, config.relay_only, &connecting).await?;
                (config.ice_servers, without_turn, good_for) =
                    (found.servers, found.without_turn, found.good_for);
                UdpPeer::new(config, &context).await.map_err(|error| failure::peer(&error))
            }
            .await;
            let (result, peer_events) = match result {
                Ok((peer, peer_events, media)) => (Ok((peer, media)), Some(peer_events)),
                Err(failure) => (Err(failure), None),
            };
            if messages.send(Message::PeerBuilt { generation, without_turn, good_for, result }).await.is_err()
            {
                return;
            }
            let Some(mut peer_events) = peer_events else {
                return;
            };
            while let Some(event) = peer_events.recv().await {
                let input = match event {
                    PeerEvent::LocalCandidate(candidate) => Input::LocalCandidate { generation, candidate },
                    PeerEvent::PathFound => {
                        connecting.step(generation, Step::Ice, Instant::now());
                        continue;
                    }
                    PeerEvent::Connected => {
                        connecting.step(generation, Step::Dtls, Instant::now());
                        Input::PeerConnected { generation }
                    }
                    PeerEvent::Recovered => Input::PeerConnected { generation },
                    PeerEvent::Disconnected => Input::PeerDisconnected { generation },
                    PeerEvent::RelayEnds { reason } => Input::RelayEnds { generation, reason },
                    PeerEvent::Goodbye => Input::PeerEnded { generation },
                    PeerEvent::Failed { reason } => Input::PeerFailed { generation, reason },
                };
                if messages.send(Message::Input(input)).await.is_err() {
                    return;
                }
            }
            // Of a connection that was left nobody hears any more.
            let reason = "the task of its sockets has ended".to_owned();
            let _ = messages.send(Message::Input(Input::PeerFailed { generation, reason })).await;
        });
    }

    async fn apply_answer(&mut self, generation: u64, sdp: &str) -> Result<Option<String>, PeerError> {
        let Some(slot) = self.peer.as_mut().filter(|slot| slot.generation == generation) else {
            return Err(PeerError::Apply("the peer is gone".to_owned()));
        };
        let lines = sdp.lines().filter(|line| !line.contains("ice-pwd")).collect::<Vec<_>>();
        tracing::debug!(answer = lines.join("\n"), "answer");
        let negotiated = timeout(REPLIES, slot.peer.accept_answer(sdp))
            .await
            .map_err(|_| PeerError::Apply(format!("no reply within {} s", REPLIES.as_secs())))??;
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
            negotiated,
            config: self.config.receive.clone(),
            session: self.inputs.clone(),
            figures: self.state.new_peer(generation),
            events: Arc::clone(&self.events),
            connecting: Arc::clone(&self.connecting),
            key_frame_request: Arc::clone(&slot.key_frame_request),
            stop: slot.stop.clone(),
            hand_over: Arc::clone(&slot.hand_over),
            follows: self.leaving.as_ref().map(|leaving| Arc::clone(&leaving.hand_over)),
        };
        let task = self.receiving.spawn(receive.run(media));
        self.generations.insert(task.id(), generation);
        Ok(refused)
    }

    /// Ends a peer; what it received is written out by its own task.
    fn close(&self, slot: PeerSlot) {
        slot.stop.cancel();
        self.closing.spawn(async move { slot.peer.close().await });
    }
}

/// Longest offer: 10,000 characters of base64 hold 7,500 bytes of JSON.
const MAX_OFFER: usize = 7_000;

/// Writes candidates into the first media section, as many as fit.
pub(crate) fn with_candidates(offer: &str, candidates: &[String]) -> String {
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
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;
    use crate::outputs::Outputs;
    use crate::peer::Destinations;
    use crate::session::Timing;
    use kvs_media::VideoCodec;
    use std::time::SystemTime;

    fn peer_config() -> PeerConfig {
        PeerConfig {
            video: vec![VideoCodec::H264],
            audio: Vec::new(),
            data: None,
            start_bitrate_kbps: None,
            relay_only: false,
            ice_servers: Vec::new(),
            bind: vec!["127.0.0.1".to_owned()],
            ports: None,
            receive_buffer: 4096,
            destinations: Destinations::default(),
        }
    }

    /// One whose AWS nobody answers for.
    async fn driver() -> Driver {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let context = AwsContext::builder()
            .region("eu-central-1")
            .static_credentials("a", "b", None)
            .endpoint_url("http://127.0.0.1:9")
            .build();
        let config = DriverConfig {
            channel: ChannelId::Name("c".parse().unwrap()),
            create_channel: false,
            peer: peer_config(),
            receive: ReceiveConfig {
                key_frame_interval: Duration::from_secs(2),
                aac_bitrate: 64_000,
                retire_within: Duration::from_secs(1),
                outputs: Outputs::default(),
                metadata: Arc::default(),
                clock: Arc::new(SystemTime::now),
            },
            stop_within: Duration::from_secs(1),
        };
        let session = Session::new("test", Timing::default(), 1, Instant::now());
        Driver::new(config, context.await.unwrap(), session, Arc::default(), Arc::default(), Arc::default())
    }

    async fn built(driver: &mut Driver, generation: u64) {
        let (peer, _, media) = UdpPeer::new(peer_config(), &driver.context).await.unwrap();
        driver
            .receive(Message::PeerBuilt {
                generation,
                without_turn: None,
                good_for: None,
                result: Ok((peer, media)),
            })
            .await;
    }

    fn current(driver: &Driver) -> Option<u64> {
        driver.peer.as_ref().map(|slot| slot.generation)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_peer_that_was_built_too_late_does_not_replace_another() {
        let mut driver = driver().await;
        driver.wanted_peer = Some(2);
        // Before the one that is wanted, and behind it.
        built(&mut driver, 1).await;
        assert_eq!(current(&driver), None);
        built(&mut driver, 2).await;
        built(&mut driver, 1).await;
        assert_eq!(current(&driver), Some(2));
        // One that was given up while it was built.
        driver.wanted_peer = Some(3);
        assert!(driver.carry_out(Action::ClosePeer { generation: 3 }).await.is_none());
        built(&mut driver, 3).await;
        assert_eq!(current(&driver), Some(2));
        driver.carry_out(Action::ClosePeer { generation: 2 }).await;
        assert_eq!(current(&driver), None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_media_task_that_panics_is_counted() {
        let mut driver = driver().await;
        let task = driver.receiving.spawn(async { panic!("a defect") });
        driver.generations.insert(task.id(), 1);
        driver.receiving.spawn(async {});
        tokio::time::timeout(Duration::from_secs(10), async {
            while !driver.receiving.is_empty() {
                driver.join_receiving().await;
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        assert!(driver.generations.is_empty());
        let mut registry = prometheus_client::registry::Registry::default();
        driver.events.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains("media_task_panics_total 1\n"), "{text}");
    }

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
