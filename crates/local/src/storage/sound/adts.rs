//! [`Adts`]: frames of AAC out of the byte stream in which an encoder writes them (ISO/IEC 14496-3 section 1.A.2.2).

use bytes::{Buf, Bytes, BytesMut};

/// Samples of a frame of AAC-LC.
pub(super) const SAMPLES: u32 = 1024;

/// A frame, and what a decoder must know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::storage) struct AacFrame {
    /// AudioSpecificConfig (ISO/IEC 14496-3 section 1.6.2.1).
    pub(in crate::storage) config: [u8; 2],
    pub(in crate::storage) data: Bytes,
}

/// Bytes that are no whole frame yet: at most one, 8191 bytes.
#[derive(Debug, Default)]
pub(super) struct Adts(BytesMut);

impl Adts {
    /// # Errors
    /// It is no ADTS.
    pub(super) fn push(&mut self, data: &[u8]) -> Result<Vec<AacFrame>, String> {
        self.0.extend_from_slice(data);
        let mut frames = Vec::new();
        while let [first, second, third, fourth, fifth, sixth, ..] = self.0[..] {
            if first != 0xFF || second & 0xF6 != 0xF0 {
                return Err(format!("no ADTS header, but {first:02x} {second:02x}"));
            }
            let head = if second & 1 == 1 { 7 } else { 9 };
            let length = usize::from(fourth & 3) << 11 | usize::from(fifth) << 3 | usize::from(sixth) >> 5;
            if length < head {
                return Err(format!("an ADTS frame of {length} bytes"));
            }
            if self.0.len() < length {
                break;
            }
            let (object, rate) = ((third >> 6) + 1, third >> 2 & 0xF);
            let channels = (third & 1) << 2 | fourth >> 6;
            let config = [object << 3 | rate >> 1, (rate & 1) << 7 | channels << 3];
            let mut data = self.0.split_to(length);
            data.advance(head);
            frames.push(AacFrame { config, data: data.freeze() });
        }
        Ok(frames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two frames of AAC-LC, 48 kHz, stereo.
    fn two() -> Vec<u8> {
        let frame = |data: &[u8]| {
            let length = data.len() + 7;
            let head = [
                0xFF,
                0xF1,
                0x4C,
                0x80 | (length >> 11) as u8,
                (length >> 3) as u8,
                (length << 5) as u8 | 0x1F,
                0xFC,
            ];
            [&head[..], data].concat()
        };
        [frame(&[1, 2, 3]), frame(&[4; 300])].concat()
    }

    #[test]
    fn frames_come_out_whole_however_they_arrive() {
        for step in [1, 5, 100, 1000] {
            let mut adts = Adts::default();
            let frames: Vec<_> = two().chunks(step).flat_map(|part| adts.push(part).unwrap()).collect();
            let data: Vec<_> = frames.iter().map(|frame| frame.data.clone()).collect();
            assert_eq!(data, [Bytes::from_static(&[1, 2, 3]), Bytes::from(vec![4; 300])]);
            assert_eq!(frames[0].config, [0x11, 0x90]);
        }
    }

    #[test]
    fn what_is_no_adts_is_refused() {
        assert!(Adts::default().push(b"no frames here").is_err());
        assert!(Adts::default().push(&[0xFF, 0xF1, 0x4C, 0x80, 0, 0x1F, 0xFC]).is_err());
    }
}
