//! What the agent's `/status` says of its connections: signaling, the way to the first stored fragment, ICE. Names are those
//! of W3C's *Identifiers for WebRTC's Statistics API* and of the "client metrics" of the KVS WebRTC developer guide, where
//! those have one; times are in seconds, as W3C has them.

use serde::{Deserialize, Serialize};

/// The signaling client since the process began (`SignalingClientStats` of the SDK in C).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SignalingStatus {
    /// How long calls of the control plane take, seconds: an exponential moving average, the newest counts for a fifth.
    /// DescribeSignalingChannel, DescribeMediaStorageConfiguration, GetSignalingChannelEndpoint.
    pub cp_api_call_latency: f64,
    /// The same of GetIceServerConfig.
    pub dp_api_call_latency: f64,
    /// For how long the socket has been up, seconds; 0 while there is none.
    pub connection_duration: f64,
    /// Offers and candidates that went out.
    pub number_of_messages_sent: u64,
    /// Messages of all kinds that came.
    pub number_of_messages_received: u64,
    /// Times that GetIceServerConfig was answered.
    pub ice_refresh_count: u64,
    /// Calls, and openings of the socket, that failed.
    pub number_of_errors: u64,
    /// What went wrong on an open socket: a message that was refused, unreadable or not sent, a socket that closed by itself.
    pub number_of_runtime_errors: u64,
    /// Sockets that were opened after the first.
    pub number_of_reconnects: u64,
}

/// Attempts at a connection to the master.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConnectingStatus {
    /// The newest, whether it is under way, stands or has ended.
    pub current: Option<AttemptStatus>,
    /// The one before; of those that merely waited for a master in vain, none.
    pub last: Option<AttemptStatus>,
}

/// One attempt, from the first call that it took to the first fragment that was stored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AttemptStatus {
    /// From 1.
    pub attempt: u64,
    /// The viewer's id on the channel.
    pub client_id: String,
    /// When it began, RFC 3339.
    pub began: String,
    /// What it got done, in this order.
    pub steps: Vec<StepStatus>,
    /// When it ended, seconds after it began; absent while it has not.
    pub ended_after_seconds: Option<f64>,
    /// Why, one CamelCase word; absent when it was closed without a failure.
    pub reason: Option<String>,
    /// The same in a sentence, with the remedy where there is one.
    pub message: Option<String>,
}

/// One step of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StepStatus {
    /// `DescribeSignalingChannel`, `DescribeMediaStorageConfiguration`, `GetSignalingChannelEndpoint`, `ConnectAsViewer`,
    /// `GetIceServerConfig`, `Answer`, `Ice`, `Dtls`, `FirstPacket`, `FirstKeyFrame` or `FirstPersisted`.
    pub step: String,
    /// How long it took.
    pub seconds: f64,
    /// When it was done, seconds after the attempt began.
    pub after_seconds: f64,
}

/// A STUN or TURN server that the newest connection asks, by one way (`RTCIceServerStats` of the SDK in C).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IceServerStatus {
    /// `turn:192.0.2.7:443?transport=udp`: as it was given, or with the address that its name has; never a credential.
    pub url: String,
    /// `udp`, `tcp` or `tls`.
    pub protocol: String,
    /// STUN and TURN requests, repeated ones included.
    pub total_requests_sent: u64,
    /// Answers to them, refusals included.
    pub total_responses_received: u64,
    /// Sum over the answers of the time since their request was last sent, seconds.
    pub total_round_trip_time: f64,
    /// It gave what it was asked for: a reflexive address, or a relay.
    pub useful: bool,
}

/// One end of the pair that media comes over (`RTCIceCandidateStats`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CandidateStatus {
    /// `host`, `srflx`, `prflx` or `relay`.
    pub candidate_type: String,
    /// IP address; of a relayed candidate, at the relay.
    pub address: String,
    /// UDP port.
    pub port: u16,
    /// RFC 8445, section 5.1.2.
    pub priority: u32,
    /// By what a relay of our own is reached: `udp`, `tcp` or `tls`. Of local candidates only.
    pub relay_protocol: Option<String>,
}

/// The pair that media comes over (`RTCIceCandidatePairStats`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CandidatePairStatus {
    /// Ours.
    pub local: CandidateStatus,
    /// The master's.
    pub remote: CandidateStatus,
    /// ICE chose it for media.
    pub nominated: bool,
    /// Datagrams of DTLS, SRTP and SRTCP that went to the master. ICE checks do not count.
    pub packets_sent: u64,
    /// Their bytes, without IP and UDP headers.
    pub bytes_sent: u64,
    /// The same that came from the master.
    pub packets_received: u64,
    /// Their bytes, without IP and UDP headers.
    pub bytes_received: u64,
    /// ICE checks that were sent on it.
    pub requests_sent: u64,
    /// Answers to those.
    pub responses_received: u64,
    /// Sum over these of their round trips, seconds.
    pub total_round_trip_time: f64,
    /// Round trip of the newest, seconds; absent before the first.
    pub current_round_trip_time: Option<f64>,
}
