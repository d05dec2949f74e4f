//! What is needed of a sequence parameter set (ITU-T H.265 section 7.3.2.2.1).

use crate::codec::format::VideoFormat;
use crate::codec::nal::SpsError;
use crate::codec::nal::bits::{BitReader, EndOfData, unescape};
use crate::codec::name::VideoCodec;

/// A parsed sequence parameter set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct H265Sps {
    /// `sps_seq_parameter_set_id`, 0–15.
    pub id: u8,
    /// `sps_video_parameter_set_id`, 0–15.
    pub vps_id: u8,
    /// What the pictures look like.
    pub format: VideoFormat,
    /// General profile, tier and level as they stand: the first 12 bytes of `profile_tier_level`.
    pub profile_tier_level: [u8; 12],
    /// `chroma_format_idc`: 0 monochrome, 1 4:2:0, 2 4:2:2, 3 4:4:4.
    pub chroma_format_idc: u8,
    /// `bit_depth_luma_minus8`, 0–8.
    pub bit_depth_luma_minus8: u8,
    /// `bit_depth_chroma_minus8`, 0–8.
    pub bit_depth_chroma_minus8: u8,
    /// Temporal sub-layers, 1–7.
    pub temporal_layers: u8,
    /// `sps_temporal_id_nesting_flag`.
    pub temporal_id_nesting: bool,
}

/// A side of a picture of level 6.2 is not longer (section A.4.1).
const MAX_SIDE: u32 = 16_888;

impl H265Sps {
    /// Parses a NAL unit of type 33, its header of two bytes included.
    ///
    /// # Errors
    ///
    /// It is cut off, or a field has a value that it cannot have.
    pub fn parse(unit: &[u8]) -> Result<Self, SpsError> {
        let payload = unescape(unit.get(2..).unwrap_or_default(), 1024);
        Self::fields(&payload).map_err(|EndOfData| SpsError::CutOff { length: unit.len() }).flatten()
    }

    fn fields(payload: &[u8]) -> Result<Result<Self, SpsError>, EndOfData> {
        macro_rules! at_most {
            ($field:literal, $limit:expr, $value:expr) => {{
                let value = $value;
                if value > $limit {
                    return Ok(Err(SpsError::Field { field: $field, value: i64::from(value) }));
                }
                value
            }};
        }
        let mut reader = BitReader::new(payload);
        // Four bits, at most 15; the others that are narrowed below are bounded, too.
        let vps_id = reader.bits(4)? as u8;
        let sub_layers = at_most!("sps_max_sub_layers_minus1", 6, reader.bits(3)?);
        let temporal_id_nesting = reader.flag()?;
        let profile_tier_level: [u8; 12] =
            *payload.get(1..).and_then(|rest| rest.first_chunk()).ok_or(EndOfData)?;
        skip_profile_tier_level(&mut reader, sub_layers)?;
        let id = at_most!("sps_seq_parameter_set_id", 15, reader.ue()?) as u8;
        let chroma_format = at_most!("chroma_format_idc", 3, reader.ue()?);
        let separate_colour_planes = chroma_format == 3 && reader.flag()?;
        let width = at_most!("pic_width_in_luma_samples", MAX_SIDE, reader.ue()?);
        let height = at_most!("pic_height_in_luma_samples", MAX_SIDE, reader.ue()?);
        let mut window = [0; 4];
        if reader.flag()? {
            for side in &mut window {
                *side = reader.ue()?;
            }
        }
        let [left, right, top, bottom] = window;
        let sampled = if separate_colour_planes { 0 } else { chroma_format };
        let unit_x = if matches!(sampled, 1 | 2) { 2 } else { 1 };
        let unit_y = if sampled == 1 { 2 } else { 1 };
        let cut = |size: u32, unit: u64, one: u32, other: u32| {
            let left = u64::from(size).checked_sub((u64::from(one) + u64::from(other)) * unit)?;
            u32::try_from(left).ok().filter(|left| *left > 0)
        };
        let (Some(width), Some(height)) = (cut(width, unit_x, left, right), cut(height, unit_y, top, bottom))
        else {
            let value = i64::from(left.max(right).max(top).max(bottom));
            return Ok(Err(SpsError::Field { field: "conf_win_offset", value }));
        };
        let luma = at_most!("bit_depth_luma_minus8", 8, reader.ue()?);
        let chroma = at_most!("bit_depth_chroma_minus8", 8, reader.ue()?);
        let [profile, _, _, _, _, constraint_flags, .., level_idc] = profile_tier_level;
        Ok(Ok(Self {
            id,
            vps_id,
            format: VideoFormat {
                codec: VideoCodec::H265,
                // Behind profile space and tier.
                profile_idc: profile & 0x1f,
                constraint_flags,
                level_idc,
                width,
                height,
            },
            profile_tier_level,
            chroma_format_idc: chroma_format as u8,
            bit_depth_luma_minus8: luma as u8,
            bit_depth_chroma_minus8: chroma as u8,
            temporal_layers: sub_layers as u8 + 1,
            temporal_id_nesting,
        }))
    }
}

/// Section 7.3.3, of so many sub-layers beside the highest.
fn skip_profile_tier_level(reader: &mut BitReader<'_>, sub_layers: u32) -> Result<(), EndOfData> {
    // Profile, tier, level.
    skip(reader, 96)?;
    let mut present = Vec::new();
    for _ in 0..sub_layers {
        present.push((reader.flag()?, reader.flag()?));
    }
    if sub_layers > 0 {
        skip(reader, 2 * (8 - sub_layers))?;
    }
    for (profile, level) in present {
        skip(reader, if profile { 88 } else { 0 } + if level { 8 } else { 0 })?;
    }
    Ok(())
}

fn skip(reader: &mut BitReader<'_>, bits: u32) -> Result<(), EndOfData> {
    (0..bits).try_for_each(|_| reader.flag().map(drop))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::codec::nal::bits::Writer;
    use proptest::prelude::*;

    /// SPS 0 of VPS 0: main profile, level 3.1, one layer, this size in luma samples.
    pub(crate) fn sps(width: u32, height: u32) -> Vec<u8> {
        let ptl = Writer::default().bits(0, 4).bits(0, 3).bits(1, 1).bits(0x01, 8).bits(0x6000_0000, 32);
        let ptl = ptl.bits(0x9000_0000, 32).bits(0, 16).bits(93, 8);
        let rest = ptl.ue(0).ue(1).ue(width).ue(height).bits(0, 1).ue(0).ue(0).ue(4);
        escape(&[&[0x42, 1][..], &rest.finish()].concat())
    }

    /// With the emulation prevention bytes that its zeros need.
    pub(crate) fn escape(unit: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for &byte in unit {
            if byte <= 3 && out.ends_with(&[0, 0]) {
                out.push(3);
            }
            out.push(byte);
        }
        out
    }

    #[test]
    fn x265_720p() {
        // ffmpeg -f lavfi -i testsrc=s=1280x720 -c:v libx265
        let unit = "42 01 01 01 60 00 00 03 00 90 00 00 03 00 00 03 00 5d a0 02 80 80 2d 16 59 59 a4 93 2b c0 5a 70 80 00 00 03 00 80 00 00 19 04";
        let unit: Vec<u8> =
            unit.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        let sps = H265Sps::parse(&unit).unwrap();
        assert_eq!((sps.format.width, sps.format.height), (1280, 720));
        assert_eq!(
            (sps.format.profile_idc, sps.format.level_idc, sps.format.constraint_flags),
            (1, 93, 0x90)
        );
        assert_eq!((sps.id, sps.vps_id, sps.chroma_format_idc, sps.temporal_layers), (0, 0, 1, 1));
        assert_eq!(sps.profile_tier_level, [1, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 93]);
        assert!(sps.temporal_id_nesting);
    }

    #[test]
    fn layers_cropping_depths_and_planes() {
        // Three sub-layers: the first with profile and level, the second with a level.
        let head = Writer::default().bits(5, 4).bits(2, 3).bits(0, 1).bits(0x22, 8).bits(0, 32).bits(0, 32);
        let head = head.bits(0, 16).bits(120, 8).bits(0b1101, 4).bits(0, 12);
        let head = (0..11).fold(head, |head, _| head.bits(0xff, 8)).bits(30, 8).bits(60, 8);
        // 4:2:2 of ten bits, 1920 × 1088, cropped to 1916 × 1080.
        let rest = head.ue(3).ue(2).ue(1920).ue(1088).bits(1, 1).ue(1).ue(1).ue(0).ue(8).ue(2).ue(2);
        let sps = H265Sps::parse(&escape(&[&[0x42, 1][..], &rest.finish()].concat())).unwrap();
        assert_eq!((sps.format.width, sps.format.height), (1916, 1080));
        assert_eq!((sps.id, sps.vps_id, sps.temporal_layers, sps.chroma_format_idc), (3, 5, 3, 2));
        assert_eq!(
            (sps.format.profile_idc, sps.bit_depth_luma_minus8, sps.bit_depth_chroma_minus8),
            (2, 2, 2)
        );
        let rest = Writer::default().bits(1, 8).bits(4, 8).bits(0, 32).bits(0, 32).bits(0, 16).bits(93, 8);
        let rest = rest.ue(0).ue(3).bits(1, 1).ue(100).ue(100).bits(1, 1).ue(1).ue(1).ue(1).ue(1).ue(0).ue(0);
        let sps = H265Sps::parse(&escape(&[&[0x42, 1][..], &rest.finish()].concat())).unwrap();
        assert_eq!(
            (sps.format.width, sps.format.height),
            (98, 98),
            "planes of their own are cropped by samples"
        );
    }

    #[test]
    fn nonsense_is_named() {
        assert_eq!(H265Sps::parse(&[0x42]), Err(SpsError::CutOff { length: 1 }));
        let good = sps(640, 360);
        for length in 0..16 {
            assert_eq!(H265Sps::parse(&good[..length]), Err(SpsError::CutOff { length }));
        }
        let wide = H265Sps::parse(&sps(20_000, 360)).unwrap_err();
        assert_eq!(wide.to_string(), "SPS field pic_width_in_luma_samples is 20000");
        assert!(matches!(
            H265Sps::parse(&sps(0, 360)),
            Err(SpsError::Field { field: "conf_win_offset", .. })
        ));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..96)) {
            let _ = H265Sps::parse(&bytes);
            let unit = [&[0x42, 1, 1][..], &bytes].concat();
            if let Ok(sps) = H265Sps::parse(&unit) {
                prop_assert!((1..=MAX_SIDE).contains(&sps.format.width));
                prop_assert!((1..=MAX_SIDE).contains(&sps.format.height));
            }
        }
    }
}
