//! What a process has used so far, from /proc.

use std::collections::HashMap;

use anyhow::{Context, Result};

/// CPU time and memory of a process.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Seconds of CPU time, in user and kernel mode.
    pub cpu: f64,
    /// Resident now, bytes.
    pub resident: f64,
    /// The most that was resident, bytes.
    pub peak: f64,
}

impl Usage {
    /// # Errors
    /// The process has ended.
    pub fn of(id: u32) -> Result<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
        // Behind the name, which may hold anything: utime and stime, in ticks of which Linux has 100 a second.
        let (_, behind) = stat.rsplit_once(')').context("no name in stat")?;
        let fields: Vec<&str> = behind.split_whitespace().collect();
        let ticks =
            |index: usize| -> Result<f64> { Ok(fields.get(index).context("stat is short")?.parse()?) };
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let memory = |name: &str| -> Result<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let line = line.with_context(|| format!("no {name} in status"))?;
            let kib: f64 = line.split_whitespace().next().context("no figure")?.parse()?;
            Ok(kib * 1024.0)
        };
        Ok(Self {
            cpu: (ticks(11)? + ticks(12)?) / 100.0,
            resident: memory("VmRSS:")?,
            peak: memory("VmHWM:")?,
        })
    }
}

/// What a process holds, and how often its threads have slept.
#[derive(Clone, Debug)]
pub struct Footprint {
    /// Bytes that are its own and written to.
    pub private_dirty: f64,
    /// `voluntary_ctxt_switches` of each thread: it has waited, and was woken, so often.
    threads: HashMap<u32, u64>,
}

impl Footprint {
    /// # Errors
    /// The process has ended.
    pub fn of(id: u32) -> Result<Self> {
        let rollup = std::fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?;
        let mut threads = HashMap::new();
        for thread in std::fs::read_dir(format!("/proc/{id}/task"))? {
            let thread = thread?;
            // A thread may end while it is looked at.
            let Ok(status) = std::fs::read_to_string(thread.path().join("status")) else { continue };
            let number = thread.file_name().to_string_lossy().parse()?;
            threads.insert(number, figure(&status, "voluntary_ctxt_switches:")? as u64);
        }
        Ok(Self { private_dirty: figure(&rollup, "Private_Dirty:")? * 1024.0, threads })
    }

    pub fn threads(&self) -> usize {
        self.threads.len()
    }

    /// Of the threads that live now.
    pub fn wake_ups_since(&self, before: &Self) -> u64 {
        let since =
            |(id, count): (&u32, &u64)| count.saturating_sub(before.threads.get(id).copied().unwrap_or(0));
        self.threads.iter().map(since).sum()
    }
}

/// The first figure of the line that begins with `name`.
fn figure(text: &str, name: &str) -> Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
    Ok(line.split_whitespace().next().context("no figure")?.parse()?)
}
