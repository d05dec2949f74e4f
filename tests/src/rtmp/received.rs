//! What a server received in one broadcast, judged as what was stored is.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::flv::{self, Body};
use crate::master::Sent;
use crate::nal::{frame_number, is_idr, slice_hash};
use crate::sound::{self, Heard};
use crate::stored::{Stored, StoredFrame};
use crate::verdict::seconds;

/// One broadcast.
#[derive(Debug)]
pub struct Received {
    pub file: PathBuf,
    /// Numbered frames as they came. Their times are milliseconds of the broadcast.
    frames: Vec<StoredFrame>,
    /// The `AVCDecoderConfigurationRecord` of each sequence header.
    pub avc_headers: Vec<Vec<u8>>,
    pub aac_headers: Vec<Vec<u8>>,
    /// Milliseconds of the broadcast of each AAC frame.
    pub audio: Vec<u32>,
}

impl Received {
    /// Reads a file of a server, and holds it to what any player expects: it begins with a key frame behind a sequence header,
    /// no time of a track goes back, a key frame is called one, and nothing comes before its header.
    pub fn read(file: &Path) -> Result<Self> {
        let bytes = std::fs::read(file)?;
        let mut received = Self {
            file: file.to_owned(),
            frames: Vec::new(),
            avc_headers: Vec::new(),
            aac_headers: Vec::new(),
            audio: Vec::new(),
        };
        let (mut video_ms, mut shown) = (0, 0);
        for tag in flv::tags(&bytes)? {
            let at = tag.time_ms;
            match tag.body {
                Body::AvcHeader(record) => received.avc_headers.push(record.to_vec()),
                Body::AacHeader(config) => received.aac_headers.push(config.to_vec()),
                Body::Aac(_) => {
                    ensure!(!received.aac_headers.is_empty(), "at {at} ms: AAC before its sequence header");
                    let before = received.audio.last().copied().unwrap_or(0);
                    ensure!(before <= at, "audio goes back from {before} to {at} ms");
                    received.audio.push(at);
                }
                Body::Avc { key, composition_ms, units } => {
                    ensure!(!received.avc_headers.is_empty(), "at {at} ms: H.264 before its sequence header");
                    ensure!(video_ms <= at, "video goes back from {video_ms} to {at} ms");
                    video_ms = at;
                    let number = frame_number(&units).with_context(|| format!("at {at} ms: no number"))?;
                    let idr = is_idr(&units);
                    ensure!(idr == key, "frame {number}: is it a key frame? The tag says {key}");
                    ensure!(
                        idr || shown > 0,
                        "the broadcast begins with frame {number}, which is no key frame"
                    );
                    shown += 1;
                    let time_ms = i64::from(at) + i64::from(composition_ms);
                    received.frames.push(StoredFrame { number, idr, hash: slice_hash(&units), time_ms });
                }
                Body::Other => {}
            }
        }
        Ok(received)
    }

    /// Numbers of its frames, in their order.
    pub fn numbers(&self) -> Vec<u64> {
        self.frames.iter().map(|frame| frame.number).collect()
    }

    /// Whole groups of pictures are missing, or none: what comes behind a hole is a key frame.
    ///
    /// # Panics
    /// When it is not so, or a frame is not what was sent, or comes twice.
    pub fn holes(&self, sent: &Sent) -> usize {
        let mut holes = 0;
        for pair in self.frames.windows(2) {
            assert!(pair[0].number < pair[1].number, "frame {} behind {}", pair[1].number, pair[0].number);
            if pair[0].number + 1 != pair[1].number {
                assert!(pair[1].idr, "frame {} behind {} is no key frame", pair[1].number, pair[0].number);
                holes += 1;
            }
        }
        for frame in &self.frames {
            let sent = &sent.frames[frame.number as usize];
            assert_eq!((frame.idr, &frame.hash), (sent.idr, &sent.hash), "frame {}", frame.number);
        }
        holes
    }

    /// As what is stored, under the time of day: the first frame was captured when the master says so, and the others follow
    /// as the broadcast has them.
    pub fn stored(&self, sent: &Sent) -> Result<Stored> {
        let zero = self.zero(sent)?;
        let offset = (zero * 1e3).round() as i64;
        let frames =
            self.frames.iter().map(|frame| StoredFrame { time_ms: frame.time_ms + offset, ..frame.clone() });
        Ok(Stored { files: vec![self.file.clone()], frames: frames.collect(), ..Stored::default() })
    }

    /// The beeps in it, under the time of day as in [`Self::stored`].
    pub async fn heard(&self, sent: &Sent) -> Result<Vec<Heard>> {
        let zero = self.zero(sent)?;
        let heard = sound::beeps(std::slice::from_ref(&self.file)).await?;
        Ok(heard.into_iter().map(|heard| Heard { at: heard.at + zero, ..heard }).collect())
    }

    /// Seconds since 1970 at which the broadcast has the time zero.
    fn zero(&self, sent: &Sent) -> Result<f64> {
        let first = self.frames.first().context("no frame was received")?;
        let sent = sent.frames.get(first.number as usize).context("it was never sent")?;
        Ok(seconds(sent.at) - first.time_ms as f64 / 1e3)
    }
}

/// How many pictures these files have: cheap, for who waits for more.
pub fn pictures(files: &[PathBuf]) -> usize {
    files.iter().filter_map(|file| std::fs::read(file).ok()).map(|bytes| flv::pictures(&bytes)).sum()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::super::flv::VIDEO;
    use super::super::flv::made;
    use super::*;
    use crate::master::SentFrame;
    use crate::nal::number_sei;

    const HEADER: [u8; 11] = [0x17, 0, 0, 0, 0, 1, 66, 0, 30, 0xff, 0xe1];

    fn units(number: u64, idr: bool) -> [Vec<u8>; 2] {
        [number_sei(number), vec![if idr { 0x65 } else { 0x41 }, 0x80, number as u8]]
    }

    /// A broadcast of these frames of a master that sends an IDR every third time.
    fn broadcast(numbers: &[u64], header: bool) -> Result<Received> {
        let mut tags = Vec::new();
        if header {
            tags.push(made::tag(VIDEO, [0; 4], &HEADER));
        }
        for number in numbers {
            let idr = number % 3 == 0;
            let mut data = vec![if idr { 0x17 } else { 0x27 }, 1, 0, 0, 5];
            for unit in units(*number, idr) {
                data.extend((unit.len() as u32).to_be_bytes());
                data.extend(unit);
            }
            tags.push(made::tag(VIDEO, [0, 0, 0, *number as u8 * 10], &data));
        }
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("live.flv");
        std::fs::write(&file, made::file(&tags))?;
        Received::read(&file)
    }

    fn sent() -> Sent {
        let frames = (0..9u64).map(|number| {
            let idr = number % 3 == 0;
            let units = units(number, idr);
            let units: Vec<_> = units.iter().map(Vec::as_slice).collect();
            let at = UNIX_EPOCH + Duration::from_millis(5_000 + 10 * number);
            SentFrame { number, idr, hash: slice_hash(&units), width: 4, height: 4, at }
        });
        Sent { frames: frames.collect(), ..Sent::default() }
    }

    #[test]
    fn a_broadcast_is_read_under_the_time_of_day() {
        let received = broadcast(&[3, 4, 5, 6, 7, 8], true).unwrap();
        assert_eq!((received.numbers(), received.holes(&sent())), (vec![3, 4, 5, 6, 7, 8], 0));
        let stored = received.stored(&sent()).unwrap();
        assert_eq!(
            stored.frames.iter().map(|frame| frame.time_ms).collect::<Vec<_>>(),
            [5030, 5040, 5050, 5060, 5070, 5080]
        );
        assert_eq!(broadcast(&[0, 1, 6, 7], true).unwrap().holes(&sent()), 1);
    }

    #[test]
    fn what_no_player_expects_is_an_error() {
        for (numbers, header, words) in [
            (&[1, 2, 3][..], true, "begins with frame 1"),
            (&[0, 1], false, "before its sequence header"),
            (&[3, 4, 0], true, "video goes back"),
        ] {
            let error = broadcast(numbers, header).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    #[should_panic(expected = "frame 7 behind 4 is no key frame")]
    fn half_a_group_that_is_missing_is_told() {
        broadcast(&[3, 4, 7, 8], true).unwrap().holes(&sent());
    }
}
