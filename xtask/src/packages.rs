//! The one list of system packages (`xtask/packages.txt`), and how what is missing of it gets installed.

use std::collections::BTreeSet;
use std::env;
use std::io::IsTerminal;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::say;

const LIST: &str = include_str!("../packages.txt");

/// What a command needs of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    Build,
    Media,
    Web,
    Browser,
    Cluster,
    Node,
    Images,
    Test,
}

impl Group {
    pub const ALL: [Group; 8] = [
        Group::Build,
        Group::Media,
        Group::Web,
        Group::Browser,
        Group::Cluster,
        Group::Node,
        Group::Images,
        Group::Test,
    ];

    fn name(self) -> &'static str {
        match self {
            Group::Build => "build",
            Group::Media => "media",
            Group::Web => "web",
            Group::Browser => "browser",
            Group::Cluster => "cluster",
            Group::Node => "node",
            Group::Images => "images",
            Group::Test => "test",
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Entry<'a> {
    group: &'a str,
    package: &'a str,
    unless: Option<&'a str>,
}

fn entries(list: &str) -> Result<Vec<Entry<'_>>> {
    list.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|(number, line)| match line.split_whitespace().collect::<Vec<_>>()[..] {
            [group, package] => Ok(Entry { group, package, unless: None }),
            [group, package, "unless", command] => Ok(Entry { group, package, unless: Some(command) }),
            _ => bail!(
                "xtask/packages.txt:{}: expected `GROUP PACKAGE [unless COMMAND]`, found {line:?}",
                number + 1
            ),
        })
        .collect()
}

/// Is `command` a file on the PATH?
pub fn on_path(command: &str) -> bool {
    env::var_os("PATH")
        .is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(command).is_file()))
}

fn is_installed(package: &str) -> bool {
    Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status}", package])
        .output()
        .is_ok_and(|output| output.status.success() && output.stdout == b"installed")
}

/// The packages of `groups` that this machine lacks, in the order of the list, each once.
fn missing(groups: &[Group]) -> Result<Vec<&'static str>> {
    let mut seen = BTreeSet::new();
    Ok(entries(LIST)?
        .into_iter()
        .filter(|entry| groups.iter().any(|group| group.name() == entry.group))
        .filter(|entry| !entry.unless.is_some_and(on_path))
        .filter(|entry| !is_installed(entry.package))
        .map(|entry| entry.package)
        .filter(|package| seen.insert(*package))
        .collect())
}

/// Installs what `groups` lack: as root, or by `sudo` where it needs no password or a
/// person is there to type it; otherwise fails with the command
/// to run. On a system without apt it says what is needed and goes on: the person knows their package manager.
pub fn ensure(groups: &[Group]) -> Result<()> {
    if !Path::new("/usr/bin/apt-get").exists() {
        let wanted: Vec<_> = entries(LIST)?
            .into_iter()
            .filter(|entry| groups.iter().any(|group| group.name() == entry.group))
            .map(|entry| entry.package)
            .collect();
        say!("This system has no apt-get. Make sure that it has what Debian calls: {}", wanted.join(" "));
        return Ok(());
    }
    let missing = missing(groups)?;
    if missing.is_empty() {
        return Ok(());
    }
    let by_hand = format!(
        "sudo apt-get update && sudo apt-get install --yes --no-install-recommends {}",
        missing.join(" ")
    );
    let prefix: &[&str] = if nix::unistd::geteuid().is_root() {
        &[]
    } else if Command::new("sudo").args(["-n", "true"]).output().is_ok_and(|output| output.status.success()) {
        &["sudo", "-n"]
    } else if on_path("sudo") && std::io::stdin().is_terminal() {
        &["sudo"]
    } else {
        bail!("system packages are missing; please run\n\n    {by_hand}\n\nand then this command again");
    };
    say!("Installing {} system packages: {}", missing.len(), missing.join(" "));
    apt(prefix, &["update", "-qq"])
        .and_then(|()| {
            let mut arguments = vec!["install", "--yes", "-qq", "--no-install-recommends"];
            arguments.extend(&missing);
            apt(prefix, &arguments)
        })
        .with_context(|| format!("installing system packages; by hand:\n\n    {by_hand}\n"))
}

fn apt(prefix: &[&str], arguments: &[&str]) -> Result<()> {
    let mut words = prefix.to_vec();
    // `env` because sudo drops the environment.
    words.extend(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    words.extend(arguments);
    let status = Command::new(words[0])
        .args(&words[1..])
        .stdout(std::process::Stdio::null())
        .status()
        .with_context(|| format!("cannot run {}", words[0]))?;
    if !status.success() {
        bail!("apt-get {} ended with {status}", arguments[0]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_well_formed_and_every_group_is_known() {
        let entries = entries(LIST).unwrap();
        for group in Group::ALL {
            assert!(entries.iter().any(|entry| entry.group == group.name()), "{group:?} has no package");
        }
        for entry in &entries {
            assert!(Group::ALL.iter().any(|group| group.name() == entry.group), "unknown group in {entry:?}");
        }
    }

    #[test]
    fn a_malformed_line_is_named() {
        let error = entries("build a\n\nbuild b when c\n").unwrap_err().to_string();
        assert!(error.contains("packages.txt:3") && error.contains("build b when c"), "{error}");
    }
}
