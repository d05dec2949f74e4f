//! Decoder configuration records of H.264 and H.265.

use bytes::Bytes;

use super::{
    config::{VideoCodec, VideoConfig},
    sps,
};
use crate::mkv::Track;

/// Cuts NAL units with two bytes of length in front from the record.
fn units(record: &Bytes, at: &mut usize, count: usize, into: &mut Vec<Bytes>) -> Result<(), String> {
    for _ in 0..count {
        let cut = || "it ends within a parameter set".to_owned();
        let length = record.get(*at..*at + 2).ok_or_else(cut)?;
        let start = *at + 2;
        let end = start + usize::from(u16::from_be_bytes([length[0], length[1]]));
        if end > record.len() {
            return Err(cut());
        }
        if start < end {
            into.push(record.slice(start..end));
        }
        *at = end;
    }
    Ok(())
}

fn no_record(what: &str, record: &[u8]) -> String {
    if record.starts_with(&[0, 0, 1]) || record.starts_with(&[0, 0, 0, 1]) {
        format!("these are NAL units of a byte stream (Annex B), not {what}. Have the producer adapt them")
    } else {
        format!("no {what}")
    }
}

fn size(track: &Track, by_sps: Option<(u32, u32)>) -> (u32, u32) {
    let stated = (track.width.min(u32::from(u16::MAX)), track.height.min(u32::from(u16::MAX)));
    by_sps.unwrap_or(stated)
}

/// The AVC decoder configuration record (ISO/IEC 14496-15 section 5.3.3.1.2).
pub(super) fn h264(track: &Track) -> Result<VideoConfig, String> {
    let record = &track.codec_private;
    let fixed = record.get(..6).filter(|fixed| fixed[0] == 1);
    let fixed = fixed.ok_or_else(|| no_record("AVC decoder configuration record", record))?;
    let (mut parameter_sets, mut at) = (Vec::new(), 6);
    units(record, &mut at, usize::from(fixed[5] & 0x1F), &mut parameter_sets)?;
    let sps_size = parameter_sets.iter().find_map(|sps| sps::h264_size(sps));
    if parameter_sets.is_empty() {
        return Err("no SPS in it".to_owned());
    }
    let pps = usize::from(*record.get(at).ok_or("it ends before its PPS")?);
    at += 1;
    let before = parameter_sets.len();
    units(record, &mut at, pps, &mut parameter_sets)?;
    if parameter_sets.len() == before {
        return Err("no PPS in it".to_owned());
    }
    let (width, height) = size(track, sps_size);
    Ok(VideoConfig {
        codec: VideoCodec::H264,
        record: record.clone(),
        length_size: usize::from(fixed[4] & 3) + 1,
        parameter_sets,
        complete: true,
        width,
        height,
        name: format!("avc1.{}", hex::encode(&fixed[1..4])),
    })
}

const H265_SPS: u8 = 33;

/// The HEVC decoder configuration record (ISO/IEC 14496-15 section 8.3.3.1.2).
pub(super) fn h265(track: &Track) -> Result<VideoConfig, String> {
    let record = &track.codec_private;
    // Version 0 was written by muxers before the standard was out.
    let fixed = record.get(..23).filter(|fixed| fixed[0] <= 1 && !fixed.starts_with(&[0, 0]));
    let fixed = fixed.ok_or_else(|| no_record("HEVC decoder configuration record", record))?;
    let (mut parameter_sets, mut kinds, mut at) = (Vec::new(), Vec::new(), 23);
    for _ in 0..fixed[22] {
        let head = record.get(at..at + 3).ok_or("it ends within its arrays")?;
        let (kind, count) = (head[0] & 0x3F, usize::from(u16::from_be_bytes([head[1], head[2]])));
        at += 3;
        let mut sets = Vec::new();
        units(record, &mut at, count, &mut sets)?;
        // 32 to 34 are VPS, SPS and PPS; there may be SEI as well
        if (32..=34).contains(&kind) && !sets.is_empty() {
            kinds.push(kind);
            parameter_sets.extend(sets);
        }
    }
    let complete = (32..=34).all(|kind| kinds.contains(&kind));
    let sps = parameter_sets.iter().find(|nal| nal[0] >> 1 & 0x3F == H265_SPS);
    let (width, height) = size(track, sps.and_then(|sps| sps::h265_size(sps)));
    Ok(VideoConfig {
        codec: VideoCodec::H265,
        record: record.clone(),
        length_size: usize::from(fixed[21] & 3) + 1,
        parameter_sets,
        complete,
        width,
        height,
        name: h265_name(fixed, complete),
    })
}

/// ISO/IEC 14496-15 annex E.3: `hvc1.1.6.L93.B0`.
fn h265_name(fixed: &[u8], complete: bool) -> String {
    let space = ["", "A", "B", "C"][usize::from(fixed[1] >> 6)];
    let compatibility = u32::from_be_bytes([fixed[2], fixed[3], fixed[4], fixed[5]]).reverse_bits();
    let tier = if fixed[1] & 0x20 == 0 { 'L' } else { 'H' };
    let mut constraints = &fixed[6..12];
    while let [rest @ .., 0] = constraints {
        constraints = rest;
    }
    let constraints: String = constraints.iter().map(|byte| format!(".{byte:X}")).collect();
    let entry = if complete { "hvc1" } else { "hev1" };
    format!("{entry}.{space}{}.{compatibility:X}.{tier}{}{constraints}", fixed[1] & 0x1F, fixed[12])
}
