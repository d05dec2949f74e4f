//! [`Hub`]: who is connected to which channel, and what becomes of their messages. No sockets, no clock.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::message::{Action, Inbound};
use crate::{
    SignalingLimits,
    error::{ErrorKind, ServiceError},
    names::is_name,
    rate::Rate,
};

/// Undelivered messages per channel. When full, the oldest goes: it is the one nearest to its end anyway.
const MAX_HELD: usize = 1000;

/// A connection of the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(u64);

/// In which role a connection is made.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The one that answers.
    Master,
    /// One of those that offer, by its client id.
    Viewer(String),
}

/// What is to be done with a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send a text frame.
    Send(SocketId, String),
    /// It was a call that waited for this answer.
    Answer(SocketId, String),
    /// Close it with this code and reason.
    Close(SocketId, u16, &'static str),
    /// It said this to the storage session of its channel.
    Storage(SocketId, Box<ToStorage>),
}

/// What a client says to the storage session of its channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToStorage {
    /// The channel's ARN.
    pub channel: String,
    /// Who says it.
    pub from: Role,
    /// An answer or a candidate.
    pub action: Action,
    /// The base64 text as sent.
    pub payload: String,
    /// Wanted in error reports.
    pub correlation_id: Option<String>,
}

/// Who is on a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelView {
    /// Whether a master is connected.
    pub master: bool,
    /// The client ids of the viewers, sorted.
    pub viewers: Vec<String>,
    /// Messages that wait for their recipient.
    pub held: usize,
}

#[derive(Debug)]
struct Socket {
    channel: String,
    role: Role,
    since: Instant,
    active: Instant,
    go_away_sent: bool,
    offers: Rate,
    answers: Rate,
    candidates: Rate,
}

#[derive(Debug)]
struct Held {
    /// `None`: the storage session.
    from: Option<Role>,
    to: Role,
    action: Action,
    payload: String,
    until: Instant,
}

#[derive(Debug)]
struct Room {
    ttl: Duration,
    sockets: BTreeMap<Role, SocketId>,
    held: VecDeque<Held>,
    /// Whether media storage is on: then nobody talks to anybody but the storage session.
    storage: bool,
    /// Calls that wait for an answer, by the client ids that they were made in the name of.
    calls: BTreeMap<String, SocketId>,
    master_connects: Rate,
    viewer_connects: Rate,
}

/// The hub. Inputs are the methods with `now`; what they cause waits in [`Hub::poll_output`].
#[derive(Debug)]
pub struct Hub {
    limits: SignalingLimits,
    next: u64,
    sockets: HashMap<SocketId, Socket>,
    rooms: HashMap<String, Room>,
    /// Drained after each input, so it holds what one input causes.
    outputs: VecDeque<Output>,
}

impl Hub {
    /// An empty hub.
    pub fn new(limits: SignalingLimits) -> Self {
        Self { limits, next: 0, sockets: HashMap::new(), rooms: HashMap::new(), outputs: VecDeque::new() }
    }

    /// Takes a connection in; one of the same role (same client id) is closed in its favour. `ttl` is the channel's
    /// `MessageTtlSeconds`.
    ///
    /// # Errors
    /// `InvalidArgumentException` for a bad client id; `ClientLimitExceededException` for too many viewers or
    /// handshakes.
    pub fn connect(
        &mut self,
        channel: &str,
        ttl: Duration,
        role: Role,
        now: Instant,
    ) -> Result<SocketId, ServiceError> {
        let limits = &self.limits;
        if let Role::Viewer(id) = &role {
            if !is_name(id) {
                return Err(ServiceError::invalid("X-Amz-ClientId", "must be 1 to 256 of [a-zA-Z0-9_.-]"));
            }
            if id.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("AWS_")) {
                return Err(ServiceError::invalid("X-Amz-ClientId", "must not begin with AWS_"));
            }
        }
        let room = self.rooms.entry(channel.to_owned()).or_insert_with(|| Room::new(ttl, limits));
        room.ttl = ttl;
        let exceeded = |what: &str| Err(ServiceError::new(ErrorKind::ClientLimitExceeded, what));
        let rate = if role == Role::Master { &mut room.master_connects } else { &mut room.viewer_connects };
        if !rate.take(now) {
            return exceeded("Too many connections per second on this channel.");
        }
        let viewers = room.sockets.keys().filter(|role| **role != Role::Master).count();
        if role != Role::Master && !room.sockets.contains_key(&role) && viewers >= limits.viewers {
            return exceeded("The channel has the most viewers that it can have.");
        }
        let id = SocketId(self.next);
        self.next += 1;
        if let Some(old) = room.sockets.insert(role.clone(), id) {
            self.sockets.remove(&old);
            self.outputs.push_back(Output::Close(old, 1000, "Replaced by a newer connection"));
        }
        // what waited for this client, in the order in which it was sent
        room.expire(now);
        let (mine, rest) = std::mem::take(&mut room.held).into_iter().partition(|held| held.to == role);
        room.held = rest;
        let mine: VecDeque<Held> = mine;
        self.outputs.extend(mine.iter().map(|held| Output::Send(id, held.event())));
        let socket = Socket {
            channel: channel.to_owned(),
            role,
            since: now,
            active: now,
            go_away_sent: false,
            offers: Rate::new(limits.sdp_per_second),
            answers: Rate::new(limits.sdp_per_second),
            candidates: Rate::new(limits.candidates_per_second),
        };
        self.sockets.insert(id, socket);
        Ok(id)
    }

    /// A text frame of a client. An empty one only counts as activity.
    pub fn message(&mut self, id: SocketId, text: &str, now: Instant) {
        self.activity(id, now);
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        if text.is_empty() {
            return;
        }
        let message = match Inbound::parse(text) {
            Ok(message) => message,
            Err(error) => {
                tracing::warn!(channel = socket.channel, role = ?socket.role, %error, "signaling message refused");
                return self.refuse(id, error.correlation_id, ErrorKind::InvalidArgument, &error.reason);
            }
        };
        let rate = match message.action {
            Action::Offer => &mut socket.offers,
            Action::Answer => &mut socket.answers,
            Action::Candidate => &mut socket.candidates,
        };
        if !rate.take(now) {
            let reason = format!("Too many messages of type {} per second.", message.action.word());
            tracing::warn!(channel = socket.channel, role = ?socket.role, reason, "signaling message refused");
            return self.refuse(id, message.correlation_id, ErrorKind::ClientLimitExceeded, &reason);
        }
        let (from, channel) = (socket.role.clone(), socket.channel.clone());
        if self.rooms.get(&channel).is_some_and(|room| room.storage) {
            return self.tell_storage(id, channel, from, message);
        }
        let to = match (&from, message.recipient) {
            // a viewer can only reach the master, whatever it says
            (Role::Viewer(_), _) => Role::Master,
            (Role::Master, Some(recipient)) => Role::Viewer(recipient),
            (Role::Master, None) => {
                let reason = "recipientClientId is required of a master";
                tracing::warn!(channel, reason, "signaling message refused");
                return self.refuse(id, message.correlation_id, ErrorKind::InvalidArgument, reason);
            }
        };
        let Some(room) = self.rooms.get_mut(&channel) else { return };
        if let Role::Viewer(client) = &to
            && let Some(call) = room.calls.get(client).copied()
        {
            // what else the master says to a call, its candidates, has nobody to hear it
            if message.action == Action::Answer {
                room.calls.remove(client);
                self.outputs.push_back(Output::Answer(call, message.payload));
            }
            return;
        }
        let until = now + room.ttl;
        let held = Held { from: Some(from), to, action: message.action, payload: message.payload, until };
        self.deliver(&channel, held, now);
    }

    /// Sends a message, or holds it until its recipient comes.
    fn deliver(&mut self, channel: &str, held: Held, now: Instant) {
        let Some(room) = self.rooms.get_mut(channel) else { return };
        tracing::debug!(channel, from = ?held.from, to = ?held.to, kind = held.action.word(), "signaling message");
        match room.sockets.get(&held.to) {
            Some(recipient) => self.outputs.push_back(Output::Send(*recipient, held.event())),
            None => room.hold(held, now),
        }
    }

    /// While media storage is on there are no connections from peer to peer ("Ingest and store media" of the developer
    /// guide): whatever recipient a client names, it answers the storage session. An offer is nobody's.
    fn tell_storage(&mut self, id: SocketId, channel: String, from: Role, message: Inbound) {
        let Inbound { action, payload, correlation_id, recipient: _ } = message;
        if action == Action::Offer {
            let reason = "Media storage is enabled on the channel: the storage session makes the offers. Call \
                          JoinStorageSession as its master, JoinStorageSessionAsViewer as a viewer.";
            tracing::warn!(channel, role = ?from, reason, "signaling message refused");
            return self.refuse(id, correlation_id, ErrorKind::InvalidArgument, reason);
        }
        tracing::debug!(channel, ?from, kind = action.word(), "signaling message to the storage session");
        let message = ToStorage { channel, from, action, payload, correlation_id };
        self.outputs.push_back(Output::Storage(id, Box::new(message)));
    }

    /// Switches media storage of a channel on or off.
    pub fn set_storage(&mut self, channel: &str, on: bool) {
        if let Some(room) = self.rooms.get_mut(channel) {
            room.storage = on;
        }
    }

    /// What the storage session says to a client of a channel; it is held as any message is.
    pub fn storage_says(
        &mut self,
        channel: &str,
        ttl: Duration,
        to: Role,
        action: Action,
        payload: String,
        now: Instant,
    ) {
        let room = self.rooms.entry(channel.to_owned()).or_insert_with(|| Room::new(ttl, &self.limits));
        (room.ttl, room.storage) = (ttl, true);
        self.deliver(channel, Held { from: None, to, action, payload, until: now + ttl }, now);
    }

    /// An offer that comes by a call; its answer comes out as [`Output::Answer`]. Another call of the same client id is closed in
    /// its favour.
    ///
    /// # Errors
    /// `ClientLimitExceededException` when as many wait as a channel may have viewers.
    pub fn call(
        &mut self,
        channel: &str,
        ttl: Duration,
        client: &str,
        offer: &str,
        now: Instant,
    ) -> Result<SocketId, ServiceError> {
        let room = self.rooms.entry(channel.to_owned()).or_insert_with(|| Room::new(ttl, &self.limits));
        room.ttl = ttl;
        if room.calls.len() >= self.limits.viewers && !room.calls.contains_key(client) {
            let why = "The channel has as many offers without an answer as it can have.";
            return Err(ServiceError::new(ErrorKind::ClientLimitExceeded, why));
        }
        let id = SocketId(self.next);
        self.next += 1;
        if let Some(old) = room.calls.insert(client.to_owned(), id) {
            self.outputs.push_back(Output::Close(old, 1000, "Replaced by a newer call"));
        }
        let held = Held {
            from: Some(Role::Viewer(client.to_owned())),
            to: Role::Master,
            action: Action::Offer,
            payload: offer.to_owned(),
            until: now + ttl,
        };
        self.deliver(channel, held, now);
        Ok(id)
    }

    /// Nobody waits for the answer to this call any more, and its offer need not be delivered.
    pub fn hang_up(&mut self, channel: &str, call: SocketId, now: Instant) {
        let Some(room) = self.rooms.get_mut(channel) else { return };
        room.expire(now);
        let Some(client) = room.calls.iter().find(|(_, id)| **id == call).map(|(client, _)| client.clone())
        else {
            return;
        };
        room.calls.remove(&client);
        let from = Some(Role::Viewer(client));
        room.held.retain(|held| held.from != from || held.action != Action::Offer);
    }

    /// Any frame of a client, a ping too.
    pub fn activity(&mut self, id: SocketId, now: Instant) {
        if let Some(socket) = self.sockets.get_mut(&id) {
            socket.active = now;
        }
    }

    /// The connection has gone.
    pub fn disconnect(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.remove(&id) else { return };
        if let Some(room) = self.rooms.get_mut(&socket.channel) {
            room.sockets.remove(&socket.role);
        }
    }

    /// The channel has been deleted: its connections are closed and what it held is dropped.
    pub fn forget(&mut self, channel: &str) {
        let Some(room) = self.rooms.remove(channel) else { return };
        for id in room.sockets.into_values().chain(room.calls.into_values()) {
            self.sockets.remove(&id);
            self.outputs.push_back(Output::Close(id, 1001, "Going away"));
        }
    }

    /// Closes connections that are idle or too old, and says `GO_AWAY` a while before.
    pub fn handle_timeout(&mut self, now: Instant) {
        let mut over = Vec::new();
        for (id, socket) in &mut self.sockets {
            if now >= socket.active + self.limits.idle {
                over.push((*id, "Idle timeout"));
            } else if now >= socket.since + self.limits.connection {
                over.push((*id, "Going away"));
            } else if !socket.go_away_sent
                && !self.limits.go_away.is_zero()
                && now >= socket.go_away_at(&self.limits)
            {
                socket.go_away_sent = true;
                self.outputs.push_back(Output::Send(*id, control("GO_AWAY")));
            }
        }
        for (id, reason) in over {
            self.disconnect(id);
            self.outputs.push_back(Output::Close(id, 1001, reason));
        }
    }

    /// When [`Hub::handle_timeout`] has something to do for this connection.
    pub fn poll_timeout(&self, id: SocketId) -> Option<Instant> {
        let socket = self.sockets.get(&id)?;
        let end = (socket.active + self.limits.idle).min(socket.since + self.limits.connection);
        Some(if socket.go_away_sent { end } else { end.min(socket.go_away_at(&self.limits)) })
    }

    /// What the inputs so far have caused, one by one.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The connections of a channel: all of them, or those of one role.
    pub fn sockets(&self, channel: &str, role: Option<&Role>) -> Vec<SocketId> {
        let Some(room) = self.rooms.get(channel) else { return Vec::new() };
        room.sockets
            .iter()
            .filter(|(have, _)| role.is_none_or(|want| want == *have))
            .map(|(_, id)| *id)
            .collect()
    }

    /// Who is on a channel.
    pub fn view(&self, channel: &str) -> ChannelView {
        let Some(room) = self.rooms.get(channel) else { return ChannelView::default() };
        let viewers = room.sockets.keys().filter_map(|role| match role {
            Role::Viewer(id) => Some(id.clone()),
            Role::Master => None,
        });
        ChannelView {
            master: room.sockets.contains_key(&Role::Master),
            viewers: viewers.collect(),
            held: room.held.len(),
        }
    }

    /// Tells a client why its message was refused.
    pub(super) fn refuse(
        &mut self,
        id: SocketId,
        correlation_id: Option<String>,
        kind: ErrorKind,
        description: &str,
    ) {
        // without a correlation id the service says nothing
        let Some(correlation_id) = correlation_id else { return };
        let status = json!({
            "messageType": "STATUS_RESPONSE",
            "statusResponse": {
                "correlationId": correlation_id,
                "errorType": kind.name(),
                "statusCode": kind.status().as_str(),
                "description": description,
                "success": false,
            },
        });
        self.outputs.push_back(Output::Send(id, status.to_string()));
    }
}

/// A control message: `GO_AWAY`, `RECONNECT_ICE_SERVER`.
pub(super) fn control(kind: &str) -> String {
    json!({ "messageType": kind }).to_string()
}

impl Socket {
    fn go_away_at(&self, limits: &SignalingLimits) -> Instant {
        self.since + limits.connection.saturating_sub(limits.go_away)
    }
}

impl Held {
    /// The event that the recipient gets. Viewers are not told who sent it: it is always the master, or the storage session,
    /// which has no name.
    fn event(&self) -> String {
        let mut event = json!({ "messagePayload": self.payload, "messageType": self.action.word() });
        if let Some(Role::Viewer(id)) = &self.from {
            event["senderClientId"] = Value::String(id.clone());
        }
        event.to_string()
    }
}

impl Room {
    fn new(ttl: Duration, limits: &SignalingLimits) -> Self {
        Self {
            ttl,
            sockets: BTreeMap::new(),
            held: VecDeque::new(),
            storage: false,
            calls: BTreeMap::new(),
            master_connects: Rate::new(limits.connects_per_second),
            viewer_connects: Rate::new(limits.connects_per_second),
        }
    }

    fn expire(&mut self, now: Instant) {
        self.held.retain(|held| held.until > now);
    }

    fn hold(&mut self, new: Held, now: Instant) {
        self.expire(now);
        if new.action != Action::Candidate {
            // a newer offer or answer takes the place of an undelivered one; candidates accumulate
            self.held.retain(|old| (old.action, &old.from, &old.to) != (new.action, &new.from, &new.to));
        }
        if self.held.len() >= MAX_HELD {
            self.held.pop_front();
        }
        self.held.push_back(new);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(60);

    fn hub() -> (Hub, Instant) {
        (Hub::new(SignalingLimits { connects_per_second: 100, ..Default::default() }), Instant::now())
    }

    fn viewer(id: &str) -> Role {
        Role::Viewer(id.to_owned())
    }

    fn sent(hub: &mut Hub) -> Vec<Output> {
        std::iter::from_fn(|| hub.poll_output()).collect()
    }

    fn offer(payload: &str) -> String {
        format!(r#"{{"action":"SDP_OFFER","messagePayload":"{payload}"}}"#)
    }

    #[test]
    fn routes_both_ways() {
        let (mut hub, now) = hub();
        let master = hub.connect("c", TTL, Role::Master, now).unwrap();
        let v = hub.connect("c", TTL, viewer("v1"), now).unwrap();
        hub.message(v, &offer("e30="), now);
        let event = r#"{"messagePayload":"e30=","messageType":"SDP_OFFER","senderClientId":"v1"}"#;
        assert_eq!(sent(&mut hub), [Output::Send(master, event.to_owned())]);
        hub.message(
            master,
            r#"{"action":"SDP_ANSWER","RecipientClientId":"v1","MessagePayload":"e30"}"#,
            now,
        );
        let event = r#"{"messagePayload":"e30","messageType":"SDP_ANSWER"}"#;
        assert_eq!(sent(&mut hub), [Output::Send(v, event.to_owned())]);
    }

    #[test]
    fn with_media_storage_everybody_talks_to_the_storage_session() {
        let (mut hub, now) = hub();
        hub.storage_says("c", TTL, Role::Master, Action::Offer, "b2ZmZXI=".to_owned(), now);
        let master = hub.connect("c", TTL, Role::Master, now).unwrap();
        let event = r#"{"messagePayload":"b2ZmZXI=","messageType":"SDP_OFFER"}"#;
        assert_eq!(sent(&mut hub), [Output::Send(master, event.to_owned())], "held until it comes");
        let v = hub.connect("c", TTL, viewer("v1"), now).unwrap();
        hub.message(v, r#"{"action":"SDP_OFFER","messagePayload":"e30=","correlationId":"7"}"#, now);
        let [Output::Send(to, refusal)] = &sent(&mut hub)[..] else { panic!() };
        assert!(*to == v && refusal.contains("JoinStorageSessionAsViewer"), "{refusal}");
        hub.message(v, &offer("e30="), now);
        assert!(sent(&mut hub).is_empty(), "without a correlation id nothing is said");
        for (socket, from, recipient) in
            [(master, Role::Master, "v1"), (master, Role::Master, ""), (v, viewer("v1"), "x")]
        {
            let answer = format!(
                r#"{{"action":"SDP_ANSWER","messagePayload":"e30","recipientClientId":"{recipient}"}}"#
            );
            hub.message(socket, &answer, now);
            let expected = ToStorage {
                channel: "c".to_owned(),
                from,
                action: Action::Answer,
                payload: "e30".to_owned(),
                correlation_id: None,
            };
            assert_eq!(sent(&mut hub), [Output::Storage(socket, Box::new(expected))]);
        }
        hub.set_storage("c", false);
        hub.message(v, &offer("e30="), now);
        assert!(matches!(&sent(&mut hub)[..], [Output::Send(to, _)] if *to == master));
    }

    #[test]
    fn holds_newest_offer_and_all_candidates_until_the_ttl() {
        let (mut hub, now) = hub();
        let v = hub.connect("c", TTL, viewer("v"), now).unwrap();
        let candidate = r#"{"action":"ICE_CANDIDATE","messagePayload":"e30="}"#;
        hub.message(v, &offer("AAAA"), now);
        hub.message(v, candidate, now);
        hub.message(v, &offer("BBBB"), now);
        hub.message(v, candidate, now);
        hub.connect("c", TTL, Role::Master, now + Duration::from_secs(59)).unwrap();
        let texts: Vec<String> = sent(&mut hub)
            .into_iter()
            .map(|output| match output {
                Output::Send(_, text) => text,
                Output::Answer(..) | Output::Close(..) | Output::Storage(..) => String::new(),
            })
            .collect();
        assert_eq!(texts.len(), 3);
        assert!(
            texts[0].contains("ICE_CANDIDATE")
                && texts[1].contains("BBBB")
                && texts[2].contains("ICE_CANDIDATE")
        );
        // delivered once
        hub.connect("c", TTL, Role::Master, now + Duration::from_secs(59)).unwrap();
        assert!(sent(&mut hub).iter().all(|output| matches!(output, Output::Close(..))));
    }

    #[test]
    fn expired_messages_are_not_delivered() {
        let (mut hub, now) = hub();
        let v = hub.connect("c", TTL, viewer("v"), now).unwrap();
        hub.message(v, &offer("AAAA"), now);
        hub.connect("c", TTL, Role::Master, now + TTL).unwrap();
        assert_eq!(sent(&mut hub), []);
    }

    #[test]
    fn the_eleventh_viewer_is_refused_and_the_same_id_replaces() {
        let (mut hub, now) = hub();
        let first = hub.connect("c", TTL, viewer("v0"), now).unwrap();
        for n in 1..10 {
            hub.connect("c", TTL, viewer(&format!("v{n}")), now).unwrap();
        }
        let error = hub.connect("c", TTL, viewer("v10"), now).unwrap_err();
        assert_eq!(error.kind, ErrorKind::ClientLimitExceeded);
        hub.connect("c", TTL, viewer("v0"), now).unwrap();
        assert_eq!(sent(&mut hub), [Output::Close(first, 1000, "Replaced by a newer connection")]);
        // the old connection's end must not take the new one with it
        hub.disconnect(first);
        assert_eq!(hub.view("c").viewers.len(), 10);
        assert!(hub.connect("c", TTL, viewer("aws_x"), now).is_err());
        assert!(hub.connect("c", TTL, viewer("a b"), now).is_err());
    }

    #[test]
    fn errors_are_reported_only_with_a_correlation_id() {
        let (mut hub, now) = hub();
        let v = hub.connect("c", TTL, viewer("v"), now).unwrap();
        hub.message(v, "not json", now);
        hub.message(v, "", now);
        hub.message(v, r#"{"action":"X"}"#, now);
        assert_eq!(sent(&mut hub), []);
        hub.message(v, r#"{"action":"X","correlationId":"7"}"#, now);
        let outputs = sent(&mut hub);
        let [Output::Send(_, text)] = &outputs[..] else { panic!("{outputs:?}") };
        let status: Value = serde_json::from_str(text).unwrap();
        assert_eq!(status["messageType"], "STATUS_RESPONSE");
        assert_eq!(status["statusResponse"]["correlationId"], "7");
        assert_eq!(status["statusResponse"]["statusCode"], "400");
        assert_eq!(status["statusResponse"]["success"], false);
    }

    #[test]
    fn rates_are_limited_per_second() {
        let (mut hub, now) = hub();
        hub.connect("c", TTL, Role::Master, now).unwrap();
        let v = hub.connect("c", TTL, viewer("v"), now).unwrap();
        let offer = r#"{"action":"SDP_OFFER","messagePayload":"e30=","correlationId":"1"}"#;
        for _ in 0..6 {
            hub.message(v, offer, now);
        }
        let outputs = sent(&mut hub);
        assert_eq!(outputs.len(), 6);
        assert!(
            matches!(&outputs[5], Output::Send(to, text) if *to == v && text.contains("ClientLimitExceeded"))
        );
        hub.message(v, offer, now + Duration::from_secs(1));
        assert!(matches!(&sent(&mut hub)[..], [Output::Send(to, _)] if *to != v));
    }

    #[test]
    fn idle_and_old_connections_end() {
        let (mut hub, now) = hub();
        let idle = hub.connect("c", TTL, viewer("idle"), now).unwrap();
        let busy = hub.connect("c", TTL, viewer("busy"), now).unwrap();
        assert_eq!(hub.poll_timeout(idle), Some(now + Duration::from_secs(600)));
        for minute in 1..=58 {
            hub.activity(busy, now + Duration::from_secs(60 * minute));
            hub.handle_timeout(now + Duration::from_secs(60 * minute));
        }
        assert_eq!(sent(&mut hub), [Output::Close(idle, 1001, "Idle timeout")]);
        hub.handle_timeout(now + Duration::from_secs(3540));
        assert_eq!(sent(&mut hub), [Output::Send(busy, r#"{"messageType":"GO_AWAY"}"#.to_owned())]);
        hub.handle_timeout(now + Duration::from_secs(3600));
        assert_eq!(sent(&mut hub), [Output::Close(busy, 1001, "Going away")]);
        assert_eq!(hub.view("c"), ChannelView::default());
    }

    #[test]
    fn a_call_is_answered_once_whenever_the_master_comes() {
        let (mut hub, now) = hub();
        let answer = r#"{"action":"SDP_ANSWER","recipientClientId":"echo","messagePayload":"QUJD"}"#;
        let event = r#"{"messagePayload":"e30=","messageType":"SDP_OFFER","senderClientId":"echo"}"#;
        let call = hub.call("c", TTL, "echo", "e30=", now).unwrap();
        let master = hub.connect("c", TTL, Role::Master, now + Duration::from_secs(30)).unwrap();
        assert_eq!(sent(&mut hub), [Output::Send(master, event.to_owned())]);
        let candidate = answer.replace("SDP_ANSWER", "ICE_CANDIDATE");
        hub.message(master, &candidate, now);
        hub.message(master, answer, now);
        assert_eq!(sent(&mut hub), [Output::Answer(call, "QUJD".to_owned())]);
        // a second answer is one to a viewer that is not there
        hub.message(master, answer, now);
        assert_eq!((sent(&mut hub), hub.view("c").held), (vec![], 1));
        // who hangs up before the master has come is not offered to it
        hub.disconnect(master);
        let call = hub.call("c", TTL, "other", "e30=", now).unwrap();
        hub.hang_up("c", call, now);
        hub.connect("c", TTL, Role::Master, now).unwrap();
        assert_eq!(sent(&mut hub), []);
        let waiting: Vec<_> =
            (0..10).map(|n| hub.call("c", TTL, &format!("n{n}"), "e30=", now).unwrap()).collect();
        assert!(hub.call("c", TTL, "n10", "e30=", now).is_err());
        sent(&mut hub);
        hub.forget("c");
        let closed = sent(&mut hub);
        assert!(waiting.iter().all(|id| closed.contains(&Output::Close(*id, 1001, "Going away"))));
    }

    #[test]
    fn without_go_away_a_connection_just_ends() {
        let now = Instant::now();
        let mut hub = Hub::new(SignalingLimits { go_away: Duration::ZERO, ..Default::default() });
        let id = hub.connect("c", TTL, Role::Master, now).unwrap();
        let end = now + Duration::from_secs(3600);
        let mut at = now;
        while let Some(next) = hub.poll_timeout(id) {
            at = next.min(at + Duration::from_secs(300));
            hub.activity(id, at);
            hub.handle_timeout(at);
        }
        assert_eq!((at, sent(&mut hub)), (end, vec![Output::Close(id, 1001, "Going away")]));
    }

    #[test]
    fn what_is_held_is_bounded() {
        let (mut hub, mut now) = hub();
        let master = hub.connect("c", Duration::from_secs(120), Role::Master, now).unwrap();
        for n in 0..MAX_HELD + 50 {
            now += Duration::from_millis(51);
            let text =
                format!(r#"{{"action":"ICE_CANDIDATE","recipientClientId":"v{n}","messagePayload":"e30="}}"#);
            hub.message(master, &text, now);
        }
        assert_eq!(hub.view("c").held, MAX_HELD);
    }
}
