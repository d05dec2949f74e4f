//! What audio and video have in common: one track's packets, in order, whatever its SSRC.

use std::time::{Duration, Instant, SystemTime};

use crate::clock::SenderClock;
use crate::flow::{FlowWatch, Withheld};
use crate::media_kind::MediaKind;
use crate::output::LossEvent;
use crate::reorder::{Arrival, Released, ReorderBuffer, ReorderConfig};
use crate::rtp::{RtpPacket, SenderReport};
use crate::stats::{InboundStats, Jitter};
use crate::unwrap::TimestampUnwrapper;

/// Packets of another SSRC, with none of the present one between them, that make it the track's.
const SWITCH: usize = 3;

/// What comes in, in order.
#[derive(Debug)]
pub(crate) enum Inflow {
    Packet { timestamp: u64, packet: RtpPacket, arrived: Instant },
    Lost(LossEvent),
    Restart,
}

pub(crate) struct Inbound {
    kind: MediaKind,
    /// Units of its RTP timestamps in a second.
    clock_rate: u32,
    payload_types: Vec<u8>,
    buffer: ReorderBuffer,
    ssrc: Option<u32>,
    /// Packets of the SSRC that may be the next one; fewer than `SWITCH`.
    candidate: Vec<RtpPacket>,
    /// The last report of an SSRC that is not received (yet).
    early_report: Option<(SenderReport, Instant)>,
    timestamps: TimestampUnwrapper,
    jitter: Jitter,
    epoch: Option<Instant>,
    pub(crate) stats: InboundStats,
    pub(crate) watch: FlowWatch,
}

impl Inbound {
    pub(crate) fn new(
        kind: MediaKind,
        clock_rate: u32,
        config: ReorderConfig,
        payload_types: Vec<u8>,
    ) -> Self {
        Self {
            kind,
            clock_rate,
            payload_types,
            buffer: ReorderBuffer::new(config),
            ssrc: None,
            candidate: Vec::new(),
            early_report: None,
            timestamps: TimestampUnwrapper::default(),
            jitter: Jitter::default(),
            epoch: None,
            stats: InboundStats::default(),
            watch: FlowWatch::default(),
        }
    }

    pub(crate) fn ssrc(&self) -> Option<u32> {
        self.ssrc
    }

    pub(crate) fn set_rtt(&mut self, rtt: Duration) {
        self.buffer.set_rtt(rtt);
    }

    /// True when the packet is a new one of this track.
    pub(crate) fn handle_rtp(
        &mut self,
        mut packet: RtpPacket,
        now: Instant,
        wall: SystemTime,
        clock: &mut SenderClock,
    ) -> bool {
        clock.tick(now, wall);
        let current = *self.ssrc.get_or_insert(packet.ssrc);
        self.stats.ssrc = Some(current);
        if !self.payload_types.is_empty() && !self.payload_types.contains(&packet.payload_type) {
            // Its number is one of the stream, its payload is nothing that we can use.
            self.watch.packet(now);
            self.watch.withhold(Withheld::PayloadType);
            if packet.ssrc != current {
                self.stats.packets_discarded += 1;
                return false;
            }
            packet.payload.clear();
        }
        if packet.ssrc != current {
            self.foreign(packet, now);
            return false;
        }
        self.stats.packets_discarded += self.candidate.drain(..).count() as u64;
        let (timestamp, bytes) = (packet.timestamp, packet.payload.len() as u64);
        let arrival = self.buffer.insert(packet, now);
        // What comes a second time, or too late, is no sign of a sender that sends.
        if bytes > 0 && matches!(arrival, Arrival::New { .. } | Arrival::Restarted { .. }) {
            self.watch.packet(now);
        }
        match arrival {
            Arrival::New { repaired } => {
                self.count(1, bytes);
                self.stats.packets_repaired += u64::from(repaired);
                // A padding packet repeats an old timestamp.
                if bytes > 0 && !repaired {
                    self.stamp(timestamp, now, clock);
                }
                if repaired {
                    self.stats.round_trip_time = self.buffer.rtt();
                }
                true
            }
            Arrival::Duplicate => {
                self.stats.packets_duplicated += 1;
                false
            }
            Arrival::Late => {
                self.count(1, bytes);
                self.stats.packets_discarded += 1;
                false
            }
            Arrival::Probation => false,
            Arrival::Restarted { packets } => {
                self.count(packets, bytes);
                self.stats.restarts += 1;
                true
            }
        }
    }

    fn count(&mut self, packets: u64, bytes: u64) {
        self.stats.packets_received += packets;
        self.stats.bytes_received += bytes;
        self.stats.packets_padding += u64::from(bytes == 0);
    }

    fn stamp(&mut self, timestamp: u32, now: Instant, clock: &mut SenderClock) {
        let extended = self.timestamps.extend(timestamp);
        clock.arrival(self.kind, extended, now);
        if let Some((report, at)) = self.early_report.take_if(|(report, _)| Some(report.ssrc) == self.ssrc) {
            self.report(report, at, clock);
        }
        let epoch = *self.epoch.get_or_insert(now);
        let media = extended as f64 / f64::from(self.clock_rate);
        self.jitter.update(now.duration_since(epoch).as_secs_f64(), media, &mut self.stats.jitter);
        self.buffer.set_jitter(Duration::from_secs_f64(self.stats.jitter.clamp(0.0, 5.0)));
    }

    fn foreign(&mut self, packet: RtpPacket, now: Instant) {
        if self.candidate.first().is_some_and(|first| first.ssrc != packet.ssrc) {
            self.stats.packets_discarded += self.candidate.drain(..).count() as u64;
        }
        self.candidate.push(packet);
        if self.candidate.len() < SWITCH {
            return;
        }
        let packets = std::mem::take(&mut self.candidate);
        self.ssrc = packets.first().map(|packet| packet.ssrc);
        self.stats.ssrc = self.ssrc;
        self.stats.restarts += 1;
        self.buffer.flush();
        for packet in packets {
            self.count(1, packet.payload.len() as u64);
            self.buffer.insert(packet, now);
        }
    }

    /// Of any SSRC: one that is not this track's is kept, in case it will be.
    pub(crate) fn handle_sender_report(
        &mut self,
        report: SenderReport,
        now: Instant,
        clock: &mut SenderClock,
    ) {
        if Some(report.ssrc) == self.ssrc {
            self.report(report, now, clock);
        } else {
            self.early_report = Some((report, now));
        }
    }

    fn report(&mut self, report: SenderReport, now: Instant, clock: &mut SenderClock) {
        self.stats.sender_reports += 1;
        clock.sender_report(self.kind, report.ntp, self.timestamps.peek(report.rtp_timestamp), now);
    }

    /// Nothing follows: what is held comes out, with its gaps and a restart behind it.
    pub(crate) fn finish(&mut self) {
        self.buffer.flush();
    }

    /// What is ready. After a restart the clock is the caller's to reset, when what was before has its times.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Inflow> {
        let ssrc = self.ssrc?;
        Some(match self.buffer.poll(now)? {
            Released::Packet { packet, arrived, .. } => {
                Inflow::Packet { timestamp: self.timestamps.extend(packet.timestamp), packet, arrived }
            }
            Released::Lost { first, count } => {
                self.stats.packets_lost += count;
                Inflow::Lost(LossEvent { ssrc, first: first as u16, count })
            }
            Released::Restart => {
                self.timestamps = TimestampUnwrapper::default();
                self.jitter = Jitter::default();
                Inflow::Restart
            }
        })
    }

    /// What to ask for now.
    pub(crate) fn nacks(&mut self, now: Instant) -> Option<(u32, Vec<u16>)> {
        let sequences = self.buffer.nacks(now);
        self.stats.nack_count += sequences.len() as u64;
        self.ssrc.filter(|_| !sequences.is_empty()).map(|ssrc| (ssrc, sequences))
    }

    pub(crate) fn timeout(&self) -> Option<Instant> {
        self.buffer.timeout()
    }
}
