//! One H.264 stream: depacketizer and assembler together.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::assemble::Assembler;
use super::depacketize::{H264Depacketizer, H264Error};
use super::nal;
use crate::codec::unit::{AccessUnitError, Completed};
use crate::rtp::RtpPacket;

/// What [`crate::codec::video::VideoStream`] needs of it.
pub(crate) struct H264Stream {
    depacketizer: H264Depacketizer,
    assembler: Assembler,
    /// Parameter sets by the payload type that they were told for.
    told: BTreeMap<u8, Vec<Bytes>>,
    /// That of the last packet.
    payload_type: Option<u8>,
}

impl H264Stream {
    pub(crate) fn new(told: BTreeMap<u8, Vec<Bytes>>) -> Self {
        Self {
            depacketizer: H264Depacketizer::default(),
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
        mut malformed: impl FnMut(H264Error),
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
            Err(H264Error::NoStart) if self.depacketizer.is_out_of_step() => {
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

/// True when the payload of a packet holds an IDR slice, a beginning of one, or an SPS: a key frame is on its way.
pub(crate) fn announces_key_frame(payload: &[u8]) -> bool {
    let is_key = |kind: u8| matches!(kind, nal::IDR | nal::SPS);
    match payload {
        [first, ..] if is_key(first & 0x1f) => true,
        [first, fu, ..] if first & 0x1f == 28 => is_key(fu & 0x1f),
        [first, _, _, inner, ..] if first & 0x1f == 24 => is_key(inner & 0x1f),
        _ => false,
    }
}

/// Whether the payload is a slice of an IDR or a fragment of one. Aggregates arrive whole or not at all.
pub(crate) fn is_of_idr(payload: &[u8]) -> bool {
    match payload {
        [first, fu, ..] if first & 0x1f == 28 => fu & 0x1f == nal::IDR,
        _ => nal::kind(payload) == nal::IDR,
    }
}
