//! The session's deadlines.

use std::time::Duration;

/// Every deadline of the session, so that tests and slow masters can have others.
#[derive(Clone, Debug)]
pub struct Timing {
    /// Longest look-up of the channel.
    pub resolve: Duration,
    /// Longest opening of the signaling socket.
    pub open_signaling: Duration,
    /// Longest building of a peer, with its ICE servers.
    pub create_peer: Duration,
    /// Between offers while the offer is young.
    pub reoffer: Duration,
    /// How long an offer is young; later it is renewed once per 0.9 of the channel's message TTL.
    pub reoffer_for: Duration,
    /// Between the first offers after the master has said goodbye: it may be back any moment.
    pub reoffer_soon: Duration,
    /// Unanswered for longer than this, there is no master.
    pub no_master: Duration,
    /// A peer that waits longer is built anew: its TURN credentials live for five minutes.
    pub peer_waits: Duration,
    /// From the answer to ICE and DTLS being up.
    pub connect: Duration,
    /// Without RTP for this long, ask for a key frame; where silences are usual, after those.
    pub media_stalls: Duration,
    /// Without RTP for this long from a master that no longer answers ICE checks, begin anew.
    pub media_timeout: Duration,
    /// The most that is added to `media_timeout` for a master that was given up too early.
    pub media_timeout_cap: Duration,
    /// Without RTP for this long from a master that answers ICE checks, begin anew. Grows with the
    /// silences that master is seen to keep, and doubles while beginning anew does not help.
    pub media_patience: Duration,
    /// The most that `media_patience` grows to.
    pub media_patience_cap: Duration,
    /// Media must flow for this long before old failures are forgotten.
    pub stable: Duration,
    /// The signaling socket is replaced at this age (up to a tenth later), before the service's
    /// hour is over.
    pub rotate_signaling: Duration,
    /// At most three new client ids in this time, not counting those whose connection the master
    /// ended itself: a master keeps a slot of its ten for each, for up to 45 s.
    pub id_window: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            resolve: Duration::from_secs(30),
            open_signaling: Duration::from_secs(20),
            create_peer: Duration::from_secs(20),
            reoffer: Duration::from_secs(6),
            reoffer_for: Duration::from_secs(60),
            reoffer_soon: Duration::from_secs(2),
            no_master: Duration::from_secs(3),
            peer_waits: Duration::from_secs(270),
            connect: Duration::from_secs(20),
            media_stalls: Duration::from_secs(3),
            media_timeout: Duration::from_secs(5),
            media_timeout_cap: Duration::from_secs(60),
            media_patience: Duration::from_secs(30),
            media_patience_cap: Duration::from_secs(300),
            stable: Duration::from_secs(2),
            rotate_signaling: Duration::from_secs(50 * 60),
            id_window: Duration::from_secs(60),
        }
    }
}
