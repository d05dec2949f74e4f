//! NAL units to access units, and the judgement whether one can be decoded.

use bytes::Bytes;

use super::error::ParameterError;
use super::{NalCodec, Role};
use crate::codec::unit::{AccessUnitError, Completed, Start, StartKind, UntimedAccessUnit, length_prefixed};

/// More is not believed: the largest picture of level 5.2 is a few MB.
const MAX_BYTES: usize = 16 << 20;
/// NAL units of a picture: the standard allows as many slices as macroblocks, but no encoder makes more than some dozens.
pub(super) const MAX_UNITS: usize = 4096;

#[derive(Default)]
struct Building {
    timestamp: u64,
    units: Vec<Bytes>,
    bytes: usize,
    /// Slices, and which of `units` is the first.
    first_slice: Option<usize>,
    has_sequence: bool,
    /// So many pictures later a decoder that begins here is right, as a unit of it says.
    recovery: Option<u32>,
    /// Packets that were lost right in front of it.
    gap: u64,
    broken: Option<AccessUnitError>,
}

/// Collects the NAL units of one access unit after the other.
pub(super) struct Assembler<C> {
    codec: C,
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
    /// The last key frame brought its sequence parameter set along.
    sequence_with_key: bool,
}

impl<C: Default> Default for Assembler<C> {
    fn default() -> Self {
        Self {
            codec: C::default(),
            current: None,
            gap: 0,
            ended: None,
            trust_marker: true,
            marks: false,
            unmarked: false,
            sequence_with_key: false,
        }
    }
}

impl<C: NalCodec> Assembler<C> {
    /// Parameter sets that are not of the stream itself, for what follows. Those that cannot be read are left out: a key
    /// frame that refers to them has none.
    pub(super) fn tell(&mut self, parameter_sets: &[Bytes]) {
        for unit in parameter_sets.iter().filter(|unit| is_parameter_set::<C>(unit)) {
            let _ = self.codec.update(unit);
        }
    }

    /// Packets were lost here.
    pub(super) fn lost(&mut self, count: u64) {
        self.gap = self.gap.saturating_add(count);
    }

    /// The stream starts afresh here: what was begun is thrown away.
    pub(super) fn restart(&mut self) {
        self.current = None;
        self.ended = None;
        self.codec.interrupted();
        self.gap = u64::MAX;
    }

    /// A packet with this timestamp comes next. Gives the unit before it, if no marker bit ended that.
    pub(super) fn begin(&mut self, timestamp: u64) -> Option<Completed> {
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
            // Parameter sets, and that decoding may start, may come under a timestamp of their own.
            building.units = carried.units;
            building.bytes = carried.bytes;
            building.has_sequence = carried.has_sequence && gap == 0;
            building.recovery = carried.recovery;
            building.gap = carried.gap.saturating_add(gap);
        }
        self.current = Some(building);
        before
    }

    /// The unit being built cannot be used.
    pub(super) fn damage(&mut self, broken: AccessUnitError) {
        if let Some(current) = &mut self.current {
            current.broken.get_or_insert(broken);
        }
    }

    /// A NAL unit of the packet that was announced by `begin`.
    pub(super) fn push(&mut self, unit: Bytes) -> Result<(), ParameterError> {
        let role = C::role(&unit);
        let mut keep = true;
        let mut result = Ok(());
        match role {
            Role::Skipped => return Ok(()),
            Role::SequenceParameters | Role::Parameters => match self.codec.update(&unit) {
                Ok(changed) => keep = changed,
                Err(error) => (keep, result) = (false, Err(error)),
            },
            Role::Slice | Role::Other => {}
        }
        let Some(current) = &mut self.current else { return result };
        if role == Role::SequenceParameters && result.is_ok() {
            current.has_sequence = true;
        }
        if !keep {
            return result;
        }
        if role == Role::Other && current.first_slice.is_none() {
            current.recovery = C::recovery(&unit).or(current.recovery);
        }
        if current.bytes + unit.len() > MAX_BYTES || current.units.len() >= MAX_UNITS {
            current.broken.get_or_insert(AccessUnitError::TooLarge);
            return result;
        }
        if role == Role::Slice && current.first_slice.is_none() {
            current.first_slice = Some(current.units.len());
        }
        current.bytes += unit.len();
        current.units.push(unit);
        result
    }

    /// The packet had the marker bit. Gives the unit that it ends.
    pub(super) fn marker(&mut self) -> Option<Completed> {
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
    pub(super) fn end(&mut self) -> Option<Completed> {
        if self.gap > 0 || !self.unmarked || self.marks {
            self.damage(AccessUnitError::Missing);
        }
        let begun = self.current.as_ref().is_some_and(|it| it.first_slice.is_some());
        let finished = if begun { self.finish() } else { None };
        self.current = None;
        finished
    }

    /// Judges the current unit. It stays as `current`, emptied of everything but what came alone in front of a picture.
    fn finish(&mut self) -> Option<Completed> {
        let current = self.current.as_mut()?;
        let timestamp = current.timestamp;
        if current.broken.is_none() && current.first_slice.is_none() {
            current.units.retain(|unit| is_parameter_set::<C>(unit) || C::recovery(unit).is_some());
            current.bytes = current.units.iter().map(Bytes::len).sum();
            return None;
        }
        let current = std::mem::replace(current, Building { timestamp, ..Building::default() });
        let judged = self.judge(current);
        if judged.is_err() {
            self.codec.interrupted();
        }
        Some(judged)
    }

    fn judge(&mut self, current: Building) -> Completed {
        if let Some(broken) = current.broken {
            // That it brought them along is known all the same.
            self.sequence_with_key |= current.has_sequence;
            return Err(broken);
        }
        let unit =
            current.first_slice.and_then(|at| current.units.get(at)).ok_or(AccessUnitError::Malformed)?;
        let slice = self.codec.slice(unit).ok_or(AccessUnitError::Malformed)?;
        let is_whole = C::begins_picture(&slice);
        if self.ended == Some(current.timestamp) && !is_whole {
            self.trust_marker = false;
            return Err(AccessUnitError::Marker);
        }
        let kind = C::kind(unit);
        let start = if C::is_key(kind) {
            Some(StartKind::KeyFrame)
        } else if current.recovery.is_some_and(|pictures| pictures > 0 || C::refers_to_none(&slice)) {
            // One that says that all is right at once, and refers to others, says nothing.
            Some(StartKind::RecoveryPoint)
        } else {
            None
        };
        if current.gap > 0 {
            let is_intact = if start.is_some() {
                // Lost may be: what belongs to other units, or the parameter sets of this one.
                current.has_sequence || (is_whole && !self.sequence_with_key)
            } else {
                is_whole && self.codec.nothing_needed_is_lost(&slice, current.gap)
            };
            if !is_intact {
                return Err(AccessUnitError::Missing);
            }
        }
        let is_start = start.is_some();
        let start = match start {
            Some(kind) => {
                let parameters = self.codec.parameters(&slice).ok_or(AccessUnitError::NoParameterSets)?;
                self.sequence_with_key = current.has_sequence;
                Some(Start { kind, parameters })
            }
            None if !C::RECOVERY.is_empty() && self.refers_to_none(&current.units) => self
                .codec
                .parameters(&slice)
                .map(|parameters| Start { kind: StartKind::Intra(C::RECOVERY), parameters }),
            None => None,
        };
        self.codec.handed_on(unit, &slice);
        // Where decoding starts they are in the parameters.
        let own = current.units.iter().filter(|unit| !is_start || !is_parameter_set::<C>(unit));
        Ok(UntimedAccessUnit {
            data: length_prefixed(own.map(|unit| &unit[..]), &[]),
            timestamp: current.timestamp,
            start,
            is_behind_gap: current.gap > 0,
            is_skipped_at_start: C::is_skipped_at_start(kind),
        })
    }

    /// None of the slices refers to another picture.
    fn refers_to_none(&self, units: &[Bytes]) -> bool {
        let mut slices = units.iter().filter(|unit| C::role(unit) == Role::Slice);
        slices.all(|unit| self.codec.slice(unit).is_some_and(|slice| C::refers_to_none(&slice)))
    }
}

fn is_parameter_set<C: NalCodec>(unit: &[u8]) -> bool {
    matches!(C::role(unit), Role::SequenceParameters | Role::Parameters)
}
