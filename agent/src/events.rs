//! Important moments: each is logged and counted in this one place.

use crate::peer::{MediaKind, RelayProtocol, SelectedPair};
use crate::session::{Failure, Phase, View};
use crate::tracks::{Reason, Tracks};
use kvs_media::{ClockStats, LossEvent, MalformedPacket, VideoFormat};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use std::net::IpAddr;
use std::time::Duration;

/// Warns of what a peer may repeat thousands of times a second: the first, second, fourth, eighth … time, so that a
/// user sees it and the log stays small. The others are logged at debug.
macro_rules! warn_seldom {
    ($before:expr, $($line:tt)+) => {{
        let times = $before + 1;
        if times.is_power_of_two() {
            tracing::warn!(times, $($line)+);
        } else {
            tracing::debug!(times, $($line)+);
        }
    }};
}

/// Something worth a log line or a counter.
#[derive(Debug)]
pub enum Event {
    /// The session's phase or reason changed.
    Transition {
        from: View,
        to: View,
    },
    /// The session deals with a failure.
    Failed {
        failure: Failure,
        /// By a transition.
        already_logged: bool,
    },
    /// A peer was built without TURN servers.
    WithoutTurn {
        reason: String,
        /// With the peer before, which had none for the same reason.
        already_logged: bool,
    },
    /// The media path is known.
    PairSelected {
        pair: SelectedPair,
        /// No server answers over UDP.
        udp_is_silent: bool,
    },
    /// The master accepted less than was offered.
    TracksRefused {
        what: Vec<String>,
    },
    /// The master sends video of this format from now on.
    VideoFormat {
        format: VideoFormat,
    },
    /// For want of key frames and recovery points recording begins at I pictures.
    KeyFramesAssumed,
    /// Packets were given up.
    PacketsLost {
        kind: MediaKind,
        loss: LossEvent,
    },
    /// A packet was skipped.
    MalformedPacket {
        kind: MediaKind,
        packet: MalformedPacket,
    },
    /// A picture was given up.
    PictureIncomplete {
        ssrc: u32,
        /// Its extended RTP timestamp.
        rtp_timestamp: u64,
        reason: String,
    },
    /// A track is received, or was, and is not stored.
    TrackNotStored {
        kind: MediaKind,
        /// As people call it.
        codec: String,
        reason: Reason,
    },
    /// A track that was not stored is now.
    TrackStored {
        kind: MediaKind,
    },
    /// A track's timestamps are not what they should be.
    TimeDoubted {
        kind: MediaKind,
        time: ClockStats,
    },
    /// This machine's clock was set; what is recorded goes on as before.
    ClockSet {
        /// Positive when it was set ahead.
        ahead_ms: i64,
    },
    PipelineOpened {
        tracks: Tracks,
    },
    PipelineBroken {
        message: String,
        retry_in: Duration,
    },
    PipelineWarning {
        message: String,
    },
    /// The task that receives the media of a connection has panicked.
    MediaTaskPanicked {
        message: String,
    },
    /// A frame came over signaling that is no message.
    SignalingMalformed {
        what: String,
        reason: String,
    },
    /// A message could not be sent over signaling.
    SignalingNotSent {
        what: &'static str,
        reason: String,
    },
    /// Somebody had more connections with this agent's HTTP server than he gets: the newest was closed at once.
    HttpConnectionClosed {
        from: IpAddr,
    },
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PathLabel {
    local: String,
    remote: String,
    relay_protocol: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TrackReasonLabel {
    kind: &'static str,
    reason: &'static str,
}

/// The log and the counters of events.
#[derive(Debug, Default)]
pub struct Events {
    failures: Family<ReasonLabel, Counter>,
    without_turn: Counter,
    paths: Family<PathLabel, Counter>,
    transitions: Family<ReasonLabel, Counter>,
    malformed: Family<KindLabel, Counter>,
    format_changes: Counter,
    tracks_not_stored: Family<TrackReasonLabel, Counter>,
    time_doubted: Family<KindLabel, Counter>,
    pictures_incomplete: Counter,
    pipelines_opened: Counter,
    pipelines_broken: Counter,
    media_task_panics: Counter,
    signaling_malformed: Counter,
    pipeline_warnings: Counter,
    http_connections_closed: Counter,
}

impl Events {
    /// Makes the counters known to `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("failures", "Failures that were dealt with, by reason", self.failures.clone());
        registry.register(
            "peers_without_turn",
            "Peer connections that were built without TURN servers, because GetIceServerConfig failed",
            self.without_turn.clone(),
        );
        registry.register(
            "paths_selected",
            "Paths that media took, by the types of both candidates, and by what our own TURN server is reached (none: no relay \
             of ours)",
            self.paths.clone(),
        );
        registry.register("transitions", "Changes of phase, by the new reason", self.transitions.clone());
        registry.register(
            "rtp_packets_malformed",
            "RTP packets whose payload was skipped",
            self.malformed.clone(),
        );
        registry.register("video_format_changes", "Changes of the SPS", self.format_changes.clone());
        registry.register(
            "tracks_not_stored",
            "Times that a track was received and not stored, or stopped, by reason",
            self.tracks_not_stored.clone(),
        );
        registry.register(
            "time_doubted",
            "Times that the timestamps of a track were found not to be what they should be",
            self.time_doubted.clone(),
        );
        registry.register(
            "pictures_incomplete",
            "Access units that were given up",
            self.pictures_incomplete.clone(),
        );
        registry.register(
            "pipelines_opened",
            "GStreamer pipelines that were started",
            self.pipelines_opened.clone(),
        );
        registry.register(
            "pipelines_broken",
            "GStreamer pipelines that failed",
            self.pipelines_broken.clone(),
        );
        registry.register(
            "media_task_panics",
            "Panics of the task that receives media, each a defect of the agent",
            self.media_task_panics.clone(),
        );
        registry.register(
            "signaling_frames_malformed",
            "Signaling frames that were no message",
            self.signaling_malformed.clone(),
        );
        registry.register(
            "pipeline_warnings",
            "Warnings of GStreamer elements, after which the pipeline went on",
            self.pipeline_warnings.clone(),
        );
        registry.register(
            "http_connections_closed",
            "Connections with the HTTP server that were closed at once, because one address, or all, had too many",
            self.http_connections_closed.clone(),
        );
    }

    pub fn emit(&self, event: Event) {
        match event {
            Event::Transition { from, to } => {
                let (reason, was) = (to.reason.as_str(), from.reason.as_str());
                self.transitions.get_or_create(&ReasonLabel { reason }).inc();
                match to.phase {
                    Phase::Failed => tracing::error!(reason, was, "{}", to.message),
                    Phase::Starting | Phase::Reconnecting if !to.reason.is_progress() => {
                        tracing::warn!(reason, was, "{}", to.message);
                    }
                    _ => tracing::info!(reason, was, client_id = to.client_id, "{}", to.message),
                }
            }
            Event::Failed { failure, already_logged } => {
                let reason = failure.kind.reason();
                self.failures.get_or_create(&ReasonLabel { reason }).inc();
                if !already_logged {
                    tracing::warn!(reason, "{}", failure.message);
                }
            }
            Event::WithoutTurn { reason, already_logged } => {
                self.without_turn.inc();
                if !already_logged {
                    tracing::warn!(
                        reason,
                        "there are no TURN servers: the peer connection is tried without, and fails where only a \
                         relay gets through"
                    );
                }
            }
            Event::PairSelected { pair, udp_is_silent } => {
                let relay_protocol = pair.relay_protocol.map_or("none", RelayProtocol::as_str);
                self.paths
                    .get_or_create(&PathLabel {
                        local: pair.local_type.clone(),
                        remote: pair.remote_type.clone(),
                        relay_protocol,
                    })
                    .inc();
                tracing::info!(
                    local = pair.local,
                    local_type = pair.local_type,
                    remote = pair.remote,
                    remote_type = pair.remote_type,
                    relay_protocol,
                    "media path selected"
                );
                if udp_is_silent
                    && matches!(pair.relay_protocol, Some(RelayProtocol::Tcp | RelayProtocol::Tls))
                {
                    tracing::warn!(
                        "no STUN or TURN server answers over UDP: media takes TURN over {}, which makes up for losses by \
                         waiting. Let UDP out of this network where you can",
                        relay_protocol.to_uppercase()
                    );
                }
            }
            Event::TracksRefused { what } => {
                tracing::warn!("the master does not send everything it was offered: {}", what.join("; "));
            }
            Event::KeyFramesAssumed => tracing::warn!(
                "the master sends no key frame (IDR) and no recovery point, although it is asked: I pictures count as such, and what \
                 is played from one of them may be torn at first. Let the encoder send an IDR at least every few seconds, or when \
                 it receives a PLI"
            ),
            Event::VideoFormat { format } => {
                self.format_changes.inc();
                tracing::info!(
                    width = format.width,
                    height = format.height,
                    profile = format.profile_idc,
                    level = format.level_idc,
                    "video format"
                );
            }
            Event::PacketsLost { kind, loss } => {
                tracing::debug!(kind = kind.as_str(), %loss, "packets given up");
            }
            Event::MalformedPacket { kind, packet } => {
                let kind = kind.as_str();
                let before = self.malformed.get_or_create(&KindLabel { kind }).inc();
                warn_seldom!(before, kind, %packet, "malformed RTP packet skipped: see what the master sends");
            }
            Event::PictureIncomplete { ssrc, rtp_timestamp, reason } => {
                self.pictures_incomplete.inc();
                tracing::debug!(ssrc, rtp_timestamp, reason, "picture given up");
            }
            Event::TrackNotStored { kind, codec, reason } => {
                let message = reason.message(&codec);
                let (kind, reason) = (kind.as_str(), reason.as_str());
                let before = self.tracks_not_stored.get_or_create(&TrackReasonLabel { kind, reason }).inc();
                warn_seldom!(before, reason, "{kind} is not stored: {message}");
            }
            Event::TrackStored { kind } => tracing::info!("{} is stored", kind.as_str()),
            Event::TimeDoubted { kind, time } => {
                let kind = kind.as_str();
                let before = self.time_doubted.get_or_create(&KindLabel { kind }).inc();
                warn_seldom!(
                    before,
                    kind,
                    source = time.source.as_str(),
                    rate_ppm = time.rate_ppm,
                    epochs = time.epochs,
                    reports_refused = time.reports_refused,
                    "the master's timestamps do not agree with when its packets come: capture times follow the packets"
                );
            }
            Event::ClockSet { ahead_ms } => {
                tracing::warn!(
                    ahead_ms,
                    "this machine's clock was set: the recording goes on with the time it had"
                );
            }
            Event::PipelineOpened { tracks } => {
                self.pipelines_opened.inc();
                tracing::info!(video = tracks.video.is_some(), audio = tracks.audio.is_some(), "recording");
            }
            Event::PipelineBroken { message, retry_in } => {
                self.pipelines_broken.inc();
                tracing::error!(?retry_in, "the pipeline broke and is rebuilt: {message}");
            }
            Event::PipelineWarning { message } => {
                let before = self.pipeline_warnings.inc();
                warn_seldom!(before, "pipeline: {message}");
            }
            Event::MediaTaskPanicked { message } => {
                self.media_task_panics.inc();
                tracing::error!("the task that receives media has panicked: {message}");
            }
            Event::SignalingMalformed { what, reason } => {
                let before = self.signaling_malformed.inc();
                warn_seldom!(
                    before,
                    what,
                    reason,
                    "malformed signaling frame skipped: see what the master sends"
                );
            }
            Event::SignalingNotSent { what, reason } => tracing::warn!(what, reason, "message not sent"),
            Event::HttpConnectionClosed { from } => {
                let before = self.http_connections_closed.inc();
                warn_seldom!(before, %from, "too many connections with the HTTP server: one more was closed at once");
            }
        }
    }
}
