//! Where the media time of one track lies on the local clock: rate and offset, recovered from arrivals.
//!
//! A packet cannot arrive before it was captured, and some arrive almost at once: the captures lie on the *lower
//! envelope* of the arrivals over media time. Its slope is what the sender's media clock is worth in real time (1 for
//! an honest one, 1.014 for audio that falls 1.4 % behind, 1.67 for pictures of 15 frames a second that are stamped
//! 40 ms apart), its height is start plus shortest delay.
//!
//! * **Slope**: the median of all slopes between the earliest points of up to [`GROUPS`] stretches of the last
//!   [`WINDOW`] (Theil–Sen: a third of them may be anything). It is believed when it explains a displacement that is
//!   larger than what noise would give.
//! * **Offset**: the lowest line of that slope that has no point below it. A point below lowers it at once.
//! * **What does not fit** (a point far off the line) is evidence first: one alone changes nothing. If those that
//!   follow agree, the timestamps have jumped (or stood still while time went on), and the line moves with its rate
//!   kept; if they rise steadily, it is the rate that has changed; if they fall, a queue is draining, and the line
//!   stays: what is late was captured when the line says.

use std::collections::VecDeque;

use super::nanos::{MS, Nanos, SECOND};

/// What the line is fitted to.
const WINDOW: Nanos = 40 * SECOND;
/// Of the points that arrive within so long the one with the shortest delay is kept: at most 800 of them.
const BIN: Nanos = 50 * MS;
/// The stretches between whose earliest points slopes are taken.
const GROUPS: usize = 40;
/// A fit is made with every so many new bins.
const FIT_EVERY: u32 = 4;
/// Fewer points, or a shorter time, tell no slope.
const FIT_POINTS: usize = 6;
const FIT_SPAN: Nanos = 400 * MS;
/// A displacement that a slope must explain to be believed, beyond what the scatter gives.
const FLOOR: f64 = 12.0 * MS as f64;
/// A queue that fills and empties over some 17 s looks like a clock that is off by so much,
const WANDER: f64 = 0.005;
/// for so long.
const WANDER_SPAN: Nanos = 16 * SECOND;
/// What recent points must be above the line, all of them, before the older ones are forgotten.
const CHANGED: f64 = 60.0 * MS as f64;
/// Recent points.
const RECENT: Nanos = 1_200 * MS;
/// A plateau of less than this is a queue like any other: in time the window forgets what was before.
const PLATEAU: f64 = 150.0 * MS as f64;
/// A point farther below the line than this, or
const BELOW: Nanos = 100 * MS;
/// farther above it, does not fit.
const ABOVE: Nanos = 250 * MS;
/// Above it by more, capture times wait for the judgement.
const FAR: Nanos = 500 * MS;
/// By so much less must something have waited than what came with it, for a queue to be draining.
const DRAINED: Nanos = 20 * MS;
/// Longer than any queue that is drained.
const NO_QUEUE: Nanos = 2_300 * MS;
/// A sender that vouches for its timestamps is asked for so long before they are doubted.
const ASK_SENDER: Nanos = 1_500 * MS;
/// How well it can.
const VOUCHED: f64 = 0.01;
/// How long what does not fit is looked back at. At most `MISFITS` points.
const LOOK_BACK: Nanos = 2_500 * MS;
const MISFITS: usize = 256;
/// Capture times wait so long for a judgement at most.
pub(super) const JUDGE: Nanos = 450 * MS;
/// No clock is worth more or less.
const RATES: std::ops::RangeInclusive<f64> = 1.0 / 32.0..=32.0;

/// What arrived within so long tells how full the path is now; at most so many points.
const NOW: Nanos = 300 * MS;
const POINTS_NOW: usize = 16;

/// A first packet of a picture, or a packet of audio: when it arrived and what it is stamped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) arrival: Nanos,
    pub(super) media: Nanos,
}

/// `arrival = at.arrival + (media − at.media) · rate`.
#[derive(Clone, Copy, Debug)]
struct Model {
    at: Point,
    rate: f64,
}

impl Model {
    fn time(&self, media: Nanos) -> Nanos {
        let time = self.at.arrival.saturating_add(scaled(media.saturating_sub(self.at.media), self.rate));
        // Room for sums of what a sender makes up.
        time.clamp(-Nanos::MAX / 4, Nanos::MAX / 4)
    }

    /// How far a point lies above the line.
    fn above(&self, point: Point) -> Nanos {
        point.arrival.saturating_sub(self.time(point.media))
    }
}

pub(super) fn scaled(media: Nanos, rate: f64) -> Nanos {
    (media as f64 * rate) as Nanos
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Below,
    Above,
}

/// Points in a row on one side, far off the line.
#[derive(Debug)]
struct Misfits {
    side: Side,
    since: Nanos,
    points: VecDeque<(Point, Nanos)>,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Line {
    model: Option<Model>,
    /// Arrival of the first point.
    started: Nanos,
    /// The start was looked at as a whole.
    settled: bool,
    vouched: Option<Nanos>,
    /// The largest media time of the present timestamps.
    newest: Nanos,
    /// What arrived last.
    now: VecDeque<Point>,
    bins: VecDeque<Point>,
    bin_end: Nanos,
    unfitted: u32,
    misfits: Option<Misfits>,
    /// How far the earliest points of the stretches lie from the line.
    scatter: f64,
    changes: u64,
}

impl Line {
    /// The place of a media time.
    pub(super) fn time(&self, media: Nanos) -> Option<Nanos> {
        self.model.map(|model| model.time(media))
    }

    /// Real time for media time.
    pub(super) fn rate(&self) -> f64 {
        self.model.map_or(1.0, |model| model.rate)
    }

    /// Times that the timestamps jumped, or their rate changed at once.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Of what arrived last, that which waited least.
    pub(super) fn earliest_now(&self) -> Option<Point> {
        let model = self.model?;
        self.now.iter().copied().min_by_key(|point| model.above(*point))
    }

    /// How long the points reach back.
    pub(super) fn span(&self) -> Nanos {
        let ends = self.bins.front().zip(self.bins.back());
        ends.map_or(0, |(first, last)| last.arrival - first.arrival)
    }

    /// Until when a capture time of what arrived then should wait, because it is being found out.
    pub(super) fn undecided(&self, arrived: Nanos, settle: Nanos) -> Option<Nanos> {
        if !self.settled && self.model.is_some() {
            return Some(self.started + settle);
        }
        let misfits = self.misfits.as_ref()?;
        let (_, off) = misfits.points.back()?;
        let waits = misfits.side == Side::Below || *off > FAR;
        (waits && arrived >= misfits.since).then_some(misfits.since + JUDGE)
    }

    /// The beginning has been seen: from now on the line is believed.
    pub(super) fn settle(&mut self) {
        if !self.settled {
            self.settled = true;
            self.fit();
        }
    }

    /// Takes a point, in the order of arrival. `vouched`: the sender said then, believably, that its timestamps go on as
    /// before: what comes late had to queue.
    pub(super) fn observe(&mut self, arrival: Nanos, media: Nanos, settle: Nanos, vouched: Option<Nanos>) {
        self.vouched = vouched;
        let point = Point { arrival, media };
        while self.now.len() >= POINTS_NOW
            || self.now.front().is_some_and(|first| arrival - first.arrival > NOW)
        {
            self.now.pop_front();
        }
        self.now.push_back(point);
        if self.model.is_none() {
            self.model = Some(Model { at: point, rate: 1.0 });
            (self.started, self.newest) = (arrival, media);
            self.insert(point);
            return;
        }
        if !self.settled && arrival - self.started >= settle {
            self.settle();
        }
        let off = self.model.map_or(0, |model| model.above(point));
        let side = match off {
            _ if !self.settled => None,
            ..0 if off < -BELOW => Some(Side::Below),
            _ if off > ABOVE => Some(Side::Above),
            _ => None,
        };
        match side {
            None => {
                self.misfits = None;
                self.take(point, off);
            }
            Some(side) => self.suspect(side, point, off),
        }
    }

    fn take(&mut self, point: Point, off: Nanos) {
        if off < 0 {
            // It cannot have been captured after it came.
            if let Some(model) = &mut self.model {
                model.at.arrival = model.at.arrival.saturating_add(off);
            }
        }
        // Pictures that are presented before those in front of them come later than they had to.
        if point.media > self.newest {
            self.newest = point.media;
            self.insert(point);
            if self.settled && self.unfitted >= FIT_EVERY {
                self.fit();
            }
        }
    }

    fn insert(&mut self, point: Point) {
        let rate = self.rate();
        let start = |it: Point| it.arrival as f64 - it.media as f64 * rate;
        match self.bins.back_mut() {
            Some(best) if point.arrival < self.bin_end => {
                if start(point) < start(*best) {
                    *best = point;
                }
            }
            _ => {
                self.bins.push_back(point);
                self.bin_end = point.arrival + BIN;
                self.unfitted += 1;
            }
        }
        while self.bins.front().is_some_and(|first| point.arrival - first.arrival > WINDOW) {
            self.bins.pop_front();
        }
    }

    fn suspect(&mut self, side: Side, point: Point, off: Nanos) {
        let new = || Misfits { side, since: point.arrival, points: VecDeque::new() };
        let misfits = self.misfits.get_or_insert_with(new);
        if misfits.side != side {
            *misfits = new();
        }
        misfits.points.push_back((point, off));
        while misfits.points.len() > MISFITS
            || misfits.points.len() > 4
                && misfits.points.front().is_some_and(|(it, _)| point.arrival - it.arrival > LOOK_BACK)
        {
            misfits.points.pop_front();
        }
        let offs = || misfits.points.iter().map(|(_, off)| *off);
        let count = misfits.points.len();
        let (Some((first, first_off)), Some(least)) = (misfits.points.front(), offs().min()) else { return };
        let elapsed = point.arrival - first.arrival;
        if side == Side::Below {
            if count >= 3 || (count >= 2 && elapsed >= JUDGE) {
                self.shift(least);
            }
            return;
        }
        let rise = off.saturating_sub(*first_off);
        // Of what waited in a queue the first waited longest, whatever came before it.
        let is_below = |(it, above): &(Point, Nanos)| {
            above.saturating_sub(off) > (point.arrival - it.arrival) / 5 + DRAINED
        };
        let is_draining = -rise > elapsed / 5 || misfits.points.iter().any(is_below);
        let is_rising = rise > elapsed * 3 / 100 + 30 * MS;
        if let Some(at) = self.vouched.filter(|_| least <= NO_QUEUE)
            && (at >= misfits.since || elapsed < ASK_SENDER)
        {
            return;
        }
        let patience = match least {
            _ if least > NO_QUEUE => JUDGE / 2,
            _ if least > FAR || is_rising => JUDGE - BIN,
            _ => 2 * SECOND,
        };
        if count < 4 && !(count == 3 && least > FAR) || elapsed < patience || is_draining {
            return;
        }
        if is_rising { self.turn() } else { self.shift(least) }
    }

    /// The timestamps jumped: the line moves by `off`, with its rate.
    fn shift(&mut self, off: Nanos) {
        let (Some(misfits), Some(model)) = (self.misfits.take(), &mut self.model) else { return };
        model.at.arrival = model.at.arrival.saturating_add(off);
        let media = scaled(off, 1.0 / model.rate);
        for point in &mut self.bins {
            point.media = point.media.saturating_sub(media);
        }
        self.go_on(misfits);
    }

    /// The rate changed: what was before says nothing.
    fn turn(&mut self) {
        let Some(misfits) = self.misfits.take() else { return };
        self.bins.clear();
        let points: Vec<_> = misfits.points.iter().map(|(point, _)| *point).collect();
        if let (Some(rate), Some(model)) = (slope(&points), &mut self.model) {
            model.rate = rate;
        }
        self.go_on(misfits);
        self.lower_support();
    }

    fn go_on(&mut self, misfits: Misfits) {
        self.changes += 1;
        // Of before the change there may be some.
        self.now.clear();
        self.bin_end = Nanos::MIN;
        self.newest = Nanos::MIN;
        for (point, _) in misfits.points {
            if point.media > self.newest {
                self.newest = point.media;
                self.insert(point);
            }
        }
    }

    fn fit(&mut self) {
        self.unfitted = 0;
        self.fit_rate();
        self.lower_support();
        if self.has_changed() {
            self.changes += 1;
            let since = self.bins.back().map_or(0, |last| last.arrival - RECENT);
            self.bins.retain(|point| point.arrival >= since);
            self.fit_rate();
            self.lower_support();
        }
    }

    fn fit_rate(&mut self) {
        let Some(model) = &mut self.model else { return };
        let start = |it: &Point| it.arrival as f64 - it.media as f64 * model.rate;
        let size = self.bins.len().div_ceil(GROUPS).max(1);
        let all: Vec<_> = self.bins.iter().copied().collect();
        let groups: Vec<_> = all
            .chunks(size)
            .filter_map(|chunk| chunk.iter().min_by(|a, b| start(a).total_cmp(&start(b))).copied())
            .collect();
        let (Some(first), Some(last)) = (groups.first(), groups.last()) else { return };
        let span = last.arrival - first.arrival;
        if groups.len() < FIT_POINTS || span < FIT_SPAN {
            return;
        }
        let Some(rate) = slope(&groups) else { return };
        let mut off: Vec<_> = groups.iter().map(|it| it.arrival as f64 - it.media as f64 * rate).collect();
        let middle = median(&mut off);
        let mut off: Vec<_> = off.iter().map(|it| (it - middle).abs()).collect();
        self.scatter = 1.48 * median(&mut off);
        let noise = 3.0 * self.scatter * (12.0 / groups.len() as f64).sqrt();
        let explained = ((rate - model.rate) * last.media.saturating_sub(first.media) as f64).abs();
        let wanders = (rate - model.rate).abs() < WANDER && span < WANDER_SPAN;
        let is_queue = self.vouched.is_some() && (rate - model.rate).abs() > VOUCHED;
        if explained > FLOOR.max(noise) && !wanders && !is_queue {
            model.rate = rate;
        }
    }

    /// The highest line of the present rate that no point lies below.
    fn lower_support(&mut self) {
        let (Some(model), Some(last)) = (&mut self.model, self.bins.back()) else { return };
        let media = last.media;
        let at = |it: &Point| it.arrival.saturating_add(scaled(media.saturating_sub(it.media), model.rate));
        if let Some(arrival) = self.bins.iter().map(at).min() {
            model.at = Point { arrival, media };
        }
    }

    /// Whether all recent points lie so far above the line that what was before says nothing any more.
    fn has_changed(&self) -> bool {
        let (Some(model), Some(last)) = (self.model, self.bins.back()) else { return false };
        let recent: Vec<_> = self
            .bins
            .iter()
            .filter(|point| last.arrival - point.arrival <= RECENT)
            .map(|point| model.above(*point) as f64)
            .collect();
        if self.vouched.is_some() || recent.len() < FIT_POINTS || self.span() < 2 * RECENT {
            return false;
        }
        let (before, after) = recent.split_at(recent.len() / 2);
        let least = |part: &[f64]| part.iter().copied().fold(f64::INFINITY, f64::min);
        let (before, after) = (least(before), least(after));
        let rises = after > before + 10.0 * MS as f64;
        before.min(after) > CHANGED.max(4.0 * self.scatter).max(if rises { 0.0 } else { PLATEAU })
            && after + 10.0 * MS as f64 > before
    }
}

/// Theil–Sen, of what a clock can be worth.
fn slope(points: &[Point]) -> Option<f64> {
    let points: Vec<_> = points.iter().map(|it| (it.media, it.arrival as f64)).collect();
    theil_sen(&points).filter(|rate| RATES.contains(rate))
}

/// The median of the slopes between all pairs of points; `None` when all of them lie at one place.
pub(super) fn theil_sen(points: &[(Nanos, f64)]) -> Option<f64> {
    let mut slopes = Vec::with_capacity(points.len() * points.len() / 2);
    for (index, (from, before)) in points.iter().enumerate() {
        for (to, after) in points.iter().skip(index + 1) {
            let apart = to.saturating_sub(*from);
            if apart != 0 {
                slopes.push((after - before) / apart as f64);
            }
        }
    }
    if slopes.is_empty() { None } else { Some(median(&mut slopes)) }
}

/// The middle one; 0 of nothing.
pub(super) fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    if values.is_empty() {
        return 0.0;
    }
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}
