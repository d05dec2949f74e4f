//! [`Grid`]: Opus packets as one unbroken sequence of samples, which is what an encoder of AAC takes. Sans-IO.

use bytes::Bytes;

use super::opus::{CONCEALED, CONCEALED_SAMPLES, samples};

/// The longest hole that is filled at once, 60 s: what is longer is another recording.
const LONGEST_HOLE: i64 = 60 * 48_000;

/// What became of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::storage) struct Figures {
    /// Packets of the peer that were passed on.
    pub(in crate::storage) passed: u64,
    /// Packets that no decoder would take.
    pub(in crate::storage) invalid: u64,
    /// Packets whose place was taken: they came twice, or after they had been concealed.
    pub(in crate::storage) late: u64,
    /// Pieces of 20 ms that were concealed.
    pub(in crate::storage) concealed: u64,
}

impl std::ops::AddAssign for Figures {
    fn add_assign(&mut self, more: Self) {
        self.passed += more.passed;
        self.invalid += more.invalid;
        self.late += more.late;
        self.concealed += more.concealed;
    }
}

/// Samples are counted from the first one of the recording on.
#[derive(Debug, Default)]
pub(super) struct Grid {
    next: u64,
    pub(super) figures: Figures,
}

impl Grid {
    /// Samples that were passed on.
    pub(super) fn end(&self) -> u64 {
        self.next
    }

    /// A packet whose first sample is the one with this number; what is to be encoded because of it. Half a packet of
    /// inaccuracy is nothing that anyone hears, and leaves no seam.
    pub(super) fn push(&mut self, at: i64, packet: &Bytes) -> Vec<Bytes> {
        let Some(length) = samples(packet) else {
            self.figures.invalid += 1;
            return Vec::new();
        };
        let ahead = at - self.next as i64;
        if ahead < -i64::from(length / 2).max(240) || ahead > LONGEST_HOLE {
            self.figures.late += 1;
            return Vec::new();
        }
        let mut out = self.fill(at);
        self.next += u64::from(length);
        self.figures.passed += 1;
        out.push(packet.clone());
        out
    }

    /// Nothing more comes before this sample.
    pub(super) fn fill(&mut self, until: i64) -> Vec<Bytes> {
        let mut out = Vec::new();
        let until = until.min(self.next as i64 + LONGEST_HOLE);
        while until - self.next as i64 >= i64::from(CONCEALED_SAMPLES / 2) {
            self.next += u64::from(CONCEALED_SAMPLES);
            self.figures.concealed += 1;
            out.push(Bytes::from_static(CONCEALED));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 20 ms.
    const PACKET: Bytes = Bytes::from_static(&[31 << 3, 1]);

    #[test]
    fn holes_are_filled_and_what_is_late_is_left_out() {
        let mut grid = Grid::default();
        assert_eq!(grid.push(0, &PACKET).len(), 1);
        assert_eq!(grid.push(960, &PACKET).len(), 1);
        assert_eq!(grid.push(960 * 5, &PACKET).len(), 4, "three were lost");
        assert!(grid.push(960 * 3, &PACKET).is_empty(), "too late");
        assert!(grid.push(960 * 5, &PACKET).is_empty(), "twice");
        assert!(grid.push(960 * 6, &Bytes::new()).is_empty(), "no packet");
        assert_eq!(grid.fill(960 * 8).len(), 2);
        let expected = Figures { passed: 3, invalid: 1, late: 2, concealed: 5 };
        assert_eq!(grid.figures, expected);
    }

    proptest! {
        /// Wherever packets claim to be, the samples that are passed on are where they say, by half a packet.
        #[test]
        fn the_grid_has_neither_holes_nor_overlaps(
            packets in prop::collection::vec((-2_000_i64..6_000, 0_u8..32), 1..200),
        ) {
            let mut grid = Grid::default();
            let mut at = 0_i64;
            let mut written = 0_u64;
            for (step, config) in packets {
                at += step;
                let packet = Bytes::from(vec![config << 3, 1]);
                let before = grid.figures;
                let out = grid.push(at, &packet);
                let total: u64 = out.iter().map(|packet| u64::from(samples(packet).unwrap())).sum();
                if grid.figures.passed > before.passed {
                    let start = (written + total) as i64 - i64::from(samples(&packet).unwrap());
                    prop_assert!((start - at).abs() <= 1440, "{start} {at}");
                }
                written += total;
                prop_assert_eq!(written, grid.end());
            }
        }
    }
}
