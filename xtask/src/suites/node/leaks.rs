//! [`Snapshot`]: what of a cluster can be found on this machine, searched without the code that takes it away.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// For what ends by itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// What there was at one moment: lines, each of which names one thing.
pub struct Snapshot {
    /// What has the cluster's folder or id in its name.
    own: BTreeSet<String>,
    /// What the machine has once for all clusters. None: there are others, which change it, too.
    shared: Option<BTreeSet<String>>,
}

impl Snapshot {
    /// `words`: the cluster's folder, and its id when it is known.
    pub fn take(words: &[&str]) -> Result<Self> {
        let ours = |text: &str| words.iter().any(|word| text.contains(word));
        let mut own = BTreeSet::new();
        for line in fs::read_to_string("/proc/self/mountinfo")?.lines().filter(|line| ours(line)) {
            own.insert(format!("mount {line}"));
        }
        for name in names("/sys/class/net").into_iter().filter(|name| ours(name)) {
            own.insert(format!("link {name}"));
        }
        for line in lines(Command::new("ip").args(["route", "show", "table", "all"]))? {
            if ours(&line) {
                own.insert(format!("route {line}"));
            }
        }
        for hierarchy in names("/sys/fs/cgroup").into_iter().chain([".".to_owned()]) {
            for name in names(&format!("/sys/fs/cgroup/{hierarchy}")).into_iter().filter(|name| ours(name)) {
                own.insert(format!("cgroup {hierarchy}/{name}"));
            }
        }
        for process in processes(words) {
            let name = fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default();
            own.insert(format!("process {process} {}", name.replace('\0', " ")));
        }
        for name in names("/run/kvs-ingest").into_iter().filter(|name| ours(name)) {
            own.insert(format!("file /run/kvs-ingest/{name}"));
        }
        for name in names("/var/lib/cni/results") {
            let path = format!("/var/lib/cni/results/{name}");
            if fs::read_to_string(&path).is_ok_and(|text| ours(&text)) {
                own.insert(format!("file {path}"));
            }
        }
        for name in names("/var/log/containers") {
            let path = format!("/var/log/containers/{name}");
            if fs::read_link(&path).is_ok_and(|to| ours(&to.display().to_string())) {
                own.insert(format!("file {path}"));
            }
        }
        own.extend(words.iter().filter(|word| Path::new(word).exists()).map(|word| format!("folder {word}")));
        let alone = !names("/run/kvs-ingest").iter().any(|name| name.starts_with("kvsi-") && !ours(name));
        Ok(Self { own, shared: if alone { Some(shared()?) } else { None } })
    }

    /// An error when there is something in a while that was not there then: a helper that was just being started when its
    /// parent was killed ends by itself.
    pub fn compare(&self, words: &[&str], when: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.compare_at_once(words, when) {
                Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(100)),
                result => return result,
            }
        }
    }

    /// An error when there is something now that was not there then.
    pub fn compare_at_once(&self, words: &[&str], when: &str) -> Result<()> {
        let now = Self::take(words)?;
        let mut left: Vec<_> = now.own.difference(&self.own).map(String::as_str).collect();
        if let (Some(then), Some(now)) = (&self.shared, &now.shared) {
            left.extend(now.difference(then).map(String::as_str));
        }
        if !left.is_empty() {
            bail!("{when} there is left:\n  {}", left.join("\n  "));
        }
        Ok(())
    }
}

fn shared() -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    // By kube-proxy and kubelet, in the machine's own network.
    for line in lines(&mut Command::new("iptables-save"))? {
        if line.contains("KUBE-") {
            found.insert(format!("iptables {line}"));
        }
    }
    for folder in
        ["/run/kvs-ingest", "/run/containerd/s", "/var/lib/kubelet", "/var/lib/cni", "/var/log/containers"]
    {
        if Path::new(folder).exists() {
            found.insert(format!("folder {folder}"));
        }
        found.extend(names(folder).into_iter().map(|name| format!("file {folder}/{name}")));
    }
    for name in ["vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops"] {
        let value = fs::read_to_string(Path::new("/proc/sys").join(name))?;
        found.insert(format!("setting {name} {}", value.trim()));
    }
    Ok(found)
}

/// Those that live and have one of the words in their command line, environment or cgroup; not this one.
pub fn processes(words: &[&str]) -> Vec<i32> {
    let ours = |process: &i32| {
        ["cmdline", "environ", "cgroup"].iter().any(|file| {
            // A process that has ended, and that nobody asked for, has neither command line nor environment.
            fs::read(format!("/proc/{process}/{file}"))
                .is_ok_and(|bytes| words.iter().any(|word| String::from_utf8_lossy(&bytes).contains(word)))
        })
    };
    names("/proc")
        .iter()
        .filter_map(|name| name.parse().ok())
        .filter(|process| i64::from(*process) != i64::from(std::process::id()))
        .filter(ours)
        .collect()
}

fn names(folder: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn lines(command: &mut Command) -> Result<Vec<String>> {
    let output = command.output()?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}
