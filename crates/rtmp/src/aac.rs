//! AAC-LC: its configuration, and frames in which nothing sounds.

use std::time::Duration;

/// Rates by `samplingFrequencyIndex` (ISO/IEC 14496-3, table 1.18).
const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
/// `audioObjectType` of AAC-LC.
const LOW_COMPLEXITY: u8 = 2;
/// Samples in a frame.
const FRAME: u64 = 1024;

/// Why an AudioSpecificConfig is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AacError {
    /// Shorter than its two bytes.
    #[error("the AudioSpecificConfig of {0} bytes is cut off")]
    CutOff(usize),
    /// HE-AAC, or none of AAC.
    #[error("the audio object type is {0}, and only 2 (AAC-LC) is sent")]
    ObjectType(u8),
    /// A reserved index, or a rate in words.
    #[error("the sampling frequency index {0} stands for no rate")]
    Rate(u8),
    /// More than two channels, or a configuration in words.
    #[error("the channel configuration is {0}, and only 1 and 2 are sent")]
    Channels(u8),
}

/// An AudioSpecificConfig of AAC-LC (ISO/IEC 14496-3, section 1.6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AacConfig {
    rate_index: u8,
    channels: u8,
}

impl AacConfig {
    /// What the agent's encoder makes of mono: 48 kHz.
    pub const MONO: Self = Self { rate_index: 3, channels: 1 };

    /// Reads the `codec_data` of `audio/mpeg`.
    ///
    /// # Errors
    ///
    /// [`AacError`]: of another object type than AAC-LC, another number of channels than one or two, or cut off.
    pub fn parse(config: &[u8]) -> Result<Self, AacError> {
        let [first, second, ..] = *config else { return Err(AacError::CutOff(config.len())) };
        let object = first >> 3;
        if object != LOW_COMPLEXITY {
            return Err(AacError::ObjectType(object));
        }
        let rate_index = (first & 7) << 1 | second >> 7;
        if usize::from(rate_index) >= RATES.len() {
            return Err(AacError::Rate(rate_index));
        }
        let channels = second >> 3 & 0xf;
        if !matches!(channels, 1 | 2) {
            return Err(AacError::Channels(channels));
        }
        Ok(Self { rate_index, channels })
    }

    /// Samples per second.
    #[must_use]
    pub fn rate(self) -> u32 {
        RATES.get(usize::from(self.rate_index)).copied().unwrap_or(48_000)
    }

    /// One or two.
    #[must_use]
    pub fn channels(self) -> u8 {
        self.channels
    }

    /// Its two bytes.
    pub(crate) fn bytes(self) -> [u8; 2] {
        [LOW_COMPLEXITY << 3 | self.rate_index >> 1, self.rate_index << 7 | self.channels << 3]
    }

    /// How long a frame sounds: 21.3 ms at 48 kHz.
    #[must_use]
    pub fn frame(self) -> Duration {
        Duration::from_nanos(FRAME * 1_000_000_000 / u64::from(self.rate()))
    }

    /// A frame in which nothing sounds, at every rate: no band of it has a coefficient (`max_sfb` is 0).
    pub(crate) fn silent_frame(self) -> &'static [u8] {
        match self.channels {
            // single_channel_element: tag 0, gain 0, one long window without bands, no pulse, TNS or gain control; ID_END.
            1 => &[0x00, 0x00, 0x00, 0x07],
            // channel_pair_element: tag 0, a common window as above, no mid/side, two channels as above; ID_END.
            _ => &[0x21, 0x00, 0x00, 0x00, 0x00, 0x1c],
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn a_config_comes_back_as_it_went() {
        for (bytes, rate, channels) in
            [([0x11, 0x88], 48_000, 1), ([0x11, 0x90], 48_000, 2), ([0x12, 0x10], 44_100, 2)]
        {
            let config = AacConfig::parse(&bytes).unwrap();
            assert_eq!((config.rate(), config.channels(), config.bytes()), (rate, channels, bytes));
        }
        assert_eq!(AacConfig::parse(&[0x11, 0x88]).unwrap(), AacConfig::MONO);
    }

    #[test]
    fn what_is_not_sent_is_named() {
        for (bytes, error) in [
            (&[0x11][..], AacError::CutOff(1)),
            (&[0x2b, 0x11], AacError::ObjectType(5)),
            (&[0x17, 0x88], AacError::Rate(15)),
            (&[0x11, 0xb0], AacError::Channels(6)),
        ] {
            assert_eq!(AacConfig::parse(bytes), Err(error));
        }
    }

    /// Bit by bit, as ISO/IEC 14496-3 section 4.4.2 has a raw_data_block.
    #[test]
    fn a_silent_frame_is_an_element_without_coefficients_and_its_end() {
        let bits = |frame: &[u8]| frame.iter().map(|byte| format!("{byte:08b}")).collect::<String>();
        let info = "0 00 0 000000 0"; // reserved, only long, sine, max_sfb, no predictor
        let stream = |info: &str| format!("00000000 {info} 0 0 0"); // gain, info, pulse, TNS, gain control
        let single = format!("000 0000 {} 111", stream(info));
        let pair = format!("001 0000 1 {info} 00 {} {} 111", stream(""), stream(""));
        for (config, expected) in [([0x11, 0x88], single), ([0x11, 0x90], pair)] {
            let frame = bits(AacConfig::parse(&config).unwrap().silent_frame());
            let expected = expected.replace(' ', "");
            assert!(frame.starts_with(&expected), "{frame} is not {expected}");
            assert!(
                frame[expected.len()..].bytes().all(|bit| bit == b'0') && frame.len() < expected.len() + 8
            );
        }
    }
}
