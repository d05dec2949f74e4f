//! kvs-local as AWS's own clients see it.

use std::ffi::OsString;
use std::fs;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;

use super::prepare::virtual_environment;
use super::run::Run;
use crate::demo;
use crate::process::Running;
use crate::workspace::{self, root, target};

pub fn boto3(suite: &mut Run<'_>) -> Result<()> {
    suite.binaries()?;
    let python = virtual_environment("venv", &root().join("tests/python/requirements.txt"))?;
    let local = demo::LocalKvs::start_for_tests("boto3")?;
    let script = |name: &str| {
        let mut command = Command::new(&python);
        command.arg(root().join("crates/local/tests").join(name)).arg(&local.url).envs(local.credentials());
        command
    };
    suite.command(&mut script("boto3_control.py"))?;
    suite.command(&mut script("boto3_configurations.py"))?;
    suite.command(&mut script("boto3_storage.py"))?;
    store_media(suite, &local, "boto3-media")?;
    suite.command(script("boto3_media.py").args(["boto3-media", &FRAMES.to_string(), demo::REGION]))
}

pub fn js(suite: &mut Run<'_>) -> Result<()> {
    suite.binaries()?;
    let folder = root().join("tests/js");
    workspace::npm_ci(&folder)?;
    let local = demo::LocalKvs::start_for_tests("js")?;
    store_media(suite, &local, "js-media")?;
    suite.command(
        Command::new("node")
            .arg(folder.join("conformance.mjs"))
            .args([&local.url, demo::REGION, "js-media", &FRAMES.to_string()])
            .envs(local.credentials())
            .envs(kvssink(&local)),
    )
}

/// The video frames of `store_media`: eight seconds.
const FRAMES: u32 = 240;

/// The environment with which a plain GStreamer finds our kvssink, and that finds `local`.
fn kvssink(local: &demo::LocalKvs) -> [(&'static str, OsString); 2] {
    [
        ("CONTROL_PLANE_URI", local.url.clone().into()),
        ("GST_PLUGIN_PATH", target().join("debug").into_os_string()),
    ]
}

/// Eight seconds of picture and sound in a stream: four fragments, by kvssink in a plain gst-launch-1.0.
fn store_media(suite: &mut Run, local: &demo::LocalKvs, stream: &str) -> Result<()> {
    let pipeline = format!(
        "videotestsrc num-buffers={FRAMES} is-live=true ! video/x-raw,width=320,height=240,framerate=30/1 \
        ! x264enc tune=zerolatency key-int-max=60 ! {H264} audiotestsrc num-buffers=370 is-live=true ! {AAC} kvssink name=k"
    );
    suite.command(&mut gst_launch(local, stream, &pipeline))
}

/// What follows an encoder of H.264, or of sound for AAC.
const H264: &str = "h264parse ! video/x-h264,stream-format=avc,alignment=au ! k.video_0";
const AAC: &str =
    "audioconvert ! voaacenc ! aacparse ! audio/mpeg,mpegversion=4,stream-format=raw ! k.audio_0";

/// A pipeline that ends with `kvssink name=k` and its properties.
fn gst_launch(local: &demo::LocalKvs, stream: &str, pipeline: &str) -> Command {
    let mut command = Command::new("gst-launch-1.0");
    command
        .args(["-q", "-e"])
        .args(pipeline.split_whitespace())
        .arg(format!("stream-name={stream}"))
        .arg(format!("aws-region={}", demo::REGION))
        .envs(kvssink(local))
        .envs(local.credentials());
    command
}

pub fn players(suite: &mut Run<'_>) -> Result<()> {
    suite.binaries()?;
    let python = virtual_environment("venv", &root().join("tests/python/requirements.txt"))?;
    let folder = root().join("tests/js");
    workspace::npm_ci(&folder)?;
    let local = demo::LocalKvs::start_for_tests("players")?;
    let numbers = target().join("suites/players/numbers.gray");
    fs::write(&numbers, (0..FRAMES).flat_map(numbered).collect::<Vec<_>>())?;

    // As files, whose time is not that of a clock: eight seconds in a moment, that began ten minutes ago.
    let pictures = |source: &str| {
        format!(
            "{source} location={} ! rawvideoparse width=8 height=6 format=gray8 framerate={RATE}/1 ! identity name=pace \
             ! videoscale method=nearest-neighbour ! video/x-raw,width=320,height=240 ! videoconvert ! video/x-raw,format=I420",
            numbers.display()
        )
    };
    let [aac, alaw] = [
        format!("audiotestsrc num-buffers=370 ! {AAC}"),
        "audiotestsrc num-buffers=400 samplesperbuffer=160 ! audio/x-raw,rate=8000,channels=1 ! alawenc ! k.audio_0".to_owned(),
    ];
    let h264 = format!(
        "{} ! x264enc key-int-max=60 option-string=scenecut=0 bframes=2 ! {H264}",
        pictures("filesrc")
    );
    let h265 = format!(
        "{} ! x265enc speed-preset=ultrafast key-int-max=60 option-string=scenecut=0 ! h265parse \
         ! video/x-h265,stream-format=hvc1,alignment=au ! k.video_0",
        pictures("filesrc")
    );
    let began = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() - 600;
    let sink = format!("kvssink name=k streaming-type=offline file-start-time={began} retention-period=2");
    for (stream, media) in [
        ("play-hevc", h265),
        ("play-alaw", format!("{h264} {alaw}")),
        ("play-sound", aac.clone()),
        ("play-av", format!("{h264} {aac}")),
    ] {
        suite.command(&mut gst_launch(&local, stream, &format!("{media} {sink}")))?;
    }
    let script = root().join("crates/local/tests/boto3_playback.py");
    suite.command(
        Command::new(&python)
            .arg(script)
            .args([&local.url, &FRAMES.to_string(), demo::REGION])
            .envs(local.credentials()),
    )?;

    suite.command(
        Command::new("node")
            .arg(folder.join("hls_rules.mjs"))
            .args([&local.url, demo::REGION, "play-av", "play-hevc", "play-sound"])
            .envs(local.credentials()),
    )?;

    let live = format!(
        "{} ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max={RATE} ! {H264} audiotestsrc is-live=true ! {AAC} \
         kvssink name=k retention-period=2",
        pictures("multifilesrc loop=true").replace("name=pace", "sync=true")
    );
    let log = numbers.with_file_name("camera.log");
    let mut camera = Running::start("camera", &mut gst_launch(&local, "play-live", &live), &log)?;
    let played = suite.command(
        Command::new("node")
            .arg(folder.join("players.mjs"))
            .args([&local.url, demo::REGION, "play-av", "play-live", &FRAMES.to_string()])
            .envs(local.credentials()),
    );
    camera.check()?;
    camera.stop(Duration::ZERO);
    played
}

/// Pictures a second.
const RATE: u32 = 30;

/// A picture of eight by six squares that carries its number, as `tests/js/players.mjs` reads it: the first row has eight bits of
/// it, the second has them inverted, and the rest makes it another than the one before.
fn numbered(number: u32) -> [u8; 48] {
    let mut squares = [20 + (number * 37 % 200) as u8; 48];
    for bit in 0..8 {
        let white = number >> bit & 1 == 1;
        squares[bit] = if white { 235 } else { 16 };
        squares[8 + bit] = if white { 16 } else { 235 };
    }
    squares
}
