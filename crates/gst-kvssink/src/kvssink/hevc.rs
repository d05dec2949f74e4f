//! H.265 as a byte stream (ITU-T H.265, Annex B), made into what Matroska and players want: NAL units with their length in
//! front, and the parameter sets in an HEVCDecoderConfigurationRecord (ISO/IEC 14496-15, 8.3.3.1). Pure.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};

/// `nal_unit_type` of VPS, SPS and PPS.
const PARAMETER_SETS: [u8; 3] = [32, 33, 34];
const VPS: u8 = 32;
const SPS: u8 = 33;
/// An id of a parameter set is less: of VPS and SPS 16, of PPS 64 (7.4.3).
const IDS: [u32; 3] = [16, 16, 64];
/// Random access points: BLA, IDR, CRA (and two that are reserved).
const IRAP: std::ops::RangeInclusive<u8> = 16..=23;
/// Access units without a record, from the first random access point on, after which there will be none: ten seconds of 30 a second.
pub(super) const PATIENCE: usize = 300;
/// The same while there was no random access point, with which they should come: it may be far to the first.
pub(super) const PATIENCE_BEFORE_IRAP: usize = 3000;

/// A byte stream, as far as it was read.
#[derive(Clone, Debug, Default)]
pub(super) struct ByteStream {
    sets: Sets,
    record: Option<Bytes>,
    /// Access units that came while there was no record.
    in_vain: usize,
    /// How many came before the first random access point among those.
    irap: Option<usize>,
    /// That there will be no record was said.
    given_up: bool,
}

/// Parameter sets that the next record holds.
#[derive(Clone, Debug, Default, PartialEq)]
struct Sets {
    /// By type and id: the encoder may send them in different access units.
    known: BTreeMap<(u8, u32), Bytes>,
    /// The sequence parameter set that was the last to be new.
    sps: Option<Bytes>,
}

/// An access unit that was read.
#[derive(Debug, PartialEq)]
pub(super) struct Converted {
    /// With lengths of four bytes. Parameter sets stay in it.
    pub(super) data: Bytes,
    /// The record, if it is another now.
    pub(super) record: Option<Bytes>,
}

impl ByteStream {
    /// Reads an access unit.
    pub(super) fn read(&mut self, access_unit: &Bytes) -> Converted {
        let units = nal_units(access_unit);
        let mut data = BytesMut::with_capacity(access_unit.len() + 4 * units.len());
        // What an access unit does not repeat goes on.
        let mut all = self.sets.clone();
        for unit in units {
            let kind = unit[0] >> 1 & 0x3f;
            if IRAP.contains(&kind) {
                self.irap.get_or_insert(self.in_vain);
            }
            if let Some(id) = set_id(kind, &unit) {
                all.put(kind, id, &unit);
            }
            data.put_u32(u32::try_from(unit.len()).unwrap_or(u32::MAX));
            data.extend_from_slice(&unit);
        }
        let mut new = None;
        if all != self.sets
            && let Some(record) = record(&all)
            && self.record.as_ref() != Some(&record)
        {
            self.record = Some(record.clone());
            new = Some(record);
        }
        self.sets = all;
        if self.record.is_none() {
            self.in_vain += 1;
        }
        Converted { data: data.freeze(), record: new }
    }

    /// When there will be no record any more, `ended` or not: how many access units have come, of which nothing can be
    /// made without. Once.
    pub(super) fn give_up(&mut self, ended: bool) -> Option<usize> {
        let patience = self.irap.map_or(PATIENCE_BEFORE_IRAP, |before| before + PATIENCE);
        let over = self.in_vain >= if ended { 1 } else { patience };
        (over && self.record.is_none() && !std::mem::replace(&mut self.given_up, true))
            .then_some(self.in_vain)
    }

    /// Whether it was said that there will be no record.
    pub(super) fn has_given_up(&self) -> bool {
        self.given_up && self.record.is_none()
    }
}

impl Sets {
    fn put(&mut self, kind: u8, id: u32, unit: &Bytes) {
        let before = self.known.insert((kind, id), unit.clone());
        if kind == SPS && before.as_ref() != Some(unit) {
            self.sps = Some(unit.clone());
        }
    }

    /// Of one type, by their ids.
    fn of(&self, kind: u8) -> Vec<&Bytes> {
        self.known.range((kind, 0)..=(kind, u32::MAX)).map(|(_, set)| set).collect()
    }
}

/// The id of a parameter set; `None` for other NAL units, and for one that makes no sense.
fn set_id(kind: u8, unit: &[u8]) -> Option<u32> {
    let at = PARAMETER_SETS.iter().position(|set| *set == kind)?;
    let payload = without_emulation_prevention(unit.get(2..)?);
    let mut bits = Bits { bytes: &payload, at: 0 };
    let id = match kind {
        VPS => bits.read(4)?,
        SPS => Sps::parse(unit)?.id,
        _ => bits.exp_golomb()?,
    };
    (id < IDS[at]).then_some(id)
}

/// The NAL units between start codes, without the zeros around them.
fn nal_units(stream: &Bytes) -> Vec<Bytes> {
    let mut starts = Vec::new();
    let mut at = 0;
    while let Some(found) = stream[at..].windows(3).position(|bytes| bytes == [0, 0, 1]) {
        starts.push(at + found);
        at += found + 3;
    }
    let ends = starts.iter().skip(1).copied().chain([stream.len()]);
    let unit = |(start, end): (&usize, usize)| {
        let unit = stream.slice(start + 3..end);
        let zeros = unit.iter().rev().take_while(|byte| **byte == 0).count();
        unit.slice(..unit.len() - zeros)
    };
    starts.iter().zip(ends).map(unit).filter(|unit| unit.len() >= 2).collect()
}

/// The record of these parameter sets, once there is one of each kind.
fn record(sets: &Sets) -> Option<Bytes> {
    let sps = Sps::parse(sets.sps.as_ref()?)?;
    let mut out = BytesMut::with_capacity(128);
    out.put_u8(1);
    out.extend_from_slice(&sps.profile_tier_level);
    // min_spatial_segmentation_idc and parallelismType: 0, nothing is said.
    out.put_u16(0xf000);
    out.put_u8(0xfc);
    out.put_u8(0xfc | sps.chroma_format);
    out.put_u8(0xf8 | sps.luma_depth);
    out.put_u8(0xf8 | sps.chroma_depth);
    // avgFrameRate: not said.
    out.put_u16(0);
    out.put_u8(sps.temporal_layers << 3 | sps.nested << 2 | 3);
    out.put_u8(PARAMETER_SETS.len() as u8);
    for kind in PARAMETER_SETS {
        let sets = sets.of(kind);
        if sets.is_empty() {
            return None;
        }
        // array_completeness is 0: there are such in the stream, too.
        out.put_u8(kind);
        out.put_u16(u16::try_from(sets.len()).ok()?);
        for set in sets {
            out.put_u16(u16::try_from(set.len()).ok()?);
            out.extend_from_slice(set);
        }
    }
    Some(out.freeze())
}

/// Of a sequence parameter set (7.3.2.2), what the record repeats.
struct Sps {
    id: u32,
    /// General profile, tier and level, as they stand.
    profile_tier_level: [u8; 12],
    chroma_format: u8,
    luma_depth: u8,
    chroma_depth: u8,
    temporal_layers: u8,
    nested: u8,
}

impl Sps {
    /// `None` when it makes no sense.
    fn parse(unit: &[u8]) -> Option<Self> {
        let payload = without_emulation_prevention(unit.get(2..)?);
        let mut bits = Bits { bytes: &payload, at: 4 };
        let sub_layers = bits.read(3)?;
        let nested = bits.read(1)?;
        let profile_tier_level = *payload.get(1..)?.first_chunk()?;
        bits.at += 96;
        let mut present = Vec::new();
        for _ in 0..sub_layers {
            present.push((bits.read(1)?, bits.read(1)?));
        }
        if sub_layers > 0 {
            bits.at += 2 * (8 - sub_layers as usize);
        }
        for (profile, level) in present {
            bits.at += profile as usize * 88 + level as usize * 8;
        }
        let id = bits.exp_golomb()?;
        let chroma_format = bits.exp_golomb()?;
        if chroma_format == 3 {
            bits.read(1)?;
        }
        let _size = (bits.exp_golomb()?, bits.exp_golomb()?);
        if bits.read(1)? == 1 {
            for _ in 0..4 {
                bits.exp_golomb()?;
            }
        }
        let (luma_depth, chroma_depth) = (bits.exp_golomb()?, bits.exp_golomb()?);
        if chroma_format > 3 || luma_depth > 7 || chroma_depth > 7 || sub_layers > 6 {
            return None;
        }
        Some(Self {
            id,
            profile_tier_level,
            chroma_format: chroma_format as u8,
            luma_depth: luma_depth as u8,
            chroma_depth: chroma_depth as u8,
            temporal_layers: sub_layers as u8 + 1,
            nested: nested as u8,
        })
    }
}

/// What lies behind `emulation_prevention_three_byte`s (7.3.1.1).
fn without_emulation_prevention(unit: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(unit.len());
    let mut zeros = 0;
    for &byte in unit {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn read(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = *self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    /// ue(v), 9.2. `None` also for what needs more than 31 bits, which nothing here does.
    fn exp_golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.read(1)? == 0 {
            zeros += 1;
            if zeros > 30 {
                return None;
            }
        }
        Some((1 << zeros) - 1 + self.read(zeros)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Of x265, 320x240, 4:2:0, 8 bit.
    const VPS_: &str = "40010c01ffff01600000030090000003000003003c959809";
    const SPS_: &str = "42010101600000030090000003000003003ca00a080f165965";
    const PPS: &str = "4401c1728a5624";
    /// The same with the id 1.
    const PPS_1: &str = "4401505ca29589";

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    fn stream(units: &[&[u8]]) -> Bytes {
        let mut out = Vec::new();
        for (n, unit) in units.iter().enumerate() {
            out.extend_from_slice(if n == 0 { &[0, 0, 0, 1] } else { &[0, 0, 1] });
            out.extend_from_slice(unit);
        }
        out.into()
    }

    fn prefixed(units: &[&[u8]]) -> Bytes {
        let mut out = BytesMut::new();
        for unit in units {
            out.put_u32(unit.len() as u32);
            out.extend_from_slice(unit);
        }
        out.freeze()
    }

    #[test]
    fn parameter_sets_become_a_record_and_units_get_lengths() {
        let (vps, sps, pps) = (bytes(VPS_), bytes(SPS_), bytes(PPS));
        let idr = [0x26, 1, 0xaf, 0x09];
        let units: [&[u8]; 4] = [&vps, &sps, &pps, &idr];
        let mut byte_stream = ByteStream::default();
        let Converted { data, record } = byte_stream.read(&stream(&units));
        assert_eq!(data, prefixed(&units));
        let record = record.unwrap();
        // Main profile, level 2, 4:2:0, 8 bit, one temporal layer, lengths of four bytes, three arrays.
        assert_eq!(
            record[..23],
            bytes("01016000000090000000 00003cf000fcfdf8f800000f03".replace(' ', "").as_str())
        );
        assert_eq!(kvs_putmedia::nal_length_size(kvs_putmedia::NalCodec::H265, &record), Some(4));
        // The same again is nothing new; another one is.
        assert_eq!(byte_stream.read(&stream(&units)).record, None);
        assert_eq!(byte_stream.read(&stream(&[&[2, 1, 0xd0, 9]])).record, None);
        let mut other = pps.clone();
        other[4] ^= 4;
        let changed = byte_stream.read(&stream(&[&other, &idr])).record.unwrap();
        assert!(changed != record && changed.len() == record.len());
    }

    #[test]
    fn parameter_sets_in_different_access_units_are_one_record() {
        let (vps, sps, pps, other) = (bytes(VPS_), bytes(SPS_), bytes(PPS), bytes(PPS_1));
        assert_eq!((set_id(34, &pps), set_id(34, &other)), (Some(0), Some(1)));
        assert_eq!((set_id(32, &vps), set_id(33, &sps), set_id(1, &vps)), (Some(0), Some(0), None));
        let mut byte_stream = ByteStream::default();
        let first = byte_stream.read(&stream(&[&vps, &sps, &pps])).record.unwrap();
        let both = byte_stream.read(&stream(&[&other])).record.unwrap();
        assert_eq!(both.len(), first.len() + 2 + other.len());
        for unit in [&pps, &other, &pps, &sps, &vps] {
            assert_eq!(byte_stream.read(&stream(&[unit])).record, None);
        }
        // Half a set replaces none.
        assert_eq!(byte_stream.read(&stream(&[&sps[..10]])).record, None);
    }

    #[test]
    fn the_end_of_a_sequence_is_a_unit_of_two_bytes() {
        let (idr, end_of_sequence, end_of_bitstream) = ([0x26, 1, 0xaf, 9], [0x48, 1], [0x4a, 1]);
        let units: [&[u8]; 3] = [&idr, &end_of_sequence, &end_of_bitstream];
        assert_eq!(ByteStream::default().read(&stream(&units)).data, prefixed(&units));
    }

    #[test]
    fn parameter_sets_are_waited_for_but_not_for_ever() {
        let (vps, sps, pps) = (bytes(VPS_), bytes(SPS_), bytes(PPS));
        let trail = [2, 1, 0xd0, 9];
        for (irap, patience) in [(0, PATIENCE), (2000, 2000 + PATIENCE), (usize::MAX, PATIENCE_BEFORE_IRAP)] {
            let mut byte_stream = ByteStream::default();
            for n in 0..patience - 1 {
                let unit = if n == irap { [0x26, 1, 0xaf, 9] } else { trail };
                byte_stream.read(&stream(&[&vps, &pps, &unit]));
                assert_eq!((byte_stream.give_up(false), byte_stream.has_given_up()), (None, false));
            }
            let mut late = byte_stream.clone();
            byte_stream.read(&stream(&[&trail]));
            assert_eq!(byte_stream.give_up(false), Some(patience));
            assert_eq!((byte_stream.give_up(true), byte_stream.has_given_up()), (None, true));
            assert!(late.read(&stream(&[&sps])).record.is_some());
            assert_eq!((late.give_up(false), late.give_up(true), late.has_given_up()), (None, None, false));
        }
    }

    #[test]
    fn zeros_around_units_are_none_of_theirs() {
        let stream = Bytes::from_static(&[0, 0, 0, 0, 1, 0x26, 1, 9, 0, 0, 0, 1, 2, 1, 7, 0, 0, 1, 0, 0, 1]);
        assert_eq!(nal_units(&stream), [&[0x26, 1, 9][..], &[2, 1, 7]]);
        assert_eq!(nal_units(&Bytes::from_static(&[1, 2, 3])), Vec::<Bytes>::new());
    }

    #[test]
    fn half_a_parameter_set_is_none() {
        let (vps, sps, pps) = (bytes(VPS_), bytes(SPS_), bytes(PPS));
        for length in 3..18 {
            let converted = ByteStream::default().read(&stream(&[&vps, &sps[..length], &pps]));
            assert_eq!(converted.record, None, "{length}");
        }
    }
}
