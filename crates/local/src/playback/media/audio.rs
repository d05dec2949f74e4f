//! AudioSpecificConfig of AAC, and the wave format of G.711.

use super::{
    bits::Bits,
    config::{AudioCodec, AudioConfig},
};
use crate::mkv::Track;

/// ISO/IEC 14496-3 table 1.18.
pub(crate) const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

fn object_type(bits: &mut Bits<'_>) -> Option<u32> {
    match bits.take(5)? {
        31 => Some(32 + bits.take(6)?),
        object_type => Some(object_type),
    }
}

fn rate(bits: &mut Bits<'_>) -> Option<u32> {
    match bits.take(4)? {
        15 => bits.take(24),
        index => RATES.get(index as usize).copied(),
    }
}

/// The AudioSpecificConfig (ISO/IEC 14496-3 section 1.6.2.1).
pub(super) fn aac(track: &Track) -> Result<AudioConfig, String> {
    let config = &track.codec_private;
    let read = || {
        let mut bits = Bits::new(config);
        let stated = object_type(&mut bits)?;
        let rate = rate(&mut bits)?;
        let channels = bits.take(4)?;
        let mut core = stated;
        // SBR and PS in front: the core's rate came first, its type comes last
        if matches!(stated, 5 | 29) {
            self::rate(&mut bits)?;
            core = object_type(&mut bits)?;
        }
        let short = matches!(core, 1..=4) && bits.flag()?;
        Some((stated, core, rate, channels, if short { 960 } else { 1024 }))
    };
    let (stated, core, rate, channels, frame) = read().ok_or("no AudioSpecificConfig")?;
    if !matches!(core, 1..=4) {
        return Err(format!("audio object type {core} is no AAC that players take"));
    }
    if !(1_000..=192_000).contains(&rate) {
        return Err(format!("a sampling rate of {rate} Hz"));
    }
    let channels = match channels {
        0 => u16::try_from(track.channels).ok().filter(|count| (1..=8).contains(count)).unwrap_or(2),
        7 => 8,
        count @ 1..=6 => count as u16,
        _ => return Err(format!("channel configuration {channels}")),
    };
    Ok(AudioConfig {
        codec: AudioCodec::Aac { config: config.clone(), object_type: core, frame },
        rate,
        channels,
        name: format!("mp4a.40.{stated}"),
    })
}

/// Why a wave format is no G.711.
pub(super) enum Acm {
    /// It is of another codec.
    Other(u16),
    /// It is none.
    Broken(String),
}

/// `WAVEFORMATEX`. Some producers leave its rates of bytes and bits wrong; only tag, channels and rate are read.
pub(super) fn g711(track: &Track) -> Result<AudioConfig, Acm> {
    let format = track.codec_private.get(..14).ok_or(Acm::Broken("no wave format".to_owned()))?;
    let word = |at: usize| u16::from_le_bytes([format[at], format[at + 1]]);
    let (codec, name) = match word(0) {
        6 => (AudioCodec::Alaw, "alaw"),
        7 => (AudioCodec::Ulaw, "ulaw"),
        other => return Err(Acm::Other(other)),
    };
    let rate = u32::from_le_bytes([format[4], format[5], format[6], format[7]]);
    let channels = word(2);
    if !(1_000..=192_000).contains(&rate) || !(1..=8).contains(&channels) {
        return Err(Acm::Broken(format!("a wave format of {channels} channels at {rate} Hz")));
    }
    Ok(AudioConfig { codec, rate, channels, name: name.to_owned() })
}
