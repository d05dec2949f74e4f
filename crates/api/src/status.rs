//! The agent's `/status` document.

use crate::connection_status::{CandidatePairStatus, ConnectingStatus, IceServerStatus, SignalingStatus};
use serde::{Deserialize, Serialize};

/// Where the agent is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Credentials, channel and stream are being looked up; no reason to worry.
    #[default]
    Starting,
    /// On the channel; no master answers, or the one that did has left, or sends nothing.
    WaitingForMaster,
    /// A master has answered, or is about to; the peer connection is being made.
    Connecting,
    /// Media arrives.
    Streaming,
    /// Media arrived, and does not now: it is being brought back.
    Reconnecting,
    /// SIGTERM came; the last fragment is on its way.
    Stopping,
    /// Something that a person must heal; the agent keeps trying.
    Failed,
}

/// What the agent does and why, for people, probes and the operator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentStatus {
    /// Where it is.
    pub phase: Phase,
    /// One CamelCase word for why, `WaitingForMaster`, `ChannelNotFound`.
    pub reason: String,
    /// A sentence for people, with the remedy where there is one.
    pub message: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// The channel, by name or ARN as it was configured.
    pub channel: Option<String>,
    /// Name of the stream.
    pub stream: Option<String>,
    /// This viewer's id on the channel.
    pub client_id: Option<String>,
    /// Version of the agent.
    pub version: String,
    /// On the channel now.
    pub signaling_connected: bool,
    /// The signaling client.
    pub signaling: SignalingStatus,
    /// How far attempts at a connection got, step by step.
    pub connecting: ConnectingStatus,
    /// Peer connections made since the start.
    pub peer_connections: u64,
    /// The selected candidate pair, `host 10.0.0.7:4242 <-> relay 198.51.100.2:443`; behind our own relay, how
    /// it is reached: `relay 198.51.100.2:50000 (tls) <-> host 10.0.0.9:4242`.
    pub candidate_pair: Option<String>,
    /// The same with its figures.
    pub selected_candidate_pair: Option<CandidatePairStatus>,
    /// STUN and TURN servers of the newest connection that a master answered.
    pub ice_servers: Vec<IceServerStatus>,
    /// By what the agent reaches the TURN server that media comes over (W3C's `relayProtocol`): `udp`, `tcp` or `tls`.
    pub relay_protocol: Option<String>,
    /// STUN and TURN servers were asked over UDP, and none has answered: UDP does not get out of this network, it seems.
    pub udp_is_silent: bool,
    /// Video, once some has arrived.
    pub video: Option<VideoStatus>,
    /// Audio, once some has arrived.
    pub audio: Option<AudioStatus>,
    /// Messages over data channels, once these are agreed on.
    pub data: Option<DataStatus>,
    /// RTP packets that belong to no track, by payload type: of one that was not negotiated, say.
    pub packets_unbound: std::collections::BTreeMap<u8, u64>,
    /// Packets that SRTP could not decrypt.
    pub packets_undecryptable: u64,
    /// Datagrams that the kernel dropped because this agent's sockets were full.
    pub socket_drops: u64,
    /// The receive buffer that the kernel gave each socket, bytes as it counts them; `net.core.rmem_max` of the node
    /// caps it.
    pub receive_buffer_bytes: u64,
    /// How far video comes after audio, by the sender's reports, milliseconds: it is taken off.
    pub track_distance_ms: Option<i64>,
    /// How far this machine's clock has been set ahead of the one that the recording goes by, milliseconds.
    pub clock_step_ms: i64,
    /// The stream's side.
    pub kvs: StreamStatus,
    /// The other outputs, in the order of the spec.
    pub outputs: Vec<OutputStatus>,
}

/// Whether an output receives media.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutputState {
    /// There is no media to send.
    #[default]
    Waiting,
    /// Media is there, and it is too early to tell: it connects for the first time, or waits for a key frame. What failed
    /// stays `Interrupted` or `Failed` until it receives again.
    Connecting,
    /// It receives media.
    Receiving,
    /// It does not receive the media that is there, and time may heal it.
    Interrupted,
    /// It does not receive the media that is there, and a person has to do something. It is tried again all the same.
    Failed,
}

/// One of `spec.outputs`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OutputStatus {
    /// As it is declared.
    pub name: String,
    /// `rtmp`
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it receives media.
    pub state: OutputState,
    /// One CamelCase word for why.
    pub reason: String,
    /// A sentence for people, with the remedy where there is one; never a key, or a URL that has one in it.
    pub message: String,
}

/// Whether a track is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrackState {
    /// It comes, and it is too early to tell.
    #[default]
    Waiting,
    /// It is stored.
    Stored,
    /// It is received, or was, and is not stored: `reason` says why.
    NotStored,
}

impl AgentStatus {
    /// A track is received, or was, and is not stored.
    pub fn lacks_a_track(&self) -> bool {
        let video = self.video.as_ref().map(|video| video.state);
        let audio = self.audio.as_ref().map(|audio| audio.state);
        [video, audio].contains(&Some(TrackState::NotStored))
    }

    /// Media flows, and every track that the master sends is stored.
    pub fn stores_all(&self) -> bool {
        self.phase == Phase::Streaming && !self.lacks_a_track()
    }
}

/// Messages over data channels. Names are those of W3C WebRTC statistics where it has one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataStatus {
    /// Labels of the channels that are open.
    pub channels: Vec<String>,
    /// Why no messages come over this connection any more, in words.
    pub lost: Option<String>,
    /// That arrived, of this connection and those before.
    pub messages_received: u64,
    /// Of these, the tags that were given to the stream's element, each with the fragment that follows.
    pub tags_stored: u64,
    /// That wait for a fragment to begin.
    pub tags_waiting: u64,
    /// That are not stored, by why: `NotWanted` (no pattern of `labels` matches), `UnknownChannel` (nobody told the label of
    /// its stream), `Empty`, `TooLong` (more than 256 bytes), `BadName` (the tag's name would be longer than 128 bytes, or begin
    /// with `AWS`), `TooMany` (more than fit: ten to a fragment), `NoRecording` (the recording ended before a fragment began).
    pub not_stored: std::collections::BTreeMap<String, u64>,
}

/// Received video. Names are those of W3C WebRTC statistics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VideoStatus {
    /// Whether it is stored.
    pub state: TrackState,
    /// Why it is not, one CamelCase word: `NoKeyFrame`, `NoParameterSets`, `Incomplete`, `NotTheCodec`, `PayloadType`,
    /// `Undecryptable`, `Stopped`.
    pub reason: Option<String>,
    /// Pictures and packets that were received and not handed on, for whatever reason.
    pub withheld: u64,
    /// `H264`
    pub codec: String,
    /// `constrained-baseline`
    pub profile: String,
    /// Pixels.
    pub frame_width: u32,
    /// Pixels.
    pub frame_height: u32,
    /// Complete frames.
    pub frames_received: u64,
    /// IDR pictures among them.
    pub key_frames_received: u64,
    /// Frames that could not be completed, or could not be decoded without one that could not.
    pub frames_dropped: u64,
    /// RTP packets, without duplicates.
    pub packets_received: u64,
    /// RTP packets that never came.
    pub packets_lost: u64,
    /// Packets asked for again.
    pub nack_count: u64,
    /// Key frames asked for.
    pub pli_count: u64,
    /// What both kinds of track have.
    #[serde(flatten)]
    pub inbound: InboundStatus,
    /// Where its capture times come from.
    pub time: TimeStatus,
}

/// Where a track's capture times come from (`docs/time.md`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TimeStatus {
    /// `reports`: RTP timestamps, and sender reports that the packets confirm; `rtp`: RTP timestamps; `arrival`: RTP
    /// timestamps whose rate is wrong, scaled by when packets arrive; `none` before the first.
    pub source: String,
    /// By how many millionths the track's RTP timestamps go faster than time.
    pub rate_ppm: i64,
    /// Times that its RTP timestamps jumped, stood still or changed their rate.
    pub epochs: u64,
    /// Sender reports that contradicted the packets.
    pub reports_refused: u64,
}

/// One track of the newest connection (`RTCInboundRtpStreamStats`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InboundStatus {
    /// The SSRC that is received now.
    pub ssrc: Option<u32>,
    /// Bytes of RTP payload.
    pub bytes_received: u64,
    /// Bytes of RTP headers and padding, retransmissions included.
    pub header_bytes_received: u64,
    /// RTP packets that came and were of no use: too late, of another SSRC or payload type, malformed.
    pub packets_discarded: u64,
    /// RTP packets that came again.
    pub packets_duplicated: u64,
    /// Interarrival jitter (RFC 3550), seconds.
    pub jitter: f64,
    /// Sum over pictures, or packets of sound, of the time from the arrival of their first packet to being handed on, seconds:
    /// divided by `jitterBufferEmittedCount` it is what one waits.
    pub jitter_buffer_delay: f64,
    /// Pictures, or packets of sound, that were handed on.
    pub jitter_buffer_emitted_count: u64,
}

/// Received audio.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AudioStatus {
    /// Whether it is stored.
    pub state: TrackState,
    /// Why it is not: the words of video that fit.
    pub reason: Option<String>,
    /// Packets that were received and not handed on, for whatever reason.
    pub withheld: u64,
    /// `opus`
    pub codec: String,
    /// RTP packets, without duplicates.
    pub packets_received: u64,
    /// RTP packets that never came.
    pub packets_lost: u64,
    /// What both kinds of track have.
    #[serde(flatten)]
    pub inbound: InboundStatus,
    /// Where its capture times come from.
    pub time: TimeStatus,
    /// Silence that was written where no sound was received, milliseconds.
    pub silence_ms: u64,
    /// Sound that was played a little slower or faster to follow the sender's clock, milliseconds.
    pub retimed_ms: u64,
    /// Sound that was stored behind what sounded after it, milliseconds.
    pub late_ms: u64,
}

/// What became of the media at KVS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StreamStatus {
    /// Fragments that the service has acknowledged as persisted.
    pub fragments_persisted: u64,
    /// Producer time of the last of them, RFC 3339.
    pub last_persisted_at: Option<String>,
    /// Sent again after a connection broke.
    pub fragments_replayed: u64,
    /// Given up because the buffer was full.
    pub fragments_dropped: u64,
    /// Frames that came too late for their fragment, and are stored in a session of their own.
    pub frames_late: u64,
    /// Media that waits to be persisted.
    pub buffered_seconds: f64,
    /// PutMedia sessions since the start.
    pub sessions: u64,
}
