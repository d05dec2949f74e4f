//! RTP as a peer hands it up.

use bytes::Bytes;

/// One RTP packet (RFC 3550), decrypted, RTX and padding removed.
#[derive(Clone, Debug)]
pub struct RtpPacket {
    /// Synchronization source.
    pub ssrc: u32,
    /// Payload type.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// RTP timestamp.
    pub timestamp: u32,
    /// Marker bit.
    pub marker: bool,
    /// Bytes of padding that were cut.
    pub padding: u8,
    /// Payload without padding.
    pub payload: Bytes,
}

/// The clock part of an RTCP sender report.
#[derive(Clone, Copy, Debug)]
pub struct SenderReport {
    /// Whose report.
    pub ssrc: u32,
    /// NTP time, 32.32 fixed point, seconds since 1900.
    pub ntp: u64,
    /// The RTP timestamp of the same moment.
    pub rtp_timestamp: u32,
}
