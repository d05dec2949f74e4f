//! One WebRTC connection that only receives, sans-IO (RFC 8825 and what it names): it writes an offer, reads the
//! master's answer, and turns datagrams into RTP packets and sender reports.
//!
//! [`Receiver`] is the front. ICE, DTLS, SRTP and TURN are the `rtc` family's; the offer, the answer, which packet belongs
//! to which track, and the feedback are written here: what is not declared is still media. Data channels are asked for only
//! where they are wanted, and nothing is sent over them.
//!
//! No sockets, no threads, no clock of its own; nothing that a master can send makes it panic or grow without bound.
#![forbid(unsafe_code)]

mod config;
mod congestion;
mod data;
mod demux;
mod destinations;
mod dtls;
mod estimate;
mod event;
mod figures;
mod framing;
mod gather;
mod nack;
mod path;
mod receiver;
mod remb;
mod rtcp;
mod rtp;
pub mod sdp;
mod server;
mod sources;
mod srtp;
mod statistics;
mod streams;
mod transmit;
mod twcc;

pub use config::{Config, IceServer, TurnStream};
pub use data::{DataConfig, DataFigures, Message};
pub use destinations::Destinations;
pub use event::{Event, Stage};
pub use figures::{Figures, Pair, RelayProtocol, ServerFigures, Side, Traffic};
pub use kvs_media::MediaKind;
pub use nack::PACKET_COST;
pub use receiver::{MAX_REMOTE_CANDIDATES, Receiver, ReceiverError};
pub use streams::{StreamAction, StreamTransmit};
pub use transmit::Transmit;
