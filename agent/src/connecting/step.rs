//! The steps.

/// One step on the way, in the order in which they are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// DescribeSignalingChannel, with making the channel where that is asked for.
    Describe,
    /// DescribeMediaStorageConfiguration.
    MediaStorage,
    /// GetSignalingChannelEndpoint.
    Endpoint,
    /// ConnectAsViewer: TCP, TLS and the handshake of the WebSocket.
    Connect,
    /// GetIceServerConfig.
    IceServers,
    /// From the newest offer to its answer.
    Answer,
    /// From the answer to a pair of candidates that works.
    Ice,
    /// From that to the keys of SRTP.
    Dtls,
    /// From that to the first RTP packet.
    FirstPacket,
    /// From that to the first picture that is handed on, an IDR or a recovery point; without video to the first sound.
    FirstKeyFrame,
    /// From that to the first PERSISTED of a fragment of this connection's media.
    FirstPersisted,
}

impl Step {
    /// All of them, in their order.
    pub const ALL: [Self; 11] = [
        Self::Describe,
        Self::MediaStorage,
        Self::Endpoint,
        Self::Connect,
        Self::IceServers,
        Self::Answer,
        Self::Ice,
        Self::Dtls,
        Self::FirstPacket,
        Self::FirstKeyFrame,
        Self::FirstPersisted,
    ];

    /// In `/status`, the log and the label `step`: the service's own name of a call, else one CamelCase word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Describe => "DescribeSignalingChannel",
            Self::MediaStorage => "DescribeMediaStorageConfiguration",
            Self::Endpoint => "GetSignalingChannelEndpoint",
            Self::Connect => "ConnectAsViewer",
            Self::IceServers => "GetIceServerConfig",
            Self::Answer => "Answer",
            Self::Ice => "Ice",
            Self::Dtls => "Dtls",
            Self::FirstPacket => "FirstPacket",
            Self::FirstKeyFrame => "FirstKeyFrame",
            Self::FirstPersisted => "FirstPersisted",
        }
    }

    /// A call of the control plane (`cpApiCallLatency` of the SDK in C).
    pub fn is_control_plane(self) -> bool {
        matches!(self, Self::Describe | Self::MediaStorage | Self::Endpoint)
    }

    /// Of a peer connection, and from the step before it to this one; the others have a length of their own.
    pub fn is_of_peer(self) -> bool {
        self >= Self::Answer
    }
}
