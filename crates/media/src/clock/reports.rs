//! Whether a track's sender reports can be believed, and what they say then.
//!
//! A report (RFC 3550 section 6.4.1) pairs a time of the sender's clock with a media time. The pairs of a track may lie
//! on a perfect line and still say nothing: senders compute them from the wall clock without looking at what they stamp
//! (the C SDK of KVS does), or from other timestamps. What tells is the track's own packets: at its arrival a report
//! must be about as far ahead of the packets' line each time. Confirmed reports serve for one number, the distance of
//! sound and picture; where a track lies in time, and its rate, its own arrivals say.

use std::collections::VecDeque;

use super::line::{Line, median};
use super::{MS, Nanos, SECOND};

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
/// and altogether.
const SPREAD: f64 = 60.0 * MS as f64;
/// How far the reports of a minute ago and those of now may be apart. More is a clock that runs beside the packets.
const DRIFT: f64 = 30.0 * MS as f64;
/// The sender's clock was set when it goes on differently than time does, by more than this and a thousandth.
const STEP: Nanos = 50 * MS;

/// One report: the sender's clock, the media time, and when it arrived.
#[derive(Clone, Copy, Debug)]
struct Report {
    ntp: Nanos,
    media: Nanos,
    arrival: Nanos,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// Since the sender's clock was set, or the timestamps jumped. At most `REPORTS`: the oldest goes.
    recent: VecDeque<Report>,
    confirmed: bool,
    contradicted: u8,
    /// How late they were when they were confirmed.
    lateness: Option<f64>,
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
        (self.lateness, self.barred) = (None, false);
    }

    fn start_over(&mut self) {
        self.recent.clear();
        self.confirmed = false;
    }

    /// Takes a report.
    pub(super) fn take(&mut self, ntp: Nanos, media: Nanos, arrival: Nanos, line: &Line) {
        let Some(place) = line.time(media) else { return };
        if let Some(last) = self.recent.back() {
            if ntp == last.ntp || media == last.media || arrival - last.arrival < EVERY {
                return;
            }
            let (told, passed) = (ntp.saturating_sub(last.ntp), arrival - last.arrival);
            if told.saturating_sub(passed).saturating_abs() > STEP + passed / 1000 {
                self.start_over();
            }
        }
        if (arrival - place).abs() > PLAUSIBLE {
            self.refused += 1;
            self.contradict();
            return;
        }
        self.recent.push_back(Report { ntp, media, arrival });
        if self.recent.len() > REPORTS {
            self.recent.pop_front();
        }
        self.judge(line);
    }

    fn judge(&mut self, line: &Line) {
        let (Some(first), Some(last)) = (self.recent.front(), self.recent.back()) else { return };
        let span = last.arrival - first.arrival;
        if self.barred || self.recent.len() < CONFIRM || span < CONFIRM_SPAN || line.span() < CONFIRM_SPAN {
            return;
        }
        let late: Vec<_> = self
            .recent
            .iter()
            .filter_map(|report| Some((report.arrival, (report.arrival - line.time(report.media)?) as f64)))
            .collect();
        let mut slopes = Vec::new();
        for (index, (from, before)) in late.iter().enumerate() {
            for (to, after) in late.iter().skip(index + 1) {
                if to > from {
                    slopes.push((after - before) / (to - from) as f64);
                }
            }
        }
        let values = || late.iter().map(|(_, late)| *late);
        let spread = values().fold(f64::MIN, f64::max) - values().fold(f64::MAX, f64::min);
        if median(&mut slopes).abs() > SLOPE || spread > SPREAD {
            self.contradict();
            return;
        }
        let mut newest: Vec<_> = late.iter().rev().take(5).map(|(_, late)| *late).collect();
        let newest = median(&mut newest);
        if (newest - *self.lateness.get_or_insert(newest)).abs() > DRIFT {
            self.contradicted = 1;
            self.contradict();
            self.barred = true;
            return;
        }
        (self.confirmed, self.contradicted) = (true, 0);
        let mut offsets: Vec<_> = self
            .recent
            .iter()
            .rev()
            .take(5)
            .filter_map(|report| Some((line.time(report.media)? - report.ntp) as f64))
            .collect();
        self.offset = Some(median(&mut offsets) as Nanos);
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
