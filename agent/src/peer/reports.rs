//! Hands RTCP sender reports and goodbyes to the application.
//!
//! The engine keeps inbound RTCP for its interceptors. This one looks on as the packets pass and
//! copies the sender reports out: they are what maps RTP time to the sender's wall clock. When
//! every source has said BYE (RFC 3550 section 6.6), the sender has ended the connection.

use super::{MediaEvent, PeerEvent};
use kvs_media::SenderReport;
use rtc::interceptor::{Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;
use tokio::sync::mpsc;

/// Passes every packet on unchanged.
pub(super) struct SenderReportTap {
    /// Bounded; when it is full the report is dropped: the next one says more.
    media: mpsc::Sender<MediaEvent>,
    /// When it is full, the end shows by ICE.
    events: mpsc::Sender<PeerEvent>,
    /// Sources of media, and those of them that send: from their first packet to their BYE.
    bound: BTreeSet<u32>,
    sending: BTreeSet<u32>,
    // Both queues are drained by the engine after every packet.
    inbound: VecDeque<TaggedPacket>,
    outbound: VecDeque<TaggedPacket>,
}

impl SenderReportTap {
    pub(super) fn new(media: mpsc::Sender<MediaEvent>, events: mpsc::Sender<PeerEvent>) -> Self {
        Self {
            media,
            events,
            bound: BTreeSet::new(),
            sending: BTreeSet::new(),
            inbound: VecDeque::new(),
            outbound: VecDeque::new(),
        }
    }

    fn goodbye(&mut self, sources: &[u32]) {
        let mut removed = false;
        for source in sources {
            removed |= self.sending.remove(source);
        }
        if removed && self.sending.is_empty() {
            let _ = self.events.try_send(PeerEvent::Goodbye);
        }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for SenderReportTap {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, message: TaggedPacket) -> Result<(), Self::Error> {
        if let Packet::Rtp(packet) = &message.message.packet
            && self.bound.contains(&packet.header.ssrc)
        {
            self.sending.insert(packet.header.ssrc);
        }
        if let Packet::Rtcp(packets) = &message.message.packet {
            for packet in packets {
                if let Some(report) = packet.as_any().downcast_ref::<rtc::rtcp::sender_report::SenderReport>()
                {
                    let _ = self.media.try_send(MediaEvent::SenderReport(SenderReport {
                        ssrc: report.ssrc,
                        ntp: report.ntp_time,
                        rtp_timestamp: report.rtp_time,
                    }));
                } else if let Some(goodbye) = packet.as_any().downcast_ref::<rtc::rtcp::goodbye::Goodbye>() {
                    self.goodbye(&goodbye.sources);
                }
            }
        }
        self.inbound.push_back(message);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<Self::Rout> {
        self.inbound.pop_front()
    }

    fn handle_write(&mut self, message: TaggedPacket) -> Result<(), Self::Error> {
        self.outbound.push_back(message);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<Self::Wout> {
        self.outbound.pop_front()
    }
}

impl Interceptor for SenderReportTap {
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}
    fn bind_remote_stream(&mut self, info: &StreamInfo) {
        self.bound.insert(info.ssrc);
    }
    fn unbind_remote_stream(&mut self, info: &StreamInfo) {
        self.bound.remove(&info.ssrc);
        self.sending.remove(&info.ssrc);
    }
}
