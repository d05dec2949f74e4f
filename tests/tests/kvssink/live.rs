//! Live pipelines whose tracks come with different delay: what is stored has the times that it had, all of it.

use kvs_local::Server;
use kvs_local::mkv::{Item, Parser};
use kvs_local::model::Scope;

use super::{launch, local};

/// Seconds of media of a pipeline.
const SECONDS: u64 = 8;

struct Pipeline {
    name: &'static str,
    fps: u64,
    /// From the raw picture to `h264parse`.
    video: &'static str,
    /// From raw sound to the caps of `kvssink`.
    audio: &'static str,
    /// Microseconds of a frame of sound.
    audio_us: u64,
}

/// 1024 samples at 44.1 kHz.
const AAC: (&str, u64) = ("voaacenc ! aacparse ! audio/mpeg,mpegversion=4,stream-format=raw", 23_220);
/// 1024 samples at 8 kHz.
const ALAW: (&str, u64) = ("alawenc", 128_000);
const QUEUE: &str = "queue max-size-time=0 max-size-bytes=0 max-size-buffers=0";

fn pipelines() -> Vec<Pipeline> {
    let row = |name, fps, video, (audio, audio_us)| Pipeline { name, fps, video, audio, audio_us };
    vec![
        row("x264enc with its defaults", 30, "x264enc key-int-max=60", AAC),
        row("the same, 10 fps", 10, "x264enc key-int-max=20", AAC),
        row(
            "ultrafast, lookahead of 20, 15 fps",
            15,
            "x264enc speed-preset=ultrafast rc-lookahead=20 key-int-max=30",
            AAC,
        ),
        row("video delayed 1.5 s", 30, "ZEROLATENCY ! QUEUE min-threshold-time=1500000000", ALAW),
        row("video delayed 4 s", 30, "ZEROLATENCY ! QUEUE min-threshold-time=4000000000", ALAW),
        row(
            "audio delayed 1.5 s",
            30,
            "ZEROLATENCY",
            ("alawenc ! QUEUE min-threshold-time=1500000000", 128_000),
        ),
        row(
            "audio delayed 4 s",
            30,
            "ZEROLATENCY",
            (
                "voaacenc ! aacparse ! audio/mpeg,mpegversion=4,stream-format=raw \
                 ! QUEUE min-threshold-time=4000000000",
                23_220,
            ),
        ),
        row("zerolatency", 30, "ZEROLATENCY", AAC),
        row("B pictures", 30, "x264enc bframes=2 key-int-max=60", AAC),
    ]
}

impl Pipeline {
    fn stream(&self) -> String {
        self.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
    }

    fn rate(&self) -> u64 {
        if self.audio_us == AAC.1 { 44_100 } else { 8_000 }
    }

    fn text(&self) -> String {
        let (frames, sound) = (SECONDS * self.fps, SECONDS * 1_000_000 / self.audio_us);
        let rate = self.rate();
        let text = format!(
            "videotestsrc is-live=true num-buffers={frames} \
             ! video/x-raw,width=160,height=120,framerate={}/1 ! {} ! h264parse \
             ! video/x-h264,stream-format=avc,alignment=au ! k.video_0 \
             audiotestsrc is-live=true samplesperbuffer=1024 num-buffers={sound} \
             ! audio/x-raw,rate={rate},channels=1 ! {} ! k.audio_0 kvssink name=k stream-name={} -m",
            self.fps,
            self.video,
            self.audio,
            self.stream(),
        );
        text.replace("ZEROLATENCY", "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=60")
            .replace("QUEUE", QUEUE)
    }
}

/// What a stream holds.
#[derive(Default)]
struct Found {
    /// Milliseconds, in the order of decoding.
    times: [Vec<i64>; 2],
    sessions: usize,
}

fn found(server: &Server, stream: &str) -> Found {
    let app = server.app();
    let key = app.control.stream(&Scope::of_region("us-west-2"), stream).unwrap().folder();
    let fragments = app.archive.fragments(&key);
    let mut found = Found::default();
    let mut headers: Vec<_> = fragments.iter().map(|info| info.header.clone()).collect();
    headers.dedup();
    found.sessions = headers.len();
    for info in &fragments {
        let (header, raw) = app.archive.read(&key, info).unwrap();
        let (mut parser, mut items) = (Parser::new(1 << 20), Vec::new());
        parser.push(&[header, raw].concat(), &mut items).unwrap();
        for item in items {
            if let Item::Frame { track, time_ms, .. } = item {
                found.times[track as usize - 1].push(time_ms);
            }
        }
    }
    found
}

/// By how many milliseconds the frame that is furthest off is off from even spacing of `seconds / per`, and which one
/// that is.
fn off(times: &[i64], seconds: u64, per: u64) -> (i64, usize) {
    let mut times = times.to_vec();
    times.sort_unstable();
    let first = times.first().copied().unwrap_or_default();
    let nominal = |n: usize| (n as u64 * seconds * 1000 / per) as i64;
    let off = times.iter().enumerate().map(|(n, time)| (time - first - nominal(n), n));
    let furthest = off.max_by_key(|(off, n)| (off.abs(), std::cmp::Reverse(*n)));
    furthest.map(|(off, n)| (off.abs(), n)).unwrap_or_default()
}

/// The number behind these words.
fn number(line: &str, words: &str) -> Option<u64> {
    let (_, rest) = line.split_once(words)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// One after the other they would take minutes; all at once they would starve each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_pipelines_are_stored_with_the_times_that_they_have() {
    let (server, _folder) = local().await;
    let pipelines = pipelines();
    let mut wrong = Vec::new();
    println!(
        "| Pipeline | Video | off by | Audio | off by | Audio - video | Sessions |\n|---|---|---|---|---|---|---|"
    );
    for three in pipelines.chunks(3) {
        let texts: Vec<String> = three.iter().map(Pipeline::text).collect();
        let runs = texts.iter().map(|text| launch(&server, "secret", text));
        let outputs = futures::future::join_all(runs).await;
        for (pipeline, output) in three.iter().zip(outputs) {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let found = found(&server, &pipeline.stream());
            let (frames, sound) = (SECONDS * pipeline.fps, SECONDS * 1_000_000 / pipeline.audio_us);
            let [video, audio] = &found.times;
            let ((off_video, at_video), (off_audio, at_audio)) =
                (off(video, 1, pipeline.fps), off(audio, 1024, pipeline.rate()));
            let distance = audio[0] - video.iter().min().unwrap();
            println!(
                "| {} | {} of {frames} | {off_video} ms | {} of {sound} | {off_audio} ms | {distance} ms | {} |",
                pipeline.name,
                video.len(),
                audio.len(),
                found.sessions
            );
            // Sound that is over before the first picture is none of a recording with pictures.
            let dropped: Vec<_> = said.lines().filter(|line| line.contains("kvs-dropped")).collect();
            let early = dropped.iter().filter(|line| line.contains("BeforeKeyFrame"));
            let early: u64 = early.filter_map(|line| number(line, "audio-frames=(guint64)")).sum();
            let lost = dropped.iter().any(|line| !line.contains("BeforeKeyFrame"));
            // An encoder may add a frame for its delay.
            let complete = video.len() as u64 == frames
                && (sound..=sound + 2).contains(&(audio.len() as u64 + early))
                && early <= 12;
            // Both sources start with the pipeline, within a frame of sound and a moment of a busy machine.
            let frame = (pipeline.audio_us / 1000) as i64;
            // A millisecond for rounding; or, as the service wants it, because sound of the fragment before falls into the
            // same one as a key frame.
            let exact = off_video <= 1 && off_audio <= 1 && (-frame - 300..=100).contains(&distance);
            if !complete || !exact || found.sessions != 1 || lost {
                let off = format!("furthest off are picture {at_video} and sound {at_audio}");
                wrong.push(format!("{}: {off}; {dropped:?}", pipeline.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    server.shutdown().await;
}
