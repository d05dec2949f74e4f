//! What streaming threads, state changes and the upload task share: the producer, and who waits for what.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant, SystemTime};

use kvs_putmedia::{HostClock, Producer};
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::timeout_at;

use super::clock::WallClock;
use super::event::{Handler, SinkEvent};

/// AWS's clock counts as the element's when they differ by no more milliseconds: what AWS says of it has whole seconds,
/// and has been on its way.
const SAME_TIME_MS: i64 = 3_000;

/// How long the end waits for the disk, all in all: with `stop-stream-timeout` that is how long an element takes to stop.
const SAVE_PATIENCE: Duration = Duration::from_secs(10);

/// Bytes that are worth being sent at once: no more wake-ups at 20 Mbit/s than at 2, and a burst that any socket takes.
const ENOUGH: usize = 1 << 20;

/// What streaming threads and the upload task share.
pub(super) struct Shared {
    inner: Mutex<Inner>,
    /// There is something to send, or to stop for.
    wake: Notify,
    /// Room in the storage, everything acknowledged, given up, flushed, stopped: threads that wait look again.
    progress: Condvar,
    /// The same for tasks.
    progress_of_tasks: Notify,
    /// The upload task has just sent something, and looks again by itself in a moment.
    holding: AtomicBool,
    /// Bytes that came since.
    held: AtomicUsize,
    handler: Handler,
    /// Disconnected when the spool's thread has ended.
    spool_ended: Mutex<Option<Receiver<()>>>,
}

/// How far the run of an element has come, from READY to PAUSED on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Recording,
    /// The input has ended, at this time; it may begin anew.
    Ended(Instant),
    /// A fatal error: nothing will be stored any more.
    Failed,
    /// The element is on its way to READY: no more frames are taken. The last acknowledgement is waited for since the
    /// input ended, unless the run has failed.
    Stopping {
        ended: Instant,
        failed: bool,
    },
    /// It has left PAUSED: nobody waits any longer.
    Over,
}

impl Stage {
    pub(super) fn has_failed(self) -> bool {
        matches!(self, Stage::Failed | Stage::Stopping { failed: true, .. })
    }

    /// When the input has ended: whoever waits for the last acknowledgement has waited since then.
    pub(super) fn ended(self) -> Option<Instant> {
        match self {
            Stage::Ended(at) | Stage::Stopping { ended: at, .. } => Some(at),
            Stage::Recording | Stage::Failed | Stage::Over => None,
        }
    }

    /// Acknowledgements may still come.
    fn is_awaited(self) -> bool {
        !self.has_failed() && self != Stage::Over
    }

    fn fail(&mut self) {
        match self {
            Stage::Recording | Stage::Ended(_) => *self = Stage::Failed,
            Stage::Stopping { failed, .. } => *failed = true,
            Stage::Failed | Stage::Over => {}
        }
    }
}

/// The producer, and what keeps it from going on.
pub(super) struct Inner {
    pub(super) producer: Producer,
    pub(super) stage: Stage,
    /// A streaming thread waits for room, instead of the oldest fragment being dropped.
    pub(super) waits: bool,
    /// Milliseconds by which AWS's clock is ahead of the one that stamps frames: latched for the element's session when it is first
    /// known, and added to times that the host's clock has told.
    pub(super) skew_ms: Option<i64>,
    /// A copy of the clock that stamps frames. The host's may have been set since that was read.
    pub(super) wall: WallClock,
    /// The host's clock tells the times of frames.
    pub(super) follows_clock: bool,
    /// That clock, until AWS's is known.
    pub(super) host_clock: Option<HostClock>,
    /// Until then the end waits for the disk, once it does.
    saved_by: Option<Instant>,
}

impl Inner {
    /// AWS's clock is known now, and says `aws`: times that the clock of this run has told are put right, if nobody has
    /// had them.
    pub(super) fn learn_aws_time(&mut self, aws: SystemTime) {
        let skew_ms = self.wall.behind_ms(aws);
        let skew_ms = if skew_ms.abs() <= SAME_TIME_MS { 0 } else { skew_ms };
        if let Some(clock) = self.host_clock.take() {
            let known = HostClock { booted_ms: clock.booted_ms.saturating_add(skew_ms), ..clock };
            self.producer.clock_is_known(known, skew_ms, Instant::now());
        }
        if !self.follows_clock || self.skew_ms.is_some() || self.producer.has_sent() {
            return;
        }
        self.skew_ms = Some(skew_ms);
        if skew_ms != 0 {
            self.producer.shift_time(skew_ms, Instant::now());
        }
    }

    /// By how much the times that the host's clock tells are moved.
    pub(super) fn skew_ms(&self) -> i64 {
        self.skew_ms.unwrap_or(0)
    }

    /// Frames come, after an end say.
    pub(super) fn begin(&mut self) {
        if let Stage::Ended(_) = self.stage {
            self.stage = Stage::Recording;
            self.saved_by = None;
        }
    }

    fn saved_by(&mut self) -> Instant {
        *self.saved_by.get_or_insert_with(|| Instant::now() + SAVE_PATIENCE)
    }

    /// The input has ended.
    pub(super) fn end(&mut self) {
        let now = Instant::now();
        if self.stage == Stage::Recording {
            self.stage = Stage::Ended(now);
        }
        self.producer.finish(now);
    }

    /// Nothing will be stored any more.
    pub(super) fn fail(&mut self) {
        self.stage.fail();
    }
}

impl Shared {
    pub(super) fn new(producer: Producer, waits: bool, handler: Handler) -> Self {
        let inner = Inner {
            producer,
            stage: Stage::Recording,
            waits,
            skew_ms: None,
            wall: WallClock::default(),
            follows_clock: false,
            host_clock: None,
            saved_by: None,
        };
        Self {
            inner: Mutex::new(inner),
            wake: Notify::new(),
            progress: Condvar::new(),
            progress_of_tasks: Notify::new(),
            holding: AtomicBool::new(false),
            held: AtomicUsize::new(0),
            handler,
            spool_ended: Mutex::default(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// Hears of it when the producer got something.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Tells the application.
    pub(super) fn emit(&self, event: SinkEvent) {
        (self.handler)(event);
    }

    /// The producer got something.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// The producer got a frame. Frames that come within a moment are sent together: waking the task, a TLS record and a
    /// packet for each would cost more than all the rest. What ends a fragment is `urgent`.
    pub(super) fn arrived(&self, bytes: usize, urgent: bool) {
        let held = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if urgent || held >= ENOUGH || !self.holding.swap(true, Ordering::SeqCst) {
            self.wake();
        }
    }

    /// The task looks at the producer now, and again by itself if `hold`.
    pub(super) fn hold(&self, hold: bool) {
        self.held.store(0, Ordering::Relaxed);
        self.holding.store(hold, Ordering::SeqCst);
    }

    /// Whoever waits should look again.
    pub(super) fn notify_progress(&self) {
        // Whoever has looked already waits by now, and hears it.
        drop(self.lock());
        self.progress.notify_all();
        self.progress_of_tasks.notify_waiters();
    }

    /// Waits until it is time to look again.
    pub(super) fn wait(&self, inner: &mut MutexGuard<'_, Inner>) {
        self.progress.wait(inner);
    }

    /// Nothing will be stored any more. False when that is so already.
    pub(super) fn fail(&self) -> bool {
        let first = {
            let mut inner = self.lock();
            let had_failed = inner.stage.has_failed();
            inner.fail();
            !had_failed
        };
        self.notify_progress();
        first
    }

    /// Takes no more frames, and sends what there is.
    pub(super) fn stop(&self) {
        let mut inner = self.lock();
        inner.end();
        let ended = inner.stage.ended().unwrap_or_else(Instant::now);
        inner.stage = Stage::Stopping { ended, failed: inner.stage.has_failed() };
        drop(inner);
        self.notify_progress();
        self.wake();
    }

    /// Nobody sends any more.
    pub(super) fn end(&self) {
        self.lock().stage = Stage::Over;
        self.notify_progress();
    }

    pub(super) fn is_over(&self) -> bool {
        self.lock().stage == Stage::Over
    }

    /// Waits until everything is acknowledged, for so long after the end of the input. False when that did not happen in time, or never will.
    pub(super) fn wait_drained(&self, patience: Duration) -> bool {
        let mut inner = self.lock();
        // An end of stream has waited already when the element is stopped after it.
        let deadline = inner.stage.ended().unwrap_or_else(Instant::now) + patience;
        while !inner.producer.is_drained() && inner.stage.is_awaited() {
            if self.progress.wait_until(&mut inner, deadline).timed_out() {
                break;
            }
        }
        inner.producer.is_drained()
    }

    /// As [`wait_drained`](Self::wait_drained), for a task.
    pub(super) async fn drained(&self, patience: Duration) -> bool {
        loop {
            let mut progress = pin!(self.progress_of_tasks.notified());
            // What happens from here on is heard.
            progress.as_mut().enable();
            let deadline = {
                let inner = self.lock();
                if inner.producer.is_drained() || !inner.stage.is_awaited() {
                    return inner.producer.is_drained();
                }
                inner.stage.ended().unwrap_or_else(Instant::now) + patience
            };
            if timeout_at(deadline.into(), progress).await.is_err() {
                return self.lock().producer.is_drained();
            }
        }
    }

    /// Writes what is not acknowledged into the spool, and waits for the disk.
    pub(super) fn save_rest(&self) {
        let mut inner = self.lock();
        let deadline = inner.saved_by();
        inner.producer.spill_rest(Instant::now());
        self.wake();
        while inner.producer.is_spilling() && inner.stage != Stage::Over {
            if self.progress.wait_until(&mut inner, deadline).timed_out() {
                break;
            }
        }
    }

    /// A spool's thread runs; `ended` is disconnected when it does not any more.
    pub(super) fn spool_started(&self, ended: Receiver<()>) {
        *self.spool_ended.lock() = Some(ended);
    }

    /// Waits until the spool has done what it was told, and is free for the next sink.
    pub(super) fn wait_spool(&self) {
        if let Some(ended) = self.spool_ended.lock().take() {
            // Nothing is ever sent: it hears of the end, or gives up.
            let deadline = self.lock().saved_by();
            let _ = ended.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use kvs_putmedia::ProducerConfig;

    use super::*;

    fn inner(follows_clock: bool) -> Shared {
        let producer = Producer::new(ProducerConfig::default());
        let shared = Shared::new(producer, false, std::sync::Arc::new(|_| {}));
        shared.lock().follows_clock = follows_clock;
        shared
    }

    /// What is said of the difference, to the second.
    fn skew_s(inner: &Inner) -> i64 {
        (inner.skew_ms() + 500).div_euclid(1000)
    }

    #[test]
    fn the_first_that_is_known_of_aws_s_clock_holds() {
        let shared = inner(true);
        let mut inner = shared.lock();
        assert_eq!(inner.skew_ms(), 0);
        inner.learn_aws_time(SystemTime::now() + Duration::from_secs(1_700_000_000));
        inner.learn_aws_time(SystemTime::now() + Duration::from_secs(5));
        assert_eq!(skew_s(&inner), 1_700_000_000);
    }

    /// A host that booted in 1970, and whose clock was set between the start and AWS's first answer.
    #[test]
    fn frames_move_from_the_clock_that_stamps_them_to_aws_s() {
        let shared = inner(true);
        let mut inner = shared.lock();
        inner.wall = WallClock::at(SystemTime::UNIX_EPOCH, Instant::now(), None);
        let host = HostClock { boot: [1; 16], booted_ms: -10_000 };
        inner.host_clock = Some(host);
        let today = SystemTime::now();
        inner.learn_aws_time(today);
        let since = today.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert!(inner.skew_ms().abs_diff(since.as_millis() as i64) < 2_000, "{}", inner.skew_ms());
    }

    #[test]
    fn an_end_may_be_followed_by_more_and_a_failure_is_not() {
        let shared = inner(true);
        shared.lock().end();
        assert!(shared.lock().stage.ended().is_some());
        shared.lock().begin();
        assert_eq!(shared.lock().stage, Stage::Recording);
        assert!(shared.fail() && !shared.fail());
        shared.lock().begin();
        assert_eq!(shared.lock().stage, Stage::Failed);
        shared.stop();
        assert!(matches!(shared.lock().stage, Stage::Stopping { failed: true, .. }));
        shared.end();
        assert!(shared.is_over());
    }

    #[test]
    fn a_stop_waits_since_the_end_of_the_input() {
        let shared = inner(true);
        shared.lock().end();
        let ended = shared.lock().stage.ended();
        shared.stop();
        assert_eq!(shared.lock().stage.ended(), ended);
        assert!(!shared.lock().stage.has_failed());
        // A fatal error meanwhile.
        assert!(shared.fail() && shared.lock().stage.has_failed());
    }

    /// The end of the input may have waited for the disk before the element is stopped.
    #[test]
    fn an_end_waits_for_the_disk_once() {
        let shared = inner(true);
        shared.lock().end();
        let first = shared.lock().saved_by();
        shared.stop();
        assert_eq!(shared.lock().saved_by(), first);
        let again = inner(true);
        again.lock().end();
        let before = again.lock().saved_by();
        again.lock().begin();
        again.lock().end();
        assert!(again.lock().saved_by() >= before);
        assert!(again.lock().saved_by() <= Instant::now() + SAVE_PATIENCE);
    }

    #[test]
    fn seconds_are_no_difference() {
        for (seconds, known) in [(0, 0), (2, 0), (5, 5), (60, 60)] {
            let (ahead, behind) = (inner(true), inner(true));
            let (mut ahead, mut behind) = (ahead.lock(), behind.lock());
            ahead.learn_aws_time(SystemTime::now() + Duration::from_secs(seconds));
            behind.learn_aws_time(SystemTime::now() - Duration::from_secs(seconds));
            assert_eq!((skew_s(&ahead), skew_s(&behind)), (known, -known));
        }
    }

    #[test]
    fn times_that_are_not_the_host_s_are_left_alone() {
        let shared = inner(false);
        let mut inner = shared.lock();
        inner.learn_aws_time(SystemTime::now() + Duration::from_secs(1_700_000_000));
        assert_eq!(inner.skew_ms(), 0);
    }
}
