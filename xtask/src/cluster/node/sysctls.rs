//! The kernel's settings that a kubelet changes for the whole machine: kept by the first node, restored by the last.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::run_folder::RUN;

const NAMES: [&str; 6] = [
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];
const FILE: &str = "sysctls";

pub fn save() -> Result<()> {
    let path = Path::new(RUN).join(FILE);
    if path.exists() {
        return Ok(());
    }
    let mut text = String::new();
    for name in NAMES {
        if let Ok(value) = fs::read_to_string(Path::new("/proc/sys").join(name)) {
            text.push_str(&format!("{name}={}\n", value.trim()));
        }
    }
    // Whole or not at all: it is never written again.
    let next = path.with_extension("next");
    fs::write(&next, text)
        .and_then(|()| fs::rename(&next, &path))
        .with_context(|| format!("cannot write {}", path.display()))
}

pub fn restore() -> Result<()> {
    let saved = fs::read_to_string(Path::new(RUN).join(FILE)).unwrap_or_default();
    for (name, value) in saved.lines().filter_map(|line| line.split_once('=')) {
        let path = Path::new("/proc/sys").join(name);
        if fs::read_to_string(&path).is_ok_and(|now| now.trim() != value) {
            fs::write(&path, value).with_context(|| format!("cannot restore {}", path.display()))?;
        }
    }
    Ok(())
}
