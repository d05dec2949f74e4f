//! What receiver reports say of one stream (RFC 3550, sections 6.4.1, A.3 and A.8).

use crate::rtcp::ReportBlock;
use kvs_media::SenderReport;
use std::time::{Duration, Instant};

/// A source that was silent for so long may have been left for another.
const STALE: Duration = Duration::from_secs(3);

/// One source, as received.
#[derive(Debug)]
pub(crate) struct Statistics {
    ssrc: u32,
    clock_rate: u32,
    /// The first packet, extended.
    first: u32,
    /// The highest sequence number, extended.
    highest: u32,
    received: u32,
    /// At the last report: expected, received.
    before: (u32, u32),
    /// The newest packet's arrival and timestamp.
    newest: (Instant, u32),
    /// In 16ths of a unit of the media clock.
    jitter: u32,
    report: Option<(u32, Instant)>,
    /// Packets came since the last report.
    active: bool,
}

impl Statistics {
    /// Of a source whose first packet is this. `clock_rate` in Hz.
    pub(crate) fn new(ssrc: u32, clock_rate: u32, sequence: u16, timestamp: u32, now: Instant) -> Self {
        Self {
            ssrc,
            clock_rate,
            first: u32::from(sequence),
            highest: u32::from(sequence),
            received: 0,
            before: (0, 0),
            newest: (now, timestamp),
            jitter: 0,
            report: None,
            active: false,
        }
    }

    /// A packet of it, in any order.
    pub(crate) fn packet(&mut self, sequence: u16, timestamp: u32, now: Instant) {
        self.active = true;
        self.received = self.received.wrapping_add(1);
        // The highest may have wrapped below zero distance: what is up to half the range ahead is new.
        let ahead = sequence.wrapping_sub(self.highest as u16);
        if ahead < 0x8000 {
            self.highest = self.highest.wrapping_add(u32::from(ahead));
        }
        let (then, timestamp_then) = self.newest;
        self.newest = (now, timestamp);
        let elapsed =
            now.saturating_duration_since(then).as_micros() as u64 * u64::from(self.clock_rate) / 1_000_000;
        let stamped = timestamp.wrapping_sub(timestamp_then).cast_signed();
        // Pictures in one burst have one timestamp; a jump is not jitter.
        let difference = (elapsed as i64 - i64::from(stamped)).unsigned_abs();
        if let Ok(difference) = u32::try_from(difference)
            && difference < self.clock_rate * 10
        {
            self.jitter = self.jitter.saturating_add(difference).saturating_sub((self.jitter + 8) >> 4);
        }
    }

    /// Nothing came of it for a while.
    pub(crate) fn is_stale(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.newest.0) > STALE
    }

    /// A sender report of it.
    pub(crate) fn report(&mut self, report: SenderReport, now: Instant) {
        self.report = Some(((report.ntp >> 16) as u32, now));
    }

    /// The block of the next report; `None` when nothing came since the last.
    pub(crate) fn block(&mut self, now: Instant) -> Option<ReportBlock> {
        if !std::mem::take(&mut self.active) {
            return None;
        }
        let expected = self.highest.wrapping_sub(self.first).wrapping_add(1);
        let (expected_before, received_before) =
            std::mem::replace(&mut self.before, (expected, self.received));
        let expected_since = expected.wrapping_sub(expected_before);
        let received_since = self.received.wrapping_sub(received_before);
        let lost_since = expected_since.saturating_sub(received_since);
        let fraction_lost = if expected_since == 0 {
            0
        } else {
            (u64::from(lost_since) * 256 / u64::from(expected_since)).min(255) as u8
        };
        let (last_report, delay) = self.report.map_or((0, 0), |(report, arrived)| {
            let delay = now.saturating_duration_since(arrived).as_micros() * 65_536 / 1_000_000;
            (report, delay.min(u128::from(u32::MAX)) as u32)
        });
        Some(ReportBlock {
            ssrc: self.ssrc,
            fraction_lost,
            cumulative_lost: expected.wrapping_sub(self.received).cast_signed(),
            highest_sequence: self.highest,
            jitter: self.jitter >> 4,
            last_report,
            delay,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_jitter_and_delay() {
        let start = Instant::now();
        let mut statistics = Statistics::new(7, 90_000, 65_534, 0, start);
        for (index, sequence) in [65_534_u16, 65_535, 1, 2].into_iter().enumerate() {
            let index = index as u32;
            statistics.packet(sequence, 3000 * index, start + Duration::from_micros(33_333) * index);
        }
        let report = SenderReport { ssrc: 7, ntp: 0x1234_5678_9abc_def0, rtp_timestamp: 0 };
        statistics.report(report, start);
        let block = statistics.block(start + Duration::from_secs(1)).unwrap();
        assert_eq!((block.fraction_lost, block.cumulative_lost), (51, 1));
        assert_eq!(block.highest_sequence, 65_538);
        assert_eq!((block.last_report, block.delay), (0x5678_9abc, 65_536));
        assert_eq!(block.jitter, 0, "as even as its timestamps");
        assert_eq!(statistics.block(start + Duration::from_secs(2)), None, "nothing came since");
    }
}
