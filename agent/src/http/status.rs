//! The `/status` document.

use crate::connecting::Connecting;
use crate::events::Events;
use crate::outputs::Outputs;
use crate::peer::{self, Pair, RelayProtocol, ServerFigures, Side};
use crate::rfc3339::rfc3339;
use crate::state::{Snapshot, State};
use crate::tracks::Standing;
use kvs_ingest_api::{
    AgentStatus, AudioStatus, CandidatePairStatus, CandidateStatus, DataStatus, IceServerStatus,
    InboundStatus, TimeStatus, TrackState, VideoStatus,
};
use kvs_media::{AudioCodec, ClockStats, InboundStats, VideoCodec};
use std::collections::BTreeMap;
use std::time::Duration;

/// The document of now. `channel` is its name or ARN, as it was configured.
pub(super) fn document(
    state: &State,
    outputs: &Outputs,
    events: &Events,
    connecting: &Connecting,
    channel: &str,
) -> AgentStatus {
    let Snapshot { view, since, idle: _, received, totals, metadata } = state.snapshot();
    let pair = received.as_ref().and_then(|received| received.peer.pair.as_ref());
    let video = received.as_ref().and_then(|received| {
        let standing = received.standings.video;
        let stats = received.stats.video.as_ref().filter(|it| is_reported(it, standing))?;
        Some(VideoStatus {
            state: track_state(standing),
            reason: track_reason(standing),
            withheld: totals.withheld.video.total(),
            codec: received.video_codec.map(VideoCodec::encoding_name).unwrap_or_default().to_owned(),
            profile: received.format.map(|format| format.profile_name()).unwrap_or_default(),
            frame_width: received.format.map_or(0, |format| format.width),
            frame_height: received.format.map_or(0, |format| format.height),
            frames_received: totals.frames_received,
            key_frames_received: totals.key_frames_received,
            frames_dropped: totals.frames_dropped,
            packets_received: stats.packets_received,
            packets_lost: stats.packets_lost,
            nack_count: stats.nack_count,
            pli_count: stats.pli_count,
            inbound: inbound(stats, received.peer.header_bytes.video),
            time: time(received.time.tracks.video),
        })
    });
    let audio = received.as_ref().and_then(|received| {
        let standing = received.standings.audio;
        let stats = received.stats.audio.as_ref().filter(|it| is_reported(it, standing))?;
        Some(AudioStatus {
            state: track_state(standing),
            reason: track_reason(standing),
            withheld: totals.withheld.audio.total(),
            codec: received.audio_codec.map(AudioCodec::encoding_name).unwrap_or_default().to_owned(),
            packets_received: stats.packets_received,
            packets_lost: stats.packets_lost,
            inbound: inbound(stats, received.peer.header_bytes.audio),
            time: time(received.time.tracks.audio),
            silence_ms: millis(totals.sound.silence),
            retimed_ms: millis(totals.sound.retimed),
            late_ms: millis(totals.sound.late),
        })
    });
    let data = received.as_ref().and_then(|received| {
        let figures = received.peer.data.as_ref()?;
        let mut not_stored: BTreeMap<_, _> =
            metadata.not_stored.iter().map(|(reason, count)| (reason.as_str().to_owned(), *count)).collect();
        if totals.messages_unknown > 0 {
            not_stored.insert("UnknownChannel".to_owned(), totals.messages_unknown);
        }
        Some(DataStatus {
            channels: figures.open.iter().map(ToString::to_string).collect(),
            lost: figures.lost.clone(),
            messages_received: totals.messages_received,
            tags_stored: metadata.stored,
            tags_waiting: metadata.waiting,
            not_stored,
        })
    });
    let mut status = AgentStatus {
        phase: view.phase,
        reason: view.reason.as_str().to_owned(),
        message: view.message,
        since: rfc3339(since),
        channel: Some(channel.to_owned()),
        client_id: (!view.client_id.is_empty()).then_some(view.client_id),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        signaling_connected: view.signaling_since.is_some(),
        signaling: events.signaling().status(view.signaling_since.map(|since| since.elapsed())),
        connecting: connecting.status(),
        peer_connections: totals.peers,
        candidate_pair: pair.map(peer::describe),
        selected_candidate_pair: pair.map(candidate_pair),
        ice_servers: received
            .iter()
            .flat_map(|received| received.peer.servers.iter().map(ice_server))
            .collect(),
        relay_protocol: pair
            .and_then(|pair| pair.local.relay_protocol)
            .map(|protocol| protocol.as_str().to_owned()),
        udp_is_silent: received.as_ref().is_some_and(|received| received.peer.udp_is_silent),
        video,
        audio,
        data,
        packets_unbound: received
            .as_ref()
            .map(|received| received.peer.unbound.by_payload_type.clone())
            .unwrap_or_default(),
        packets_undecryptable: totals.packets_undecryptable,
        socket_drops: totals.socket_drops,
        receive_buffer_bytes: received.as_ref().map_or(0, |received| received.peer.receive_buffer as u64),
        track_distance_ms: received.as_ref().and_then(|received| received.time.distance_ms),
        clock_step_ms: received.as_ref().map_or(0, |received| received.time.clock_step_ms),
        ..AgentStatus::default()
    };
    for output in outputs.iter() {
        output.describe(&mut status);
    }
    status
}

fn inbound(stats: &InboundStats, header_bytes: u64) -> InboundStatus {
    InboundStatus {
        ssrc: stats.ssrc,
        bytes_received: stats.bytes_received,
        header_bytes_received: header_bytes,
        packets_discarded: stats.packets_discarded,
        packets_duplicated: stats.packets_duplicated,
        jitter: stats.jitter,
        jitter_buffer_delay: stats.jitter_buffer_delay.as_secs_f64(),
        jitter_buffer_emitted_count: stats.frames_emitted,
    }
}

fn candidate(side: &Side) -> CandidateStatus {
    CandidateStatus {
        candidate_type: side.kind.clone(),
        address: side.address.ip().to_string(),
        port: side.address.port(),
        priority: side.priority,
        relay_protocol: side.relay_protocol.map(RelayProtocol::as_str).map(str::to_owned),
    }
}

fn candidate_pair(pair: &Pair) -> CandidatePairStatus {
    CandidatePairStatus {
        local: candidate(&pair.local),
        remote: candidate(&pair.remote),
        nominated: pair.nominated,
        packets_sent: pair.sent.packets,
        bytes_sent: pair.sent.bytes,
        packets_received: pair.received.packets,
        bytes_received: pair.received.bytes,
        requests_sent: pair.requests_sent,
        responses_received: pair.responses_received,
        total_round_trip_time: pair.total_round_trip_time.as_secs_f64(),
        current_round_trip_time: pair.round_trip_time.map(|time| time.as_secs_f64()),
    }
}

fn ice_server(server: &ServerFigures) -> IceServerStatus {
    IceServerStatus {
        url: server.url.clone(),
        protocol: server.protocol.as_str().to_owned(),
        total_requests_sent: server.requests_sent,
        total_responses_received: server.responses_received,
        total_round_trip_time: server.total_round_trip_time.as_secs_f64(),
        useful: server.useful,
    }
}

/// Something of it came, or should have.
fn is_reported(stats: &InboundStats, standing: Standing) -> bool {
    stats.packets_received > 0 || matches!(standing, Standing::NotStored(_))
}

fn track_state(standing: Standing) -> TrackState {
    match standing {
        Standing::Absent | Standing::Silent | Standing::Waiting => TrackState::Waiting,
        Standing::Stored => TrackState::Stored,
        Standing::NotStored(_) => TrackState::NotStored,
    }
}

fn track_reason(standing: Standing) -> Option<String> {
    match standing {
        Standing::NotStored(reason) => Some(reason.as_str().to_owned()),
        _ => None,
    }
}

fn time(stats: ClockStats) -> TimeStatus {
    TimeStatus {
        source: stats.source.as_str().to_owned(),
        rate_ppm: stats.rate_ppm,
        epochs: stats.epochs,
        reports_refused: stats.reports_refused,
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
