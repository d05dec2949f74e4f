//! What the synthetic master plays: H.264 and Opus made by ffmpeg once and kept under the target folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;

use crate::nal::{nal_type, split_annex_b};

/// Frames a second of every clip.
pub const FRAME_RATE: u32 = 30;
/// Frames from one IDR to the next, unless a key frame is asked for.
pub const GROUP: usize = 60;
/// Groups in a clip.
const GROUPS: usize = 6;

/// One access unit: NAL units without start codes, parameter sets in front of an IDR.
#[derive(Clone, Debug)]
pub struct Frame {
    pub units: Vec<Vec<u8>>,
    pub idr: bool,
}

/// Groups of pictures, each starting with an IDR and decodable on its own.
#[derive(Clone, Debug)]
pub struct VideoClip {
    pub width: u32,
    pub height: u32,
    pub groups: Vec<Vec<Frame>>,
}

/// A folder of made clips, shared by all tests of this target folder.
pub fn cache() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test.ancestors().nth(3).unwrap_or(Path::new("target")).join("test-clips");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Runs ffmpeg with `arguments` into `name`, unless an earlier run made it.
async fn made(name: &str, arguments: &[&str]) -> Result<PathBuf> {
    let path = cache()?.join(name);
    if path.exists() {
        return Ok(path);
    }
    // Tests run side by side: each writes a file of its own, and the rename is atomic.
    static PARTS: AtomicU32 = AtomicU32::new(0);
    let part = PARTS.fetch_add(1, Ordering::Relaxed);
    let part = path.with_extension(format!("{}-{part}.part", std::process::id()));
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y"])
        .args(arguments)
        .arg(&part)
        .stdin(Stdio::null())
        .output()
        .await
        .context("cannot run ffmpeg")?;
    if !output.status.success() {
        bail!("ffmpeg could not make {name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    fs::rename(&part, &path)?;
    Ok(path)
}

impl VideoClip {
    /// A moving test picture of this size.
    pub async fn made(width: u32, height: u32) -> Result<Self> {
        let source = format!("testsrc2=size={width}x{height}:rate={FRAME_RATE}");
        let frames = (GROUP * GROUPS).to_string();
        let group = GROUP.to_string();
        let path = made(
            &format!("video-{width}x{height}-{GROUP}x{GROUPS}-one-slice.h264"),
            &[
                "-f",
                "lavfi",
                "-i",
                &source,
                "-frames:v",
                &frames,
                "-c:v",
                "libx264",
                "-preset",
                "ultrafast",
                "-profile:v",
                "baseline",
                "-pix_fmt",
                "yuv420p",
                "-tune",
                "zerolatency",
                "-g",
                &group,
                "-keyint_min",
                &group,
                "-sc_threshold",
                "0",
                "-x264-params",
                "sliced-threads=0:slices=1:aud=1:repeat-headers=1:annexb=1",
                "-f",
                "h264",
            ],
        )
        .await?;
        let groups = groups(&fs::read(&path)?)?;
        ensure!(groups.len() == GROUPS, "{} holds {} groups, not {GROUPS}", path.display(), groups.len());
        Ok(Self { width, height, groups })
    }
}

/// Splits a byte stream with access unit delimiters into groups of frames; the delimiters are left out.
fn groups(stream: &[u8]) -> Result<Vec<Vec<Frame>>> {
    let mut groups: Vec<Vec<Frame>> = Vec::new();
    let mut units: Vec<Vec<u8>> = Vec::new();
    let mut finish = |units: &mut Vec<Vec<u8>>| -> Result<()> {
        if units.is_empty() {
            return Ok(());
        }
        let idr = units.iter().any(|unit| nal_type(unit) == 5);
        let frame = Frame { units: std::mem::take(units), idr };
        if idr {
            groups.push(Vec::new());
        }
        groups.last_mut().context("a clip starts with an IDR")?.push(frame);
        Ok(())
    };
    for unit in split_annex_b(stream) {
        match nal_type(unit) {
            9 => finish(&mut units)?,
            // x264's own SEI says nothing here.
            6 => {}
            _ => units.push(unit.to_vec()),
        }
    }
    finish(&mut units)?;
    Ok(groups)
}

/// Milliseconds of one Opus packet of [`opus_packets`].
pub const OPUS_PACKET_MS: u64 = 20;

/// Ten seconds of a stereo tone in Opus packets of 20 ms.
pub async fn opus_packets() -> Result<Vec<Vec<u8>>> {
    let path = made(
        "tone.ogg",
        &[
            "-f",
            "lavfi",
            "-i",
            "sine=frequency=440:sample_rate=48000:duration=10",
            "-ac",
            "2",
            "-c:a",
            "libopus",
            "-b:a",
            "48k",
            "-frame_duration",
            "20",
            "-vbr",
            "off",
            "-f",
            "ogg",
        ],
    )
    .await?;
    let mut reader = ogg::PacketReader::new(std::io::Cursor::new(fs::read(path)?));
    let mut packets = Vec::new();
    while let Some(packet) = reader.read_packet()? {
        // The first two packets are OpusHead and OpusTags (RFC 7845 section 3).
        if !packet.data.starts_with(b"Opus") {
            packets.push(packet.data);
        }
    }
    ensure!(packets.len() >= 400, "the tone has only {} packets", packets.len());
    Ok(packets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_clip_is_groups_that_start_with_an_idr_and_its_parameter_sets() {
        let clip = VideoClip::made(320, 240).await.unwrap();
        for group in &clip.groups {
            assert_eq!(group.len(), GROUP);
            assert!(group[0].idr && group[1..].iter().all(|frame| !frame.idr));
            let types: Vec<_> = group[0].units.iter().map(|unit| nal_type(unit)).collect();
            assert_eq!(types, [7, 8, 5]);
        }
    }

    #[tokio::test]
    async fn the_tone_is_packets_of_20_ms() {
        // Configuration number and frame count code of the TOC byte (RFC 6716 section 3.1).
        for packet in opus_packets().await.unwrap() {
            assert_eq!(packet[0] & 3, 0, "one frame a packet");
        }
    }
}
