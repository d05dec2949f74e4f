#![no_main]
//! Packets with their times through both receivers: `[length, milliseconds, kind, packet …]`.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use kvs_media::{
    AudioOutput, MediaConfig, MediaKind, MediaOutput, MediaReceiver, RtpPacket, SenderClock, SenderReport, VideoOutput,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut receiver = MediaReceiver::new(MediaConfig::default());
    let start = Instant::now();
    let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000);
    let mut at = Duration::ZERO;
    let mut rest = data;
    while let [length, pause, kind, behind @ ..] = rest {
        let (bytes, behind) = behind.split_at(behind.len().min(usize::from(*length)));
        rest = behind;
        at += Duration::from_millis(u64::from(*pause));
        let (now, wall) = (start + at, wall + at);
        if *kind == 255 && bytes.len() >= 16 {
            let number = |from: usize| {
                u32::from_be_bytes([bytes[from], bytes[from + 1], bytes[from + 2], bytes[from + 3]])
            };
            let ntp = u64::from(number(4)) << 32 | u64::from(number(8));
            let report = SenderReport { ssrc: number(0), ntp, rtp_timestamp: number(12) };
            receiver.handle_sender_report(report, now);
        } else if let Ok(packet) = RtpPacket::parse(&Bytes::copy_from_slice(bytes)) {
            let kind = if kind & 1 == 0 { MediaKind::Video } else { MediaKind::Audio };
            receiver.handle_rtp(kind, packet, now, wall);
        }
        receiver.handle_timeout(now);
        while let Some(output) = receiver.poll_output() {
            let time = match output {
                MediaOutput::Video(VideoOutput::AccessUnit(unit)) => unit.capture_time,
                MediaOutput::Audio(AudioOutput::Packet(packet)) => packet.capture_time,
                _ => continue,
            };
            // It came before now, and nothing is stamped later than it came.
            assert!(time <= wall + SenderClock::AHEAD);
        }
        assert!(receiver.poll_timeout().is_none_or(|timeout| timeout > now));
    }
});
