//! G.711 to samples of the grid's rate (ITU-T G.711). Pure, and in Rust: a stranger's sound is not read in C.

use super::rate::RATE;
use super::resample::Resampler;
use std::time::Duration;

/// Samples per second of G.711.
const CODED_RATE: u32 = 8_000;

/// Which of the two laws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Law {
    /// North America and Japan.
    Mu,
    /// The rest of the world.
    A,
}

impl Law {
    /// A sample of 16 bits; the codes have 14 (µ) and 13 (A) of them, in the upper bits.
    fn expand(self, code: u8) -> i16 {
        match self {
            Self::Mu => {
                let code = !code;
                let magnitude = (((i16::from(code & 0x0f) << 3) + 0x84) << (code >> 4 & 0x07)) - 0x84;
                if code & 0x80 != 0 { -magnitude } else { magnitude }
            }
            Self::A => {
                let code = code ^ 0x55;
                let mantissa = i16::from(code & 0x0f) << 4;
                let magnitude = match code >> 4 & 0x07 {
                    0 => mantissa + 0x08,
                    exponent => (mantissa + 0x108) << (exponent - 1),
                };
                if code & 0x80 != 0 { magnitude } else { -magnitude }
            }
        }
    }
}

/// Sound of one track, packet after packet.
#[derive(Debug)]
pub(super) struct G711Decoder {
    law: Law,
    resampler: Resampler,
    /// The packet at hand, at its own rate.
    expanded: Vec<i16>,
}

impl G711Decoder {
    pub(super) fn new(law: Law) -> Self {
        Self { law, resampler: Resampler::new(1), expanded: Vec::new() }
    }

    /// Appends the sound of the next packet. It begins so long before the packet: what was kept of the one before to go on from
    /// it.
    pub(super) fn packet(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Duration {
        self.expanded.clear();
        self.expanded.extend(payload.iter().map(|code| self.law.expand(*code)));
        self.push(out)
    }

    /// The same for so much in which nothing sounds.
    pub(super) fn silence(&mut self, duration: Duration, out: &mut Vec<i16>) -> Duration {
        let samples = duration.as_micros() * u128::from(CODED_RATE) / 1_000_000;
        self.expanded.clear();
        self.expanded.resize(usize::try_from(samples).unwrap_or(0), 0);
        self.push(out)
    }

    fn push(&mut self, out: &mut Vec<i16>) -> Duration {
        let earlier = Duration::from_secs_f64(self.resampler.pending().max(0.0) / f64::from(CODED_RATE));
        out.reserve(self.expanded.len() * (RATE / CODED_RATE) as usize + 64);
        self.resampler.push(&self.expanded, f64::from(CODED_RATE) / f64::from(RATE), out);
        earlier
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::f64::consts::PI;

    #[test]
    fn codes_are_expanded_as_the_recommendation_has_them() {
        let mu =
            [(0xff, 0), (0x7f, 0), (0x80, 32_124), (0x00, -32_124), (0xfe, 8), (0xef, 132), (0x8f, 16_764)];
        let a =
            [(0xd5, 8), (0x55, -8), (0xaa, 32_256), (0x2a, -32_256), (0xd4, 24), (0xc5, 264), (0x80, 5_504)];
        for (law, table) in [(Law::Mu, mu), (Law::A, a)] {
            for (code, sample) in table {
                assert_eq!(law.expand(code), sample, "{law:?} {code:#04x}");
            }
            // Symmetric, and in one order.
            for code in 0..=127_u8 {
                assert_eq!(law.expand(code), -law.expand(code | 0x80));
            }
        }
        assert!((0..127_u8).all(|code| Law::Mu.expand(code) < Law::Mu.expand(code + 1)));
        let mut linear: Vec<_> = (0..=255_u8).map(|code| Law::A.expand(code)).collect();
        linear.sort_unstable();
        linear.dedup();
        assert_eq!(linear.len(), 256);
    }

    /// The code whose value is nearest.
    fn compress(law: Law, sample: i16) -> u8 {
        (0..=255).min_by_key(|code| (i32::from(law.expand(*code)) - i32::from(sample)).abs()).unwrap()
    }

    #[test]
    fn a_tone_comes_out_as_it_went_in_whatever_the_packets() {
        for (law, packet) in [(Law::Mu, 160), (Law::A, 80), (Law::Mu, 37), (Law::A, 480)] {
            let tone = |rate: u32, n: usize| (n as f64 * 440.0 * 2.0 * PI / f64::from(rate)).sin() * 16_000.0;
            let coded: Vec<u8> = (0..8_000).map(|n| compress(law, tone(CODED_RATE, n) as i16)).collect();
            let mut decoder = G711Decoder::new(law);
            let (mut out, mut sent) = (Vec::new(), 0);
            for payload in coded.chunks(packet) {
                let before = out.len();
                let begins = sent as f64 / 8_000.0 - decoder.packet(payload, &mut out).as_secs_f64();
                assert!((begins - before as f64 / 48_000.0).abs() < 1e-4, "{begins} {before}");
                sent += payload.len();
            }
            let (mut signal, mut noise) = (0.0, 0.0);
            for (n, sample) in out.iter().enumerate().skip(480) {
                let wanted = tone(RATE, n);
                (signal, noise) = (signal + wanted * wanted, noise + (f64::from(*sample) - wanted).powi(2));
            }
            let decibels = 10.0 * f64::log10(signal / noise);
            // What eight bits are good for.
            assert!(decibels > 33.0 && out.len() > 47_000, "{law:?} {packet}: {decibels} dB");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn nothing_is_made_up_and_nothing_lost(packets in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..400), 0u64..100), 0..12)) {
            let mut decoder = G711Decoder::new(Law::Mu);
            let (mut sent, mut out) = (0, Vec::new());
            for (payload, pause) in packets {
                decoder.packet(&payload, &mut out);
                decoder.silence(Duration::from_millis(pause), &mut out);
                sent += payload.len() + pause as usize * 8;
            }
            let got = out.len();
            prop_assert!((got as i64 - sent as i64 * 6).abs() <= 9 * 6, "{got} of {sent}");
        }
    }
}
