//! What is measured.

use kvs_ingest_tests::master::Answering;
use kvs_ingest_tests::master::clip::{FRAME_RATE, Sound};
use serde::{Deserialize, Serialize};

/// Runs of each; their medians count. A machine that does other things, too, gives other figures each time.
pub const ROUNDS: usize = 3;

/// What a master plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    pub picture: Picture,
    pub audio: Audio,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Picture {
    P360,
    P720,
    P1080,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Audio {
    None,
    Mono,
    Stereo,
}

impl Picture {
    pub fn name(self) -> &'static str {
        match self {
            Self::P360 => "360p15, 0.5 Mbit/s",
            Self::P720 => "720p30, 2 Mbit/s",
            Self::P1080 => "1080p30, 6 Mbit/s",
        }
    }

    pub fn size(self) -> (u32, u32) {
        match self {
            Self::P360 => (640, 360),
            Self::P720 => (1280, 720),
            Self::P1080 => (1920, 1080),
        }
    }

    /// kbit/s.
    pub fn bitrate(self) -> u32 {
        match self {
            Self::P360 => 500,
            Self::P720 => 2_000,
            Self::P1080 => 6_000,
        }
    }

    /// Pictures a second.
    pub fn rate(self) -> u32 {
        match self {
            Self::P360 => 15,
            Self::P720 | Self::P1080 => 30,
        }
    }

    /// Of the clip, which is made for [`FRAME_RATE`], in kbit/s.
    pub fn clip_bitrate(self) -> u32 {
        self.bitrate() * FRAME_RATE / self.rate()
    }
}

impl Audio {
    fn name(self) -> &'static str {
        match self {
            Self::None => "no audio",
            Self::Mono => "Opus mono",
            Self::Stereo => "Opus stereo",
        }
    }

    pub fn answering(self) -> Answering {
        if self == Self::None { Answering::VideoOnly } else { Answering::Both }
    }

    pub fn sound(self) -> Sound {
        Sound::Beeps { stereo: self == Self::Stereo }
    }
}

impl Media {
    pub fn name(self) -> String {
        format!("{}, {}", self.picture.name(), self.audio.name())
    }
}

/// What others are compared with, and the floor is measured for.
pub const USUAL: Media = Media { picture: Picture::P720, audio: Audio::Mono };
/// The same without sound.
const SILENT: Media = Media { picture: Picture::P720, audio: Audio::None };
/// What the agent is compared by.
pub const REFERENCE: Subject = Subject::Ours { media: USUAL, relay: false, channels: 1 };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Agents, each with a channel of its own.
    Ours {
        media: Media,
        relay: bool,
        channels: usize,
    },
    /// Another build of the agent.
    Against {
        media: Media,
    },
    Peer {
        peer: Peer,
        media: Media,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// GStreamer's webrtcbin in front of `kvssink`.
    Webrtcbin,
    /// aiortc, which decodes; the pictures are dropped.
    AiortcReceives,
    /// aiortc, which decodes and records.
    AiortcRecords,
}

impl Subject {
    pub fn name(&self) -> String {
        match self {
            Self::Ours { media, relay, channels } => {
                let relay = if *relay { ", by a relay" } else { "" };
                let who =
                    if *channels == 1 { "agent".to_owned() } else { format!("each of {channels} agents") };
                format!("{who}, {}{relay}", media.name())
            }
            Self::Against { media } => format!("the other build, {}", media.name()),
            Self::Peer { peer, media } => format!("{}, {}", peer.name(), media.name()),
        }
    }

    pub fn media(&self) -> Media {
        match self {
            Self::Ours { media, .. } | Self::Against { media } | Self::Peer { media, .. } => *media,
        }
    }
}

impl Peer {
    pub fn name(self) -> &'static str {
        match self {
            Self::Webrtcbin => "webrtcbin and kvssink",
            Self::AiortcReceives => "aiortc, receives only",
            Self::AiortcRecords => "aiortc, records",
        }
    }
}

/// A run in which it is looked at when pictures are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    pub media: Media,
    /// Per cent of the datagrams, either way.
    pub loss: u32,
    pub begins: Begins,
}

/// Who is there first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    Master,
    Agent,
}

impl Timing {
    pub fn name(&self) -> String {
        let first = match self.begins {
            Begins::Master => "the master is there first",
            Begins::Agent => "the agent is there first",
        };
        format!("{}, {} % loss, {first}", self.media.name(), self.loss)
    }
}

/// A part of the work that nobody can leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Udp,
    Srtp,
    Decode,
    Encode,
    Tls,
}

impl Part {
    pub const ALL: [Self; 5] = [Self::Udp, Self::Srtp, Self::Decode, Self::Encode, Self::Tls];

    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "datagrams received, one call each",
            Self::Srtp => "AES-128-GCM of SRTP, by OpenSSL",
            Self::Decode => "Opus decoded, by libopus",
            Self::Encode => "AAC encoded, by voaacenc",
            Self::Tls => "TLS and TCP, one write for each frame",
        }
    }
}

pub struct Plan {
    pub subjects: Vec<Subject>,
    pub timings: Vec<Timing>,
    pub parts: Vec<Part>,
    /// Of each measurement, unless it is told otherwise.
    pub seconds: u64,
}

impl Plan {
    /// `quick`, `page` or `whole`; with `against`, another build beside the agent.
    pub fn named(name: &str, against: bool) -> Self {
        let ours = |media, relay, channels| Subject::Ours { media, relay, channels };
        let media = |picture, audio| Media { picture, audio };
        let timing = |loss, begins| Timing { media: USUAL, loss, begins };
        let mut subjects = vec![ours(USUAL, false, 1), ours(SILENT, false, 1)];
        let mut timings = vec![timing(0, Begins::Master)];
        if against {
            subjects.extend([USUAL, SILENT].map(|media| Subject::Against { media }));
        }
        let mut peers = vec![Peer::Webrtcbin];
        let seconds = match name {
            "quick" => 5,
            "page" => {
                subjects.extend([
                    ours(media(Picture::P720, Audio::Stereo), false, 1),
                    ours(USUAL, true, 1),
                    ours(media(Picture::P360, Audio::Mono), false, 1),
                    ours(media(Picture::P1080, Audio::Mono), false, 1),
                    ours(USUAL, false, 10),
                    ours(SILENT, false, 50),
                ]);
                6
            }
            "whole" => {
                subjects.clear();
                for picture in [Picture::P360, Picture::P720, Picture::P1080] {
                    for audio in [Audio::None, Audio::Mono, Audio::Stereo] {
                        subjects.extend([false, true].map(|relay| ours(media(picture, audio), relay, 1)));
                    }
                }
                for channels in [10, 50] {
                    subjects.extend([USUAL, SILENT].map(|media| ours(media, false, channels)));
                }
                30
            }
            other => panic!("no plan {other}: quick, page or whole"),
        };
        if name != "quick" {
            peers.extend([Peer::AiortcReceives, Peer::AiortcRecords]);
            timings.extend([timing(0, Begins::Agent), timing(1, Begins::Master), timing(5, Begins::Agent)]);
            timings.push(Timing { media: SILENT, ..timing(0, Begins::Agent) });
        }
        subjects.extend(peers.into_iter().map(|peer| Subject::Peer { peer, media: USUAL }));
        if name == "whole" {
            subjects.push(Subject::Peer { peer: Peer::Webrtcbin, media: SILENT });
        }
        Self { subjects, timings, parts: Part::ALL.to_vec(), seconds }
    }

    /// What has this in its name.
    pub fn only(mut self, text: &str) -> Self {
        self.subjects.retain(|subject| subject.name().contains(text));
        self.timings.retain(|timing| timing.name().contains(text));
        self.parts.retain(|part| part.name().contains(text));
        self
    }
}
