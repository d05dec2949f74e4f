//! [`Hub`]: the channels' masters and viewers, and the messages that wait for them. Sans-IO.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use super::message::{self, Incoming, Kind};
use crate::config::SignalingLimits;

/// Messages kept for one recipient. When full, the oldest goes: it would expire first.
const MAX_WAITING: usize = 256;

/// A connection.
pub type ConnectionId = u64;

/// As what a connection joined.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Peer {
    /// The one that answers.
    Master,
    /// One that offers.
    Viewer(String),
}

/// What the shell must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send this text.
    Send(ConnectionId, String),
    /// Close with this code and reason.
    Close(ConnectionId, u16, &'static str),
}

/// Why a connection is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// As many viewers as the channel may have.
    Viewers,
    /// More handshakes a second than the channel may have.
    Rate,
}

/// Who is on a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelView {
    /// A master is.
    pub master: bool,
    /// Client ids, sorted.
    pub viewers: Vec<String>,
}

#[derive(Debug)]
struct Waiting {
    from: Peer,
    kind: Kind,
    text: String,
    until: Instant,
}

#[derive(Debug, Default)]
struct Channel {
    ttl: Duration,
    peers: HashMap<Peer, ConnectionId>,
    waiting: HashMap<Peer, VecDeque<Waiting>>,
    handshakes: HashMap<bool, VecDeque<Instant>>,
}

#[derive(Debug)]
struct Connection {
    channel: String,
    peer: Peer,
    sent: HashMap<&'static str, VecDeque<Instant>>,
}

/// All channels.
#[derive(Debug)]
pub struct Hub {
    limits: SignalingLimits,
    channels: HashMap<String, Channel>,
    connections: HashMap<ConnectionId, Connection>,
    next: ConnectionId,
}

/// Takes a place in a window of one second, if there is one.
fn within_rate(window: &mut VecDeque<Instant>, most: u32, now: Instant) -> bool {
    while window.front().is_some_and(|at| *at + Duration::from_secs(1) <= now) {
        window.pop_front();
    }
    let free = window.len() < most as usize;
    if free {
        window.push_back(now);
    }
    free
}

impl Hub {
    /// No channel yet.
    #[must_use]
    pub fn new(limits: SignalingLimits) -> Self {
        Self { limits, channels: HashMap::new(), connections: HashMap::new(), next: 0 }
    }

    /// A connection joins. A second master replaces the first, and a client id its namesake. What waited for it is
    /// delivered, once and in order.
    ///
    /// # Errors
    /// [`Refusal`]
    pub fn connect(
        &mut self,
        channel: &str,
        ttl: Duration,
        peer: Peer,
        now: Instant,
    ) -> Result<(ConnectionId, Vec<Action>), Refusal> {
        let state = self.channels.entry(channel.to_owned()).or_default();
        state.ttl = ttl;
        let window = state.handshakes.entry(peer == Peer::Master).or_default();
        if !within_rate(window, self.limits.connects_per_second, now) {
            return Err(Refusal::Rate);
        }
        let viewers = state.peers.keys().filter(|known| **known != Peer::Master).count();
        if peer != Peer::Master && !state.peers.contains_key(&peer) && viewers >= self.limits.viewers {
            return Err(Refusal::Viewers);
        }
        self.next += 1;
        let id = self.next;
        let mut actions = Vec::new();
        if let Some(old) = state.peers.insert(peer.clone(), id) {
            self.connections.remove(&old);
            actions.push(Action::Close(old, 1000, "replaced by a newer connection"));
        }
        for waiting in state.waiting.remove(&peer).unwrap_or_default() {
            if waiting.until > now {
                actions.push(Action::Send(id, waiting.text));
            }
        }
        let connection = Connection { channel: channel.to_owned(), peer, sent: HashMap::new() };
        self.connections.insert(id, connection);
        Ok((id, actions))
    }

    /// A connection is gone.
    pub fn disconnect(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.remove(&id)
            && let Some(state) = self.channels.get_mut(&connection.channel)
            && state.peers.get(&connection.peer) == Some(&id)
        {
            state.peers.remove(&connection.peer);
        }
    }

    /// A text frame of a connection. An empty one says nothing.
    pub fn message(&mut self, id: ConnectionId, text: &str, now: Instant) -> Vec<Action> {
        if text.trim().is_empty() {
            return Vec::new();
        }
        let Some(connection) = self.connections.get_mut(&id) else { return Vec::new() };
        let refused = |correlation_id: Option<String>, error_type: &str, why: &str| {
            tracing::debug!(connection = id, why, "message refused");
            correlation_id
                .map(|id_| Action::Send(id, message::status(&id_, error_type, why)))
                .into_iter()
                .collect()
        };
        let incoming = match message::parse(text) {
            Ok(incoming) => incoming,
            Err((correlation_id, why)) => return refused(correlation_id, "InvalidArgumentException", &why),
        };
        let Incoming { kind, payload, recipient, correlation_id } = incoming;
        let most = match kind {
            Kind::Offer | Kind::Answer => self.limits.sdp_per_second,
            Kind::Candidate => self.limits.candidates_per_second,
        };
        if !within_rate(connection.sent.entry(kind.name()).or_default(), most, now) {
            let why = format!("more than {most} {} a second", kind.name());
            return refused(correlation_id, "ClientLimitExceededException", &why);
        }
        let from = connection.peer.clone();
        let (to, text) = match (&from, recipient) {
            // Whatever a viewer writes there, it speaks to the master.
            (Peer::Viewer(viewer), _) => (Peer::Master, message::deliver(kind, &payload, Some(viewer))),
            (Peer::Master, Some(recipient)) => {
                (Peer::Viewer(recipient), message::deliver(kind, &payload, None))
            }
            (Peer::Master, None) => {
                return refused(correlation_id, "InvalidArgumentException", "recipientClientId: is required");
            }
        };
        let Some(state) = self.channels.get_mut(&connection.channel) else { return Vec::new() };
        if let Some(&recipient) = state.peers.get(&to) {
            return vec![Action::Send(recipient, text)];
        }
        let until = now + state.ttl;
        let waiting = state.waiting.entry(to).or_default();
        waiting.retain(|waiting| {
            waiting.until > now && (kind == Kind::Candidate || waiting.kind != kind || waiting.from != from)
        });
        if waiting.len() >= MAX_WAITING {
            waiting.pop_front();
        }
        waiting.push_back(Waiting { from, kind, text, until });
        Vec::new()
    }

    /// Who is on a channel.
    #[must_use]
    pub fn view(&self, channel: &str) -> ChannelView {
        let Some(state) = self.channels.get(channel) else { return ChannelView::default() };
        let mut view = ChannelView::default();
        for peer in state.peers.keys() {
            match peer {
                Peer::Master => view.master = true,
                Peer::Viewer(id) => view.viewers.push(id.clone()),
            }
        }
        view.viewers.sort();
        view
    }

    /// The connections of a channel, or of one peer on it.
    #[must_use]
    pub fn connections(&self, channel: &str, peer: Option<&Peer>) -> Vec<ConnectionId> {
        let Some(state) = self.channels.get(channel) else { return Vec::new() };
        state
            .peers
            .iter()
            .filter(|(known, _)| peer.is_none_or(|peer| peer == *known))
            .map(|(_, id)| *id)
            .collect()
    }

    /// A channel was deleted: its connections end.
    pub fn forget(&mut self, channel: &str) -> Vec<Action> {
        let ids = self.connections(channel, None);
        self.channels.remove(channel);
        for id in &ids {
            self.connections.remove(id);
        }
        ids.into_iter().map(|id| Action::Close(id, 1001, "the channel was deleted")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(60);

    fn send(kind: &str, payload: &str, recipient: Option<&str>) -> String {
        let mut object = serde_json::json!({"action": kind, "messagePayload": payload, "correlationId": "c"});
        if let Some(recipient) = recipient {
            object["recipientClientId"] = serde_json::json!(recipient);
        }
        object.to_string()
    }

    fn viewer(id: &str) -> Peer {
        Peer::Viewer(id.to_owned())
    }

    fn texts(actions: &[Action]) -> Vec<(ConnectionId, serde_json::Value)> {
        actions
            .iter()
            .map(|action| match action {
                Action::Send(id, text) => (*id, serde_json::from_str(text).unwrap()),
                Action::Close(..) => panic!("{action:?}"),
            })
            .collect()
    }

    #[test]
    fn a_viewer_speaks_to_the_master_and_the_master_to_whom_it_names() {
        let now = Instant::now();
        let mut hub = Hub::new(SignalingLimits::default());
        let (master, _) = hub.connect("c", TTL, Peer::Master, now).unwrap();
        let (a, _) = hub.connect("c", TTL, viewer("a"), now).unwrap();
        let (_b, _) = hub.connect("c", TTL, viewer("b"), now).unwrap();
        let sent = texts(&hub.message(a, &send("SDP_OFFER", "b2Zm", Some("whoever")), now));
        let expected =
            serde_json::json!({"messageType": "SDP_OFFER", "messagePayload": "b2Zm", "senderClientId": "a"});
        assert_eq!(sent, [(master, expected)]);
        let sent = texts(&hub.message(master, &send("SDP_ANSWER", "YW5z", Some("a")), now));
        assert_eq!(sent, [(a, serde_json::json!({"messageType": "SDP_ANSWER", "messagePayload": "YW5z"}))]);
        let sent = texts(&hub.message(master, &send("SDP_ANSWER", "YW5z", None), now));
        assert_eq!(sent[0].0, master);
        assert_eq!(sent[0].1["statusResponse"]["errorType"], "InvalidArgumentException");
    }

    #[test]
    fn messages_wait_for_who_is_not_there_and_go_out_once() {
        let now = Instant::now();
        let mut hub = Hub::new(SignalingLimits::default());
        let (a, _) = hub.connect("c", TTL, viewer("a"), now).unwrap();
        for text in [
            send("SDP_OFFER", "b2xk", None),
            send("ICE_CANDIDATE", "Yw==", None),
            send("SDP_OFFER", "bmV3", None),
            send("ICE_CANDIDATE", "ZA==", None),
        ] {
            assert_eq!(hub.message(a, &text, now), []);
        }
        let (master, actions) = hub.connect("c", TTL, Peer::Master, now + TTL / 2).unwrap();
        let payloads: Vec<_> = texts(&actions)
            .into_iter()
            .map(|(_, text)| text["messagePayload"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(payloads, ["Yw==", "bmV3", "ZA=="]);
        hub.disconnect(master);
        assert_eq!(hub.connect("c", TTL, Peer::Master, now + TTL / 2).unwrap().1, []);
        // What is too old is not delivered.
        let (a, _) = hub.connect("d", TTL, viewer("a"), now).unwrap();
        hub.message(a, &send("SDP_OFFER", "b2xk", None), now);
        assert_eq!(hub.connect("d", TTL, Peer::Master, now + TTL).unwrap().1, []);
    }

    #[test]
    fn newer_connections_replace_and_the_eleventh_viewer_is_refused() {
        let mut now = Instant::now();
        let mut hub = Hub::new(SignalingLimits::default());
        let (old, _) = hub.connect("c", TTL, Peer::Master, now).unwrap();
        let (_, actions) = hub.connect("c", TTL, Peer::Master, now).unwrap();
        assert!(matches!(actions[..], [Action::Close(id, ..)] if id == old));
        for number in 0..10 {
            now += Duration::from_secs(1);
            hub.connect("c", TTL, viewer(&number.to_string()), now).unwrap();
        }
        now += Duration::from_secs(1);
        assert_eq!(hub.connect("c", TTL, viewer("x"), now), Err(Refusal::Viewers));
        assert!(hub.connect("c", TTL, viewer("5"), now).is_ok());
        assert_eq!(hub.view("c").viewers.len(), 10);
        // The old connection's end changes nothing for its successor.
        hub.disconnect(old);
        assert!(hub.view("c").master);
    }

    #[test]
    fn rates_are_those_of_the_service() {
        let now = Instant::now();
        let mut hub = Hub::new(SignalingLimits::default());
        for _ in 0..3 {
            hub.connect("c", TTL, viewer("a"), now).unwrap();
        }
        assert_eq!(hub.connect("c", TTL, viewer("a"), now), Err(Refusal::Rate));
        let later = now + Duration::from_secs(1);
        let (a, _) = hub.connect("c", TTL, viewer("a"), later).unwrap();
        let refused: Vec<_> =
            (0..6).flat_map(|_| hub.message(a, &send("SDP_OFFER", "b2Zm", None), later)).collect();
        assert_eq!(texts(&refused)[0].1["statusResponse"]["errorType"], "ClientLimitExceededException");
        assert_eq!(refused.len(), 1);
    }
}
