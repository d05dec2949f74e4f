//! The packets of media files, by their hashes: what went in is what was stored.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::process::Command;

/// An access unit of video or a frame of audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub pts_ms: i64,
    pub key: bool,
    pub sha256: String,
}

/// The packets of each kind of track, in decoding order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packets {
    pub video: Vec<Packet>,
    pub audio: Vec<Packet>,
}

/// The packets of files that follow each other.
pub async fn packets(files: &[PathBuf]) -> Result<Packets> {
    let mut all = Packets::default();
    for file in files {
        for packet in probe(file).await?["packets"].as_array().into_iter().flatten() {
            let text = |name: &str| packet[name].as_str().with_context(|| format!("no {name} in {packet}"));
            let found = Packet {
                pts_ms: (text("pts_time")?.parse::<f64>()? * 1000.0).round() as i64,
                key: text("flags")?.starts_with('K'),
                sha256: text("data_hash")?.to_owned(),
            };
            let kind = if text("codec_type")? == "video" { &mut all.video } else { &mut all.audio };
            kind.push(found);
        }
    }
    Ok(all)
}

async fn probe(file: &Path) -> Result<Value> {
    let entries = "packet=codec_type,pts_time,flags,data_hash";
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-show_data_hash", "sha256", "-show_entries", entries, "-of", "json"])
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .await
        .context("cannot run ffprobe")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && errors.trim().is_empty(), "ffprobe {}: {errors}", file.display());
    Ok(serde_json::from_slice(&output.stdout)?)
}

impl Packets {
    /// An error unless `stored` has the same packets with the same spacing. Matroska rounds to milliseconds. A stream with
    /// video begins with its first key frame: audio that is over before it may be missing.
    pub fn same_as(&self, stored: &Self) -> Result<()> {
        let begin = self.video.first().map_or(i64::MIN, |first| first.pts_ms);
        let missing = self.audio.len().saturating_sub(stored.audio.len());
        if let Some(first) = self.audio.get(missing).filter(|_| missing > 0) {
            ensure!(first.pts_ms <= begin + 1, "{missing} packets of audio are missing, to {first:?}");
        }
        let audio = self.audio.get(missing..).unwrap_or_default().to_vec();
        let sent = Self { video: self.video.clone(), audio };
        for (kind, sent, stored) in
            [("video", &sent.video, &stored.video), ("audio", &sent.audio, &stored.audio)]
        {
            ensure!(sent.len() == stored.len(), "{} {kind} packets of {}", stored.len(), sent.len());
            let offset =
                stored.iter().zip(sent).next().map_or(0, |(stored, sent)| stored.pts_ms - sent.pts_ms);
            for (n, (stored, sent)) in stored.iter().zip(sent).enumerate() {
                ensure!(stored.sha256 == sent.sha256, "{kind} packet {n} has other bytes");
                let error = stored.pts_ms - sent.pts_ms - offset;
                ensure!(error.abs() <= 1, "{kind} packet {n} is off by {error} ms: {sent:?}, {stored:?}");
            }
        }
        Ok(())
    }
}
