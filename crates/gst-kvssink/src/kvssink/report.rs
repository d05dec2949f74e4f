//! What happens, told to everyone who may want it.

use std::sync::atomic::Ordering;
use std::time::Instant;

use gst::prelude::*;
use gst::subclass::prelude::*;
use kvs_putmedia::{AckKind, CloseReason, Event, MediaTime};

use super::abi::FragmentAck;
use super::category::CAT;
use super::element::Imp;
use super::event::SinkEvent;
use super::metrics::{Pressure, Sample};
use super::shared::Shared;
use super::statistics;
use super::status;
use super::warnings::About;

impl Imp {
    /// Hands an event to everyone who may want it: the Rust handler, the log, signals, the bus.
    pub(super) fn emit(&self, event: SinkEvent) {
        let handler = self.handler.lock().clone();
        if let Some(handler) = handler {
            handler(event.clone());
        }
        let SinkEvent::Producer(event) = event else {
            gst::info!(CAT, imp = self, "{event:?}");
            return;
        };
        self.metrics.lock().record(&event, Instant::now());
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
                let mut ack = FragmentAck::new(kind, *timecode_ms, fragment_number.as_deref());
                self.obj().emit_by_name::<()>("fragment-ack", &[&pointer(&mut ack)]);
                self.obj().emit_by_name::<()>("fragment-acknowledged", &[&structure]);
                self.post_if_wanted(structure);
            }
            Event::Error { code, message, fatal, denied } => {
                if *fatal {
                    self.obj().emit_by_name::<()>("stream-error", &[&u64::from(status::of(*code))]);
                    gst::element_imp_error!(self, gst::ResourceError::Failed, ["{message}"]);
                } else {
                    gst::warning!(CAT, imp = self, "{message}");
                    let about = match code {
                        0 => About::Text(message.clone()),
                        code => About::Code(*code, *denied),
                    };
                    if self.warned.lock().is_news(about, Instant::now()) {
                        gst::element_imp_warning!(self, gst::ResourceError::Write, ["{message}"]);
                    }
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
                let structure = gst::Structure::builder("kvs-dropped")
                    .field("fragments", *fragments)
                    .field("video-frames", frames[0])
                    .field("audio-frames", frames[1])
                    .field("bytes", *bytes)
                    .field("reason", format!("{reason:?}"));
                self.post(structure.build());
            }
            Event::KeyFrameWanted => {
                // By the streaming thread, before its next frame: upstream's locks are no business of this thread.
                self.key_wanted.store(true, Ordering::Relaxed);
            }
            Event::StoredLate { frames } => {
                gst::warning!(
                    CAT,
                    imp = self,
                    "{} video and {} audio frames came late: they are stored in a session of their own",
                    frames[0],
                    frames[1]
                );
            }
            Event::SpoolFailed { message } => {
                gst::warning!(CAT, imp = self, "{message}");
                if self.warned.lock().is_news(About::Spool, Instant::now()) {
                    gst::element_imp_warning!(self, gst::ResourceError::OpenWrite, ["{message}"]);
                }
            }
            Event::SessionClosed { id, reason } => {
                gst::info!(CAT, imp = self, "session {id} {reason}");
                self.end_if_told_to(reason);
            }
            other => gst::info!(CAT, imp = self, "{other:?}"),
        }
    }

    /// Without `restart-on-error` the first session that is lost or refused is the last.
    fn end_if_told_to(&self, reason: &CloseReason) {
        let code = match reason {
            CloseReason::Ended(_) => return,
            CloseReason::ErrorAck(id) => *id,
            CloseReason::Refused { status, .. } => u32::from(*status),
            CloseReason::Lost(_) | CloseReason::Stale => 0,
        };
        let Some(shared) = self.shared().filter(|_| !self.properties.lock().restart_on_error) else {
            return;
        };
        if shared.fail() {
            self.obj().emit_by_name::<()>("stream-error", &[&u64::from(status::of(code))]);
            gst::element_imp_error!(
                self,
                gst::ResourceError::Failed,
                ["the session is over ({reason}), and restart-on-error is off"]
            );
        }
    }

    /// Posts what comes all the time. On a bus that nobody reads, as may be with the C++ element, it would pile up.
    fn post_if_wanted(&self, structure: gst::Structure) {
        if self.properties.lock().post_messages {
            self.post(structure);
        }
    }

    /// Posts an element message.
    pub(super) fn post(&self, structure: gst::Structure) {
        let message = gst::message::Element::builder(structure).src(&*self.obj()).build();
        let _ = self.obj().post_message(message);
    }

    /// Tells, at a key frame, what there is to tell about pressure and, if it is asked for, the metrics.
    pub(super) fn measure(&self, shared: &Shared, frame: MediaTime) {
        let wanted = self.properties.lock().get_kvs_metrics;
        let (figures, unsent) = {
            let inner = shared.lock();
            (inner.producer.statistics(), inner.producer.unsent())
        };
        let sample = Sample { statistics: &figures, unsent, frame, now: Instant::now() };
        let (pressures, mut metric) = {
            let mut metrics = self.metrics.lock();
            (metrics.take(sample), metrics.metric(sample))
        };
        for pressure in pressures {
            gst::warning!(CAT, imp = self, "pressure: {pressure:?}");
            let structure = gst::Structure::builder("kvs-pressure");
            let structure = match pressure {
                Pressure::Storage(left) => structure.field("of", "storage-size").field("bytes-left", left),
                Pressure::Buffer(left) => {
                    structure.field("of", "buffer-duration").field("time-left", left.as_nanos() as u64)
                }
                Pressure::Latency(latency) => {
                    structure.field("of", "max-latency").field("latency", latency.as_nanos() as u64)
                }
            };
            self.post(structure.build());
        }
        if wanted {
            self.obj().emit_by_name::<()>("stream-client-metric", &[&pointer(&mut metric)]);
            let stream = metric.stream_metrics;
            let mut structure = statistics::structure(&figures);
            structure.set_name("kvs-stream-metrics");
            structure.set("frame-time", frame.nanos());
            structure.set("frame-rate", stream.current_frame_rate);
            structure.set("elementary-frame-rate", stream.elementary_frame_rate);
            structure.set("transfer-rate", stream.current_transfer_rate);
            structure.set("unsent-bytes", stream.current_view_size);
            structure.set("unsent-duration", stream.current_view_duration * 100);
            self.obj().emit_by_name::<()>("stream-metrics", &[&structure]);
            self.post_if_wanted(structure);
        }
    }
}

/// The names of `fragment-ack` for bindings.
fn ack_name(kind: &AckKind) -> &'static str {
    match kind {
        AckKind::Buffering => "buffering",
        AckKind::Received => "received",
        AckKind::Persisted => "persisted",
        AckKind::Error { .. } => "error",
        AckKind::Idle => "idle",
    }
}

/// For a signal's argument, good for as long as the signal is emitted.
fn pointer<T>(value: &mut T) -> gst::glib::Pointer {
    std::ptr::from_mut(value).cast()
}
