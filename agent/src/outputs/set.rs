//! The outputs of this agent.

use super::delivery::{self, Delivery};
use super::output::{NotReady, Output};
use crate::session::{Phase, View};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// All outputs, which are what they are for the life of the process, and whether each is ready.
#[derive(Clone, Default)]
pub struct Outputs {
    all: Arc<[Arc<dyn Output>]>,
    readiness: Arc<Readiness>,
}

#[derive(Default)]
struct Readiness {
    of_each: Mutex<Vec<Ready>>,
    changed: Notify,
}

/// Whether there is something to write to.
enum Ready {
    Yes,
    /// It was not asked yet, or says what is in the way.
    No(Option<NotReady>),
}

/// Ready.
impl FromIterator<Arc<dyn Output>> for Outputs {
    fn from_iter<I: IntoIterator<Item = Arc<dyn Output>>>(outputs: I) -> Self {
        let all: Arc<[_]> = outputs.into_iter().collect();
        let of_each = Mutex::new(all.iter().map(|_| Ready::Yes).collect());
        Self { all, readiness: Arc::new(Readiness { of_each, changed: Notify::new() }) }
    }
}

impl Outputs {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &dyn Output> {
        self.all.iter().map(Arc::as_ref)
    }

    /// Which of them are ready, by their places: media goes to these.
    pub fn ready(&self) -> Vec<usize> {
        let of_each = self.readiness.of_each.lock();
        of_each
            .iter()
            .enumerate()
            .filter(|(_, it)| matches!(it, Ready::Yes))
            .map(|(place, _)| place)
            .collect()
    }

    /// That at this place.
    pub fn get(&self, place: usize) -> Option<&Arc<dyn Output>> {
        self.all.get(place)
    }

    /// None of them has been prepared; the number of them.
    pub(crate) fn unprepared(&self) -> usize {
        self.readiness.of_each.lock().iter_mut().for_each(|it| *it = Ready::No(None));
        self.all.len()
    }

    /// The one at this place is ready, or something is in the way.
    pub(crate) fn set_ready(&self, place: usize, ready: Result<(), NotReady>) {
        if let Some(it) = self.readiness.of_each.lock().get_mut(place) {
            *it = ready.map_or_else(|not_ready| Ready::No(Some(not_ready)), |()| Ready::Yes);
        }
        self.readiness.changed.notify_one();
    }

    /// Until [`Outputs::set_ready`] is called, or was since.
    pub(crate) async fn readiness_changed(&self) {
        self.readiness.changed.notified().await;
    }

    /// What is in the way of the first that is not ready, with `view` for all that it says nothing of.
    pub(crate) fn not_ready(&self, view: &View) -> Option<View> {
        let of_each = self.readiness.of_each.lock();
        of_each.iter().find_map(|it| match it {
            Ready::Yes | Ready::No(None) => None,
            Ready::No(Some(NotReady { phase, reason, message, authenticated })) => Some(View {
                phase: *phase,
                reason: *reason,
                message: message.clone(),
                authenticated: view.authenticated || *authenticated,
                ..view.clone()
            }),
        })
    }

    /// A change of the SPS needs another pipeline.
    pub fn replace_on_new_format(&self) -> bool {
        self.iter().any(|output| output.replace_on_new_format())
    }

    /// The pipeline broke, and with it the way to each of them.
    pub fn pipeline_broken(&self, message: &str, now: Instant) {
        self.deliveries().for_each(|delivery| delivery.pipeline_broken(message, now));
    }

    /// A pipeline runs.
    pub fn pipeline_opened(&self, now: Instant) {
        self.deliveries().for_each(|delivery| delivery.pipeline_opened(now));
    }

    /// Media was put into the pipeline, or is there for one.
    pub fn fed(&self, now: Instant) {
        self.deliveries().for_each(|delivery| delivery.fed(now));
    }

    /// Media of this capture time is on its way: when it is stored is to be remembered.
    pub fn await_stored(&self, capture_time: SystemTime) {
        self.deliveries().for_each(|delivery| delivery.await_stored(capture_time));
    }

    /// When the first of them had stored media of this capture time, which was awaited; `None`: not yet, or something else is
    /// awaited since.
    pub fn stored_at(&self, capture_time: SystemTime) -> Option<Instant> {
        self.deliveries().filter_map(|delivery| delivery.stored_at(capture_time)).min()
    }

    /// For how long nothing has arrived of what is put in, if that is too long and nothing is known to be in the way: the
    /// pipeline stands still then.
    pub fn stalled(&self, now: Instant) -> Option<Duration> {
        // Each counts for itself.
        self.deliveries().filter_map(|delivery| delivery.stalled(now)).collect::<Vec<_>>().into_iter().max()
    }

    /// Other pipelines did not help either: only a new process may.
    pub fn is_stuck(&self) -> bool {
        self.deliveries().any(Delivery::is_stuck)
    }

    /// What to say, when the session says `view`: that an output is not ready comes first.
    pub fn view(&self, view: View, now: Instant) -> View {
        let not_ready = self.not_ready(&view).filter(|_| view.phase != Phase::Stopping);
        not_ready.unwrap_or_else(|| delivery::view(view, self.deliveries(), now))
    }

    /// No media follows. They end at the same time: the process has so long for all of them.
    pub async fn finish(&self) {
        let mut all = JoinSet::new();
        for place in 0..self.all.len() {
            let outputs = Arc::clone(&self.all);
            all.spawn(async move {
                if let Some(output) = outputs.get(place) {
                    output.finish().await;
                }
            });
        }
        while all.join_next().await.is_some() {}
    }

    fn deliveries(&self) -> impl Iterator<Item = &Delivery> {
        self.iter().map(|output| output.delivery())
    }
}
