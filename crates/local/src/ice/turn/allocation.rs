//! [`Allocation`]: a client's relay, whom it reaches, and by which channels.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use stun::agent::TransactionId;

use super::io::RelayId;

/// Life of a permission (RFC 8656 section 9).
pub(super) const PERMISSION: Duration = Duration::from_secs(300);
/// Life of a channel's binding (RFC 8656 section 12).
const BINDING: Duration = Duration::from_secs(600);
/// Peers that an allocation has permissions for, and as many channels. Full: 508, until some have ended. A browser asks for
/// one for each candidate of the other side.
const MAX_PEERS: usize = 256;

#[derive(Debug)]
pub(super) struct Allocation {
    pub(super) username: String,
    /// ARN of the channel that its credential is for.
    pub(super) channel: String,
    /// Of the request that made it, which may come again.
    pub(super) transaction: TransactionId,
    pub(super) relay: RelayId,
    /// The relay as peers see it.
    pub(super) relayed: SocketAddr,
    /// Of the port beside it, if that is kept for the client.
    pub(super) token: Option<[u8; 8]>,
    pub(super) ends: Instant,
    permissions: HashMap<IpAddr, Instant>,
    channels: HashMap<u16, (SocketAddr, Instant)>,
    peers: HashMap<SocketAddr, u16>,
}

/// Why a channel is not bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotBound {
    /// The number has another peer, or the peer another number.
    Taken,
    /// There are too many.
    Full,
}

impl Allocation {
    pub(super) fn new(
        username: String,
        channel: String,
        transaction: TransactionId,
        (relay, relayed): (RelayId, SocketAddr),
        token: Option<[u8; 8]>,
        ends: Instant,
    ) -> Self {
        Self {
            username,
            channel,
            transaction,
            relay,
            relayed,
            token,
            ends,
            permissions: HashMap::new(),
            channels: HashMap::new(),
            peers: HashMap::new(),
        }
    }

    /// Lets these peers in, all or none; `false`: there are too many.
    pub(super) fn permit(&mut self, peers: &[SocketAddr], now: Instant) -> bool {
        let new = peers.iter().filter(|peer| !self.permissions.contains_key(&peer.ip())).count();
        if self.permissions.len() + new > MAX_PEERS {
            return false;
        }
        self.permissions.extend(peers.iter().map(|peer| (peer.ip(), now + PERMISSION)));
        true
    }

    pub(super) fn permits(&self, peer: IpAddr, now: Instant) -> bool {
        self.permissions.get(&peer).is_some_and(|ends| *ends > now)
    }

    /// Binds a channel to a peer, or keeps it bound; the peer is permitted with it.
    pub(super) fn bind(&mut self, number: u16, peer: SocketAddr, now: Instant) -> Result<(), NotBound> {
        let mine = self.channels.get(&number).filter(|(_, ends)| *ends > now);
        let its = self.peers.get(&peer).filter(|number| self.is_bound(**number, now));
        if mine.is_some_and(|(bound, _)| *bound != peer) || its.is_some_and(|bound| *bound != number) {
            return Err(NotBound::Taken);
        }
        let is_new = !self.channels.contains_key(&number);
        if (is_new && self.channels.len() >= MAX_PEERS) || !self.permit(&[peer], now) {
            return Err(NotBound::Full);
        }
        if let Some((before, _)) = self.channels.insert(number, (peer, now + BINDING))
            && before != peer
        {
            self.peers.remove(&before);
        }
        if let Some(before) = self.peers.insert(peer, number)
            && before != number
        {
            self.channels.remove(&before);
        }
        Ok(())
    }

    fn is_bound(&self, number: u16, now: Instant) -> bool {
        self.channels.get(&number).is_some_and(|(_, ends)| *ends > now)
    }

    /// The peer that a channel leads to.
    pub(super) fn peer_of(&self, number: u16, now: Instant) -> Option<SocketAddr> {
        self.channels.get(&number).filter(|(_, ends)| *ends > now).map(|(peer, _)| *peer)
    }

    /// The channel that leads to a peer.
    pub(super) fn channel_of(&self, peer: SocketAddr, now: Instant) -> Option<u16> {
        self.peers.get(&peer).copied().filter(|number| self.is_bound(*number, now))
    }

    /// Forgets what has ended.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.permissions.retain(|_, ends| *ends > now);
        self.channels.retain(|_, (_, ends)| *ends > now);
        self.peers.retain(|_, number| self.channels.contains_key(number));
    }
}
