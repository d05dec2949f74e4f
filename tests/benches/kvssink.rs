//! `cargo xtask bench kvssink`: what the element costs above a fakesink at the end of the same pipeline, over TLS, at three
//! bitrates; beside what is known of the element of the AWS producer SDK for C++.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a benchmark")]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use kvs_ingest_tests::agent::binary;
use kvs_ingest_tests::master::clip::Noisy;
use kvs_ingest_tests::stored;
use kvs_ingest_tests::usage::Usage;
use kvs_local::{AccessKey, Config, Server};
use tokio::process::Command;
use tokio::time::sleep;

const MEGABITS: [u64; 3] = [2, 8, 20];
const RATE: u64 = 30;
/// kvssink 3.6.0 above fakesink: CPU seconds a minute and MB of memory, for 720p30 at 2 Mbit/s over TLS.
const CPP: (f64, f64) = (0.21, 10.5);
/// Runs of each; their medians count. A machine that does other things, too, gives other figures each time.
const ROUNDS: usize = 3;
/// How often a process is looked at: what it does in between and then ends is not seen.
const LOOK: Duration = Duration::from_millis(50);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let seconds: u64 = std::env::var("KVS_INGEST_BENCH_SECONDS").map_or(60, |text| text.parse().unwrap());
    println!("720p30, {ROUNDS} runs of {seconds} s: the medians\n");
    println!("Mbit/s   fakesink              kvssink               difference            C++ element");
    println!(
        "         CPU s/min  peak MB    CPU s/min  peak MB    CPU s/min  MB         CPU ratio  MB ratio"
    );
    let mut first = None;
    for megabits in MEGABITS {
        let clip = clip(megabits, seconds).await;
        let (mut bases, mut all, mut differences) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let world = World::new().await;
            // At the same time, on the same machine in the same mood.
            let (base, ours) = tokio::join!(run(&clip, seconds, None), run(&clip, seconds, Some(&world)));
            let state = stored::state(&world.server.url(), "bench").await.unwrap();
            assert_eq!(state["frames"].as_u64().unwrap(), seconds * RATE, "{state}");
            world.server.shutdown().await;
            differences.push(Cost { cpu: ours.cpu - base.cpu, peak: ours.peak - base.peak });
            bases.push(base);
            all.push(ours);
        }
        let (base, ours, cost) = (median(&bases), median(&all), median(&differences));
        // The C++ element was measured at 2 Mbit/s only.
        let ratio = match megabits {
            2 => format!("{:9.2}  {:8.2}", cost.cpu / CPP.0, cost.peak / CPP.1),
            _ => String::new(),
        };
        println!(
            "{megabits:6}   {:9.2}  {:7.1}    {:9.2}  {:7.1}    {:9.2}  {:7.1}    {ratio}",
            base.cpu, base.peak, ours.cpu, ours.peak, cost.cpu, cost.peak
        );
        let small = *first.get_or_insert(cost);
        if megabits != MEGABITS[0] {
            let times = megabits as f64 / MEGABITS[0] as f64;
            let (cpu, peak) = (cost.cpu / small.cpu, cost.peak / small.peak);
            println!(
                "         {times:.0} times the bitrate: {cpu:.1} times the CPU, {peak:.1} times the memory"
            );
        }
    }
    println!("\nC++ element (kvssink 3.6.0, measured elsewhere): 0.19 to 0.23 CPU s/min, 10 to 11 MB");
}

struct World {
    server: Server,
    folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::new(folder.path().join("kvs"));
        config.access_keys = vec![AccessKey::new("AKIDTEST", "secret")];
        config.region = "us-west-2".to_owned();
        config.tls_listen = Some("127.0.0.1:0".parse().unwrap());
        Self { server: Server::start(config).await.unwrap(), folder }
    }
}

#[derive(Clone, Copy)]
struct Cost {
    /// Seconds a minute.
    cpu: f64,
    /// Megabytes.
    peak: f64,
}

fn median(costs: &[Cost]) -> Cost {
    let middle = |figure: fn(&Cost) -> f64| {
        let mut figures: Vec<f64> = costs.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    Cost { cpu: middle(|cost| cost.cpu), peak: middle(|cost| cost.peak) }
}

/// Plays a clip at its speed.
async fn run(clip: &Path, seconds: u64, world: Option<&World>) -> Cost {
    let sink = match world {
        None => "fakesink".to_owned(),
        Some(world) => format!(
            "kvssink stream-name=bench aws-region=us-west-2 endpoint={} ca-file={}",
            world.server.tls_url().unwrap(),
            world.folder.path().join("kvs/ca.pem").display()
        ),
    };
    let pipeline = format!(
        "filesrc location={} ! qtdemux ! h264parse ! video/x-h264,stream-format=avc,alignment=au \
         ! identity sync=true ! {sink}",
        clip.display()
    );
    let mut child = Command::new("gst-launch-1.0")
        .args(["-q", "-e"])
        .args(pipeline.split_whitespace())
        .env("GST_PLUGIN_PATH", binary("libgstkvssink.so").unwrap().parent().unwrap())
        .env("AWS_ACCESS_KEY_ID", "AKIDTEST")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env_remove("AWS_DEFAULT_REGION")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (mut cpu, mut peak) = (0.0, 0.0);
    while child.try_wait().unwrap().is_none() {
        if let Some(now) = child.id().and_then(|id| Usage::of(id).ok()) {
            (cpu, peak) = (now.cpu, now.peak / 1e6);
        }
        sleep(LOOK).await;
    }
    assert!(child.wait().await.unwrap().success());
    Cost { cpu: cpu * 60.0 / seconds as f64, peak }
}

async fn clip(megabits: u64, seconds: u64) -> PathBuf {
    let clip = Noisy {
        name: &format!("bench-720p30-{megabits}m-{seconds}s.mp4"),
        size: "1280x720",
        rate: RATE,
        seconds,
        noise: "noise=alls=60:allf=t",
        group: 2 * RATE,
        bits: &format!("{megabits}M"),
    };
    clip.file().await.unwrap()
}
