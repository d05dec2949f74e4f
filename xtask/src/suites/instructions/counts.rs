//! The file of numbers, and how it is compared.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, bail};

/// A change of so many per mille in either direction is one that somebody has to have meant.
const TOLERANCE: u64 = 30;

const HEAD: &str = "\
# What one unit of each hot path costs, in instructions: `cargo xtask test instructions` counts them again, and fails when one has
# changed by more than 3 %, also for the better, so that what stands here is true. It is written by
# `KVS_INGEST_BLESS=1 cargo xtask test instructions`. A line is:  PATH  INSTRUCTIONS  UNIT
";

/// In front of the tools.
const WITH: &str = "with ";

/// What one unit of a path costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    pub name: String,
    pub instructions: u64,
    pub unit: String,
}

/// The numbers, and with what they were counted.
#[derive(Debug, PartialEq, Eq)]
pub struct Counts {
    pub with: String,
    pub measured: Vec<Measured>,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HEAD}{WITH}{}\n\n", self.with)?;
        for Measured { name, instructions, unit } in &self.measured {
            writeln!(f, "{name:18} {instructions:>8}  {unit}")?;
        }
        Ok(())
    }
}

impl Counts {
    /// Of a file.
    pub fn read(text: &str) -> Result<Self> {
        let mut counts = Self { with: String::new(), measured: Vec::new() };
        let lines =
            text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        for (number, line) in lines {
            if let Some(with) = line.strip_prefix(WITH) {
                with.clone_into(&mut counts.with);
                continue;
            }
            let words: Vec<_> = line.split_whitespace().collect();
            let [name, instructions, unit] = words[..] else {
                bail!("line {}: expected `PATH INSTRUCTIONS UNIT`, found {line:?}", number + 1);
            };
            let instructions = instructions.parse().ok().filter(|instructions| *instructions > 0);
            let instructions =
                instructions.with_context(|| format!("line {}: no number in {line:?}", number + 1))?;
            counts.measured.push(Measured { name: name.to_owned(), instructions, unit: unit.to_owned() });
        }
        Ok(counts)
    }

    /// What has become of the numbers `before`.
    pub fn compare(&self, before: &Self) -> Comparison {
        let mut left: BTreeMap<_, _> = before.measured.iter().map(|it| (it.name.as_str(), it)).collect();
        let mut rows: Vec<_> = self
            .measured
            .iter()
            .map(|now| {
                let before = left.remove(now.name.as_str()).filter(|before| before.unit == now.unit);
                Row {
                    name: now.name.clone(),
                    unit: now.unit.clone(),
                    before: before.map(|before| before.instructions),
                    now: Some(now.instructions),
                }
            })
            .collect();
        rows.extend(left.into_values().map(|gone| Row {
            name: gone.name.clone(),
            unit: gone.unit.clone(),
            before: Some(gone.instructions),
            now: None,
        }));
        let other = (self.with != before.with).then(|| (before.with.clone(), self.with.clone()));
        Comparison { rows, other }
    }
}

/// A path, before and now.
#[derive(Debug)]
pub struct Row {
    name: String,
    unit: String,
    before: Option<u64>,
    now: Option<u64>,
}

impl Row {
    /// It costs what it did.
    pub fn holds(&self) -> bool {
        self.before
            .zip(self.now)
            .is_some_and(|(before, now)| now.abs_diff(before) * 1000 <= before * TOLERANCE)
    }

    fn verdict(&self) -> &'static str {
        match (self.before, self.now) {
            _ if self.holds() => "",
            (Some(before), Some(now)) if now < before => "  better: write it down",
            (Some(_), Some(_)) => "  TOO MUCH",
            (None, _) => "  new: write it down",
            (_, None) => "  gone: write it down",
        }
    }
}

/// All paths, before and now.
#[derive(Debug)]
pub struct Comparison {
    pub rows: Vec<Row>,
    /// What the numbers were counted with before, and now, where that differs.
    other: Option<(String, String)>,
}

impl Comparison {
    pub fn holds(&self) -> bool {
        self.rows.iter().all(Row::holds)
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{:18} {:16} {:>8} {:>8}   change", "path", "instructions per", "before", "now")?;
        for row in &self.rows {
            let number =
                |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
            let change = row.before.zip(row.now).map_or_else(String::new, |(before, now)| {
                format!("{:+.1} %", (now as f64 / before as f64 - 1.0) * 100.0)
            });
            let (before, now) = (number(row.before), number(row.now));
            writeln!(
                f,
                "{:18} {:16} {before:>8} {now:>8}  {change:>7}{}",
                row.name,
                row.unit,
                row.verdict()
            )?;
        }
        match &self.other {
            Some((before, now)) => {
                writeln!(f, "Before: {before}. Now: {now}. These make other code, and count otherwise.")
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(with: &str, numbers: &[(&str, u64)]) -> Counts {
        let measured = numbers.iter().map(|(name, instructions)| Measured {
            name: (*name).to_owned(),
            instructions: *instructions,
            unit: "packet".to_owned(),
        });
        Counts { with: with.to_owned(), measured: measured.collect() }
    }

    #[test]
    fn what_is_written_is_read() {
        let counts = counts("rustc 1.95.0, glibc 2.36", &[("srtp", 8_412), ("acks", 3)]);
        assert_eq!(Counts::read(&counts.to_string()).unwrap(), counts);
    }

    #[test]
    fn a_malformed_line_is_named() {
        for wrong in ["srtp 8412", "srtp many packet", "srtp 0 packet", "srtp 1 a b"] {
            let error = Counts::read(&format!("# head\n{wrong}\n")).unwrap_err().to_string();
            assert!(error.contains("line 2") && error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn three_per_cent_in_either_direction_hold_and_more_do_not() {
        let before = counts("", &[("path", 10_000)]);
        for (now, holds) in [(10_000, true), (10_300, true), (9_700, true), (10_301, false), (9_699, false)] {
            let comparison = counts("", &[("path", now)]).compare(&before);
            assert_eq!(comparison.holds(), holds, "{comparison}");
        }
        let worse = counts("", &[("path", 10_400)]).compare(&before).to_string();
        assert!(worse.contains("+4.0 %") && worse.contains("TOO MUCH"), "{worse}");
        let better = counts("", &[("path", 9_000)]).compare(&before).to_string();
        assert!(better.contains("-10.0 %") && better.contains("better"), "{better}");
    }

    #[test]
    fn a_path_that_is_new_or_gone_has_to_be_written_down() {
        let (one, two) = (counts("", &[("a", 5)]), counts("", &[("a", 5), ("b", 7)]));
        assert!(one.compare(&one).holds());
        for (now, before, word) in [(&two, &one, "new"), (&one, &two, "gone")] {
            let comparison = now.compare(before);
            assert!(!comparison.holds() && comparison.to_string().contains(word), "{comparison}");
        }
    }

    #[test]
    fn another_compiler_is_told() {
        let comparison = counts("rustc 1.96.0", &[("a", 5)]).compare(&counts("rustc 1.95.0", &[("a", 5)]));
        assert!(comparison.holds(), "what is the same is the same");
        assert!(comparison.to_string().contains("rustc 1.95.0. Now: rustc 1.96.0"), "{comparison}");
    }
}
