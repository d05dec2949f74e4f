//! One Opus track (RFC 7587).

use std::time::{Duration, Instant, SystemTime};

use crate::clock::{Kind, SenderClock};
use crate::inbound::{Inbound, Inflow};
use crate::opus::opus_duration;
use crate::output::{AudioOutput, AudioPacket, MalformedPacket, Outputs, PayloadError};
use crate::reorder::ReorderConfig;
use crate::rtp::{RtpPacket, SenderReport};
use crate::stats::InboundStats;

/// The shortest Opus frame: less is rounding.
const LEAST_GAP: u64 = 120;

/// How audio is received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioConfig {
    /// Waiting and repair.
    pub reorder: ReorderConfig,
    /// The payload types that are Opus; others of the same SSRC are skipped. Empty: all are.
    pub payload_types: Vec<u8>,
    /// After so much silence of the sender (DTX, a muted or broken microphone), gaps are reported while it lasts, up to
    /// half of this before now. Packets that were only late may overlap them. `None`: only when the next packet comes.
    pub idle: Option<Duration>,
}

impl Default for AudioConfig {
    fn default() -> Self {
        Self {
            reorder: ReorderConfig::audio(),
            payload_types: Vec::new(),
            idle: Some(Duration::from_secs(3)),
        }
    }
}

/// Where the sound stands.
#[derive(Clone, Copy, Debug)]
struct End {
    /// Extended timestamp behind the last packet; `None` when the timestamps start afresh.
    timestamp: Option<u64>,
    /// Capture time behind the last packet or gap.
    covered: SystemTime,
    /// Capture time behind the last packet,
    capture: SystemTime,
    /// which came out then.
    at: Instant,
}

/// Packets of one Opus track in, Opus packets in order out. After each `handle_…`, poll until `None`.
pub struct AudioReceiver {
    inbound: Inbound,
    idle: Option<Duration>,
    end: Option<End>,
    outputs: Outputs<AudioOutput>,
}

impl AudioReceiver {
    /// Waits for the first packet.
    pub fn new(config: AudioConfig) -> Self {
        Self {
            inbound: Inbound::new(Kind::Audio, config.reorder, config.payload_types),
            idle: config.idle,
            end: None,
            outputs: Outputs::new(),
        }
    }

    /// A packet of this track. `wall` is the time of its arrival.
    pub fn handle_rtp(&mut self, packet: RtpPacket, now: Instant, wall: SystemTime, clock: &mut SenderClock) {
        self.inbound.handle_rtp(packet, now, wall, clock);
        self.handle_timeout(now, clock);
    }

    /// A sender report; of another stream it is ignored.
    pub fn handle_sender_report(&mut self, report: SenderReport, clock: &mut SenderClock) {
        self.inbound.handle_sender_report(report, clock);
    }

    /// Time has passed: to be called when [`Self::poll_timeout`] says so; more often does no harm.
    pub fn handle_timeout(&mut self, now: Instant, clock: &mut SenderClock) {
        while let Some(inflow) = self.inbound.poll(now, clock) {
            match inflow {
                Inflow::Packet { timestamp, packet } => self.packet(timestamp, packet, now, clock),
                Inflow::Lost(loss) => {
                    self.outputs.push(AudioOutput::Lost(loss));
                }
                Inflow::Restart => {
                    if let Some(end) = &mut self.end {
                        end.timestamp = None;
                    }
                }
            }
        }
        if let Some((ssrc, sequences)) = self.inbound.nacks(now) {
            self.outputs.push(AudioOutput::Nack { ssrc, sequences });
        }
        self.idle(now);
    }

    /// When [`Self::handle_timeout`] has something to do, if nothing arrives before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.inbound.timeout(), self.idle_at()].into_iter().flatten().min()
    }

    /// The next output.
    pub fn poll_output(&mut self) -> Option<AudioOutput> {
        self.outputs.pop()
    }

    /// Counters.
    pub fn stats(&self) -> &InboundStats {
        &self.inbound.stats
    }

    /// The SSRC that is received now.
    pub fn ssrc(&self) -> Option<u32> {
        self.inbound.ssrc()
    }

    /// The round trip to the sender; matters only with NACK.
    pub fn set_rtt(&mut self, rtt: Duration) {
        self.inbound.set_rtt(rtt);
    }

    fn packet(&mut self, timestamp: u64, packet: RtpPacket, now: Instant, clock: &mut SenderClock) {
        let Some(duration) = opus_duration(&packet.payload) else {
            self.inbound.stats.packets_malformed += 1;
            self.inbound.stats.packets_discarded += 1;
            self.outputs.push(AudioOutput::Malformed(MalformedPacket {
                ssrc: packet.ssrc,
                sequence: packet.sequence,
                error: PayloadError::Opus(packet.payload.len()),
            }));
            return;
        };
        let capture_time = clock.capture_time(Kind::Audio, timestamp);
        if let Some(end) = self.end {
            // Slewing makes capture times differ a little from the sum of durations: only timestamps tell a gap.
            let is_gap = end.timestamp.is_none_or(|expected| timestamp >= expected + LEAST_GAP);
            if let Ok(duration) = capture_time.duration_since(end.covered)
                && is_gap
                && !duration.is_zero()
            {
                self.outputs.push(AudioOutput::Gap { at: end.covered, duration });
            }
        }
        let samples = duration.as_micros() as u64 * 48 / 1000;
        let capture = capture_time + duration;
        let covered = self.end.map_or(capture, |end| end.covered.max(capture));
        self.end = Some(End { timestamp: Some(timestamp + samples), covered, capture, at: now });
        self.inbound.stats.frames_received += 1;
        let output = AudioPacket { data: packet.payload, capture_time, rtp_timestamp: timestamp, duration };
        if self.outputs.push(AudioOutput::Packet(output)) {
            self.inbound.stats.frames_emitted += 1;
        } else {
            self.inbound.stats.frames_dropped += 1;
        }
    }

    fn idle_at(&self) -> Option<Instant> {
        let (end, idle) = self.end.zip(self.idle)?;
        let covered = end.covered.duration_since(end.capture).unwrap_or_default();
        Some(end.at + covered + idle)
    }

    fn idle(&mut self, now: Instant) {
        if self.idle_at().is_none_or(|at| now < at) {
            return;
        }
        let Some((end, idle)) = self.end.as_mut().zip(self.idle) else { return };
        let until = end.capture + now.saturating_duration_since(end.at).saturating_sub(idle / 2);
        if let Ok(duration) = until.duration_since(end.covered)
            && !duration.is_zero()
        {
            let at = std::mem::replace(&mut end.covered, until);
            self.outputs.push(AudioOutput::Gap { at, duration });
        }
    }
}

#[cfg(test)]
mod tests;
