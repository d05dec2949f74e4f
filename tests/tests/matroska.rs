//! What the producer writes is what the service takes: any access units, any settings, judged by kvs-local's own reader,
//! which shares no code with the writer.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use kvs_local::FragmentLimits;
use kvs_local::putmedia::{Ingest, Output as Heard};
use kvs_putmedia::{
    CloseReason, Codec, FragmentEvent, Frame, MediaTime, Output, Producer, ProducerConfig, SessionId,
    Timecodes, TrackFormat, TrackKind, Transmit,
};
use proptest::prelude::*;

const START_MS: u64 = 1_795_000_000_000;

/// What comes in next.
#[derive(Clone, Debug)]
enum Input {
    /// A frame, so much later than its track's last one. Times may stand still and go back.
    Frame {
        track: TrackKind,
        after_ms: i64,
        random_access: bool,
        bytes: usize,
    },
    /// Another resolution, or another number of channels.
    Format {
        track: TrackKind,
        number: u8,
    },
    Metadata {
        persist: bool,
    },
    Event,
    EndOfTrack(TrackKind),
    Flush,
    Lost,
    /// Nothing, for a while.
    Silence {
        seconds: u64,
    },
}

fn track() -> impl Strategy<Value = TrackKind> {
    prop::sample::select(vec![TrackKind::Video, TrackKind::Video, TrackKind::Audio])
}

fn input() -> impl Strategy<Value = Input> {
    let after = prop_oneof![8 => 0..200_i64, 2 => 200..8000_i64, 1 => 8000..60_000_i64, 1 => -6000..0_i64];
    let frame = (track(), after, prop::bool::weighted(0.2), 0..600_usize);
    prop_oneof![
        40 => frame.prop_map(|(track, after_ms, random_access, bytes)| Input::Frame {
            track, after_ms, random_access, bytes
        }),
        1 => (track(), any::<u8>()).prop_map(|(track, number)| Input::Format { track, number }),
        1 => any::<bool>().prop_map(|persist| Input::Metadata { persist }),
        1 => Just(Input::Event),
        1 => track().prop_map(Input::EndOfTrack),
        1 => Just(Input::Flush),
        1 => Just(Input::Lost),
        1 => (1..40_u64).prop_map(|seconds| Input::Silence { seconds }),
    ]
}

fn config() -> impl Strategy<Value = ProducerConfig> {
    (any::<bool>(), any::<bool>(), 100..30_000_u64, prop::sample::select(vec![1, 1, 10, 100])).prop_map(
        |(key_frame_fragmentation, relative, fragment_ms, timecode_scale_ms)| ProducerConfig {
            key_frame_fragmentation,
            timecodes: if relative { Timecodes::Relative } else { Timecodes::Absolute },
            fragment_duration: Duration::from_millis(fragment_ms),
            timecode_scale_ms,
            ..ProducerConfig::default()
        },
    )
}

fn format(track: TrackKind, h265: bool, number: u8) -> TrackFormat {
    let private = Bytes::from(vec![1, 0x42, 0, number]);
    let width = 16 + u32::from(number);
    match (track, h265) {
        (TrackKind::Audio, _) if number.is_multiple_of(3) => {
            TrackFormat::g711(Codec::Alaw, 8000, 1 + u32::from(number % 2))
        }
        (TrackKind::Audio, _) => TrackFormat::aac(private, 48_000, 1 + u32::from(number)),
        (TrackKind::Video, true) => TrackFormat::h265(private, width, 240),
        (TrackKind::Video, false) => TrackFormat::h264(private, width, 240),
    }
}

/// The service: says RECEIVED and PERSISTED of what its reader accepts, and counts.
struct Service {
    scale_ms: u64,
    session: Option<(SessionId, Ingest)>,
    video: u64,
    audio: u64,
}

impl Service {
    fn hear(
        &mut self,
        producer: &mut Producer,
        heard: Vec<Heard>,
        now: Instant,
    ) -> Result<(), TestCaseError> {
        for output in heard {
            match output {
                Heard::Begun { .. } => {}
                Heard::Refused { id, reason, .. } => {
                    return Err(TestCaseError::fail(format!("{} {reason}", id as u16)));
                }
                Heard::Complete(fragment) => {
                    self.video += fragment.video_frames;
                    self.audio += fragment.audio_frames;
                    prop_assert_eq!(fragment.timecode_scale, self.scale_ms * 1_000_000);
                    let Some((id, _)) = &self.session else { continue };
                    for kind in ["RECEIVED", "PERSISTED"] {
                        let timecode = fragment.timecode;
                        let ack = format!("{{\"EventType\":\"{kind}\",\"FragmentTimecode\":{timecode}}}");
                        producer.handle_acks(*id, ack.as_bytes(), now);
                    }
                }
            }
        }
        Ok(())
    }

    fn pump(&mut self, producer: &mut Producer, now: Instant) -> Result<(), TestCaseError> {
        loop {
            while let Some(output) = producer.poll_output() {
                match output {
                    Output::Connect(start) => {
                        self.session = Some((start.id, Ingest::new(FragmentLimits::default())));
                        producer.handle_connected(start.id);
                    }
                    Output::Abort(_) => self.session = None,
                    _ => {}
                }
            }
            let Some((id, reader)) = &mut self.session else { return Ok(()) };
            let id = *id;
            match producer.poll_transmit(id, now) {
                Transmit::Data(data) => {
                    let heard = reader.push(&data.concat());
                    self.hear(producer, heard, now)?;
                }
                Transmit::Wait => return Ok(()),
                Transmit::End => {
                    let heard = reader.finish();
                    self.hear(producer, heard, now)?;
                    self.session = None;
                    producer.handle_closed(id, CloseReason::Lost("the end".to_owned()), now);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_access_units_are_matroska_that_the_service_takes(
        config in config(),
        h265 in any::<bool>(),
        inputs in prop::collection::vec(input(), 1..300),
    ) {
        let scale_ms = u64::from(config.timecode_scale_ms);
        let mut producer = Producer::new(config);
        let mut service = Service { scale_ms, session: None, video: 0, audio: 0 };
        let mut now = Instant::now();
        let mut times = [START_MS as i64; 2];
        for kind in TrackKind::ALL {
            producer.set_format(format(kind, h265, 1));
        }
        for input in inputs {
            let mut pause = Duration::from_millis(1);
            match input {
                Input::Frame { track, after_ms, random_access, bytes } => {
                    let time = &mut times[usize::from(track == TrackKind::Audio)];
                    *time += after_ms;
                    let data = Bytes::from(vec![0x42; bytes]);
                    let time = MediaTime::from_millis(*time as u64);
                    producer.push_frame(Frame { track, time, random_access, data }, now);
                    pause = Duration::from_millis(after_ms.clamp(0, 200) as u64);
                }
                Input::Format { track, number } => producer.set_format(format(track, h265, number)),
                Input::Metadata { persist } => drop(producer.put_metadata("colour", "red", persist)),
                Input::Event => drop(producer.put_event(FragmentEvent { notification: true, ..FragmentEvent::default() })),
                Input::EndOfTrack(track) => producer.end_track(track, now),
                Input::Flush => producer.flush(now),
                Input::Lost => {
                    if let Some((id, _)) = service.session.take() {
                        producer.handle_closed(id, CloseReason::Lost("reset".to_owned()), now);
                    }
                }
                Input::Silence { seconds } => pause = Duration::from_secs(seconds),
            }
            service.pump(&mut producer, now)?;
            now += pause;
            producer.handle_timeout(now);
            service.pump(&mut producer, now)?;
        }
        producer.finish(now);
        for _ in 0..2000 {
            service.pump(&mut producer, now)?;
            now += Duration::from_millis(100);
            producer.handle_timeout(now);
        }
        prop_assert!(producer.is_drained(), "{:?}", producer.statistics());
        let statistics = producer.statistics();
        let [video, audio] = statistics.frames_persisted;
        // What came again after a loss is counted by the service twice.
        prop_assert!(service.video >= video && service.audio >= audio);
        for kind in [0, 1] {
            let (came, kept, dropped) =
                (statistics.frames_in[kind], statistics.frames_persisted[kind], statistics.frames_dropped[kind]);
            prop_assert_eq!(came, kept + dropped);
        }
    }
}
