//! The tables of the last run.

use std::fmt::Write;

use super::figures::{Figures, median, quantile};
use super::machine::Machine;
use super::plan::{REFERENCE, ROUNDS, Subject, USUAL};
use super::results::{Latency, Results};
use super::timed::{DELAY, Timings};

/// Threads that take less than this part of the whole are one row.
const SMALL: f64 = 0.01;
/// A machine on which what was measured waited longer than this part of its own time for a CPU did other things, too.
const BUSY: f64 = 0.25;

/// All of them, the ratios first.
pub fn markdown(results: &Results) -> String {
    let tables: [fn(&Results) -> String; 6] = [origin, ratios, costs, threads, parts, times];
    let parts = tables.map(|table| table(results));
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

fn origin(results: &Results) -> String {
    let Machine { processor, cores, memory, kernel, system, gstreamer, load } = &results.machine;
    let (command, build, seconds, minutes) =
        (&results.command, &results.build, results.seconds, results.took.as_secs_f64() / 60.0);
    let waited = results.medians().iter().map(|(_, figures)| figures.waited).fold(0.0, f64::max);
    let mut text = format!(
        "`{command}`: medians of {ROUNDS} rounds of {seconds} s each, in turned order, {minutes:.0} minutes in all. {build}. \
         {cores} cores ({processor}), {memory:.0} GiB, {system}, Linux {kernel}, GStreamer {gstreamer}; load {load:.1} when it \
         began.\n"
    );
    if waited > BUSY {
        writeln!(
            text,
            "\n**The machine did other things, too**: something that was measured waited for a CPU for {waited:.2} times as long as \
             it had one. Ratios of one run hold better than its figures."
        )
        .unwrap();
    }
    text
}

fn ratios(results: &Results) -> String {
    let Some(ours) = results.figures(&REFERENCE) else { return String::new() };
    let mut text = format!(
        "| To the agent, {} | CPU | Resident | Private dirty | Wake-ups |\n|---|---:|---:|---:|---:|\n",
        USUAL.name()
    );
    let ratio = |value: f64, of: f64| format!("{:.2}", value / of);
    for (subject, figures) in results.medians() {
        if subject == REFERENCE || subject.media() != USUAL {
            continue;
        }
        writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            short(&subject),
            ratio(figures.cpu, ours.cpu),
            ratio(figures.resident, ours.resident),
            ratio(figures.private_dirty, ours.private_dirty),
            ratio(figures.wake_ups, ours.wake_ups)
        )
        .unwrap();
    }
    if !results.floor.is_empty() {
        writeln!(text, "| the floor | {} | | | |", ratio(results.floor_sum(), ours.cpu)).unwrap();
    }
    text
}

fn costs(results: &Results) -> String {
    if results.costs.is_empty() {
        return String::new();
    }
    let mut text = "| One process | CPU s/min | % of a core | Resident MB | peak | Private dirty MB | Threads | Wake-ups/s | \
                    Preempted/s | Pictures/s | Lost |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
        .to_owned();
    for (subject, figures) in results.medians() {
        let Figures {
            cpu, resident, peak, private_dirty, threads, wake_ups, preempted, pictures, lost, ..
        } = figures;
        let lost = if lost.is_nan() { String::new() } else { format!("{lost:.0}") };
        writeln!(
            text,
            "| {} | {cpu:.2} | {:.1} | {resident:.1} | {peak:.1} | {private_dirty:.1} | {threads:.0} | {wake_ups:.0} | \
             {preempted:.0} | {pictures:.1} | {lost} |",
            subject.name(),
            cpu / 0.6
        )
        .unwrap();
    }
    text
}

/// Where the time of the agent goes.
fn threads(results: &Results) -> String {
    let Some(by_name) = results.reference_threads() else { return String::new() };
    let whole: f64 = by_name.values().sum();
    let mut rows: Vec<_> = by_name.iter().filter(|(_, cpu)| **cpu >= whole * SMALL).collect();
    rows.sort_by(|one, other| other.1.total_cmp(one.1));
    let rest = whole - rows.iter().map(|(_, cpu)| **cpu).sum::<f64>();
    let mut text = format!("| Thread of the agent, {} | CPU s/min | % |\n|---|---:|---:|\n", USUAL.name());
    let mut row = |name: &str, cpu: f64| {
        writeln!(text, "| {name} | {cpu:.3} | {:.0} |", cpu / whole * 100.0).unwrap();
    };
    for (name, cpu) in rows {
        row(&format!("`{name}`"), *cpu);
    }
    row("others", rest);
    text
}

fn parts(results: &Results) -> String {
    if results.floor.is_empty() {
        return String::new();
    }
    let mut text = format!("| The floor, {} | CPU s/min |\n|---|---:|\n", USUAL.name());
    for (part, costs) in &results.floor {
        writeln!(text, "| {} | {:.3} |", part.name(), median(costs.clone())).unwrap();
    }
    writeln!(text, "| together | {:.3} |", results.floor_sum()).unwrap();
    text
}

fn times(results: &Results) -> String {
    if results.timings.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "| {} ms round trip | From its last packet, ms: p50 | p95 | p99 | From capture, ms: p50 | p95 | p99 | Pictures | \
         Missing |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
        2 * DELAY.as_millis()
    );
    for (name, latency) in results.latencies() {
        let Latency { after_packet, after_capture, missing } = latency;
        let quantiles = |sorted: &[f64]| {
            [0.5, 0.95, 0.99].map(|part| format!("{:.0}", quantile(sorted, part))).join(" | ")
        };
        writeln!(
            text,
            "| {name} | {} | {} | {} | {missing} |",
            quantiles(&after_packet),
            quantiles(&after_capture),
            after_packet.len()
        )
        .unwrap();
    }
    text.push_str("\n| | First picture at KVS, s | First fragment persisted, s |\n|---|---:|---:|\n");
    for (timing, runs) in &results.timings {
        let of = |figure: fn(&Timings) -> f64| median(runs.iter().map(figure).collect());
        let (picture, persisted) = (of(|run| run.first_picture), of(|run| run.first_persisted));
        writeln!(text, "| {} | {picture:.2} | {persisted:.2} |", timing.name()).unwrap();
    }
    text
}

/// Without the media, which are the same in the whole table.
fn short(subject: &Subject) -> String {
    subject.name().replace(&format!(", {}", subject.media().name()), "")
}
