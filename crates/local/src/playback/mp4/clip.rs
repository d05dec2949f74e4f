//! [`Clip`]: a whole file with its tables in front, so that it plays while it is downloaded. Tables are collected from
//! fragments one after the other; what the samples hold is written later, in the same order.

use bytes::Bytes;

use super::{
    boxes::{boxed, full, put32, put64},
    movie::{MOVIE_TIMESCALE, TrackBoxes, movie_header},
};
use crate::playback::media::{Config, Sample, TrackSamples};

/// The longest that a sample may last. The field has one bit more, which some readers take for a sign.
const LONGEST: i64 = i32::MAX as i64;

/// A sample without what it holds.
#[derive(Debug, Clone, Copy)]
struct Entry {
    decode: i64,
    duration: u32,
    shown: i64,
    size: u32,
    sync: bool,
}

/// The tables of a track.
#[derive(Debug)]
pub(in crate::playback) struct ClipTrack {
    config: Config,
    /// Units of a second of the entries.
    timescale: u32,
    entries: Vec<Entry>,
    /// Number of samples of each chunk: a fragment's.
    chunks: Vec<u32>,
}

impl ClipTrack {
    pub(in crate::playback) fn new(config: Config) -> Self {
        let timescale = config.timescale();
        Self { config, timescale, entries: Vec::new(), chunks: Vec::new() }
    }

    pub(in crate::playback) fn config(&self) -> &Config {
        &self.config
    }

    /// Takes the samples of the next fragment. One that begins before the last one has ended is moved behind its last sample.
    fn extend(&mut self, samples: &[Sample]) {
        for sample in samples {
            let after = self.entries.last().map(|last| last.decode + 1);
            let decode = after.map_or(sample.decode, |after| sample.decode.max(after));
            self.entries.push(Entry {
                decode,
                duration: sample.duration,
                shown: decode + i64::from(sample.offset),
                size: u32::try_from(sample.data.len()).unwrap_or(u32::MAX),
                sync: sample.sync,
            });
        }
        self.chunks.push(u32::try_from(samples.len()).unwrap_or(u32::MAX));
    }

    /// Goes over to coarser units where a sample lasts longer than can be written: the one before a gap of 6.6 h does, by
    /// those of pictures. They are the finest that divide a second evenly among those that will do.
    fn fit(&mut self) {
        let pairs = self.entries.iter().zip(self.entries.iter().skip(1));
        let longest = pairs.map(|(entry, next)| next.decode - entry.decode).max().unwrap_or(0);
        let least = u32::try_from(longest.saturating_add(LONGEST - 1) / LONGEST).unwrap_or(u32::MAX);
        if least <= 1 {
            return;
        }
        let by =
            (least..self.timescale).find(|by| self.timescale.is_multiple_of(*by)).unwrap_or(self.timescale);
        self.timescale /= by;
        let mut after = i64::MIN;
        for entry in &mut self.entries {
            // two of the finer units may be one of these
            entry.decode = entry.decode.div_euclid(by.into()).max(after);
            entry.shown = entry.shown.div_euclid(by.into());
            entry.duration = (entry.duration / by).max(1);
            after = entry.decode + 1;
        }
    }

    /// When the first picture is shown, or sound heard.
    fn start(&self) -> i64 {
        self.entries.iter().map(|entry| entry.shown).min().unwrap_or(0)
    }

    /// How long each sample lasts: until the next one.
    fn durations(&self) -> impl Iterator<Item = u32> {
        let next = self.entries.iter().skip(1).map(|next| Some(next.decode)).chain([None]);
        self.entries.iter().zip(next).map(|(entry, next)| {
            next.map_or(entry.duration, |next| u32::try_from(next - entry.decode).unwrap_or(u32::MAX))
        })
    }

    /// By how much pictures are shown too early against their decoding: what all of them are moved by.
    fn shift(&self) -> i64 {
        self.entries.iter().map(|entry| entry.decode - entry.shown).max().unwrap_or(0).max(0)
    }
}

/// A file in the making.
#[derive(Debug)]
pub(in crate::playback) struct Clip {
    tracks: Vec<ClipTrack>,
}

fn to_movie(ticks: i64, timescale: u32) -> u64 {
    let ticks = i128::from(ticks.max(0)) * i128::from(MOVIE_TIMESCALE) / i128::from(timescale.max(1));
    u64::try_from(ticks).unwrap_or(0)
}

/// Runs of equal values with their lengths.
fn runs<T: PartialEq + Copy>(values: impl Iterator<Item = T>) -> Vec<(u32, T)> {
    let mut runs: Vec<(u32, T)> = Vec::new();
    for value in values {
        match runs.last_mut() {
            Some((count, last)) if *last == value => *count += 1,
            _ => runs.push((1, value)),
        }
    }
    runs
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl Clip {
    pub(in crate::playback) fn new(tracks: Vec<ClipTrack>) -> Self {
        Self { tracks }
    }

    pub(in crate::playback) fn tracks(&self) -> &[ClipTrack] {
        &self.tracks
    }

    /// Takes the next fragment, whose tracks are those of this file in their order.
    pub(in crate::playback) fn push(&mut self, fragment: &[TrackSamples]) {
        for (track, fragment) in self.tracks.iter_mut().zip(fragment) {
            track.extend(&fragment.samples);
        }
    }

    /// Bytes of all samples.
    pub(in crate::playback) fn size(&self) -> u64 {
        let entries = self.tracks.iter().flat_map(|track| &track.entries);
        entries.map(|entry| u64::from(entry.size)).sum()
    }

    /// What of a fragment follows the head, in the order in which it was taken.
    pub(in crate::playback) fn content(fragment: &[TrackSamples]) -> Bytes {
        let data: Vec<&[u8]> =
            fragment.iter().flat_map(|track| &track.samples).map(|sample| &sample.data[..]).collect();
        data.concat().into()
    }

    /// `ftyp`, `moov` and the head of `mdat`.
    pub(in crate::playback) fn head(mut self) -> Bytes {
        self.tracks.iter_mut().for_each(ClipTrack::fit);
        // Offsets of chunks have a fixed length, so the length of the head is known once it has been written.
        let length = self.write(0).len() as u64;
        self.write(length).into()
    }

    fn write(&self, content_at: u64) -> Vec<u8> {
        let mut out = Vec::new();
        boxed(&mut out, b"ftyp", |out| {
            out.extend(b"isom");
            put32(out, 0x200);
            out.extend(b"isomiso2avc1mp41");
        });
        let start = self.tracks.iter().map(|track| to_movie(track.start(), track.timescale)).min();
        let start = start.unwrap_or(0);
        boxed(&mut out, b"moov", |out| {
            let longest = self.tracks.iter().map(|track| self.delay(track, start) + shown_for(track)).max();
            movie_header(out, longest.unwrap_or(0), count(self.tracks.len()) + 1);
            for (place, track) in self.tracks.iter().enumerate() {
                let delay = self.delay(track, start);
                TrackBoxes {
                    id: count(place) + 1,
                    timescale: track.timescale,
                    movie_duration: delay + shown_for(track),
                    media_duration: track.durations().map(u64::from).sum(),
                    edits: |out: &mut Vec<u8>| edits(out, track, delay),
                    tables: |out: &mut Vec<u8>| self.tables(out, place, content_at),
                }
                .write(out, &track.config);
            }
        });
        put32(&mut out, 1);
        out.extend(b"mdat");
        put64(&mut out, self.size() + 16);
        out
    }

    /// How much later than the file the track begins.
    fn delay(&self, track: &ClipTrack, start: u64) -> u64 {
        to_movie(track.start(), track.timescale).saturating_sub(start)
    }

    fn tables(&self, out: &mut Vec<u8>, place: usize, content_at: u64) {
        let track = &self.tracks[place];
        let durations = runs(track.durations());
        full(out, b"stts", 0, 0, |out| pairs(out, &durations));
        let shift = track.shift();
        let offsets = runs(
            track
                .entries
                .iter()
                .map(|entry| u32::try_from(entry.shown - entry.decode + shift).unwrap_or(u32::MAX)),
        );
        if offsets.iter().any(|(_, offset)| *offset != 0) {
            full(out, b"ctts", 0, 0, |out| pairs(out, &offsets));
        }
        if track.entries.iter().any(|entry| !entry.sync) {
            let numbers = (1..).zip(&track.entries).filter(|(_, entry)| entry.sync).map(|(number, _)| number);
            let numbers: Vec<u32> = numbers.collect();
            full(out, b"stss", 0, 0, |out| {
                put32(out, count(numbers.len()));
                numbers.iter().for_each(|number| put32(out, *number));
            });
        }
        let chunks = || track.chunks.iter().filter(|samples| **samples > 0).copied();
        full(out, b"stsc", 0, 0, |out| {
            let (mut first, runs) = (1, runs(chunks()));
            put32(out, count(runs.len()));
            for (length, samples) in runs {
                put32(out, first);
                put32(out, samples);
                put32(out, 1);
                first += length;
            }
        });
        full(out, b"stsz", 0, 0, |out| {
            put32(out, 0);
            put32(out, count(track.entries.len()));
            track.entries.iter().for_each(|entry| put32(out, entry.size));
        });
        full(out, b"co64", 0, 0, |out| {
            put32(out, count(chunks().count()));
            for offset in self.chunk_offsets(place) {
                put64(out, content_at + offset);
            }
        });
    }

    /// Where the chunks of a track begin, from the start of what all samples hold.
    fn chunk_offsets(&self, place: usize) -> Vec<u64> {
        let (mut at, mut offsets) = (0, Vec::new());
        let mut next = vec![0_usize; self.tracks.len()];
        let fragments = self.tracks.first().map_or(0, |track| track.chunks.len());
        for fragment in 0..fragments {
            for (index, track) in self.tracks.iter().enumerate() {
                let samples = track.chunks.get(fragment).map_or(0, |samples| *samples as usize);
                if index == place && samples > 0 {
                    offsets.push(at);
                }
                let chunk = &track.entries[next[index]..next[index] + samples];
                at += chunk.iter().map(|entry| u64::from(entry.size)).sum::<u64>();
                next[index] += samples;
            }
        }
        offsets
    }
}

/// From the first picture to the end of the last, in units of the movie.
fn shown_for(track: &ClipTrack) -> u64 {
    let end = track.entries.iter().map(|entry| entry.shown + i64::from(entry.duration)).max().unwrap_or(0);
    to_movie(end - track.start(), track.timescale)
}

/// `edts`: what precedes the track, and where in it the first picture is.
fn edits(out: &mut Vec<u8>, track: &ClipTrack, delay: u64) {
    let first = track.entries.first().map_or(0, |entry| entry.decode);
    let media_time = track.start() - first + track.shift();
    if delay == 0 && media_time == 0 {
        return;
    }
    boxed(out, b"edts", |out| {
        full(out, b"elst", 1, 0, |out| {
            put32(out, if delay > 0 { 2 } else { 1 });
            if delay > 0 {
                put64(out, delay);
                put64(out, u64::MAX); // nothing: -1
                put32(out, 0x0001_0000);
            }
            put64(out, shown_for(track));
            put64(out, u64::try_from(media_time).unwrap_or(0));
            put32(out, 0x0001_0000);
        });
    });
}

fn pairs(out: &mut Vec<u8>, runs: &[(u32, u32)]) {
    put32(out, count(runs.len()));
    for (length, value) in runs {
        put32(out, *length);
        put32(out, *value);
    }
}
