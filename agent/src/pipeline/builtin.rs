//! Our own `kvssink`, linked into the agent.

use super::elements::{PipelineError, make, set};
use super::sink::{SinkFactory, SinkFigures, SinkStatistics};
use super::storage::Storage;
use crate::delivery::Delivery;
use gst::prelude::*;
use gstkvssink::{AckKind, Event, SinkEvent};
use kvs_aws::AwsContext;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Media that memory may hold, if its bytes fit: a day.
const BUFFER_SECONDS: u32 = 24 * 60 * 60;

/// Makes `kvssink` elements that sign with an [`AwsContext`].
pub struct KvsSink {
    storage: Storage,
    context: AwsContext,
    delivery: Arc<Delivery>,
    sinks: Mutex<Sinks>,
}

#[derive(Default)]
struct Sinks {
    /// One, or two while an old pipeline drains.
    live: Vec<gstkvssink::KvsSink>,
    /// Figures of those that are gone.
    retired: SinkStatistics,
}

impl KvsSink {
    /// Registers the element. `delivery` hears what happens to the media.
    ///
    /// # Errors
    ///
    /// When GStreamer refuses it.
    pub fn new(
        storage: Storage,
        context: AwsContext,
        delivery: Arc<Delivery>,
    ) -> Result<Self, PipelineError> {
        gstkvssink::plugin_register_static()?;
        Ok(Self { storage, context, delivery, sinks: Mutex::default() })
    }
}

impl SinkFactory for KvsSink {
    fn attach(&self, pipeline: &gst::Pipeline) -> Result<gst::Element, PipelineError> {
        let element = make("kvssink")?;
        self.storage.apply(&element)?;
        // Another plugin's element of this name has none of this; its credentials come from the environment.
        if let Some(sink) = element.downcast_ref::<gstkvssink::KvsSink>() {
            sink.set_aws_context(self.context.clone());
            // The bound is bytes; by default there would be one of two minutes, too.
            set(&element, "buffer-duration", BUFFER_SECONDS)?;
            if let Some((folder, bytes)) = &self.storage.spool {
                set(&element, "spool-directory", folder.to_string_lossy().as_ref())?;
                set(&element, "spool-size", *bytes)?;
            }
            let delivery = Arc::clone(&self.delivery);
            sink.set_event_handler(move |event| {
                delivery.hear(&event, Instant::now());
                log(event);
            });
            pipeline.add(&element)?;
            self.sinks.lock().live.push(sink.clone());
        } else {
            pipeline.add(&element)?;
        }
        Ok(element)
    }
}

/// One line for each thing that a person may want to know.
fn log(event: SinkEvent) {
    match event {
        SinkEvent::StreamReady { stream, retention_hours } => {
            tracing::info!(stream, retention_hours, "the stream is ready");
        }
        SinkEvent::Producer(Event::SessionOpened(session)) => {
            tracing::info!(session = session.0, "PutMedia session opened");
        }
        SinkEvent::Producer(Event::SessionClosed { id, reason }) => {
            tracing::info!(session = id.0, %reason, "PutMedia session closed");
        }
        SinkEvent::Producer(Event::Ack { kind: AckKind::Persisted, timecode_ms, fragment_number }) => {
            tracing::debug!(timecode_ms, fragment_number, "fragment persisted");
        }
        SinkEvent::Producer(Event::Ack { .. }) => {}
        SinkEvent::Producer(Event::Dropped { fragments, frames, bytes, reason }) => {
            tracing::warn!(
                fragments,
                video = frames[0],
                audio = frames[1],
                bytes,
                ?reason,
                "media was given up"
            );
        }
        SinkEvent::Producer(Event::StoredLate { frames }) => {
            tracing::warn!(
                video = frames[0],
                audio = frames[1],
                "media came too late for its fragment, and is stored in a session of its own"
            );
        }
        SinkEvent::Producer(Event::Restored { fragments, frames }) => {
            tracing::info!(
                fragments,
                video = frames[0],
                audio = frames[1],
                "the spool held media from before"
            );
        }
        SinkEvent::Producer(Event::SpoolFailed { message }) => tracing::warn!("{message}"),
        SinkEvent::Producer(Event::Error { code, message, fatal, .. }) => {
            tracing::warn!(code, fatal, "{message}");
        }
        SinkEvent::Producer(other) => tracing::debug!(?other, "kvssink"),
    }
}

impl SinkFigures for KvsSink {
    fn figures(&self) -> SinkStatistics {
        let mut sinks = self.sinks.lock();
        let Sinks { live, retired } = &mut *sinks;
        // A sink that its pipeline has let go counts no more.
        live.retain(|sink| {
            let gone = sink.parent().is_none();
            if gone {
                add(retired, &sink.statistics());
                retired.buffered = Duration::ZERO;
                retired.buffered_bytes = 0;
                retired.spooled_bytes = 0;
            }
            !gone
        });
        let mut figures = *retired;
        for sink in live {
            add(&mut figures, &sink.statistics());
        }
        // What an agent whose clock was wrong left in the spool may be of another year: an alert on the age of this must
        // still be able to fire.
        let now = self.context.now();
        figures.last_persisted_at = figures.last_persisted_at.map(|at| at.min(now));
        figures
    }
}

fn add(sum: &mut SinkStatistics, one: &gstkvssink::Statistics) {
    sum.fragments_persisted += one.fragments_persisted;
    sum.fragments_replayed += one.fragments_replayed;
    sum.fragments_dropped += one.fragments_dropped;
    sum.frames_late += one.frames_late.iter().sum::<u64>();
    sum.epochs += one.epochs;
    sum.buffered_bytes += one.buffered_bytes;
    sum.spooled_bytes += one.spooled_bytes;
    sum.spool_failures += one.spool_failures;
    sum.buffered += one.buffered_duration;
    sum.sessions += one.sessions;
    let last = one.last_persisted_timecode_ms.map(|ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms));
    sum.last_persisted_at = sum.last_persisted_at.max(last);
}
