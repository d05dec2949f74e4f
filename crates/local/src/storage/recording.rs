//! [`Recording`]: what the master sends, as the fragments of a stream. Sans-IO.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use str0m::media::MediaTime;

use super::{
    clock::{Clock, Report},
    picture::{ParameterSets, VideoTrack},
    sound::{AacFrame, SoundFigures, SoundTrack},
};
use crate::mkv::{Block, Form, NewTrack, cluster, header};

const VIDEO: u8 = 1;
const SOUND: u8 = 2;
/// A fragment is at least this long: the service takes five in a second ("Kinesis Video Streams quotas").
const SHORTEST_MS: i64 = 200;
/// A fragment is cut here without a key frame; the service takes 20 s.
const LONGEST_MS: i64 = 18_000;
/// Bytes of pictures that wait for the end of their fragment, of which the service takes 50 MB. More: the fragment ends here.
const MOST_BYTES: usize = 40_000_000;
/// A master that has not sent a key frame for so long is asked for one: fragments begin with them.
const KEY_FRAMES: Duration = Duration::from_secs(2);
/// How often it is asked while there is nothing that could be stored.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// Sound that is so far behind the picture is silence: nothing was sent, or it was lost.
const PATIENCE_US: i64 = 600_000;
/// The last picture of a recording lasts as long as a frame of AAC, so that there is sound with it.
const LAST_MS: i64 = 22;
/// A picture that does not come for so long ends its fragment.
const PAUSE: Duration = Duration::from_secs(3);

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Start an encoder with this number in place of the one before.
    Encoder(u64),
    /// Have this encoded.
    Encode(Bytes),
    /// Nothing more is to be encoded: what is still in the encoder belongs to the last fragment.
    EncoderEnd,
    /// A PutMedia session begins with this header.
    Header(Bytes),
    /// A fragment of it.
    Fragment(Bytes),
    /// Ask the master for a key frame.
    KeyFrame,
}

/// What became of what came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Figures {
    /// Pictures of fragments.
    pub(super) pictures: u64,
    /// Pictures that cannot be decoded, because one before them was lost or none to begin with had come.
    pub(super) undecodable: u64,
    /// Times that something was lost on the way.
    pub(super) gaps: u64,
    /// Fragments.
    pub(super) fragments: u64,
    /// Fragments that were cut without a key frame.
    pub(super) cut: u64,
    /// Pictures of which no sound could be made, so that no fragment can hold them.
    pub(super) soundless: u64,
    /// Encoders that ended by themselves, or stopped.
    pub(super) encoders: u64,
    /// Of packets of sound.
    pub(super) sound: SoundFigures,
}

struct Waiting {
    ms: i64,
    key: bool,
    data: Bytes,
    /// Of a key frame: what its track is from here on.
    track: Option<VideoTrack>,
}

/// What is known of the stream's fragments.
pub(super) struct Recording {
    clock: Clock,
    sets: ParameterSets,
    sound: Option<SoundTrack>,
    encoder: u64,
    /// The last fragment waits for the rest of its sound.
    ending: bool,
    /// From the first picture of the open fragment on, which is a key frame.
    pictures: VecDeque<Waiting>,
    bytes: usize,
    frames: VecDeque<(i64, Bytes)>,
    config: Option<[u8; 2]>,
    header: Option<Bytes>,
    /// Nothing can be decoded before the next key frame.
    lost: bool,
    latest: Option<(i64, Instant)>,
    key_frame: Option<Instant>,
    asked: Option<Instant>,
    figures: Figures,
    outputs: VecDeque<Output>,
}

impl Recording {
    pub(super) fn new(now: Instant, unix_ms: u64) -> Self {
        Self {
            clock: Clock::new(now, unix_ms),
            sets: ParameterSets::default(),
            sound: None,
            encoder: 0,
            ending: false,
            pictures: VecDeque::new(),
            bytes: 0,
            frames: VecDeque::new(),
            config: None,
            header: None,
            lost: true,
            latest: None,
            key_frame: None,
            asked: None,
            figures: Figures::default(),
            outputs: VecDeque::new(),
        }
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether the last fragment waits for the rest of its sound.
    pub(super) fn is_ending(&self) -> bool {
        self.ending
    }

    pub(super) fn figures(&self) -> Figures {
        self.figures
    }

    /// A picture in Annex B. `contiguous`: nothing was lost since the one before.
    pub(super) fn video(
        &mut self,
        annex_b: &[u8],
        contiguous: bool,
        rtp: MediaTime,
        report: Option<Report>,
        now: Instant,
    ) {
        if !contiguous {
            self.figures.gaps += 1;
            self.lost = true;
        }
        let (us, jumped) = self.clock.video(rtp, now, report);
        self.lost |= jumped;
        let Some(picture) = self.sets.read(annex_b) else { return };
        if self.ending || (self.lost && !picture.key) {
            self.figures.undecodable += 1;
            return self.ask(now);
        }
        let mut ms = us / 1000;
        let mut track = None;
        if picture.key {
            self.key_frame = Some(now);
            self.lost = false;
            track = self.sets.track();
            if jumped || self.sound.is_none() {
                if self.sound.is_some() {
                    // The clock was set: what it said before is one fragment less, and this one the next.
                    (self.lost, self.key_frame) = (true, None);
                    self.figures.undecodable += 1;
                    return self.end();
                }
                self.encoder += 1;
                self.sound = Some(SoundTrack::new(us));
                self.outputs.push_back(Output::Encoder(self.encoder));
            }
            // A fragment begins later than the one before ended, whatever a clock says.
            ms = ms.max(self.latest.map_or(i64::MIN, |(latest, _)| latest + 1));
        }
        self.latest = Some((self.latest.map_or(ms, |(latest, _)| latest.max(ms)), now));
        self.bytes += picture.data.len();
        self.pictures.push_back(Waiting { ms, key: picture.key, data: picture.data, track });
        self.cut();
    }

    /// A packet of Opus.
    pub(super) fn sound(&mut self, packet: &Bytes, rtp: MediaTime, report: Option<Report>, now: Instant) {
        let us = self.clock.sound(rtp, now, report);
        if let Some(sound) = self.sound.as_mut().filter(|_| !self.ending) {
            self.outputs.extend(sound.push(us, packet).into_iter().map(Output::Encode));
        }
    }

    /// A frame of the encoder with this number.
    pub(super) fn encoded(&mut self, encoder: u64, frame: AacFrame) {
        if encoder != self.encoder {
            return;
        }
        let Some(sound) = &mut self.sound else { return };
        let ms = sound.encoded();
        self.config = Some(frame.config);
        self.frames.push_back((ms, frame.data));
        self.cut();
    }

    /// The encoder with this number has ended, or does not keep up.
    pub(super) fn encoder_ended(&mut self, encoder: u64) {
        if encoder != self.encoder || self.sound.is_none() {
            return;
        }
        if !self.ending {
            self.figures.encoders += 1;
        }
        if let Some(sound) = &self.sound {
            self.figures.sound += sound.figures();
        }
        let end = self.latest.map_or(0, |(latest, _)| latest + LAST_MS);
        self.fragment(self.pictures.len(), end);
        // what comes next is later than this sound
        self.latest = self.latest.map(|(_, at)| (end, at));
        self.figures.soundless += self.pictures.len() as u64;
        self.pictures.clear();
        self.frames.clear();
        self.bytes = 0;
        (self.sound, self.ending, self.lost) = (None, false, true);
    }

    /// The master has left, or another takes its place.
    pub(super) fn leave(&mut self) {
        self.end();
        self.clock.forget();
        self.lost = true;
    }

    /// What is due: a key frame, silence, the end of a fragment.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let Some((_, at)) = self.latest else { return };
        if self.sound.is_some() && now.saturating_duration_since(at) >= PAUSE {
            self.end();
        }
        let wanted = self.key_frame.is_none_or(|at| now.saturating_duration_since(at) >= KEY_FRAMES);
        if (wanted || self.lost) && now.saturating_duration_since(at) < PAUSE {
            self.ask(now);
        }
        if self.ending {
            return;
        }
        let Some(sound) = &mut self.sound else { return };
        let Some(latest) = self.pictures.back() else { return };
        let silence = sound.silent_until(latest.ms.saturating_mul(1000) - PATIENCE_US);
        self.outputs.extend(silence.into_iter().map(Output::Encode));
        if sound.has_stopped(now) {
            tracing::warn!("the encoder of sound has stopped; the recording goes on with another one");
            self.encoder_ended(self.encoder);
        }
    }

    fn ask(&mut self, now: Instant) {
        if self.asked.is_none_or(|at| now.saturating_duration_since(at) >= ASK_AGAIN) {
            self.asked = Some(now);
            self.outputs.push_back(Output::KeyFrame);
        }
    }

    /// No more pictures come for now: the rest of the sound is waited for.
    fn end(&mut self) {
        let Some(sound) = self.sound.as_mut().filter(|_| !self.ending) else { return };
        self.ending = true;
        if let Some((latest, _)) = self.latest {
            let silence = sound.silent_until((latest + 2 * LAST_MS).saturating_mul(1000));
            self.outputs.extend(silence.into_iter().map(Output::Encode));
        }
        self.outputs.push_back(Output::EncoderEnd);
    }

    /// Fragments that are complete: up to a key frame, with all of their sound.
    fn cut(&mut self) {
        loop {
            let Some(first) = self.pictures.front().map(|picture| picture.ms) else { return };
            let next = self
                .pictures
                .iter()
                .skip(1)
                .position(|picture| picture.key && picture.ms - first >= SHORTEST_MS);
            let Some(next) = next.map(|index| index + 1) else {
                let last = self.pictures.back().map_or(first, |picture| picture.ms);
                if last - first >= LONGEST_MS || self.bytes >= MOST_BYTES {
                    self.figures.cut += 1;
                    self.lost = true;
                    self.fragment(self.pictures.len(), last + 1);
                }
                return;
            };
            let end = self.pictures[next].ms;
            let covered = self.sound.as_ref().map_or(i64::MIN, SoundTrack::covered_ms);
            if covered < end && self.bytes < MOST_BYTES {
                return;
            }
            self.fragment(next, end);
        }
    }

    /// A fragment of so many pictures, with the sound up to `end`.
    fn fragment(&mut self, pictures: usize, end: i64) {
        let pictures: Vec<_> = self.pictures.drain(..pictures).collect();
        let Some(first) = pictures.first() else { return };
        let start = first.ms;
        self.bytes = self.pictures.iter().map(|picture| picture.data.len()).sum();
        let frames: Vec<_> = std::iter::from_fn(|| {
            let (ms, _) = self.frames.front()?;
            (*ms < end).then(|| self.frames.pop_front())?
        })
        .filter(|(ms, _)| *ms >= start)
        .collect();
        let Some(header) =
            first.track.as_ref().and_then(|track| self.header(track)).filter(|_| !frames.is_empty())
        else {
            self.figures.soundless += pictures.len() as u64;
            return;
        };
        if self.header.as_ref() != Some(&header) {
            self.outputs.push_back(Output::Header(header.clone()));
            self.header = Some(header);
        }
        self.figures.pictures += pictures.len() as u64;
        self.figures.fragments += 1;
        let after = |ms: i64| i16::try_from(ms - start).unwrap_or(i16::MAX);
        let mut blocks: Vec<_> = pictures
            .into_iter()
            .map(|Waiting { ms, key, data, .. }| Block { track: VIDEO, after_ms: after(ms), key, data })
            .chain(frames.into_iter().map(|(ms, data)| Block {
                track: SOUND,
                after_ms: after(ms),
                key: true,
                data,
            }))
            .collect();
        // stable: pictures keep the order in which they are decoded where they share a time
        blocks.sort_by_key(|block| block.after_ms);
        let timecode = u64::try_from(start).unwrap_or(0);
        self.outputs.push_back(Output::Fragment(cluster(timecode, &blocks).freeze()));
    }

    fn header(&self, track: &VideoTrack) -> Option<Bytes> {
        let config = self.config?;
        let channels = config[1] >> 3 & 0xF;
        let tracks = [
            NewTrack {
                number: VIDEO,
                codec: "V_MPEG4/ISO/AVC",
                codec_private: track.record.clone(),
                form: Form::Video { width: track.width, height: track.height },
            },
            NewTrack {
                number: SOUND,
                codec: "A_AAC",
                codec_private: Bytes::copy_from_slice(&config),
                form: Form::Audio { rate: 48_000, channels },
            },
        ];
        Some(header(&tracks).freeze())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use str0m::media::Frequency;

    use super::*;
    use crate::{
        FragmentLimits,
        putmedia::{self, Ingest},
    };

    const SPS: &str = "6742c00bda0507ec044000000300400000030083c50aa8";
    const FRAME_MS: u64 = 40;

    fn unit(first: u8, number: u64) -> Vec<u8> {
        [&[0, 0, 0, 1, first][..], &(number + 1).to_string().into_bytes()].concat()
    }

    fn picture(number: u64, key: bool) -> Vec<u8> {
        let sps = [&[0, 0, 0, 1][..], &hex::decode(SPS).unwrap()].concat();
        match key {
            true => [sps, vec![0, 0, 0, 1, 0x68, 1], unit(0x65, number)].concat(),
            false => unit(0x41, number),
        }
    }

    /// A recording whose encoder is a count of samples, and whose stream is the one that checks producers.
    struct World {
        recording: Recording,
        now: Instant,
        start: Instant,
        encoder: u64,
        samples: u64,
        encoded: u64,
        ingest: Option<Ingest>,
        fragments: Vec<crate::model::Fragment>,
        headers: usize,
        asked: usize,
    }

    impl World {
        fn new() -> Self {
            let now = Instant::now();
            Self {
                recording: Recording::new(now, 1_795_827_600_000),
                now,
                start: now,
                encoder: 0,
                samples: 0,
                encoded: 0,
                ingest: None,
                fragments: Vec::new(),
                headers: 0,
                asked: 0,
            }
        }

        fn settle(&mut self) {
            while let Some(output) = self.recording.poll_output() {
                match output {
                    Output::Encoder(number) => (self.encoder, self.samples, self.encoded) = (number, 0, 0),
                    Output::Encode(packet) => {
                        // all packets here have 20 ms
                        assert!(!packet.is_empty());
                        self.samples += 960;
                        while self.encoded * 1024 <= self.samples {
                            self.frame();
                        }
                    }
                    Output::EncoderEnd => {
                        self.frame();
                        self.recording.encoder_ended(self.encoder);
                    }
                    Output::Header(header) => {
                        self.headers += 1;
                        self.ingest = Some(Ingest::new(FragmentLimits::default()));
                        self.take(&header);
                    }
                    Output::Fragment(fragment) => self.take(&fragment),
                    Output::KeyFrame => self.asked += 1,
                }
            }
        }

        fn frame(&mut self) {
            self.encoded += 1;
            let frame = AacFrame { config: [0x11, 0x90], data: Bytes::from_static(&[9]) };
            self.recording.encoded(self.encoder, frame);
        }

        fn take(&mut self, data: &[u8]) {
            for output in self.ingest.as_mut().unwrap().push(data) {
                match output {
                    putmedia::Output::Complete(fragment) => self.fragments.push(*fragment),
                    putmedia::Output::Begun { .. } => {}
                    putmedia::Output::Refused { .. } => panic!("{output:?}"),
                }
            }
        }

        fn ms(&self) -> u64 {
            self.now.duration_since(self.start).as_millis() as u64
        }

        fn video(&mut self, number: u64, key: bool, contiguous: bool) {
            let rtp = MediaTime::new(self.ms() * 90 + 12_345, Frequency::NINETY_KHZ);
            self.recording.video(&picture(number, key), contiguous, rtp, None, self.now);
            self.settle();
        }

        fn sound(&mut self) {
            let rtp = MediaTime::new(self.ms() * 48 + 777, Frequency::FORTY_EIGHT_KHZ);
            let packet = Bytes::from_static(&[31 << 3, 1]);
            self.recording.sound(&packet, rtp, None, self.now);
            self.settle();
        }

        fn wait(&mut self, ms: u64) {
            self.now += Duration::from_millis(ms);
            self.recording.handle_timeout(self.now);
            self.settle();
        }

        fn end(&mut self) {
            self.recording.leave();
            self.settle();
            if let Some(ingest) = &mut self.ingest {
                for output in ingest.finish() {
                    if let putmedia::Output::Complete(fragment) = output {
                        self.fragments.push(*fragment);
                    }
                }
            }
        }

        fn pictures(&self) -> u64 {
            self.fragments.iter().map(|fragment| fragment.video_frames).sum()
        }
    }

    #[test]
    fn every_picture_from_the_first_key_frame_on_is_in_a_fragment() {
        let mut world = World::new();
        for number in 0..100 {
            world.video(number, number % 25 == 3, true);
            world.sound();
            world.wait(FRAME_MS / 2);
            world.sound();
            world.wait(FRAME_MS / 2);
        }
        world.end();
        assert_eq!(world.pictures(), 97);
        assert_eq!((world.fragments.len(), world.headers), (4, 1));
        assert!(world.fragments.iter().all(|fragment| fragment.audio_frames > 0), "{:?}", world.fragments);
        let figures = world.recording.figures();
        assert_eq!((figures.undecodable, figures.pictures, figures.soundless), (3, 97, 0));
        assert!(world.asked > 0, "it was asked for a first key frame");
    }

    #[test]
    fn a_master_without_sound_has_silence() {
        let mut world = World::new();
        for number in 0..200 {
            world.video(number, number % 50 == 0, true);
            world.wait(FRAME_MS);
        }
        world.end();
        assert_eq!((world.pictures(), world.fragments.len()), (200, 4));
    }

    #[test]
    fn what_is_lost_ends_at_the_next_key_frame_and_one_is_asked_for() {
        let mut world = World::new();
        for number in 0..100 {
            world.video(number, number == 0 || number == 80, number != 50);
            world.sound();
            world.wait(20);
            world.sound();
            world.wait(20);
        }
        world.end();
        assert_eq!(world.pictures(), 70);
        assert_eq!(world.recording.figures().gaps, 1);
        assert!(world.asked >= 2, "at once, and while none came: {}", world.asked);
    }

    #[test]
    fn a_picture_that_stops_leaves_no_open_fragment() {
        let mut world = World::new();
        for number in 0..30 {
            world.video(number, number == 0, true);
            world.wait(FRAME_MS);
        }
        for _ in 0..40 {
            world.wait(100);
        }
        assert_eq!(world.recording.figures().pictures, 30);
        for number in 30..60 {
            world.video(number, number == 30, true);
            world.wait(FRAME_MS);
        }
        world.end();
        assert_eq!(world.pictures(), 60);
    }

    #[test]
    fn without_key_frames_a_fragment_is_cut_before_it_is_too_long() {
        let mut world = World::new();
        for number in 0..1000 {
            world.video(number, number == 0 || number == 700, true);
            world.wait(FRAME_MS);
        }
        world.end();
        let figures = world.recording.figures();
        assert_eq!(figures.cut, 1);
        assert_eq!(world.pictures() + figures.undecodable, 1000);
        assert!(world.pictures() > 700, "{figures:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Whatever comes, in whatever rhythm: what is stored is in order, and nothing but what was lost is missing.
        #[test]
        fn nothing_is_lost_that_could_be_kept(
            steps in prop::collection::vec((1_u64..120, prop::bool::weighted(0.1), prop::bool::weighted(0.03), 0_u8..4), 1..300),
        ) {
            let mut world = World::new();
            let mut sent = 0;
            for (number, (wait, key, gap, sound)) in (0..).zip(steps) {
                world.video(number, key, !gap);
                sent += 1;
                for _ in 0..sound {
                    world.sound();
                    world.wait(wait / u64::from(sound));
                }
                world.wait(wait % u64::from(sound.max(1)) + u64::from(sound == 0) * wait);
            }
            world.end();
            let figures = world.recording.figures();
            prop_assert_eq!(world.pictures(), figures.pictures);
            prop_assert_eq!(figures.pictures + figures.undecodable + figures.soundless, sent, "{:?}", figures);
            prop_assert_eq!(figures.soundless, 0);
            let numbers: Vec<_> = world.fragments.iter().map(|fragment| fragment.timecode).collect();
            prop_assert!(numbers.is_sorted_by(|a, b| a < b));
        }
    }
}
