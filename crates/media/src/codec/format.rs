//! What a decoder must know before the first picture.

use bytes::Bytes;

use super::name::VideoCodec;

/// What the pictures of a video track are like; a change of it is a change of format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VideoFormat {
    /// Whose profile and level follow.
    pub codec: VideoCodec,
    /// H.264: 66 baseline, 77 main, 100 high … H.265: `general_profile_idc`, 1 main, 2 main 10 …
    pub profile_idc: u8,
    /// H.264: `constraint_set0_flag` in the highest bit; 0xe0 with profile 66 is constrained baseline. H.265: the first of the
    /// flags behind the compatibility flags, `general_progressive_source_flag` in the highest bit.
    pub constraint_flags: u8,
    /// H.264: ten times the level; 31 is level 3.1. H.265: thirty times, 93.
    pub level_idc: u8,
    /// Pixels, after cropping.
    pub width: u32,
    /// Pixels, after cropping.
    pub height: u32,
}

/// A format, and what configures a decoder for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoParameters {
    /// Read from the parameter sets.
    pub format: VideoFormat,
    /// The parameter sets, as a file of ISO/IEC 14496-15 has them. H.264: an AVCDecoderConfigurationRecord (section
    /// 5.3.3.1). H.265: an HEVCDecoderConfigurationRecord (section 8.3.3.1).
    pub configuration_record: Bytes,
}
