//! What a process has used so far, from /proc.

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
