//! What came of a row: frames that were sent beside frames that are stored. Numbers are unique over all masters and connections.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, SystemTime};

use kvs_ingest_tests::master::{NUMBERS, Sent, SentFrame};
use kvs_ingest_tests::stored::StoredFrame;

/// The figures of a row.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// From the fault, or from its end where it lasts, until the first frame that is stored was captured. `None`: nothing was to
    /// be recovered from.
    pub recovered: Option<Duration>,
    /// Frames while a viewer was connected, from the first key frame that it got on.
    pub sent: usize,
    pub stored: usize,
    /// Of those sent, not stored, though the network was there.
    pub lost: usize,
    /// Of those sent, not stored, while the network or the agent was away.
    pub unseen: usize,
    /// Stored more than once.
    pub twice: usize,
    /// Peer connections that brought frames.
    pub connections: usize,
    /// Of the frames that are lost, for whoever reads a failure.
    pub missing: Vec<u64>,
}

/// A time in which nothing could arrive, or nobody was there.
#[derive(Clone, Copy, Debug)]
pub struct Away {
    pub from: SystemTime,
    pub to: SystemTime,
}

impl Away {
    fn covers(&self, frame: &SentFrame) -> bool {
        self.from <= frame.at && frame.at <= self.to
    }
}

/// What a row knows beside what was sent and stored.
#[derive(Clone, Debug, Default)]
pub struct Circumstances {
    /// When the fault was, or its end.
    pub since: Option<SystemTime>,
    pub away: Vec<Away>,
    /// The agent gives connections up: what their master sends on, beside a newer one, goes nowhere.
    pub gives_up: bool,
    /// When the agent was told to stop: what was captured later need not be there.
    pub stopped: Option<SystemTime>,
}

impl Circumstances {
    /// From the fault to the first of these times of what is stored.
    fn recovered(&self, stored: impl Iterator<Item = SystemTime>) -> Option<Duration> {
        let since = self.since?;
        let next = stored.filter(|at| *at >= since).min().expect("nothing is stored from after the fault");
        Some(next.duration_since(since).unwrap_or_default())
    }
}

impl Kept {
    /// # Panics
    /// When a stored frame is not as it was sent, or not in order.
    pub fn judge(sent: &[Sent], stored: &[StoredFrame], of: &Circumstances) -> Self {
        let mut known: HashMap<u64, &SentFrame> = HashMap::new();
        for frame in sent.iter().flat_map(|sent| &sent.frames) {
            assert!(known.insert(frame.number, frame).is_none(), "a number that is two frames");
        }
        let mut seen = HashSet::new();
        let mut kept = Self::default();
        let mut last: HashMap<u64, u64> = HashMap::new();
        for frame in stored {
            let original = known.get(&frame.number).unwrap_or_else(|| panic!("nobody sent {frame:?}"));
            assert_eq!(
                (frame.idr, &frame.hash),
                (original.idr, &original.hash),
                "frame {} is altered",
                frame.number
            );
            let before = last.insert(frame.number / NUMBERS, frame.number);
            if !seen.insert(frame.number) {
                kept.twice += 1;
            } else if let Some(before) = before {
                assert!(before < frame.number, "{} is stored behind {before}", frame.number);
            } else {
                assert!(frame.idr, "what is stored of a connection begins with {frame:?}, no key frame");
            }
        }
        kept.stored = seen.len();
        let last = sent.iter().rposition(|sent| sent.frames.iter().any(|frame| seen.contains(&frame.number)));
        for (at, sent) in sent.iter().enumerate() {
            let end =
                sent.frames.iter().rev().find(|frame| seen.contains(&frame.number)).map(|frame| frame.number);
            let given_up = |frame: &SentFrame| of.gives_up && Some(at) < last && Some(frame.number) > end;
            let first = sent.frames.iter().find(|frame| seen.contains(&frame.number));
            if first.is_some() {
                kept.connections += 1;
            }
            // Of a connection of which nothing is stored everything is missing.
            let begun = first.or(sent.frames.first()).map_or(0, |frame| frame.number);
            for frame in sent.frames.iter().filter(|frame| frame.number >= begun) {
                let there = seen.contains(&frame.number);
                if !there && of.stopped.is_some_and(|stopped| frame.at >= stopped) {
                    continue;
                }
                kept.sent += 1;
                if !there && (given_up(frame) || of.away.iter().any(|away| away.covers(frame))) {
                    kept.unseen += 1;
                } else if !there {
                    kept.lost += 1;
                    kept.missing.push(frame.number);
                }
            }
        }
        kept.recovered =
            of.recovered(seen.iter().filter_map(|number| known.get(number)).map(|frame| frame.at));
        kept
    }

    /// As [`Self::judge`], of one master that encodes once for all its viewers: a frame has one number, whoever gets it.
    ///
    /// # Panics
    /// When a stored frame is not as it was sent.
    pub fn judge_one_encoder(sent: &[Sent], stored: &[StoredFrame], of: &Circumstances) -> Self {
        let mut camera: BTreeMap<u64, &SentFrame> = BTreeMap::new();
        for frame in sent.iter().flat_map(|sent| &sent.frames) {
            camera.entry(frame.number).or_insert(frame);
        }
        let mut kept = Self {
            connections: sent.iter().filter(|sent| !sent.frames.is_empty()).count(),
            ..Self::default()
        };
        let mut seen = HashSet::new();
        for frame in stored {
            let original = camera.get(&frame.number).unwrap_or_else(|| panic!("nobody sent {frame:?}"));
            let (is, was) = ((frame.idr, &frame.hash), (original.idr, &original.hash));
            assert_eq!(is, was, "frame {} is altered", frame.number);
            kept.twice += usize::from(!seen.insert(frame.number));
        }
        kept.stored = seen.len();
        let first = stored.first().expect("something is stored");
        assert!(first.idr, "what is stored begins with {first:?}, no key frame");
        // Who comes back begins with the next key frame, which comes when it is due to all.
        let begun = |away: &Away, frame: &SentFrame| {
            camera.values().any(|key| key.idr && away.to < key.at && key.at <= frame.at)
        };
        let away = |frame: &SentFrame| {
            of.away.iter().any(|away| away.covers(frame) || (frame.at > away.to && !begun(away, frame)))
        };
        // What follows the last stored frame nobody took any more: one encoder goes on whoever listens.
        let last = seen.iter().max().copied().unwrap_or(first.number);
        for (number, frame) in camera.range(first.number..=last) {
            let there = seen.contains(number);
            kept.sent += 1;
            if !there && away(frame) {
                kept.unseen += 1;
            } else if !there {
                kept.lost += 1;
                kept.missing.push(*number);
            }
        }
        kept.recovered =
            of.recovered(seen.iter().filter_map(|number| camera.get(number)).map(|frame| frame.at));
        kept
    }

    /// Nothing is lost, and it is recovered within this time.
    #[must_use]
    pub fn nothing_lost(self, within: Duration) -> Self {
        assert_eq!(self.lost, 0, "lost: {:?} of {self:?}", self.missing);
        self.recovers(within)
    }

    /// At most this share of what was sent is lost.
    #[must_use]
    pub fn hardly_any_lost(self, share: f64, within: Duration) -> Self {
        let most = (self.sent as f64 * share).ceil() as usize;
        assert!(self.lost <= most, "{} lost, at most {most} may be: {self:?}", self.lost);
        self.recovers(within)
    }

    fn recovers(self, within: Duration) -> Self {
        assert!(self.recovered.is_none_or(|after| after <= within), "recovered too late: {self:?}");
        assert!(self.stored > 0, "{self:?}");
        self
    }

    /// It was one connection all the time.
    #[must_use]
    pub fn over_one_connection(self) -> Self {
        assert_eq!(self.connections, 1, "{self:?}");
        self
    }

    /// No frame is there twice.
    #[must_use]
    pub fn once(self) -> Self {
        assert_eq!(self.twice, 0, "{self:?}");
        self
    }
}
