//! A camera clip in which every frame carries its number, large enough to be read after any encoder and any size.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::master::clip::cached;

/// Frames of the clip; it is played again from the start.
pub const FRAMES: u16 = 1200;
/// A second.
pub const FRAME_RATE: u32 = 30;
const COLUMNS: usize = 8;
const ROWS: usize = 6;
/// Two rows of bits, two with the same bits inverted, two that make every frame different from any other.
const BITS: usize = 2 * COLUMNS;

/// Motion JPEG of 1280x720, made once: what Chromium's `--use-file-for-fake-video-capture` takes.
pub async fn clip() -> Result<PathBuf> {
    cached(&format!("numbered-{FRAMES}.mjpeg"), async |part| {
        let mut ffmpeg = Command::new("ffmpeg")
            .args(["-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "gray"])
            .args(["-video_size", &format!("{COLUMNS}x{ROWS}"), "-framerate", &FRAME_RATE.to_string()])
            .args(["-i", "-", "-vf", "scale=1280:720:flags=neighbor"])
            .args(["-pix_fmt", "yuvj420p", "-q:v", "4", "-f", "mjpeg"])
            .arg(part)
            .stdin(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot run ffmpeg")?;
        let mut input = ffmpeg.stdin.take().context("standard input is piped")?;
        for number in 0..FRAMES {
            input.write_all(&picture(number)).await?;
        }
        drop(input);
        ensure!(ffmpeg.wait().await?.success(), "ffmpeg could not make the clip");
        Ok(())
    })
    .await
}

fn picture(number: u16) -> [u8; COLUMNS * ROWS] {
    let mut blocks = [0; COLUMNS * ROWS];
    // A small generator of its own: the same clip on every machine.
    let mut noise = u32::from(number).wrapping_mul(0x9e37_79b9) | 1;
    for (index, block) in blocks.iter_mut().enumerate() {
        let bit = number >> (index % BITS) & 1 == 1;
        *block = match index / BITS {
            0 => {
                if bit {
                    235
                } else {
                    16
                }
            }
            1 => {
                if bit {
                    16
                } else {
                    235
                }
            }
            _ => {
                noise ^= noise << 13;
                noise ^= noise >> 17;
                noise ^= noise << 5;
                noise.to_be_bytes()[0]
            }
        };
    }
    blocks
}

/// The number that a picture carries, unless it cannot be read for certain. Of each block, row by row, its luma.
#[must_use]
pub fn number(blocks: &[u8]) -> Option<u16> {
    if blocks.len() != COLUMNS * ROWS {
        return None;
    }
    let mut number = 0;
    for index in 0..BITS {
        let (bit, inverted) = (blocks[index], blocks[index + BITS]);
        if bit.abs_diff(inverted) < 60 {
            return None;
        }
        number |= u16::from(bit > inverted) << index;
    }
    Some(number).filter(|number| *number < FRAMES)
}

/// The number of each frame of a video file, decoded by ffmpeg; `None` where it cannot be read.
pub async fn read(file: &Path) -> Result<Vec<Option<u16>>> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-xerror", "-i"])
        .arg(file)
        .args([
            "-map",
            "0:v:0",
            "-fps_mode",
            "passthrough",
            "-vf",
            &format!("scale={COLUMNS}:{ROWS}:flags=area"),
        ])
        .args(["-pix_fmt", "gray", "-f", "rawvideo", "-"])
        .stdin(Stdio::null())
        .output()
        .await
        .context("cannot run ffmpeg")?;
    ensure!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
    ensure!(output.stdout.len() % (COLUMNS * ROWS) == 0, "half a picture");
    Ok(output.stdout.chunks_exact(COLUMNS * ROWS).map(number).collect())
}

/// How many numbers lie between a frame and the one before it: 0 when they follow each other. The clip starts again
/// after its end; a frame that is repeated or goes back seems to be almost a whole clip away.
#[must_use]
pub fn skipped(before: u16, after: u16) -> u16 {
    (after + FRAMES - before - 1) % FRAMES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_damage_is_seen() {
        for wanted in [0, 1, 513, FRAMES - 1] {
            let mut blocks = picture(wanted);
            assert_eq!(number(&blocks), Some(wanted));
            blocks[3] = 128;
            blocks[3 + BITS] = 120;
            assert_eq!(number(&blocks), None);
        }
        assert_eq!([skipped(4, 5), skipped(4, 7), skipped(FRAMES - 1, 0)], [0, 2, 0]);
        assert_eq!([skipped(5, 5), skipped(5, 4)], [FRAMES - 1, FRAMES - 2]);
    }

    #[tokio::test]
    async fn the_clip_is_read_back_whole() {
        let path = clip().await.unwrap();
        let numbers = read(&path).await.unwrap();
        assert_eq!(numbers, (0..FRAMES).map(Some).collect::<Vec<_>>());
    }
}
