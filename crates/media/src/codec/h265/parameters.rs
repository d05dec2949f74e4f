//! The parameter sets that a stream sent last.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};

use super::kinds;
use super::sps::H265Sps;
use crate::codec::format::VideoParameters;
use crate::codec::nal::bits::{BitReader, unescape};
use crate::codec::nal::{ParameterError, check_length};

#[derive(Default)]
pub(super) struct ParameterSets {
    vps: BTreeMap<u8, Bytes>,
    sps: BTreeMap<u8, (Bytes, H265Sps)>,
    /// With the number of their SPS.
    pps: BTreeMap<u8, (Bytes, u8)>,
}

impl ParameterSets {
    /// Takes over a VPS, SPS or PPS. True when it differs from the one of that number before.
    pub(super) fn update(&mut self, unit: &Bytes) -> Result<bool, ParameterError> {
        check_length(unit)?;
        let length = unit.len();
        match kinds::of(unit) {
            kinds::VPS => {
                let id = unit.get(2).map(|byte| byte >> 4).ok_or(ParameterError::Vps { length })?;
                Ok(replace(&mut self.vps, id, unit, |copy| copy, |old| old))
            }
            kinds::SPS => {
                let sps = H265Sps::parse(unit)?;
                Ok(replace(&mut self.sps, sps.id, unit, |copy| (copy, sps), |(old, _)| old))
            }
            _ => {
                let (id, sps_id) = pps_ids(unit).ok_or(ParameterError::Pps { length })?;
                Ok(replace(&mut self.pps, id, unit, |copy| (copy, sps_id), |(old, _)| old))
            }
        }
    }

    /// What a slice with this PPS needs; `None`: a set of it never came.
    pub(super) fn of(&self, pps_id: u32) -> Option<VideoParameters> {
        let (pps, sps_id) = self.pps.get(&u8::try_from(pps_id).ok()?)?;
        let (sps, fields) = self.sps.get(sps_id)?;
        let vps = self.vps.get(&fields.vps_id)?;
        // The picture's own first: other slices of it, and pictures behind it, may refer to any of the sequence.
        let others = self.pps.values().filter(|(unit, of)| of == sps_id && unit != pps);
        let all_pps = std::iter::once(pps).chain(others.map(|(unit, _)| unit)).collect::<Vec<_>>();
        let configuration_record = record(fields, vps, sps, &all_pps);
        Some(VideoParameters { format: fields.format, configuration_record })
    }
}

/// Puts a copy of `unit`, which shares the memory of a whole packet, in the place of the one of its number, if it is another.
fn replace<T>(
    sets: &mut BTreeMap<u8, T>,
    id: u8,
    unit: &Bytes,
    make: impl FnOnce(Bytes) -> T,
    bytes: impl FnOnce(&T) -> &Bytes,
) -> bool {
    let is_new = sets.get(&id).map(bytes) != Some(unit);
    if is_new {
        sets.insert(id, make(Bytes::copy_from_slice(unit)));
    }
    is_new
}

/// An HEVCDecoderConfigurationRecord (ISO/IEC 14496-15, section 8.3.3.1.2).
fn record(fields: &H265Sps, vps: &Bytes, sps: &Bytes, pps: &[&Bytes]) -> Bytes {
    let mut record = BytesMut::with_capacity(64 + vps.len() + sps.len() + 64);
    record.put_u8(1);
    record.put_slice(&fields.profile_tier_level);
    // min_spatial_segmentation_idc and parallelismType: nothing is said.
    record.put_slice(&[0xf0, 0x00, 0xfc]);
    record.put_u8(0xfc | fields.chroma_format_idc);
    record.put_u8(0xf8 | fields.bit_depth_luma_minus8);
    record.put_u8(0xf8 | fields.bit_depth_chroma_minus8);
    // avgFrameRate: not said. constantFrameRate: not said. Lengths of four bytes.
    record.put_u16(0);
    record.put_u8(fields.temporal_layers << 3 | u8::from(fields.temporal_id_nesting) << 2 | 3);
    record.put_u8(3);
    for (kind, units) in [(kinds::VPS, &[vps][..]), (kinds::SPS, &[sps]), (kinds::PPS, pps)] {
        // Complete: there are none beside them in the pictures (`hvc1`).
        record.put_u8(0x80 | kind);
        // At most 64 of at most 4 KiB.
        record.put_u16(units.len() as u16);
        for unit in units {
            record.put_u16(unit.len() as u16);
            record.put_slice(unit);
        }
    }
    record.freeze()
}

/// Section 7.3.2.3.1.
fn pps_ids(unit: &[u8]) -> Option<(u8, u8)> {
    let payload = unescape(unit.get(2..)?, 16);
    let mut reader = BitReader::new(&payload);
    let id = reader.ue().ok().filter(|id| *id < 64)?;
    let sps_id = reader.ue().ok().filter(|id| *id < 16)?;
    Some((id as u8, sps_id as u8))
}

#[cfg(test)]
mod tests {
    use super::super::sps::tests::sps;
    use super::*;
    use crate::codec::nal::bits::Writer;
    use proptest::prelude::*;

    fn pps(id: u32, sps: u32) -> Bytes {
        [vec![0x44, 1], Writer::default().ue(id).ue(sps).finish()].concat().into()
    }

    const VPS: &[u8] = &[0x40, 1, 0x0c, 1, 0xff];

    #[test]
    fn a_picture_has_parameters_when_its_three_sets_came() {
        let mut sets = ParameterSets::default();
        let sps = Bytes::from(sps(640, 360));
        assert_eq!(sets.update(&pps(1, 0)), Ok(true));
        assert_eq!(sets.update(&sps), Ok(true));
        assert_eq!(sets.of(1), None, "no VPS");
        assert_eq!(sets.update(&Bytes::from_static(VPS)), Ok(true));
        assert_eq!(sets.of(0), None, "no such PPS");
        let parameters = sets.of(1).unwrap();
        assert_eq!((parameters.format.width, parameters.format.codec), (640, crate::VideoCodec::H265));
        let record = &parameters.configuration_record;
        assert_eq!(
            record[..23],
            [1, 1, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 93, 0xf0, 0, 0xfc, 0xfd, 0xf8, 0xf8, 0, 0, 0x0f, 3]
        );
        let arrays: Vec<u8> = [(0xa0, VPS), (0xa1, &sps[..]), (0xa2, &pps(1, 0)[..])]
            .into_iter()
            .flat_map(|(kind, unit)| [&[kind, 0, 1, 0, unit.len() as u8][..], unit].concat())
            .collect();
        assert_eq!(record[23..], arrays);
        assert_eq!((sets.update(&sps), sets.update(&pps(1, 0))), (Ok(false), Ok(false)));
        assert_eq!(sets.update(&pps(2, 0)), Ok(true));
        assert_eq!(sets.of(1).unwrap().configuration_record[..23], record[..23]);
        assert_ne!(sets.of(1), Some(parameters), "a second PPS of the sequence");
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let mut sets = ParameterSets::default();
        let mut update = |unit: &[u8]| sets.update(&Bytes::copy_from_slice(unit));
        assert_eq!(update(&[0x40, 1]), Err(ParameterError::Vps { length: 2 }));
        assert_eq!(update(&[0x44, 1]), Err(ParameterError::Pps { length: 2 }));
        assert!(matches!(update(&[0x42, 1, 0]), Err(ParameterError::Sps(_))));
        assert_eq!(update(&[0x44; 5000]), Err(ParameterError::TooLong { length: 5000 }));
        assert_eq!(update(&pps(64, 0)), Err(ParameterError::Pps { length: 4 }));
    }

    proptest! {
        #[test]
        fn never_panics(units in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 0..10), id in 0u32..300) {
            let mut sets = ParameterSets::default();
            for unit in units {
                let _ = sets.update(&Bytes::from(unit));
            }
            let _ = sets.of(id);
        }
    }
}
