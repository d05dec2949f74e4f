//! One video track.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use crate::clock::{FOREVER, SenderClock, Stamp};
use crate::codec::{AccessUnitError, Completed, UntimedAccessUnit, VideoCodec, VideoFormat, VideoStream};
use crate::flow::{Flow, Withheld, WithheldCounts};
use crate::inbound::{Inbound, Inflow};
use crate::keyframe::{KeyFrameConfig, KeyFrameGate, Passage};
use crate::media_kind::MediaKind;
use crate::output::{AccessUnit, MalformedPacket, Outputs, VideoOutput};
use crate::reorder::ReorderConfig;
use crate::rtp::{RtpPacket, SenderReport};
use crate::stats::{InboundStats, waited};

/// Access units that wait for their capture time: seconds. When it is full the oldest no longer waits.
const MAX_HELD: usize = 512;

/// How video is received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoConfig {
    /// What its packets hold.
    pub codec: VideoCodec,
    /// How long packets wait for those in front of them, and whether those are asked for again.
    pub reorder: ReorderConfig,
    /// How often key frames are asked for.
    pub key_frames: KeyFrameConfig,
    /// The payload types that are of this codec; others of the same SSRC are skipped. Empty: all are.
    ///
    /// Each with the SPS and PPS that the sender told for it beforehand (`sprop-parameter-sets`, RFC 6184 section 8.1), NAL
    /// units without start codes: for a stream that has none of its own. Those that the stream sends take their place, until
    /// its payload type changes.
    pub payload_types: BTreeMap<u8, Vec<Bytes>>,
}

impl Default for VideoConfig {
    fn default() -> Self {
        Self {
            codec: VideoCodec::H264,
            reorder: ReorderConfig::video(),
            key_frames: KeyFrameConfig::default(),
            payload_types: BTreeMap::new(),
        }
    }
}

/// Packets of one video track in, access units out. After each `handle_…`, poll until `None`.
pub struct VideoReceiver {
    inbound: Inbound,
    stream: VideoStream,
    gate: KeyFrameGate,
    format: Option<VideoFormat>,
    /// That I pictures count as key frames was told.
    assumed: bool,
    /// Timestamp of the access unit that is being received, and when its first packet came.
    arrived: Option<(u64, Instant)>,
    held: VecDeque<(UntimedAccessUnit, Instant)>,
    held_until: Option<Instant>,
    outputs: Outputs<VideoOutput>,
}

impl VideoReceiver {
    /// Waits for the first packet.
    pub fn new(config: VideoConfig) -> Self {
        Self {
            inbound: Inbound::new(
                MediaKind::Video,
                config.codec.clock_rate(),
                config.reorder,
                config.payload_types.keys().copied().collect(),
            ),
            stream: VideoStream::new(config.codec, config.payload_types),
            gate: KeyFrameGate::new(config.key_frames),
            format: None,
            assumed: false,
            arrived: None,
            held: VecDeque::new(),
            held_until: None,
            outputs: Outputs::new(),
        }
    }

    /// A packet of this track, unwrapped from RTX if it came so, that arrived at `now`, of which `wall` is the time of day.
    /// [`Self::handle_timeout`] hands on what comes of it and asks for what it shows to be missing.
    pub fn handle_rtp(&mut self, packet: RtpPacket, now: Instant, wall: SystemTime, clock: &mut SenderClock) {
        let key = self.stream.announces_key_frame(&packet.payload);
        if self.inbound.handle_rtp(packet, now, wall, clock) {
            self.gate.packet(key, now);
        }
        self.advance(now, clock);
    }

    /// A sender report; of another stream it is ignored.
    pub fn handle_sender_report(&mut self, report: SenderReport, now: Instant, clock: &mut SenderClock) {
        self.inbound.handle_sender_report(report, now, clock);
    }

    /// Time has passed: to be called when [`Self::poll_timeout`] says so; more often does no harm.
    pub fn handle_timeout(&mut self, now: Instant, clock: &mut SenderClock) {
        self.advance(now, clock);
        self.release(now, clock);
        // Here alone: a packet may be handed in some time after it arrived, and what is asked for is asked for now.
        if let Some((ssrc, sequences)) = self.inbound.nacks(now) {
            self.outputs.push(VideoOutput::Nack { ssrc, sequences });
        }
        if let Some(reason) = self.gate.request(now) {
            self.inbound.stats.pli_count += 1;
            self.outputs.push(VideoOutput::RequestKeyFrame(reason));
        }
    }

    /// Makes pictures of what is in order at `now`, and gives up what is not waited for any longer.
    fn advance(&mut self, now: Instant, clock: &mut SenderClock) {
        while let Some(inflow) = self.inbound.poll(now) {
            match inflow {
                Inflow::Packet { timestamp, packet, arrived } => {
                    self.packet(timestamp, &packet, arrived, now);
                }
                Inflow::Lost(loss) => {
                    self.stream.lost(loss.count);
                    self.outputs.push(VideoOutput::Lost(loss));
                }
                Inflow::Restart => {
                    self.end(now);
                    self.release(now + FOREVER, clock);
                    clock.reset(MediaKind::Video);
                    self.arrived = None;
                    self.stream.restart();
                }
            }
        }
        while self.held.len() > MAX_HELD {
            self.release_one(now + FOREVER, clock);
        }
    }

    /// Nothing follows: what waits for packets or for its capture time comes out now.
    pub fn finish(&mut self, now: Instant, clock: &mut SenderClock) {
        self.inbound.finish();
        self.handle_timeout(now, clock);
        self.end(now);
        self.release(now + FOREVER, clock);
    }

    /// No packet follows: a last picture that no marker bit ends is as good as those before it, if they had none either.
    fn end(&mut self, now: Instant) {
        if let Some(unit) = self.stream.end()
            && let (Some(ssrc), Some((timestamp, _))) = (self.inbound.ssrc(), self.arrived)
        {
            self.unit(unit, timestamp, ssrc, now);
        }
    }

    /// When [`Self::handle_timeout`] has something to do, if nothing arrives before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.inbound.timeout(), self.gate.timeout(), self.held_until].into_iter().flatten().min()
    }

    /// The next output, oldest first.
    pub fn poll_output(&mut self) -> Option<VideoOutput> {
        self.outputs.pop()
    }

    /// Counted since this receiver was made.
    pub fn stats(&self) -> &InboundStats {
        &self.inbound.stats
    }

    /// Whether it is handed on.
    pub fn flow(&self, now: Instant) -> Flow {
        self.inbound.watch.flow(now)
    }

    /// How often pictures or packets were not handed on.
    pub fn withheld(&self) -> WithheldCounts {
        self.inbound.watch.withheld
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

    fn packet(&mut self, timestamp: u64, packet: &RtpPacket, arrived: Instant, now: Instant) {
        if let Some(unit) = self.stream.begin(timestamp) {
            self.unit(unit, timestamp, packet.ssrc, now);
        }
        if self.stream.is_of_key_frame(&packet.payload) {
            self.inbound.watch.key();
        }
        match &mut self.arrived {
            // One that was asked for again came later than what is behind it.
            Some((of, first)) if *of == timestamp => *first = arrived.min(*first),
            other => *other = Some((timestamp, arrived)),
        }
        let (inbound, outputs) = (&mut self.inbound, &mut self.outputs);
        let completed = self.stream.push(packet, |error| {
            inbound.stats.packets_malformed += 1;
            inbound.stats.packets_discarded += 1;
            inbound.watch.withhold(Withheld::NotTheCodec);
            let (ssrc, sequence) = (packet.ssrc, packet.sequence);
            outputs.push(VideoOutput::Malformed(MalformedPacket { ssrc, sequence, error }));
        });
        if let Some(unit) = completed {
            self.unit(unit, timestamp, packet.ssrc, now);
        }
    }

    /// A finished unit, good or not; `near` is a timestamp at or just behind it.
    fn unit(&mut self, unit: Completed, near: u64, ssrc: u32, now: Instant) {
        let mut unit = match unit {
            Ok(unit) => unit,
            Err(reason) => {
                match reason {
                    AccessUnitError::NoParameterSets => {
                        self.inbound.watch.withhold(Withheld::NoParameterSets)
                    }
                    // Its packets are counted.
                    AccessUnitError::Malformed => {}
                    AccessUnitError::Missing | AccessUnitError::TooLarge | AccessUnitError::Marker => {
                        self.inbound.watch.withhold(Withheld::Incomplete);
                    }
                }
                if !self.gate.is_first() {
                    self.inbound.stats.frames_dropped += 1;
                }
                if self.gate.close(now) {
                    self.outputs.push(VideoOutput::Incomplete { ssrc, rtp_timestamp: near, reason });
                }
                return;
            }
        };
        let stats = &mut self.inbound.stats;
        stats.frames_received += 1;
        match self.gate.passage(&unit, now) {
            Passage::Starts => {
                stats.key_frames_received += 1;
                if unit.announce_start() && !std::mem::replace(&mut self.assumed, true) {
                    self.outputs.push(VideoOutput::KeyFramesAssumed);
                }
            }
            Passage::Follows => unit.start = None,
            Passage::Withheld { owed } => {
                stats.frames_dropped += u64::from(owed);
                self.inbound.watch.withhold(Withheld::NoKeyFrame);
                return;
            }
        }
        self.inbound.watch.hand_on();
        let arrived = self.arrived.map_or(now, |(_, arrived)| arrived);
        self.held.push_back((unit, arrived));
    }

    /// Hands on what has its capture time.
    fn release(&mut self, now: Instant, clock: &mut SenderClock) {
        self.held_until = None;
        while self.release_one(now, clock) {}
    }

    fn release_one(&mut self, now: Instant, clock: &mut SenderClock) -> bool {
        let Some((unit, arrived)) = self.held.front() else { return false };
        match clock.capture_time(MediaKind::Video, unit.timestamp, *arrived, now) {
            Stamp::Wait(until) => {
                self.held_until = Some(until);
                false
            }
            Stamp::At(time) => {
                if let Some((unit, arrived)) = self.held.pop_front() {
                    self.emit(unit, arrived, time, now);
                }
                true
            }
        }
    }

    fn emit(&mut self, unit: UntimedAccessUnit, arrived: Instant, capture_time: SystemTime, now: Instant) {
        let UntimedAccessUnit { data, timestamp, start, .. } = unit;
        let parameters = start.map(|start| start.parameters);
        if let Some(format) = parameters.as_ref().map(|parameters| parameters.format)
            && self.format != Some(format)
        {
            self.format = Some(format);
            self.outputs.push(VideoOutput::FormatChanged(format));
        }
        let pushed = self.outputs.push(VideoOutput::AccessUnit(AccessUnit {
            data,
            capture_time,
            rtp_timestamp: timestamp,
            parameters,
        }));
        let stats = &mut self.inbound.stats;
        if pushed {
            stats.frames_emitted += 1;
            stats.jitter_buffer_delay += waited(arrived, now);
        } else {
            stats.frames_dropped += 1;
            self.gate.close(now);
        }
    }
}

#[cfg(test)]
mod tests;
