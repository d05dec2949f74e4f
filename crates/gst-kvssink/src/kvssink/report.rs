//! What happens, told to everyone who may want it.

use gst::prelude::*;
use gst::subclass::prelude::*;
use kvs_putmedia::{AckKind, Event, Statistics};

use super::imp::{CAT, KvsSink};
use super::{SinkEvent, ack_name};

impl KvsSink {
    /// Hands an event to everyone who may want it: the Rust handler, the log, signals, the bus.
    pub(super) fn tell(&self, event: SinkEvent) {
        let handler = self.handler.lock().clone();
        if let Some(handler) = handler {
            handler(event.clone());
        }
        let SinkEvent::Producer(event) = event else {
            gst::info!(CAT, imp = self, "{event:?}");
            return;
        };
        match &event {
            Event::Ack { kind, timecode_ms, fragment_number } => {
                gst::debug!(CAT, imp = self, "acknowledgement {kind:?} of {timecode_ms:?}");
                let mut structure = gst::Structure::builder("kvs-fragment-ack").field("type", ack_name(kind));
                if let Some(timecode) = timecode_ms {
                    structure = structure.field("timecode", *timecode);
                }
                if let Some(number) = fragment_number {
                    structure = structure.field("fragment-number", number);
                }
                if let AckKind::Error { id, .. } = kind {
                    structure = structure.field("error-id", *id);
                }
                let structure = structure.build();
                self.obj().emit_by_name::<()>("fragment-acknowledged", &[&structure]);
                let message = gst::message::Element::builder(structure).src(&*self.obj()).build();
                let _ = self.obj().post_message(message);
            }
            Event::Error { code, message, fatal } => {
                if *fatal {
                    self.obj().emit_by_name::<()>("stream-error", &[&u64::from(*code)]);
                    gst::element_imp_error!(self, gst::ResourceError::Failed, ["{message}"]);
                } else {
                    gst::warning!(CAT, imp = self, "{message}");
                    gst::element_imp_warning!(self, gst::ResourceError::Write, ["{message}"]);
                }
            }
            Event::Dropped { fragments, frames, bytes, reason } => {
                gst::warning!(
                    CAT,
                    imp = self,
                    "dropped {fragments} fragments, {} video and {} audio frames, {bytes} bytes: {reason:?}",
                    frames[0],
                    frames[1]
                );
            }
            other => gst::info!(CAT, imp = self, "{other:?}"),
        }
    }
}

pub(super) fn structure(statistics: &Statistics) -> gst::Structure {
    gst::Structure::builder("kvssink-statistics")
        .field("video-frames-in", statistics.frames_in[0])
        .field("audio-frames-in", statistics.frames_in[1])
        .field("video-frames-dropped", statistics.frames_dropped[0])
        .field("audio-frames-dropped", statistics.frames_dropped[1])
        .field("fragments-sent", statistics.fragments_sent)
        .field("fragments-received", statistics.fragments_received)
        .field("fragments-persisted", statistics.fragments_persisted)
        .field("fragments-replayed", statistics.fragments_replayed)
        .field("fragments-dropped", statistics.fragments_dropped)
        .field("bytes-sent", statistics.bytes_sent)
        .field("buffered-bytes", statistics.buffered_bytes)
        .field("buffered-duration", statistics.buffered_duration.as_nanos() as u64)
        .field("sessions", statistics.sessions)
        .field("session-failures", statistics.session_failures)
        .field("last-persisted-timecode", statistics.last_persisted_timecode_ms.unwrap_or(0))
        .field("persisted-lag", statistics.persisted_lag.unwrap_or_default().as_nanos() as u64)
        .build()
}
