//! What a producer can be told.

use std::time::Duration;

/// How the timecodes of clusters count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timecodes {
    /// Milliseconds since the Unix epoch.
    Absolute,
    /// Milliseconds since the session's start timestamp.
    Relative,
}

/// What happens when `storage_bytes` are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Live input: whole fragments are dropped, oldest first, and counted.
    DropOldest,
    /// Input that can wait: nothing is dropped; the caller must hold back while
    /// [`Producer::has_room`](crate::Producer::has_room) says no.
    Block,
}

/// A spool on disk behind the storage in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolConfig {
    /// Bytes of files that it may hold. When that is not enough, whole fragments are dropped, oldest first.
    pub bytes: u64,
    /// A fragment that was not acknowledged so long after its last frame is written, and at once while there is no
    /// session: what is on disk outlives the process.
    pub after: Duration,
}

impl SpoolConfig {
    /// A spool of this size.
    pub fn new(bytes: u64) -> Self {
        Self { bytes, after: Duration::from_secs(5) }
    }
}

/// Settings of a [`Producer`](crate::Producer). The defaults are those of the element `kvssink`.
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    /// Fragment length aimed at where a key frame does not decide it.
    pub fragment_duration: Duration,
    /// Cut at every random-access point, not only after `fragment_duration`.
    pub key_frame_fragmentation: bool,
    /// No cut earlier than this after the last one (the service asks for a second).
    pub min_fragment: Duration,
    /// A cut is forced here, key frame or not (the service accepts 20 s, a block's time 32.767 s).
    pub max_fragment: Duration,
    /// Timecode unit in milliseconds. 0 is taken as 1.
    pub timecode_scale_ms: u32,
    /// Absolute or relative timecodes.
    pub timecodes: Timecodes,
    /// Bytes of fragments kept until they are acknowledged.
    pub storage_bytes: usize,
    /// Media time kept until it is acknowledged.
    pub buffer_duration: Duration,
    /// What gives when one of the two is exceeded, and the spool (if there is one) cannot take more.
    pub when_full: WhenFull,
    /// Where fragments go that memory does not hold. Nothing is sent before
    /// [`Producer::spool_opened`](crate::Producer::spool_opened) or
    /// [`spool_unavailable`](crate::Producer::spool_unavailable) said what is in it.
    pub spool: Option<SpoolConfig>,
    /// Acknowledgements are asked for. Without them a fragment counts as stored once it is sent.
    pub fragment_acks: bool,
    /// How much longer than the input's latency a frame waits for earlier ones of the other track, at least. When the
    /// tracks show that they are further apart, it waits for that.
    pub interleave_wait: Duration,
    /// How long a track waits for the first frame of the other one.
    pub first_frame_wait: Duration,
    /// After this long without frames the open fragment is ended.
    pub silence: Duration,
    /// After this long without frames, and with everything acknowledged, the session is ended (the service
    /// ends one after 30 s without data).
    pub idle: Duration,
    /// Sent data without any acknowledgement for this long means a dead connection; so does a fragment that was
    /// received and is not persisted after this long.
    pub staleness: Duration,
    /// A session is replaced at the first cut after this long (the service ends one after 45 min).
    pub session_max: Duration,
    /// How long the end of a session waits for its last acknowledgements when it is replaced.
    pub ack_wait: Duration,
    /// First and last ceiling of the delay between attempts to connect.
    pub backoff: (Duration, Duration),
    /// Least time between the starts of two sessions (the service accepts five a second).
    pub min_session_interval: Duration,
    /// Marks all sessions of this producer as one recording.
    pub segment_uid: [u8; 16],
    /// Seed of the jitter.
    pub seed: u64,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            fragment_duration: Duration::from_secs(2),
            key_frame_fragmentation: true,
            min_fragment: Duration::from_secs(1),
            max_fragment: Duration::from_secs(19),
            timecode_scale_ms: 1,
            timecodes: Timecodes::Absolute,
            storage_bytes: 128 << 20,
            buffer_duration: Duration::from_secs(120),
            when_full: WhenFull::DropOldest,
            spool: None,
            fragment_acks: true,
            interleave_wait: Duration::from_secs(1),
            first_frame_wait: Duration::from_secs(5),
            silence: Duration::from_secs(20),
            idle: Duration::from_secs(25),
            staleness: Duration::from_secs(60),
            session_max: Duration::from_secs(40 * 60),
            ack_wait: Duration::from_secs(10),
            backoff: (Duration::from_millis(250), Duration::from_secs(30)),
            min_session_interval: Duration::from_millis(200),
            segment_uid: [0x6b; 16],
            seed: 1,
        }
    }
}
