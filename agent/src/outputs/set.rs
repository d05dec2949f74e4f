//! The outputs of this agent.

use super::delivery::{self, Delivery};
use super::output::Output;
use crate::session::View;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// All outputs, which are what they are for the life of the process.
#[derive(Clone, Default)]
pub struct Outputs(Arc<[Arc<dyn Output>]>);

impl FromIterator<Arc<dyn Output>> for Outputs {
    fn from_iter<I: IntoIterator<Item = Arc<dyn Output>>>(outputs: I) -> Self {
        Self(outputs.into_iter().collect())
    }
}

impl Outputs {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &dyn Output> {
        self.0.iter().map(Arc::as_ref)
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

    /// What to say, when the session says `view`.
    pub fn view(&self, view: View, now: Instant) -> View {
        delivery::view(view, self.deliveries(), now)
    }

    fn deliveries(&self) -> impl Iterator<Item = &Delivery> {
        self.iter().map(|output| output.delivery())
    }
}
