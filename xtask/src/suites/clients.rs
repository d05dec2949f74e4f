//! kvs-local as AWS's own clients see it.

use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;

use super::prepare::virtual_environment;
use super::run::Run;
use crate::demo;
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
        ! x264enc tune=zerolatency key-int-max=60 ! h264parse ! video/x-h264,stream-format=avc,alignment=au ! k.video_0 \
        audiotestsrc num-buffers=370 is-live=true ! audioconvert ! voaacenc ! aacparse \
        ! audio/mpeg,mpegversion=4,stream-format=raw ! k.audio_0 kvssink name=k"
    );
    suite.command(
        Command::new("gst-launch-1.0")
            .args(["-q", "-e"])
            .args(pipeline.split_whitespace())
            .arg(format!("stream-name={stream}"))
            .arg(format!("aws-region={}", demo::REGION))
            .envs(kvssink(local))
            .envs(local.credentials()),
    )
}
