//! `moov` and what is in it (ISO/IEC 14496-12 section 8), for both kinds of files.

use super::{
    boxes::{boxed, full, put16, put32, put64},
    entry::sample_entry,
};
use crate::playback::media::Config;

/// Units of a second in which whole files are timed.
pub(super) const MOVIE_TIMESCALE: u32 = 90_000;

const MATRIX: [u32; 9] = [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000];

fn matrix(out: &mut Vec<u8>) {
    for value in MATRIX {
        put32(out, value);
    }
}

/// `mvhd`. `duration` is in units of [`MOVIE_TIMESCALE`].
pub(super) fn movie_header(out: &mut Vec<u8>, duration: u64, next_track: u32) {
    full(out, b"mvhd", 1, 0, |out| {
        put64(out, 0);
        put64(out, 0);
        put32(out, MOVIE_TIMESCALE);
        put64(out, duration);
        put32(out, 0x0001_0000);
        put16(out, 0x0100);
        out.extend([0; 10]);
        matrix(out);
        out.extend([0; 24]);
        put32(out, next_track);
    });
}

/// What differs between the tracks of a file that is whole and one that comes in fragments.
pub(super) struct TrackBoxes<E, S> {
    /// `track_ID`, from 1.
    pub(super) id: u32,
    /// Units of a second of the track.
    pub(super) timescale: u32,
    /// In units of [`MOVIE_TIMESCALE`].
    pub(super) movie_duration: u64,
    /// In units of the track.
    pub(super) media_duration: u64,
    /// Writes `edts`, or nothing.
    pub(super) edits: E,
    /// Writes what follows `stsd` in `stbl`.
    pub(super) tables: S,
}

impl<E: FnOnce(&mut Vec<u8>), S: FnOnce(&mut Vec<u8>)> TrackBoxes<E, S> {
    /// `trak`.
    pub(super) fn write(self, out: &mut Vec<u8>, config: &Config) {
        let Self { id, timescale, movie_duration, media_duration, edits, tables } = self;
        boxed(out, b"trak", |out| {
            // enabled, in the movie, in its preview
            full(out, b"tkhd", 1, 7, |out| {
                put64(out, 0);
                put64(out, 0);
                put32(out, id);
                put32(out, 0);
                put64(out, movie_duration);
                out.extend([0; 12]);
                put16(out, if matches!(config, Config::Audio(_)) { 0x0100 } else { 0 });
                put16(out, 0);
                matrix(out);
                let (width, height) = match config {
                    Config::Video(video) => (video.width, video.height),
                    Config::Audio(_) => (0, 0),
                };
                put32(out, width << 16);
                put32(out, height << 16);
            });
            edits(out);
            boxed(out, b"mdia", |out| {
                full(out, b"mdhd", 1, 0, |out| {
                    put64(out, 0);
                    put64(out, 0);
                    put32(out, timescale);
                    put64(out, media_duration);
                    put16(out, 0x55C4); // "und"
                    put16(out, 0);
                });
                let (kind, name): (&[u8; 4], &[u8]) = match config {
                    Config::Video(_) => (b"vide", b"video\0"),
                    Config::Audio(_) => (b"soun", b"audio\0"),
                };
                full(out, b"hdlr", 0, 0, |out| {
                    put32(out, 0);
                    out.extend(kind);
                    out.extend([0; 12]);
                    out.extend(name);
                });
                boxed(out, b"minf", |out| {
                    match config {
                        Config::Video(_) => full(out, b"vmhd", 0, 1, |out| out.extend([0; 8])),
                        Config::Audio(_) => full(out, b"smhd", 0, 0, |out| out.extend([0; 4])),
                    }
                    boxed(out, b"dinf", |out| {
                        full(out, b"dref", 0, 0, |out| {
                            put32(out, 1);
                            full(out, b"url ", 0, 1, |_| {}); // in this file
                        });
                    });
                    boxed(out, b"stbl", |out| {
                        full(out, b"stsd", 0, 0, |out| {
                            put32(out, 1);
                            sample_entry(out, config);
                        });
                        tables(out);
                    });
                });
            });
        });
    }
}
