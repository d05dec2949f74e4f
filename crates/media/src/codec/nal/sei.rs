//! Supplemental enhancement information: the messages of a unit (ITU-T H.264 section 7.3.2.3.1, H.265 section 7.3.5).

use super::bits::unescape;

/// More of a unit is not read. What is looked for here is short, and stands in front of what encoders leave of themselves.
const MAX_BYTES: usize = 4096;

/// `recovery_point`, the same number in both codecs.
const RECOVERY_POINT: u32 = 6;

/// The payload of the first message that says where a decoder that begins here shows the right pictures; `body` is a unit
/// without its header.
pub(in crate::codec) fn recovery_point(body: &[u8]) -> Option<Vec<u8>> {
    let body = unescape(body, MAX_BYTES);
    let mut rest = &body[..];
    // The shortest message, and the bit that ends the unit.
    while rest.len() > 3 {
        let kind = number(&mut rest)?;
        let length = usize::try_from(number(&mut rest)?).ok()?;
        let payload = rest.get(..length)?;
        if kind == RECOVERY_POINT {
            return Some(payload.to_vec());
        }
        rest = &rest[length..];
    }
    None
}

/// A sum of bytes, up to and with the first that is not 255.
fn number(rest: &mut &[u8]) -> Option<u32> {
    let mut sum = 0;
    loop {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        // No more than `MAX_BYTES` of them.
        sum += u32::from(*byte);
        if *byte != 255 {
            return Some(sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_message_is_found_behind_others_and_behind_what_was_escaped() {
        // What x264 writes.
        assert_eq!(recovery_point(&[6, 1, 0xc4, 0x80]), Some(vec![0xc4]));
        assert_eq!(recovery_point(&[1, 3, 0, 0, 3, 1, 6, 2, 0x09, 0xc4, 0x80]), Some(vec![0x09, 0xc4]));
        let long = [&[5, 255, 45][..], &[7; 300], &[6, 1, 0xc4, 0x80]].concat();
        assert_eq!(recovery_point(&long), Some(vec![0xc4]));
        assert_eq!(recovery_point(&[1, 1, 6, 0x80]), None, "a byte of another message");
        assert_eq!(recovery_point(&[6, 9, 0xc4, 0x80]), None, "cut off");
    }

    proptest! {
        #[test]
        fn never_panics(body in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = recovery_point(&body);
        }
    }
}
