//! Where the results go: `agent.md`, `agent.json` and the chart, and a page of the documentation.

use std::path::Path;

use super::chart::{self, Bar};
use super::plan::{Subject, USUAL};
use super::results::Results;
use super::tables;

/// Between these lines of the page is the last run.
const BEGIN: &str = "<!-- bench agent: begin -->\n";
const END: &str = "<!-- bench agent: end -->\n";
const CHART: &str = "bench-agent.svg";

/// `agent.md`, `agent.json`, and the chart.
pub fn write(results: &Results, folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("agent.md"), tables::markdown(results)).unwrap();
    std::fs::write(folder.join("agent.json"), format!("{:#}\n", results.json())).unwrap();
    std::fs::write(folder.join(CHART), bars(results)).unwrap();
}

/// Between the two lines of the page, and beside its other pictures.
pub fn document(results: &Results, page: &Path, pictures: &Path) {
    let text = std::fs::read_to_string(page).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the line with which the tables begin");
    let (_, after) = rest.split_once(END).expect("the line with which the tables end");
    let tables = tables::markdown(results);
    let chart = format!("![CPU seconds for each minute of a stream](images/{CHART})");
    std::fs::write(page, format!("{before}{BEGIN}\n{tables}\n{chart}\n\n{END}{after}")).unwrap();
    std::fs::write(pictures.join(CHART), bars(results)).unwrap();
}

fn bars(results: &Results) -> String {
    let mut all: Vec<_> = results
        .medians()
        .iter()
        .map(|(subject, figures)| Bar {
            name: subject.name(),
            value: figures.cpu,
            ours: matches!(subject, Subject::Ours { .. }),
        })
        .collect();
    all.push(Bar { name: format!("the floor, {}", USUAL.name()), value: results.floor_sum(), ours: false });
    all.sort_by(|one, other| one.value.total_cmp(&other.value));
    chart::bars("CPU seconds for each minute of a stream", "s", &all)
}
