//! NAL units as the tests see them: split, numbered by a SEI of our own, and hashed. Of H.264, unless [`Nal`] says more.

use sha2::{Digest, Sha256};

/// Marks our SEI (`user_data_unregistered`, ITU-T H.264 D.1.6). No byte of it, nor of the decimal number behind it, is
/// zero, so that it never needs emulation prevention.
const SEI_UUID: [u8; 16] = *b"kvs-ingest-frame";

/// The digits of a frame number in its SEI.
const DIGITS: usize = 10;

/// The NAL units of an Annex B byte stream (ITU-T H.264 Annex B), without start codes and trailing zeros.
pub fn split_annex_b(data: &[u8]) -> Vec<&[u8]> {
    let mut starts = Vec::new();
    let mut at = 0;
    while at + 3 <= data.len() {
        if data[at..at + 3] == [0, 0, 1] {
            starts.push(at + 3);
            at += 3;
        } else {
            at += 1;
        }
    }
    let mut units = Vec::with_capacity(starts.len());
    for (index, &start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).map_or(data.len(), |next| next - 3);
        let mut unit = &data[start..end];
        while let [head @ .., 0] = unit {
            unit = head;
        }
        if !unit.is_empty() {
            units.push(unit);
        }
    }
    units
}

/// The NAL units of a length-prefixed access unit (ISO/IEC 14496-15, four-byte lengths), as in a KVS fragment.
/// `None` when the lengths do not add up.
pub fn split_avcc(mut data: &[u8]) -> Option<Vec<&[u8]>> {
    let mut units = Vec::new();
    while !data.is_empty() {
        let length = u32::from_be_bytes(data.get(..4)?.try_into().ok()?) as usize;
        units.push(data.get(4..4 + length)?);
        data = &data[4 + length..];
    }
    Some(units)
}

/// Whose NAL units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nal {
    #[default]
    H264,
    H265,
}

impl Nal {
    /// `nal_unit_type`.
    pub fn kind(self, unit: &[u8]) -> u8 {
        match self {
            Self::H264 => nal_type(unit),
            Self::H265 => unit.first().map_or(0, |byte| byte >> 1 & 0x3f),
        }
    }

    /// A coded slice of the primary picture.
    pub fn is_slice(self, unit: &[u8]) -> bool {
        match self {
            Self::H264 => matches!(nal_type(unit), 1 | 5),
            Self::H265 => self.kind(unit) < 32,
        }
    }

    /// The first slice of a picture: `first_mb_in_slice` is 0, which is one bit that is set (ITU-T H.264 section 7.3.3), or
    /// `first_slice_segment_in_pic_flag` is (ITU-T H.265 section 7.3.6.1).
    pub fn begins_picture(self, unit: &[u8]) -> bool {
        let header = match self {
            Self::H264 => 1,
            Self::H265 => 2,
        };
        self.is_slice(unit) && unit.get(header).is_some_and(|byte| byte & 0x80 != 0)
    }

    /// A slice at which decoding can start.
    pub fn is_key(self, unit: &[u8]) -> bool {
        match self {
            Self::H264 => nal_type(unit) == 5,
            Self::H265 => (16..=21).contains(&self.kind(unit)),
        }
    }

    /// A hash of the coded slices: what must arrive unchanged, whatever happens to the rest.
    pub fn slice_hash(self, units: &[&[u8]]) -> String {
        let mut hash = Sha256::new();
        for unit in units.iter().filter(|unit| self.is_slice(unit)) {
            hash.update(unit);
        }
        hex::encode(&hash.finalize()[..8])
    }

    /// A SEI NAL unit that carries a frame number.
    pub fn number_sei(self, number: u64) -> Vec<u8> {
        let mut unit = match self {
            Self::H264 => vec![6],
            Self::H265 => vec![39 << 1, 1],
        };
        unit.extend([5, (SEI_UUID.len() + DIGITS) as u8]);
        unit.extend_from_slice(&SEI_UUID);
        unit.extend_from_slice(format!("{number:0DIGITS$}").as_bytes());
        unit.push(0x80);
        unit
    }

    /// The number that [`Self::number_sei`] put into this unit.
    pub fn frame_number(self, unit: &[u8]) -> Option<u64> {
        let sei = match self {
            Self::H264 => 6,
            Self::H265 => 39,
        };
        let at = unit.windows(SEI_UUID.len()).position(|window| window == SEI_UUID)? + SEI_UUID.len();
        let digits = unit.get(at..at + DIGITS).filter(|_| self.kind(unit) == sei)?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }
}

/// `nal_unit_type`.
pub fn nal_type(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |byte| byte & 0x1f)
}

/// Is a coded slice of the primary picture among them?
pub fn is_idr(units: &[&[u8]]) -> bool {
    units.iter().any(|unit| Nal::H264.is_key(unit))
}

/// A hash of the coded slices (types 1 and 5): what must arrive unchanged, whatever happens to the rest.
pub fn slice_hash(units: &[&[u8]]) -> String {
    Nal::H264.slice_hash(units)
}

/// A SEI NAL unit that carries a frame number.
pub fn number_sei(number: u64) -> Vec<u8> {
    Nal::H264.number_sei(number)
}

/// The number that [`number_sei`] put among these units.
pub fn frame_number(units: &[&[u8]]) -> Option<u64> {
    units.iter().find_map(|unit| Nal::H264.frame_number(unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annex_b_and_length_prefixes_give_the_same_units() {
        let sei = number_sei(42);
        let slice = [0x65, 1, 2, 3];
        let mut annex_b = vec![0, 0, 0, 1];
        annex_b.extend(&sei);
        annex_b.extend([0, 0, 1]);
        annex_b.extend(slice);
        let mut avcc = Vec::new();
        for unit in [&sei[..], &slice[..]] {
            avcc.extend((unit.len() as u32).to_be_bytes());
            avcc.extend(unit);
        }
        let units = split_annex_b(&annex_b);
        assert_eq!(units, split_avcc(&avcc).unwrap());
        assert_eq!(frame_number(&units), Some(42));
        assert!(is_idr(&units));
        assert_eq!(slice_hash(&units), slice_hash(&[&slice]));
        assert_eq!(split_avcc(&avcc[..avcc.len() - 1]), None);
    }
}
