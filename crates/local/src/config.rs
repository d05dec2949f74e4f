//! [`Config`]: everything that can be said to a [`Server`](crate::Server) before it starts.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use http::Uri;

use crate::{auth::AccessKey, origin::Origin};

/// How to run KVS on localhost.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address of the plain HTTP and WebSocket listener; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Folder of everything that is kept. Made when missing; one process at a time.
    pub data: PathBuf,
    /// Address of the TLS listener, which is off when `None`.
    pub tls_listen: Option<SocketAddr>,
    /// Address of the listener of `/metrics`, `/livez` and `/readyz`, which is off when `None`.
    pub metrics_listen: Option<SocketAddr>,
    /// Names and addresses that the TLS certificate holds beside localhost, 127.0.0.1 and ::1.
    pub tls_names: Vec<String>,
    /// Whether signatures are verified.
    pub auth: bool,
    /// The keys that callers may sign with.
    pub access_keys: Vec<AccessKey>,
    /// Pages that may call where no secret keeps them out: without `auth`, or with the keys of the documentation.
    pub allow_origins: Vec<Origin>,
    /// Whether `/_kvs/` answers to others than this machine: whoever reads it can make every call.
    pub console_public: bool,
    /// Folder of the built web page.
    pub web: Option<PathBuf>,
    /// Folder of the buckets that image generation writes to; `s3` in the data folder without.
    pub s3_folder: Option<PathBuf>,
    /// Whom notifications are posted to, as by SNS, beside the files in the data folder's `sns`.
    pub sns_url: Option<SnsUrl>,
    /// Region of callers that do not say theirs (`auth` off), and of the web page.
    pub region: String,
    /// Address of the TURN server, for UDP, TCP and TLS; relays listen on the same IP.
    pub turn_listen: SocketAddr,
    /// The IP by which clients reach the TURN server and peers its relays. `None`: the one that is listened on; of a
    /// server on every address (of `[::]` for callers over IPv6), the host that the client called us by, and for relays the
    /// address of the default route. An unspecified one, or one of another family than `turn_listen`'s, is refused.
    pub turn_advertise: Option<IpAddr>,
    /// The ports of relays; any that is free without.
    pub turn_relay_ports: Option<RelayPorts>,
    /// Lifetime of TURN credentials. The service uses 300 s; its model allows 30 s to 24 h.
    pub ice_ttl: Duration,
    /// Times and numbers of the signaling service.
    pub signaling: SignalingLimits,
    /// Times and numbers of PutMedia.
    pub put_media: PutMediaLimits,
    /// Times and numbers of storage sessions.
    pub storage: StorageLimits,
    /// Whether the service's quotas hold, also those that only get in the way on one machine: rates of
    /// calls, TURN allocations and bitrate.
    pub quotas: bool,
    /// How long channels and streams are between two states; `POST /_kvs/states` changes it.
    pub states: StateTimes,
}

impl Config {
    /// The defaults: a free port on 127.0.0.1, no TLS, signatures verified, no keys.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        let loopback = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        Self {
            listen: loopback,
            data: data.into(),
            tls_listen: None,
            metrics_listen: None,
            tls_names: Vec::new(),
            auth: true,
            access_keys: Vec::new(),
            allow_origins: Vec::new(),
            console_public: false,
            web: None,
            s3_folder: None,
            sns_url: None,
            region: "us-east-1".to_owned(),
            turn_listen: loopback,
            turn_advertise: None,
            turn_relay_ports: None,
            ice_ttl: Duration::from_secs(300),
            signaling: SignalingLimits::default(),
            put_media: PutMediaLimits::default(),
            storage: StorageLimits::default(),
            quotas: false,
            states: StateTimes::default(),
        }
    }
}

/// A URL of the scheme `http` that notifications are posted to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnsUrl(pub(crate) Uri);

impl FromStr for SnsUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri = text.parse::<Uri>().ok().filter(|uri| uri.scheme_str() == Some("http"));
        let has_host = |uri: &Uri| uri.host().is_some_and(|host| !host.is_empty());
        uri.filter(has_host).map(Self).ok_or("must be a URL like http://127.0.0.1:8080/topic")
    }
}

/// How long a channel or a stream is CREATING, UPDATING and DELETING; by default no time at all. The service takes seconds,
/// and promises nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StateTimes {
    /// From its creation on.
    pub creating: Duration,
    /// From a change of its settings on.
    pub updating: Duration,
    /// From its deletion on, until it is gone and its name is free.
    pub deleting: Duration,
}

/// A range of UDP ports, from 1 on, as `FIRST-LAST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayPorts {
    first: u16,
    last: u16,
}

impl RelayPorts {
    /// How many they are, at least one.
    pub(crate) fn count(self) -> u32 {
        u32::from(self.last - self.first) + 1
    }

    pub(crate) fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// All of them, from the one with this index on and around.
    pub(crate) fn from(self, start: u32) -> impl Iterator<Item = u16> {
        let (first, count) = (u32::from(self.first), self.count());
        (0..count).filter_map(move |index| u16::try_from(first + (start + index) % count).ok())
    }
}

impl FromStr for RelayPorts {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
        let ports = text.split_once('-').and_then(|(first, last)| Some((port(first)?, port(last)?)));
        match ports {
            Some((first, last)) if first <= last => Ok(Self { first, last }),
            _ => Err("must be a range of ports, like 49160-49200"),
        }
    }
}

/// The limits of a signaling connection (KVS developer guide, "Kinesis Video Streams with WebRTC service quotas").
#[derive(Debug, Clone)]
pub struct SignalingLimits {
    /// A connection without any frame for this long is closed.
    pub idle: Duration,
    /// A connection lives this long.
    pub connection: Duration,
    /// `GO_AWAY` is sent this long before the end of a connection; with zero there is no `GO_AWAY`, only the close.
    pub go_away: Duration,
    /// Viewers per channel.
    pub viewers: usize,
    /// Offers per second and connection; answers likewise.
    pub sdp_per_second: u32,
    /// Candidates per second and connection.
    pub candidates_per_second: u32,
    /// Handshakes per second, channel and role.
    pub connects_per_second: u32,
}

impl Default for SignalingLimits {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(600),
            connection: Duration::from_secs(3600),
            go_away: Duration::from_secs(60),
            viewers: 10,
            sdp_per_second: 5,
            candidates_per_second: 20,
            connects_per_second: 3,
        }
    }
}

/// The limits of PutMedia (KVS developer guide, "Kinesis Video Streams quotas").
#[derive(Debug, Clone)]
pub struct PutMediaLimits {
    /// Sessions of one stream at a time. A producer that renews its credentials has two for some seconds.
    pub connections: usize,
    /// A session lives this long, and ends with error 4003.
    pub lifetime: Duration,
    /// Silence after which an `IDLE` acknowledgement is sent, and again each time it has passed.
    pub idle_ack: Duration,
    /// Silence after which a session is closed.
    pub idle: Duration,
    /// What a fragment may be.
    pub fragment: FragmentLimits,
}

impl Default for PutMediaLimits {
    fn default() -> Self {
        Self {
            connections: 2,
            lifetime: Duration::from_secs(45 * 60),
            idle_ack: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            fragment: FragmentLimits::default(),
        }
    }
}

/// What a fragment and its session may be (KVS developer guide, "Kinesis Video Streams quotas").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FragmentLimits {
    /// Bytes of a fragment.
    pub fragment_bytes: u64,
    /// Milliseconds of a fragment.
    pub fragment_ms: u64,
    /// Tracks of a session.
    pub tracks: usize,
    /// Metadata of a fragment.
    pub tags: usize,
    /// Bytes of a metadata name.
    pub tag_name: usize,
    /// Bytes of a metadata value.
    pub tag_value: usize,
}

impl Default for FragmentLimits {
    fn default() -> Self {
        Self {
            fragment_bytes: 50_000_000,
            fragment_ms: 20_000,
            tracks: 3,
            tags: 10,
            tag_name: 128,
            tag_value: 256,
        }
    }
}

/// The limits of a storage session (KVS developer guide, "WebRTC ingestion" quotas; API reference,
/// JoinStorageSessionAsViewer).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StorageLimits {
    /// It lives this long.
    pub session: Duration,
    /// Without any media of a master for so long it ends.
    pub idle: Duration,
    /// Viewers that take part.
    pub viewers: usize,
    /// How long the place of a viewer that has left is kept for it.
    pub place: Duration,
}

impl Default for StorageLimits {
    fn default() -> Self {
        Self {
            session: Duration::from_secs(3600),
            idle: Duration::from_secs(180),
            viewers: 3,
            place: Duration::from_secs(60),
        }
    }
}
