//! The parameter sets that a stream sent last.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};

use super::kinds;
use super::sps::Sps;
use crate::codec::nal::bits::{BitReader, unescape};
use crate::codec::nal::{ParameterError, check_length};

/// Baseline, main and extended: their configuration record ends with the PPS (ISO/IEC 14496-15, section 5.3.3.1.2).
const WITHOUT_EXTENSION: [u8; 3] = [66, 77, 88];

#[derive(Default)]
pub(crate) struct ParameterSets {
    sps: BTreeMap<u8, (Bytes, Sps)>,
    pps: BTreeMap<u8, (Bytes, u8)>,
}

impl ParameterSets {
    /// Takes over an SPS or PPS. True when it differs from the one of that number before.
    pub(crate) fn update(&mut self, unit: &Bytes) -> Result<bool, ParameterError> {
        check_length(unit)?;
        // Copies: the unit shares the memory of a whole packet.
        let copy = || Bytes::copy_from_slice(unit);
        if kinds::of(unit) == kinds::SPS {
            let sps = Sps::parse(unit)?;
            let same = self.sps.get(&sps.id).is_some_and(|(old, _)| old == unit);
            if !same {
                self.sps.insert(sps.id, (copy(), sps));
            }
            return Ok(!same);
        }
        let (id, sps_id) = pps_ids(unit).ok_or(ParameterError::Pps { length: unit.len() })?;
        let same = self.pps.get(&id).is_some_and(|(old, _)| old == unit);
        if !same {
            self.pps.insert(id, (copy(), sps_id));
        }
        Ok(!same)
    }

    /// The SPS that a slice with this PPS refers to.
    pub(crate) fn sps_of(&self, pps_id: u32) -> Option<&Sps> {
        let (_, sps_id) = self.pps.get(&u8::try_from(pps_id).ok()?)?;
        self.sps.get(sps_id).map(|(_, sps)| sps)
    }

    /// The AVCDecoderConfigurationRecord (ISO/IEC 14496-15, section 5.3.3.1) of an SPS and every PPS that refers to it.
    pub(crate) fn configuration_record(&self, sps_id: u8) -> Option<Bytes> {
        let (sps, fields) = self.sps.get(&sps_id)?;
        let pps = || self.pps.values().filter(|(_, of)| *of == sps_id).map(|(unit, _)| unit).take(255);
        let mut record = BytesMut::new();
        // Version; profile, constraints and level as the SPS has them; lengths of four bytes; one SPS.
        record.put_u8(1);
        record.put_slice(sps.get(1..4)?);
        record.put_slice(&[0xff, 0xe1]);
        put_set(&mut record, sps);
        record.put_u8(u8::try_from(pps().count()).unwrap_or(u8::MAX));
        for unit in pps() {
            put_set(&mut record, unit);
        }
        // Every other profile has chroma format and bit depths behind its PPS, with the reserved bits in front of each set,
        // and no SPS extension: those of type 13 stay with their pictures.
        if !WITHOUT_EXTENSION.contains(&fields.format.profile_idc) {
            record.put_u8(0xfc | fields.chroma_format_idc);
            record.put_u8(0xf8 | fields.bit_depth_luma_minus8);
            record.put_u8(0xf8 | fields.bit_depth_chroma_minus8);
            record.put_u8(0);
        }
        Some(record.freeze())
    }
}

/// At most 4 KiB.
fn put_set(record: &mut BytesMut, unit: &[u8]) {
    record.put_u16(u16::try_from(unit.len()).unwrap_or(u16::MAX));
    record.put_slice(unit);
}

fn pps_ids(unit: &[u8]) -> Option<(u8, u8)> {
    let payload = unescape(unit.get(1..)?, 16);
    let mut reader = BitReader::new(&payload);
    let id = u8::try_from(reader.ue().ok()?).ok()?;
    let sps_id = reader.ue().ok().filter(|id| *id < 32)?;
    Some((id, sps_id as u8))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::nal::bits::Writer;
    use proptest::prelude::*;

    #[test]
    fn a_pps_names_itself_and_its_sps() {
        // 1 011 …: PPS 0 of SPS 2; 010 1: PPS 1 of SPS 0
        assert_eq!(pps_ids(&[0x68, 0b1011_0000]), Some((0, 2)));
        assert_eq!(pps_ids(&[0x68, 0b0101_0000]), Some((1, 0)));
        assert_eq!(pps_ids(&[0x68]), None);
    }

    #[test]
    fn what_is_too_long_or_unreadable_is_refused() {
        let mut sets = ParameterSets::default();
        let long = Bytes::from(vec![0x68; 5000]);
        assert_eq!(sets.update(&long), Err(ParameterError::TooLong { length: 5000 }));
        assert_eq!(sets.update(&Bytes::from_static(&[0x68, 0])), Err(ParameterError::Pps { length: 2 }));
        assert!(matches!(sets.update(&Bytes::from_static(&[0x67, 0])), Err(ParameterError::Sps(_))));
        assert_eq!(sets.update(&Bytes::from_static(&[0x68, 0xc0])), Ok(true));
        assert_eq!(sets.update(&Bytes::from_static(&[0x68, 0xc0])), Ok(false));
        assert_eq!(sets.update(&Bytes::from_static(&[0x68, 0xc1])), Ok(true));
        assert!(sets.sps_of(0).is_none() && sets.sps_of(300).is_none());
    }

    fn record(profile: u8, sps: Writer, pps: u8) -> Bytes {
        let sps = [vec![0x67, profile, 0, 40], sps.finish()].concat();
        let mut sets = ParameterSets::default();
        assert_eq!(sets.update(&Bytes::from(sps)), Ok(true));
        for id in 0..u32::from(pps) {
            // PPS `id` of SPS 0, and one of an SPS that is not here.
            let of = |sps: u32| [vec![0x68], Writer::default().ue(2 * id + sps).ue(sps).finish()].concat();
            assert_eq!(sets.update(&Bytes::from(of(0))), Ok(true));
            assert_eq!(sets.update(&Bytes::from(of(1))), Ok(true));
        }
        sets.configuration_record(0).unwrap()
    }

    #[test]
    fn the_record_of_a_high_profile_says_chroma_and_bit_depths() {
        // SPS 0 of 320 × 180 or so: frame_num, POC type 2, one reference, size, frames only, nothing cropped, no VUI.
        let rest = |writer: Writer| {
            writer.ue(0).ue(2).ue(1).bits(0, 1).ue(19).ue(11).bits(1, 1).bits(1, 1).bits(0, 1).bits(0, 1)
        };
        let plain = || rest(Writer::default().ue(0));
        let high = |chroma: u32, luma: u32, depth: u32| {
            let writer = Writer::default().ue(0).ue(chroma);
            let writer = if chroma == 3 { writer.bits(0, 1) } else { writer };
            rest(writer.ue(luma).ue(depth).bits(0, 1).bits(0, 1))
        };
        for profile in [66, 77, 88] {
            let record = record(profile, plain(), 2);
            assert_eq!(record[..6], [1, profile, 0, 40, 0xff, 0xe1]);
            // Behind the second PPS, of two bytes, nothing.
            assert_eq!(record[record.len() - 9..], [2, 0, 2, 0x68, 0xe0, 0, 2, 0x68, 0x78]);
        }
        for (profile, chroma, luma, depth) in [(100, 1, 0, 0), (110, 1, 2, 2), (122, 2, 2, 1), (244, 3, 6, 6)]
        {
            let record = record(profile, high(chroma, luma, depth), 1);
            let [head @ .., a, b, c, d] = &record[..] else { panic!("{record:?}") };
            assert_eq!(
                [*a, *b, *c, *d],
                [0xfc | chroma as u8, 0xf8 | luma as u8, 0xf8 | depth as u8, 0],
                "profile {profile}"
            );
            assert_eq!(head[head.len() - 5..], [1, 0, 2, 0x68, 0xe0]);
        }
    }

    proptest! {
        #[test]
        fn never_panics(units in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 0..10)) {
            let mut sets = ParameterSets::default();
            for unit in units {
                let _ = sets.update(&Bytes::from(unit));
            }
        }
    }
}
