//! What a transport's sender is told so that it sends as much as the path carries: transport-wide feedback if it numbers its
//! packets for that, else an estimate of ours if it takes one.

use crate::remb::Remb;
use crate::twcc::Twcc;
use std::time::Instant;

/// What a sender begins with when nothing else was asked for, bit/s.
const START: u64 = 1_500_000;

/// One transport.
#[derive(Debug)]
pub(crate) struct Congestion {
    twcc: Twcc,
    /// `None`: not negotiated, or not needed.
    remb: Option<Remb>,
    /// A source of it, for feedback that is about none in particular.
    about: u32,
}

/// What a packet tells of its sending.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sending {
    /// Its number on the transport.
    pub(crate) sequence: Option<u16>,
    /// Its absolute send time, 24 bits.
    pub(crate) time: Option<u32>,
}

impl Congestion {
    /// `remb`: the sender takes an estimate. `start_bitrate_kbps`: what it was offered to begin with.
    pub(crate) fn new(remb: bool, start_bitrate_kbps: Option<u32>, now: Instant) -> Self {
        let start = start_bitrate_kbps.map_or(START, |kbps| u64::from(kbps) * 1_000);
        Self { twcc: Twcc::new(now), remb: remb.then(|| Remb::new(start, now)), about: 0 }
    }

    /// This source is one of its, and not of retransmissions.
    pub(crate) fn source(&mut self, ssrc: u32) {
        self.about = ssrc;
        if let Some(remb) = &mut self.remb {
            remb.source(ssrc);
        }
    }

    /// An RTP packet of so many bytes.
    pub(crate) fn packet(&mut self, bytes: usize, sending: Sending, now: Instant) {
        if let Some(sequence) = sending.sequence {
            self.twcc.arrived(sequence, bytes, now);
            // It knows better than we do.
            self.remb = None;
        }
        if let Some(remb) = &mut self.remb {
            remb.packet(bytes, sending.time, now);
        }
    }

    /// So many packets of a source are missing.
    pub(crate) fn missing(&mut self, ssrc: u32, packets: usize) {
        if let Some(remb) = &mut self.remb {
            remb.missing(ssrc, packets);
        }
    }

    /// When [`Congestion::feedback`] has something to say.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let remb = self.remb.as_ref().and_then(Remb::poll_timeout);
        [self.twcc.poll_timeout(), remb].into_iter().flatten().min()
    }

    /// What is to be sent now, an RTCP packet each.
    pub(crate) fn feedback(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let mut packets = self.twcc.feedback(self.about, now);
        packets.extend(self.remb.as_mut().and_then(|remb| remb.feedback(now)));
        packets
    }
}
