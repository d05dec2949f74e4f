//! Width and height of the picture by the SPS, which is right where `PixelWidth` of the header is missing or wrong.

use super::bits::{Bits, without_emulation_prevention};

/// Pixels, `(width, height)`, of an H.264 SPS with its NAL header (ISO/IEC 14496-10 section 7.3.2.1.1).
pub(crate) fn h264_size(nal: &[u8]) -> Option<(u32, u32)> {
    let rbsp = without_emulation_prevention(nal.get(1..)?);
    let mut bits = Bits::new(&rbsp);
    let profile = bits.take(8)?;
    bits.skip(16)?;
    bits.ue()?;
    let mut chroma = 1;
    if [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135].contains(&profile) {
        chroma = bits.ue()?;
        if chroma == 3 && bits.flag()? {
            chroma = 0; // separate_colour_plane_flag: cropped as if there were no chroma
        }
        bits.ue()?;
        bits.ue()?;
        bits.flag()?;
        if bits.flag()? {
            for list in 0..if chroma == 3 { 12 } else { 8 } {
                if bits.flag()? {
                    skip_scaling_list(&mut bits, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    bits.ue()?;
    match bits.ue()? {
        0 => drop(bits.ue()?),
        1 => {
            bits.flag()?;
            bits.se()?;
            bits.se()?;
            for _ in 0..bits.ue()?.min(255) {
                bits.se()?;
            }
        }
        _ => {}
    }
    bits.ue()?;
    bits.flag()?;
    let width = bits.ue()?.checked_add(1)?.checked_mul(16)?;
    let map_units = bits.ue()?.checked_add(1)?.checked_mul(16)?;
    let fields = if bits.flag()? { 1 } else { 2 };
    if fields == 2 {
        bits.flag()?;
    }
    let height = map_units.checked_mul(fields)?;
    bits.flag()?;
    let (unit_x, unit_y) = match chroma {
        1 => (2, 2 * fields),
        2 => (2, fields),
        _ => (1, fields),
    };
    cropped(&mut bits, (width, height), (unit_x, unit_y))
}

fn skip_scaling_list(bits: &mut Bits<'_>, size: u32) -> Option<()> {
    let (mut last, mut next) = (8_i32, 8_i32);
    for _ in 0..size {
        if next != 0 {
            next = (last.checked_add(bits.se()?)?).rem_euclid(256);
        }
        last = if next == 0 { last } else { next };
    }
    Some(())
}

/// Applies the cropping that follows in the SPS, if any.
fn cropped(
    bits: &mut Bits<'_>,
    (width, height): (u32, u32),
    (unit_x, unit_y): (u32, u32),
) -> Option<(u32, u32)> {
    let (mut width, mut height) = (width, height);
    if bits.flag()? {
        let [left, right, top, bottom] = [bits.ue()?, bits.ue()?, bits.ue()?, bits.ue()?];
        width = width.checked_sub(left.checked_add(right)?.checked_mul(unit_x)?)?;
        height = height.checked_sub(top.checked_add(bottom)?.checked_mul(unit_y)?)?;
    }
    // 16 bits in MP4, and the sizes of the levels are far below
    (1..=16_384).contains(&width).then_some(())?;
    (1..=16_384).contains(&height).then_some((width, height))
}

/// Pixels of an H.265 SPS with its NAL header (ITU-T H.265 section 7.3.2.2).
pub(super) fn h265_size(nal: &[u8]) -> Option<(u32, u32)> {
    let rbsp = without_emulation_prevention(nal.get(2..)?);
    let mut bits = Bits::new(&rbsp);
    bits.skip(4)?;
    let sub_layers = bits.take(3)?;
    bits.skip(1)?;
    // profile_tier_level: general part, then a pair of flags and the parts that they announce for each sub-layer
    bits.skip(88 + 8)?;
    let announced: Vec<(bool, bool)> =
        (0..sub_layers).map(|_| Some((bits.flag()?, bits.flag()?))).collect::<Option<_>>()?;
    if sub_layers > 0 {
        bits.skip(2 * (8 - sub_layers as usize))?;
    }
    for (profile, level) in announced {
        bits.skip(if profile { 88 } else { 0 } + if level { 8 } else { 0 })?;
    }
    bits.ue()?;
    let mut chroma = bits.ue()?;
    if chroma == 3 && bits.flag()? {
        chroma = 0;
    }
    let size = (bits.ue()?, bits.ue()?);
    let units = match chroma {
        1 => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    };
    cropped(&mut bits, size, units)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What x264 and x265 write.
    #[test]
    fn sizes_are_those_that_were_encoded() {
        for (sps, size) in [
            ("6742c00bda0507ec044000000300400000030083c50aa8", (320, 240)),
            ("6742c028da01e0089f97011000000300100000030020f1832a", (1920, 1080)),
            ("6742c015da06c7f93c044000000300400000030083c58ba8", (426, 240)),
            // fields
            ("67640015acd941410fcb808800000300080000030010f8a14cb0", (320, 240)),
            // 4:4:4
            ("67f4000c919b282a10f1f1f80880000003008000000301078a14cb", (322, 242)),
        ] {
            assert_eq!(h264_size(&hex::decode(sps).unwrap()), Some(size), "{sps}");
        }
        for (sps, size) in [
            (
                "42010101600000030090000003000003003ca00a080f16595952930bc05a020000030002000003000210",
                (320, 240),
            ),
            (
                "420101016000000300900000030000030078a003c0801107cb965654a4c2f016808000000300800000030084",
                (1920, 1080),
            ),
            (
                "42010101600000030090000003000003003ca00d880f1c9e595952930bc05a020000030002000003000210",
                (426, 240),
            ),
        ] {
            assert_eq!(h265_size(&hex::decode(sps).unwrap()), Some(size), "{sps}");
        }
    }

    proptest! {
        #[test]
        fn no_sps_makes_it_panic(data in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = (h264_size(&data), h265_size(&data));
        }
    }
}
