//! Opens SRTP and SRTCP. A source is remembered once a packet of it is authentic, and not before.
//!
//! `rtc-srtp` makes the state of a source (its rollover counter, its replay window of half a kilobyte) when a packet names
//! it, keeps it whether or not the packet can be opened, and cannot let go of it: whoever sends packets from the master's
//! address, or makes them look so, would fill the memory with sources that do not exist. So the first packets of a source
//! are opened by a context of their own that is thrown away before it is large.

use bytes::{Bytes, BytesMut};
use rtc_crypto::RTCCryptoProvider;
use rtc_shared::error::Error;
use rtc_srtp::context::Context;
use rtc_srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use rtc_srtp::protection_profile::ProtectionProfile;
use std::collections::HashSet;
use std::sync::Arc;

/// Packets: a burst of retransmissions comes late, and is no replay.
const REPLAY_WINDOW: usize = 4096;

/// Authentic sources of each kind; a master has a handful, and one that changes them at every key frame has had some hours
/// then. Packets of more are not opened: without media the session begins anew.
const MAX_SOURCES: usize = 1024;

/// Sources that a trial context may hold: some kilobytes. A new one costs as much as opening a few packets.
const MAX_TRIALS: usize = 64;

/// What was opened of a datagram.
pub(crate) enum Opened {
    Rtp(Bytes),
    Rtcp(BytesMut),
}

/// The keys of one direction.
pub(crate) struct MasterKeys {
    pub(crate) key: Vec<u8>,
    pub(crate) salt: Vec<u8>,
    pub(crate) profile: ProtectionProfile,
}

impl MasterKeys {
    /// A context that does not look for replays.
    pub(crate) fn context(&self, provider: &Arc<dyn RTCCryptoProvider>) -> Result<Context, Error> {
        Context::new(&self.key, &self.salt, self.profile, None, None, provider.crypto())
    }

    /// SRTCP has a tag of its own behind the cipher (RFC 3711), rather than being AEAD.
    fn is_aes_cm(&self) -> bool {
        matches!(
            self.profile,
            ProtectionProfile::Aes128CmHmacSha1_32
                | ProtectionProfile::Aes128CmHmacSha1_80
                | ProtectionProfile::Aes256CmHmacSha1_32
                | ProtectionProfile::Aes256CmHmacSha1_80
        )
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Rtp,
    Rtcp,
}

impl Protocol {
    /// RFC 5761, section 4: packet types of RTCP are 192 to 223 in the second byte.
    fn of(data: &[u8]) -> Self {
        if matches!(data.get(1), Some(192..=223)) { Self::Rtcp } else { Self::Rtp }
    }

    fn ssrc(self, data: &[u8]) -> Option<u32> {
        let at = match self {
            Self::Rtp => 8,
            Self::Rtcp => 4,
        };
        Some(u32::from_be_bytes(*data.get(at..)?.first_chunk()?))
    }

    fn open(self, context: &mut Context, data: &[u8]) -> Result<Opened, Error> {
        match self {
            Self::Rtp => context.decrypt_rtp(data).map(|packet| Opened::Rtp(packet.freeze())),
            Self::Rtcp => context.decrypt_rtcp(data).map(Opened::Rtcp),
        }
    }
}

/// Opens what the master sends.
pub(crate) struct Inbound {
    keys: MasterKeys,
    provider: Arc<dyn RTCCryptoProvider>,
    /// Of the sources in `rtp` and `rtcp` alone.
    context: Context,
    rtp: HashSet<u32>,
    rtcp: HashSet<u32>,
    trial: Context,
    trials: usize,
}

impl Inbound {
    pub(crate) fn new(keys: MasterKeys, provider: &Arc<dyn RTCCryptoProvider>) -> Result<Self, Error> {
        let context = Context::new(
            &keys.key,
            &keys.salt,
            keys.profile,
            Some(srtp_replay_protection(REPLAY_WINDOW)),
            Some(srtcp_replay_protection(REPLAY_WINDOW)),
            provider.crypto(),
        )?;
        Ok(Self {
            trial: keys.context(provider)?,
            trials: 0,
            keys,
            provider: Arc::clone(provider),
            context,
            rtp: HashSet::new(),
            rtcp: HashSet::new(),
        })
    }

    /// Opens a datagram.
    ///
    /// # Errors
    ///
    /// It is not authentic, a replay, or of a source too many. Nothing is remembered of it then.
    pub(crate) fn open(&mut self, data: &[u8]) -> Result<Opened, Error> {
        let protocol = Protocol::of(data);
        // What says that it is not encrypted is not authenticated either by rtc-srtp (RFC 3711, section 3.4 wants it);
        // masters always encrypt. The flag is in front of the index, behind which is the tag of ten bytes.
        if protocol == Protocol::Rtcp && self.keys.is_aes_cm() {
            let flag = data.len().checked_sub(14).and_then(|at| data.get(at));
            if flag.is_none_or(|byte| byte & 0x80 == 0) {
                return Err(Error::ErrTooShortRtcp);
            }
        }
        let ssrc = protocol.ssrc(data).ok_or(Error::ErrTooShortRtp)?;
        let sources = self.sources(protocol);
        if !sources.contains(&ssrc) {
            if sources.len() >= MAX_SOURCES {
                return Err(Error::Other(format!("more than {MAX_SOURCES} sources")));
            }
            self.try_open(protocol, data)?;
            self.sources(protocol).insert(ssrc);
        }
        protocol.open(&mut self.context, data)
    }

    fn sources(&mut self, protocol: Protocol) -> &mut HashSet<u32> {
        match protocol {
            Protocol::Rtp => &mut self.rtp,
            Protocol::Rtcp => &mut self.rtcp,
        }
    }

    /// Whether a packet of a source that is not known is authentic.
    fn try_open(&mut self, protocol: Protocol, data: &[u8]) -> Result<(), Error> {
        if self.trials >= MAX_TRIALS {
            self.trial = self.keys.context(&self.provider)?;
            self.trials = 0;
        }
        self.trials += 1;
        protocol.open(&mut self.trial, data).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PROFILES: [ProtectionProfile; 4] = [
        ProtectionProfile::AeadAes128Gcm,
        ProtectionProfile::AeadAes256Gcm,
        ProtectionProfile::Aes128CmHmacSha1_80,
        ProtectionProfile::Aes128CmHmacSha1_32,
    ];

    fn keys(profile: ProtectionProfile) -> MasterKeys {
        MasterKeys { key: vec![7; profile.key_len()], salt: vec![9; profile.salt_len()], profile }
    }

    /// What seals for the master, and what opens here.
    fn both(profile: ProtectionProfile) -> (Context, Inbound) {
        let provider = rtc_crypto::default_provider().unwrap();
        let sender = keys(profile).context(&provider).unwrap();
        (sender, Inbound::new(keys(profile), &provider).unwrap())
    }

    fn rtp(ssrc: u32, sequence: u16) -> Vec<u8> {
        let mut packet = vec![0x80, 102];
        packet.extend(sequence.to_be_bytes());
        packet.extend([0, 0, 0, 9]);
        packet.extend(ssrc.to_be_bytes());
        packet.extend([0x65; 40]);
        packet
    }

    fn bye(ssrc: u32) -> Vec<u8> {
        let mut packet = vec![0x81, 203, 0, 1];
        packet.extend(ssrc.to_be_bytes());
        packet
    }

    fn is_bounded(inbound: &Inbound) -> bool {
        inbound.rtp.len() <= MAX_SOURCES && inbound.rtcp.len() <= MAX_SOURCES && inbound.trials <= MAX_TRIALS
    }

    #[test]
    fn forged_sources_leave_nothing_and_keep_no_source_out() {
        for profile in PROFILES {
            let (mut sender, mut inbound) = both(profile);
            for ssrc in 0..10_000 {
                let mut forged = rtp(ssrc, 1);
                forged.extend([0; 10]);
                assert!(inbound.open(&forged).is_err());
                let mut forged = bye(ssrc);
                forged.extend([0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
                assert!(inbound.open(&forged).is_err());
                assert!(is_bounded(&inbound));
            }
            assert!(inbound.rtp.is_empty() && inbound.rtcp.is_empty());
            // Also not one that was forged before.
            for ssrc in [7, 100_000] {
                for sequence in 65_530..65_540_u32 {
                    let plain = rtp(ssrc, sequence as u16);
                    let sealed = sender.encrypt_rtp(&plain).unwrap();
                    let Ok(Opened::Rtp(opened)) = inbound.open(&sealed) else {
                        panic!("{profile:?} {ssrc} {sequence}")
                    };
                    assert_eq!(opened, plain);
                    assert!(inbound.open(&sealed).is_err(), "a replay");
                }
                let sealed = sender.encrypt_rtcp(&bye(ssrc)).unwrap();
                assert!(matches!(inbound.open(&sealed), Ok(Opened::Rtcp(opened)) if opened == bye(ssrc)));
                assert!(inbound.open(&sealed).is_err(), "a replay");
            }
        }
    }

    #[test]
    fn a_master_with_sources_without_end_gets_so_many() {
        let (mut sender, mut inbound) = both(ProtectionProfile::AeadAes128Gcm);
        let opened =
            (0..2_000).filter(|ssrc| inbound.open(&sender.encrypt_rtp(&rtp(*ssrc, 1)).unwrap()).is_ok());
        assert_eq!(opened.count(), MAX_SOURCES);
        assert!(
            inbound.open(&sender.encrypt_rtp(&rtp(5, 2)).unwrap()).is_ok(),
            "those that were there go on"
        );
    }

    proptest! {
        /// Whatever comes, and in whichever order: what is authentic is opened, and nothing else is.
        #[test]
        fn anything(
            packets in proptest::collection::vec(
                (any::<bool>(), 0..4_u32, any::<u16>(), proptest::collection::vec(any::<u8>(), 0..80)),
                0..60,
            ),
            profile in proptest::sample::select(PROFILES.to_vec()),
        ) {
            let (mut sender, mut inbound) = both(profile);
            for (sequence, (real, ssrc, index, noise)) in packets.into_iter().enumerate() {
                let plain = rtp(ssrc, sequence as u16);
                let mut sealed = sender.encrypt_rtp(&plain).unwrap().to_vec();
                if real {
                    prop_assert!(matches!(inbound.open(&sealed), Ok(Opened::Rtp(opened)) if opened == plain));
                } else {
                    let at = usize::from(index) % sealed.len();
                    sealed[at] ^= 1;
                    prop_assert!(inbound.open(&sealed).is_err());
                    prop_assert!(inbound.open(&noise).is_err());
                    let header = [&[0x80, 200, 0, 6][..], &noise].concat();
                    prop_assert!(inbound.open(&header).is_err());
                }
                prop_assert!(is_bounded(&inbound));
            }
            prop_assert!(inbound.rtp.len() <= 4 && inbound.rtcp.is_empty());
        }
    }
}
