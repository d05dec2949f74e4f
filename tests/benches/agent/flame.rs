//! Where the time of an agent goes, call by call: sampled by `perf`, drawn as a flame graph. Nothing but Linux's software clock is
//! needed, and no build of its own: stacks are unwound by the tables that every program has (`.eh_frame`).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::Stdio;

use kvs_ingest_tests::agent::binary;
use tokio::process::Command;
use tokio::time::sleep;

use super::chart::escaped;
use super::master::Path as NetworkPath;
use super::plan::USUAL;
use super::world::{self, How, WARM, World};

pub const FILE: &str = "bench-agent-flame.svg";
/// Samples for each second of CPU time: an agent has a fiftieth of one each second.
const RATE: &str = "1999";
/// Bytes of each stack: async code in Rust is deep, and what is cut off has no root.
const CALLS: &str = "dwarf,32768";
/// Narrower than this part of all, a call is left out: nobody can read it, and it makes the file large.
const SMALL: f64 = 0.003;
const WIDTH: f64 = 1_200.0;
const ROW: f64 = 17.0;
const TOP: f64 = 44.0;
/// Of a character, in the font below.
const CHARACTER: f64 = 6.6;

/// Samples an agent of the usual stream for so many seconds, and draws the picture into `folder`.
pub async fn draw(seconds: u64, folder: &Path) {
    let world = World::new().await;
    let master = world.master(1, USUAL, NetworkPath::default()).await;
    let authority = world.authority();
    let how = How {
        endpoint: &world.server.tls_url().unwrap(),
        more: "",
        arguments: &[],
        env: &[("AWS_CA_BUNDLE", authority.to_str().unwrap())],
    };
    let mut agent = world.agent(&binary("kvs-ingest-agent").unwrap(), 0, &how).await;
    world::stored(&mut agent).await;
    sleep(WARM).await;
    let samples = world.folder.path().join("perf.data");
    let recorded = Command::new("perf")
        .args(["record", "--quiet", "--event", "cpu-clock", "--freq", RATE, "--call-graph", CALLS])
        .args(["--pid", &agent.id().unwrap().to_string(), "--output"])
        .arg(&samples)
        .args(["--", "sleep", &seconds.to_string()])
        .stdin(Stdio::null())
        .status()
        .await
        .expect("perf: install linux-perf");
    assert!(recorded.success(), "perf record: {recorded}");
    drop((agent, master));
    let text = Command::new("perf")
        .args(["script", "--no-inline", "--fields", "comm,ip,sym,dso", "--input"])
        .arg(&samples)
        .stderr(Stdio::null())
        .output()
        .await
        .unwrap();
    assert!(text.status.success(), "perf script: {}", text.status);
    world.server.shutdown().await;
    let root = folded(&String::from_utf8_lossy(&text.stdout));
    assert!(root.samples > 0, "perf has no samples");
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join(FILE), picture(&root)).unwrap();
    println!("{} samples in {}", root.samples, folder.join(FILE).display());
}

/// A call, and those that it made.
#[derive(Debug, Default)]
struct Call {
    samples: u64,
    calls: BTreeMap<String, Call>,
}

/// Of what `perf script` says: for each sample the name of the thread, then a line for each call, the innermost first, then an empty
/// one.
fn folded(text: &str) -> Call {
    let mut root = Call::default();
    for sample in text.split("\n\n") {
        let mut lines = sample.lines().filter(|line| !line.trim().is_empty());
        let Some(thread) = lines.next() else { continue };
        let mut stack: Vec<_> = lines.map(name).collect();
        stack.push(thread.trim().to_owned());
        // Calls within a library without symbols are one.
        stack.dedup();
        root.samples += 1;
        let mut call = &mut root;
        for name in stack.into_iter().rev() {
            call = call.calls.entry(name).or_default();
            call.samples += 1;
        }
    }
    root
}

/// Of `ADDRESS SYMBOL (FILE)`: the symbol, or the file where it has none.
fn name(line: &str) -> String {
    let line = line.trim();
    let (_, rest) = line.split_once(' ').unwrap_or(("", line));
    let (symbol, file) = rest.rsplit_once(" (").unwrap_or((rest, ""));
    let symbol = symbol.trim();
    if symbol == "[unknown]" {
        let file = file.trim_end_matches(')').trim_matches(['[', ']']);
        return format!("[{}]", file.rsplit('/').next().unwrap_or(file));
    }
    // The hash of Rust's older mangling says nothing here.
    let known = symbol
        .rsplit_once("::h")
        .filter(|(_, hash)| hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
    known.map_or(symbol, |(name, _)| name).to_owned()
}

fn depth(call: &Call, least: f64) -> usize {
    let inner = call.calls.values().filter(|inner| inner.samples as f64 >= least);
    1 + inner.map(|inner| depth(inner, least)).max().unwrap_or(0)
}

fn picture(root: &Call) -> String {
    let least = root.samples as f64 * SMALL;
    let height = TOP + ROW * depth(root, least) as f64 + 8.0;
    let title = format!("Where the agent's CPU time goes, {}: {} samples", USUAL.name(), root.samples);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"ui-monospace, 'DejaVu Sans Mono', \
         monospace\" font-size=\"11\" role=\"img\" aria-label=\"{0}\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#f6f8fb\"/>\n\
         <text x=\"10\" y=\"27\" font-size=\"15\" font-family=\"system-ui, sans-serif\" fill=\"#1d2733\">{0}</text>\n",
        escaped(&title)
    );
    let mut x = 0.0;
    for (name, call) in &root.calls {
        x += row(&mut svg, name, call, (x, 0), root.samples as f64, least);
    }
    svg.push_str("</svg>\n");
    svg
}

/// A call and what it called, below it; its width.
fn row(svg: &mut String, name: &str, call: &Call, (x, level): (f64, usize), all: f64, least: f64) -> f64 {
    let width = call.samples as f64 / all * WIDTH;
    if (call.samples as f64) < least {
        return width;
    }
    let y = TOP + ROW * level as f64;
    // Threads are ours to name; below them a colour for each kind of code.
    let colour = match name {
        _ if level == 0 => "#326ce5",
        _ if name.contains("::") => "#f0b26b",
        _ if name.starts_with('[') => "#c8d1dc",
        _ => "#8fc7a4",
    };
    let part = call.samples as f64 / all * 100.0;
    let fits = ((width - 4.0) / CHARACTER).max(0.0) as usize;
    let shown: String = if fits < 3 { String::new() } else { name.chars().take(fits).collect() };
    writeln!(
        svg,
        "<g><title>{}, {part:.1} %</title><rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"2\" \
         fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{:.1}\" fill=\"#1d2733\">{}</text></g>",
        escaped(name),
        (width - 0.5).max(0.5),
        ROW - 1.0,
        x + 2.0,
        y + 12.0,
        escaped(&shown)
    )
    .unwrap();
    let mut inner = x;
    for (name, call) in &call.calls {
        inner += row(svg, name, call, (inner, level + 1), all, least);
    }
    width
}
