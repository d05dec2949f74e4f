//! What a run gave, and the medians of several.

use std::collections::BTreeMap;
use std::fmt;

use kvs_ingest_tests::usage::{Footprint, Usage};
use serde::Serialize;
use tokio::time::Instant;

/// Of one process; the mean where there are several.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// CPU seconds for each minute.
    pub cpu: f64,
    /// Resident, and the most that was resident, in MB of 10^6 bytes.
    pub resident: f64,
    pub peak: f64,
    /// Its own and written to, MB.
    pub private_dirty: f64,
    pub threads: f64,
    /// Each second: times that a thread waited and was woken, and that a CPU was taken from one.
    pub wake_ups: f64,
    pub preempted: f64,
    /// Time for which its threads waited for a CPU, by the time that they had one.
    pub waited: f64,
    /// Pictures a second, and how many pictures and packets were lost or dropped: no number where nobody knows.
    pub pictures: f64,
    pub lost: f64,
}

const COUNT: usize = 10;

impl Figures {
    fn values(self) -> [f64; COUNT] {
        let Self { cpu, resident, peak, private_dirty, threads, wake_ups, preempted, waited, pictures, lost } =
            self;
        [cpu, resident, peak, private_dirty, threads, wake_ups, preempted, waited, pictures, lost]
    }

    fn of(values: [f64; COUNT]) -> Self {
        let [cpu, resident, peak, private_dirty, threads, wake_ups, preempted, waited, pictures, lost] =
            values;
        Self { cpu, resident, peak, private_dirty, threads, wake_ups, preempted, waited, pictures, lost }
    }

    fn each(all: &[Self], of: impl Fn(Vec<f64>) -> f64) -> Self {
        Self::of(std::array::from_fn(|at| of(all.iter().map(|figures| figures.values()[at]).collect())))
    }

    pub fn medians(all: &[Self]) -> Self {
        Self::each(all, median)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, resident, private_dirty, wake_ups, pictures, lost, waited, .. } = self;
        write!(
            f,
            "{cpu:.2} CPU s/min (waited {waited:.2} times that for a CPU), {resident:.1} MB, {private_dirty:.1} MB dirty, \
             {wake_ups:.0} wake-ups/s, {pictures:.1} pictures/s"
        )?;
        if lost.is_nan() { Ok(()) } else { write!(f, ", {lost:.0} lost") }
    }
}

/// The middle one.
///
/// # Panics
/// There is none.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// What so large a part of them does not exceed; they are sorted.
pub fn quantile(sorted: &[f64], part: f64) -> f64 {
    sorted.get(((sorted.len().max(1) - 1) as f64 * part).round() as usize).copied().unwrap_or(f64::NAN)
}

#[derive(Clone, Debug, Default)]
pub struct Costs {
    pub figures: Figures,
    /// CPU seconds for each minute, by the names of threads.
    pub threads: BTreeMap<String, f64>,
}

/// Looks at processes for a while.
pub struct Meter {
    before: Vec<(u32, Footprint)>,
    began: Instant,
}

impl Meter {
    pub fn start(ids: &[u32]) -> Self {
        let before = ids.iter().map(|id| (*id, Footprint::of(*id).unwrap())).collect();
        Self { before, began: Instant::now() }
    }

    /// What they did since, without what only they know: pictures.
    pub fn read(&self) -> Costs {
        let seconds = self.began.elapsed().as_secs_f64();
        let mut threads = BTreeMap::<String, f64>::new();
        let each = |(id, before): &(u32, Footprint)| {
            let (usage, now) = (Usage::of(*id).unwrap(), Footprint::of(*id).unwrap());
            for (name, work) in now.by_name_since(before) {
                *threads.entry(name).or_default() += work.cpu * 60.0 / seconds / self.before.len() as f64;
            }
            let work = now.since(before);
            Figures {
                cpu: work.cpu * 60.0 / seconds,
                resident: usage.resident / 1e6,
                peak: usage.peak / 1e6,
                private_dirty: now.private_dirty / 1e6,
                threads: now.threads() as f64,
                wake_ups: work.wake_ups / seconds,
                preempted: work.preempted / seconds,
                waited: work.waited / work.cpu,
                pictures: 0.0,
                lost: 0.0,
            }
        };
        let all: Vec<_> = self.before.iter().map(each).collect();
        let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
        Costs { figures: Figures::each(&all, mean), threads }
    }

    pub fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }
}

/// Of what is there in several runs: the median; what is missing in a run took no time there.
pub fn median_by_name(runs: &[BTreeMap<String, f64>]) -> BTreeMap<String, f64> {
    let names = runs.iter().flat_map(BTreeMap::keys);
    let of = |name: &String| median(runs.iter().map(|run| run.get(name).copied().unwrap_or(0.0)).collect());
    names.map(|name| (name.clone(), of(name))).collect()
}
