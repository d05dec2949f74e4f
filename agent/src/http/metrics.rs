//! The Prometheus text: events as they were counted, and figures as they are.

use super::status::millis;
use crate::events::Events;
use crate::outputs::Outputs;
use crate::peer::RelayProtocol;
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
use std::time::Duration;

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

/// As [`RelayProtocol`] counts.
const PROTOCOLS: [RelayProtocol; 3] = [RelayProtocol::Udp, RelayProtocol::Tcp, RelayProtocol::Tls];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ProtocolLabel {
    protocol: &'static str,
}

/// Where capture times come from, in the words of `/status`.
const SOURCES: [TimeSource; 3] = [TimeSource::Reports, TimeSource::Rtp, TimeSource::Arrival];

type Float = Gauge<f64, AtomicU64>;
type Seconds = Counter<f64, AtomicU64>;

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
    signaling_for: Float,
    jitter: Float,
    round_trip_time: Float,
    time_source: Family<SourceLabel, Gauge>,
    rate: Family<TrackLabel, Gauge>,
    stored: Family<TrackLabel, Gauge>,
    withheld: Family<WithheldLabel, Counter>,
    distance: Float,
    /// Sums that are kept elsewhere, and never shrink.
    counts: Vec<(Read, Counter)>,
    round_trips: Seconds,
    jitter_buffer_delay: Family<TrackLabel, Seconds>,
    jitter_buffer_emitted: Family<TrackLabel, Counter>,
    server_requests: Family<ProtocolLabel, Counter>,
    server_responses: Family<ProtocolLabel, Counter>,
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
        let signaling_for = Float::default();
        let help = "How long the signaling socket has been up; 0 while there is none (connectionDuration)";
        registry.register("signaling_connection_duration_seconds", help, signaling_for.clone());
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
        count("header_bytes_received", "Bytes of RTP headers and padding (headerBytesReceived)", |now| {
            now.totals.header_bytes
        });
        count(
            "rtp_packets_discarded",
            "RTP packets that came and were of no use (packetsDiscarded)",
            |now| now.totals.rtp_discarded,
        );
        count("packets_duplicated", "RTP packets that had arrived before", |now| {
            now.totals.packets_duplicated
        });
        count("transport_packets_sent", "Datagrams of DTLS and SRTCP to the master (packetsSent)", |now| {
            now.totals.sent.packets
        });
        count("transport_sent_bytes", "Their bytes (bytesSent)", |now| now.totals.sent.bytes);
        count(
            "transport_packets_received",
            "Datagrams of DTLS, SRTP and SRTCP from the master (packetsReceived)",
            |now| now.totals.received.packets,
        );
        count("transport_received_bytes", "Their bytes (bytesReceived)", |now| now.totals.received.bytes);
        count("ice_requests_sent", "ICE checks on the selected pair (requestsSent)", |now| {
            now.totals.checks_sent
        });
        count("ice_responses_received", "Answers to these (responsesReceived)", |now| {
            now.totals.checks_answered
        });
        count("data_messages_received", "Messages of data channels", |now| now.totals.messages_received);
        count("data_tags_stored", "Messages that went with a fragment as a tag", |now| now.metadata.stored);
        count("peer_connections", "Peer connections that a master answered", |now| now.totals.peers);
        let round_trips = Seconds::default();
        let help = "Sum of the round trips of the ICE checks that were answered (totalRoundTripTime)";
        registry.register("ice_round_trip_time_seconds", help, round_trips.clone());
        let jitter_buffer_delay = Family::<TrackLabel, Seconds>::default();
        let help = "What pictures and packets of sound waited from their first packet to being handed on (jitterBufferDelay)";
        registry.register("jitter_buffer_delay_seconds", help, jitter_buffer_delay.clone());
        let jitter_buffer_emitted = Family::<TrackLabel, Counter>::default();
        let help = "Pictures and packets of sound that were handed on (jitterBufferEmittedCount)";
        registry.register("jitter_buffer_emitted", help, jitter_buffer_emitted.clone());
        let server_requests = Family::<ProtocolLabel, Counter>::default();
        let help = "Requests to STUN and TURN servers, by how they are reached (totalRequestsSent)";
        registry.register("ice_server_requests", help, server_requests.clone());
        let server_responses = Family::<ProtocolLabel, Counter>::default();
        let help = "Answers of STUN and TURN servers (totalResponsesReceived)";
        registry.register("ice_server_responses", help, server_responses.clone());
        Self {
            inner: Mutex::new(Inner {
                registry,
                phase,
                signaling,
                signaling_for,
                jitter,
                round_trip_time,
                time_source,
                rate,
                stored,
                withheld,
                distance,
                counts,
                round_trips,
                jitter_buffer_delay,
                jitter_buffer_emitted,
                server_requests,
                server_responses,
            }),
        }
    }

    pub(super) fn encode(&self, now: &Snapshot) -> Result<String, std::fmt::Error> {
        let inner = self.inner.lock();
        for (phase, name) in PHASES {
            let gauge = inner.phase.get_or_create(&PhaseLabel { phase: name });
            gauge.set(i64::from(phase == now.view.phase));
        }
        let signaling_for = now.view.signaling_since.map(|since| since.elapsed());
        inner.signaling.set(i64::from(signaling_for.is_some()));
        inner.signaling_for.set(signaling_for.unwrap_or_default().as_secs_f64());
        let video = now.received.as_ref().and_then(|received| received.stats.video.as_ref());
        inner.jitter.set(video.map_or(0.0, |video| video.jitter));
        let round_trip =
            now.received.as_ref().and_then(|received| received.peer.pair.as_ref()?.round_trip_time);
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
            let (delay, emitted) = now.totals.jitter_buffer[track];
            set_seconds(&inner.jitter_buffer_delay.get_or_create(&TrackLabel { kind }), delay);
            let count = inner.jitter_buffer_emitted.get_or_create(&TrackLabel { kind });
            count.inner().store(emitted, Ordering::Relaxed);
            for reason in Withheld::ALL {
                let label = WithheldLabel { kind, reason: tracks::word(reason) };
                let count = now.totals.withheld[track].get(reason);
                inner.withheld.get_or_create(&label).inner().store(count, Ordering::Relaxed);
            }
        }
        set_seconds(&inner.round_trips, now.totals.round_trips);
        for protocol in PROTOCOLS {
            let (requests, responses) = now.totals.servers[protocol as usize];
            let label = ProtocolLabel { protocol: protocol.as_str() };
            inner.server_requests.get_or_create(&label).inner().store(requests, Ordering::Relaxed);
            inner.server_responses.get_or_create(&label).inner().store(responses, Ordering::Relaxed);
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

/// A sum that is kept elsewhere, and never shrinks.
fn set_seconds(counter: &Seconds, sum: Duration) {
    counter.inner().store(sum.as_secs_f64().to_bits(), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::connecting::{Step, Taken};
    use crate::events::Event;
    use crate::outputs::{OutputConfig, kvssink};
    use crate::peer::{MediaKind, Pair, Side, Traffic};
    use crate::session::{Failure, FailureKind, Reason, View};
    use crate::state::State;
    use crate::tracks;
    use kvs_media::PerTrack;
    use std::collections::BTreeSet;

    #[test]
    fn a_track_is_stored_while_it_streams_only() {
        let (metrics, state) = (Metrics::new(&Events::default(), Outputs::default()), State::default());
        state.new_peer(1).lock().standings = PerTrack::from_fn(|_| Standing::Stored);
        for (phase, stored) in PHASES.map(|(phase, _)| (phase, u8::from(phase == Phase::Streaming))) {
            let view = View {
                phase,
                reason: Reason::Streaming,
                message: String::new(),
                signaling_since: None,
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

    /// Whatever has a label has no line before it happened.
    fn happen(events: &Events) {
        let failure = Failure::new(FailureKind::Network, "it broke");
        let side = |kind: &str| Side {
            kind: kind.to_owned(),
            address: "192.0.2.7:5".parse().unwrap(),
            priority: 1,
            relay_protocol: None,
        };
        let pair = Pair {
            local: side("host"),
            remote: side("relay"),
            nominated: true,
            sent: Traffic::default(),
            received: Traffic::default(),
            requests_sent: 0,
            responses_received: 0,
            total_round_trip_time: Duration::ZERO,
            round_trip_time: None,
        };
        let kind = MediaKind::Video;
        let packet =
            kvs_media::MalformedPacket { ssrc: 1, sequence: 1, error: kvs_media::PayloadError::Opus(3) };
        let (step, took, after) = (Step::Answer, Duration::ZERO, Duration::ZERO);
        for event in [
            Event::Transition { from: View::streaming(), to: View::streaming() },
            Event::Failed { failure, already_logged: true },
            Event::PairSelected { pair, udp_is_silent: false },
            Event::MalformedPacket { kind, packet },
            Event::TrackNotStored { kind, codec: String::new(), reason: tracks::Reason::Stopped },
            Event::TimeDoubted { kind, time: kvs_media::ClockStats::default() },
            Event::Step(Taken { step, attempt: 1, took, after, is_routine: true }),
            Event::CallEnded { step: Step::Describe, took, failed: true },
            Event::MessageNotStored { channel: String::new(), reason: crate::metadata::NotStored::Empty },
            Event::SignalingSent { what: "SDP_OFFER" },
            Event::SignalingReceived { what: "SDP_ANSWER" },
        ] {
            events.emit(event);
        }
    }

    #[tokio::test]
    async fn what_the_page_says_of_metrics_is_what_there_is() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        gst::init().unwrap();
        let aws = kvs_aws::AwsContext::builder().region("eu-central-1").static_credentials("a", "b", None);
        let output = OutputConfig::Kvssink(kvssink::Settings {
            origin: kvssink::Origin::Builtin,
            region: "eu-central-1".to_owned(),
            stream: kvs::StreamId::Name("s".parse().unwrap()),
            resolved: None,
            create: None,
            memory_mib: 1,
            spool: None,
            fragment: Duration::from_secs(2),
            deliver_within: Duration::from_secs(1),
        });
        let outputs = OutputConfig::open([output], &aws.build().await.unwrap()).unwrap();
        let (events, state) = (Events::default(), State::default());
        let metrics = Metrics::new(&events, outputs);
        happen(&events);
        let text = metrics.encode(&state.snapshot()).unwrap();
        let there: BTreeSet<String> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE kvs_ingest_"))
            .map(|line| match line.split_once(' ').unwrap() {
                (name, "counter") => format!("{name}_total"),
                (name, _) => name.to_owned(),
            })
            .collect();
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/agent.md")).unwrap();
        let section = page.split("\n## Metrics\n").nth(1).unwrap().split("\n## ").next().unwrap();
        let mut documented = BTreeSet::new();
        for row in section.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            assert!(cells.len() == 6 && cells[1..5].iter().all(|cell| !cell.is_empty()), "{row}");
            for name in cells[1].split('`').skip(1).step_by(2) {
                assert!(documented.insert(name.to_owned()), "{name} is there twice");
            }
        }
        let missing: Vec<_> = there.difference(&documented).collect();
        let unknown: Vec<_> = documented.difference(&there).collect();
        assert!(
            missing.is_empty() && unknown.is_empty(),
            "not documented: {missing:#?}\nnot there: {unknown:#?}"
        );
    }
}
