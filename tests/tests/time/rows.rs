//! The scenarios: `../shared` calls them T1 to T14; here are those that a sender makes.

use std::ops::Range;
use std::time::Duration;

use kvs_ingest_tests::master::Settings;
use kvs_ingest_tests::master::clip::{Picture, Sound};
use kvs_ingest_tests::master::time::{Jump, Pause, Reports, SlowKeyFrames, Time, Track};
use kvs_ingest_tests::verdict::{Limits, SETTLED};

pub struct Row {
    pub name: &'static str,
    /// How much is recorded.
    pub seconds: u64,
    pub settings: fn(&mut Settings),
    /// Seconds in which the sender's times change, behind which a receiver may need [`SETTLED`] again.
    pub events: &'static [f64],
    pub limits: Limits,
    /// At its end the master is gone without a word, and the agent finds out by itself.
    pub dies: bool,
}

impl Row {
    pub fn settings(&self) -> Settings {
        let mut settings = Settings {
            sizes: vec![(320, 240)],
            sound: Sound::Beeps { stereo: false },
            // As often as masters report that others have written; str0m reports audio every 5 s.
            time: Time { reports_every: Some(Duration::from_secs(1)), ..Time::default() },
            ..Settings::default()
        };
        (self.settings)(&mut settings);
        settings
    }

    /// Seconds in which errors need not be steady.
    pub fn unsteady(&self) -> Vec<Range<f64>> {
        std::iter::once(&0.0).chain(self.events).map(|from| from - 0.1..from + SETTLED).collect()
    }
}

const fn limits(steady: f64) -> Limits {
    Limits { worst: 2_500.0, steady, lip_sync: 80.0, tail: 45, channels: None }
}

const fn mono(limits: Limits) -> Limits {
    Limits { channels: Some(1), ..limits }
}

const fn stereo(limits: Limits) -> Limits {
    Limits { channels: Some(2), ..limits }
}

/// Pictures whose order is not that of their times: a frame in another's place is 33 ms off.
const ORDERED: Limits = limits(20.0);

/// A sender whose times are right, or wrong only as a whole.
const EXACT: Limits = limits(80.0);
/// A sender whose rate has to be found out first.
const RECOVERED: Limits = limits(150.0);

/// A sender whose tracks are further apart than can be made good while it is there: that all of it is stored counts.
const APART: Limits = Limits { lip_sync: 2_500.0, ..limits(2_500.0) };

/// RTP jumps and pauses begin here: what is steady before them is seen as well.
const EVENT: u64 = 6;
const OFF: u64 = 5;
/// Longer than the agent keeps a video track that is silent.
const LONG_OFF: u64 = 20;

fn track(every_us: u64, ticks: u32) -> Track {
    Track { reports: Reports::WallClock, ..Track::new(Duration::from_micros(every_us), ticks) }
}

fn jump(seconds: i32) -> Option<Jump> {
    Some(Jump { after: Duration::from_secs(EVENT), seconds })
}

fn off(counts: bool) -> Option<Pause> {
    Some(Pause { after: Duration::from_secs(EVENT), length: Duration::from_secs(OFF), counts })
}

/// Reports as a sender makes them that writes all of them by wall clock.
fn by_wall_clock(settings: &mut Settings) {
    settings.time.video.reports = Reports::WallClock;
    settings.time.audio.reports = Reports::WallClock;
}

const fn row(name: &'static str, seconds: u64, limits: Limits, settings: fn(&mut Settings)) -> Row {
    Row { name, seconds, settings, events: &[], limits, dies: false }
}

const fn at_event(row: Row) -> Row {
    Row { events: &[EVENT as f64], ..row }
}

const fn dying(row: Row) -> Row {
    Row { dies: true, ..row }
}

const fn around_pause(row: Row) -> Row {
    Row { events: &[EVENT as f64, (EVENT + OFF) as f64], ..row }
}

const fn around_long_pause(row: Row) -> Row {
    Row { events: &[EVENT as f64, (EVENT + LONG_OFF) as f64], ..row }
}

pub const ROWS: &[Row] = &[
    row("all right", 10, mono(EXACT), |_| {}),
    row("all right, stereo", 10, stereo(EXACT), |settings| settings.sound = Sound::Beeps { stereo: true }),
    row("crystals 200 ppm apart", 10, EXACT, |settings| {
        settings.time.audio.every = Duration::from_micros(20_004);
    }),
    row("audio 20 ms per 20.28", 16, RECOVERED, |settings| {
        by_wall_clock(settings);
        settings.time.audio = track(20_280, 960);
    }),
    row("audio 20 ms per 23.2", 12, RECOVERED, |settings| {
        by_wall_clock(settings);
        settings.time.audio = track(23_200, 960);
    }),
    row("video 40 ms per 33.3", 12, RECOVERED, |settings| {
        by_wall_clock(settings);
        settings.time.video = track(33_333, 3_600);
    }),
    row("video 40 ms per 66.7", 14, RECOVERED, |settings| {
        by_wall_clock(settings);
        settings.time.video = track(66_667, 3_600);
    }),
    at_event(row("video jumps +10 s", 13, RECOVERED, |settings| settings.time.video.jump = jump(10))),
    at_event(row("video jumps +3 s", 13, RECOVERED, |settings| settings.time.video.jump = jump(3))),
    at_event(row("video jumps -10 s", 13, RECOVERED, |settings| settings.time.video.jump = jump(-10))),
    at_event(row("audio jumps +3 s", 13, RECOVERED, |settings| settings.time.audio.jump = jump(3))),
    row("audio reports +1 h", 10, EXACT, |settings| {
        settings.time.audio.reports = Reports::Ahead { seconds: 3_600, from: Duration::ZERO };
    }),
    at_event(row("audio reports -1 h from 6 s", 13, EXACT, |settings| {
        settings.time.audio.reports = Reports::Ahead { seconds: -3_600, from: Duration::from_secs(EVENT) };
    })),
    row("sender's clock +1 h", 10, EXACT, |settings| settings.time.clock_ahead = Duration::from_secs(3_600)),
    row("key frames take 1.7 s", 14, RECOVERED, |settings| {
        let takes = Duration::from_millis(1_700);
        settings.time.slow_key_frames = Some(SlowKeyFrames { takes, every: 2 });
    }),
    row("B frames", 10, ORDERED, |settings| settings.picture = Picture::BFrames),
    around_pause(row("video off 5 s, clock stops", 18, RECOVERED, |settings| {
        settings.time.video.pause = off(false);
    })),
    around_pause(row("video off 5 s, clock counts", 18, RECOVERED, |settings| {
        settings.time.video.pause = off(true);
    })),
    around_pause(row("audio off 5 s, clock stops", 18, RECOVERED, |settings| {
        settings.time.audio.pause = off(false);
    })),
    around_pause(row("audio off 5 s, clock counts", 18, RECOVERED, |settings| {
        settings.time.audio.pause = off(true);
    })),
    dying(row("audio 1.5 s late, the master dies", 12, APART, |settings| {
        settings.time.audio.late = Duration::from_millis(1_500);
    })),
];

/// Of minutes: for `cargo xtask soak` only.
pub const LONG_ROWS: &[Row] =
    &[around_long_pause(row("video off 20 s, clock counts", 40, RECOVERED, |settings| {
        settings.time.video.pause = Some(Pause {
            after: Duration::from_secs(EVENT),
            length: Duration::from_secs(LONG_OFF),
            counts: true,
        });
    }))];
