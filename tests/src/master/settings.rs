//! [`Settings`]: what a master has to give, and what is wrong with it.

use std::net::{IpAddr, Ipv4Addr};

use super::clip::{Picture, Sound};
use super::network::Network;
use super::shapes::Shape;
use super::time::Time;

/// What the master has to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answering {
    Both,
    /// The video section is answered `inactive`.
    AudioOnly,
    /// The audio section is answered `inactive`.
    VideoOnly,
    /// It has no H.264.
    Vp8Only,
}

impl Answering {
    pub(super) fn has_video(self) -> bool {
        matches!(self, Answering::Both | Answering::VideoOnly)
    }

    pub(super) fn has_audio(self) -> bool {
        matches!(self, Answering::Both | Answering::AudioOnly | Answering::Vp8Only)
    }
}

/// What is wrong with its video.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Defect {
    #[default]
    None,
    /// Its IDRs are not sent.
    NoKeyFrame,
    /// Its first IDR is not sent: joined late.
    NoFirstKeyFrame,
    /// No SPS, no PPS.
    NoParameterSets,
    /// They come in the first second only: of the very first packets a viewer need not get any.
    ParameterSetsOnce,
    /// They are in the answer, as `sprop-parameter-sets`, only.
    ParameterSetsInAnswer,
    /// VP8 (RFC 7741) under the payload type of H.264.
    Vp8,
    /// The authentication tag (RFC 3711 section 4.2) of every packet is wrong.
    Undecryptable,
}

/// Frames that a viewer has before the numbers of the next one begin: half an hour.
pub const NUMBERS: u64 = 1 << 16;

#[derive(Clone, Debug)]
pub struct Settings {
    pub answering: Answering,
    /// How it writes what it answers.
    pub shape: Shape,
    /// Negotiated but silent when false.
    pub sends_video: bool,
    pub sends_audio: bool,
    /// Width and height of the clips, played in turn.
    pub sizes: Vec<(u32, u32)>,
    /// Seconds until the next clip; 0 stays with the first.
    pub clip_seconds: u64,
    /// A STAP-A whose length points behind its end rides in the last packet of this frame.
    pub malformed_frame: Option<u64>,
    pub defect: Defect,
    pub picture: Picture,
    pub sound: Sound,
    /// One encoder for all viewers, as a camera has it: each gets the same pictures and packets at the same time, from the
    /// middle of a group on, and key frames when they come. Otherwise each has its own, as in a browser.
    pub one_encoder: bool,
    /// What is sent when, and under which times.
    pub time: Time,
    /// Its one host candidate.
    pub address: IpAddr,
    /// More candidates that it sends behind its own, as fast as the service takes them.
    pub candidates: Vec<String>,
    /// Behind this network.
    pub network: Network,
    pub seed: u64,
    /// Frames have numbers from here on; those of each further viewer [`NUMBERS`] after those of the one before, so that a
    /// number is one frame of all. Otherwise the frames of each viewer are numbered from 0.
    pub first_number: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            answering: Answering::Both,
            shape: Shape::default(),
            sends_video: true,
            sends_audio: true,
            sizes: vec![(640, 360)],
            clip_seconds: 0,
            malformed_frame: None,
            defect: Defect::None,
            picture: Picture::Plain,
            sound: Sound::Tone,
            one_encoder: false,
            time: Time::default(),
            address: Ipv4Addr::LOCALHOST.into(),
            candidates: Vec::new(),
            network: Network::default(),
            seed: 1,
            first_number: None,
        }
    }
}
