//! What a producer tells.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::AckKind;
use crate::error_id::error_name;
use crate::spool::{SpoolKey, SpooledFragment};

/// One PutMedia session of a producer, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What to open a session with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionStart {
    /// Hand it back with everything that belongs to the session.
    pub id: SessionId,
    /// The `x-amzn-producer-start-timestamp`: milliseconds since the epoch.
    pub start_timestamp_ms: u64,
}

/// What the producer wants done, or tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Open a session; then call `handle_connected` or `handle_closed`.
    Connect(SessionStart),
    /// Drop the session's connection at once, without ending the body.
    Abort(SessionId),
    /// Write this into the spool; then call `handle_spilled`.
    Spill(SpoolKey, SpooledFragment),
    /// Read this from the spool; then call `handle_loaded`.
    Load(SpoolKey),
    /// Delete this from the spool, after everything that was asked for before.
    Delete(SpoolKey),
    /// For the application. Nothing has to be done for it but for [`Event::RefreshStream`] and
    /// [`Event::RefreshCredentials`].
    Event(Event),
}

/// What a producer tells of itself and of the service.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The service accepted the session.
    SessionOpened(SessionId),
    /// The session is over.
    SessionClosed {
        /// As it was given with [`Output::Connect`].
        id: SessionId,
        /// On purpose, or not.
        reason: CloseReason,
    },
    /// The service has said something of a fragment, or of the session.
    Ack {
        /// What it said.
        kind: AckKind,
        /// Timecode of the fragment in milliseconds since the epoch, also when the session counts relatively.
        timecode_ms: Option<u64>,
        /// The service's number of the fragment.
        fragment_number: Option<String>,
    },
    /// Media was given up.
    Dropped {
        /// Whole fragments; 0 where only frames went that were in none yet.
        fragments: u64,
        /// Frames of video and of audio, those of the fragments included.
        frames: [u64; 2],
        /// Bytes of the payload of these.
        bytes: u64,
        /// Which bound, or whose fault.
        reason: DropReason,
    },
    /// These frames of video and of audio came when the fragment of their time was closed already, or could not take
    /// their track: they are stored, in a session of their own.
    StoredLate {
        /// Since the last such event: video (never), audio.
        frames: [u64; 2],
    },
    /// What was held is in the stream already, from another producer: it is not sent.
    StoredElsewhere {
        /// At least one.
        fragments: u64,
        /// Their frames of video and of audio.
        frames: [u64; 2],
    },
    /// What was held has filled half of the memory: it is sent now, whoever else writes to the stream.
    HeldTooMuch,
    /// The video of a fragment begins with a picture that refers to what is not in it: a key frame would help.
    KeyFrameWanted,
    /// The spool held these fragments from before; they are sent first.
    Restored {
        /// At least one.
        fragments: u64,
        /// Their frames of video and of audio.
        frames: [u64; 2],
    },
    /// The spool could not do what was asked. The media stays in memory, if it was there.
    SpoolFailed {
        /// Names the file or folder, for people.
        message: String,
    },
    /// Ask the control plane for stream and endpoint again before the next session.
    RefreshStream,
    /// Get credentials anew before the next session.
    RefreshCredentials,
    /// The service reported an error.
    Error {
        /// `ErrorId` of an acknowledgement, or HTTP status.
        code: u32,
        /// Names fragment and error, for people.
        message: String,
        /// Nothing will be sent. Never of an acknowledgement: who drives the producer says so of the stream that it looks up.
        fatal: bool,
        /// Other credentials, or more permissions, are needed.
        denied: bool,
    },
    /// After `finish`: everything is acknowledged (or dropped).
    Drained,
}

/// Why media was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// The storage bound was exceeded.
    StorageFull,
    /// The bound of the spool was exceeded.
    SpoolFull,
    /// The spool could not give it back.
    SpoolDamaged,
    /// Nothing can be decoded before the first random-access point.
    BeforeKeyFrame,
    /// It arrived after the fragment of its time was closed, or the open fragment cannot take its track, and no more
    /// of that kind can wait.
    Late,
    /// Media was lost before it, and it cannot be decoded without.
    AfterLoss,
    /// Its track had no format yet.
    NoFormat,
    /// The service refuses the fragment, with this `ErrorId`.
    Refused(u32),
    /// The input was flushed.
    Flushed,
    /// Nobody waits for its acknowledgement any longer: [`Producer::abandon`](crate::Producer::abandon).
    NotConfirmed,
}

/// Why a session ended.
#[derive(Clone, Debug, PartialEq)]
pub enum CloseReason {
    /// The producer ended it: new header, age, silence, end of stream.
    Ended(&'static str),
    /// The connection failed or the service closed it.
    Lost(String),
    /// The service answered the request with an error.
    Refused {
        /// HTTP status, not 200.
        status: u16,
        /// `x-amz-ErrorType`, if there was one.
        error_type: Option<String>,
        /// The message of its body.
        message: String,
        /// What to do about it.
        refusal: Refusal,
    },
    /// No acknowledgement for too long.
    Stale,
    /// An ERROR acknowledgement with this `ErrorId`.
    ErrorAck(u32),
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseReason::Ended(why) => write!(f, "ended: {why}"),
            CloseReason::Lost(why) => write!(f, "connection lost: {why}"),
            CloseReason::Refused { status, error_type, message, .. } => {
                write!(f, "refused with HTTP {status} {}: {message}", error_type.as_deref().unwrap_or(""))
            }
            CloseReason::Stale => f.write_str("no acknowledgement for too long"),
            CloseReason::ErrorAck(id) => write!(f, "error {id} {}", error_name(*id)),
        }
    }
}

/// What an HTTP error answer to PutMedia asks for. `kvs-aws` tells it for the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Credentials are wrong, expired, or lack `kinesisvideo:PutMedia`: other ones are fetched.
    Denied,
    /// The stream is gone, or this is not its endpoint: the control plane is asked.
    NotFound,
    /// Throttling, a fault of the service, a request that is not accepted: nothing but another attempt.
    Other,
}

/// What a session's connection should do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Transmit {
    /// Send this, one after the other; it counts as sent. None is empty.
    Data(Vec<Bytes>),
    /// Nothing now; ask again after the next input.
    Wait,
    /// End the body.
    End,
}

/// Figures since the producer was made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    /// Frames taken in: video, audio.
    pub frames_in: [u64; 2],
    /// Frames given up: video, audio.
    pub frames_dropped: [u64; 2],
    /// Frames in fragments that were acknowledged: video, audio.
    pub frames_persisted: [u64; 2],
    /// Frames that are stored in a session of their own, because they came late: video (never), audio.
    pub frames_late: [u64; 2],
    /// Sessions that began because time went back (a clock, a track that came later than it was waited for).
    pub epochs: u64,
    /// How far the frames of video and of audio lie behind the other track when they arrive, lately at most.
    pub track_distance: [Duration; 2],
    /// Fragments sent whole, replays included.
    pub fragments_sent: u64,
    /// RECEIVED acknowledgements: more than fragments, if some are sent again.
    pub fragments_received: u64,
    /// Fragments that the service has for good.
    pub fragments_persisted: u64,
    /// Fragments started again after a failure.
    pub fragments_replayed: u64,
    /// Fragments given up.
    pub fragments_dropped: u64,
    /// Tags that are with no fragment that is stored: those of fragments given up, those that the service refused (4009), and those
    /// for which no fragment began any more.
    pub tags_dropped: u64,
    /// Fragments that were not sent because the stream had them from another producer.
    pub fragments_stored_elsewhere: u64,
    /// Fragments that the spool held from before.
    pub fragments_restored: u64,
    /// Their frames: video, audio.
    pub frames_restored: [u64; 2],
    /// Fragments that were written to the spool.
    pub fragments_spooled: u64,
    /// What the spool could not do.
    pub spool_failures: u64,
    /// Bytes of files in the spool.
    pub spooled_bytes: u64,
    /// Bytes handed to connections.
    pub bytes_sent: u64,
    /// Bytes in memory that wait or are not yet acknowledged.
    pub buffered_bytes: u64,
    /// The media time that waits or is not yet acknowledged, in memory or in the spool.
    pub buffered_duration: Duration,
    /// Fragments that wait or are not yet acknowledged, in memory or in the spool.
    pub buffered_fragments: u64,
    /// Their frames: video, audio.
    pub buffered_frames: [u64; 2],
    /// Sessions that the service accepted.
    pub sessions: u64,
    /// Sessions that ended otherwise than on purpose, refused ones included.
    pub session_failures: u64,
    /// Start of the last fragment that the service has for good: milliseconds since the epoch.
    pub last_persisted_timecode_ms: Option<u64>,
    /// Time from the last frame of that fragment to its acknowledgement.
    pub persisted_lag: Option<Duration>,
    /// Acknowledgements that could not be understood.
    pub acks_skipped: u64,
}
