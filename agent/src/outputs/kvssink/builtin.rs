//! Our own `kvssink`, linked into the agent.

use super::figures::StreamFigures;
use super::listener::Listener;
use super::predecessor;
use super::settings::Settings;
use crate::elements::{PipelineError, set};
use crate::outputs::delivery::Delivery;
use gst::prelude::*;
use gstkvssink::Predecessor;
use kvs::StreamId;
use kvs_aws::AwsContext;
use parking_lot::Mutex;
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Media that memory may hold, if its bytes fit: a day.
const BUFFER_SECONDS: u32 = 24 * 60 * 60;

/// Makes elements that sign with an [`AwsContext`].
pub(super) struct Builtin {
    context: AwsContext,
    listener: Arc<Listener>,
    /// The agent that this one may have replaced: asked for with the first media, and then for all sinks.
    predecessor: OnceLock<watch::Receiver<Predecessor>>,
    sinks: Mutex<Sinks>,
}

#[derive(Default)]
struct Sinks {
    /// One, or two while an old pipeline drains.
    live: Vec<gstkvssink::KvsSink>,
    /// Figures of those that are gone.
    retired: StreamFigures,
}

impl Builtin {
    /// Registers the element. `delivery` is told what keeps media from being stored.
    ///
    /// # Errors
    ///
    /// When GStreamer refuses it.
    pub(super) fn new(context: AwsContext, delivery: Arc<Delivery>) -> Result<Self, PipelineError> {
        gstkvssink::plugin_register_static()?;
        let listener = Arc::new(Listener::new(delivery));
        Ok(Self { context, listener, predecessor: OnceLock::new(), sinks: Mutex::default() })
    }

    pub(super) fn attach(
        &self,
        pipeline: &gst::Pipeline,
        settings: &Settings,
    ) -> Result<gst::Element, PipelineError> {
        // It was registered at the start.
        let element = gst::ElementFactory::make("kvssink").build()?;
        settings.apply(&element)?;
        // Another plugin's element of this name has none of this; its credentials come from the environment.
        if let Some(sink) = element.downcast_ref::<gstkvssink::KvsSink>() {
            sink.set_aws_context(self.context.clone());
            if let Ok(runtime) = Handle::try_current() {
                sink.set_runtime(runtime);
            }
            // The bound is bytes; by default there would be one of two minutes, too.
            set(&element, "buffer-duration", BUFFER_SECONDS)?;
            if let Some((folder, bytes)) = &settings.spool {
                set(&element, "spool-directory", folder.to_string_lossy().as_ref())?;
                set(&element, "spool-size", *bytes)?;
            }
            let watch = || {
                let stream =
                    settings.resolved.clone().map_or_else(|| settings.stream.clone(), StreamId::Name);
                predecessor::watch(self.context.clone(), stream)
            };
            sink.set_predecessor(self.predecessor.get_or_init(watch).clone());
            let listener = Arc::clone(&self.listener);
            sink.set_event_handler(move |event| listener.handle(event, Instant::now()));
            pipeline.add(&element)?;
            self.sinks.lock().live.push(sink.clone());
        } else {
            pipeline.add(&element)?;
        }
        Ok(element)
    }

    /// The figures of all sinks so far.
    pub(super) fn figures(&self) -> StreamFigures {
        let mut sinks = self.sinks.lock();
        let Sinks { live, retired } = &mut *sinks;
        // A sink that its pipeline has let go counts no more.
        live.retain(|sink| {
            let gone = sink.parent().is_none();
            if gone {
                retired.add(&sink.statistics());
                retired.nothing_waits();
            }
            !gone
        });
        let mut figures = *retired;
        for sink in live {
            figures.add(&sink.statistics());
        }
        // What an agent whose clock was wrong left in the spool may be of another year: an alert on the age of this must
        // still be able to fire.
        let now = self.context.now();
        figures.last_persisted_at = figures.last_persisted_at.map(|at| at.min(now));
        figures
    }
}
