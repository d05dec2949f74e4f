//! When an agent ends that was told to: at once, or when another one has taken its place.
//!
//! A pod that is evicted, or whose node is drained, is told to end (SIGTERM) before there is a successor: the Deployment makes
//! one at that very moment. So the recording goes on until somebody says that the successor is ready or that none will come
//! (`POST /finish`; the operator does), within the grace period of the pod. The successor waits meanwhile as one does that is
//! there before the other is told to end.

use parking_lot::Mutex;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How often is looked whether there is still something to record.
const LOOK: Duration = Duration::from_millis(250);

/// What an agent is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// SIGTERM: an end that somebody may take over from.
    Terminate,
    /// SIGINT: a person at a terminal.
    Interrupt,
}

/// What is done about a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// The recording goes on for so long at most.
    GoesOn(Duration),
    /// It is brought to its end.
    Ends,
    /// It was being brought to its end already: whatever is left undone stays so.
    Dies,
}

/// Why the recording does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Relieved,
    /// There is nothing to lose, or nothing comes of it.
    RecordsNothing,
    Late,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Runs,
    Leaves(Leaving),
    Ends,
}

/// It was told to end, and goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Leaving {
    /// At most.
    until: Instant,
    /// Nobody waits for it any more.
    relieved: bool,
}

impl Leaving {
    /// Whether the recording is to end now. `records`: media arrives and is stored.
    fn over(self, records: bool, now: Instant) -> Option<Over> {
        if self.relieved {
            Some(Over::Relieved)
        } else if !records {
            Some(Over::RecordsNothing)
        } else {
            (now >= self.until).then_some(Over::Late)
        }
    }
}

/// The end of a process.
#[derive(Debug)]
pub struct Relief {
    /// How long a successor is waited for.
    patience: Duration,
    stage: Mutex<Stage>,
    changed: Notify,
    /// The recording is brought to its end.
    stop: CancellationToken,
}

impl Relief {
    /// `patience`: how long a successor is waited for; zero: not at all.
    pub fn new(patience: Duration) -> Self {
        Self {
            patience,
            stage: Mutex::new(Stage::Runs),
            changed: Notify::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Cancelled when the recording is to be brought to its end.
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// A signal came.
    pub fn told(&self, told: Told, now: Instant) -> Course {
        let mut stage = self.stage.lock();
        let course = match *stage {
            Stage::Runs if told == Told::Terminate && !self.patience.is_zero() => {
                *stage = Stage::Leaves(Leaving { until: now + self.patience, relieved: false });
                Course::GoesOn(self.patience)
            }
            Stage::Runs | Stage::Leaves(_) => {
                *stage = Stage::Ends;
                self.stop.cancel();
                Course::Ends
            }
            Stage::Ends => Course::Dies,
        };
        drop(stage);
        self.changed.notify_one();
        course
    }

    /// Nobody has to wait any more: the successor is ready, or none will come. False where nobody told the agent to end: it is
    /// not for who asks to end it.
    pub fn finish(&self) -> bool {
        match &mut *self.stage.lock() {
            Stage::Runs => return false,
            Stage::Leaves(leaving) => leaving.relieved = true,
            Stage::Ends => {}
        }
        self.changed.notify_one();
        true
    }

    fn leaving(&self) -> Option<Leaving> {
        match *self.stage.lock() {
            Stage::Leaves(leaving) => Some(leaving),
            Stage::Runs | Stage::Ends => None,
        }
    }

    /// Ends the recording in time, once the agent was told to.
    pub async fn watch(&self, records: impl Fn() -> bool) {
        while !self.stop.is_cancelled() {
            let Some(leaving) = self.leaving() else {
                self.changed.notified().await;
                continue;
            };
            if let Some(over) = leaving.over(records(), Instant::now()) {
                match over {
                    Over::Relieved => tracing::info!("stopping: nobody has to be waited for any more"),
                    Over::RecordsNothing => tracing::info!("stopping: nothing is being recorded"),
                    Over::Late => tracing::warn!(
                        waited = ?self.patience,
                        "stopping: nobody said that another agent is ready; what the master sends until one is, is lost"
                    ),
                }
                *self.stage.lock() = Stage::Ends;
                self.stop.cancel();
                return;
            }
            let _ = tokio::time::timeout(LOOK, self.changed.notified()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn is_stopped(relief: &Relief) -> bool {
        relief.stop().is_cancelled()
    }

    #[test]
    fn who_waits_for_nobody_ends_at_once_and_dies_at_the_second_signal() {
        let now = Instant::now();
        for (patience, told) in [(Duration::ZERO, Told::Terminate), (PATIENCE, Told::Interrupt)] {
            let relief = Relief::new(patience);
            assert!(!relief.finish() && !is_stopped(&relief), "nobody told it to end");
            assert_eq!(relief.told(told, now), Course::Ends);
            assert!(is_stopped(&relief));
            assert_eq!(relief.told(Told::Terminate, now), Course::Dies);
        }
    }

    #[test]
    fn a_recording_goes_on_until_it_is_relieved_or_late_or_nothing_comes() {
        let now = Instant::now();
        let leaving = || {
            let relief = Relief::new(PATIENCE);
            assert_eq!(relief.leaving(), None, "it runs");
            assert_eq!(relief.told(Told::Terminate, now), Course::GoesOn(PATIENCE));
            relief
        };
        let relief = leaving();
        let over = |records, now| relief.leaving().and_then(|leaving| leaving.over(records, now));
        let just_before = now + PATIENCE - Duration::from_millis(1);
        assert_eq!(over(true, just_before), None);
        assert_eq!(over(true, now + PATIENCE), Some(Over::Late));
        assert_eq!(over(false, just_before), Some(Over::RecordsNothing));
        assert!(relief.finish());
        assert_eq!(over(true, now), Some(Over::Relieved));
        // Who does not want to wait says so again.
        let relief = leaving();
        assert_eq!(relief.told(Told::Terminate, now), Course::Ends);
        assert!(is_stopped(&relief) && relief.leaving().is_none());
        assert!(relief.finish(), "it ends already");
        assert_eq!(relief.told(Told::Interrupt, now), Course::Dies);
    }

    #[tokio::test]
    async fn the_watch_ends_the_recording() {
        let relief = std::sync::Arc::new(Relief::new(PATIENCE));
        let watch = tokio::spawn({
            let relief = relief.clone();
            async move { relief.watch(|| true).await }
        });
        relief.told(Told::Terminate, Instant::now());
        assert!(!is_stopped(&relief));
        assert!(relief.finish());
        watch.await.expect("it ends");
        assert!(is_stopped(&relief));

        // A camera that is switched off meanwhile.
        let relief = Relief::new(PATIENCE);
        relief.told(Told::Terminate, Instant::now());
        relief.watch(|| false).await;
        assert!(is_stopped(&relief));
    }
}
