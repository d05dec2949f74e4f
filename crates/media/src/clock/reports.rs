//! Whether a track's sender reports can be believed, and what they say then.
//!
//! A report (RFC 3550 section 6.4.1) pairs a time of the sender's clock with a media time. The pairs of a track may lie
//! on a perfect line and still say nothing: senders compute them from the wall clock without looking at what they stamp
//! (the C SDK of KVS does), or from other timestamps. What tells is the track's own packets: a report must be about as far
//! ahead of those that arrive with it each time, however long both had to queue. Confirmed reports serve for one number, the distance of
//! sound and picture; where a track lies in time, and its rate, its own arrivals say.

use std::collections::VecDeque;

use super::line::{Line, Point, median, scaled, theil_sen};
use super::nanos::{MS, Nanos, SECOND};

/// The newest reports are looked at: a hundred seconds of one every five,
const REPORTS: usize = 20;
/// and not more than one in so long.
const EVERY: Nanos = 400 * MS;
/// Fewer reports, or over a shorter time, confirm nothing.
const CONFIRM: usize = 3;
const CONFIRM_SPAN: Nanos = 2 * SECOND;
/// A report is of about now.
const PLAUSIBLE: Nanos = 2_500 * MS;
/// How much reports may move against the packets, per time,
const SLOPE: f64 = 0.002;
/// and how far they may scatter.
const SCATTER: f64 = 20.0 * MS as f64;
/// So many reports tell how late they are,
const REFERENCE: usize = 8;
/// and later ones must agree with them by so much, or by what they scatter.
const DRIFT: f64 = 30.0 * MS as f64;
/// The sender's clock was set when it goes on differently than time does, by more than this and a thousandth.
const STEP: Nanos = 50 * MS;

/// One report: the sender's clock, the media time, when it arrived, and a packet that arrived with it.
#[derive(Clone, Copy, Debug)]
struct Report {
    ntp: Nanos,
    media: Nanos,
    arrival: Nanos,
    packet: Point,
}

impl Report {
    /// How much later it arrived than a packet of its media time would have.
    fn lateness(&self, rate: f64) -> Nanos {
        let ahead = scaled(self.media.saturating_sub(self.packet.media), rate);
        (self.arrival - self.packet.arrival).saturating_sub(ahead)
    }
}

/// How late the kept reports are.
struct Lateness {
    slope: f64,
    scatter: f64,
    newest: Vec<f64>,
}

impl Lateness {
    fn is_straight(&self) -> bool {
        self.slope.abs() <= SLOPE && self.scatter <= SCATTER
    }

    fn newest(&self) -> f64 {
        median(&mut self.newest.clone())
    }
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// Since the sender's clock was set, or the timestamps jumped. At most `REPORTS`: the oldest goes.
    recent: VecDeque<Report>,
    confirmed: bool,
    contradicted: u8,
    /// How late they were when there were enough of them, against the packets that came with them and against the line.
    reference: Option<[f64; 2]>,
    /// When the sender's clock was set last, and when reports were last confirmed.
    set_at: Nanos,
    confirmed_at: Nanos,
    /// They drift away from the packets: nothing that they say is believed until the timestamps jump.
    barred: bool,
    /// Our clock minus the sender's, by this track's line; stays when the sender's clock is set.
    offset: Option<Nanos>,
    refused: u64,
}

impl Reports {
    /// Our clock minus the sender's, with this track's shortest delay in it.
    pub(super) fn offset(&self) -> Option<Nanos> {
        self.offset
    }

    /// The last reports agree with the packets.
    pub(super) fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// Reports that said something impossible, or contradicted the packets.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// The packets' timestamps jumped.
    pub(super) fn forget(&mut self) {
        self.start_over();
        (self.reference, self.barred, self.contradicted) = (None, false, 0);
    }

    fn start_over(&mut self) {
        self.recent.clear();
        self.confirmed = false;
    }

    /// Takes a report.
    pub(super) fn take(&mut self, ntp: Nanos, media: Nanos, arrival: Nanos, line: &Line) {
        let Some(packet) = line.earliest_now() else { return };
        if let Some(last) = self.recent.back() {
            if ntp == last.ntp || media == last.media || arrival - last.arrival < EVERY {
                return;
            }
            let (told, passed) = (ntp.saturating_sub(last.ntp), arrival - last.arrival);
            if told.saturating_sub(passed).saturating_abs() > STEP + passed / 1000 {
                self.start_over();
                self.set_at = arrival;
            }
        }
        let report = Report { ntp, media, arrival, packet };
        if report.lateness(line.rate()).saturating_abs() > PLAUSIBLE {
            self.refused += 1;
            self.contradict();
            return;
        }
        self.recent.push_back(report);
        if self.recent.len() > REPORTS {
            self.recent.pop_front();
        }
        self.judge(line);
    }

    fn judge(&mut self, line: &Line) {
        let (Some(first), Some(last)) = (self.recent.front(), self.recent.back()) else { return };
        let (span, last_arrival) = (last.arrival - first.arrival, last.arrival);
        if self.barred || self.recent.len() < CONFIRM || span < CONFIRM_SPAN || line.span() < CONFIRM_SPAN {
            return;
        }
        // A queue on the path delays packets and reports alike; one at the sender delays packets, and not what it reports.
        let by_packets = |report: &Report| Some(report.lateness(line.rate()) as f64);
        let by_line = |report: &Report| Some(report.arrival.saturating_sub(line.time(report.media)?) as f64);
        let late = [self.late(by_packets), self.late(by_line)];
        if !late.iter().any(Lateness::is_straight) {
            self.contradict();
            return;
        }
        let newest = late.each_ref().map(Lateness::newest);
        if self.recent.len() >= REFERENCE {
            let reference = *self.reference.get_or_insert(newest);
            let off = |index: usize| newest[index] - reference[index];
            let drifts = |index: usize| off(index).abs() > DRIFT.max(3.0 * late[index].scatter);
            if drifts(0) && drifts(1) && off(0) * off(1) > 0.0 {
                self.contradicted = 1;
                self.contradict();
                self.barred = true;
                return;
            }
        }
        self.confirmed_at = last_arrival;
        (self.confirmed, self.contradicted) = (true, 0);
        let mut offsets: Vec<_> = self
            .recent
            .iter()
            .rev()
            .take(5)
            .filter_map(|report| Some(line.time(report.media)?.saturating_sub(report.ntp) as f64))
            .collect();
        self.offset = Some(median(&mut offsets) as Nanos);
    }

    fn late(&self, of: impl Fn(&Report) -> Option<f64>) -> Lateness {
        let at: Vec<_> =
            self.recent.iter().filter_map(|report| Some((report.arrival, of(report)?))).collect();
        let mut values: Vec<_> = at.iter().map(|(_, late)| *late).collect();
        let middle = median(&mut values);
        let mut off: Vec<_> = values.iter().map(|late| (late - middle).abs()).collect();
        let newest = at.iter().rev().take(5).map(|(_, late)| *late).collect();
        Lateness { slope: theil_sen(&at).unwrap_or(0.0), scatter: 1.48 * median(&mut off), newest }
    }

    /// The packets' line lies higher now.
    pub(super) fn line_was_raised(&mut self, by: Nanos) {
        self.offset = self.offset.map(|offset| offset.saturating_add(by));
    }

    /// What they say contradicts the packets.
    pub(super) fn is_refused(&self) -> bool {
        self.barred || self.contradicted >= 2
    }

    /// When the sender's clock was set last, as far as this track's reports have told.
    pub(super) fn set_at(&self) -> Nanos {
        self.set_at
    }

    /// Reports that came later than this agree with the packets.
    pub(super) fn confirmed_since(&self, moment: Nanos) -> bool {
        self.confirmed && self.confirmed_at >= moment
    }

    /// When the sender said last that its media clock goes at this rate: confirmed reports do, by times and timestamps.
    pub(super) fn vouch_for(&self, rate: f64) -> Option<Nanos> {
        let (last, first) = (self.recent.back()?, self.recent.get(self.recent.len().saturating_sub(5))?);
        let media = scaled(last.media.saturating_sub(first.media), rate);
        let told = last.ntp.saturating_sub(first.ntp);
        let agrees = told > SECOND && media.saturating_sub(told).saturating_abs() < told / 100;
        (self.confirmed && agrees).then_some(last.arrival)
    }

    /// Two in a row, and reports are not believed any more.
    fn contradict(&mut self) {
        self.contradicted = self.contradicted.saturating_add(1);
        if self.contradicted >= 2 {
            self.refused += u64::from(self.confirmed);
            (self.confirmed, self.offset) = (false, None);
        }
    }
}
