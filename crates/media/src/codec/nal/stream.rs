//! One stream: depacketizer and assembler together.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::NalCodec;
use super::assemble::Assembler;
use super::depacketize::{Depacketizer, NalError};
use crate::codec::unit::{AccessUnitError, Completed};
use crate::rtp::RtpPacket;

/// What [`crate::codec::video::VideoStream`] needs of it.
pub(crate) struct NalStream<C> {
    depacketizer: Depacketizer<C>,
    assembler: Assembler<C>,
    /// Parameter sets by the payload type that they were told for.
    told: BTreeMap<u8, Vec<Bytes>>,
    /// That of the last packet.
    payload_type: Option<u8>,
}

impl<C: NalCodec> NalStream<C> {
    pub(crate) fn new(told: BTreeMap<u8, Vec<Bytes>>) -> Self {
        Self {
            depacketizer: Depacketizer::default(),
            assembler: Assembler::default(),
            told,
            payload_type: None,
        }
    }

    pub(crate) fn lost(&mut self, count: u64) {
        self.depacketizer.reset();
        self.assembler.lost(count);
    }

    pub(crate) fn restart(&mut self) {
        self.depacketizer.reset();
        self.assembler.restart();
    }

    pub(crate) fn begin(&mut self, timestamp: u64) -> Option<Completed> {
        self.assembler.begin(timestamp)
    }

    pub(crate) fn push(
        &mut self,
        packet: &RtpPacket,
        mut malformed: impl FnMut(NalError),
    ) -> Option<Completed> {
        // Two payload types may have parameter sets of the same number: those of the one that is sent count. Where it changes,
        // the sender has changed its encoder.
        if self.payload_type != Some(packet.payload_type)
            && let Some(parameter_sets) = self.told.get(&packet.payload_type)
        {
            self.payload_type = Some(packet.payload_type);
            self.assembler.tell(parameter_sets);
        }
        let mut units = Vec::new();
        match self.depacketizer.push(&packet.payload, packet.timestamp, &mut units) {
            Ok(()) => {}
            // A viewer that comes in the middle of a picture, or behind a loss.
            Err(NalError::NoStart) if self.depacketizer.is_out_of_step() => {
                self.assembler.damage(AccessUnitError::Missing);
            }
            Err(error) => {
                self.assembler.damage(AccessUnitError::Malformed);
                malformed(error);
            }
        }
        for unit in units {
            if let Err(error) = self.assembler.push(unit) {
                malformed(error.into());
            }
        }
        if !packet.marker {
            return None;
        }
        if self.depacketizer.is_inside() {
            // The last packet of the picture does not end its fragmented unit.
            self.depacketizer.reset();
            self.assembler.damage(AccessUnitError::Malformed);
        }
        self.assembler.marker()
    }

    pub(crate) fn end(&mut self) -> Option<Completed> {
        if self.depacketizer.is_inside() {
            self.assembler.damage(AccessUnitError::Missing);
        }
        self.assembler.end()
    }
}

/// True when the payload of a packet holds a slice of a key frame, a beginning of one, or what comes in front of key frames
/// alone: one is on its way.
pub(crate) fn announces_key_frame<C: NalCodec>(payload: &[u8]) -> bool {
    let kind = C::kind(payload);
    let kind = if kind == C::FRAGMENT {
        payload.get(C::HEADER).map(|fu| fu & C::FRAGMENT_KIND)
    } else if kind == C::AGGREGATE {
        payload.get(C::HEADER + 2..).filter(|inner| !inner.is_empty()).map(C::kind)
    } else {
        Some(kind)
    };
    kind.is_some_and(|kind| C::is_key(kind) || C::precedes_key(kind))
}

/// Whether the payload is a slice of a key frame or a fragment of one. Aggregates arrive whole or not at all.
pub(crate) fn is_of_key_frame<C: NalCodec>(payload: &[u8]) -> bool {
    let kind = C::kind(payload);
    if kind == C::FRAGMENT {
        return payload.get(C::HEADER).is_some_and(|fu| C::is_key(fu & C::FRAGMENT_KIND));
    }
    C::is_key(kind)
}
