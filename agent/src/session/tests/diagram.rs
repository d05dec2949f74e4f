//! What docs/architecture.md says of the session is what the session does: its diagrams, and how long each state lasts.

use super::*;
use crate::session::machine::Step;
use std::collections::BTreeSet;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/architecture.md");

fn page() -> String {
    std::fs::read_to_string(PAGE).unwrap()
}

/// The arrows of the diagram of this machine: `Idle --> Creating: label`. `[*]` is no state.
fn drawn(machine: &str) -> BTreeSet<(String, String)> {
    let page = page();
    let begin = page.find(&format!("```mermaid\nstateDiagram-v2\n    %% {machine}\n")).expect("its diagram");
    let diagram = &page[begin + 3..];
    let arrows = diagram[..diagram.find("```").unwrap()].lines().filter_map(|line| line.split_once(" --> "));
    arrows
        .map(|(from, to)| (from.trim(), to.split(':').next().unwrap().trim()))
        .filter(|(from, to)| *from != "[*]" && *to != "[*]")
        .map(|(from, to)| (from.to_owned(), to.to_owned()))
        .collect()
}

/// Seconds that a state lasts at most, as the table says it.
pub(super) fn lasts(state: &str) -> Duration {
    let page = page();
    let row = page.lines().find(|line| line.starts_with(&format!("| `{state}` |")));
    let row = row.unwrap_or_else(|| panic!("no row of {state}"));
    let seconds = row.split('|').nth(2).unwrap().split_whitespace().next().unwrap();
    Duration::from_secs(seconds.parse().unwrap_or_else(|_| panic!("no seconds: {row}")))
}

/// The relay of a connection ends twice. The second time what takes its place dies at once.
fn replaced_twice() -> Harness {
    let mut harness = Harness::new();
    for dies in [false, true] {
        harness.run(30 * SECOND);
        let generation = harness.connected.unwrap();
        harness.input(Input::RelayEnds { generation, reason: "refused".to_owned() });
        while harness.connected.is_none_or(|connected| connected == generation) {
            harness.run(Duration::from_millis(100));
        }
        harness.run(SECOND);
        if dies {
            harness.lose_peer();
            assert_eq!(harness.session.leaving(), Some(generation), "it is needed again");
        }
        harness.run(10 * SECOND);
        assert_eq!((harness.session.leaving(), harness.phase()), (None, Phase::Streaming));
    }
    harness
}

#[test]
fn the_diagrams_are_what_the_code_does() {
    let mut done: BTreeSet<Step> = BTreeSet::new();
    for seed in 0..600 {
        done.extend(&super::schedules::played(seed).session.steps);
    }
    // Chance seldom lets a connection be replaced while it lives.
    done.extend(&replaced_twice().session.steps);
    for machine in ["signaling", "peer", "leaving"] {
        let of_it = done.iter().filter(|step| step.machine == machine && step.from != step.to);
        let made: BTreeSet<_> = of_it.map(|step| (step.from.to_owned(), step.to.to_owned())).collect();
        let drawn = drawn(machine);
        let missing: Vec<_> = made.difference(&drawn).collect();
        let too_many: Vec<_> = drawn.difference(&made).collect();
        assert!(missing.is_empty(), "{PAGE}: the diagram of {machine} lacks {missing:?}");
        assert!(too_many.is_empty(), "{PAGE}: the diagram of {machine} has {too_many:?}, which never happen");
    }
}
