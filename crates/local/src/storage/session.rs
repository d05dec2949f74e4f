//! [`Session`]: who takes part in a storage session, how long, and who gets what of whom. Sans-IO.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Instant,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};
use str0m::media::MediaKind;

use super::{
    peer::{Event, Frame, Peer, Who},
    recording::{self, Recording},
    sound::AacFrame,
};
use crate::{
    StorageLimits,
    signaling::{Action, Role},
};

/// A viewer that says nothing for so long leaves its place to another one. It is what is sent between two packets, and
/// more than one of them may be lost.
const TALK: std::time::Duration = std::time::Duration::from_millis(500);

/// What is to be done.
#[derive(Debug)]
pub(super) enum Output {
    /// Send this message (base64) to a client of the channel.
    Signal(Role, Action, String),
    /// Send a datagram.
    Transmit(SocketAddr, Bytes),
    /// Something of the recording.
    Record(recording::Output),
}

/// A call that cannot be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotJoined {
    /// As many viewers as there may be, or as were in the last minute.
    TooMany,
    /// No offer can be made.
    Broken(String),
}

/// A viewer's place.
#[derive(Debug, Clone, Copy)]
enum Place {
    Taken,
    /// Left at this moment; the same client may come back to it.
    Left(Instant),
}

struct Member {
    id: u64,
    peer: Peer,
}

/// The storage session of a channel.
pub(super) struct Session {
    limits: StorageLimits,
    local: SocketAddr,
    began: Instant,
    /// When something of a master's came last.
    media: Instant,
    next: u64,
    members: Vec<Member>,
    places: BTreeMap<String, Place>,
    /// The master that is recorded.
    master: Option<u64>,
    /// Who talks to the master, and when it did last.
    talks: Option<(u64, Instant)>,
    recording: Recording,
    ended: Option<&'static str>,
    /// Frames that a member did not take.
    refused: u64,
    outputs: VecDeque<Output>,
}

impl Session {
    /// A session without anybody; datagrams come to `local`.
    pub(super) fn new(limits: StorageLimits, local: SocketAddr, now: Instant, unix_ms: u64) -> Self {
        Self {
            limits,
            local,
            began: now,
            media: now,
            next: 0,
            members: Vec::new(),
            places: BTreeMap::new(),
            master: None,
            talks: None,
            recording: Recording::new(now, unix_ms),
            ended: None,
            refused: 0,
            outputs: VecDeque::new(),
        }
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Why it has ended.
    pub(super) fn ended(&self) -> Option<&'static str> {
        self.ended
    }

    /// Whether something recorded is not out of the encoder yet.
    pub(super) fn records(&self) -> bool {
        self.recording.is_ending()
    }

    /// What was recorded, and frames that a member did not take.
    pub(super) fn figures(&self) -> (recording::Figures, u64) {
        (self.recording.figures(), self.refused)
    }

    /// Offers to the master. Each call makes an offer of its own; the newest one that is answered counts.
    ///
    /// # Errors
    /// No offer can be made.
    pub(super) fn join_master(&mut self, now: Instant) -> Result<(), NotJoined> {
        self.offer(Who::Master, now)
    }

    /// Offers to a viewer.
    ///
    /// # Errors
    /// There are as many as there may be.
    pub(super) fn join_viewer(&mut self, client: &str, now: Instant) -> Result<(), NotJoined> {
        self.free_places(now);
        if !self.places.contains_key(client) && self.places.len() >= self.limits.viewers {
            return Err(NotJoined::TooMany);
        }
        self.places.insert(client.to_owned(), Place::Taken);
        self.offer(Who::Viewer(client.to_owned()), now)
    }

    fn offer(&mut self, who: Who, now: Instant) -> Result<(), NotJoined> {
        // An offer that nobody answered is replaced: an answer belongs to the newest one.
        self.members.retain(|member| member.peer.who != who || !member.peer.waits());
        let (peer, sdp) = Peer::new(who.clone(), self.local, now).map_err(NotJoined::Broken)?;
        let candidates: Vec<_> = sdp
            .lines()
            .filter_map(|line| line.trim().strip_prefix("a="))
            .filter(|line| line.starts_with("candidate:"))
            .collect();
        let candidate = candidates.first().map(
            |candidate| json!({ "candidate": candidate, "sdpMid": peer.first_mid(), "sdpMLineIndex": 0 }),
        );
        let role = role(&who);
        let offer = json!({ "type": "offer", "sdp": sdp });
        self.outputs.push_back(Output::Signal(role.clone(), Action::Offer, payload(&offer)));
        if let Some(candidate) = candidate {
            self.outputs.push_back(Output::Signal(role, Action::Candidate, payload(&candidate)));
        }
        self.members.push(Member { id: self.next, peer });
        self.next += 1;
        self.drain(now);
        Ok(())
    }

    /// An answer or a candidate of a client, as it came (base64 of JSON).
    ///
    /// # Errors
    /// Why it is refused, for its sender.
    pub(super) fn message(
        &mut self,
        from: &Role,
        action: Action,
        payload: &str,
        now: Instant,
    ) -> Result<(), String> {
        let json = read(payload).ok_or("The message payload is not the base64 of a JSON object.")?;
        let text = |name: &str| json.get(name).and_then(Value::as_str);
        let mut theirs = self.members.iter_mut().rev().filter(|member| role(&member.peer.who) == *from);
        let taken = match action {
            Action::Answer => {
                let sdp = text("sdp").ok_or("The answer has no sdp.")?;
                let waiting = theirs.find(|member| member.peer.waits());
                waiting
                    .ok_or("No offer waits for an answer: join the storage session for one.")?
                    .peer
                    .answer(sdp)
            }
            Action::Candidate => {
                let candidate = text("candidate").ok_or("The candidate has no candidate.")?;
                let peer = theirs.next().ok_or("You have not joined the storage session.")?;
                // an empty one is the end of them
                if !candidate.is_empty() {
                    peer.peer.candidate(candidate);
                }
                Ok(())
            }
            Action::Offer => Err("The storage session makes the offers.".to_owned()),
        };
        self.drain(now);
        taken
    }

    /// A datagram; `false`: of nobody who takes part.
    pub(super) fn datagram(&mut self, source: SocketAddr, data: &[u8], now: Instant) -> bool {
        let taken = self.members.iter_mut().any(|member| member.peer.datagram(source, data, now));
        if taken {
            self.drain(now);
        }
        taken
    }

    /// A frame of the encoder with this number.
    pub(super) fn encoded(&mut self, encoder: u64, frame: AacFrame) {
        self.recording.encoded(encoder, frame);
        self.record();
    }

    /// The encoder with this number has ended, or does not keep up.
    pub(super) fn encoder_ended(&mut self, encoder: u64) {
        self.recording.encoder_ended(encoder);
        self.record();
    }

    /// When [`Session::handle_timeout`] has something to do.
    pub(super) fn poll_timeout(&self, now: Instant) -> Instant {
        // the recording looks every now and then
        let often = now + std::time::Duration::from_millis(100);
        self.members.iter().map(|member| member.peer.poll_timeout()).fold(often, Instant::min)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        for member in &mut self.members {
            if member.peer.poll_timeout() <= now {
                member.peer.handle_timeout(now);
            }
        }
        self.drain(now);
        self.recording.handle_timeout(now);
        self.record();
        self.drain(now);
        self.free_places(now);
        if now.saturating_duration_since(self.began) >= self.limits.session {
            self.end("it has been as long as a session may be", now);
        } else if now.saturating_duration_since(self.media) >= self.limits.idle {
            self.end("no media came of a master for too long", now);
        }
    }

    /// Ends it: everybody is told.
    pub(super) fn end(&mut self, why: &'static str, now: Instant) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(why);
        self.recording.leave();
        self.record();
        for member in &mut self.members {
            member.peer.close();
        }
        self.drain(now);
    }

    fn free_places(&mut self, now: Instant) {
        let kept = self.limits.place;
        self.places.retain(|_, place| match place {
            Place::Taken => true,
            Place::Left(at) => now.saturating_duration_since(*at) < kept,
        });
    }

    /// Everything that the members have to say.
    fn drain(&mut self, now: Instant) {
        loop {
            let mut events = Vec::new();
            for member in &mut self.members {
                while let Some(event) = member.peer.poll_event(now) {
                    events.push((member.id, event));
                }
            }
            if events.is_empty() {
                break;
            }
            for (id, event) in events {
                self.event(id, event, now);
            }
        }
        self.members.retain(|member| !member.peer.is_gone());
    }

    fn member(&mut self, id: u64) -> Option<&mut Peer> {
        self.members.iter_mut().find(|member| member.id == id).map(|member| &mut member.peer)
    }

    fn event(&mut self, id: u64, event: Event, now: Instant) {
        match event {
            Event::Transmit(to, data) => self.outputs.push_back(Output::Transmit(to, data)),
            Event::Connected => self.connected(id),
            Event::Video(frame) if self.master == Some(id) => {
                self.media = now;
                let Frame { data, contiguous, time, report, arrival } = &frame;
                self.recording.video(data, *contiguous, *time, *report, *arrival);
                self.forward(MediaKind::Video, &frame);
                self.record();
            }
            Event::Sound(frame) if self.master == Some(id) => {
                self.media = now;
                let packet = Bytes::copy_from_slice(&frame.data);
                self.recording.sound(&packet, frame.time, frame.report, frame.arrival);
                self.forward(MediaKind::Audio, &frame);
                self.record();
            }
            Event::Sound(frame) => self.talk(id, &frame, now),
            Event::Video(_) => {}
            Event::KeyFrameWanted => self.ask_for_key_frame(),
            Event::Gone(why) => self.gone(id, why, now),
        }
    }

    fn connected(&mut self, id: u64) {
        let Some(who) = self.member(id).map(|peer| peer.who.clone()) else { return };
        tracing::info!(?who, "connected to the storage session");
        // the newest of a client takes the place of those before it
        for member in self.members.iter_mut().filter(|member| member.id < id && member.peer.who == who) {
            member.peer.close();
        }
        if who == Who::Master && self.master.replace(id).is_some() {
            self.recording.leave();
            self.record();
        }
        self.ask_for_key_frame();
    }

    fn gone(&mut self, id: u64, why: &'static str, now: Instant) {
        let Some(who) = self.member(id).map(|peer| peer.who.clone()) else { return };
        tracing::info!(?who, why, "left the storage session");
        if self.master == Some(id) {
            self.master = None;
            self.recording.leave();
            self.record();
        }
        let others = self
            .members
            .iter()
            .any(|member| member.id != id && member.peer.who == who && !member.peer.is_gone());
        if let Who::Viewer(client) = who
            && !others
        {
            self.places.insert(client, Place::Left(now));
        }
    }

    /// What the master sends goes to all viewers.
    fn forward(&mut self, kind: MediaKind, frame: &Frame) {
        for member in
            self.members.iter_mut().filter(|member| member.peer.connected && member.peer.who != Who::Master)
        {
            // one without sound takes none
            if !member.peer.send(kind, frame) && kind == MediaKind::Video {
                self.refused += 1;
            }
        }
    }

    /// What a viewer says goes to the master, of one viewer at a time.
    fn talk(&mut self, id: u64, frame: &Frame, now: Instant) {
        let is_viewer = self.member(id).is_some_and(|peer| peer.who != Who::Master);
        let free = self.talks.is_none_or(|(who, at)| who == id || now.saturating_duration_since(at) >= TALK);
        if !is_viewer || !free {
            return;
        }
        self.talks = Some((id, now));
        if let Some(master) = self.master.and_then(|master| self.member(master)) {
            master.send(MediaKind::Audio, frame);
        }
    }

    fn ask_for_key_frame(&mut self) {
        if let Some(master) = self.master.and_then(|master| self.member(master)) {
            master.ask_for_key_frame();
        }
    }

    fn record(&mut self) {
        while let Some(output) = self.recording.poll_output() {
            match output {
                recording::Output::KeyFrame => self.ask_for_key_frame(),
                output => self.outputs.push_back(Output::Record(output)),
            }
        }
    }
}

fn role(who: &Who) -> Role {
    match who {
        Who::Master => Role::Master,
        Who::Viewer(client) => Role::Viewer(client.clone()),
    }
}

fn payload(json: &Value) -> String {
    STANDARD.encode(json.to_string())
}

/// The JSON object in a payload, whose base64 may be of either alphabet, padded or not.
fn read(payload: &str) -> Option<serde_json::Map<String, Value>> {
    serde_json::from_slice(&crate::signaling::decode(payload)?).ok()
}
