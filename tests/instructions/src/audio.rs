//! Opus packets through reorder and clock.

use std::time::{Duration, Instant, UNIX_EPOCH};

use bytes::Bytes;
use kvs_media::{AudioOutput, MediaConfig, MediaKind, MediaOutput, MediaReceiver, RtpPacket};

use crate::region::counted_region;

const PACKETS: u64 = 1_000;
/// Of 20 ms at 32 kbit/s.
const BYTES: usize = 80;
const SAMPLES: u64 = 960;

/// Twenty seconds of mono; each tenth packet comes behind the next.
pub fn reordered() -> u64 {
    let mut numbers: Vec<u64> = (0..PACKETS).collect();
    numbers.chunks_mut(10).for_each(|ten| ten.swap(8, 9));
    let packets: Vec<_> = numbers.into_iter().map(packet).collect();
    let mut receiver = MediaReceiver::new(MediaConfig { video: None, ..MediaConfig::default() });
    let (begin, wall) = (Instant::now(), UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let outputs = counted_region(|| {
        let mut outputs = Vec::with_capacity(2048);
        for (number, packet) in (0..).zip(packets) {
            let at = Duration::from_millis(20 * number);
            if receiver.poll_timeout().is_some_and(|due| due <= begin + at) {
                receiver.handle_timeout(begin + at);
            }
            receiver.handle_rtp(MediaKind::Audio, packet, begin + at, wall + at);
            outputs.extend(std::iter::from_fn(|| receiver.poll_output()));
        }
        receiver.finish(begin + Duration::from_secs(60));
        outputs.extend(std::iter::from_fn(|| receiver.poll_output()));
        outputs
    });
    let is_packet = |output: &&MediaOutput| matches!(output, MediaOutput::Audio(AudioOutput::Packet(_)));
    assert_eq!(outputs.iter().filter(is_packet).count() as u64, PACKETS, "packets came through");
    PACKETS
}

fn packet(number: u64) -> RtpPacket {
    // RFC 6716, section 3.1: hybrid, fullband, 20 ms, mono, one frame.
    let mut payload = vec![0x78];
    payload.extend((1..BYTES).map(|at| (at as u64 * 7 + number) as u8));
    RtpPacket {
        ssrc: 0xbeef,
        payload_type: 111,
        sequence: (65_000 + number) as u16,
        timestamp: u32::try_from(number * SAMPLES).unwrap(),
        marker: number == 0,
        padding: 0,
        payload: Bytes::from(payload),
    }
}
