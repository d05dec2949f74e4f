//! For how long this machine did not run who wanted to: what takes a process two seconds of its own takes longer then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Sleeps so long, over and over.
const NAP: Duration = Duration::from_millis(5);

/// Watches from its making on; ends when dropped.
pub struct Pauses {
    microseconds: Arc<AtomicU64>,
}

impl Pauses {
    pub fn watch() -> Self {
        let microseconds = Arc::new(AtomicU64::new(0));
        let ours = Arc::downgrade(&microseconds);
        thread::spawn(move || {
            while let Some(sum) = ours.upgrade() {
                let begun = Instant::now();
                thread::sleep(NAP);
                let over = begun.elapsed().saturating_sub(NAP);
                sum.fetch_add(u64::try_from(over.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
        });
        Self { microseconds }
    }

    /// By how much all naps so far were longer than they were to be.
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.microseconds.load(Ordering::Relaxed))
    }
}
