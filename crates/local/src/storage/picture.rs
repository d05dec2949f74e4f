//! [`Picture`]: an access unit of H.264 as a stream keeps it, with its lengths (ISO/IEC 14496-15 section 5.3.3). Sans-IO.

use bytes::{BufMut, Bytes, BytesMut};

use crate::playback::h264_size;

/// Parameter sets of a stream; more are another stream's.
const MOST_SETS: usize = 32;

/// What a decoder must know of a track of H.264.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VideoTrack {
    /// AVCDecoderConfigurationRecord.
    pub(super) record: Bytes,
    /// Pixels.
    pub(super) width: u32,
    /// Pixels.
    pub(super) height: u32,
}

/// An access unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Picture {
    /// Whether decoding can begin with it.
    pub(super) key: bool,
    /// NAL units, each behind its length in four bytes.
    pub(super) data: Bytes,
}

/// Parameter sets, as they came last.
#[derive(Debug, Default)]
pub(super) struct ParameterSets {
    sps: Option<Bytes>,
    pps: Vec<Bytes>,
}

impl ParameterSets {
    /// What they say of the track, once there are both.
    pub(super) fn track(&self) -> Option<VideoTrack> {
        let sps = self.sps.as_ref()?;
        let [_, profile, compatibility, level, ..] = sps[..] else { return None };
        if self.pps.is_empty() {
            return None;
        }
        let (width, height) = h264_size(sps)?;
        let mut record = BytesMut::new();
        record.put_slice(&[1, profile, compatibility, level, 0xFF, 0xE1]);
        record.put_u16(u16::try_from(sps.len()).ok()?);
        record.put_slice(sps);
        record.put_u8(u8::try_from(self.pps.len()).ok()?);
        for pps in &self.pps {
            record.put_u16(u16::try_from(pps.len()).ok()?);
            record.put_slice(pps);
        }
        if profile == 100 {
            // 4:2:0 with 8 bits, as all of the High profile is that was offered
            record.put_slice(&[0xFC | 1, 0xF8, 0xF8, 0]);
        }
        Some(VideoTrack { record: record.freeze(), width, height })
    }

    /// Reads an access unit in Annex B; `None`: there is no picture in it.
    pub(super) fn read(&mut self, annex_b: &[u8]) -> Option<Picture> {
        let (mut key, mut picture) = (false, false);
        let mut data = BytesMut::with_capacity(annex_b.len() + 16);
        // Another SPS is another track, whose PPS follow it.
        for unit in units(annex_b) {
            match unit.first().map(|first| first & 0x1F) {
                Some(7) if self.sps.as_deref() != Some(unit) => {
                    (self.sps, self.pps) = (Some(Bytes::copy_from_slice(unit)), Vec::new());
                }
                Some(8) if !self.pps.iter().any(|pps| pps == unit) && self.pps.len() < MOST_SETS => {
                    self.pps.push(Bytes::copy_from_slice(unit));
                }
                Some(5) => (key, picture) = (true, true),
                Some(1..=4) => picture = true,
                // delimiters, ends and filler say nothing of a stored frame
                Some(9..=12) | None => continue,
                _ => {}
            }
            data.put_u32(u32::try_from(unit.len()).ok()?);
            data.put_slice(unit);
        }
        picture.then(|| Picture { key: key && self.track().is_some(), data: data.freeze() })
    }
}

/// NAL units of a byte stream (ITU-T H.264 annex B), without those that are empty.
fn units(annex_b: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = annex_b;
    let mut begun = false;
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() {
                return None;
            }
            let (end, next) = match rest.windows(3).position(|bytes| bytes == [0, 0, 1]) {
                Some(at) => (at, at + 3),
                None => (rest.len(), rest.len()),
            };
            let unit = &rest[..end];
            rest = &rest[next..];
            // what is in front of the first start code is none
            if !std::mem::replace(&mut begun, true) {
                continue;
            }
            let length = unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            if length > 0 {
                return Some(&unit[..length]);
            }
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn annex_b(units: &[&[u8]]) -> Vec<u8> {
        units.iter().flat_map(|unit| [&[0, 0, 0, 1], *unit].concat()).collect()
    }

    #[test]
    fn a_picture_has_lengths_and_its_sets_are_known() {
        let sps = hex::decode("6742c00bda0507ec044000000300400000030083c50aa8").unwrap();
        let mut sets = ParameterSets::default();
        let delta = sets.read(&annex_b(&[&[0x41, 1, 2]])).unwrap();
        assert_eq!((delta.key, &delta.data[..]), (false, &[0, 0, 0, 3, 0x41, 1, 2][..]));
        assert!(!sets.read(&annex_b(&[&[0x65, 9]])).unwrap().key, "no decoder could begin with it");
        assert_eq!(sets.read(&annex_b(&[&[9, 0xF0], &sps])), None, "no picture");
        let key = sets.read(&annex_b(&[&[9, 0xF0], &sps, &[0x68, 1], &[0x65, 9]])).unwrap();
        assert!(key.key);
        let track = sets.track().unwrap();
        assert_eq!((track.width, track.height), (320, 240));
        assert_eq!(track.record[..6], [1, 0x42, 0xC0, 0x0B, 0xFF, 0xE1]);
        assert!(track.record.ends_with(&[1, 0, 2, 0x68, 1]));
    }

    proptest! {
        #[test]
        fn units_are_those_that_were_put_together(
            units in prop::collection::vec(prop::collection::vec(1_u8..=255, 1..20), 1..8),
            short in any::<bool>(),
        ) {
            let code: &[u8] = if short { &[0, 0, 1] } else { &[0, 0, 0, 1] };
            let stream: Vec<u8> = units.iter().flat_map(|unit| [code, unit].concat()).collect();
            let found: Vec<Vec<u8>> = super::units(&stream).map(<[u8]>::to_vec).collect();
            prop_assert_eq!(found, units);
        }

        #[test]
        fn no_bytes_make_it_panic(data in prop::collection::vec(0_u8..10, 0..200)) {
            let mut sets = ParameterSets::default();
            let _ = (sets.read(&data), sets.track());
        }
    }
}
