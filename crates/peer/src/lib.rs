//! One WebRTC connection that only receives, sans-IO (RFC 8825 and what it names): it writes an offer, reads the
//! master's answer, and turns datagrams into RTP packets and sender reports.
//!
//! No sockets, no threads, no clock of its own; nothing that a master can send makes it panic or grow without bound.
#![forbid(unsafe_code)]

pub mod sdp;
