//! NAL units to access units, and the judgement whether one can be decoded.

use bytes::{BufMut, Bytes, BytesMut};

use super::nal;
use super::parameters::{ParameterError, ParameterSets};
use super::slice::{SliceStart, frame_num};
use crate::codec::format::VideoParameters;
use crate::codec::unit::{AccessUnitError, Completed, UntimedAccessUnit};

/// More is not believed: the largest picture of level 5.2 is a few MB.
const MAX_BYTES: usize = 16 << 20;
/// NAL units of a picture: the standard allows as many slices as macroblocks, but no encoder makes more than some dozens.
pub(super) const MAX_UNITS: usize = 4096;
/// `frame_num` has at least 4 bits, so fewer lost packets than this cannot hide a whole turn of it.
const FRAME_NUM_TURN: u64 = 16;

#[derive(Default)]
struct Building {
    timestamp: u64,
    units: Vec<Bytes>,
    bytes: usize,
    /// Slices, and which of `units` is the first.
    first_slice: Option<usize>,
    has_sps: bool,
    /// Packets that were lost right in front of it.
    gap: u64,
    broken: Option<AccessUnitError>,
}

/// Collects the NAL units of one access unit after the other.
pub(crate) struct Assembler {
    parameters: ParameterSets,
    current: Option<Building>,
    /// Packets lost since the last packet.
    gap: u64,
    /// Timestamp of the unit that a marker bit ended last.
    ended: Option<u64>,
    /// False once a marker bit stood in the middle of an access unit.
    trust_marker: bool,
    /// The sender sets marker bits.
    marks: bool,
    /// It ended a whole picture by the next timestamp only.
    unmarked: bool,
    /// The last IDR brought its SPS along.
    sps_with_idr: bool,
    /// `frame_num` of the last reference picture that was handed on.
    reference: Option<u32>,
}

impl Default for Assembler {
    fn default() -> Self {
        Self {
            parameters: ParameterSets::default(),
            current: None,
            gap: 0,
            ended: None,
            trust_marker: true,
            marks: false,
            unmarked: false,
            sps_with_idr: false,
            reference: None,
        }
    }
}

impl Assembler {
    /// Parameter sets that are not of the stream itself, for what follows. Those that cannot be read are left out: an IDR
    /// that refers to them has none.
    pub(crate) fn tell(&mut self, parameter_sets: &[Bytes]) {
        for unit in parameter_sets.iter().filter(|unit| matches!(nal::kind(unit), nal::SPS | nal::PPS)) {
            let _ = self.parameters.update(unit);
        }
    }

    /// Packets were lost here.
    pub(crate) fn lost(&mut self, count: u64) {
        self.gap = self.gap.saturating_add(count);
    }

    /// The stream starts afresh here: what was begun is thrown away.
    pub(crate) fn restart(&mut self) {
        self.current = None;
        self.ended = None;
        self.reference = None;
        self.gap = u64::MAX;
    }

    /// A packet with this timestamp comes next. Gives the unit before it, if no marker bit ended that.
    pub(crate) fn begin(&mut self, timestamp: u64) -> Option<Completed> {
        let gap = std::mem::take(&mut self.gap);
        let same = self.current.as_ref().is_some_and(|current| current.timestamp == timestamp);
        if same {
            if gap > 0 {
                self.damage(AccessUnitError::Missing);
            }
            return None;
        }
        // The end of the unit before it may be what was lost.
        if gap > 0 {
            self.damage(AccessUnitError::Missing);
        }
        let before = self.finish();
        self.unmarked |= matches!(before, Some(Ok(_)));
        let carried = self.current.take();
        let mut building = Building { timestamp, gap, ..Building::default() };
        if let Some(carried) = carried {
            // Parameter sets may come under a timestamp of their own.
            building.units = carried.units;
            building.bytes = carried.bytes;
            building.has_sps = carried.has_sps && gap == 0;
            building.gap = carried.gap.saturating_add(gap);
        }
        self.current = Some(building);
        before
    }

    /// The unit being built cannot be used.
    pub(crate) fn damage(&mut self, broken: AccessUnitError) {
        if let Some(current) = &mut self.current {
            current.broken.get_or_insert(broken);
        }
    }

    /// A NAL unit of the packet that was announced by `begin`.
    pub(crate) fn push(&mut self, unit: Bytes) -> Result<(), ParameterError> {
        let kind = nal::kind(&unit);
        let mut keep = true;
        let mut result = Ok(());
        match kind {
            nal::DELIMITER | nal::END_OF_SEQUENCE | nal::END_OF_STREAM | nal::FILLER => return Ok(()),
            nal::SPS | nal::PPS => match self.parameters.update(&unit) {
                Ok(changed) => keep = changed,
                Err(error) => (keep, result) = (false, Err(error)),
            },
            _ => {}
        }
        let Some(current) = &mut self.current else { return result };
        if kind == nal::SPS && result.is_ok() {
            current.has_sps = true;
        }
        if !keep {
            return result;
        }
        if current.bytes + unit.len() > MAX_BYTES || current.units.len() >= MAX_UNITS {
            current.broken.get_or_insert(AccessUnitError::TooLarge);
            return result;
        }
        if nal::is_slice(kind) && current.first_slice.is_none() {
            current.first_slice = Some(current.units.len());
        }
        current.bytes += unit.len();
        current.units.push(unit);
        result
    }

    /// The packet had the marker bit. Gives the unit that it ends.
    pub(crate) fn marker(&mut self) -> Option<Completed> {
        self.marks = true;
        // Some senders set it on parameter sets of their own.
        let ends = self.trust_marker
            && self.current.as_ref().is_some_and(|it| it.first_slice.is_some() || it.broken.is_some());
        if !ends {
            return None;
        }
        let finished = self.finish();
        self.ended = self.current.take().map(|current| current.timestamp);
        finished
    }

    /// Nothing follows. Gives the unit that no marker bit ended, of a sender that has shown to set none: of any other its end
    /// may be missing.
    pub(crate) fn end(&mut self) -> Option<Completed> {
        if self.gap > 0 || !self.unmarked || self.marks {
            self.damage(AccessUnitError::Missing);
        }
        let begun = self.current.as_ref().is_some_and(|it| it.first_slice.is_some());
        let finished = if begun { self.finish() } else { None };
        self.current = None;
        finished
    }

    /// Judges the current unit. It stays as `current`, emptied of everything but parameter sets that came alone.
    fn finish(&mut self) -> Option<Completed> {
        let current = self.current.as_mut()?;
        let timestamp = current.timestamp;
        if current.broken.is_none() && current.first_slice.is_none() {
            current.units.retain(|unit| matches!(nal::kind(unit), nal::SPS | nal::PPS));
            current.bytes = current.units.iter().map(Bytes::len).sum();
            return None;
        }
        let current = std::mem::replace(current, Building { timestamp, ..Building::default() });
        let judged = self.judge(current);
        if judged.is_err() {
            self.reference = None;
        }
        Some(judged)
    }

    fn judge(&mut self, current: Building) -> Completed {
        if let Some(broken) = current.broken {
            return Err(broken);
        }
        let slice =
            current.first_slice.and_then(|at| current.units.get(at)).ok_or(AccessUnitError::Malformed)?;
        let start = SliceStart::parse(slice).map_err(|_| AccessUnitError::Malformed)?;
        if self.ended == Some(current.timestamp) && start.first_macroblock != 0 {
            self.trust_marker = false;
            return Err(AccessUnitError::Marker);
        }
        let idr = nal::kind(slice) == nal::IDR;
        let sps = self.parameters.sps_of(start.pps_id).copied();
        let number =
            sps.and_then(|sps| frame_num(slice, sps.frame_num_bits, sps.separate_colour_planes).ok());
        if current.gap > 0 {
            let whole = start.first_macroblock == 0;
            let intact = if idr {
                // Lost may be: what belongs to other units, or the parameter sets of this one.
                current.has_sps || (whole && !self.sps_with_idr)
            } else {
                // Lost may be: padding, or pictures that nothing refers to.
                let next = sps.zip(self.reference).map(|(sps, it)| (it + 1) % (1 << sps.frame_num_bits));
                whole && current.gap < FRAME_NUM_TURN && number.is_some() && number == next
            };
            if !intact {
                return Err(AccessUnitError::Missing);
            }
        }
        let is_reference = slice.first().is_some_and(|header| header & 0x60 != 0);
        if idr {
            let sps = sps.ok_or(AccessUnitError::NoParameterSets)?;
            self.sps_with_idr = current.has_sps;
            self.reference = number;
            let own = current.units.iter().filter(|unit| !matches!(nal::kind(unit), nal::SPS | nal::PPS));
            let record =
                self.parameters.configuration_record(sps.id).ok_or(AccessUnitError::NoParameterSets)?;
            let parameters = Some(VideoParameters { format: sps.format, configuration_record: record });
            return Ok(UntimedAccessUnit {
                data: length_prefixed(own),
                timestamp: current.timestamp,
                parameters,
            });
        }
        if is_reference {
            self.reference = number;
        }
        Ok(UntimedAccessUnit {
            data: length_prefixed(current.units.iter()),
            timestamp: current.timestamp,
            parameters: None,
        })
    }
}

/// As ISO/IEC 14496-15 has it, section 5.3.4.2: lengths of four bytes. No unit is longer than `MAX_BYTES`.
fn length_prefixed<'a>(units: impl Iterator<Item = &'a Bytes> + Clone) -> Bytes {
    let mut data = BytesMut::with_capacity(units.clone().map(|unit| unit.len() + 4).sum());
    for unit in units {
        data.put_u32(u32::try_from(unit.len()).unwrap_or(u32::MAX));
        data.put_slice(unit);
    }
    data.freeze()
}
