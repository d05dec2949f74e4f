//! Time, end to end: senders whose clocks do not agree with themselves, the agent, and when what they sent is stored. Each
//! test is a row of the table of `docs/time.md`; `cargo xtask test time` prints it.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod rows;
mod world;

use std::sync::Once;

use kvs_ingest_tests::verdict;
use rows::{LONG_ROWS, ROWS, Row};
use world::record;

/// Runs the row of this name and judges it.
async fn row(name: &str) {
    let row = ROWS.iter().find(|row| row.name == name).unwrap();
    judge(row, row.seconds).await;
}

async fn judge(row: &Row, seconds: u64) {
    let verdict = record(row, seconds).await;
    static HEADER: Once = Once::new();
    HEADER.call_once(|| println!("{}", verdict::HEADER));
    println!("{verdict}");
    let failures = verdict.failures(&row.limits);
    assert!(failures.is_empty(), "{}: {}", row.name, failures.join("; "));
}

macro_rules! rows {
    ($($test:ident: $name:literal;)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            row($name).await;
        })*

        #[test]
        fn every_row_is_a_test() {
            let tests = [$($name),*];
            assert_eq!(ROWS.iter().map(|row| row.name).collect::<Vec<_>>(), tests);
        }
    };
}

rows! {
    a_sender_that_is_right: "all right";
    stereo: "all right, stereo";
    crystals: "crystals 200 ppm apart";
    slow_audio: "audio 20 ms per 20.28";
    very_slow_audio: "audio 20 ms per 23.2";
    fast_stamps: "video 40 ms per 33.3";
    slow_stamps: "video 40 ms per 66.7";
    video_jumps_ten_seconds: "video jumps +10 s";
    video_jumps_three_seconds: "video jumps +3 s";
    video_jumps_back: "video jumps -10 s";
    audio_jumps: "audio jumps +3 s";
    reports_an_hour_ahead: "audio reports +1 h";
    reports_jump_back: "audio reports -1 h from 6 s";
    the_senders_clock_is_wrong: "sender's clock +1 h";
    slow_key_frames: "key frames take 1.7 s";
    b_frames: "B frames";
    video_off: "video off 5 s, clock stops";
    video_off_and_counting: "video off 5 s, clock counts";
    audio_off: "audio off 5 s, clock stops";
    audio_off_and_counting: "audio off 5 s, clock counts";
    late_audio_of_a_master_that_dies: "audio 1.5 s late, the master dies";
}

/// `cargo xtask soak`: one row for as long as it takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes or hours: cargo xtask soak"]
async fn soak() {
    let name =
        std::env::var("KVS_INGEST_SOAK_SCENARIO").unwrap_or_else(|_| "audio 20 ms per 20.28".to_owned());
    let minutes: u64 = std::env::var("KVS_INGEST_SOAK_MINUTES").map_or(10, |text| text.parse().unwrap());
    let rows = || ROWS.iter().chain(LONG_ROWS);
    let names: Vec<_> = rows().map(|row| row.name).collect();
    let row = rows().find(|row| row.name == name).unwrap_or_else(|| panic!("{name:?} is none of {names:?}"));
    judge(row, minutes * 60).await;
}
