//! What came in on one track, under the names of the W3C.

use std::time::{Duration, Instant};

use crate::clock::FOREVER;

/// Counters of one track since its receiver was made, through changes of SSRC.
///
/// The names are those of `RTCInboundRtpStreamStats` (W3C *Identifiers for WebRTC's Statistics API*) where that has
/// one; what differs from it is said at the field.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InboundStats {
    /// The SSRC that is received now.
    pub ssrc: Option<u32>,
    /// RTP packets that arrived for the first time, padding-only ones and late ones included, duplicates not.
    pub packets_received: u64,
    /// Payload bytes of those packets.
    pub bytes_received: u64,
    /// Sequence numbers that were given up. One that arrives afterwards stays counted, and is in `packets_discarded`.
    pub packets_lost: u64,
    /// Packets that arrived after they had been asked for by NACK (ours: not W3C).
    pub packets_repaired: u64,
    /// Packets that had arrived before; senders probe with them over RTX (ours: not W3C).
    pub packets_duplicated: u64,
    /// Packets that arrived but were of no use: too late, of another SSRC, of a foreign payload type, malformed.
    pub packets_discarded: u64,
    /// Packets whose payload broke the codec's payload format (ours: not W3C; also in `packets_discarded`).
    pub packets_malformed: u64,
    /// Packets without payload, by which senders probe for bandwidth (ours: not W3C).
    pub packets_padding: u64,
    /// Sequence numbers asked for by NACK, each time counted. (W3C counts the RTCP packets.)
    pub nack_count: u64,
    /// Key frames asked for.
    pub pli_count: u64,
    /// Complete access units (video), before the key-frame gate.
    pub frames_received: u64,
    /// Complete access units at which decoding can start: IDRs, recovery points. (W3C: `keyFramesDecoded`.)
    pub key_frames_received: u64,
    /// Access units that were not handed on: incomplete, or waiting for a key frame after a loss. Those before the very
    /// first IDR are not counted: no one was promised them.
    pub frames_dropped: u64,
    /// Access units or packets of sound handed on (W3C: `jitterBufferEmittedCount`, which counts samples of sound).
    pub frames_emitted: u64,
    /// Sum over those of the time from the arrival of their first packet to being handed on.
    pub jitter_buffer_delay: Duration,
    /// Times the sequence numbers or the SSRC started afresh (ours: not W3C).
    pub restarts: u64,
    /// Sender reports used (ours: not W3C).
    pub sender_reports: u64,
    /// Interarrival jitter in seconds (RFC 3550 section 6.4.1).
    pub jitter: f64,
    /// Measured from NACK to repair, or told by `set_rtt`; `None` before either (ours: not W3C).
    pub round_trip_time: Option<Duration>,
}

/// What was handed on at `now` has waited for so long. `now` is [`FOREVER`] ahead where nothing is waited for any more.
pub(crate) fn waited(arrived: Instant, now: Instant) -> Duration {
    let waited = now.saturating_duration_since(arrived);
    waited.checked_sub(FOREVER).unwrap_or(waited)
}

/// Interarrival jitter, RFC 3550 appendix A.8, in floating point.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Jitter {
    transit: Option<f64>,
}

impl Jitter {
    /// `arrival` and `media` in seconds on any two clocks; updates `jitter` in seconds.
    pub(crate) fn update(&mut self, arrival: f64, media: f64, jitter: &mut f64) {
        let transit = arrival - media;
        if let Some(last) = self.transit.replace(transit) {
            let distance = (transit - last).abs();
            // A jump of the media clock is not jitter.
            if distance < 5.0 {
                *jitter += (distance - *jitter) / 16.0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_let_go_without_waiting_has_waited_until_then() {
        let (arrived, waited_for) = (Instant::now(), Duration::from_millis(30));
        for ahead in [Duration::ZERO, FOREVER] {
            assert_eq!(waited(arrived, arrived + waited_for + ahead), waited_for);
        }
        assert_eq!(waited(arrived + waited_for, arrived), Duration::ZERO);
    }

    #[test]
    fn jitter_settles_at_the_mean_difference() {
        let (mut state, mut jitter) = (Jitter::default(), 0.0);
        for n in 0..1000 {
            let time = f64::from(n) * 0.02;
            state.update(time + if n % 2 == 0 { 0.0 } else { 0.004 }, time, &mut jitter);
        }
        assert!((jitter - 0.004).abs() < 1e-6, "{jitter}");
        state.update(100.0, 5.0, &mut jitter);
        assert!((jitter - 0.004).abs() < 1e-6, "a jump of {jitter}");
    }
}
