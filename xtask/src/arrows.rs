//! `cargo xtask test layers`: a crate of ours depends on those of ours that `docs/architecture.md` allows, and on no
//! others. What only its tests and benchmarks need is left out.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail};

use crate::workspace::{members, root};

/// What each package may depend on. Those of the end-to-end tests and of what is counted may depend on all.
const ALLOWED: [(&str, &[&str]); 14] = [
    (
        "kvs-ingest-agent",
        &[
            "gst-plugin-kvssink",
            "kvs",
            "kvs-aws",
            "kvs-ingest-api",
            "kvs-ingest-serve",
            "kvs-media",
            "kvs-peer",
            "kvs-rtmp",
        ],
    ),
    ("kvs-ingest-operator", &["kvs", "kvs-aws", "kvs-ingest-api", "kvs-ingest-serve"]),
    ("gst-plugin-kvssink", &["kvs", "kvs-aws", "kvs-putmedia"]),
    ("kvs", &["kvs-aws"]),
    ("kvs-peer", &["kvs-media"]),
    ("kvs-putmedia", &["kvs-aws"]),
    ("kvs-aws", &[]),
    ("kvs-ingest-api", &[]),
    ("kvs-ingest-serve", &[]),
    ("kvs-local", &["str0m-ring"]),
    ("kvs-media", &[]),
    ("kvs-rtmp", &[]),
    ("str0m-ring", &[]),
    ("xtask", &[]),
];
const TESTS: [&str; 2] = ["kvs-ingest-tests", "kvs-ingest-instructions"];

/// An error that names every dependency that is not allowed, if there is one.
pub fn check() -> Result<()> {
    let mut manifests = BTreeMap::new();
    for member in members()? {
        let path = root().join(member).join("Cargo.toml");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let name =
            value(&text, "package", "name").with_context(|| format!("no name in {}", path.display()))?;
        manifests.insert(name, text);
    }
    let wrong = not_allowed(&manifests);
    if !wrong.is_empty() {
        bail!("docs/architecture.md does not allow:\n  {}", wrong.join("\n  "));
    }
    Ok(())
}

/// The dependencies between these packages that are not allowed, as `a ─► b`.
fn not_allowed(manifests: &BTreeMap<String, String>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, text) in manifests.iter().filter(|(name, _)| !TESTS.contains(&name.as_str())) {
        let allowed =
            ALLOWED.iter().find(|(package, _)| package == name).map_or(&[][..], |(_, allowed)| allowed);
        let ours = dependencies(text).filter(|dependency| manifests.contains_key(*dependency));
        wrong.extend(ours.filter(|it| !allowed.contains(it)).map(|it| format!("{name} ─► {it}")));
    }
    wrong
}

/// Lines with the section that they are in, without its brackets.
fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut section = "";
    text.lines().map(move |line| {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.trim_end().strip_suffix(']')) {
            section = name;
        }
        (section, line)
    })
}

fn value(text: &str, section: &str, key: &str) -> Option<String> {
    let (_, line) = lines(text).find(|(found, line)| *found == section && line.starts_with(key))?;
    Some(line.split('"').nth(1)?.to_owned())
}

/// The names in `[dependencies]`, `[build-dependencies]` and those of single targets.
fn dependencies(text: &str) -> impl Iterator<Item = &str> {
    let counts = |section: &str| section.ends_with("dependencies") && !section.ends_with("dev-dependencies");
    lines(text).filter(move |(section, _)| counts(section)).filter_map(|(_, line)| {
        let end = line.find(['.', '=', ' ']).filter(|_| !line.starts_with('['))?;
        Some(&line[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(manifests: &[(&str, &str)]) -> Vec<String> {
        not_allowed(&manifests.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect())
    }

    #[test]
    fn a_dependency_that_is_not_allowed_is_named() {
        let local = ("kvs-local", "[package]\nname = \"kvs-local\"\n\n[dependencies]\nanyhow = \"1\"\n");
        let media = ("kvs-media", "[dependencies]\nkvs-local.workspace = true\n");
        assert_eq!(wrong(&[local, media]), ["kvs-media ─► kvs-local"]);
        let media = ("kvs-media", "[target.'cfg(unix)'.dependencies]\nkvs-local = { workspace = true }\n");
        assert_eq!(wrong(&[local, media]), ["kvs-media ─► kvs-local"]);
    }

    #[test]
    fn what_is_allowed_or_for_tests_alone_is_not() {
        let aws = ("kvs-aws", "[dependencies]\n");
        let kvs =
            ("kvs", "[dependencies]\nkvs-aws.workspace = true\n[dev-dependencies]\nkvs-local = \"1\"\n");
        let all = (TESTS[0], "[dependencies]\nkvs.workspace = true\nkvs-aws.workspace = true\n");
        assert!(wrong(&[aws, kvs, ("kvs-local", ""), all]).is_empty());
    }

    #[test]
    fn a_new_package_may_depend_on_none_until_it_is_listed() {
        let other = ("kvs-other", "[dependencies]\nkvs-aws.workspace = true\n");
        assert_eq!(wrong(&[("kvs-aws", ""), other]), ["kvs-other ─► kvs-aws"]);
    }
}
