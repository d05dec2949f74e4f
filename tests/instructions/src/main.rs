//! One hot path each time it is started, for callgrind, which counts what happens in [`region::counted_region`] and nothing else:
//! `cargo xtask test instructions`. Everything is made before, from numbers that are the same each time; nothing reads a
//! clock, and nothing is random but keys.
//!
//! `kvs-ingest-instructions` lists the paths, `kvs-ingest-instructions PATH` walks one and says how many of its units went
//! through, which callgrind's sum is divided by.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "a measurement")]

mod acks;
mod audio;
mod h264;
mod master;
mod put_media;
mod region;
mod srtp;
mod video;

use std::process::ExitCode;

/// A path: its name, what it is counted by, and how it is walked, which says how many of these went through.
struct Path {
    name: &'static str,
    unit: &'static str,
    walk: fn() -> u64,
}

const PATHS: &[Path] = &[
    Path { name: "srtp-gcm", unit: "packet", walk: srtp::gcm },
    Path { name: "srtp-cm-sha1", unit: "packet", walk: srtp::cm_sha1 },
    Path { name: "video-rtp", unit: "packet", walk: video::in_order },
    Path { name: "video-rtp-lossy", unit: "packet", walk: video::lossy },
    Path { name: "audio-rtp", unit: "packet", walk: audio::reordered },
    Path { name: "put-media-2m", unit: "frame", walk: put_media::at_2_megabits },
    Path { name: "put-media-20m", unit: "frame", walk: put_media::at_20_megabits },
    Path { name: "acks", unit: "acknowledgement", walk: acks::parsed },
];

fn main() -> ExitCode {
    let Some(wanted) = std::env::args().nth(1) else {
        PATHS.iter().for_each(|path| println!("{}", path.name));
        return ExitCode::SUCCESS;
    };
    let Some(path) = PATHS.iter().find(|path| path.name == wanted) else {
        eprintln!("there is no path {wanted:?}; without an argument they are listed");
        return ExitCode::FAILURE;
    };
    println!("counted {} {}s", (path.walk)(), path.unit);
    ExitCode::SUCCESS
}
