//! The receiver's estimated maximum bit rate (draft-alvestrand-rmcat-remb-03): for a master that does not number its packets
//! for [`crate::twcc`], and sends as much as it is told.

use crate::estimate::Estimate;
use crate::rtcp;
use std::time::{Duration, Instant};

/// Between two messages while the estimate does not fall (section 2.3: once a second at least while it holds).
const REPEAT: Duration = Duration::from_millis(500);
/// The first comes so soon: whether a master numbers its packets is known by then.
const FIRST: Duration = Duration::from_millis(200);

/// Sources that are named; a master has a handful. Of more, those that began first are left out.
const MAX_SOURCES: usize = 16;

/// Says what one transport can carry, and when.
#[derive(Debug)]
pub(crate) struct Remb {
    estimate: Estimate,
    sources: Vec<u32>,
    /// When to say it next, while media arrive.
    due: Option<Instant>,
    told: u64,
    /// Something arrived since.
    active: bool,
}

impl Remb {
    /// Begins with so many bit/s.
    pub(crate) fn new(start: u64, now: Instant) -> Self {
        Self {
            estimate: Estimate::new(start, now),
            sources: Vec::new(),
            due: None,
            told: start,
            active: false,
        }
    }

    /// The estimate is about this source, too.
    pub(crate) fn source(&mut self, ssrc: u32) {
        if !self.sources.contains(&ssrc) {
            self.sources.push(ssrc);
        }
        if self.sources.len() > MAX_SOURCES {
            self.sources.remove(0);
        }
    }

    /// A packet of so many bytes arrived. `sent`: its absolute send time.
    pub(crate) fn packet(&mut self, bytes: usize, sent: Option<u32>, now: Instant) {
        self.estimate.packet(bytes, sent, now);
        self.active = true;
        let due = *self.due.get_or_insert(now + FIRST);
        // A fall is told at once (section 2.3).
        if due > now && self.estimate.bit_rate() * 100 < self.told * 97 {
            self.due = Some(now);
        }
    }

    /// So many packets of a source are missing, which may be another transport's.
    pub(crate) fn missing(&mut self, ssrc: u32, packets: usize) {
        if self.sources.contains(&ssrc) {
            self.estimate.missing(packets);
        }
    }

    /// When [`Remb::feedback`] has something to say.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// The message that is due.
    pub(crate) fn feedback(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.due.filter(|due| *due <= now)?;
        if !std::mem::take(&mut self.active) {
            self.due = None;
            return None;
        }
        self.due = Some(now + REPEAT);
        self.told = self.estimate.bit_rate();
        Some(message(self.told, &self.sources))
    }
}

/// Section 2.2: six bits of exponent, 18 of mantissa. What does not fit is rounded down.
fn message(bit_rate: u64, sources: &[u32]) -> Vec<u8> {
    let exponent = (u64::BITS - bit_rate.leading_zeros()).saturating_sub(18);
    let mantissa = (bit_rate >> exponent) as u32;
    let mut words =
        vec![u32::from_be_bytes(*b"REMB"), (sources.len() as u32) << 24 | exponent << 18 | mantissa];
    words.extend(sources);
    // The media source is always 0.
    rtcp::feedback(15, 206, 0, &words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_message_is_as_the_draft_draws_it() {
        let expected: Vec<u8> = [
            &[0x8f, 206, 0, 6][..],
            &rtcp::FEEDBACK_SSRC.to_be_bytes(),
            &[0; 4],
            b"REMB",
            // 2 sources; 2,500,000 = 156,250 · 2^4.
            &[2, 4 << 2 | 2, 0x62, 0x5a],
            &[0, 0, 0, 7],
            &[0, 0, 0, 9],
        ]
        .concat();
        assert_eq!(message(2_500_000, &[7, 9]), expected);
    }

    proptest! {
        #[test]
        fn a_rate_is_told_to_the_hundredth_of_a_thousandth(rate in any::<u64>()) {
            let told = message(rate, &[1]);
            let word = u32::from_be_bytes([0, told[17], told[18], told[19]]);
            let read = u64::from(word & 0x3_ffff) << (word >> 18);
            prop_assert!(read <= rate && rate - read <= rate / 100_000);
        }
    }

    #[test]
    fn it_is_told_twice_a_second_while_media_come_and_sooner_when_it_falls() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut remb = Remb::new(1_000_000, start);
        assert_eq!(remb.poll_timeout(), None);
        let mut told = Vec::new();
        for ms in (0..2_000).step_by(10) {
            remb.packet(1_200, Some(0), at(ms));
            told.extend(remb.feedback(at(ms)).map(|_| ms));
        }
        assert_eq!(told[0], 200);
        // Its packets say that all of them were sent at the same time: a queue grows.
        assert!(told[1] < 500, "{told:?}");
        let mut told = Vec::new();
        let mut remb = Remb::new(1_000_000, start);
        for ms in (0..2_000).step_by(10) {
            remb.packet(1_200, None, at(ms));
            told.extend(remb.feedback(at(ms)).map(|_| ms));
        }
        assert_eq!(told, [200, 700, 1_200, 1_700]);
        // Nothing comes any more.
        assert_eq!(remb.feedback(at(2_200)).map(|message| message[12..16].to_vec()), Some(b"REMB".to_vec()));
        assert_eq!((remb.feedback(at(2_700)), remb.poll_timeout()), (None, None));
    }
}
