//! What is needed of a sequence parameter set (ITU-T H.264 section 7.3.2.1.1).

use crate::codec::format::VideoFormat;
use crate::codec::nal::SpsError;
use crate::codec::nal::bits::{BitReader, EndOfData, unescape};
use crate::codec::name::VideoCodec;

/// A parsed sequence parameter set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sps {
    /// `seq_parameter_set_id`, 0–31.
    pub id: u8,
    /// What the pictures look like.
    pub format: VideoFormat,
    /// `chroma_format_idc`: 0 monochrome, 1 4:2:0, 2 4:2:2, 3 4:4:4. Profiles without this field are 4:2:0.
    pub chroma_format_idc: u8,
    /// `bit_depth_luma_minus8`, 0–6.
    pub bit_depth_luma_minus8: u8,
    /// `bit_depth_chroma_minus8`, 0–6.
    pub bit_depth_chroma_minus8: u8,
    /// Bits of `frame_num` in a slice header.
    pub frame_num_bits: u32,
    /// `separate_colour_plane_flag`: slice headers have two bits more.
    pub separate_colour_planes: bool,
    /// `gaps_in_frame_num_value_allowed_flag`: a jump of `frame_num` is not a loss then.
    pub frame_num_gaps_allowed: bool,
}

/// Profiles with chroma format, bit depth and scaling lists.
const HIGH_PROFILES: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];
/// More than the 16,888 × 16,888 that level 6.2 can reach is nonsense.
const MAX_MACROBLOCKS: u32 = 1056;

impl Sps {
    /// Parses a NAL unit of type 7, its header byte included.
    pub fn parse(nal: &[u8]) -> Result<Self, SpsError> {
        let cut_off = SpsError::CutOff { length: nal.len() };
        let [_, profile_idc, constraint_flags, level_idc, rest @ ..] = nal else { return Err(cut_off) };
        let payload = unescape(rest, 1024);
        let mut reader = BitReader::new(&payload);
        Self::fields(&mut reader, *profile_idc, *constraint_flags, *level_idc)
            .map_err(|EndOfData| cut_off)
            .flatten()
    }

    fn fields(
        reader: &mut BitReader<'_>,
        profile_idc: u8,
        constraint_flags: u8,
        level_idc: u8,
    ) -> Result<Result<Self, SpsError>, EndOfData> {
        macro_rules! at_most {
            ($field:literal, $limit:expr, $value:expr) => {{
                let value = $value;
                if i64::from(value) > i64::from($limit) {
                    return Ok(Err(SpsError::Field { field: $field, value: i64::from(value) }));
                }
                value
            }};
        }
        let id = at_most!("seq_parameter_set_id", 31, reader.ue()?) as u8;
        let mut chroma_format = 1;
        let (mut depth_luma, mut depth_chroma) = (0, 0);
        let mut separate_colour_planes = false;
        if HIGH_PROFILES.contains(&profile_idc) {
            chroma_format = at_most!("chroma_format_idc", 3, reader.ue()?);
            if chroma_format == 3 {
                separate_colour_planes = reader.flag()?;
            }
            depth_luma = at_most!("bit_depth_luma_minus8", 6, reader.ue()?);
            depth_chroma = at_most!("bit_depth_chroma_minus8", 6, reader.ue()?);
            let _qpprime_y_zero_transform_bypass = reader.flag()?;
            if reader.flag()? {
                for list in 0..if chroma_format == 3 { 12 } else { 8 } {
                    if reader.flag()? {
                        skip_scaling_list(reader, if list < 6 { 16 } else { 64 })?;
                    }
                }
            }
        }
        let frame_num_bits = at_most!("log2_max_frame_num_minus4", 12, reader.ue()?) + 4;
        match at_most!("pic_order_cnt_type", 2, reader.ue()?) {
            0 => {
                at_most!("log2_max_pic_order_cnt_lsb_minus4", 12, reader.ue()?);
            }
            1 => {
                let _delta_pic_order_always_zero = reader.flag()?;
                let _offset_for_non_ref_pic = reader.se()?;
                let _offset_for_top_to_bottom_field = reader.se()?;
                let cycle = at_most!("num_ref_frames_in_pic_order_cnt_cycle", 255, reader.ue()?);
                for _ in 0..cycle {
                    reader.se()?;
                }
            }
            _ => {}
        }
        at_most!("max_num_ref_frames", 16, reader.ue()?);
        let frame_num_gaps_allowed = reader.flag()?;
        let columns = at_most!("pic_width_in_mbs_minus1", MAX_MACROBLOCKS - 1, reader.ue()?) + 1;
        let map_rows = at_most!("pic_height_in_map_units_minus1", MAX_MACROBLOCKS - 1, reader.ue()?) + 1;
        let frame_mbs_only = reader.flag()?;
        if !frame_mbs_only {
            let _mb_adaptive_frame_field = reader.flag()?;
        }
        let _direct_8x8_inference = reader.flag()?;
        let rows = if frame_mbs_only { map_rows } else { map_rows * 2 };
        let (mut width, mut height) = (columns * 16, rows * 16);
        if reader.flag()? {
            let chroma_array_type = if separate_colour_planes { 0 } else { chroma_format };
            let unit_x = if matches!(chroma_array_type, 1 | 2) { 2 } else { 1 };
            let unit_y = if chroma_array_type == 1 { 2 } else { 1 } * if frame_mbs_only { 1 } else { 2 };
            let (left, right, top, bottom) = (reader.ue()?, reader.ue()?, reader.ue()?, reader.ue()?);
            let cut = |size: u32, unit: u64, one: u32, other: u32| {
                let cut = (u64::from(one) + u64::from(other)) * unit;
                u64::from(size).checked_sub(cut).filter(|left| *left > 0).map(|left| left as u32)
            };
            let (Some(w), Some(h)) = (cut(width, unit_x, left, right), cut(height, unit_y, top, bottom))
            else {
                let value = i64::from(left.max(right).max(top).max(bottom));
                return Ok(Err(SpsError::Field { field: "frame_crop_offset", value }));
            };
            (width, height) = (w, h);
        }
        Ok(Ok(Self {
            id,
            format: VideoFormat {
                codec: VideoCodec::H264,
                profile_idc,
                constraint_flags,
                level_idc,
                width,
                height,
            },
            // At most 3, 6 and 6.
            chroma_format_idc: chroma_format as u8,
            bit_depth_luma_minus8: depth_luma as u8,
            bit_depth_chroma_minus8: depth_chroma as u8,
            frame_num_bits,
            separate_colour_planes,
            frame_num_gaps_allowed,
        }))
    }
}

/// Section 7.3.2.1.1.1; the values do not matter here.
fn skip_scaling_list(reader: &mut BitReader<'_>, size: usize) -> Result<(), EndOfData> {
    let (mut last, mut next) = (8, 8);
    for _ in 0..size {
        if next != 0 {
            next = (last + reader.se()?.rem_euclid(256)).rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::nal::bits::Writer;
    use proptest::prelude::*;

    trait Nal {
        fn nal(self, profile: u8, constraints: u8, level: u8) -> Vec<u8>;
    }

    impl Nal for Writer {
        fn nal(self, profile: u8, constraints: u8, level: u8) -> Vec<u8> {
            [vec![0x67, profile, constraints, level], self.finish()].concat()
        }
    }

    fn hex(text: &str) -> Vec<u8> {
        text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
    }

    fn size(nal: &[u8]) -> (u32, u32) {
        let format = Sps::parse(nal).unwrap().format;
        (format.width, format.height)
    }

    #[test]
    fn x264_1080p_high_is_cropped() {
        let nal = hex("67 64 00 28 ac d9 40 78 02 27 e5 c0 44 00 00 03 00 04 00 00 03 00 f0 3c 60 c6 58");
        let sps = Sps::parse(&nal).unwrap();
        let expected = VideoFormat {
            codec: VideoCodec::H264,
            profile_idc: 100,
            constraint_flags: 0,
            level_idc: 40,
            width: 1920,
            height: 1080,
        };
        assert_eq!((sps.id, sps.format), (0, expected));
        assert_eq!(
            (sps.chroma_format_idc, sps.bit_depth_luma_minus8, sps.bit_depth_chroma_minus8),
            (1, 0, 0)
        );
    }

    #[test]
    fn constrained_baseline_720p() {
        let nal = Writer::default()
            .ue(0) // id
            .ue(0) // frame_num
            .ue(2) // POC type
            .ue(1) // references
            .bits(0, 1)
            .ue(79)
            .ue(44)
            .bits(1, 1)
            .bits(1, 1)
            .bits(0, 1)
            .bits(0, 1)
            .nal(66, 0xc0, 32);
        let sps = Sps::parse(&nal).unwrap();
        assert_eq!(
            (sps.chroma_format_idc, sps.bit_depth_luma_minus8, sps.bit_depth_chroma_minus8),
            (1, 0, 0)
        );
        let format = sps.format;
        let expected = VideoFormat {
            codec: VideoCodec::H264,
            profile_idc: 66,
            constraint_flags: 0xc0,
            level_idc: 32,
            width: 1280,
            height: 720,
        };
        assert_eq!(format, expected);
    }

    #[test]
    fn high_profile_with_scaling_lists_interlaced_and_4_2_2() {
        let mut writer = Writer::default().ue(3).ue(2).ue(1).ue(2).bits(0, 1).bits(1, 1);
        for list in 0..8 {
            writer = writer.bits(1, 1);
            if list < 6 {
                // A list that stops at its first value: delta -8 makes the next scale 0.
                writer = writer.ue(16);
            } else {
                for _ in 0..64 {
                    writer = writer.ue(1);
                }
            }
        }
        let nal = writer
            .ue(4)
            .ue(1) // POC type 1
            .bits(1, 1)
            .ue(0)
            .ue(0)
            .ue(2)
            .ue(5)
            .ue(6)
            .ue(4)
            .bits(1, 1)
            .ue(119)
            .ue(33)
            .bits(0, 1) // fields
            .bits(1, 1)
            .bits(1, 1)
            .bits(1, 1) // crop: 4:2:2 halves x only, fields double y
            .ue(0)
            .ue(1)
            .ue(0)
            .ue(4)
            .bits(0, 1)
            .nal(122, 0, 41);
        let sps = Sps::parse(&nal).unwrap();
        assert_eq!((sps.id, sps.frame_num_bits, sps.frame_num_gaps_allowed), (3, 8, true));
        assert_eq!((sps.format.width, sps.format.height), (1918, 1080));
        assert_eq!(
            (sps.chroma_format_idc, sps.bit_depth_luma_minus8, sps.bit_depth_chroma_minus8),
            (2, 1, 2)
        );
    }

    #[test]
    fn emulation_prevention_inside_is_understood() {
        // Three zero bytes in the level and the fields behind it cannot stand bare in a NAL unit.
        let plain = Writer::default().ue(0).ue(0).ue(2).ue(1).bits(0, 1).ue(255).ue(255);
        let nal = plain.bits(1, 1).bits(1, 1).bits(0, 1).bits(0, 1).nal(66, 0, 51);
        let at = nal.windows(2).position(|pair| pair == [0, 0]);
        let escaped = match at {
            Some(at) => [&nal[..at + 2], &[3], &nal[at + 2..]].concat(),
            None => nal.clone(),
        };
        assert_eq!(size(&escaped), (4096, 4096));
    }

    #[test]
    fn nonsense_is_named() {
        assert_eq!(Sps::parse(&[0x67, 66]), Err(SpsError::CutOff { length: 2 }));
        assert_eq!(Sps::parse(&[0x67, 66, 0, 30]), Err(SpsError::CutOff { length: 4 }));
        let id = Writer::default().ue(32).nal(66, 0, 30);
        assert_eq!(Sps::parse(&id).unwrap_err().to_string(), "SPS field seq_parameter_set_id is 32");
        let wide = Writer::default().ue(0).ue(0).ue(2).ue(1).bits(0, 1).ue(5000).ue(1).nal(66, 0, 30);
        assert_eq!(Sps::parse(&wide).unwrap_err().to_string(), "SPS field pic_width_in_mbs_minus1 is 5000");
        let cropped = Writer::default().ue(0).ue(0).ue(2).ue(1).bits(0, 1).ue(0).ue(0).bits(0b111, 3);
        let cropped = cropped.ue(8).ue(0).ue(0).ue(0).nal(66, 0, 30);
        assert!(matches!(Sps::parse(&cropped), Err(SpsError::Field { field: "frame_crop_offset", .. })));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..96), profile in prop::sample::select(vec![66u8, 77, 100, 244])) {
            let _ = Sps::parse(&bytes);
            let nal = [&[0x67, profile, 0, 31][..], &bytes].concat();
            if let Ok(sps) = Sps::parse(&nal) {
                prop_assert!(sps.format.width > 0 && sps.format.height > 0);
                prop_assert!(sps.format.width <= 16 * 1056 && sps.format.height <= 32 * 1056);
            }
        }
    }
}
