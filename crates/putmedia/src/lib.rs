//! A producer for Amazon Kinesis Video Streams' `PutMedia`, without IO.
//!
//! [`Producer`] is a state machine: encoded frames go in, the bytes of one Matroska document per PutMedia
//! session come out; the acknowledgements of the service go in, events come out. It owns no socket, no
//! thread and no clock: every call that depends on time takes `now`, so that a test runs hours of outages
//! in milliseconds.
//!
//! What it guarantees:
//!
//! - **One cluster is one fragment**, cut on random-access points only, never shorter than a second where
//!   that can be helped, never longer than the service accepts; every track of the session's header has a
//!   frame in every fragment; the first timestamp of a fragment is later than the last one of the fragment
//!   before in its session, over all tracks.
//! - **A frame keeps its time**, and its place in the order of decoding; none is moved, dropped or overwritten
//!   because of what its time is. Tracks that come with different delay wait for each other as long as is known
//!   to make sense. Where the order of a session does not allow a time (a clock was set back, video came late) an
//!   *epoch* begins, which is a session of its own; audio that is late is stored in one, too.
//! - **A session has one header.** New codec data, or another set of tracks, ends the fragment and the
//!   session, and a new one begins with the right header; a replayed fragment travels in a session with the
//!   header that it was recorded under.
//! - **A fragment is kept until the service has it** (`PERSISTED`, or `RECEIVED` for a stream that keeps
//!   nothing) and is sent again whole, with the same timecodes, after any failure. Memory is bounded; what
//!   does not fit goes to the [`spool`], if there is one, and else is dropped in whole fragments, oldest first,
//!   and counted.
//! - **Two producers follow each other.** One that is [held](Producer::hold) keeps what it has until the other has ended,
//!   and begins where the stream ends.
//!
//! The feature `transport` adds one HTTP/1.1 connection per session, signed by `kvs-aws`, and `disk` the spool's
//! folder.
//!
//! Sources: the [PutMedia API page](https://docs.aws.amazon.com/kinesisvideostreams/latest/dg/API_dataplane_PutMedia.html),
//! the [limits page](https://docs.aws.amazon.com/kinesisvideostreams/latest/dg/limits.html), RFC 9559 (Matroska)
//! and RFC 8794 (EBML).
#![forbid(unsafe_code)]

mod ack;
mod backoff;
mod block;
mod ebml;
mod error_id;
mod fragment;
mod fragment_event;
mod fragmenter;
mod frame;
mod host_clock;
mod interleave;
mod late;
mod leading;
mod matroska;
mod nal;
mod outgoing;
mod producer;
pub mod spool;
mod store;
mod tags;
mod track;
#[cfg(feature = "transport")]
pub mod transport;

pub use ack::{Ack, AckKind, AckParser};
pub use backoff::Backoff;
pub use fragment_event::{EventRefused, FragmentEvent};
pub use frame::{Frame, MediaTime};
pub use host_clock::HostClock;
pub use nal::{NalCodec, is_random_access, nal_length_size};
pub use producer::{
    CloseReason, DropReason, Event, Output, Producer, ProducerConfig, Refusal, SessionId, SessionStart,
    SpoolConfig, Statistics, Stored, Timecodes, Transmit, WhenFull,
};
pub use track::{Codec, TrackDetails, TrackFormat, TrackKind};
