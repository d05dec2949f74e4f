//! The byte stream format (annex B of ITU-T H.264 and H.265).

use std::ops::Range;

/// The non-empty pieces between start codes, without the zeros at their ends; all of `data` when it has no start code.
pub(super) fn split(data: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut start = 0;
    std::iter::from_fn(move || {
        while start < data.len() {
            let (end, next) = match find_start_code(&data[start..]) {
                Some(at) => (start + at, start + at + 3),
                None => (data.len(), data.len()),
            };
            let piece = trim(data, start..end);
            start = next;
            if !piece.is_empty() {
                return Some(piece);
            }
        }
        None
    })
}

/// A NAL unit ends in a bit that is 1: zeros at its end are the padding of a byte stream.
fn trim(data: &[u8], range: Range<usize>) -> Range<usize> {
    let zeros = data[range.clone()].iter().rev().take_while(|byte| **byte == 0).count();
    range.start..range.end - zeros
}

fn find_start_code(data: &[u8]) -> Option<usize> {
    let mut at = 2;
    // Only where a zero stands can a start code begin or go on; else three bytes at a time.
    while let Some(&byte) = data.get(at) {
        match byte {
            0 => at += 1,
            1 if data[at - 1] == 0 && data[at - 2] == 0 => return Some(at - 2),
            _ => at += 3,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pieces() {
        let pieces = |data: &[u8]| split(data).map(|range| data[range].to_vec()).collect::<Vec<_>>();
        assert_eq!(pieces(&[0x65, 1, 2]), [[0x65, 1, 2]]);
        assert_eq!(pieces(&[0, 0, 1, 7, 0, 0, 0, 1, 8, 9, 0]), [vec![7], vec![8, 9]]);
        assert_eq!(pieces(&[0, 0, 1, 0, 0, 1]), Vec::<Vec<u8>>::new());
        assert_eq!(pieces(&[1, 1, 0, 0, 1, 2]), [vec![1, 1], vec![2]]);
        assert_eq!(pieces(&[]), Vec::<Vec<u8>>::new());
        assert_eq!(pieces(&[5, 0, 0]), [[5]]);
    }

    proptest! {
        #[test]
        fn finds_what_a_slow_search_finds(data in prop::collection::vec(0u8..3, 0..40)) {
            prop_assert_eq!(find_start_code(&data), data.windows(3).position(|three| three == [0, 0, 1]));
        }
    }
}
