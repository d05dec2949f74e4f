//! The Prometheus text: events as they were counted, and figures as they are.

use super::status::millis;
use crate::events::Events;
use crate::outputs::Outputs;
use crate::session::Phase;
use crate::state::Snapshot;
use crate::tracks::{self, Standing};
use kvs_media::{MediaKind, TimeSource, Withheld};
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::{AtomicU64, Ordering};

/// Phases, in the words of `/status`.
const PHASES: [(Phase, &str); 7] = [
    (Phase::Starting, "Starting"),
    (Phase::WaitingForMaster, "WaitingForMaster"),
    (Phase::Connecting, "Connecting"),
    (Phase::Streaming, "Streaming"),
    (Phase::Reconnecting, "Reconnecting"),
    (Phase::Stopping, "Stopping"),
    (Phase::Failed, "Failed"),
];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PhaseLabel {
    phase: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TrackLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SourceLabel {
    kind: &'static str,
    source: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WithheldLabel {
    kind: &'static str,
    reason: &'static str,
}

/// Where capture times come from, in the words of `/status`.
const SOURCES: [TimeSource; 3] = [TimeSource::Reports, TimeSource::Rtp, TimeSource::Arrival];

type Float = Gauge<f64, AtomicU64>;

type Read = fn(&Snapshot) -> u64;

/// What the outputs tell, when it is asked for.
struct OfOutputs(Outputs);

impl std::fmt::Debug for OfOutputs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OfOutputs")
    }
}

impl Collector for OfOutputs {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|output| output.encode_metrics(&mut encoder))
    }
}

/// The registry with the gauges that are set when it is read.
pub(super) struct Metrics {
    inner: Mutex<Inner>,
}

struct Inner {
    registry: Registry,
    phase: Family<PhaseLabel, Gauge>,
    signaling: Gauge,
    jitter: Float,
    round_trip_time: Float,
    time_source: Family<SourceLabel, Gauge>,
    rate: Family<TrackLabel, Gauge>,
    stored: Family<TrackLabel, Gauge>,
    withheld: Family<WithheldLabel, Counter>,
    distance: Float,
    /// Sums that are kept elsewhere, and never shrink.
    counts: Vec<(Read, Counter)>,
}

impl Metrics {
    pub(super) fn new(events: &Events, outputs: Outputs) -> Self {
        let mut registry = Registry::with_prefix("kvs_ingest");
        events.register(&mut registry);
        registry.register_collector(Box::new(OfOutputs(outputs)));
        let phase = Family::<PhaseLabel, Gauge>::default();
        registry.register("phase", "1 for the phase the agent is in", phase.clone());
        let signaling = Gauge::default();
        registry.register("signaling_connected", "The signaling socket is up", signaling.clone());
        let jitter = Float::default();
        registry.register("jitter_seconds", "Interarrival jitter of video (RFC 3550)", jitter.clone());
        let round_trip_time = Float::default();
        registry.register(
            "round_trip_time_seconds",
            "Round trip of the newest ICE check",
            round_trip_time.clone(),
        );
        let time_source = Family::<SourceLabel, Gauge>::default();
        let help = "1 for where a track's capture times come from: reports, rtp, arrival";
        registry.register("time_source", help, time_source.clone());
        let rate = Family::<TrackLabel, Gauge>::default();
        let help = "By how many millionths a track's RTP timestamps go faster than time";
        registry.register("rtp_rate_ppm", help, rate.clone());
        let stored = Family::<TrackLabel, Gauge>::default();
        let help = "1 while a track is stored, 0 while it is not or there is none";
        registry.register("track_stored", help, stored.clone());
        let withheld = Family::<WithheldLabel, Counter>::default();
        let help = "Pictures and packets that were received and could not be stored, by reason";
        registry.register("withheld", help, withheld.clone());
        let distance = Float::default();
        let help = "How far video comes after audio by the sender's reports; it is taken off";
        registry.register("track_distance_seconds", help, distance.clone());
        let mut counts: Vec<(Read, Counter)> = Vec::new();
        let mut count = |name: &str, help: &str, read: Read| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counts.push((read, counter));
        };
        count("packets_received", "RTP packets, without duplicates", |now| now.totals.packets_received);
        count("bytes_received", "RTP payload bytes", |now| now.totals.bytes_received);
        count("packets_lost", "RTP packets that never came", |now| now.totals.packets_lost);
        count("packets_repaired", "RTP packets that came when asked for again", |now| {
            now.totals.packets_repaired
        });
        count("nacks", "RTP packets asked for again", |now| now.totals.nack_count);
        count("plis", "Key frames asked for", |now| now.totals.pli_count);
        count("frames_received", "Complete access units", |now| now.totals.frames_received);
        count("key_frames_received", "Pictures at which decoding can start", |now| {
            now.totals.key_frames_received
        });
        count("frames_dropped", "Access units that were not stored", |now| now.totals.frames_dropped);
        count("time_epochs", "Times that RTP timestamps jumped, stood still or changed their rate", |now| {
            now.totals.epochs
        });
        count("sender_reports_refused", "Sender reports that contradicted the packets", |now| {
            now.totals.reports_refused
        });
        count("silence_milliseconds", "Silence written where no sound was received", |now| {
            millis(now.totals.sound.silence)
        });
        count("sound_retimed_milliseconds", "Sound played a little slower or faster", |now| {
            millis(now.totals.sound.retimed)
        });
        count("sound_late_milliseconds", "Sound stored behind what sounded after it", |now| {
            millis(now.totals.sound.late)
        });
        count("packets_unbound", "RTP packets that no track takes", |now| now.totals.packets_unbound);
        count("packets_undecryptable", "Packets that SRTP could not decrypt", |now| {
            now.totals.packets_undecryptable
        });
        count("socket_drops", "Datagrams that the kernel dropped because the sockets were full", |now| {
            now.totals.socket_drops
        });
        count("packets_discarded", "Packets dropped because they were not taken in time", |now| {
            now.totals.packets_discarded
        });
        count(
            "datagrams_of_strangers",
            "Datagrams that did not prove to be the master's, and were dropped",
            |now| now.totals.datagrams_of_strangers,
        );
        count("candidates_refused", "Candidates of masters that were not used: too many, or denied", |now| {
            now.totals.candidates_refused
        });
        count(
            "relay_datagrams_dropped",
            "Datagrams to a TURN server over TCP or TLS that were dropped because it did not take them",
            |now| now.totals.relay_dropped,
        );
        count("peer_connections", "Peer connections that a master answered", |now| now.totals.peers);
        Self {
            inner: Mutex::new(Inner {
                registry,
                phase,
                signaling,
                jitter,
                round_trip_time,
                time_source,
                rate,
                stored,
                withheld,
                distance,
                counts,
            }),
        }
    }

    pub(super) fn encode(&self, now: &Snapshot) -> Result<String, std::fmt::Error> {
        let inner = self.inner.lock();
        for (phase, name) in PHASES {
            let gauge = inner.phase.get_or_create(&PhaseLabel { phase: name });
            gauge.set(i64::from(phase == now.view.phase));
        }
        inner.signaling.set(i64::from(now.view.signaling));
        let video = now.received.as_ref().and_then(|received| received.stats.video.as_ref());
        inner.jitter.set(video.map_or(0.0, |video| video.jitter));
        let round_trip = now.received.as_ref().and_then(|received| received.peer.round_trip_time);
        inner.round_trip_time.set(round_trip.map_or(0.0, |time| time.as_secs_f64()));
        let time = now.received.as_ref().map(|received| received.time).unwrap_or_default();
        let standings = now.received.as_ref().map(|received| received.standings).unwrap_or_default();
        for track in MediaKind::ALL {
            let (kind, stats) = (track.as_str(), time.tracks[track]);
            for source in SOURCES {
                let label = SourceLabel { kind, source: source.as_str() };
                inner.time_source.get_or_create(&label).set(i64::from(stats.source == source));
            }
            inner.rate.get_or_create(&TrackLabel { kind }).set(stats.rate_ppm);
            // Of a connection that is silent or left nothing is being stored.
            let is_stored = now.view.phase == Phase::Streaming && standings[track] == Standing::Stored;
            inner.stored.get_or_create(&TrackLabel { kind }).set(i64::from(is_stored));
            for reason in Withheld::ALL {
                let label = WithheldLabel { kind, reason: tracks::word(reason) };
                let count = now.totals.withheld[track].get(reason);
                inner.withheld.get_or_create(&label).inner().store(count, Ordering::Relaxed);
            }
        }
        inner.distance.set(time.distance_ms.map_or(0.0, |ms| ms as f64 / 1e3));
        for (read, counter) in &inner.counts {
            counter.inner().store(read(now), Ordering::Relaxed);
        }
        let mut text = String::new();
        encode(&mut text, &inner.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::session::{Reason, View};
    use crate::state::State;
    use kvs_media::PerTrack;

    #[test]
    fn a_track_is_stored_while_it_streams_only() {
        let (metrics, state) = (Metrics::new(&Events::default(), Outputs::default()), State::new());
        state.new_peer(1).lock().standings = PerTrack::from_fn(|_| Standing::Stored);
        for (phase, stored) in PHASES.map(|(phase, _)| (phase, u8::from(phase == Phase::Streaming))) {
            let view = View {
                phase,
                reason: Reason::Streaming,
                message: String::new(),
                signaling: true,
                authenticated: true,
                client_id: String::new(),
            };
            state.set_view(view);
            let text = metrics.encode(&state.snapshot()).unwrap();
            for kind in ["video", "audio"] {
                let line = format!("track_stored{{kind=\"{kind}\"}} {stored}\n");
                assert!(text.contains(&line), "{phase:?}: no {line} in {text}");
            }
        }
    }
}
