//! From RTP packets to access units: reorder, clock, STAP-A and FU-A, assembly.

use std::time::{Duration, Instant, UNIX_EPOCH};

use bytes::Bytes;
use kvs_media::{MediaConfig, MediaKind, MediaOutput, MediaReceiver, RtpPacket, SenderReport, VideoOutput};

use crate::h264;
use crate::region::counted_region;

const FRAMES: u64 = 150;
const BITS: u64 = 2_000_000;
const PAYLOAD: usize = 1_100;
const SSRC: u32 = 0xcafe;
/// A retransmission comes so long after the packet was due: a round trip of 50 ms.
const REPAIR: Duration = Duration::from_millis(60);

/// What comes, and how long after the beginning.
type Arrivals = Vec<(Duration, RtpPacket)>;

/// Two seconds and more as they should be.
pub fn in_order() -> u64 {
    walk(packets())
}

/// One in fifty is lost and comes again, one in forty comes twice, and one in twenty behind the next.
pub fn lossy() -> u64 {
    let packets = packets();
    let mut arrivals = Vec::new();
    for (number, (at, packet)) in packets.into_iter().enumerate() {
        match number {
            0..100 => arrivals.push((at, packet)),
            _ if number % 50 == 0 => arrivals.push((at + REPAIR, packet)),
            _ if number % 40 == 1 => arrivals.extend([(at, packet.clone()), (at, packet)]),
            _ if number % 20 == 2 => arrivals.push((at + Duration::from_millis(2), packet)),
            _ => arrivals.push((at, packet)),
        }
    }
    // Stable: what comes at the same moment keeps its order.
    arrivals.sort_by_key(|(at, _)| *at);
    walk(arrivals)
}

fn walk(arrivals: Arrivals) -> u64 {
    let count = arrivals.len() as u64;
    let mut receiver = MediaReceiver::new(MediaConfig { audio: None, ..MediaConfig::default() });
    let (begin, wall) = (Instant::now(), UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    // The reports are the master's: one a second.
    let reports: Vec<_> = (0..=FRAMES / h264::RATE).map(report).collect();
    let outputs = counted_region(|| {
        let mut outputs = Vec::with_capacity(4096);
        let mut reports = reports.into_iter().peekable();
        for (at, packet) in arrivals {
            let now = begin + at;
            if let Some((_, report)) = reports.next_if(|(due, _)| *due <= at) {
                receiver.handle_sender_report(report, now);
            }
            if receiver.poll_timeout().is_some_and(|due| due <= now) {
                receiver.handle_timeout(now);
            }
            receiver.handle_rtp(MediaKind::Video, packet, now, wall + at);
            outputs.extend(std::iter::from_fn(|| receiver.poll_output()));
        }
        receiver.finish(begin + Duration::from_secs(60));
        outputs.extend(std::iter::from_fn(|| receiver.poll_output()));
        outputs
    });
    let is_unit = |output: &&MediaOutput| matches!(output, MediaOutput::Video(VideoOutput::AccessUnit(_)));
    assert_eq!(outputs.iter().filter(is_unit).count() as u64, FRAMES, "frames came through");
    count
}

fn report(second: u64) -> (Duration, SenderReport) {
    let report = SenderReport {
        ssrc: SSRC,
        ntp: (4_000_000_000 + second) << 32,
        rtp_timestamp: u32::try_from(second * 90_000).unwrap(),
    };
    (Duration::from_secs(second), report)
}

/// STAP-A of SPS and PPS in front of an IDR, slices in FU-A (RFC 6184), a tenth of a millisecond apart.
fn packets() -> Arrivals {
    let mut packets = Vec::new();
    let mut sequence = 65_000_u16;
    for number in 0..FRAMES {
        let mut payloads = Vec::new();
        if h264::is_key(number) {
            let unit = |unit: &[u8]| [&(unit.len() as u16).to_be_bytes()[..], unit].concat();
            payloads.push([&[0x78][..], &unit(&h264::SPS), &unit(&h264::PPS)].concat());
        }
        let nal = h264::slice(number, h264::length(number, BITS));
        let chunks: Vec<_> = nal[1..].chunks(PAYLOAD).collect();
        for (at, chunk) in chunks.iter().enumerate() {
            let (first, last) = (u8::from(at == 0) << 7, u8::from(at + 1 == chunks.len()) << 6);
            payloads.push([&[nal[0] & 0x60 | 28, first | last | nal[0] & 0x1f], *chunk].concat());
        }
        let timestamp = u32::try_from(number * 90_000 / h264::RATE).unwrap();
        let last = payloads.len() - 1;
        for (at, payload) in payloads.into_iter().enumerate() {
            let packet = RtpPacket {
                ssrc: SSRC,
                payload_type: 102,
                sequence,
                timestamp,
                marker: at == last,
                padding: 0,
                payload: Bytes::from(payload),
            };
            sequence = sequence.wrapping_add(1);
            let sent = Duration::from_millis(number * 1_000 / h264::RATE);
            packets.push((sent + Duration::from_micros(100 * at as u64), packet));
        }
    }
    packets
}
