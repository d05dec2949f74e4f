//! The table, printed and in the documentation.

use std::fmt::Write;
use std::path::PathBuf;

use super::kept::Kept;

pub fn header() -> String {
    format!(
        "{:58} {:>9} {:>8} {:>10} {:>8} {:>10} {:>7} {:>11}",
        "", "recovered", "sent", "stored", "lost", "unseen", "twice", "connections"
    )
}

/// Where the table is in the page.
const BEGIN: &str = "<!-- rows: begin -->\n";
const END: &str = "<!-- rows: end -->\n";

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/faults.md")
}

fn seconds(kept: &Kept) -> String {
    kept.recovered.map_or_else(|| "-".to_owned(), |after| format!("{:.1}", after.as_secs_f64()))
}

pub fn line(name: &str, kept: &Kept) -> String {
    let Kept { sent, stored, lost, unseen, twice, connections, .. } = kept;
    format!(
        "{name:58} {:>9} {sent:8} {stored:10} {lost:8} {unseen:10} {twice:7} {connections:11}",
        seconds(kept)
    )
}

/// Puts the figures into the page.
pub fn write(rows: &[(&'static str, Kept)]) {
    let page = page();
    let text = std::fs::read_to_string(&page).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let mut table =
        "| What happens | Recovered after, s | Sent | Stored | Lost | Unseen | Twice | Connections |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|\n"
            .to_owned();
    for (name, kept) in rows {
        let Kept { sent, stored, lost, unseen, twice, connections, .. } = kept;
        let recovered = seconds(kept);
        let line = format!(
            "| {name} | {recovered} | {sent} | {stored} | {lost} | {unseen} | {twice} | {connections} |"
        );
        writeln!(table, "{line}").unwrap();
    }
    std::fs::write(&page, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
}

/// The rows that the page has.
pub fn documented() -> Vec<String> {
    let text = std::fs::read_to_string(page()).unwrap();
    let table = text.split_once(BEGIN).unwrap().1.split_once(END).unwrap().0;
    let name = |line: &str| line.split('|').nth(1).map(|name| name.trim().to_owned());
    table.lines().skip(2).filter_map(name).collect()
}
