//! What a process has used so far, from /proc.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

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

/// What a process holds, and what its threads have done so far.
#[derive(Clone, Debug)]
pub struct Footprint {
    /// Bytes that are its own and written to.
    pub private_dirty: f64,
    threads: BTreeMap<u32, Thread>,
}

#[derive(Clone, Debug)]
struct Thread {
    /// As the kernel has it, at most 15 bytes.
    name: String,
    work: Work,
}

/// What threads did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Seconds on a CPU, to the nanosecond: `/proc/PID/stat` counts in hundredths.
    pub cpu: f64,
    /// Seconds in which they could have run and had no CPU. More than a little says that the machine did other things, too.
    pub waited: f64,
    /// Times that they waited, and were woken (`voluntary_ctxt_switches`).
    pub wake_ups: f64,
    /// Times that the CPU was taken from them (`nonvoluntary_ctxt_switches`).
    pub preempted: f64,
}

impl Work {
    fn less(self, before: Self) -> Self {
        Self {
            cpu: self.cpu - before.cpu,
            waited: self.waited - before.waited,
            wake_ups: self.wake_ups - before.wake_ups,
            preempted: self.preempted - before.preempted,
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            cpu: self.cpu + other.cpu,
            waited: self.waited + other.waited,
            wake_ups: self.wake_ups + other.wake_ups,
            preempted: self.preempted + other.preempted,
        }
    }
}

impl Footprint {
    /// # Errors
    /// The process has ended, or the kernel keeps no schedstat.
    pub fn of(id: u32) -> Result<Self> {
        let rollup = std::fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?;
        let mut threads = BTreeMap::new();
        for thread in std::fs::read_dir(format!("/proc/{id}/task"))? {
            let thread = thread?;
            let read = |file: &str| std::fs::read_to_string(thread.path().join(file));
            // A thread may end while it is looked at.
            let (Ok(status), Ok(schedule), Ok(name)) = (read("status"), read("schedstat"), read("comm"))
            else {
                continue;
            };
            let work = work(&status, &schedule)?;
            let number = thread.file_name().to_string_lossy().parse()?;
            threads.insert(number, Thread { name: name.trim_end().to_owned(), work });
        }
        ensure!(!threads.is_empty(), "process {id} has no threads whose schedstat can be read");
        Ok(Self { private_dirty: figure(&rollup, "Private_Dirty:")? * 1024.0, threads })
    }

    pub fn threads(&self) -> usize {
        self.threads.len()
    }

    /// Of the threads that live now.
    pub fn since(&self, before: &Self) -> Work {
        self.each_since(before).fold(Work::default(), |sum, (_, work)| sum.plus(work))
    }

    /// The same by the names of threads; those that have one name are one.
    pub fn by_name_since(&self, before: &Self) -> BTreeMap<String, Work> {
        let mut names = BTreeMap::<String, Work>::new();
        for (name, work) in self.each_since(before) {
            let sum = names.entry(name.to_owned()).or_default();
            *sum = sum.plus(work);
        }
        names
    }

    fn each_since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = (&'a str, Work)> {
        self.threads.iter().map(|(id, now)| {
            let then = before.threads.get(id).map(|then| then.work).unwrap_or_default();
            (now.name.as_str(), now.work.less(then))
        })
    }
}

/// Of a thread's `status`, and of its `schedstat`: nanoseconds on a CPU, nanoseconds that it waited for one, time slices.
fn work(status: &str, schedule: &str) -> Result<Work> {
    let mut nanos = schedule.split_whitespace().map(str::parse::<f64>);
    let mut next = || anyhow::Ok(nanos.next().context("schedstat is short")?? / 1e9);
    Ok(Work {
        cpu: next()?,
        waited: next()?,
        wake_ups: figure(status, "voluntary_ctxt_switches:")?,
        preempted: figure(status, "nonvoluntary_ctxt_switches:")?,
    })
}

/// The first figure of the line that begins with `name`.
fn figure(text: &str, name: &str) -> Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
    Ok(line.split_whitespace().next().context("no figure")?.parse()?)
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn what_this_process_does_is_seen() {
        let id = std::process::id();
        let before = Footprint::of(id).unwrap();
        let busy = std::thread::Builder::new().name("busy".to_owned());
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let busy = busy
            .spawn(move || {
                let start = Footprint::of(id).unwrap();
                let began = Instant::now();
                // Until it had so much of a CPU, however many others want one.
                while Footprint::of(id).unwrap().by_name_since(&start)["busy"].cpu < 0.05 {
                    assert!(began.elapsed() < Duration::from_secs(60));
                    black_box(began.elapsed());
                }
                ready.send(()).unwrap();
                let _ = wait.recv();
            })
            .unwrap();
        is_ready.recv().unwrap();
        let now = Footprint::of(id).unwrap();
        assert!(now.by_name_since(&before)["busy"].cpu >= 0.05);
        assert!(now.since(&before).cpu >= 0.05 && now.threads() >= 2 && now.private_dirty > 0.0);
        drop(done);
        busy.join().unwrap();
    }

    #[test]
    fn a_threads_files_are_read() {
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t3\n";
        let found = work(status, "1500000000 250000000 12\n").unwrap();
        assert_eq!(found, Work { cpu: 1.5, waited: 0.25, wake_ups: 7.0, preempted: 3.0 });
        assert!(work(status, "15").is_err() && work("", "1 2 3").is_err());
    }
}
