//! What happens, told to everyone who may want it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use gst::prelude::*;
use gst::subclass::prelude::*;
use kvs_putmedia::{AckKind, CloseReason, Event, MediaTime, Statistics};

use super::abi::FragmentAck;
use super::imp::{CAT, KvsSink};
use super::metrics::{Pressure, Sample};
use super::shared::Shared;
use super::{SinkEvent, ack_name, status};

/// How often a warning is repeated on the bus.
const SAME_WARNING: Duration = Duration::from_secs(60);
/// So many kinds of warnings are known at a time; of more the log tells.
const MOST_WARNINGS: usize = 16;

/// What a warning is about. Its words may differ each time (addresses, numbers), unless nothing else tells it from others.
#[derive(Clone, Debug, PartialEq)]
enum About {
    /// The service's code, and whether it denies access.
    Code(u32, bool),
    /// Without a code.
    Text(String),
    Spool,
}

/// Warnings that were on the bus, and when: in a long outage they would pile up on one that nobody reads.
#[derive(Debug, Default)]
pub(super) struct Warned(Vec<(About, Instant)>);

impl Warned {
    /// Whether the bus has not just had this one.
    fn is_news(&mut self, about: About, now: Instant) -> bool {
        self.0.retain(|(_, at)| now < *at + SAME_WARNING);
        let news = self.0.len() < MOST_WARNINGS && self.0.iter().all(|(known, _)| *known != about);
        if news {
            self.0.push((about, now));
        }
        news
    }
}

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
        self.metrics.lock().hear(&event, Instant::now());
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
        let Some(shared) = self.shared().filter(|_| !self.values.lock().boolean("restart-on-error")) else {
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
        if self.values.lock().boolean("post-messages") {
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
        let wanted = self.values.lock().boolean("get-kvs-metrics");
        let (statistics, unsent) = {
            let inner = shared.lock();
            (inner.producer.statistics(), inner.producer.unsent())
        };
        let sample = Sample { statistics: &statistics, unsent, frame, now: Instant::now() };
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
            let mut structure = structure(&statistics);
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

/// For a signal's argument, good for as long as the signal is emitted.
fn pointer<T>(value: &mut T) -> gst::glib::Pointer {
    std::ptr::from_mut(value).cast()
}

pub(super) fn structure(statistics: &Statistics) -> gst::Structure {
    gst::Structure::builder("kvssink-statistics")
        .field("video-frames-in", statistics.frames_in[0])
        .field("audio-frames-in", statistics.frames_in[1])
        .field("video-frames-dropped", statistics.frames_dropped[0])
        .field("audio-frames-dropped", statistics.frames_dropped[1])
        .field("video-frames-late", statistics.frames_late[0])
        .field("audio-frames-late", statistics.frames_late[1])
        .field("epochs", statistics.epochs)
        .field("video-distance", statistics.track_distance[0].as_nanos() as u64)
        .field("audio-distance", statistics.track_distance[1].as_nanos() as u64)
        .field("fragments-sent", statistics.fragments_sent)
        .field("fragments-received", statistics.fragments_received)
        .field("fragments-persisted", statistics.fragments_persisted)
        .field("fragments-replayed", statistics.fragments_replayed)
        .field("fragments-dropped", statistics.fragments_dropped)
        .field("bytes-sent", statistics.bytes_sent)
        .field("buffered-bytes", statistics.buffered_bytes)
        .field("buffered-duration", statistics.buffered_duration.as_nanos() as u64)
        .field("spooled-bytes", statistics.spooled_bytes)
        .field("fragments-spooled", statistics.fragments_spooled)
        .field("fragments-restored", statistics.fragments_restored)
        .field("video-frames-restored", statistics.frames_restored[0])
        .field("audio-frames-restored", statistics.frames_restored[1])
        .field("spool-failures", statistics.spool_failures)
        .field("video-frames-persisted", statistics.frames_persisted[0])
        .field("audio-frames-persisted", statistics.frames_persisted[1])
        .field("sessions", statistics.sessions)
        .field("session-failures", statistics.session_failures)
        .field("last-persisted-timecode", statistics.last_persisted_timecode_ms.unwrap_or(0))
        .field("persisted-lag", statistics.persisted_lag.unwrap_or_default().as_nanos() as u64)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_that_alternate_are_told_once_a_minute_each() {
        let (mut warned, start) = (Warned::default(), Instant::now());
        let about = |n: u64| match n % 3 {
            0 => About::Code(503, false),
            1 => About::Spool,
            _ => About::Text("connection reset".to_owned()),
        };
        let at = |n: u64| start + Duration::from_secs(n);
        let told: Vec<u64> = (0..180).filter(|n| warned.is_news(about(*n), at(*n))).collect();
        assert_eq!(told, [0, 1, 2, 60, 61, 62, 120, 121, 122]);
        assert!(warned.is_news(About::Code(503, true), at(180)), "another kind");
    }

    #[test]
    fn warnings_that_are_all_different_are_told_up_to_a_number() {
        let (mut warned, now) = (Warned::default(), Instant::now());
        let told = (0..1000).filter(|n| warned.is_news(About::Text(n.to_string()), now)).count();
        assert_eq!(told, MOST_WARNINGS);
        assert!(warned.is_news(About::Spool, now + SAME_WARNING));
    }
}
