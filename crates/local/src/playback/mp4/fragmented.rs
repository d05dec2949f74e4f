//! Initialization and media segments (ISO/IEC 14496-12 section 8.8, ISO/IEC 23000-19).

use bytes::Bytes;

use super::{
    boxes::{boxed, full, put32, put64, time},
    movie::{TrackBoxes, movie_header},
};
use crate::playback::media::{Config, Sample};

/// `ftyp` and `moov` of one track.
pub(in crate::playback) fn init_segment(config: &Config, track: u32) -> Bytes {
    let mut out = Vec::with_capacity(1024);
    boxed(&mut out, b"ftyp", |out| {
        out.extend(b"iso6");
        put32(out, 0);
        out.extend(b"iso6cmfcmp41");
    });
    boxed(&mut out, b"moov", |out| {
        movie_header(out, 0, track + 1);
        let empty_tables = |out: &mut Vec<u8>| {
            full(out, b"stts", 0, 0, |out| put32(out, 0));
            full(out, b"stsc", 0, 0, |out| put32(out, 0));
            full(out, b"stsz", 0, 0, |out| out.extend([0; 8]));
            full(out, b"stco", 0, 0, |out| put32(out, 0));
        };
        TrackBoxes {
            id: track,
            timescale: config.timescale(),
            movie_duration: 0,
            media_duration: 0,
            edits: |_: &mut Vec<u8>| {},
            tables: empty_tables,
        }
        .write(out, config);
        boxed(out, b"mvex", |out| {
            full(out, b"trex", 0, 0, |out| {
                put32(out, track);
                put32(out, 1);
                out.extend([0; 12]);
            });
        });
    });
    out.into()
}

/// ISO/IEC 14496-12 section 8.8.3.1: `sample_depends_on` 2 (on no other).
const SYNC: u32 = 0x0200_0000;
/// `sample_depends_on` 1, `sample_is_non_sync_sample`.
const NO_SYNC: u32 = 0x0101_0000;

/// `styp`, `moof` and `mdat` of one track. `sequence` is the number of the fragment in its session. Without samples it is a
/// segment that says when nothing is.
pub(in crate::playback) fn media_segment(samples: &[Sample], track: u32, sequence: u32) -> Bytes {
    let content: usize = samples.iter().map(|sample| sample.data.len()).sum();
    let mut out = Vec::with_capacity(content + 16 * samples.len() + 256);
    boxed(&mut out, b"styp", |out| {
        out.extend(b"msdh");
        put32(out, 0);
        out.extend(b"msdhmsixcmfs");
    });
    let moof = out.len();
    let mut data_offset = 0;
    boxed(&mut out, b"moof", |out| {
        full(out, b"mfhd", 0, 0, |out| put32(out, sequence));
        boxed(out, b"traf", |out| {
            // default-base-is-moof
            full(out, b"tfhd", 0, 0x02_0000, |out| put32(out, track));
            full(out, b"tfdt", 1, 0, |out| put64(out, samples.first().map_or(0, |first| time(first.decode))));
            // data offset; duration, size, flags and composition offset of each sample; offsets are signed
            full(out, b"trun", 1, 0x0F01, |out| {
                put32(out, u32::try_from(samples.len()).unwrap_or(u32::MAX));
                data_offset = out.len();
                put32(out, 0);
                for sample in samples {
                    put32(out, sample.duration);
                    put32(out, u32::try_from(sample.data.len()).unwrap_or(u32::MAX));
                    put32(out, if sample.sync { SYNC } else { NO_SYNC });
                    out.extend(sample.offset.to_be_bytes());
                }
            });
        });
    });
    let offset = u32::try_from(out.len() - moof + 8).unwrap_or(u32::MAX);
    out[data_offset..data_offset + 4].copy_from_slice(&offset.to_be_bytes());
    boxed(&mut out, b"mdat", |out| {
        for sample in samples {
            out.extend(&sample.data[..]);
        }
    });
    out.into()
}
