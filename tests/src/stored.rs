//! What a stream holds, read through kvs-local's own HTTP API and judged by ffmpeg.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kvs_local::mkv::{Item, Parser};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::http::{get_bytes, get_json};
use crate::master::Sent;
use crate::nal::{Nal, split_annex_b};

/// A stored video frame of the synthetic master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFrame {
    pub number: u64,
    pub idr: bool,
    pub hash: String,
    /// Its presentation time: milliseconds since 1970.
    pub time_ms: i64,
}

/// A stream's content.
#[derive(Debug, Default)]
pub struct Stored {
    /// One playable file for each run of fragments with the same header.
    pub files: Vec<PathBuf>,
    /// Numbered video frames, in the order of storage.
    pub frames: Vec<StoredFrame>,
    /// Seconds of first and last packet of a kind, over all files.
    pub video: Option<(f64, f64)>,
    pub audio: Option<(f64, f64)>,
    /// Width and height of each file.
    pub sizes: Vec<(u64, u64)>,
    /// Channels of each file with sound.
    pub channels: Vec<u64>,
}

/// The stream's entry in `GET /_kvs/state`.
pub async fn state(endpoint: &str, stream: &str) -> Result<Value> {
    let state = get_json(&format!("{endpoint}/_kvs/state")).await?;
    let streams = state["streams"].as_array().context("no streams in the state")?;
    streams
        .iter()
        .find(|found| found["name"] == stream)
        .cloned()
        .with_context(|| format!("no stream {stream}"))
}

/// Downloads everything into `folder`, and decodes all of it: an error of ffmpeg is an error here.
pub async fn read(endpoint: &str, stream: &str, folder: &Path) -> Result<Stored> {
    let stored = read_undecoded(endpoint, stream, folder).await?;
    for file in &stored.files {
        decode(file).await?;
    }
    Ok(stored)
}

/// Names and values of the metadata of a file's fragments, in order.
pub fn tags(file: &Path) -> Result<Vec<(String, String)>> {
    let mut items = Vec::new();
    let mut parser = Parser::new(u64::MAX);
    parser.push(&std::fs::read(file)?, &mut items)?;
    parser.finish(&mut items)?;
    let tags = items.into_iter().filter_map(|item| match item {
        Item::Tags { tags, .. } => Some(tags),
        _ => None,
    });
    Ok(tags.flatten().filter(|(name, _)| !name.starts_with("AWS")).collect())
}

/// As [`read`], whatever a decoder would say.
pub async fn read_undecoded(endpoint: &str, stream: &str, folder: &Path) -> Result<Stored> {
    let mut stored = Stored::default();
    for part in 1.. {
        let url = format!("{endpoint}/_kvs/streams/{stream}/media.mkv?part={part}");
        let (status, body) = get_bytes(&url).await?;
        if status == 404 && part > 1 {
            break;
        }
        ensure!(status == 200, "GET {url} was answered {status}: {}", String::from_utf8_lossy(&body));
        let file = folder.join(format!("{stream}-{part}.mkv"));
        std::fs::write(&file, body)?;
        let probe = probe(&file).await?;
        let codecs = probe["streams"].as_array().into_iter().flatten().map(|it| &it["codec_name"]);
        let mut video = codecs.filter_map(|name| match name.as_str()? {
            "h264" => Some(Nal::H264),
            "hevc" => Some(Nal::H265),
            _ => None,
        });
        if let Some(nal) = video.next_back() {
            stored.frames.extend(frames(&file, nal, &times(&probe, "video")).await?);
        }
        for stream in probe["streams"].as_array().into_iter().flatten() {
            stored.channels.extend(stream["channels"].as_u64());
            if let (Some(width), Some(height)) = (stream["width"].as_u64(), stream["height"].as_u64()) {
                stored.sizes.push((width, height));
            }
        }
        for packet in probe["packets"].as_array().into_iter().flatten() {
            let Some(time) = packet["pts_time"].as_str().and_then(|text| text.parse::<f64>().ok()) else {
                continue;
            };
            let span = if packet["codec_type"] == "video" { &mut stored.video } else { &mut stored.audio };
            let (first, last) = span.unwrap_or((time, time));
            *span = Some((first.min(time), last.max(time)));
        }
        stored.files.push(file);
    }
    Ok(stored)
}

/// From the first stored IDR to the last stored frame, everything that was sent is there, once, unchanged, in order.
///
/// # Panics
/// When it is not so.
pub fn nothing_lost(stored: &Stored, sent: &Sent) {
    let first = stored.frames.first().expect("frames are stored");
    assert!(first.idr, "what is stored starts with an IDR");
    let last = stored.frames.last().expect("frames are stored");
    let expected: Vec<_> = sent
        .frames
        .iter()
        .filter(|frame| (first.number..=last.number).contains(&frame.number))
        .map(|frame| (frame.number, frame.idr, frame.hash.as_str()))
        .collect();
    let found: Vec<_> =
        stored.frames.iter().map(|frame| (frame.number, frame.idr, frame.hash.as_str())).collect();
    let missing: Vec<_> =
        expected.iter().filter(|frame| !found.contains(frame)).map(|frame| frame.0).collect();
    assert!(missing.is_empty(), "frames {missing:?} of {}..={} are missing", first.number, last.number);
    assert_eq!(found, expected);
}

/// Of a camera with one encoder, whichever viewers recorded it: from the first stored frame to the last everything that was
/// sent is there, unchanged. How many frames are there twice, for each time that they follow each other.
///
/// # Panics
/// When something is missing, is not as it was sent, or is there more often.
pub fn all_of_one_encoder(stored: &Stored, sent: &[Sent]) -> Vec<usize> {
    let of_the_camera: BTreeMap<u64, &str> =
        sent.iter().flat_map(|sent| &sent.frames).map(|frame| (frame.number, frame.hash.as_str())).collect();
    let mut found = BTreeMap::<u64, usize>::new();
    for frame in &stored.frames {
        assert_eq!(of_the_camera.get(&frame.number), Some(&frame.hash.as_str()), "frame {}", frame.number);
        *found.entry(frame.number).or_default() += 1;
    }
    let first = *found.keys().next().expect("frames are stored");
    let last = *found.keys().next_back().expect("frames are stored");
    let missing: Vec<_> = (first..=last).filter(|number| !found.contains_key(number)).collect();
    assert!(missing.is_empty(), "frames {missing:?} of {first}..={last} are missing");
    let (mut twice, mut before) = (Vec::new(), None);
    for (number, times) in found.into_iter().filter(|(_, times)| *times > 1) {
        assert_eq!(times, 2, "frame {number}");
        match twice.last_mut() {
            Some(run) if before == number.checked_sub(1) => *run += 1,
            _ => twice.push(1),
        }
        before = Some(number);
    }
    twice
}

/// The first stored frame is one of the first that were sent after the viewer connected, and the last is not long before
/// the end: nothing_lost alone would be content with two frames.
///
/// # Panics
/// When it is not so.
pub fn most_is_there(stored: &Stored, sent: &Sent) {
    let (first, last) = (
        stored.frames.first().expect("frames are stored").number,
        stored.frames.last().expect("frames are stored").number,
    );
    let count = sent.frames.len() as u64;
    assert!(first <= 45, "the first stored frame is {first}");
    assert!(last + 45 >= count, "the last stored frame is {last} of {count}");
}

pub(crate) async fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.stdin(Stdio::null()).output().await.context("cannot run ffmpeg")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success() && errors.trim().is_empty(),
        "{:?}: {} {errors}",
        command.as_std(),
        output.status
    );
    Ok(output.stdout)
}

/// Decodes a file: an error of ffmpeg is an error here, as is a time that goes back.
pub async fn decode(file: &Path) -> Result<()> {
    // Frames go out at the milliseconds that are stored. Otherwise ffmpeg counts in ticks of a frame rate that it guesses,
    // and complains about two frames in one tick: a camera on a busy machine is not that regular.
    let times = ["-fps_mode", "passthrough", "-enc_time_base:v", "1/1000"];
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-xerror", "-i"]).arg(file).args(times).args(["-f", "null", "-"]);
    output(&mut ffmpeg).await.map(drop)
}

async fn probe(file: &Path) -> Result<Value> {
    let entries = "packet=codec_type,pts_time:stream=codec_type,codec_name,width,height,channels";
    let json = output(
        Command::new("ffprobe").args(["-v", "error", "-show_entries", entries, "-of", "json"]).arg(file),
    )
    .await?;
    Ok(serde_json::from_slice(&json)?)
}

/// Presentation times of a file's packets of a kind, in the order of storage: milliseconds.
fn times(probe: &Value, kind: &str) -> Vec<Option<i64>> {
    let packets = probe["packets"].as_array().into_iter().flatten();
    let seconds = |packet: &Value| packet["pts_time"].as_str()?.parse::<f64>().ok();
    packets
        .filter(|packet| packet["codec_type"] == kind)
        .map(|packet| seconds(packet).map(|seconds| (seconds * 1e3).round() as i64))
        .collect()
}

/// Waits until the last picture of a stream of H.264 is this one ([`pictures`]), and reads everything then.
pub async fn read_up_to(
    endpoint: &str,
    stream: &str,
    folder: &Path,
    last: &str,
    within: Duration,
) -> Result<(Stored, Vec<(bool, String)>)> {
    let deadline = Instant::now() + within;
    loop {
        let stored = read_undecoded(endpoint, stream, folder).await?;
        let mut all = Vec::new();
        for file in &stored.files {
            all.extend(pictures(file).await?);
        }
        if all.last().is_some_and(|(_, hash)| hash == last) {
            for file in &stored.files {
                decode(file).await?;
            }
            return Ok((stored, all));
        }
        ensure!(Instant::now() < deadline, "{} pictures are stored, and {last} is not the last", all.len());
        sleep(Duration::from_millis(300)).await;
    }
}

/// Hashes of the pictures of a file of H.264, in the order of storage, each with whether it is an IDR.
pub async fn pictures(file: &Path) -> Result<Vec<(bool, String)>> {
    let (nal, stream) = (Nal::H264, annex_b(file, Nal::H264).await?);
    let mut pictures: Vec<Vec<&[u8]>> = Vec::new();
    for unit in split_annex_b(&stream).into_iter().filter(|unit| nal.is_slice(unit)) {
        if nal.begins_picture(unit) {
            pictures.push(Vec::new());
        }
        pictures.last_mut().context("a stored picture without its first slice")?.push(unit);
    }
    Ok(pictures
        .iter()
        .map(|units| (units.iter().any(|unit| nal.is_key(unit)), nal.slice_hash(units)))
        .collect())
}

/// The video of a file as a byte stream, without decoding it.
async fn annex_b(file: &Path, nal: Nal) -> Result<Vec<u8>> {
    let (filter, format) = match nal {
        Nal::H264 => ("h264_mp4toannexb,setts=ts=N", "h264"),
        Nal::H265 => ("hevc_mp4toannexb,setts=ts=N", "hevc"),
    };
    // A raw stream has no times. The muxer would count in ticks of a frame rate that it guesses, see `decode`.
    let copy = ["-map", "0:v:0", "-c", "copy", "-bsf:v", filter, "-f", format, "pipe:1"];
    let mut ffmpeg = Command::new("ffmpeg");
    output(ffmpeg.args(["-v", "error", "-i"]).arg(file).args(copy)).await
}

/// The numbered frames of a file, without decoding them; `times` are those of its pictures.
async fn frames(file: &Path, nal: Nal, times: &[Option<i64>]) -> Result<Vec<StoredFrame>> {
    let stream = annex_b(file, nal).await?;
    let mut frames = Vec::new();
    let mut number = None;
    let mut times = times.iter();
    let mut time = None;
    for unit in split_annex_b(&stream) {
        if !nal.is_slice(unit) {
            number = nal.frame_number(unit).or(number);
            continue;
        }
        if nal.begins_picture(unit) {
            time = *times.next().context("more pictures than packets")?;
        }
        // The master's clips have one slice a frame. A browser's frames have no number.
        let Some(number) = number.take() else { continue };
        let time_ms = time.context("a packet without a time")?;
        frames.push(StoredFrame { number, idr: nal.is_key(unit), hash: nal.slice_hash(&[unit]), time_ms });
    }
    Ok(frames)
}
