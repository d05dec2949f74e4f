//! Publishes H.264 and AAC to an RTMP server, without IO.
//!
//! ```text
//! pictures, sound ─► Live (order, bounds, silence) ─► Tag (FLV) ─► Publisher (commands, chunks) ─► bytes
//! ```
//!
//! - [`Destination`] is where to, read as OBS and ffmpeg read it, and never shows its stream key.
//! - [`Live`] is a queue that prefers being now to being whole: it puts both tracks in one order, waits for one of
//!   them for as long as it is known to need, and leaves out whole groups of pictures, counted, when the server does not keep up.
//! - [`Publisher`] is one connection: handshake, `connect`, `createStream`, `publish`, and then media.
//! - [`ivs`] says what Amazon IVS would not like of the media.
//!
//! None of them has a socket or a clock of its own, and nothing that a server can send makes them panic or grow without
//! bound. The chunk stream and AMF0 are those of the crate `rtmp-runtime`; `docs/rtmp.md` says why.
//!
//! Sources: Adobe's RTMP specification 1.0, and the FLV part of "Adobe Flash Video File Format Specification" 10.1.
#![forbid(unsafe_code)]

mod aac;
mod destination;
mod flv;
pub mod ivs;
mod live;
mod media;
mod publisher;

pub use aac::{AacConfig, AacError};
pub use destination::{Destination, DestinationError};
pub use flv::{Tag, TagKind};
pub use live::{Counts, DropReason, Figures, Live, LiveConfig, Track, Tracks};
pub use media::{Picture, Sound, VideoParameters};
pub use publisher::{PublishError, Publisher, Step};
