//! Both tracks of one sender, on one clock.

use std::time::{Duration, Instant, SystemTime};

use crate::audio::{AudioConfig, AudioReceiver};
use crate::clock::{ClockStats, SenderClock};
use crate::flow::{Flow, WithheldCounts};
use crate::media_kind::{MediaKind, PerTrack};
use crate::output::{AudioOutput, VideoOutput};
use crate::rtp::{RtpPacket, SenderReport};
use crate::stats::InboundStats;
use crate::video::{VideoConfig, VideoReceiver};

/// How a sender is received. A track that is `None` is ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaConfig {
    /// The video track.
    pub video: Option<VideoConfig>,
    /// The audio track.
    pub audio: Option<AudioConfig>,
    /// How much of a track's beginning is looked at before the first of it gets its capture time.
    pub settle: Duration,
}

impl Default for MediaConfig {
    fn default() -> Self {
        Self {
            video: Some(VideoConfig::default()),
            audio: Some(AudioConfig::default()),
            settle: Duration::from_millis(500),
        }
    }
}

/// What a [`MediaReceiver`] has to say.
#[derive(Clone, Debug, PartialEq)]
pub enum MediaOutput {
    /// Of the video track.
    Video(VideoOutput),
    /// Of the audio track.
    Audio(AudioOutput),
}

/// The audio and video of one sender: a [`VideoReceiver`] and an [`AudioReceiver`] on one [`SenderClock`], so that both
/// map to the wall clock by the same offset. One for each peer connection: keep it when only the network path changes,
/// make a new one for a new peer connection.
///
/// Nothing in here waits, opens or spawns: call `handle_…` with what has come and the times of its arrival, then
/// [`Self::handle_timeout`] with the present time, then [`Self::poll_output`] until it gives `None`, then
/// [`Self::poll_timeout`].
pub struct MediaReceiver {
    video: Option<VideoReceiver>,
    audio: Option<AudioReceiver>,
    clock: SenderClock,
}

impl MediaReceiver {
    /// Waits for the first packets.
    pub fn new(config: MediaConfig) -> Self {
        let MediaConfig { video, audio, settle } = config;
        let rates = PerTrack {
            video: video.as_ref().map_or(0, |video| video.codec.clock_rate()),
            audio: audio.as_ref().map_or(0, |audio| audio.codec.clock_rate()),
        };
        Self {
            video: video.map(VideoReceiver::new),
            audio: audio.map(AudioReceiver::new),
            clock: SenderClock::new(settle, rates),
        }
    }

    /// A packet of a track, unwrapped from RTX if it came so, that arrived at `now`, of which `wall` is the time of day.
    /// [`Self::handle_timeout`] hands on what comes of it and asks for what it shows to be missing.
    pub fn handle_rtp(&mut self, kind: MediaKind, packet: RtpPacket, now: Instant, wall: SystemTime) {
        match (kind, &mut self.video, &mut self.audio) {
            (MediaKind::Video, Some(video), _) => video.handle_rtp(packet, now, wall, &mut self.clock),
            (MediaKind::Audio, _, Some(audio)) => audio.handle_rtp(packet, now, wall, &mut self.clock),
            _ => {}
        }
    }

    /// A sender report of either track; which one, its SSRC tells. It may come before the track's first packet.
    pub fn handle_sender_report(&mut self, report: SenderReport, now: Instant) {
        let of_video = self.video.as_ref().is_some_and(|video| video.ssrc() == Some(report.ssrc));
        let of_audio = self.audio.as_ref().is_some_and(|audio| audio.ssrc() == Some(report.ssrc));
        if let Some(video) = &mut self.video
            && !of_audio
        {
            video.handle_sender_report(report, now, &mut self.clock);
        }
        if let Some(audio) = &mut self.audio
            && !of_video
        {
            audio.handle_sender_report(report, now, &mut self.clock);
        }
    }

    /// Time has passed: to be called when [`Self::poll_timeout`] says so; more often does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(video) = &mut self.video {
            video.handle_timeout(now, &mut self.clock);
        }
        if let Some(audio) = &mut self.audio {
            audio.handle_timeout(now, &mut self.clock);
        }
    }

    /// Nothing follows: what waits for packets or for its capture time comes out now.
    pub fn finish(&mut self, now: Instant) {
        if let Some(video) = &mut self.video {
            video.finish(now, &mut self.clock);
        }
        if let Some(audio) = &mut self.audio {
            audio.finish(now, &mut self.clock);
        }
    }

    /// When [`Self::handle_timeout`] has something to do, if nothing arrives before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let video = self.video.as_ref().and_then(VideoReceiver::poll_timeout);
        let audio = self.audio.as_ref().and_then(AudioReceiver::poll_timeout);
        [video, audio].into_iter().flatten().min()
    }

    /// The next output. Those of one track are in order; between the tracks there is none.
    pub fn poll_output(&mut self) -> Option<MediaOutput> {
        if let Some(output) = self.video.as_mut().and_then(VideoReceiver::poll_output) {
            return Some(MediaOutput::Video(output));
        }
        self.audio.as_mut().and_then(AudioReceiver::poll_output).map(MediaOutput::Audio)
    }

    /// The round trip to the sender, from STUN or RTCP.
    pub fn set_rtt(&mut self, rtt: Duration) {
        if let Some(video) = &mut self.video {
            video.set_rtt(rtt);
        }
        if let Some(audio) = &mut self.audio {
            audio.set_rtt(rtt);
        }
    }

    /// Counters of a track; `None` when it is ignored.
    pub fn stats(&self, kind: MediaKind) -> Option<&InboundStats> {
        match kind {
            MediaKind::Video => self.video.as_ref().map(VideoReceiver::stats),
            MediaKind::Audio => self.audio.as_ref().map(AudioReceiver::stats),
        }
    }

    /// Whether a track is handed on; `None` when it is ignored.
    pub fn flow(&self, kind: MediaKind, now: Instant) -> Option<Flow> {
        match kind {
            MediaKind::Video => self.video.as_ref().map(|video| video.flow(now)),
            MediaKind::Audio => self.audio.as_ref().map(|audio| audio.flow(now)),
        }
    }

    /// How often pictures or packets of a track were not handed on.
    pub fn withheld(&self, kind: MediaKind) -> WithheldCounts {
        let found = match kind {
            MediaKind::Video => self.video.as_ref().map(VideoReceiver::withheld),
            MediaKind::Audio => self.audio.as_ref().map(AudioReceiver::withheld),
        };
        found.unwrap_or_default()
    }

    /// What is known of a track's time.
    pub fn clock(&self, kind: MediaKind) -> ClockStats {
        self.clock.stats(kind)
    }

    /// How far video comes after audio, in milliseconds, for what was captured at the same time; `None` while sender
    /// reports have not told.
    pub fn distance_ms(&self) -> Option<i64> {
        self.clock.distance_ms()
    }

    /// How far the wall clock that is handed in is ahead of the capture times' clock, in milliseconds: it was set.
    pub fn wall_clock_off_ms(&self) -> i64 {
        self.clock.wall_clock_off_ms()
    }
}

#[cfg(test)]
mod lossy_tests;
#[cfg(test)]
mod tests;
