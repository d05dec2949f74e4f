//! The pipelines with Matroska files for outputs, read back with ffprobe.
#![allow(clippy::unwrap_used)]

use super::graph::GraphEvent;
use super::*;
use crate::elements::{PipelineError, request_pad};
use crate::outputs::{Delivery, Inlets, NotReady, Output, Outputs, Words};
use crate::tracks::Tracks;
use async_trait::async_trait;
use gst::prelude::*;
use kvs_ingest_api::AgentStatus;
use kvs_media::{AccessUnit, AudioCodec, AudioPacket, VideoCodec, VideoFormat, VideoParameters};
use prometheus_client::encoding::DescriptorEncoder;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Every pipeline writes a file of its own.
struct Files {
    folder: PathBuf,
    next: AtomicU32,
    /// The first pipeline takes nothing.
    first_is_stuck: AtomicBool,
    delivery: Delivery,
}

impl Files {
    fn new(folder: &Path) -> Arc<Self> {
        let words = Words {
            interrupted: "FileInterrupted",
            refused: "FileRefused",
            missing: "FileNotFound",
            receiver: "the disk",
        };
        Arc::new(Self {
            folder: folder.to_owned(),
            next: AtomicU32::new(0),
            first_is_stuck: AtomicBool::new(false),
            delivery: Delivery::watched(words),
        })
    }

    fn file(&self, number: u32) -> PathBuf {
        self.folder.join(format!("{number}.mkv"))
    }
}

#[async_trait]
impl Output for Files {
    async fn prepare(&self) -> Result<(), NotReady> {
        Ok(())
    }

    fn attach(&self, pipeline: &gst::Pipeline, tracks: Tracks) -> Result<Inlets, PipelineError> {
        let make = |name: &str| gst::ElementFactory::make(name).build();
        let mux = make("matroskamux")?;
        // As kvssink, it does not wait for a track that is late.
        let file = make("filesink")?;
        file.set_property("location", self.file(self.next.fetch_add(1, Ordering::SeqCst)).to_str().unwrap());
        file.set_property("async", false);
        pipeline.add_many([&mux, &file])?;
        mux.link(&file)?;
        let inlet = |template| -> Result<gst::Pad, PipelineError> {
            let queue = make("queue")?;
            pipeline.add(&queue)?;
            queue.static_pad("src").unwrap().link(&request_pad(&mux, template)?).unwrap();
            let inlet = queue.static_pad("sink").unwrap();
            if self.first_is_stuck.swap(false, Ordering::SeqCst) {
                inlet.add_probe(gst::PadProbeType::BLOCK | gst::PadProbeType::BUFFER, |_, _| {
                    gst::PadProbeReturn::Ok
                });
            }
            Ok(inlet)
        };
        Ok(Inlets {
            video: tracks.video.map(|_| inlet("video_%u")).transpose()?,
            audio: tracks.audio.map(|_| inlet("audio_%u")).transpose()?,
        })
    }

    fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    fn describe(&self, _: &mut AgentStatus) {}

    fn encode_metrics(&self, _: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        Ok(())
    }
}

/// Bytes, and of an IDR what a decoder must know.
pub(super) type Unit = (bytes::Bytes, Option<VideoParameters>);

pub(super) fn encode(description: &str) -> Vec<Unit> {
    let pipeline = gst::parse::launch(&format!("{description} ! appsink name=out sync=false"))
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
    let out = pipeline.by_name("out").unwrap().downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let mut units = Vec::new();
    while let Ok(sample) = out.pull_sample() {
        let buffer = sample.buffer().unwrap();
        if buffer.flags().contains(gst::BufferFlags::HEADER) && buffer.pts().is_none() {
            continue;
        }
        let idr = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let data = bytes::Bytes::copy_from_slice(&buffer.map_readable().unwrap());
        units.push((data, parameters(&sample).filter(|_| idr)));
    }
    pipeline.set_state(gst::State::Null).unwrap();
    units
}

fn parameters(sample: &gst::Sample) -> Option<VideoParameters> {
    let caps = sample.caps()?;
    let caps = caps.structure(0)?;
    let record = caps.get::<gst::Buffer>("codec_data").ok()?;
    let number = |field: &str| caps.get::<i32>(field).ok()?.try_into().ok();
    let configuration_record = bytes::Bytes::copy_from_slice(&record.map_readable().ok()?);
    let format = VideoFormat {
        codec: VideoCodec::H264,
        profile_idc: configuration_record[1],
        constraint_flags: configuration_record[2],
        level_idc: configuration_record[3],
        width: number("width")?,
        height: number("height")?,
    };
    Some(VideoParameters { format, configuration_record })
}

/// One second of 30 pictures with an IDR at 0 and 15.
pub(super) fn pictures(width: u32) -> Vec<Unit> {
    let units = encode(&format!(
        "videotestsrc num-buffers=30 ! video/x-raw,width={width},height=180,framerate=30/1 \
         ! x264enc tune=zerolatency key-int-max=15 speed-preset=ultrafast \
         ! video/x-h264,stream-format=avc,alignment=au"
    ));
    assert_eq!(units.len(), 30);
    units
}

pub(super) fn sounds(seconds: u32) -> Vec<Unit> {
    encode(&format!(
        "audiotestsrc num-buffers={} samplesperbuffer=960 ! audio/x-raw,rate=48000,channels=2 ! opusenc frame-size=20",
        seconds * 50
    ))
}

/// Frames of a track, as ffprobe counts them while decoding everything.
pub(super) fn frames(file: &Path, track: &str) -> usize {
    let output = std::process::Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-select_streams", track])
        .args(["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"])
        .arg(file)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8_lossy(&output.stdout).trim().trim_end_matches(',').parse().unwrap_or(0)
}

fn at(start: SystemTime, millis: u64) -> SystemTime {
    start + Duration::from_millis(millis)
}

pub(super) struct Bench {
    folder: tempfile::TempDir,
    files: Arc<Files>,
    /// Of the sound that is fed.
    codec: AudioCodec,
    start: SystemTime,
    now: Instant,
}

impl Bench {
    pub(super) fn new() -> Self {
        gst::init().unwrap();
        check_installed(true).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path());
        let codec = AudioCodec::Opus;
        Self { folder, files, codec, start: SystemTime::now(), now: Instant::now() }
    }

    fn pipelines(&self, expected: Tracks) -> Pipelines {
        self.pipelines_to(expected, [Arc::clone(&self.files)])
    }

    fn pipelines_to<const N: usize>(&self, expected: Tracks, outputs: [Arc<Files>; N]) -> Pipelines {
        let outputs = outputs.into_iter().map(|files| files as Arc<dyn Output>).collect();
        Pipelines::new(expected, outputs, 64_000, Duration::from_secs(10))
    }

    /// Feeds pictures from `from` milliseconds on, in real order with sounds.
    pub(super) fn feed(
        &self,
        pipelines: &mut Pipelines,
        from: u64,
        video: &[Unit],
        audio: &[Unit],
    ) -> Vec<String> {
        let mut events = Vec::new();
        let mut sounds = audio.iter().enumerate().peekable();
        let end = (video.len() as u64 * 100 / 3).max(audio.len() as u64 * 20);
        let mut pictures = video.iter().enumerate().peekable();
        for millis in 0..=end {
            let now = self.now + Duration::from_millis(from + millis);
            while let Some((index, (data, parameters))) =
                pictures.next_if(|(index, _)| *index as u64 * 100 / 3 <= millis)
            {
                let unit = AccessUnit {
                    data: data.clone(),
                    capture_time: at(self.start, from + index as u64 * 100 / 3),
                    rtp_timestamp: 0,
                    parameters: parameters.clone(),
                };
                events.extend(pipelines.access_unit(unit, now));
            }
            while let Some((index, (data, ..))) = sounds.next_if(|(index, _)| *index as u64 * 20 <= millis) {
                let packet = AudioPacket {
                    data: data.clone(),
                    capture_time: at(self.start, from + index as u64 * 20),
                    rtp_timestamp: 0,
                    duration: Duration::from_millis(20),
                    stereo: self.codec == AudioCodec::Opus && data[0] & 4 != 0,
                };
                events.extend(pipelines.audio_packet(packet, now));
            }
            events.extend(pipelines.tick(now));
        }
        events.iter().map(|event| format!("{event:?}")).collect()
    }
}

pub(super) const BOTH: Tracks =
    Tracks { video: Some(VideoCodec::H264), audio: Some(AudioCodec::Opus), stereo: false };
const VIDEO: Tracks = Tracks { audio: None, ..BOTH };
const AUDIO: Tracks = Tracks { video: None, ..BOTH };

#[tokio::test(flavor = "multi_thread")]
async fn every_frame_of_both_tracks_is_stored() {
    let bench = Bench::new();
    let mut pipelines = bench.pipelines(BOTH);
    let events = bench.feed(&mut pipelines, 0, &pictures(320), &sounds(1));
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(pipelines.figures().pictures, 30);
    pipelines.finish().await;
    let file = bench.files.file(0);
    assert_eq!(frames(&file, "v:0"), 30);
    // 48 frames of 1024 samples make a second; the encoder adds its delay.
    let audio = frames(&file, "a:0");
    assert!((46..=50).contains(&audio), "{audio}");
    drop(bench.folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_output_gets_every_frame() {
    let bench = Bench::new();
    let folder = tempfile::tempdir().unwrap();
    let outputs = [Arc::clone(&bench.files), Files::new(folder.path())];
    let mut pipelines = bench.pipelines_to(BOTH, outputs.clone());
    bench.feed(&mut pipelines, 0, &pictures(320), &sounds(1));
    pipelines.finish().await;
    for output in outputs {
        assert_eq!(frames(&output.file(0), "v:0"), 30);
        let audio = frames(&output.file(0), "a:0");
        assert!((46..=50).contains(&audio), "{audio}");
    }
}

/// It is fed from the next key frame on, and the other loses nothing.
#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_becomes_ready_joins_at_a_key_frame() {
    let bench = Bench::new();
    let folder = tempfile::tempdir().unwrap();
    let late = Files::new(folder.path());
    let outputs: Outputs = [Arc::clone(&bench.files), Arc::clone(&late)]
        .map(|files| files as Arc<dyn Output>)
        .into_iter()
        .collect();
    outputs.unprepared();
    outputs.set_ready(0, Ok(()));
    let mut pipelines = Pipelines::new(VIDEO, outputs.clone(), 64_000, Duration::from_secs(10));
    let video = pictures(320);
    bench.feed(&mut pipelines, 0, &video, &[]);
    outputs.set_ready(1, Ok(()));
    let events = bench.feed(&mut pipelines, 1000, &video, &[]);
    assert!(events.iter().any(|event| event.contains("Opened")), "{events:?}");
    pipelines.finish().await;
    assert_eq!([0, 1].map(|number| frames(&bench.files.file(number), "v:0")), [30, 30]);
    assert_eq!(frames(&late.file(0), "v:0"), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_audio_does_not_hold_video_back_and_joins_when_it_comes() {
    let bench = Bench::new();
    let mut pipelines = bench.pipelines(BOTH);
    let video = pictures(320);
    let mut events = bench.feed(&mut pipelines, 0, &video, &[]);
    events.extend(bench.feed(&mut pipelines, 1000, &video, &[]));
    assert!(events[0].contains("audio: None"), "{events:?}");
    let events = bench.feed(&mut pipelines, 2000, &video, &sounds(1));
    assert!(events.iter().any(|event| event == "NeedKeyFrame"), "{events:?}");
    assert!(events.iter().any(|event| event.contains("audio: Some(Opus)")), "{events:?}");
    assert_eq!(pipelines.figures().pictures, 90);
    pipelines.finish().await;
    let first = frames(&bench.files.file(0), "v:0");
    let second = frames(&bench.files.file(1), "v:0");
    assert_eq!(first + second, 90, "no frame is lost at the change: {first} and {second}");
    assert!(frames(&bench.files.file(1), "a:0") > 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_follows_the_pictures_and_ends_with_them() {
    let bench = Bench::new();
    let mut pipelines = bench.pipelines(BOTH);
    let video = pictures(320);
    bench.feed(&mut pipelines, 0, &video, &sounds(1));
    // Three seconds muted, as kvs-media reports it: behind the pictures. Then the master vanishes.
    for second in 1..4 {
        bench.feed(&mut pipelines, second * 1000, &video, &[]);
        let now = bench.now + Duration::from_millis(second * 1000 + 3_500);
        pipelines.audio_gap(at(bench.start, second * 1000), Duration::from_millis(1000), now);
    }
    for second in 4..9 {
        let now = bench.now + Duration::from_millis(second * 1000);
        pipelines.audio_gap(at(bench.start, second * 1000), Duration::from_millis(1000), now);
    }
    pipelines.finish().await;
    let file = bench.files.file(0);
    assert_eq!(frames(&file, "v:0"), 120);
    // Four seconds are 188 frames; the last 0.8 s of silence are still awaited as late packets.
    let audio = frames(&file, "a:0");
    assert!((140..=192).contains(&audio), "{audio}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_that_ends_before_its_tracks_are_known_is_stored() {
    let bench = Bench::new();
    let mut pipelines = bench.pipelines(BOTH);
    let video = pictures(320);
    bench.feed(&mut pipelines, 0, &video[..20], &[]);
    assert_eq!(pipelines.tracks(), None);
    pipelines.finish().await;
    assert_eq!(frames(&bench.files.file(0), "v:0"), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn audio_alone_is_stored() {
    let bench = Bench::new();
    let mut pipelines = bench.pipelines(AUDIO);
    bench.feed(&mut pipelines, 0, &[], &sounds(2));
    pipelines.finish().await;
    let audio = frames(&bench.files.file(0), "a:0");
    assert!((92..=97).contains(&audio), "{audio}");
}

#[tokio::test(flavor = "multi_thread")]
async fn video_alone_is_stored() {
    let bench = Bench::new();
    let mut pipelines = bench.pipelines(VIDEO);
    bench.feed(&mut pipelines, 0, &pictures(320), &[]);
    pipelines.finish().await;
    assert_eq!(frames(&bench.files.file(0), "v:0"), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_pipeline_is_reported_and_rebuilt_with_an_idr() {
    let bench = Bench::new();
    let mut pipelines = bench.pipelines(VIDEO);
    let video = pictures(320);
    bench.feed(&mut pipelines, 0, &video, &[]);
    // Another resolution: Matroska files cannot change theirs, so the pipeline fails.
    bench.feed(&mut pipelines, 1000, &pictures(640), &[]);
    let event = loop {
        let event = tokio::time::timeout(Duration::from_secs(10), pipelines.bus()).await.unwrap();
        if matches!(event, GraphEvent::Error { .. }) {
            break event;
        }
    };
    let events = pipelines.on_bus(event, bench.now + Duration::from_secs(2));
    assert!(matches!(&events[..], [PipelineEvent::Broken { .. }]), "{events:?}");
    let events = bench.feed(&mut pipelines, 2000, &video, &[]);
    assert!(events.iter().any(|event| event.contains("Opened")), "{events:?}");
    pipelines.finish().await;
    // What came during the half second of waiting was kept.
    assert_eq!(frames(&bench.files.file(1), "v:0"), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_takes_nothing_is_noticed_and_another_stores_what_follows() {
    let bench = Bench::new();
    bench.files.first_is_stuck.store(true, Ordering::SeqCst);
    let outputs: Outputs = [Arc::clone(&bench.files) as Arc<dyn Output>].into_iter().collect();
    let mut pipelines = bench.pipelines(VIDEO);
    let video = pictures(320);
    assert!(!pipelines.take_fed(), "nothing has come");
    let mut stalled = None;
    for second in 0..120 {
        bench.feed(&mut pipelines, second * 1000, &video, &[]);
        let now = bench.now + Duration::from_millis((second + 1) * 1000);
        assert!(pipelines.take_fed() && !pipelines.take_fed());
        outputs.fed(now);
        stalled = outputs.stalled(now).map(|_| (second, now));
        if stalled.is_some() {
            break;
        }
    }
    let (second, now) = stalled.unwrap();
    assert_eq!(second, 90);
    let events = pipelines.replace("nothing comes out".to_owned(), now);
    assert!(matches!(&events[..], [PipelineEvent::Broken { .. }]), "{events:?}");
    let events = bench.feed(&mut pipelines, (second + 1) * 1000, &video, &[]);
    assert!(events.iter().any(|event| event.contains("Opened")), "{events:?}");
    pipelines.finish().await;
    assert_eq!(frames(&bench.files.file(1), "v:0"), 30);
}

/// Times of a track's packets in seconds, in the order of storage.
fn packet_times(file: &Path, track: &str) -> Vec<f64> {
    let output = std::process::Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", track, "-show_entries", "packet=pts_time", "-of", "csv=p=0"])
        .arg(file)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter_map(|line| line.trim_end_matches(',').parse().ok()).collect()
}

/// When the sound of a file begins after silence, in seconds on the clock of its packets.
fn onsets(file: &Path) -> Vec<f64> {
    let output = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(file)
        .args(["-map", "0:a:0", "-ac", "1", "-f", "s16le", "-"])
        .output()
        .unwrap();
    let samples: Vec<i16> =
        output.stdout.chunks_exact(2).map(|bytes| i16::from_le_bytes([bytes[0], bytes[1]])).collect();
    let times = packet_times(file, "a:0");
    let mut found = Vec::new();
    let mut quiet = 10_000;
    for (index, sample) in samples.iter().enumerate() {
        if sample.unsigned_abs() > 6_000 {
            if quiet > 9_600 {
                found.push(times[index / 1024] + (index % 1024) as f64 / 48_000.0);
            }
            quiet = 0;
        } else {
            quiet += 1;
        }
    }
    found
}

/// A kilohertz for 50 ms each second, in Opus packets of 20 ms. The first at 0, the others from 0.98 s on: what this source
/// calls a second.
fn beeps(seconds: u32, channels: u32) -> Vec<Unit> {
    encode(&format!(
        "audiotestsrc wave=ticks freq=1000 sine-periods-per-tick=50 num-buffers={} samplesperbuffer=960 \
         ! audio/x-raw,rate=48000,channels={channels} ! opusenc frame-size=20 bitrate=64000",
        seconds * 50
    ))
}

/// The delays of Opus and AAC are taken off: a sound is stored under the time at which it sounded.
#[tokio::test(flavor = "multi_thread")]
async fn sound_is_stored_when_it_sounded() {
    for channels in [1, 2] {
        let bench = Bench::new();
        let mut pipelines = bench.pipelines(BOTH);
        let video: Vec<_> = (0..5).flat_map(|_| pictures(320)).collect();
        bench.feed(&mut pipelines, 0, &video, &beeps(5, channels));
        pipelines.finish().await;
        let file = bench.files.file(0);
        let start = packet_times(&file, "v:0")[0];
        let heard: Vec<_> = onsets(&file).iter().map(|at| at - start).collect();
        // The sixth begins in the last packet, and is heard to its end.
        assert_eq!(heard.len(), 6, "{heard:?}");
        for (number, heard) in heard.iter().enumerate() {
            let sounded = if number == 0 { 0.0 } else { number as f64 - 958.0 / 48_000.0 };
            // A picture's time in this file is in milliseconds.
            assert!((heard - sounded).abs() < 0.0015, "{channels} channels: {number} at {heard}");
        }
    }
}

/// G.711 is decoded here and not by an element: its time and its sound are the same as what an encoder of others was given.
#[tokio::test(flavor = "multi_thread")]
async fn g711_is_stored_when_it_sounded() {
    for (codec, encoder) in [(AudioCodec::Pcmu, "mulawenc"), (AudioCodec::Pcma, "alawenc")] {
        let bench = Bench { codec, ..Bench::new() };
        let mut pipelines = bench.pipelines(Tracks { audio: Some(codec), ..BOTH });
        let video: Vec<_> = (0..5).flat_map(|_| pictures(320)).collect();
        let source = "audiotestsrc wave=ticks freq=1000 sine-periods-per-tick=50 num-buffers=250 samplesperbuffer=160 \
                      ! audio/x-raw,format=S16LE,rate=8000,channels=1";
        let samples: Vec<_> = encode(source)
            .iter()
            .flat_map(|(data, _)| {
                data.chunks_exact(2).map(|it| i16::from_le_bytes([it[0], it[1]])).collect::<Vec<_>>()
            })
            .collect();
        bench.feed(&mut pipelines, 0, &video, &encode(&format!("{source} ! {encoder}")));
        pipelines.finish().await;
        let file = bench.files.file(0);
        let start = packet_times(&file, "v:0")[0];
        let heard: Vec<_> = onsets(&file).iter().map(|at| at - start).collect();
        let (mut sounded, mut quiet) = (Vec::new(), 10_000);
        for (index, sample) in samples.iter().enumerate() {
            quiet += 1;
            if sample.unsigned_abs() > 6_000 {
                sounded.extend((quiet > 1_600).then_some(index as f64 / 8_000.0));
                quiet = 0;
            }
        }
        assert_eq!(heard.len(), sounded.len(), "{codec}: {heard:?} {sounded:?}");
        assert!(heard.len() >= 5, "{heard:?}");
        for (heard, sounded) in heard.iter().zip(&sounded) {
            assert!((heard - sounded).abs() < 0.0015, "{codec}: heard at {heard}, sounded at {sounded}");
        }
    }
}

/// One in, one out, of channels: and what is widened once stays so.
#[tokio::test(flavor = "multi_thread")]
async fn mono_is_stored_as_mono_and_stereo_joins_at_a_key_frame() {
    let channels = |file: &Path| {
        let output = std::process::Command::new("ffprobe")
            .args(["-v", "error", "-select_streams", "a:0", "-show_entries", "stream=channels"])
            .args(["-of", "csv=p=0"])
            .arg(file)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).trim().trim_end_matches(',').to_owned()
    };
    let bench = Bench::new();
    let mut pipelines = bench.pipelines(BOTH);
    let video = pictures(320);
    bench.feed(&mut pipelines, 0, &video, &beeps(1, 1));
    let events = bench.feed(&mut pipelines, 1000, &video, &beeps(1, 2));
    assert!(events.iter().any(|event| event.contains("stereo: true")), "{events:?}");
    bench.feed(&mut pipelines, 2000, &video, &beeps(1, 1));
    assert_eq!(pipelines.figures().started, 2);
    pipelines.finish().await;
    let files = [bench.files.file(0), bench.files.file(1)];
    assert_eq!(files.each_ref().map(|file| channels(file)), ["1", "2"]);
    assert_eq!(frames(&files[0], "v:0") + frames(&files[1], "v:0"), 90);
}

/// Pictures that are presented before others keep their times and their place in the order of decoding.
#[tokio::test(flavor = "multi_thread")]
async fn b_pictures_keep_times_and_order() {
    let bench = Bench::new();
    let mut pipelines = bench.pipelines(VIDEO);
    let pipeline = gst::parse::launch(
        "videotestsrc num-buffers=60 ! video/x-raw,width=320,height=180,framerate=30/1 \
         ! x264enc bframes=2 b-adapt=false key-int-max=30 speed-preset=ultrafast \
         ! video/x-h264,profile=main,stream-format=avc,alignment=au ! appsink name=out sync=false",
    );
    let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
    let out = pipeline.by_name("out").unwrap().downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let mut times = Vec::new();
    while let Ok(sample) = out.pull_sample() {
        let buffer = sample.buffer().unwrap();
        // x264enc counts from a thousand hours on.
        let pts = buffer.pts().unwrap().nseconds() - 3_600_000_000_000_000;
        let idr = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let data = bytes::Bytes::copy_from_slice(&buffer.map_readable().unwrap());
        times.push(pts as f64 / 1e9);
        let parameters = parameters(&sample).filter(|_| idr);
        let capture_time = bench.start + Duration::from_nanos(pts);
        let unit = AccessUnit { data, capture_time, rtp_timestamp: 0, parameters };
        pipelines.access_unit(unit, bench.now + Duration::from_millis(1_000 + times.len() as u64));
    }
    pipeline.set_state(gst::State::Null).unwrap();
    assert!(times.windows(2).any(|pair| pair[1] < pair[0]), "no B pictures");
    pipelines.tick(bench.now + Duration::from_secs(3));
    pipelines.finish().await;
    let stored = packet_times(&bench.files.file(0), "v:0");
    assert_eq!(stored.len(), 60);
    let start = stored[0] - times[0];
    for (stored, sent) in stored.iter().zip(&times) {
        assert!((stored - start - sent).abs() < 0.002, "{stored} {sent}");
    }
}
