//! The pipelines with a Matroska file in the place of `kvssink`, read back with ffprobe.
#![allow(clippy::unwrap_used)]

use super::elements::make;
use super::*;
use gst::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Every pipeline writes a file of its own.
struct Files {
    folder: PathBuf,
    next: AtomicU32,
}

impl Files {
    fn file(&self, number: u32) -> PathBuf {
        self.folder.join(format!("{number}.mkv"))
    }
}

impl SinkFactory for Files {
    fn attach(&self, pipeline: &gst::Pipeline) -> Result<gst::Element, PipelineError> {
        let mux = make("matroskamux")?;
        // As kvssink, it does not wait for a track that is late.
        let file = make("filesink")?;
        file.set_property("location", self.file(self.next.fetch_add(1, Ordering::SeqCst)).to_str().unwrap());
        file.set_property("async", false);
        pipeline.add_many([&mux, &file])?;
        mux.link(&file)?;
        Ok(mux)
    }
}

fn encode(description: &str) -> Vec<(bytes::Bytes, bool)> {
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
        units.push((bytes::Bytes::copy_from_slice(&buffer.map_readable().unwrap()), idr));
    }
    pipeline.set_state(gst::State::Null).unwrap();
    units
}

/// One second of 30 pictures with an IDR at 0 and 15.
fn pictures(width: u32) -> Vec<(bytes::Bytes, bool)> {
    let units = encode(&format!(
        "videotestsrc num-buffers=30 ! video/x-raw,width={width},height=180,framerate=30/1 \
         ! x264enc tune=zerolatency key-int-max=15 speed-preset=ultrafast byte-stream=true \
         ! video/x-h264,stream-format=byte-stream,alignment=au"
    ));
    assert_eq!(units.len(), 30);
    units
}

fn sounds(seconds: u32) -> Vec<(bytes::Bytes, bool)> {
    encode(&format!(
        "audiotestsrc num-buffers={} samplesperbuffer=960 ! audio/x-raw,rate=48000,channels=2 ! opusenc frame-size=20",
        seconds * 50
    ))
}

/// Frames of a track, as ffprobe counts them while decoding everything.
fn frames(file: &Path, track: &str) -> usize {
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

struct Bench {
    folder: tempfile::TempDir,
    files: Arc<Files>,
    start: SystemTime,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        gst::init().unwrap();
        check_installed(false).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let files = Arc::new(Files { folder: folder.path().to_owned(), next: AtomicU32::new(0) });
        Self { folder, files, start: SystemTime::now(), now: Instant::now() }
    }

    fn relay(&self, expected: Tracks) -> Relay {
        let factory = Arc::clone(&self.files) as Arc<dyn SinkFactory>;
        Relay::new(expected, factory, 64_000, Duration::from_secs(10))
    }

    /// Feeds pictures from `from` milliseconds on, in real order with sounds.
    fn feed(
        &self,
        relay: &mut Relay,
        from: u64,
        video: &[(bytes::Bytes, bool)],
        audio: &[(bytes::Bytes, bool)],
    ) -> Vec<String> {
        let mut events = Vec::new();
        let mut sounds = audio.iter().enumerate().peekable();
        let end = (video.len() as u64 * 100 / 3).max(audio.len() as u64 * 20);
        let mut pictures = video.iter().enumerate().peekable();
        for millis in 0..=end {
            let now = self.now + Duration::from_millis(from + millis);
            while let Some((index, (data, idr))) =
                pictures.next_if(|(index, _)| *index as u64 * 100 / 3 <= millis)
            {
                let picture = Picture {
                    data: data.clone(),
                    at: at(self.start, from + index as u64 * 100 / 3),
                    idr: *idr,
                };
                events.extend(relay.picture(picture, now));
            }
            while let Some((index, (data, _))) = sounds.next_if(|(index, _)| *index as u64 * 20 <= millis) {
                let sound = Sound {
                    data: Some(data.clone()),
                    at: at(self.start, from + index as u64 * 20),
                    duration: Duration::from_millis(20),
                };
                events.extend(relay.sound(sound, now));
            }
            events.extend(relay.tick(now));
        }
        events.iter().map(|event| format!("{event:?}")).collect()
    }
}

const BOTH: Tracks = Tracks { video: true, audio: true };

#[tokio::test(flavor = "multi_thread")]
async fn every_frame_of_both_tracks_is_stored() {
    let bench = Bench::new();
    let mut relay = bench.relay(BOTH);
    let events = bench.feed(&mut relay, 0, &pictures(320), &sounds(1));
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(relay.figures().pictures, 30);
    relay.finish().await;
    let file = bench.files.file(0);
    assert_eq!(frames(&file, "v:0"), 30);
    // 48 frames of 1024 samples make a second; the encoder adds its delay.
    let audio = frames(&file, "a:0");
    assert!((46..=50).contains(&audio), "{audio}");
    drop(bench.folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_audio_does_not_hold_video_back_and_joins_when_it_comes() {
    let bench = Bench::new();
    let mut relay = bench.relay(BOTH);
    let video = pictures(320);
    let mut events = bench.feed(&mut relay, 0, &video, &[]);
    events.extend(bench.feed(&mut relay, 1000, &video, &[]));
    assert!(events[0].contains("audio: false"), "{events:?}");
    let events = bench.feed(&mut relay, 2000, &video, &sounds(1));
    assert!(events.iter().any(|event| event == "NeedKeyFrame"), "{events:?}");
    assert!(events.iter().any(|event| event.contains("audio: true")), "{events:?}");
    assert_eq!(relay.figures().pictures, 90);
    relay.finish().await;
    let first = frames(&bench.files.file(0), "v:0");
    let second = frames(&bench.files.file(1), "v:0");
    assert_eq!(first + second, 90, "no frame is lost at the change: {first} and {second}");
    assert!(frames(&bench.files.file(1), "a:0") > 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_follows_the_pictures_and_ends_with_them() {
    let bench = Bench::new();
    let mut relay = bench.relay(BOTH);
    let video = pictures(320);
    bench.feed(&mut relay, 0, &video, &sounds(1));
    // Three seconds muted, as kvs-media reports it, then the master vanishes.
    for second in 1..4 {
        let gap =
            Sound { data: None, at: at(bench.start, second * 1000), duration: Duration::from_millis(1000) };
        relay.sound(gap, bench.now + Duration::from_millis(second * 1000));
        bench.feed(&mut relay, second * 1000, &video, &[]);
    }
    for second in 4..9 {
        let gap =
            Sound { data: None, at: at(bench.start, second * 1000), duration: Duration::from_millis(1000) };
        relay.sound(gap, bench.now + Duration::from_millis(second * 1000));
    }
    relay.finish().await;
    let file = bench.files.file(0);
    assert_eq!(frames(&file, "v:0"), 120);
    // Four seconds are 188 frames; the last 0.8 s of silence are still awaited as late packets.
    let audio = frames(&file, "a:0");
    assert!((140..=192).contains(&audio), "{audio}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_track_alone_is_stored() {
    let bench = Bench::new();
    let mut relay = bench.relay(Tracks { video: false, audio: true });
    bench.feed(&mut relay, 0, &[], &sounds(2));
    relay.finish().await;
    let audio = frames(&bench.files.file(0), "a:0");
    assert!((92..=97).contains(&audio), "{audio}");
    let mut relay = bench.relay(Tracks { video: true, audio: false });
    bench.feed(&mut relay, 0, &pictures(320), &[]);
    relay.finish().await;
    assert_eq!(frames(&bench.files.file(1), "v:0"), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_pipeline_is_reported_and_rebuilt_with_an_idr() {
    let bench = Bench::new();
    let mut relay = bench.relay(Tracks { video: true, audio: false });
    let video = pictures(320);
    bench.feed(&mut relay, 0, &video, &[]);
    // Another resolution: Matroska files cannot change theirs, so the pipeline fails.
    bench.feed(&mut relay, 1000, &pictures(640), &[]);
    let event = loop {
        let event = tokio::time::timeout(Duration::from_secs(10), relay.bus()).await.unwrap();
        if matches!(event, GraphEvent::Error { .. }) {
            break event;
        }
    };
    let events = relay.on_bus(event, bench.now + Duration::from_secs(2));
    assert!(matches!(&events[..], [RelayEvent::Broken { .. }]), "{events:?}");
    let events = bench.feed(&mut relay, 2000, &video, &[]);
    assert!(events.iter().any(|event| event.contains("Opened")), "{events:?}");
    relay.finish().await;
    // What came during the half second of waiting was kept.
    assert_eq!(frames(&bench.files.file(1), "v:0"), 30);
}
