//! Which tracks a pipeline is built with.
//!
//! An output declares its tracks when it begins (KVS needs every one of them in each fragment), so a track is declared only when media of it arrived: a short wait after the first
//! track gives the second its chance, and a track that appears later, or dries up, changes the set.

use crate::tracks::Tracks;
use std::time::{Duration, Instant};

/// How long the first track waits for the second.
const PATIENCE: Duration = Duration::from_millis(1000);

/// Video that is silent for this long while audio goes on is taken out, so that audio is stored.
/// (Silent audio is filled with silence instead.) A camera whose pauses are longer keeps it for half as long again: each time
/// it is taken out the pictures up to the next key frame are lost.
const VIDEO_SILENT: Duration = Duration::from_secs(10);

/// Longer pauses teach no more than this: video is off, rather than slow.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Decides on the set of tracks.
#[derive(Debug)]
pub(super) struct Gate {
    expected: Tracks,
    first: Option<Instant>,
    video: Option<Instant>,
    /// The longest pause between two pictures, at most [`LONGEST_PAUSE`].
    paused: Duration,
    audio: Option<Instant>,
    /// A packet had two channels. It stays so: a track is widened at most once.
    stereo: bool,
}

impl Gate {
    /// `expected`: what was negotiated.
    pub(super) fn new(expected: Tracks) -> Self {
        Self { expected, first: None, video: None, paused: Duration::ZERO, audio: None, stereo: false }
    }

    /// An access unit came out.
    pub(super) fn video(&mut self, now: Instant) {
        self.first.get_or_insert(now);
        if let Some(last) = self.video.replace(now) {
            let pause = now.saturating_duration_since(last);
            self.paused = self.paused.max(pause.min(LONGEST_PAUSE));
        }
    }

    /// An audio packet came out, of one channel or two.
    pub(super) fn audio(&mut self, stereo: bool, now: Instant) {
        self.stereo |= stereo;
        self.first.get_or_insert(now);
        self.audio = Some(now);
    }

    /// The tracks to store now; `None` while it is too early to tell.
    pub(super) fn tracks(&self, now: Instant) -> Option<Tracks> {
        let first = self.first?;
        let silent = VIDEO_SILENT.max(self.paused + self.paused / 2);
        let video = self.video.is_some_and(|last| {
            self.audio.is_none_or(|audio| audio.saturating_duration_since(last) < silent)
        });
        let tracks = Tracks {
            video: self.expected.video.filter(|_| video),
            audio: self.expected.audio.filter(|_| self.audio.is_some()),
            stereo: self.stereo,
        };
        let complete = (tracks.video, tracks.audio) == (self.expected.video, self.expected.audio);
        (complete || now.saturating_duration_since(first) >= PATIENCE).then_some(tracks)
    }

    /// When the answer may change by time alone.
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let at = self.first? + PATIENCE;
        (at > now).then_some(at)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;
    use kvs_media::{AudioCodec, VideoCodec};

    const BOTH: Tracks =
        Tracks { video: Some(VideoCodec::H264), audio: Some(AudioCodec::Opus), stereo: false };
    const VIDEO: Tracks = Tracks { audio: None, ..BOTH };
    const AUDIO: Tracks = Tracks { video: None, ..BOTH };

    #[test]
    fn both_tracks_open_it_at_once() {
        let now = Instant::now();
        let mut gate = Gate::new(BOTH);
        assert_eq!(gate.tracks(now), None);
        gate.audio(false, now);
        assert_eq!(gate.tracks(now), None);
        assert_eq!(gate.poll_timeout(now), Some(now + PATIENCE));
        gate.video(now + Duration::from_millis(300));
        assert_eq!(gate.tracks(now + Duration::from_millis(300)), Some(BOTH));
    }

    #[test]
    fn a_negotiated_track_that_stays_silent_holds_nothing_back_for_long() {
        let now = Instant::now();
        let mut gate = Gate::new(BOTH);
        gate.video(now);
        assert_eq!(gate.tracks(now + Duration::from_millis(999)), None);
        assert_eq!(gate.tracks(now + PATIENCE), Some(VIDEO));
        gate.audio(false, now + Duration::from_secs(60));
        gate.video(now + Duration::from_secs(60));
        assert_eq!(gate.tracks(now + Duration::from_secs(60)), Some(BOTH));
    }

    #[test]
    fn two_channels_once_are_two_channels_for_good() {
        let now = Instant::now();
        let mut gate = Gate::new(AUDIO);
        let heard = |gate: &mut Gate, stereo| {
            gate.audio(stereo, now);
            gate.tracks(now).unwrap().stereo
        };
        assert_eq!([false, true, false].map(|stereo| heard(&mut gate, stereo)), [false, true, true]);
    }

    #[test]
    fn what_was_not_negotiated_is_not_waited_for() {
        let now = Instant::now();
        let mut gate = Gate::new(AUDIO);
        gate.audio(false, now);
        assert_eq!(gate.tracks(now), Some(AUDIO));
    }

    #[test]
    fn video_that_dries_up_lets_audio_go_on_and_may_come_back() {
        let now = Instant::now();
        let mut gate = Gate::new(BOTH);
        gate.video(now);
        gate.audio(false, now);
        gate.audio(false, now + Duration::from_secs(9));
        assert_eq!(gate.tracks(now + Duration::from_secs(9)), Some(BOTH));
        gate.audio(false, now + VIDEO_SILENT);
        let later = now + VIDEO_SILENT;
        assert_eq!(gate.tracks(later), Some(AUDIO));
        gate.video(later);
        assert_eq!(gate.tracks(later), Some(BOTH));
    }

    #[test]
    fn sound_that_comes_and_goes_keeps_its_track() {
        let (start, mut gate) = (Instant::now(), Gate::new(BOTH));
        for second in 0..3600 {
            let now = start + Duration::from_secs(second);
            gate.video(now);
            if second % 600 == 0 {
                gate.audio(false, now);
            }
            assert_eq!(gate.tracks(now), Some(BOTH));
        }
    }

    #[test]
    fn a_camera_that_sends_seldom_is_taken_out_at_most_once() {
        for every in [8, 12, 20, 55] {
            let (start, mut gate) = (Instant::now(), Gate::new(BOTH));
            let mut taken_out = 0;
            let mut stored = true;
            for second in 0..20 * every {
                let now = start + Duration::from_secs(second);
                if second % every == 0 {
                    gate.video(now);
                }
                gate.audio(false, now);
                let is_stored = gate.tracks(now) == Some(BOTH);
                taken_out += usize::from(stored && !is_stored);
                stored = is_stored;
            }
            assert_eq!(taken_out, usize::from(every > 10), "a picture in {every} s");
        }
        // Whatever its longest pause was.
        let (start, mut gate) = (Instant::now(), Gate::new(BOTH));
        gate.video(start);
        gate.video(start + Duration::from_secs(3600));
        gate.audio(false, start + Duration::from_secs(3690));
        assert_eq!(gate.tracks(start + Duration::from_secs(3690)), Some(AUDIO));
    }
}
