//! What was found, and its medians.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::figures::{Costs, Figures, median, median_by_name, quantile};
use super::machine::Machine;
use super::plan::{Part, REFERENCE, ROUNDS, Subject, Timing};
use super::timed::Timings;

pub struct Results {
    pub machine: Machine,
    pub command: String,
    pub build: String,
    pub seconds: u64,
    pub took: Duration,
    pub costs: Vec<(Subject, Vec<Costs>)>,
    pub timings: Vec<(Timing, Vec<Timings>)>,
    pub floor: Vec<(Part, Vec<f64>)>,
}

/// Adds to what there is of `key`; rows keep the order of the first round.
fn add<K: PartialEq, V>(rows: &mut Vec<(K, Vec<V>)>, key: K, value: V) {
    match rows.iter_mut().find(|(of, _)| *of == key) {
        Some((_, values)) => values.push(value),
        None => rows.push((key, vec![value])),
    }
}

impl Results {
    pub fn new(command: &str, build: &str, seconds: u64) -> Self {
        Self {
            machine: Machine::here(),
            command: command.to_owned(),
            build: build.to_owned(),
            seconds,
            took: Duration::ZERO,
            costs: Vec::new(),
            timings: Vec::new(),
            floor: Vec::new(),
        }
    }

    pub fn cost(&mut self, subject: Subject, costs: Costs) {
        add(&mut self.costs, subject, costs);
    }

    pub fn timing(&mut self, timing: Timing, found: Timings) {
        add(&mut self.timings, timing, found);
    }

    pub fn floor(&mut self, part: Part, cost: f64) {
        add(&mut self.floor, part, cost);
    }

    pub fn took(&mut self, took: Duration) {
        self.took = took;
    }

    pub fn figures(&self, subject: &Subject) -> Option<Figures> {
        let (_, costs) = self.costs.iter().find(|(of, _)| of == subject)?;
        Some(Figures::medians(&costs.iter().map(|costs| costs.figures).collect::<Vec<_>>()))
    }

    pub fn medians(&self) -> Vec<(Subject, Figures)> {
        self.costs.iter().filter_map(|(subject, _)| Some((*subject, self.figures(subject)?))).collect()
    }

    pub fn floor_sum(&self) -> f64 {
        self.floor.iter().map(|(_, costs)| median(costs.clone())).sum()
    }

    pub fn reference_threads(&self) -> Option<BTreeMap<String, f64>> {
        let (_, costs) = self.costs.iter().find(|(subject, _)| *subject == REFERENCE)?;
        Some(median_by_name(&costs.iter().map(|costs| costs.threads.clone()).collect::<Vec<_>>()))
    }

    /// By media and loss: of all such runs together.
    pub fn latencies(&self) -> BTreeMap<String, Latency> {
        let mut latencies = BTreeMap::<String, Latency>::new();
        for (timing, runs) in &self.timings {
            let all =
                latencies.entry(format!("{}, {} % loss", timing.media.name(), timing.loss)).or_default();
            for run in runs {
                all.after_packet.extend(&run.after_packet);
                all.after_capture.extend(&run.after_capture);
                all.missing += run.missing;
            }
        }
        for latency in latencies.values_mut() {
            latency.after_packet.sort_by(f64::total_cmp);
            latency.after_capture.sort_by(f64::total_cmp);
        }
        latencies
    }

    pub fn json(&self) -> Value {
        let costs: Vec<_> = self
            .costs
            .iter()
            .map(|(subject, runs)| {
                let runs: Vec<_> = runs.iter().map(|run| run.figures).collect();
                json!({"name": subject.name(), "median": Figures::medians(&runs), "runs": runs})
            })
            .collect();
        let floor: BTreeMap<_, _> =
            self.floor.iter().map(|(part, runs)| (part.name(), median(runs.clone()))).collect();
        let timings: Vec<_> = self
            .timings
            .iter()
            .map(|(timing, runs)| {
                let of = |figure: fn(&Timings) -> f64| runs.iter().map(figure).collect::<Vec<_>>();
                json!({
                    "name": timing.name(),
                    "firstPictureSeconds": of(|run| run.first_picture),
                    "firstPersistedSeconds": of(|run| run.first_persisted),
                })
            })
            .collect();
        let latencies: Vec<_> = self
            .latencies()
            .into_iter()
            .map(|(name, Latency { after_packet, after_capture, missing })| {
                let of = |sorted: &[f64]| [0.5, 0.95, 0.99].map(|part| quantile(sorted, part));
                json!({
                    "name": name,
                    "millisecondsAfterLastPacket": of(&after_packet),
                    "millisecondsAfterCapture": of(&after_capture),
                    "pictures": after_packet.len(),
                    "missing": missing,
                })
            })
            .collect();
        json!({
            "command": self.command,
            "build": self.build,
            "machine": self.machine,
            "rounds": ROUNDS,
            "secondsEach": self.seconds,
            "costs": costs,
            "threadsCpu": self.reference_threads(),
            "floorCpu": floor,
            "latencyP50P95P99": latencies,
            "starts": timings,
        })
    }
}

/// Of pictures, in ms and sorted.
#[derive(Clone, Debug, Default)]
pub struct Latency {
    pub after_packet: Vec<f64>,
    pub after_capture: Vec<f64>,
    pub missing: usize,
}
