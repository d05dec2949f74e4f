//! Important moments: each is logged and counted in this one place.

use crate::connecting::{Step, Taken};
use crate::metadata::NotStored;
use crate::peer::{MediaKind, Pair, RelayProtocol};
use crate::session::{Failure, Phase, View};
use crate::signaling_figures::SignalingFigures;
use crate::tracks::{Reason, Tracks};
use kvs_media::{ClockStats, LossEvent, MalformedPacket, VideoFormat};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
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
        pair: Pair,
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
    /// A message of a data channel is not stored.
    MessageNotStored {
        /// Its label, or the name that its tag would have had.
        channel: String,
        reason: NotStored,
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
    /// A call, or the opening of the signaling socket, is over.
    CallEnded {
        step: Step,
        took: Duration,
        failed: bool,
    },
    /// A step on the way to a stored fragment was taken.
    Step(Taken),
    /// The signaling socket is open.
    SignalingOpened,
    /// It closed, and nobody on this side had asked for that.
    SignalingClosed,
    /// A message came over it, of one of the service's types.
    SignalingReceived {
        what: &'static str,
    },
    /// A message went out over it.
    SignalingSent {
        what: &'static str,
    },
    /// The service refused a message of ours.
    SignalingRefused,
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

/// From a call in the same region to a master that is waited for, seconds.
const STEP_SECONDS: [f64; 9] = [0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StepLabel {
    step: &'static str,
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
#[derive(Debug)]
pub struct Events {
    failures: Family<ReasonLabel, Counter>,
    without_turn: Counter,
    paths: Family<PathLabel, Counter>,
    transitions: Family<ReasonLabel, Counter>,
    malformed: Family<KindLabel, Counter>,
    format_changes: Counter,
    tracks_not_stored: Family<TrackReasonLabel, Counter>,
    messages_not_stored: Family<ReasonLabel, Counter>,
    time_doubted: Family<KindLabel, Counter>,
    pictures_incomplete: Counter,
    pipelines_opened: Counter,
    pipelines_broken: Counter,
    media_task_panics: Counter,
    signaling_malformed: Counter,
    pipeline_warnings: Counter,
    http_connections_closed: Counter,
    steps: Family<StepLabel, Histogram, fn() -> Histogram>,
    signaling: SignalingFigures,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            failures: Family::default(),
            without_turn: Counter::default(),
            paths: Family::default(),
            transitions: Family::default(),
            malformed: Family::default(),
            format_changes: Counter::default(),
            tracks_not_stored: Family::default(),
            time_doubted: Family::default(),
            pictures_incomplete: Counter::default(),
            pipelines_opened: Counter::default(),
            pipelines_broken: Counter::default(),
            media_task_panics: Counter::default(),
            signaling_malformed: Counter::default(),
            pipeline_warnings: Counter::default(),
            http_connections_closed: Counter::default(),
            messages_not_stored: Family::default(),
            steps: Family::new_with_constructor(|| Histogram::new(STEP_SECONDS)),
            signaling: SignalingFigures::default(),
        }
    }
}

impl Events {
    /// The signaling client, as far as counters tell.
    pub fn signaling(&self) -> &SignalingFigures {
        &self.signaling
    }

    /// Makes the counters known to `registry`.
    pub fn register(&self, registry: &mut Registry) {
        self.signaling.register(registry);
        registry.register_with_unit(
            "connecting_step",
            "How long each step on the way to a stored fragment took",
            Unit::Seconds,
            self.steps.clone(),
        );
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
            "messages_not_stored",
            "Messages of data channels that became no tag of a fragment, by reason",
            self.messages_not_stored.clone(),
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

    fn observe(&self, step: Step, took: Duration) {
        self.steps.get_or_create(&StepLabel { step: step.as_str() }).observe(took.as_secs_f64());
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
                let Pair { local, remote, .. } = &pair;
                let relay_protocol = local.relay_protocol.map_or("none", RelayProtocol::as_str);
                self.paths
                    .get_or_create(&PathLabel {
                        local: local.kind.clone(),
                        remote: remote.kind.clone(),
                        relay_protocol,
                    })
                    .inc();
                tracing::info!(
                    local = %local.address,
                    local_type = local.kind,
                    remote = %remote.address,
                    remote_type = remote.kind,
                    relay_protocol,
                    "media path selected"
                );
                if udp_is_silent
                    && matches!(local.relay_protocol, Some(RelayProtocol::Tcp | RelayProtocol::Tls))
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
            Event::MessageNotStored { channel, reason } => {
                let label = ReasonLabel { reason: reason.as_str() };
                let before = self.messages_not_stored.get_or_create(&label).inc();
                let (reason, message) = (reason.as_str(), reason.message());
                warn_seldom!(before, channel, reason, "a message is not stored: {message}");
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
            Event::CallEnded { step, took, failed } => {
                self.signaling.call_ended(step, took, failed);
                if !failed {
                    self.observe(step, took);
                }
            }
            Event::Step(Taken { step, attempt, took, after, is_routine }) => {
                if step.is_of_peer() {
                    self.observe(step, took);
                }
                let (step, took, after) = (step.as_str(), took.as_secs_f64(), after.as_secs_f64());
                if is_routine {
                    tracing::debug!(attempt, "{step}: {took:.3} s, at {after:.3} s");
                } else {
                    tracing::info!(attempt, "{step}: {took:.3} s, at {after:.3} s");
                }
            }
            Event::SignalingOpened => self.signaling.opened(),
            Event::SignalingClosed | Event::SignalingRefused => self.signaling.runtime_error(),
            Event::SignalingReceived { what } => self.signaling.received(what),
            Event::SignalingSent { what } => self.signaling.sent(what),
            Event::SignalingMalformed { what, reason } => {
                self.signaling.runtime_error();
                let before = self.signaling_malformed.inc();
                warn_seldom!(
                    before,
                    what,
                    reason,
                    "malformed signaling frame skipped: see what the master sends"
                );
            }
            Event::SignalingNotSent { what, reason } => {
                self.signaling.runtime_error();
                tracing::warn!(what, reason, "message not sent");
            }
            Event::HttpConnectionClosed { from } => {
                let before = self.http_connections_closed.inc();
                warn_seldom!(before, %from, "too many connections with the HTTP server: one more was closed at once");
            }
        }
    }
}
