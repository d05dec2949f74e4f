//! What the signaling client did: the figures of `SignalingClientStats` (the SDK in C, developer guide, "client metrics").

use crate::connecting::Step;
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TypeLabel {
    r#type: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StepLabel {
    step: &'static str,
}

/// An exponential moving average of durations, as the SDK has it: the newest counts for a fifth.
#[derive(Debug, Default)]
struct Average(Mutex<Option<f64>>);

impl Average {
    fn add(&self, took: Duration) {
        let (mut average, took) = (self.0.lock(), took.as_secs_f64());
        *average = Some(average.map_or(took, |before| before * 0.8 + took * 0.2));
    }

    fn get(&self) -> f64 {
        self.0.lock().unwrap_or(0.0)
    }
}

/// Counted since the process began.
#[derive(Debug, Default)]
pub struct SignalingFigures {
    control_plane: Average,
    data_plane: Average,
    ice_refreshes: Counter,
    errors: Family<StepLabel, Counter>,
    runtime_errors: Counter,
    opened: Counter,
    sent: Family<TypeLabel, Counter>,
    received: Family<TypeLabel, Counter>,
    /// Over all types.
    totals: Totals,
}

#[derive(Debug, Default)]
struct Totals {
    errors: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

impl SignalingFigures {
    /// Makes the counters known to `registry`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "ice_refreshes",
            "Times that GetIceServerConfig was answered (iceRefreshCount)",
            self.ice_refreshes.clone(),
        );
        registry.register(
            "signaling_errors",
            "Calls, and openings of the signaling socket, that failed, by step (numberOfErrors)",
            self.errors.clone(),
        );
        registry.register(
            "signaling_runtime_errors",
            "What went wrong on an open signaling socket: a message refused, unreadable or not sent, a socket that closed by itself \
             (numberOfRuntimeErrors)",
            self.runtime_errors.clone(),
        );
        registry.register(
            "signaling_connections",
            "Signaling sockets that were opened; all but the first are reconnects (numberOfReconnects)",
            self.opened.clone(),
        );
        registry.register(
            "signaling_messages_sent",
            "Messages sent over signaling, by type (numberOfMessagesSent)",
            self.sent.clone(),
        );
        registry.register(
            "signaling_messages_received",
            "Messages received over signaling, by type (numberOfMessagesReceived)",
            self.received.clone(),
        );
    }

    pub(crate) fn call_ended(&self, step: Step, took: Duration, failed: bool) {
        if failed {
            self.errors.get_or_create(&StepLabel { step: step.as_str() }).inc();
            self.totals.errors.fetch_add(1, Ordering::Relaxed);
        }
        if step.is_control_plane() {
            self.control_plane.add(took);
        } else if step == Step::IceServers {
            self.data_plane.add(took);
            if !failed {
                self.ice_refreshes.inc();
            }
        }
    }

    pub(crate) fn opened(&self) {
        self.opened.inc();
    }

    pub(crate) fn runtime_error(&self) {
        self.runtime_errors.inc();
    }

    pub(crate) fn sent(&self, what: &'static str) {
        self.sent.get_or_create(&TypeLabel { r#type: what }).inc();
        self.totals.sent.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, what: &'static str) {
        self.received.get_or_create(&TypeLabel { r#type: what }).inc();
        self.totals.received.fetch_add(1, Ordering::Relaxed);
    }

    /// As `/status` shows it. `connected_for`: how long the socket has been open, if it is.
    pub(crate) fn status(&self, connected_for: Option<Duration>) -> kvs_ingest_api::SignalingStatus {
        kvs_ingest_api::SignalingStatus {
            cp_api_call_latency: self.control_plane.get(),
            dp_api_call_latency: self.data_plane.get(),
            connection_duration: connected_for.unwrap_or_default().as_secs_f64(),
            number_of_messages_sent: self.totals.sent.load(Ordering::Relaxed),
            number_of_messages_received: self.totals.received.load(Ordering::Relaxed),
            ice_refresh_count: self.ice_refreshes.get(),
            number_of_errors: self.totals.errors.load(Ordering::Relaxed),
            number_of_runtime_errors: self.runtime_errors.get(),
            number_of_reconnects: self.opened.get().saturating_sub(1),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn latencies_are_averages_and_what_failed_is_counted() {
        let figures = SignalingFigures::default();
        let second = Duration::from_secs(1);
        figures.call_ended(Step::Describe, second, false);
        figures.call_ended(Step::Endpoint, 2 * second, true);
        figures.call_ended(Step::IceServers, second / 2, false);
        figures.call_ended(Step::IceServers, second / 2, true);
        figures.call_ended(Step::Connect, 10 * second, false);
        figures.opened();
        figures.sent("SDP_OFFER");
        figures.sent("ICE_CANDIDATE");
        figures.received("SDP_ANSWER");
        let status = figures.status(Some(3 * second));
        assert!((status.cp_api_call_latency - 1.2).abs() < 1e-9, "{status:?}");
        assert!((status.dp_api_call_latency - 0.5).abs() < 1e-9, "{status:?}");
        let counts = (status.number_of_errors, status.ice_refresh_count, status.number_of_reconnects);
        assert_eq!(counts, (2, 1, 0));
        assert_eq!((status.number_of_messages_sent, status.number_of_messages_received), (2, 1));
        assert_eq!(status.connection_duration, 3.0);
    }
}
