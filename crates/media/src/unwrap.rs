//! Counters that wrap on the wire, continued past the wrap.

/// Continues a 32-bit media timestamp past its wrap.
///
/// The first value is placed one wrap above zero, so that values just before it stay positive.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TimestampUnwrapper {
    newest: Option<u64>,
}

impl TimestampUnwrapper {
    /// The extended value nearest to the newest seen so far; remembers it when it is newer.
    pub(crate) fn extend(&mut self, timestamp: u32) -> u64 {
        let extended = self.peek(timestamp);
        self.newest = Some(self.newest.map_or(extended, |newest| newest.max(extended)));
        extended
    }

    /// The same without remembering.
    pub(crate) fn peek(&self, timestamp: u32) -> u64 {
        let Some(newest) = self.newest else { return (1 << 32) + u64::from(timestamp) };
        // Cannot fall below zero: the first value is at least 2^32 and each step back is less than 2^31 from a maximum.
        let distance = timestamp.wrapping_sub(newest as u32) as i32;
        newest.saturating_add_signed(i64::from(distance))
    }
}

/// Continues a 16-bit sequence number past its wrap: the extended number nearest to `reference`.
pub(crate) fn extend_sequence(sequence: u16, reference: u64) -> u64 {
    let distance = sequence.wrapping_sub(reference as u16) as i16;
    reference.saturating_add_signed(i64::from(distance))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_go_on_past_the_wrap_and_back() {
        let mut unwrapper = TimestampUnwrapper::default();
        let first = unwrapper.extend(u32::MAX - 10);
        assert_eq!(unwrapper.extend(5), first + 16);
        assert_eq!(unwrapper.extend(u32::MAX), first + 10);
        assert_eq!(unwrapper.peek(6), first + 17);
        assert_eq!(unwrapper.extend(7), first + 18);
        let mut value = first + 18;
        for _ in 0..10 {
            value += 1 << 30;
            assert_eq!(unwrapper.extend(value as u32), value);
        }
    }

    #[test]
    fn sequences_go_on_past_the_wrap_and_back() {
        let reference = (1 << 16) + 65_535;
        assert_eq!(extend_sequence(0, reference), reference + 1);
        assert_eq!(extend_sequence(65_000, reference), reference - 535);
        assert_eq!(extend_sequence(40_000, reference + 1), reference + 1 - 25_536);
    }
}
