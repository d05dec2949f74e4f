//! To which media section a packet belongs (RFC 9143, section 9.2): by its MID, else by a source that is known, else by
//! its payload type.

use crate::congestion::Sending;
use crate::rtp::{Extensions, unwrap_rtx};
use crate::sdp::{ABS_SEND_TIME_URI, Answer, Codec, MID_URI, TRANSPORT_CC_URI};
use kvs_media::{MediaKind, RtpPacket};
use std::collections::{BTreeMap, HashMap};

/// Sources that are remembered; a master has a handful.
const MAX_SOURCES: usize = 256;

/// Where a packet goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// To a track, retransmissions unwrapped.
    Track {
        kind: MediaKind,
        /// Units of the packet's timestamp in a second.
        clock_rate: u32,
        packet: RtpPacket,
        /// It came on the source itself, not as a retransmission.
        original: bool,
    },
    /// A probe: nothing is in it.
    Probe,
    /// To nowhere: no section has this payload type, or it cannot be told which.
    Unbound,
}

#[derive(Debug)]
struct Section {
    kind: MediaKind,
    /// Ours, and the answer's where it has its own.
    mids: Vec<String>,
    /// Ids under which packets may carry it.
    mid_extensions: Vec<u8>,
    formats: BTreeMap<u8, Format>,
    /// The source whose retransmissions come on a source of their own that nobody declared.
    newest: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
enum Format {
    Media { clock_rate: u32 },
    Rtx { apt: u8, clock_rate: u32 },
}

/// The tables of one connection.
#[derive(Debug, Default)]
pub(crate) struct Demux {
    sections: Vec<Section>,
    /// Source → index into `sections`.
    sources: HashMap<u32, usize>,
    /// Source of retransmissions → source that they repeat.
    repairs: HashMap<u32, u32>,
    transport_cc: Vec<u8>,
    abs_send_time: Vec<u8>,
}

impl Demux {
    /// As the answer has it.
    pub(crate) fn new(answer: &Answer) -> Self {
        let mut demux = Self::default();
        for (index, section) in answer.sections.iter().enumerate() {
            let extensions = |uri: &'static str| {
                section.extensions.iter().filter(move |found| found.uri == uri).map(|found| found.id)
            };
            demux.transport_cc.extend(extensions(TRANSPORT_CC_URI).filter(|_| section.transport_cc));
            demux.abs_send_time.extend(extensions(ABS_SEND_TIME_URI));
            demux.sources.extend(section.ssrcs.iter().take(MAX_SOURCES / 4).map(|ssrc| (*ssrc, index)));
            for (media, rtx) in section.rtx_ssrcs.iter().take(MAX_SOURCES / 4) {
                demux.sources.insert(*rtx, index);
                demux.repairs.insert(*rtx, *media);
            }
            let formats = section.formats.iter().map(|format| {
                let clock_rate = format.codec.clock_rate();
                let content = match format.codec {
                    Codec::Rtx { apt } => Format::Rtx { apt, clock_rate },
                    _ => Format::Media { clock_rate },
                };
                (format.payload_type, content)
            });
            demux.sections.push(Section {
                kind: section.kind,
                mids: std::iter::once(&section.mid).chain(&section.answered_mid).cloned().collect(),
                mid_extensions: extensions(MID_URI).collect(),
                formats: formats.collect(),
                newest: section.ssrcs.first().copied(),
            });
        }
        for ids in [&mut demux.transport_cc, &mut demux.abs_send_time] {
            ids.sort_unstable();
            ids.dedup();
        }
        demux
    }

    /// What a packet tells of its sending.
    pub(crate) fn sending(&self, extensions: Extensions<'_>) -> Sending {
        let value = |ids: &[u8]| ids.iter().find_map(|id| extensions.get(*id));
        let sequence = value(&self.transport_cc).and_then(|value| {
            // Behind them may be what the second version of the extension asks for.
            Some(u16::from_be_bytes([*value.first()?, *value.get(1)?]))
        });
        let time = match value(&self.abs_send_time) {
            Some([high, middle, low]) => Some(u32::from_be_bytes([0, *high, *middle, *low])),
            _ => None,
        };
        Sending { sequence, time }
    }

    /// Says where a packet goes, and remembers its source.
    pub(crate) fn route(&mut self, packet: RtpPacket, extensions: Extensions<'_>) -> Route {
        let by_mid = self.sections.iter().position(|section| {
            let mut found = section.mid_extensions.iter().filter_map(|id| extensions.get(*id));
            found.any(|found| section.mids.iter().any(|mid| mid.as_bytes() == found))
        });
        let payload_type = packet.payload_type;
        let takes = |index: &usize| self.sections[*index].formats.contains_key(&payload_type);
        // A source that was bound by a payload type may be found to be another section's by its MID; a payload type
        // that a section has not agreed to is looked for in the others.
        let index = by_mid
            .filter(takes)
            .or_else(|| self.sources.get(&packet.ssrc).copied().filter(takes))
            .or_else(|| {
                let mut having = (0..self.sections.len()).filter(takes);
                having.next().filter(|_| having.next().is_none())
            });
        let Some(index) = index else {
            return Route::Unbound;
        };
        if self.sources.len() >= MAX_SOURCES && !self.sources.contains_key(&packet.ssrc) {
            // Sources that change without end: what was declared is forgotten with them, and found again.
            self.sources.clear();
            self.repairs.clear();
        }
        self.sources.insert(packet.ssrc, index);
        let section = &mut self.sections[index];
        let (kind, format) = (section.kind, section.formats[&payload_type]);
        match format {
            Format::Media { clock_rate } => {
                section.newest = Some(packet.ssrc);
                Route::Track { kind, clock_rate, packet, original: true }
            }
            Format::Rtx { apt, clock_rate } => {
                // Sent again on the source itself it would be out of its sequence: it has a source of its own.
                let repaired = self.repairs.get(&packet.ssrc).copied().or(section.newest);
                match repaired.and_then(|ssrc| unwrap_rtx(packet, apt, ssrc)) {
                    Some(packet) => Route::Track { kind, clock_rate, packet, original: false },
                    None => Route::Probe,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::{AcceptedSection, H264Parameters, HeaderExtension, PayloadFormat};
    use bytes::Bytes;

    fn section(kind: MediaKind, mid: &str, formats: &[(u8, Codec)], ssrcs: &[u32]) -> AcceptedSection {
        let formats =
            formats.iter().cloned().map(|(payload_type, codec)| PayloadFormat { payload_type, codec });
        AcceptedSection {
            kind,
            mid: mid.to_owned(),
            answered_mid: None,
            transport: 0,
            formats: formats.collect(),
            extensions: vec![
                HeaderExtension { id: 1, uri: MID_URI.to_owned() },
                HeaderExtension { id: 2, uri: TRANSPORT_CC_URI.to_owned() },
            ],
            ssrcs: ssrcs.to_vec(),
            rtx_ssrcs: Vec::new(),
            nack: true,
            transport_cc: true,
            remb: false,
        }
    }

    fn h264() -> Codec {
        Codec::H264(H264Parameters {
            profile_level_id: "42e01f".to_owned(),
            packetization_mode: 1,
            parameter_sets: Vec::new(),
        })
    }

    fn demux(video_ssrcs: &[u32]) -> Demux {
        Demux::new(&Answer {
            transports: Vec::new(),
            by_section: Vec::new(),
            sections: vec![
                section(MediaKind::Audio, "0", &[(111, Codec::Opus { stereo: false })], &[]),
                section(MediaKind::Video, "1", &[(102, h264()), (103, Codec::Rtx { apt: 102 })], video_ssrcs),
            ],
            data: None,
            refused: Vec::new(),
            left_out: Vec::new(),
        })
    }

    /// Bytes of a packet, with a MID.
    fn bytes(payload_type: u8, ssrc: u32, mid: Option<u8>, payload: &[u8]) -> Bytes {
        let mut bytes = vec![if mid.is_some() { 0x90 } else { 0x80 }, payload_type, 0, 1, 0, 0, 0, 0];
        bytes.extend(ssrc.to_be_bytes());
        if let Some(mid) = mid {
            bytes.extend([0xbe, 0xde, 0, 1, 0x10, mid, 0, 0]);
        }
        bytes.extend(payload);
        bytes.into()
    }

    fn kind(demux: &mut Demux, bytes: &Bytes) -> Option<(MediaKind, u32, bool)> {
        match demux.route(RtpPacket::parse(bytes).unwrap(), Extensions::of(bytes)) {
            Route::Track { kind, packet, original, .. } => Some((kind, packet.ssrc, original)),
            Route::Probe | Route::Unbound => None,
        }
    }

    #[test]
    fn undeclared_sources_are_bound_by_payload_type_and_may_change() {
        let mut demux = demux(&[]);
        for ssrc in [5, 6, 7] {
            assert_eq!(kind(&mut demux, &bytes(102, ssrc, None, &[1])), Some((MediaKind::Video, ssrc, true)));
            assert_eq!(
                kind(&mut demux, &bytes(103, 50 + ssrc, None, &[0, 9, 1])),
                Some((MediaKind::Video, ssrc, false)),
                "retransmissions repeat the newest source"
            );
        }
        assert_eq!(kind(&mut demux, &bytes(111, 9, None, &[1])), Some((MediaKind::Audio, 9, true)));
        assert_eq!(kind(&mut demux, &bytes(96, 5, None, &[1])), None, "nobody agreed to 96");
    }

    #[test]
    fn the_mid_decides_where_a_payload_type_is_used_twice() {
        let mut demux = demux(&[]);
        demux.sections[0].formats.insert(102, Format::Media { clock_rate: 48_000 });
        assert_eq!(kind(&mut demux, &bytes(102, 5, None, &[1])), None, "it may be either");
        assert_eq!(kind(&mut demux, &bytes(102, 5, Some(b'1'), &[1])), Some((MediaKind::Video, 5, true)));
        assert_eq!(kind(&mut demux, &bytes(102, 5, None, &[1])), Some((MediaKind::Video, 5, true)));
        assert_eq!(kind(&mut demux, &bytes(102, 6, Some(b'0'), &[1])), Some((MediaKind::Audio, 6, true)));
    }

    #[test]
    fn declared_sources_of_retransmissions_repeat_theirs() {
        let mut demux = demux(&[5, 6]);
        demux.repairs.insert(50, 5);
        assert_eq!(kind(&mut demux, &bytes(102, 6, None, &[1])), Some((MediaKind::Video, 6, true)));
        assert_eq!(kind(&mut demux, &bytes(103, 50, None, &[0, 9, 1])), Some((MediaKind::Video, 5, false)));
        assert_eq!(kind(&mut demux, &bytes(103, 50, None, &[])), None, "a probe");
    }

    #[test]
    fn sources_without_end_are_forgotten() {
        let mut demux = demux(&[1]);
        for ssrc in 0..10_000 {
            assert!(kind(&mut demux, &bytes(102, ssrc, None, &[1])).is_some());
            assert!(demux.sources.len() <= MAX_SOURCES);
        }
    }
}
