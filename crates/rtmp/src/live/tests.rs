#![allow(clippy::unwrap_used, reason = "a test")]

use super::*;
use crate::aac::AacConfig;
use crate::flv::TagKind;
use bytes::Bytes;
use proptest::prelude::*;

/// Capture times begin here.
const EPOCH: Duration = Duration::from_secs(1_700_000_000);
/// 30 a second.
const PICTURE: u64 = 33;
/// It is looked after at least so often.
const LOOK: u64 = 400;
/// The bound of pictures, and that of sound.
const MAX_BYTES: usize = 100_000;
const STEREO: [u8; 2] = [0x11, 0x90];

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn parameters(width: u32) -> Arc<VideoParameters> {
    Arc::new(VideoParameters { record: vec![1, 66, 0, 31, width as u8].into(), width, height: 720 })
}

/// What is sent, and when: picture `number` has it in its data.
struct Bench {
    live: Live,
    start: Instant,
    now: Instant,
    sent: Vec<(u64, Tag)>,
    width: u32,
    /// When it is looked after, if nothing comes that makes something due.
    look: Instant,
}

impl Bench {
    fn new(silence: bool, tracks: Tracks) -> Self {
        let start = Instant::now();
        let mut live = Live::new(LiveConfig { silence, max_bytes: MAX_BYTES, ..LiveConfig::default() });
        live.set_tracks(tracks, start);
        Self { live, start, now: start, sent: Vec::new(), width: 1280, look: start }
    }

    fn both() -> Self {
        Self::new(true, Tracks { video: true, audio: true })
    }

    fn connect(&mut self) {
        self.live.connected(self.now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(tag) = self.live.next(self.now) {
            self.sent.push(((self.now - self.start).as_millis() as u64, tag));
        }
        let due = self.live.timeout(self.now).into_iter();
        self.look = due.fold(self.now + ms(LOOK), Instant::min);
    }

    /// Something came: it is looked after where that makes something due.
    fn came(&mut self) {
        if self.live.is_due(self.now) {
            self.drain();
        }
    }

    /// Lets time pass, with what is due meanwhile.
    fn until(&mut self, at: u64, sends: bool) {
        let end = self.start + ms(at);
        while sends && self.look < end {
            self.now = self.now.max(self.look);
            self.drain();
        }
        self.now = self.now.max(end);
    }

    /// A picture of this number, captured at `at`, comes now.
    fn picture(&mut self, number: u32, at: u64, idr: bool) {
        self.sized(number, at, idr, 100);
    }

    fn sized(&mut self, number: u32, at: u64, idr: bool, bytes: usize) {
        let mut data = number.to_be_bytes().to_vec();
        data.resize(bytes.max(4), 0);
        let picture =
            Picture { at: EPOCH + ms(at), idr, data: data.into(), parameters: parameters(self.width) };
        self.live.picture(picture, self.now);
    }

    fn sound(&mut self, at: Duration, config: AacConfig) {
        self.maybe_concealed(at, config, false);
    }

    fn maybe_concealed(&mut self, at: Duration, config: AacConfig, concealed: bool) {
        let sound = Sound { at: EPOCH + at, data: Bytes::from_static(b"sound"), config, concealed };
        self.live.sound(sound, self.now);
    }

    fn numbers(&self) -> Vec<u32> {
        self.pictures().map(|(_, tag)| number(tag)).collect()
    }

    fn pictures(&self) -> impl Iterator<Item = &(u64, Tag)> {
        self.sent.iter().filter(|(_, tag)| matches!(tag.kind, TagKind::Video | TagKind::KeyFrame))
    }

    fn count(&self, kind: TagKind) -> usize {
        self.sent.iter().filter(|(_, tag)| tag.kind == kind).count()
    }

    fn rises(&self) {
        let times: Vec<_> = self.sent.iter().map(|(_, tag)| tag.timestamp).collect();
        assert!(times.is_sorted(), "{times:?}");
        assert_eq!(times.first(), Some(&0));
    }

    /// Pictures 30 a second with a key frame every second, and sound that comes 120 ms later in bundles of five, as the
    /// pipeline has it. `sends`: what is due goes out.
    fn run(&mut self, from: u64, to: u64, pictures: bool, sounds: Option<AacConfig>, sends: bool) {
        let frame = AacConfig::MONO.frame().as_nanos() as u64;
        let mut sound = (from * 1_000_000).div_ceil(frame);
        let mut waiting = Vec::new();
        for number in from.div_ceil(PICTURE)..to.div_ceil(PICTURE) {
            let at = number * PICTURE;
            self.until(at, sends);
            while let Some(config) = sounds.filter(|_| sound * frame / 1_000_000 + 120 <= at) {
                waiting.push(Duration::from_nanos(sound * frame));
                sound += 1;
                if waiting.len() == 5 {
                    waiting.drain(..).for_each(|at| self.sound(at, config));
                }
            }
            if pictures {
                self.picture(number as u32, at, number.is_multiple_of(30));
            }
            if sends {
                self.came();
            }
        }
        waiting.drain(..).zip(sounds.into_iter().cycle()).for_each(|(at, config)| self.sound(at, config));
        self.until(to, sends);
    }
}

fn number(tag: &Tag) -> u32 {
    u32::from_be_bytes(tag.body[5..9].try_into().unwrap())
}

fn composition(tag: &Tag) -> u32 {
    u32::from_be_bytes([0, tag.body[2], tag.body[3], tag.body[4]])
}

#[test]
fn both_tracks_go_out_in_one_order_complete_and_soon() {
    let mut bench = Bench::both();
    bench.connect();
    bench.run(0, 10_000, true, Some(AacConfig::MONO), true);
    bench.until(11_000, true);
    bench.rises();
    assert_eq!(bench.numbers(), (0..304).collect::<Vec<_>>());
    let kinds: Vec<_> = bench.sent.iter().take(4).map(|(_, tag)| tag.kind).collect();
    assert_eq!(
        kinds,
        [TagKind::Metadata, TagKind::VideoConfig, TagKind::KeyFrame, TagKind::AudioConfig],
        "what configures goes first"
    );
    // Timestamps are those of capture, and nothing waits for longer than sound takes.
    // But the last wait for sound that does not come.
    for (sent, tag) in bench.pictures().take(298) {
        let at = u64::from(number(tag)) * PICTURE;
        assert_eq!(u64::from(tag.timestamp), at);
        assert!(sent - at <= 300, "{} waited {} ms", number(tag), sent - at);
    }
    assert_eq!(bench.count(TagKind::Metadata), 1);
    let sounds = bench.count(TagKind::Audio);
    assert!((455..470).contains(&sounds), "{sounds}");
    // Beside the last pictures, whose sound does not come.
    assert!(bench.count(TagKind::Silence) <= 7);
}

#[test]
fn without_sound_there_is_silence_at_once_if_it_is_wanted() {
    for silence in [true, false] {
        let mut bench = Bench::new(silence, Tracks { video: true, audio: false });
        bench.connect();
        bench.run(0, 5_000, true, None, true);
        bench.rises();
        assert_eq!(bench.count(TagKind::AudioConfig), usize::from(silence));
        let expected = if silence { 235 } else { 0 };
        assert!(bench.count(TagKind::Silence).abs_diff(expected) <= 2);
        assert!(bench.pictures().all(|(sent, tag)| *sent == u64::from(number(tag)) * PICTURE));
        let mut last = 0;
        for (_, tag) in bench.sent.iter().filter(|(_, tag)| tag.kind == TagKind::Silence) {
            assert!(tag.timestamp - last <= 22);
            last = tag.timestamp;
        }
    }
}

#[test]
fn silence_stands_in_for_sound_that_pauses_and_gives_way_without_overlap() {
    let mut bench = Bench::both();
    bench.connect();
    bench.run(0, 3_000, true, Some(AacConfig::MONO), true);
    bench.run(3_000, 7_000, true, None, true);
    bench.run(7_000, 10_000, true, Some(AacConfig::MONO), true);
    bench.until(11_000, true);
    bench.rises();
    assert_eq!(bench.numbers().len(), 304);
    let times: Vec<_> = bench
        .sent
        .iter()
        .filter(|(_, tag)| matches!(tag.kind, TagKind::Audio | TagKind::Silence))
        .map(|(_, tag)| tag.timestamp)
        .collect();
    for pair in times.windows(2) {
        assert!((10..=33).contains(&(pair[1] - pair[0])), "{pair:?}");
    }
    assert!(bench.count(TagKind::Silence) > 150);
    assert!(bench.live.figures().dropped(DropReason::Late).sounds < 12);
    assert!(bench.pictures().all(|(sent, tag)| sent - u64::from(number(tag)) * PICTURE <= 540));
}

#[test]
fn sound_alone_needs_no_picture() {
    let mut bench = Bench::new(true, Tracks { video: false, audio: true });
    bench.connect();
    bench.run(0, 2_000, false, Some(AacConfig::MONO), true);
    bench.rises();
    assert!(bench.count(TagKind::Audio) > 80 && bench.pictures().next().is_none());
    // It pauses: silence follows a second behind.
    for at in 2_000..6_000 {
        bench.until(at, true);
    }
    let silences = bench.count(TagKind::Silence);
    // As far as it was looked after.
    assert!(silences.abs_diff(142) <= LOOK as usize * 48 / 1_024, "{silences}");
    // Pictures join.
    bench.live.set_tracks(Tracks { video: true, audio: true }, bench.now);
    bench.run(6_010, 8_000, true, Some(AacConfig::MONO), true);
    bench.rises();
    assert_eq!(bench.count(TagKind::VideoConfig), 1);
    assert_eq!(bench.numbers().first(), Some(&210), "{:?}", bench.numbers());
}

#[test]
fn other_formats_are_announced_in_the_same_broadcast() {
    let mut bench = Bench::both();
    bench.connect();
    bench.run(0, 1_980, true, Some(AacConfig::MONO), true);
    bench.width = 640;
    bench.run(1_980, 4_000, true, AacConfig::parse(&STEREO).ok(), true);
    bench.until(5_000, true);
    bench.rises();
    assert_eq!(bench.numbers(), (0..122).collect::<Vec<_>>());
    assert_eq!((bench.count(TagKind::VideoConfig), bench.count(TagKind::AudioConfig)), (2, 2));
    let place = |wanted: &dyn Fn(&Tag) -> bool| bench.sent.iter().rposition(|(_, tag)| wanted(tag)).unwrap();
    let config = place(&|tag| tag.kind == TagKind::VideoConfig);
    let first = place(&|tag| tag.kind == TagKind::KeyFrame && number(tag) == 60);
    assert_eq!(config + 1, first);
}

#[test]
fn b_pictures_are_presented_when_they_were_captured() {
    let mut bench = Bench::new(false, Tracks { video: true, audio: false });
    bench.connect();
    // I P B P B …: 25 a second.
    let mut order = vec![0];
    order.extend((1..40).flat_map(|pair| [2 * pair, 2 * pair - 1]));
    for (index, shown) in order.iter().enumerate() {
        bench.until(index as u64 * 40, true);
        bench.picture(*shown, u64::from(*shown) * 40, index == 0);
        bench.drain();
    }
    bench.rises();
    assert_eq!(bench.numbers(), order);
    for (index, (_, tag)) in bench.pictures().enumerate() {
        // The first that goes back teaches the order, and is a picture late.
        if index != 2 {
            assert_eq!(tag.timestamp + composition(tag), number(tag) * 40);
        }
    }
}

#[test]
fn a_broadcast_begins_with_the_newest_key_frame_and_asks_for_one_where_there_is_none() {
    let mut bench = Bench::both();
    bench.run(0, 5_500, true, Some(AacConfig::MONO), false);
    assert!(bench.live.wants_connection(bench.now));
    bench.connect();
    bench.run(5_511, 8_000, true, Some(AacConfig::MONO), true);
    bench.until(9_000, true);
    bench.rises();
    assert_eq!(bench.numbers(), (150..243).collect::<Vec<_>>());
    assert_eq!(bench.live.figures().dropped(DropReason::Disconnected).groups, 5);
    // Every picture was sent: what comes has nothing to refer to in the next broadcast.
    bench.live.disconnected();
    assert!(!bench.live.wants_connection(bench.now));
    bench.sent.clear();
    bench.until(9_010, false);
    bench.picture(300, 9_010, false);
    assert!(bench.live.take_key_frame_wanted(bench.now) && !bench.live.take_key_frame_wanted(bench.now));
    bench.until(10_020, false);
    assert!(bench.live.take_key_frame_wanted(bench.now), "a second later");
    bench.picture(301, 10_020, true);
    assert!(bench.live.wants_connection(bench.now));
    bench.until(11_100, false);
    assert!(!bench.live.take_key_frame_wanted(bench.now));
    bench.connect();
    bench.until(12_000, true);
    bench.rises();
    assert_eq!(bench.numbers(), [301]);
}

#[test]
fn a_master_that_is_gone_ends_the_broadcast() {
    let mut bench = Bench::both();
    bench.connect();
    bench.run(0, 1_000, true, Some(AacConfig::MONO), true);
    bench.until(10_800, true);
    assert!(!bench.live.is_idle(bench.now));
    bench.until(11_100, true);
    assert!(bench.live.is_idle(bench.now));
    assert!(!bench.live.wants_connection(bench.now));
}

#[test]
fn a_server_that_takes_nothing_costs_whole_groups_and_bounded_memory() {
    let mut bench = Bench::both();
    bench.connect();
    bench.run(0, 2_000, true, Some(AacConfig::MONO), true);
    let held = bench.numbers().len();
    bench.run(2_013, 12_000, true, Some(AacConfig::MONO), false);
    let figures = bench.live.figures();
    assert!(figures.queued <= ms(7_000), "{:?}", figures.queued);
    bench.run(12_012, 14_000, true, Some(AacConfig::MONO), true);
    bench.until(15_000, true);
    bench.rises();
    let numbers = bench.numbers();
    let dropped = bench.live.figures().dropped(DropReason::Slow);
    assert_eq!(numbers.len() as u64 + dropped.pictures, 425);
    assert!(dropped.groups >= 5 && dropped.pictures >= 5 * 30, "{dropped:?}");
    for pair in numbers.windows(2).skip(held) {
        assert!(pair[1] == pair[0] + 1 || pair[1] % 30 == 0, "{pair:?} is a hole before no key frame");
    }
}

#[test]
fn pictures_that_come_too_late_go_with_their_group_and_a_little_late_they_stay() {
    for (late, lost) in [(700, false), (1_500, true)] {
        let mut bench = Bench::both();
        bench.connect();
        bench.run(0, 2_970, true, Some(AacConfig::MONO), true);
        // Pictures stop on their way; sound goes on.
        bench.run(2_970, 2_970 + late, false, Some(AacConfig::MONO), true);
        let resumed = (2_970 + late) / PICTURE;
        for number in 90..=resumed {
            bench.picture(number as u32, number * PICTURE, number % 30 == 0);
        }
        bench.drain();
        bench.run((resumed + 1) * PICTURE, 6_000, true, Some(AacConfig::MONO), true);
        bench.until(7_000, true);
        bench.rises();
        let dropped = bench.live.figures().dropped(DropReason::Late).pictures;
        assert_eq!(dropped > 0, lost, "{late}: {dropped}");
        assert_eq!(bench.numbers().len() as u64 + dropped, 182);
        for pair in bench.numbers().windows(2) {
            assert!(pair[1] == pair[0] + 1 || pair[1] % 30 == 0, "{pair:?}");
        }
    }
}

#[test]
fn a_clock_that_is_set_back_does_not_show() {
    let mut bench = Bench::new(true, Tracks { video: true, audio: false });
    bench.connect();
    for number in 0..120_u32 {
        bench.until(u64::from(number) * PICTURE, true);
        let back = if number < 60 { 3_600_000 } else { 0 };
        bench.picture(number, u64::from(number) * PICTURE + back, number % 30 == 0);
        bench.drain();
    }
    bench.rises();
    assert_eq!(bench.numbers(), (0..120).collect::<Vec<_>>());
    assert_eq!(bench.sent.last().unwrap().1.timestamp, 119 * PICTURE as u32);
    assert_eq!(bench.live.figures().jumps, 1);
}

#[test]
fn timestamps_go_on_for_weeks_and_wrap() {
    let mut bench = Bench::new(false, Tracks { video: true, audio: false });
    bench.connect();
    // A picture every hour, for 60 days.
    let pictures = 60 * 24_u64;
    for number in 0..pictures {
        bench.until(number * 3_600_000, false);
        bench.sized(number as u32, number * 3_600_000, true, 4);
        bench.drain();
    }
    let times: Vec<_> = bench.pictures().map(|(_, tag)| tag.timestamp).collect();
    assert!(times.iter().enumerate().all(|(number, time)| *time == (number as u64 * 3_600_000) as u32));
}

/// Of the sound of [`Bench::skewed`], in bundles of five frames, as the pipeline has it.
const BUNDLE: u64 = 5;

impl Bench {
    /// Pictures and sound of the seconds from `from` to `to`, of which those captured at `at` (milliseconds) come `late(at)`
    /// milliseconds after that, in their order.
    fn skewed(&mut self, from: u64, to: u64, pictures: impl Fn(u64) -> u64, sounds: impl Fn(u64) -> u64) {
        enum Arrival {
            Picture(u64),
            Sounds(u64),
        }
        let (from, to) = (from * 1_000, to * 1_000);
        let mut arrivals = Vec::new();
        let mut last = 0;
        for number in from.div_ceil(PICTURE)..to.div_ceil(PICTURE) {
            last = last.max(number * PICTURE + pictures(number * PICTURE));
            arrivals.push((last, Arrival::Picture(number)));
        }
        last = 0;
        let bundle = BUNDLE * 1_024;
        for number in (from * 48).div_ceil(bundle)..(to * 48).div_ceil(bundle) {
            let end = (number + 1) * bundle / 48;
            last = last.max(end + sounds(end));
            arrivals.push((last, Arrival::Sounds(number)));
        }
        arrivals.sort_by_key(|it| it.0);
        for (at, arrival) in arrivals {
            self.until(at, true);
            match arrival {
                Arrival::Picture(number) => {
                    self.picture(number as u32, number * PICTURE, number.is_multiple_of(30));
                }
                Arrival::Sounds(number) => (0..BUNDLE).for_each(|index| {
                    let samples = number * bundle + index * 1_024;
                    self.sound(Duration::from_nanos(samples * 1_000_000 / 48), AacConfig::MONO);
                }),
            }
            self.came();
        }
    }

    /// What was left out so far, for whatever reason.
    fn lost(&self) -> u64 {
        let figures = self.live.figures();
        DropReason::ALL
            .into_iter()
            .map(|reason| figures.dropped(reason))
            .map(|counts| counts.pictures + counts.sounds)
            .sum()
    }

    /// Pictures, and frames of sound, captured from `from` to `to` (milliseconds) that were sent, each under its capture time,
    /// and the longest that one took.
    fn in_time(&self, from: u64, to: u64) -> (usize, usize, u64) {
        let (mut pictures, mut sounds, mut longest) = (0, 0, 0);
        for (sent, tag) in &self.sent {
            let Some(at) = tag.captured.map(|captured| (captured - EPOCH).as_millis() as u64) else {
                continue;
            };
            if (from..to).contains(&at) {
                assert!(at.abs_diff(u64::from(tag.timestamp)) <= 1, "{at} is sent as {}", tag.timestamp);
                let count = if tag.kind == TagKind::Audio { &mut sounds } else { &mut pictures };
                *count += 1;
                longest = longest.max(sent - at);
            }
        }
        (pictures, sounds, longest)
    }
}

#[test]
fn sound_that_is_behind_is_waited_for_once_that_is_known_and_for_minutes() {
    let mut bench = Bench::both();
    bench.connect();
    bench.skewed(0, 20, |_| 0, |_| 700);
    let lost = bench.lost();
    assert!((1..60).contains(&lost), "{lost} frames");
    assert_eq!(bench.numbers(), (0..607).collect::<Vec<_>>());
    let (pictures, sounds, longest) = bench.in_time(3_000, 19_000);
    assert_eq!((pictures, sounds), (485, 750));
    // 700 ms, and a bundle.
    assert!((700..=830).contains(&longest), "{longest} ms");
    assert!(bench.count(TagKind::Silence) < 60);
    assert_eq!(bench.live.left_out(bench.now), None);
    bench.rises();
    // It comes sooner again: so do pictures, at once; and what they needed once is forgotten in the end.
    bench.until(22_000, true);
    bench.skewed(22, 22 + 6 * 60, |_| 0, |_| 120);
    let (.., longest) = bench.in_time(22_000, 380_000);
    assert!(longest <= 300, "{longest} ms");
    assert_eq!(bench.live.figures().hold(Track::Audio), LiveConfig::default().hold);
}

#[test]
fn pictures_that_are_behind_are_waited_for_once_that_is_known() {
    let mut bench = Bench::both();
    bench.connect();
    bench.skewed(0, 20, |_| 1_500, |_| 0);
    let (pictures, sounds, longest) = bench.in_time(3_000, 19_000);
    assert_eq!((pictures, sounds), (485, 750));
    assert!((1_500..=1_640).contains(&longest), "{longest} ms");
    assert_eq!(bench.live.figures().hold(Track::Audio), LiveConfig::default().hold, "one waits, not both");
    bench.rises();
}

#[test]
fn what_is_too_far_behind_is_said_and_the_other_goes() {
    let mut bench = Bench::both();
    bench.connect();
    bench.skewed(0, 24, |_| 0, |_| 3_000);
    let (track, behind) = bench.live.left_out(bench.now).unwrap();
    assert_eq!(track, Track::Audio);
    assert!((ms(2_950)..ms(3_050)).contains(&behind), "{behind:?}");
    assert_eq!(bench.numbers().len(), 728);
    assert!(bench.in_time(0, 24_000).2 <= 650, "{:?}", bench.in_time(0, 24_000));
    assert_eq!(bench.count(TagKind::Audio), 0);
    assert!(bench.live.figures().dropped(DropReason::Late).sounds > 500);
    // The microphone is off.
    bench.until(44_000, true);
    assert_eq!(bench.live.left_out(bench.now), None);

    let mut bench = Bench::both();
    bench.connect();
    bench.skewed(0, 10, |_| 100, |_| 0);
    bench.until(14_000, true);
    bench.skewed(10, 60, |_| 4_000, |_| 0);
    let (track, behind) = bench.live.left_out(bench.now).unwrap();
    assert_eq!(track, Track::Video);
    assert!((ms(3_850)..ms(4_050)).contains(&behind), "{behind:?}");
    // It is back.
    bench.until(64_200, true);
    bench.skewed(65, 68, |_| 100, |_| 0);
    assert_eq!(bench.live.left_out(bench.now), None);
}

/// What stands in for sound of a pipeline that ends, and for that of a microphone that is off.
#[test]
fn what_conceals_a_gap_is_in_the_way_of_nothing() {
    let mut bench = Bench::both();
    bench.connect();
    bench.skewed(0, 3, |_| 0, |_| 120);
    let frame = AacConfig::MONO.frame();
    // It reaches from where sound was so far for 200 ms, and sound comes all the same.
    let next = (3_000_u64 * 48).div_ceil(BUNDLE * 1_024) * BUNDLE;
    for number in next..next + 10 {
        bench.maybe_concealed(Duration::from_nanos(number * 1_024 * 1_000_000 / 48), AacConfig::MONO, true);
    }
    bench.drain();
    bench.skewed(3, 6, |_| 0, |_| 120);
    assert_eq!(bench.live.figures().dropped(DropReason::Late), Counts::default());
    assert!(bench.in_time(3_000, 5_900).2 <= 450, "{:?}", bench.in_time(3_000, 5_900));
    // Sound that is lost in the middle is concealed at once.
    bench.until(6_200, true);
    let lost = Duration::from_secs(7);
    bench.until(7_050, true);
    let heard = bench.count(TagKind::Audio);
    bench.picture(212, 7_000, true);
    bench.maybe_concealed(lost, AacConfig::MONO, true);
    bench.sound(lost + frame, AacConfig::MONO);
    bench.until(7_600, true);
    assert_eq!(bench.count(TagKind::Audio), heard + 2);
    // And where none comes, it is noticed long after silence was sent.
    for number in 231..420 {
        bench.until(u64::from(number) * PICTURE, true);
        bench.picture(number, u64::from(number) * PICTURE, number % 30 == 0);
        if let Some(at) = (u64::from(number) * PICTURE).checked_sub(3_500).filter(|at| *at > 7_100) {
            bench.maybe_concealed(ms(at), AacConfig::MONO, true);
        }
        bench.drain();
    }
    assert_eq!(bench.live.figures().dropped(DropReason::Late), Counts::default());
    assert_eq!(bench.live.left_out(bench.now), None);
    assert_eq!(bench.live.figures().hold(Track::Audio), LiveConfig::default().hold);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// One track comes behind the other by ever other times: once it was as far behind as it ever is, nothing is lost, and
    /// nothing is sent at another time than its own.
    #[test]
    fn nothing_is_lost_once_it_is_known_how_far_a_track_is_behind(
        skews in prop::collection::vec(0u64..2_300, 20),
        sound_is_behind in any::<bool>(),
        silence in any::<bool>(),
    ) {
        let mut bench = Bench::new(silence, Tracks { video: true, audio: true });
        bench.connect();
        let most = skews.iter().copied().max().unwrap_or(0);
        let skew = |at: u64| (at / 1_000).checked_sub(6).map_or(most, |second| skews[(second as usize).min(19)]);
        if sound_is_behind { bench.skewed(0, 26, |_| 0, skew) } else { bench.skewed(0, 26, skew, |_| 0) }
        let (pictures, sounds, longest) = bench.in_time(6_000, 25_000);
        prop_assert_eq!((pictures, sounds), (576, 890));
        prop_assert!(longest <= most.max(500) + 200, "{} ms of {}", longest, most);
        bench.rises();
    }
}

/// A thing that happens.
#[derive(Clone, Debug)]
enum Step {
    Picture { idr: bool, back: u64, bytes: usize },
    Sound { late: u64, concealed: bool },
    Wait(u64),
    Connect,
    Disconnect,
    Drain,
    Tracks(bool, bool),
    Jump(i64),
    Resize,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (prop::bool::weighted(0.1), 0u64..90, 4usize..12_000).prop_map(|(idr, back, bytes)| Step::Picture { idr, back, bytes }),
        6 => (0u64..1_500, prop::bool::weighted(0.2)).prop_map(|(late, concealed)| Step::Sound { late, concealed }),
        6 => (0u64..120).prop_map(Step::Wait),
        1 => (0u64..12_000).prop_map(Step::Wait),
        2 => Just(Step::Connect),
        1 => Just(Step::Disconnect),
        6 => Just(Step::Drain),
        1 => any::<(bool, bool)>().prop_map(|(video, audio)| Step::Tracks(video, audio)),
        1 => (-100_000_000i64..100_000_000).prop_map(Step::Jump),
        1 => Just(Step::Resize),
    ];
    prop::collection::vec(step, 1..250)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Whatever comes in whichever order: what goes out begins with a key frame and what configures it, its timestamps never go
    /// back, no picture goes without the one before it, and memory has its bounds.
    #[test]
    fn what_goes_out_can_be_decoded(steps in steps(), silence in any::<bool>()) {
        let mut bench = Bench::new(silence, Tracks { video: true, audio: true });
        let (mut clock, mut capture, mut number, mut in_group) = (0u64, 200_000_000i64, 0u32, 0u32);
        let mut connected = false;
        for step in steps {
            match step {
                Step::Picture { idr, back, bytes } => {
                    // A number of the group and one in the group: what was left out shows.
                    (number, in_group) = if idr { (number + 1, 0) } else { (number, in_group + 1) };
                    let at = (capture as u64).saturating_sub(if idr { 0 } else { back });
                    bench.sized(number << 16 | in_group, at, idr, bytes);
                }
                Step::Sound { late, concealed } => {
                    bench.maybe_concealed(ms((capture as u64).saturating_sub(late)), AacConfig::MONO, concealed);
                }
                Step::Wait(time) => {
                    clock += time;
                    capture += time as i64;
                    bench.until(clock, false);
                }
                Step::Connect => {
                    check(&bench)?;
                    bench.sent.clear();
                    connected = true;
                    bench.live.connected(bench.now);
                }
                Step::Disconnect => {
                    connected = false;
                    bench.live.disconnected();
                }
                Step::Drain => {
                    let (before, due) = (bench.sent.len(), bench.live.is_due(bench.now));
                    bench.drain();
                    prop_assert!(due || bench.sent.len() == before);
                    prop_assert!(connected || bench.sent.len() == before);
                }
                Step::Tracks(video, audio) => bench.live.set_tracks(Tracks { video, audio }, bench.now),
                Step::Jump(by) => capture = (capture + by).max(100_000_000),
                Step::Resize => bench.width = if bench.width == 1280 { 640 } else { 1280 },
            }
            let figures = bench.live.figures();
            prop_assert!(figures.queued_bytes <= 2 * MAX_BYTES, "{}", figures.queued_bytes);
            let _ = bench.live.take_key_frame_wanted(bench.now);
        }
        check(&bench)?;
    }
}

fn check(bench: &Bench) -> Result<(), TestCaseError> {
    let mut last = 0;
    let (mut width, mut sound, mut before, mut newest) = (false, false, None, None);
    for (index, (_, tag)) in bench.sent.iter().enumerate() {
        prop_assert!(index > 0 || tag.timestamp == 0);
        prop_assert!(tag.timestamp >= last, "{} after {last}", tag.timestamp);
        last = tag.timestamp;
        match tag.kind {
            TagKind::Metadata => {}
            TagKind::VideoConfig => width = true,
            TagKind::AudioConfig => sound = true,
            TagKind::Audio | TagKind::Silence => prop_assert!(sound),
            TagKind::KeyFrame | TagKind::Video => {
                prop_assert!(width);
                prop_assert!(newest.is_none_or(|newest| tag.timestamp > newest), "two pictures at one time");
                newest = Some(tag.timestamp);
                let number = number(tag);
                if tag.kind == TagKind::KeyFrame {
                    prop_assert_eq!(number & 0xffff, 0);
                } else {
                    prop_assert_eq!(
                        Some(number),
                        before.map(|before| before + 1),
                        "its reference is missing"
                    );
                }
                before = Some(number);
            }
        }
    }
    Ok(())
}
