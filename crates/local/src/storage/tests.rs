//! A storage session with masters and viewers over str0m, in virtual time: nothing waits.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};
use str0m::{
    Candidate, Event, Input, Output as RtcOutput, Rtc, RtcConfig,
    change::SdpOffer,
    format::Codec,
    media::{Frequency, MediaKind, MediaTime, Mid},
    net::{Protocol, Receive},
};

use super::{
    recording,
    session::{NotJoined, Output, Session},
    sound::AacFrame,
};
use crate::{
    StorageLimits,
    signaling::{Action, Role},
};

const SPS: &str = "6742c00bda0507ec044000000300400000030083c50aa8";
const STEP: Duration = Duration::from_millis(10);

struct Client {
    role: Role,
    at: SocketAddr,
    rtc: Option<Rtc>,
    video: Option<Mid>,
    audio: Option<Mid>,
    connected: bool,
    gone: bool,
    pictures: usize,
    sounds: usize,
}

impl Client {
    fn is(&self, role: &Role) -> bool {
        self.role == *role && !self.gone
    }
}

/// The engine of a master or viewer.
fn engine(now: Instant) -> Rtc {
    let config = RtcConfig::new().set_crypto_provider(str0m_ring::provider()).clear_codecs();
    config.enable_h264(true).enable_opus(true, false).build(now)
}

struct World {
    session: Session,
    now: Instant,
    start: Instant,
    at: SocketAddr,
    clients: Vec<Client>,
    encoder: u64,
    samples: u64,
    encoded: u64,
    pictures: usize,
    /// Of a thousand packets of SRTP and SRTCP so many are lost, either way.
    lost: u32,
    chance: u32,
}

impl World {
    fn new(limits: StorageLimits) -> Self {
        let now = Instant::now();
        let at: SocketAddr = "192.0.2.1:5000".parse().unwrap();
        let session = Session::new(limits, at, now, 1_795_827_600_000);
        Self {
            session,
            now,
            start: now,
            at,
            clients: Vec::new(),
            encoder: 0,
            samples: 0,
            encoded: 0,
            pictures: 0,
            lost: 0,
            chance: 1,
        }
    }

    /// The newest client of a role answers what is offered.
    fn join(&mut self, role: Role) -> Result<usize, NotJoined> {
        let at = SocketAddr::from(([198, 51, 100, 7], 6000 + self.clients.len() as u16));
        match &role {
            Role::Master => self.session.join_master(self.now)?,
            Role::Viewer(client) => self.session.join_viewer(client, self.now)?,
        }
        let client = Client {
            role,
            at,
            rtc: None,
            video: None,
            audio: None,
            connected: false,
            gone: false,
            pictures: 0,
            sounds: 0,
        };
        self.clients.push(client);
        self.settle();
        Ok(self.clients.len() - 1)
    }

    fn viewer(&mut self, client: &str) -> Result<usize, NotJoined> {
        self.join(Role::Viewer(client.to_owned()))
    }

    fn signal(&mut self, to: Role, action: Action, payload: &str) {
        let json: Value = serde_json::from_slice(&STANDARD.decode(payload).unwrap()).unwrap();
        let Some(client) = self.clients.iter_mut().rev().find(|client| client.is(&to)) else { return };
        if action == Action::Candidate {
            assert!(json["candidate"].as_str().unwrap().starts_with("candidate:"), "{json}");
            return;
        }
        let mut rtc = engine(self.now);
        rtc.add_local_candidate(Candidate::host(client.at, "udp").unwrap());
        let offer = SdpOffer::from_sdp_string(json["sdp"].as_str().unwrap()).unwrap();
        let answer = rtc.sdp_api().accept_offer(offer).unwrap().to_sdp_string();
        client.rtc = Some(rtc);
        let answer = STANDARD.encode(json!({ "type": "answer", "sdp": answer }).to_string());
        self.session.message(&to, Action::Answer, &answer, self.now).unwrap();
    }

    fn record(&mut self, output: recording::Output) {
        match output {
            recording::Output::Encoder(number) => {
                (self.encoder, self.samples, self.encoded) = (number, 0, 0);
            }
            recording::Output::Encode(_) => {
                self.samples += 960;
                while self.encoded * 1024 <= self.samples {
                    self.frame();
                }
            }
            recording::Output::EncoderEnd => {
                self.frame();
                self.session.encoder_ended(self.encoder);
            }
            recording::Output::Fragment(_) => self.pictures = self.session.figures().0.pictures as usize,
            recording::Output::Header(_) | recording::Output::KeyFrame => {}
        }
    }

    fn frame(&mut self) {
        self.encoded += 1;
        let frame = AacFrame { config: [0x11, 0x90], data: Bytes::from_static(&[9]) };
        self.session.encoded(self.encoder, frame);
    }

    fn loses(&mut self, data: &[u8]) -> bool {
        self.chance = self.chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // RFC 7983
        data.first().is_some_and(|first| (128..192).contains(first)) && (self.chance >> 16) % 1000 < self.lost
    }

    /// Everything that is said now arrives now, if it is not lost.
    fn settle(&mut self) {
        loop {
            let mut busy = false;
            while let Some(output) = self.session.poll_output() {
                busy = true;
                match output {
                    Output::Signal(to, action, payload) => self.signal(to, action, &payload),
                    Output::Transmit(_, data) if self.loses(&data) => {}
                    Output::Transmit(to, data) => {
                        let client = self.clients.iter_mut().find(|client| client.at == to);
                        let Some(rtc) = client.and_then(|client| client.rtc.as_mut()) else { continue };
                        let receive = Receive::new(Protocol::Udp, self.at, to, &data).unwrap();
                        let _ = rtc.handle_input(Input::Receive(self.now, receive));
                    }
                    Output::Record(output) => self.record(output),
                }
            }
            for index in 0..self.clients.len() {
                while let Some(output) = self.poll(index) {
                    busy = true;
                    match output {
                        RtcOutput::Transmit(sent) if self.loses(&sent.contents) => {}
                        RtcOutput::Transmit(sent) => {
                            self.session.datagram(sent.source, &sent.contents, self.now);
                        }
                        RtcOutput::Event(event) => self.event(index, event),
                        RtcOutput::Timeout(_) => {}
                    }
                }
            }
            if !busy {
                return;
            }
        }
    }

    fn poll(&mut self, index: usize) -> Option<RtcOutput> {
        let output = self.clients[index].rtc.as_mut()?.poll_output().ok()?;
        (!matches!(output, RtcOutput::Timeout(_))).then_some(output)
    }

    fn event(&mut self, index: usize, event: Event) {
        let client = &mut self.clients[index];
        match event {
            Event::Connected => client.connected = true,
            Event::MediaData(data) => match data.params.spec().codec {
                Codec::H264 => client.pictures += 1,
                _ => client.sounds += 1,
            },
            Event::MediaAdded(added) if added.kind == MediaKind::Video => client.video = Some(added.mid),
            Event::MediaAdded(added) => client.audio = Some(added.mid),
            Event::Closed => client.gone = true,
            _ => {}
        }
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += STEP;
            self.session.handle_timeout(self.now);
            for client in &mut self.clients {
                if let Some(rtc) = &mut client.rtc {
                    let _ = rtc.handle_input(Input::Timeout(self.now));
                }
            }
            self.settle();
        }
    }

    fn send(&mut self, from: usize, kind: MediaKind, data: Vec<u8>) {
        let ms = self.now.duration_since(self.start).as_millis() as u64;
        let (codec, time) = match kind {
            MediaKind::Video => (Codec::H264, MediaTime::new(ms * 90, Frequency::NINETY_KHZ)),
            MediaKind::Audio => (Codec::Opus, MediaTime::new(ms * 48, Frequency::FORTY_EIGHT_KHZ)),
        };
        let Client { rtc, video, audio, .. } = &mut self.clients[from];
        let mid = if kind == MediaKind::Video { *video } else { *audio };
        let writer = rtc.as_mut().unwrap().writer(mid.unwrap()).unwrap();
        let payload = writer.payload_params().find(|params| params.spec().codec == codec).unwrap().pt();
        writer.write(payload, self.now, time, data).unwrap();
        self.settle();
    }

    /// So many pictures with sound, 25 a second.
    fn film(&mut self, from: usize, pictures: usize) {
        let sps = [&[0, 0, 0, 1][..], &hex::decode(SPS).unwrap(), &[0, 0, 0, 1, 0x68, 1]].concat();
        for number in 0..pictures {
            let key = number % 25 == 0;
            let slice = [&[0, 0, 0, 1, if key { 0x65 } else { 0x41 }][..], &[7; 3000]].concat();
            self.send(from, MediaKind::Video, if key { [sps.clone(), slice].concat() } else { slice });
            for _ in 0..2 {
                self.send(from, MediaKind::Audio, vec![31 << 3, 1, 2]);
                self.wait(Duration::from_millis(20));
            }
        }
    }

    fn close(&mut self, client: usize) {
        self.clients[client].rtc.as_mut().unwrap().close().unwrap();
        self.settle();
        self.wait(Duration::from_millis(200));
    }
}

fn short() -> StorageLimits {
    StorageLimits {
        session: Duration::from_secs(60),
        idle: Duration::from_secs(5),
        viewers: 2,
        place: Duration::from_secs(2),
    }
}

#[test]
fn what_the_master_sends_is_recorded_and_seen() {
    let mut world = World::new(StorageLimits::default());
    let viewer = world.viewer("v").unwrap();
    let master = world.join(Role::Master).unwrap();
    world.wait(Duration::from_secs(1));
    assert!(world.clients.iter().all(|client| client.connected));
    world.film(master, 100);
    world.send(viewer, MediaKind::Audio, vec![31 << 3, 1, 2]);
    world.wait(Duration::from_millis(100));
    world.close(master);
    assert_eq!(world.pictures, 100);
    let (figures, refused) = world.session.figures();
    assert_eq!((figures.gaps, figures.soundless, figures.undecodable, refused), (0, 0, 0, 0), "{figures:?}");
    assert_eq!(world.clients[viewer].pictures, 100);
    assert!(world.clients[viewer].sounds > 150, "{}", world.clients[viewer].sounds);
    assert_eq!(world.clients[master].sounds, 1, "it hears the viewer");
}

#[test]
fn what_is_lost_on_the_way_is_asked_for_again() {
    for lost in [20, 100] {
        let mut world = World::new(StorageLimits::default());
        let master = world.join(Role::Master).unwrap();
        world.wait(Duration::from_secs(1));
        world.film(master, 25);
        world.lost = lost;
        world.film(master, 50);
        // Of what comes last nobody knows that it is missing.
        world.lost = 0;
        world.film(master, 25);
        world.close(master);
        let (figures, _) = world.session.figures();
        assert_eq!((world.pictures, figures.gaps), (100, 0), "{lost}: {figures:?}");
    }
}

#[test]
fn the_newest_master_takes_the_place_of_the_one_before() {
    let mut world = World::new(StorageLimits::default());
    let first = world.join(Role::Master).unwrap();
    world.wait(Duration::from_secs(1));
    world.film(first, 50);
    let second = world.join(Role::Master).unwrap();
    world.wait(Duration::from_secs(1));
    assert!(world.clients[first].gone && !world.clients[second].gone);
    world.film(second, 50);
    world.close(second);
    assert_eq!(world.pictures, 100);
}

#[test]
fn the_place_of_a_viewer_is_kept_for_a_while() {
    let mut world = World::new(StorageLimits { idle: Duration::from_secs(600), ..short() });
    let first = world.viewer("first").unwrap();
    world.viewer("second").unwrap();
    world.wait(Duration::from_secs(1));
    assert_eq!(world.viewer("third"), Err(NotJoined::TooMany));
    world.close(first);
    assert_eq!(world.viewer("third"), Err(NotJoined::TooMany), "its place is kept");
    let first = world.viewer("first").unwrap();
    world.wait(Duration::from_secs(1));
    assert!(world.clients[first].connected, "it comes back");
    world.close(first);
    world.wait(Duration::from_secs(2));
    world.viewer("third").unwrap();
}

#[test]
fn a_session_ends_without_media_and_when_it_is_old() {
    let mut world = World::new(short());
    let viewer = world.viewer("v").unwrap();
    world.wait(Duration::from_secs(4));
    assert_eq!(world.session.ended(), None);
    world.wait(Duration::from_secs(2));
    assert_eq!(world.session.ended(), Some("no media came of a master for too long"));
    assert!(world.clients[viewer].gone, "it is told");

    let mut world = World::new(StorageLimits { session: Duration::from_secs(4), ..short() });
    let master = world.join(Role::Master).unwrap();
    world.wait(Duration::from_secs(1));
    world.film(master, 70);
    world.wait(Duration::from_millis(300));
    assert_eq!(world.session.ended(), Some("it has been as long as a session may be"));
    assert!(world.clients[master].gone && world.pictures == 70, "{}", world.pictures);
}

#[test]
fn what_nobody_asked_for_is_refused() {
    let mut world = World::new(short());
    let (now, master) = (world.now, Role::Master);
    let encode = |json: Value| STANDARD.encode(json.to_string());
    for (action, payload, words) in [
        (Action::Answer, encode(json!({ "sdp": "v=0" })), "join"),
        (Action::Answer, encode(json!({})), "no sdp"),
        (Action::Candidate, encode(json!({ "candidate": "candidate:1" })), "not joined"),
        (Action::Answer, STANDARD.encode("[]"), "JSON object"),
        (Action::Answer, "%".to_owned(), "JSON object"),
        (Action::Offer, encode(json!({ "sdp": "v=0" })), "makes the offers"),
    ] {
        let refused = world.session.message(&master, action, &payload, now).unwrap_err();
        assert!(refused.contains(words), "{words}: {refused}");
    }
    world.session.join_master(now).unwrap();
    let answer = encode(json!({ "type": "answer", "sdp": "v=0\r\nm=video 0 X 1\r\n" }));
    let refused = world.session.message(&master, Action::Answer, &answer, now).unwrap_err();
    assert!(refused.contains("refuses video"), "{refused}");
    let candidate = encode(json!({ "candidate": "candidate:1 1 udp 1 x.local 9 typ host" }));
    assert_eq!(world.session.message(&master, Action::Candidate, &candidate, now), Ok(()), "left out");
}

/// What a peer of ours answers to the newest offer.
fn answer(offer: &Output, now: Instant) -> String {
    let Output::Signal(_, Action::Offer, payload) = offer else { panic!("{offer:?}") };
    let json: Value = serde_json::from_slice(&STANDARD.decode(payload).unwrap()).unwrap();
    let mut rtc = engine(now);
    rtc.add_local_candidate(Candidate::host("198.51.100.7:6000".parse().unwrap(), "udp").unwrap());
    let offer = SdpOffer::from_sdp_string(json["sdp"].as_str().unwrap()).unwrap();
    rtc.sdp_api().accept_offer(offer).unwrap().to_sdp_string()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    /// Lines that are left out, changed, put twice; candidates and datagrams of any bytes: it is refused, or taken.
    #[test]
    fn nothing_that_a_stranger_says_makes_it_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..5, "[ -~]{0,40}"), 0..6),
        candidates in prop::collection::vec("(candidate:)?[ -~]{0,60}", 0..4),
        datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..8),
    ) {
        let now = Instant::now();
        let mut session = Session::new(short(), "192.0.2.1:5000".parse().unwrap(), now, 0);
        session.join_master(now).unwrap();
        let sdp = answer(&session.poll_output().unwrap(), now);
        let mut lines: Vec<String> = sdp.lines().map(str::to_owned).collect();
        for (index, how, text) in edits {
            if lines.is_empty() {
                break;
            }
            let at = index.index(lines.len());
            match how {
                0 => drop(lines.remove(at)),
                1 => lines[at] = text,
                2 => lines.insert(at, lines[at].clone()),
                3 => lines[at].push_str(&text),
                _ => lines[at].truncate(text.len()),
            }
        }
        let payload = STANDARD.encode(json!({ "sdp": lines.join("\r\n") }).to_string());
        let _ = session.message(&Role::Master, Action::Answer, &payload, now);
        for candidate in candidates {
            let payload = STANDARD.encode(json!({ "candidate": candidate }).to_string());
            let _ = session.message(&Role::Master, Action::Candidate, &payload, now);
        }
        for (step, datagram) in (1..).zip(datagrams) {
            session.datagram("198.51.100.7:6000".parse().unwrap(), &datagram, now);
            session.handle_timeout(now + Duration::from_millis(step * 50));
        }
        session.end("the test is over", now + Duration::from_secs(1));
    }
}
