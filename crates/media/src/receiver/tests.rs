use std::time::UNIX_EPOCH;

use bytes::Bytes;

use super::*;
use crate::flow::Withheld;
use crate::testing::{Encoder, ms};

/// Capture times of what came out, as ms since the start.
#[derive(Default)]
struct Times {
    video: Vec<f64>,
    audio: Vec<f64>,
}

/// One sender with both tracks, 300 s after whose start the numbers of its clock mean anything to nobody.
fn run(reports: Option<u64>) -> Times {
    let mut receiver = MediaReceiver::new(MediaConfig::default());
    let (start, wall) = (Instant::now(), UNIX_EPOCH + Duration::from_secs(1_900_000_000));
    let mut encoder = Encoder::new();
    let (video_start, audio_start) = (encoder.timestamp, 12_345u32);
    let mut times = Times::default();
    let ntp = |at: u64| (4_000_000_000u64 << 32) + (at << 32) / 1000;
    // One step is a millisecond of the sender. Video takes 120 ms, audio 25.
    for step in 0..20_000u64 {
        let now = start + ms(step);
        let arrived = wall + ms(step);
        if step >= 120 && (step - 120) % 100 == 0 {
            let at = (step - 120) / 100 * 3;
            for frame in at..at + 3 {
                encoder.timestamp = video_start.wrapping_add(frame as u32 * 3000);
                for packet in encoder.frame(frame == 0) {
                    receiver.handle_rtp(MediaKind::Video, packet, now, arrived);
                }
            }
        }
        if step >= 25 && (step - 25) % 20 == 0 {
            let number = (step - 25) / 20;
            let packet = RtpPacket {
                ssrc: 2,
                payload_type: 111,
                sequence: number as u16,
                timestamp: audio_start + number as u32 * 960,
                marker: false,
                padding: 0,
                payload: Bytes::from_static(&[0xf8, 1]),
            };
            receiver.handle_rtp(MediaKind::Audio, packet, now, arrived);
        }
        if reports.is_some_and(|every| step % every == every - 1) {
            let (video, audio) = (video_start.wrapping_add(step as u32 * 90), audio_start + step as u32 * 48);
            receiver
                .handle_sender_report(SenderReport { ssrc: 2, ntp: ntp(step), rtp_timestamp: audio }, now);
            receiver.handle_sender_report(
                SenderReport { ssrc: 0xcafe, ntp: ntp(step), rtp_timestamp: video },
                now,
            );
        }
        receiver.handle_timeout(now);
        while let Some(output) = receiver.poll_output() {
            let since = |time: SystemTime| time.duration_since(wall).unwrap().as_secs_f64() * 1e3;
            match output {
                MediaOutput::Video(VideoOutput::AccessUnit(unit)) => {
                    times.video.push(since(unit.capture_time))
                }
                MediaOutput::Audio(AudioOutput::Packet(packet)) => {
                    times.audio.push(since(packet.capture_time));
                }
                _ => {}
            }
        }
    }
    times
}

/// Video minus audio, of what was captured at the same moment, over the whole time: every 100 ms there is a pair.
fn skews(times: &Times) -> Vec<f64> {
    times
        .video
        .iter()
        .step_by(3)
        .zip(times.audio.iter().step_by(5))
        .map(|(video, audio)| video - audio)
        .collect()
}

#[test]
fn without_reports_the_tracks_go_by_their_arrival() {
    let times = run(None);
    assert!(times.video.len() > 590 && times.audio.len() > 990);
    let skews = skews(&times);
    // The newest of three frames is 53 ms old when they arrive, audio 25.
    assert!(skews.iter().all(|skew| (25.0..=35.0).contains(skew)), "{skews:?}");
}

#[test]
fn reports_align_the_tracks_whenever_they_come() {
    for every in [50, 1_000, 5_000] {
        let times = run(Some(every));
        let skews = skews(&times);
        assert!(skews.iter().all(|skew| skew.abs() <= 150.0), "every {every}: {skews:?}");
        assert!(skews.last().unwrap().abs() <= 10.0, "every {every}: {skews:?}");
        for track in [&times.video, &times.audio] {
            assert!(track.windows(2).all(|pair| pair[1] > pair[0] && pair[1] - pair[0] < 40.0), "a jump");
        }
    }
}

#[test]
fn what_waits_comes_out_at_the_end() {
    let mut receiver = MediaReceiver::new(MediaConfig::default());
    let (start, wall) = (Instant::now(), UNIX_EPOCH + Duration::from_secs(1_900_000_000));
    let mut encoder = Encoder::new();
    let mut lost = None;
    for frame in 0..6u64 {
        for packet in encoder.frame(frame == 0) {
            // The first packet of the last picture but one never comes.
            if frame == 4 && lost.is_none() {
                lost = Some(packet.sequence);
                continue;
            }
            receiver.handle_rtp(MediaKind::Video, packet, start + ms(frame * 33), wall + ms(frame * 33));
        }
    }
    assert!(
        std::iter::from_fn(|| receiver.poll_output())
            .all(|it| !matches!(it, MediaOutput::Video(VideoOutput::AccessUnit(_))))
    );
    receiver.finish(start + ms(180));
    let pictures = std::iter::from_fn(|| receiver.poll_output())
        .filter(|it| matches!(it, MediaOutput::Video(VideoOutput::AccessUnit(_))))
        .count();
    assert_eq!(pictures, 4);
}

#[test]
fn a_track_that_is_not_wanted_is_ignored() {
    let mut receiver = MediaReceiver::new(MediaConfig { video: None, ..MediaConfig::default() });
    for packet in Encoder::new().frame(true) {
        receiver.handle_rtp(MediaKind::Video, packet, Instant::now(), SystemTime::now());
    }
    assert_eq!(receiver.poll_output(), None);
    assert!(receiver.stats(MediaKind::Video).is_none() && receiver.stats(MediaKind::Audio).is_some());
}

#[test]
fn each_track_says_for_itself_whether_it_is_handed_on() {
    let mut receiver = MediaReceiver::new(MediaConfig::default());
    let (start, wall) = (Instant::now(), UNIX_EPOCH + Duration::from_secs(1_900_000_000));
    let mut encoder = Encoder::new();
    let sound = |number: u64, payload: &'static [u8]| RtpPacket {
        ssrc: 2,
        payload_type: 111,
        sequence: number as u16,
        timestamp: number as u32 * 960,
        marker: false,
        padding: 0,
        payload: Bytes::from_static(payload),
    };
    let flows = |receiver: &MediaReceiver, at: u64| {
        [MediaKind::Video, MediaKind::Audio].map(|kind| receiver.flow(kind, start + ms(at)).unwrap())
    };
    assert_eq!(flows(&receiver, 0), [Flow::Nothing, Flow::Nothing]);
    // Ten seconds of pictures, then none; for the last twenty of thirty seconds what claims to be Opus is not (RFC 6716: a
    // packet of code 3 has a second byte).
    for step in 0..30_000u64 {
        let now = start + ms(step);
        if step < 10_000 && step % 33 == 0 {
            for packet in encoder.frame(step == 0) {
                receiver.handle_rtp(MediaKind::Video, packet, now, wall + ms(step));
            }
        }
        if step % 20 == 0 {
            let payload: &[u8] = if step < 10_000 { &[0xf8, 1] } else { &[0xfb] };
            receiver.handle_rtp(MediaKind::Audio, sound(step / 20, payload), now, wall + ms(step));
        }
        receiver.handle_timeout(now);
        while receiver.poll_output().is_some() {}
        let expected = match step {
            9_000 => [Flow::Flowing, Flow::Flowing],
            14_000 => [Flow::Flowing, Flow::Flowing],
            16_000 => [Flow::Stopped, Flow::Withheld(Withheld::NotTheCodec)],
            _ => continue,
        };
        assert_eq!(flows(&receiver, step), expected, "{step}");
    }
    assert_eq!(receiver.withheld(MediaKind::Audio).get(Withheld::NotTheCodec), 1_000);
    assert_eq!(receiver.withheld(MediaKind::Video).total(), 0);
}
