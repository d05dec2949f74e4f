//! The metrics of all outputs of this kind, by the label `output`.

use super::shared::Shared;
use kvs_rtmp::{DropReason, Track};
use parking_lot::Mutex;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Seconds from capture to the socket.
const LATENCIES: [f64; 12] = [0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 1.0, 2.0, 5.0, 10.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutputLabel {
    output: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabel {
    output: String,
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    output: String,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DropLabel {
    output: String,
    kind: &'static str,
    reason: &'static str,
}

type Latencies = Family<OutputLabel, Histogram, fn() -> Histogram>;

/// How long media takes from its capture to the socket.
#[derive(Clone)]
pub(super) struct Latency(Histogram);

impl Latency {
    pub(super) fn observe(&self, latency: Duration) {
        self.0.observe(latency.as_secs_f64());
    }
}

/// All outputs of this kind: a metric is described once, whatever their number.
pub struct Group {
    members: Mutex<Vec<Arc<Shared>>>,
    latencies: Latencies,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            members: Mutex::default(),
            latencies: Family::new_with_constructor(|| Histogram::new(LATENCIES)),
        }
    }
}

impl Group {
    /// Takes another in. True: it is the first, which writes for all.
    pub(super) fn join(&self, shared: &Arc<Shared>) -> (bool, Latency) {
        let mut members = self.members.lock();
        members.push(Arc::clone(shared));
        let label = OutputLabel { output: shared.settings.name.clone() };
        let latency = self.latencies.get_or_create(&label).clone();
        (members.len() == 1, Latency(latency))
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let connected = Family::<OutputLabel, Gauge>::default();
        let queued = Family::<OutputLabel, Gauge<f64, AtomicU64>>::default();
        let queued_bytes = Family::<OutputLabel, Gauge>::default();
        let unacknowledged = Family::<OutputLabel, Gauge>::default();
        let bytes = Family::<OutputLabel, Counter>::default();
        let connections = Family::<OutputLabel, Counter>::default();
        let jumps = Family::<OutputLabel, Counter>::default();
        let asked = Family::<OutputLabel, Counter>::default();
        let frames = Family::<KindLabel, Counter>::default();
        let dropped = Family::<DropLabel, Counter>::default();
        let groups = Family::<ReasonLabel, Counter>::default();
        let failures = Family::<ReasonLabel, Counter>::default();
        let holds = Family::<KindLabel, Gauge<f64, AtomicU64>>::default();
        for shared in self.members.lock().iter() {
            let now = shared.snapshot();
            let output = || shared.settings.name.clone();
            let label = OutputLabel { output: output() };
            connected.get_or_create(&label).set(i64::from(now.is_receiving));
            queued.get_or_create(&label).set(now.live.queued.as_secs_f64());
            let whole = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
            queued_bytes.get_or_create(&label).set(whole(now.live.queued_bytes));
            if let Some(count) = now.unacknowledged {
                unacknowledged.get_or_create(&label).set(i64::from(count));
            }
            set(&bytes, &label, shared.sent_bytes.load(Ordering::Relaxed));
            set(&connections, &label, shared.connections.load(Ordering::Relaxed));
            set(&jumps, &label, now.live.jumps);
            set(&asked, &label, now.live.key_frames_wanted);
            let pictures = now.live.pictures - now.live.key_frames;
            for (kind, count) in [
                ("picture", pictures),
                ("key_frame", now.live.key_frames),
                ("sound", now.live.sounds),
                ("silence", now.live.silences),
            ] {
                set(&frames, &KindLabel { output: output(), kind }, count);
            }
            for (kind, track) in [("video", Track::Video), ("audio", Track::Audio)] {
                let hold = now.live.hold(track).as_secs_f64();
                holds.get_or_create(&KindLabel { output: output(), kind }).set(hold);
            }
            for reason in DropReason::ALL {
                let (counts, reason) = (now.live.dropped(reason), reason.as_str());
                for (kind, count) in [("video", counts.pictures), ("audio", counts.sounds)] {
                    set(&dropped, &DropLabel { output: output(), kind, reason }, count);
                }
                set(&groups, &ReasonLabel { output: output(), reason }, counts.groups);
            }
            for (reason, count) in now.failures {
                set(&failures, &ReasonLabel { output: output(), reason }, count);
            }
        }
        for (name, help, metric) in [
            ("connected", "1 while the output receives media", &connected as &dyn EncodeMetric),
            ("queue_seconds", "Media that waits for the output", &queued),
            ("queue_bytes", "Bytes of media that wait for the output", &queued_bytes),
            (
                "unacknowledged_bytes",
                "Bytes that the server has not acknowledged, if it acknowledges",
                &unacknowledged,
            ),
            ("sent_bytes", "Bytes written to the server", &bytes),
            ("connections", "Connections on which the server has received media", &connections),
            ("sent_frames", "Pictures, key frames, sound and silence that were sent", &frames),
            ("dropped_frames", "Pictures and frames of sound that were left out, by reason", &dropped),
            (
                "dropped_groups",
                "Groups of pictures that were left out, whole or from a place on, by reason",
                &groups,
            ),
            ("failures", "Attempts and connections that failed, by reason", &failures),
            (
                "key_frames_asked",
                "Key frames that the master was asked for, because none was there to begin with",
                &asked,
            ),
            (
                "hold_seconds",
                "How long the other track waits for this one at most, as was learnt from how far behind it comes",
                &holds,
            ),
            ("time_jumps", "Times that capture times jumped", &jumps),
            ("latency_seconds", "From capture to the socket of the server", &self.latencies),
        ] {
            let name = format!("output_{name}");
            metric.encode(encoder.encode_descriptor(&name, help, None, metric.metric_type())?)?;
        }
        Ok(())
    }
}

fn set<L: Clone + Hash + Eq>(family: &Family<L, Counter>, label: &L, count: u64) {
    family.get_or_create(label).inner().store(count, Ordering::Relaxed);
}
