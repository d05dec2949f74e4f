//! The sources (SSRCs) that a connection receives: what its reports say of each, and which of them have ended.

use crate::rtcp::ReportBlock;
use crate::statistics::Statistics;
use kvs_media::{RtpPacket, SenderReport};
use std::collections::BTreeMap;
use std::time::Instant;

/// Sources that are kept; a master has a handful. When there are more all of them are forgotten, and those that send are
/// found again.
const MAX_SOURCES: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    /// Not heard since the last goodbye.
    Silent,
    Sending,
    /// It said BYE.
    Ended,
}

#[derive(Debug)]
struct Source {
    statistics: Statistics,
    presence: Presence,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    by_ssrc: BTreeMap<u32, Source>,
}

impl Sources {
    /// A packet that came on its own source, not as a retransmission. `clock_rate`: of its timestamp, in Hz.
    pub(crate) fn packet(&mut self, packet: &RtpPacket, clock_rate: u32, now: Instant) {
        let RtpPacket { ssrc, payload_type, sequence, timestamp, .. } = *packet;
        if self.by_ssrc.len() >= MAX_SOURCES && !self.by_ssrc.contains_key(&ssrc) {
            self.by_ssrc.clear();
        }
        let source = self.by_ssrc.entry(ssrc).or_insert_with(|| Source {
            statistics: Statistics::new(ssrc, clock_rate, sequence, timestamp, now),
            presence: Presence::Silent,
        });
        source.statistics.packet(sequence, timestamp, now);
        if std::mem::replace(&mut source.presence, Presence::Sending) == Presence::Silent {
            tracing::debug!(ssrc, payload_type, "a source");
        }
    }

    pub(crate) fn sender_report(&mut self, report: SenderReport, now: Instant) {
        if let Some(source) = self.by_ssrc.get_mut(&report.ssrc) {
            source.statistics.report(report, now);
        }
    }

    /// A BYE of these sources. True when none is left that sends: one that was left for another says no goodbye of its own.
    pub(crate) fn bye(&mut self, ssrcs: &[u32], now: Instant) -> bool {
        for ssrc in ssrcs {
            if let Some(source) = self.by_ssrc.get_mut(ssrc)
                && source.presence == Presence::Sending
            {
                source.presence = Presence::Ended;
            }
        }
        let is_over = |source: &Source| match source.presence {
            Presence::Sending => source.statistics.is_stale(now),
            Presence::Silent | Presence::Ended => true,
        };
        self.by_ssrc.values().any(|source| source.presence == Presence::Ended)
            && self.by_ssrc.values().all(is_over)
    }

    /// A goodbye was believed: what comes now is another beginning.
    pub(crate) fn goodbye(&mut self) {
        for source in self.by_ssrc.values_mut() {
            source.presence = Presence::Silent;
        }
    }

    /// What there is to report of each that packets came of.
    pub(crate) fn report_blocks(&mut self, now: Instant) -> Vec<ReportBlock> {
        self.by_ssrc.values_mut().filter_map(|source| source.statistics.block(now)).collect()
    }
}
