//! A TURN server (RFC 8656) without sockets and without a clock: what comes from clients and peers goes in, with the time,
//! and what is to be sent comes out.
//!
//! It is the service's: UDP relays, long-term credentials that end, 50 allocations and 5 Mbit/s a channel where the quotas
//! are on. TCP relays (RFC 6062), mobility and DTLS are not there.

mod allocation;
mod budget;
mod frame;
mod io;
mod message;
mod nonce;
mod server;
#[cfg(test)]
mod tests;

pub(super) use self::frame::{Frame, next_frame};
pub(super) use self::io::{At, Client, Link, Opened, Output, RelayId, Relays};
pub(crate) use self::server::Figures;
pub(super) use self::server::{Settings, Turn};
