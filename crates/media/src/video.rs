//! One H.264 track.

use std::time::{Duration, Instant, SystemTime};

use crate::clock::{Kind, SenderClock};
use crate::h264::{Assembler, Broken, H264Depacketizer, H264Error, Unit, VideoFormat, announces_key_frame};
use crate::inbound::{Inbound, Inflow};
use crate::keyframe::{KeyFrameConfig, KeyFrameGate};
use crate::output::{AccessUnit, MalformedPacket, Outputs, PayloadError, VideoOutput};
use crate::reorder::ReorderConfig;
use crate::rtp::{RtpPacket, SenderReport};
use crate::stats::InboundStats;

/// How video is received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoConfig {
    /// Waiting and repair.
    pub reorder: ReorderConfig,
    /// Key-frame requests.
    pub key_frames: KeyFrameConfig,
    /// The payload types that are H.264; others of the same SSRC are skipped. Empty: all are.
    pub payload_types: Vec<u8>,
}

impl Default for VideoConfig {
    fn default() -> Self {
        Self {
            reorder: ReorderConfig::video(),
            key_frames: KeyFrameConfig::default(),
            payload_types: Vec::new(),
        }
    }
}

/// Packets of one H.264 track in, access units out. After each `handle_…`, poll until `None`.
pub struct VideoReceiver {
    inbound: Inbound,
    depacketizer: H264Depacketizer,
    assembler: Assembler,
    gate: KeyFrameGate,
    format: Option<VideoFormat>,
    outputs: Outputs<VideoOutput>,
}

impl VideoReceiver {
    /// Waits for the first packet.
    pub fn new(config: VideoConfig) -> Self {
        Self {
            inbound: Inbound::new(Kind::Video, config.reorder, config.payload_types),
            depacketizer: H264Depacketizer::default(),
            assembler: Assembler::default(),
            gate: KeyFrameGate::new(config.key_frames),
            format: None,
            outputs: Outputs::new(),
        }
    }

    /// A packet of this track, unwrapped from RTX if it came so. `wall` is the time of its arrival.
    pub fn handle_rtp(&mut self, packet: RtpPacket, now: Instant, wall: SystemTime, clock: &mut SenderClock) {
        let key = announces_key_frame(&packet.payload);
        if self.inbound.handle_rtp(packet, now, wall, clock) {
            self.gate.packet(key, now);
        }
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
                Inflow::Packet { timestamp, packet } => self.packet(timestamp, &packet, now, clock),
                Inflow::Lost(loss) => {
                    self.depacketizer.reset();
                    self.assembler.lost(loss.count);
                    self.outputs.push(VideoOutput::Lost(loss));
                }
                Inflow::Restart => {
                    self.depacketizer.reset();
                    self.assembler.restart();
                }
            }
        }
        if let Some((ssrc, sequences)) = self.inbound.nacks(now) {
            self.outputs.push(VideoOutput::Nack { ssrc, sequences });
        }
        if let Some(reason) = self.gate.request(now) {
            self.inbound.stats.pli_count += 1;
            self.outputs.push(VideoOutput::RequestKeyFrame(reason));
        }
    }

    /// When [`Self::handle_timeout`] has something to do, if nothing arrives before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.inbound.timeout(), self.gate.timeout()].into_iter().flatten().min()
    }

    /// The next output.
    pub fn poll_output(&mut self) -> Option<VideoOutput> {
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

    /// The round trip to the sender, from STUN or RTCP, if the caller knows it; else it is measured by repairs.
    pub fn set_rtt(&mut self, rtt: Duration) {
        self.inbound.set_rtt(rtt);
        self.gate.set_rtt(rtt);
    }

    fn packet(&mut self, timestamp: u64, packet: &RtpPacket, now: Instant, clock: &mut SenderClock) {
        if let Some(unit) = self.assembler.begin(timestamp) {
            self.unit(unit, timestamp, packet.ssrc, now, clock);
        }
        let mut units = Vec::new();
        let pushed = self.depacketizer.push(&packet.payload, packet.timestamp, &mut units);
        let malformed = |receiver: &mut Self, error: PayloadError| {
            receiver.inbound.stats.packets_malformed += 1;
            receiver.inbound.stats.packets_discarded += 1;
            let (ssrc, sequence) = (packet.ssrc, packet.sequence);
            receiver.outputs.push(VideoOutput::Malformed(MalformedPacket { ssrc, sequence, error }));
        };
        match pushed {
            Ok(()) => {}
            // A viewer that comes in the middle of a picture, or behind a loss.
            Err(H264Error::NoStart) if self.depacketizer.is_out_of_step() => {
                self.assembler.damage(Broken::Missing);
            }
            Err(error) => {
                self.assembler.damage(Broken::Malformed);
                malformed(self, error.into());
            }
        }
        for unit in units {
            if let Err(error) = self.assembler.push(unit) {
                malformed(self, error.into());
            }
        }
        if packet.marker {
            if self.depacketizer.is_inside() {
                // The last packet of the picture does not end its fragmented unit.
                self.depacketizer.reset();
                self.assembler.damage(Broken::Malformed);
            }
            if let Some(unit) = self.assembler.marker() {
                self.unit(unit, timestamp, packet.ssrc, now, clock);
            }
        }
    }

    /// A finished unit, good or not; `near` is a timestamp at or just behind it.
    fn unit(
        &mut self,
        unit: Result<Unit, Broken>,
        near: u64,
        ssrc: u32,
        now: Instant,
        clock: &mut SenderClock,
    ) {
        let unit = match unit {
            Ok(unit) => unit,
            Err(reason) => {
                if !self.gate.is_first() {
                    self.inbound.stats.frames_dropped += 1;
                }
                if self.gate.broken(now) {
                    self.outputs.push(VideoOutput::Incomplete { ssrc, rtp_timestamp: near, reason });
                }
                return;
            }
        };
        let stats = &mut self.inbound.stats;
        stats.frames_received += 1;
        stats.key_frames_received += u64::from(unit.idr.is_some());
        if !self.gate.passes(unit.idr.is_some(), now) {
            stats.frames_dropped += u64::from(!self.gate.is_first());
            return;
        }
        if let Some(format) = unit.idr
            && self.format != Some(format)
        {
            self.format = Some(format);
            self.outputs.push(VideoOutput::FormatChanged(format));
        }
        let pushed = self.outputs.push(VideoOutput::AccessUnit(AccessUnit {
            data: unit.data,
            capture_time: clock.capture_time(Kind::Video, unit.timestamp),
            rtp_timestamp: unit.timestamp,
            idr: unit.idr.is_some(),
            format: unit.idr,
        }));
        if pushed {
            stats.frames_emitted += 1;
        } else {
            stats.frames_dropped += 1;
            self.gate.broken(now);
        }
    }
}

#[cfg(test)]
mod tests;
