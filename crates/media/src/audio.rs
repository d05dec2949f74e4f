//! One audio track.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use crate::clock::{FOREVER, SenderClock, Stamp};
use crate::codec::{AudioCodec, AudioPayload};
use crate::flow::{Flow, Withheld, WithheldCounts};
use crate::inbound::{Inbound, Inflow};
use crate::media_kind::MediaKind;
use crate::output::{AudioOutput, AudioPacket, MalformedPacket, Outputs};
use crate::reorder::ReorderConfig;
use crate::rtp::{RtpPacket, SenderReport};
use crate::stats::{InboundStats, waited};

/// The shortest frame of Opus: less is rounding.
const LEAST_GAP: Duration = Duration::from_micros(2_500);
/// Packets that wait for their capture time: more than a second of the shortest. When it is full the oldest no longer
/// waits.
const MAX_HELD: usize = 512;
/// Silence is reported in pieces of this length.
const SILENCE: Duration = Duration::from_millis(500);

/// How audio is received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioConfig {
    /// What its packets hold.
    pub codec: AudioCodec,
    /// How long packets wait for those in front of them, and whether those are asked for again.
    pub reorder: ReorderConfig,
    /// The payload types that are of this codec; others of the same SSRC are skipped. Empty: all are.
    pub payload_types: Vec<u8>,
    /// While the sender sends nothing (DTX, a muted or broken microphone) gaps are reported, each up to a point that
    /// no packet that is still to come can lie before: as long before now as a capture time can be before its packet's
    /// arrival ([`SenderClock::BOUND`]) and a packet can wait in here. `false`: only when the next packet comes.
    pub silence: bool,
}

impl Default for AudioConfig {
    fn default() -> Self {
        Self {
            codec: AudioCodec::Opus,
            reorder: ReorderConfig::audio(),
            payload_types: Vec::new(),
            silence: true,
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
}

/// A packet that waits for its capture time.
struct Held {
    packet: RtpPacket,
    timestamp: u64,
    arrived: Instant,
    payload: AudioPayload,
}

/// Packets of one audio track in, in order out. After each `handle_…`, poll until `None`.
pub struct AudioReceiver {
    codec: AudioCodec,
    inbound: Inbound,
    /// How long before now nothing can come any more.
    silence: Option<Duration>,
    silence_at: Option<Instant>,
    held: VecDeque<Held>,
    held_until: Option<Instant>,
    end: Option<End>,
    outputs: Outputs<AudioOutput>,
}

impl AudioReceiver {
    /// Waits for the first packet.
    pub fn new(config: AudioConfig) -> Self {
        Self {
            codec: config.codec,
            silence: config
                .silence
                .then(|| SenderClock::BOUND + config.reorder.wait_max + SenderClock::JUDGE),
            inbound: Inbound::new(
                MediaKind::Audio,
                config.codec.clock_rate(),
                config.reorder,
                config.payload_types,
            ),
            silence_at: None,
            held: VecDeque::new(),
            held_until: None,
            end: None,
            outputs: Outputs::new(),
        }
    }

    /// A packet of this track that arrived at `now`, of which `wall` is the time of day. [`Self::handle_timeout`] hands on what comes
    /// of it and asks for what it shows to be missing.
    pub fn handle_rtp(&mut self, packet: RtpPacket, now: Instant, wall: SystemTime, clock: &mut SenderClock) {
        self.inbound.handle_rtp(packet, now, wall, clock);
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
            self.outputs.push(AudioOutput::Nack { ssrc, sequences });
        }
        self.fill(now, clock);
    }

    /// Takes what is in order at `now`, and gives up what is not waited for any longer.
    fn advance(&mut self, now: Instant, clock: &mut SenderClock) {
        while let Some(inflow) = self.inbound.poll(now) {
            match inflow {
                Inflow::Packet { timestamp, packet, arrived } => self.packet(timestamp, packet, arrived),
                Inflow::Lost(loss) => {
                    self.outputs.push(AudioOutput::Lost(loss));
                }
                Inflow::Restart => {
                    self.release(now + FOREVER, clock);
                    clock.reset(MediaKind::Audio);
                    if let Some(end) = &mut self.end {
                        end.timestamp = None;
                    }
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
    }

    /// When [`Self::handle_timeout`] has something to do, if nothing arrives before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.inbound.timeout(), self.held_until, self.silence_at].into_iter().flatten().min()
    }

    /// The next output, oldest first.
    pub fn poll_output(&mut self) -> Option<AudioOutput> {
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

    /// How often packets were not handed on.
    pub fn withheld(&self) -> WithheldCounts {
        self.inbound.watch.withheld
    }

    /// The SSRC that is received now.
    pub fn ssrc(&self) -> Option<u32> {
        self.inbound.ssrc()
    }

    /// The round trip to the sender; matters only with NACK.
    pub fn set_rtt(&mut self, rtt: Duration) {
        self.inbound.set_rtt(rtt);
    }

    fn packet(&mut self, timestamp: u64, packet: RtpPacket, arrived: Instant) {
        let payload = match AudioPayload::read(self.codec, &packet.payload) {
            Ok(payload) => payload,
            Err(error) => {
                self.inbound.stats.packets_malformed += 1;
                self.inbound.stats.packets_discarded += 1;
                self.inbound.watch.withhold(Withheld::NotTheCodec);
                let (ssrc, sequence) = (packet.ssrc, packet.sequence);
                self.outputs.push(AudioOutput::Malformed(MalformedPacket { ssrc, sequence, error }));
                return;
            }
        };
        self.inbound.stats.frames_received += 1;
        self.inbound.watch.hand_on();
        self.held.push_back(Held { packet, timestamp, arrived, payload });
    }

    /// Hands on what has its capture time.
    fn release(&mut self, now: Instant, clock: &mut SenderClock) {
        self.held_until = None;
        while self.release_one(now, clock) {}
    }

    fn release_one(&mut self, now: Instant, clock: &mut SenderClock) -> bool {
        let Some(held) = self.held.front() else { return false };
        match clock.capture_time(MediaKind::Audio, held.timestamp, held.arrived, now) {
            Stamp::Wait(until) => {
                self.held_until = Some(until);
                false
            }
            Stamp::At(time) => {
                if let Some(held) = self.held.pop_front() {
                    self.emit(held, time, now);
                }
                true
            }
        }
    }

    fn emit(&mut self, held: Held, capture_time: SystemTime, now: Instant) {
        let Held { packet, timestamp, payload: AudioPayload { duration, stereo }, arrived } = held;
        if let Some(end) = self.end {
            // Corrections make capture times differ from the sum of durations: only timestamps tell a gap.
            let is_gap = end.timestamp.is_none_or(|expected| timestamp >= expected + self.units(LEAST_GAP));
            if let Ok(duration) = capture_time.duration_since(end.covered)
                && is_gap
                && !duration.is_zero()
            {
                self.outputs.push(AudioOutput::Gap { at: end.covered, duration });
            }
        }
        let behind = capture_time + duration;
        let covered = self.end.map_or(behind, |end| end.covered.max(behind));
        self.end = Some(End { timestamp: Some(timestamp + self.units(duration)), covered });
        let output =
            AudioPacket { data: packet.payload, capture_time, rtp_timestamp: timestamp, duration, stereo };
        if self.outputs.push(AudioOutput::Packet(output)) {
            self.inbound.stats.frames_emitted += 1;
            self.inbound.stats.jitter_buffer_delay += waited(arrived, now);
        } else {
            self.inbound.stats.frames_dropped += 1;
        }
    }

    /// Units of the codec's clock.
    fn units(&self, duration: Duration) -> u64 {
        duration.as_micros() as u64 * u64::from(self.codec.clock_rate()) / 1_000_000
    }

    /// Reports silence up to where nothing can come any more.
    fn fill(&mut self, now: Instant, clock: &mut SenderClock) {
        self.silence_at = None;
        // What is held comes first.
        let Some((end, silence)) = self.end.as_mut().zip(self.silence).filter(|_| self.held.is_empty())
        else {
            return;
        };
        let until = clock.wall(now).checked_sub(silence).unwrap_or(SystemTime::UNIX_EPOCH);
        match until.duration_since(end.covered) {
            Ok(duration) if duration >= SILENCE => {
                let at = std::mem::replace(&mut end.covered, until);
                self.outputs.push(AudioOutput::Gap { at, duration });
                self.silence_at = Some(now + SILENCE);
            }
            Ok(duration) => self.silence_at = Some(now + (SILENCE - duration)),
            Err(ahead) => self.silence_at = Some(now + ahead.duration() + SILENCE),
        }
    }
}

#[cfg(test)]
mod tests;
