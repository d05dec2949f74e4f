//! The tracks of one connection, and whether each is stored, and if not, why. Pure.

use crate::peer::{MediaKind, Unbound};
use crate::session::{self, Missing};
use kvs_media::{AudioCodec, Flow, PerTrack, VideoCodec, Withheld};
use std::time::{Duration, Instant};

/// Fewer packets of which nobody knows what they are may be probes, or the first before a track is bound.
const STRAY: u64 = 50;

/// So long none of them came: those before are of another time.
const STRAYS_OVER: Duration = Duration::from_secs(30);

/// So long video is handed on beside a pipeline that runs without it: the key frame that would let it in does not come.
const OUTSIDE: Duration = Duration::from_secs(10);

/// A set of tracks, each by what it is received as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tracks {
    pub video: Option<VideoCodec>,
    pub audio: Option<AudioCodec>,
    /// The audio is stored in two channels.
    pub stereo: bool,
}

impl Tracks {
    /// The codec of a track, as people call it; empty where there is none.
    pub fn codec(self, kind: MediaKind) -> String {
        match kind {
            MediaKind::Video => self.video.map(|codec| codec.to_string()),
            MediaKind::Audio => self.audio.map(|codec| codec.to_string()),
        }
        .unwrap_or_default()
    }

    /// Which there are.
    pub fn kinds(self) -> PerTrack<bool> {
        PerTrack { video: self.video.is_some(), audio: self.audio.is_some() }
    }
}

/// Why a track is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// What comes is received, and goes no further.
    Withheld(Withheld),
    /// Packets of a payload type that was not negotiated.
    PayloadType(Option<u8>),
    /// Packets that SRTP cannot decrypt.
    Undecryptable,
    /// It came, and comes no more, while the other track goes on.
    Stopped,
}

impl Reason {
    /// One CamelCase word, of `/status` and of the label `reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Withheld(withheld) => word(withheld),
            Reason::PayloadType(_) => word(Withheld::PayloadType),
            Reason::Undecryptable => "Undecryptable",
            Reason::Stopped => "Stopped",
        }
    }

    /// For a person, with the remedy. `codec` is that of the track, as people call it.
    pub fn message(self, codec: &str) -> String {
        match self {
            Reason::Withheld(Withheld::NoKeyFrame) => {
                "nothing comes at which decoding can begin, although it is asked for: let the encoder send a key frame (IDR) at \
                 least every few seconds, or when it receives a PLI; with intra refresh, recovery point SEI messages"
                    .to_owned()
            }
            Reason::Withheld(Withheld::NoParameterSets) => {
                "its key frames come without SPS and PPS, which the answer's sprop-parameter-sets did not tell either: let \
                 the encoder repeat them in front of each key frame (x264: repeat-headers, h264parse: config-interval=-1)"
                    .to_owned()
            }
            Reason::Withheld(Withheld::Incomplete) => {
                "no picture is complete: packets are lost or damaged on the way".to_owned()
            }
            Reason::Withheld(Withheld::NotTheCodec) => {
                format!("what its packets hold is not {codec}, although their payload type says so")
            }
            Reason::PayloadType(Some(number)) => {
                format!("the master sends payload type {number}, which its answer does not have")
            }
            Reason::Withheld(Withheld::PayloadType) | Reason::PayloadType(None) => {
                "the master sends a payload type that its answer does not have".to_owned()
            }
            Reason::Undecryptable => "its packets cannot be decrypted (SRTP)".to_owned(),
            Reason::Stopped => "the master has stopped sending it, while the other track goes on".to_owned(),
        }
    }
}

/// The words of [`Withheld`].
pub fn word(withheld: Withheld) -> &'static str {
    match withheld {
        Withheld::NoParameterSets => "NoParameterSets",
        Withheld::NoKeyFrame => "NoKeyFrame",
        Withheld::Incomplete => "Incomplete",
        Withheld::NotTheCodec => "NotTheCodec",
        Withheld::PayloadType => "PayloadType",
    }
}

/// How a track stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It was not negotiated.
    #[default]
    Absent,
    /// It was negotiated, and nothing of it has come.
    Silent,
    /// It comes, and it is too early to tell.
    Waiting,
    /// It is stored.
    Stored,
    /// It is not.
    NotStored(Reason),
}

/// What is known of a track.
#[derive(Clone, Copy, Debug)]
pub struct Track {
    /// What its receiver says; `None`: not negotiated.
    pub flow: Option<Flow>,
    /// The pipeline that runs stores it.
    pub is_in_pipeline: bool,
}

/// Judges both tracks of one connection, again and again.
#[derive(Debug)]
pub struct TrackWatch {
    strays: Strays,
    /// Since when video has been handed on beside a pipeline that runs without it.
    outside: Option<Instant>,
}

impl TrackWatch {
    /// Of a connection that begins now.
    pub fn new(now: Instant) -> Self {
        let strays = Strays { before: Unbound::default(), seen: Unbound::default(), newest: now };
        Self { strays, outside: None }
    }

    /// How both stand. `unbound` is what came and belongs to no track, since the connection began.
    pub fn standings(
        &mut self,
        tracks: PerTrack<Track>,
        unbound: &Unbound,
        now: Instant,
    ) -> PerTrack<Standing> {
        let PerTrack { video, audio } = tracks;
        // While a pipeline is tried again nothing is stored, and that has its own words.
        let outside = video.flow == Some(Flow::Flowing) && !video.is_in_pipeline && audio.is_in_pipeline;
        self.outside = outside.then(|| self.outside.unwrap_or(now));
        let stray = self.strays.reason(unbound, now);
        let mut standings =
            PerTrack { video: standing(video, audio, stray), audio: standing(audio, video, stray) };
        if self.outside.is_some_and(|since| now.saturating_duration_since(since) >= OUTSIDE) {
            standings.video = Standing::NotStored(Reason::Withheld(Withheld::NoKeyFrame));
        }
        standings
    }
}

fn standing(track: Track, other: Track, stray: Option<Reason>) -> Standing {
    let Some(flow) = track.flow else { return Standing::Absent };
    match flow {
        Flow::Nothing => stray.map_or(Standing::Silent, Standing::NotStored),
        Flow::Waiting => Standing::Waiting,
        Flow::Withheld(withheld) => Standing::NotStored(Reason::Withheld(withheld)),
        // When both stop it is the master that is gone, and the session has a word for that.
        Flow::Stopped if other.flow.is_some_and(|it| !matches!(it, Flow::Nothing | Flow::Stopped)) => {
            Standing::NotStored(Reason::Stopped)
        }
        Flow::Flowing | Flow::Stopped if track.is_in_pipeline => Standing::Stored,
        Flow::Flowing | Flow::Stopped => Standing::Waiting,
    }
}

/// Packets that nobody knows, where a track has none. They are its reason as long as they come.
#[derive(Debug)]
struct Strays {
    /// What had come when none had for a while.
    before: Unbound,
    /// What has come up to now,
    seen: Unbound,
    /// and when there was more of it last.
    newest: Instant,
}

impl Strays {
    fn reason(&mut self, unbound: &Unbound, now: Instant) -> Option<Reason> {
        if *unbound != self.seen {
            (self.seen, self.newest) = (unbound.clone(), now);
        } else if now.saturating_duration_since(self.newest) >= STRAYS_OVER {
            self.before = self.seen.clone();
        }
        if unbound.undecryptable.saturating_sub(self.before.undecryptable) >= STRAY {
            return Some(Reason::Undecryptable);
        }
        let before = |number| self.before.by_payload_type.get(number).copied().unwrap_or(0);
        let since = unbound
            .by_payload_type
            .iter()
            .map(|(number, count)| (count.saturating_sub(before(number)), number));
        let (count, number) = since.max()?;
        (count >= STRAY).then_some(Reason::PayloadType(Some(*number)))
    }
}

/// What there is to say beside "media flows"; `None` when all that comes is stored. `expected` was negotiated.
pub fn missing(standings: PerTrack<Standing>, expected: Tracks) -> Option<Missing> {
    let PerTrack { video, audio } = standings;
    let tracks = [(MediaKind::Video, video), (MediaKind::Audio, audio)];
    let is_stored = |standing: Standing| standing == Standing::Stored;
    let mut parts: Vec<_> = tracks
        .into_iter()
        .filter(|(_, standing)| is_stored(*standing))
        .map(|(kind, _)| format!("{} is stored", kind.as_str()))
        .collect();
    let (mut not_stored, mut waiting) = (None, None);
    for (kind, standing) in tracks {
        let name = kind.as_str();
        match standing {
            Standing::NotStored(reason) => {
                not_stored.get_or_insert(kind);
                parts.push(format!("{name} is not stored: {}", reason.message(&expected.codec(kind))));
            }
            Standing::Waiting => {
                waiting.get_or_insert(kind);
                parts.push(format!("{name} is waited for"));
            }
            Standing::Silent if is_stored(video) || is_stored(audio) => {
                parts.push(format!("the master sends no {name}"));
            }
            Standing::Absent | Standing::Silent | Standing::Stored => {}
        }
    }
    let whole = tracks.iter().all(|(_, standing)| matches!(standing, Standing::Stored | Standing::Absent));
    if whole || parts.is_empty() {
        return None;
    }
    let reason = match (not_stored, waiting) {
        (Some(MediaKind::Video), _) => session::Reason::VideoNotStored,
        (Some(MediaKind::Audio), _) => session::Reason::AudioNotStored,
        (None, Some(MediaKind::Video)) => session::Reason::WaitingForVideo,
        (None, Some(MediaKind::Audio)) => session::Reason::WaitingForAudio,
        (None, None) => session::Reason::Streaming,
    };
    Some(Missing { reason, message: parts.join("; ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(flow: Flow, is_in_pipeline: bool) -> Track {
        Track { flow: Some(flow), is_in_pipeline }
    }

    const FLOWS: Track = Track { flow: Some(Flow::Flowing), is_in_pipeline: true };
    const NONE: Track = Track { flow: None, is_in_pipeline: false };

    const BOTH: Tracks =
        Tracks { video: Some(VideoCodec::H264), audio: Some(AudioCodec::Opus), stereo: false };

    fn said(video: Track, audio: Track, unbound: &Unbound) -> Option<(&'static str, String)> {
        let now = Instant::now();
        missing(TrackWatch::new(now).standings(PerTrack { video, audio }, unbound, now), BOTH)
            .map(|missing| (missing.reason.as_str(), missing.message))
    }

    #[test]
    fn media_flows_is_said_of_tracks_that_are_stored_only() {
        let none = Unbound::default();
        for (video, audio, word, part) in [
            (track(Flow::Withheld(Withheld::NoKeyFrame), false), FLOWS, "VideoNotStored", "key frame (IDR)"),
            (track(Flow::Withheld(Withheld::NoParameterSets), false), NONE, "VideoNotStored", "SPS"),
            (FLOWS, track(Flow::Withheld(Withheld::NotTheCodec), true), "AudioNotStored", "not Opus"),
            (track(Flow::Stopped, true), FLOWS, "VideoNotStored", "stopped"),
            (track(Flow::Waiting, false), FLOWS, "WaitingForVideo", "video is waited for"),
            (track(Flow::Flowing, false), FLOWS, "WaitingForVideo", "audio is stored"),
            (
                track(Flow::Waiting, false),
                track(Flow::Withheld(Withheld::NotTheCodec), false),
                "AudioNotStored",
                "Opus",
            ),
            // Nothing of it was received.
            (FLOWS, track(Flow::Nothing, false), "Streaming", "the master sends no audio"),
        ] {
            let (found, message) = said(video, audio, &none).unwrap();
            assert_eq!(found, word, "{message}");
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(said(FLOWS, FLOWS, &none), None);
        assert_eq!(said(FLOWS, NONE, &none), None);
        // The master is gone.
        assert_eq!(said(track(Flow::Stopped, true), track(Flow::Stopped, true), &none), None);
        // Nothing has come yet.
        assert_eq!(said(track(Flow::Nothing, false), track(Flow::Nothing, false), &none), None);
    }

    #[test]
    fn packets_that_belong_to_no_track_are_the_reason_where_a_track_has_none() {
        let unbound = |payload_type: u64, undecryptable: u64| Unbound {
            by_payload_type: [(97, payload_type), (98, 1)].into(),
            undecryptable,
        };
        let nothing = track(Flow::Nothing, false);
        let (word, message) = said(nothing, FLOWS, &unbound(400, 0)).unwrap();
        assert!(word == "VideoNotStored" && message.contains("payload type 97"), "{message}");
        let (word, message) = said(nothing, FLOWS, &unbound(0, 60)).unwrap();
        assert!(word == "VideoNotStored" && message.contains("decrypt"), "{message}");
        assert_eq!(said(nothing, FLOWS, &unbound(3, 3)).unwrap().0, "Streaming", "a few say nothing");
        assert_eq!(said(FLOWS, FLOWS, &unbound(400, 400)), None);
    }

    #[test]
    fn packets_that_belong_to_no_track_accuse_it_as_long_as_they_come() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut watch = TrackWatch::new(start);
        let nothing = track(Flow::Nothing, false);
        let mut stands = |count: u64, now| {
            let unbound = Unbound { by_payload_type: [(97, count)].into(), undecryptable: 0 };
            watch.standings(PerTrack { video: nothing, audio: FLOWS }, &unbound, now).video
        };
        let accused = Standing::NotStored(Reason::PayloadType(Some(97)));
        assert_eq!(stands(60, at(1)), accused);
        assert_eq!(stands(60, at(30)), accused);
        // They have ended, and what is missing now is missing for another reason.
        assert_eq!(stands(60, at(31)), Standing::Silent);
        assert_eq!(stands(109, at(40)), Standing::Silent);
        assert_eq!(stands(110, at(50)), accused);
        // A slow camera: a packet in 20 s.
        for packet in 1..20 {
            assert_eq!(stands(110 + packet, at(50 + 20 * packet)), accused);
        }
    }

    #[test]
    fn video_that_no_key_frame_lets_into_a_running_pipeline_is_not_waited_for_for_ever() {
        let (start, none) = (Instant::now(), Unbound::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut watch = TrackWatch::new(start);
        let (flows, not_stored) =
            (track(Flow::Flowing, false), Standing::NotStored(Reason::Withheld(Withheld::NoKeyFrame)));
        let mut stands = |video, audio, now| watch.standings(PerTrack { video, audio }, &none, now).video;
        assert_eq!(stands(flows, FLOWS, at(1)), Standing::Waiting);
        assert_eq!(stands(flows, FLOWS, at(10)), Standing::Waiting);
        assert_eq!(stands(flows, FLOWS, at(11)), not_stored);
        assert_eq!(stands(FLOWS, FLOWS, at(12)), Standing::Stored);
        assert_eq!(stands(flows, FLOWS, at(13)), Standing::Waiting);
        // No pipeline runs: it is tried again, however long.
        assert_eq!(stands(flows, track(Flow::Flowing, false), at(60)), Standing::Waiting);
        assert_eq!(stands(flows, FLOWS, at(61)), Standing::Waiting);
        assert_eq!(stands(flows, FLOWS, at(71)), not_stored);
        // Sound needs no key frame.
        assert_eq!(
            watch.standings(PerTrack { video: FLOWS, audio: flows }, &none, at(200)).audio,
            Standing::Waiting
        );
    }
}
