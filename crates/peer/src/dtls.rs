//! DTLS 1.2 over the path that ICE found, and the SRTP keys that come of it (RFC 5763, RFC 5764).

use crate::sdp::{Fingerprint, HashAlgorithm, Setup};
use crate::srtp::{Inbound, MasterKeys};
use bytes::BytesMut;
use parking_lot::Mutex;
use rtc_crypto::RTCCryptoProvider;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_dtls::state::State;
use rtc_shared::error::Error;
use rtc_shared::{TransportContext, TransportProtocol};
use rtc_srtp::config::{Config, LABEL_EXTRACTOR_DTLS_SRTP};
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;
use sha2::{Digest, Sha256, Sha384, Sha512};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Records and bytes of one association, alerts apart, and application data where that is wanted. A handshake has some thirty
/// of a few kilobytes, and nothing follows it: more is an attack on who reassembles it.
const MAX_RECORDS: usize = 512;
const MAX_BYTES: usize = 256 << 10;

/// A flight that is not answered is sent again after this time, then twice, four times as long …
const REPEAT: Duration = Duration::from_millis(400);
const MAX_REPEATS: u32 = 7;

const PROFILES: [(SrtpProtectionProfile, ProtectionProfile); 4] = [
    (SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm, ProtectionProfile::AeadAes128Gcm),
    (SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm, ProtectionProfile::AeadAes256Gcm),
    (SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80, ProtectionProfile::Aes128CmHmacSha1_80),
    (SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_32, ProtectionProfile::Aes128CmHmacSha1_32),
];

/// The keys of both directions.
pub(crate) struct Keys {
    pub(crate) inbound: Inbound,
    pub(crate) outbound: Context,
}

/// What came of a datagram.
#[derive(Default)]
pub(crate) struct Outcome {
    /// The handshake is done.
    pub(crate) keys: Option<Keys>,
    /// Records of application data: SCTP.
    pub(crate) data: Vec<BytesMut>,
    /// The master closed (`close_notify`).
    pub(crate) closed: bool,
}

/// One association.
pub(crate) struct Dtls {
    endpoint: Endpoint,
    /// Of a client that has not begun.
    client: Option<Arc<HandshakeConfig>>,
    provider: Arc<dyn RTCCryptoProvider>,
    mismatch: Arc<Mutex<Option<String>>>,
    /// The association's name inside `endpoint`; the path is ICE's matter.
    peer: SocketAddr,
    /// What went wrong last, in words.
    trouble: Option<String>,
    /// Data channels were agreed on.
    has_data: bool,
    begun: bool,
    done: bool,
    records: usize,
    bytes: usize,
    out: VecDeque<BytesMut>,
    /// What was sent last. `rtc-dtls` stops its own timer at any handshake record, an old one that the master repeats
    /// included; then nobody else sends it again.
    flight: Vec<BytesMut>,
    repeat_at: Option<Instant>,
    repeats: u32,
}

impl Dtls {
    /// As the answer has it. `fingerprints` are the certificates that are accepted; `has_data`: data channels go over it.
    pub(crate) fn new(
        setup: Setup,
        fingerprints: Vec<Fingerprint>,
        certificate: Certificate,
        provider: Arc<dyn RTCCryptoProvider>,
        has_data: bool,
    ) -> Result<Self, Error> {
        let mismatch = Arc::new(Mutex::new(None));
        let found = Arc::clone(&mismatch);
        let is_client = setup == Setup::Passive;
        let config = ConfigBuilder::default()
            .with_crypto_provider(Arc::clone(&provider))
            .with_certificates(vec![certificate])
            .with_srtp_protection_profiles(PROFILES.iter().map(|(profile, _)| *profile).collect())
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            // Certificates of WebRTC are their own: it is the fingerprint that counts.
            .with_insecure_skip_verify(true)
            .with_verify_peer_certificate(Some(Arc::new(move |certificates, _| {
                let certificate = certificates.first().ok_or(Error::ErrNonCertificate)?;
                for fingerprint in &fingerprints {
                    if digest(fingerprint.algorithm, certificate) == fingerprint.digest {
                        return Ok(());
                    }
                }
                *found.lock() = Some(format!(
                    "the certificate that the master showed has none of the fingerprints of its answer ({fingerprints:?})"
                ));
                Err(Error::ErrNoMatchingCertificateFingerprint)
            })))
            // Older stacks of cameras do not have it (RFC 7627); browsers take them all the same.
            .with_extended_master_secret(ExtendedMasterSecretType::Request)
            .build(is_client, None)?;
        let context = TransportContext::default();
        let (client, server) =
            if is_client { (Some(Arc::new(config)), None) } else { (None, Some(Arc::new(config))) };
        Ok(Self {
            endpoint: Endpoint::new(context.local_addr, TransportProtocol::UDP, server),
            client,
            provider,
            mismatch,
            peer: context.peer_addr,
            trouble: None,
            has_data,
            begun: false,
            done: false,
            records: 0,
            bytes: 0,
            out: VecDeque::new(),
            flight: Vec::new(),
            repeat_at: None,
            repeats: 0,
        })
    }

    /// ICE has a path: a client begins.
    pub(crate) fn path_found(&mut self, now: Instant) -> Result<(), String> {
        let Some(config) = self.client.take() else {
            return Ok(());
        };
        self.begun = true;
        let begun = self.endpoint.connect(now, self.peer, config, None).map_err(|error| error.to_string());
        self.take_flight(now);
        begun
    }

    /// Takes a datagram. An error ends the association.
    pub(crate) fn read(&mut self, datagram: &[u8], now: Instant) -> Result<Outcome, String> {
        let mut outcome = Outcome::default();
        if self.client.is_some() {
            // A server that speaks before our ClientHello: nothing of it can be meant for this association.
            return Ok(outcome);
        }
        if self.is_too_much(datagram) {
            self.trouble = Some("the master sends DTLS records without end".to_owned());
            return Ok(outcome);
        }
        self.begun = true;
        let read = self.endpoint.read(now, self.peer, None, BytesMut::from(datagram));
        let result = self.take_events(read, &mut outcome);
        self.take_flight(now);
        result.map(|()| outcome)
    }

    fn take_events(
        &mut self,
        read: Result<Vec<EndpointEvent>, Error>,
        outcome: &mut Outcome,
    ) -> Result<(), String> {
        match read {
            Ok(events) => {
                for event in events {
                    match event {
                        EndpointEvent::HandshakeComplete => {
                            let state = self.endpoint.get_connection_state(self.peer);
                            let state = state.ok_or("the association vanished")?;
                            outcome.keys = Some(keys(state, &self.provider)?);
                            self.done = true;
                        }
                        EndpointEvent::PeerClosed => outcome.closed = true,
                        EndpointEvent::ApplicationData(data) if self.has_data => outcome.data.push(data),
                        // Data channels were not agreed on.
                        _ => {}
                    }
                }
                Ok(())
            }
            Err(error) => {
                if let Some(mismatch) = self.mismatch.lock().take() {
                    return Err(mismatch);
                }
                if matches!(error, Error::ErrAlertFatalOrClose) {
                    return Err("the DTLS handshake was ended by a fatal alert".to_owned());
                }
                // A datagram that is not the association's, or out of order: the handshake repeats what it misses.
                self.trouble = Some(error.to_string());
                Ok(())
            }
        }
    }

    /// Counts the records of a datagram (RFC 6347, section 4.1).
    fn is_too_much(&mut self, datagram: &[u8]) -> bool {
        let mut rest = datagram;
        let mut alert = false;
        while rest.len() > 13 {
            let length = 13 + usize::from(u16::from_be_bytes([rest[11], rest[12]]));
            alert |= rest[0] == 21;
            // Whose rate is bounded where it is read.
            if !(rest[0] == 23 && self.has_data && self.done) {
                self.records += 1;
                self.bytes += length.min(rest.len());
            }
            rest = rest.get(length..).unwrap_or_default();
        }
        // A goodbye is heard however much came before.
        !(alert && self.done) && (self.records > MAX_RECORDS || self.bytes > MAX_BYTES)
    }

    /// Takes what is to be sent, and sees to it that it is sent again if need be.
    fn take_flight(&mut self, now: Instant) {
        let mut sent = Vec::new();
        while let Some(transmit) = self.endpoint.poll_transmit() {
            sent.push(transmit.message);
        }
        if !sent.is_empty() {
            self.out.extend(sent.iter().cloned());
            (self.flight, self.repeats, self.repeat_at) = (sent, 0, None);
        }
        if self.done || self.endpoint.poll_timeout(&self.peer).is_some() || self.repeats >= MAX_REPEATS {
            self.repeat_at = None;
        } else if !self.flight.is_empty() {
            self.repeat_at.get_or_insert(now + REPEAT * 2_u32.pow(self.repeats));
        }
    }

    /// Sends a record of application data, once the handshake is done.
    pub(crate) fn send(&mut self, data: &[u8], now: Instant) -> Result<(), String> {
        self.endpoint.write(now, self.peer, data).map_err(|error| error.to_string())?;
        while let Some(transmit) = self.endpoint.poll_transmit() {
            self.out.push_back(transmit.message);
        }
        Ok(())
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<BytesMut> {
        self.out.pop_front()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        [self.endpoint.poll_timeout(&self.peer), self.repeat_at].into_iter().flatten().min()
    }

    /// Repeats a flight that is due. An error ends the association.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<(), String> {
        if self.endpoint.get_connection_state(self.peer).is_none() {
            return Ok(());
        }
        let result = self.endpoint.handle_timeout(self.peer, now).map_err(|error| error.to_string());
        if self.repeat_at.is_some_and(|at| at <= now) {
            // As it was: a record that was lost is no replay to the master, and one that was not is passed over.
            self.out.extend(self.flight.iter().cloned());
            self.repeats += 1;
            self.repeat_at = None;
        }
        self.take_flight(now);
        result
    }

    /// How far it got, for a person who waits.
    pub(crate) fn standing(&self) -> String {
        let standing = match (self.begun, self.client.is_some()) {
            (_, true) => "the DTLS handshake has not begun",
            (false, false) => "the master, who is to begin the DTLS handshake, sends no ClientHello",
            (true, false) => "the DTLS handshake does not come to its end",
        };
        match &self.trouble {
            Some(trouble) => format!("{standing} ({trouble})"),
            None => standing.to_owned(),
        }
    }

    /// Says `close_notify`.
    pub(crate) fn close(&mut self, now: Instant) {
        if let Err(error) = self.endpoint.close(now) {
            tracing::debug!(%error, "DTLS closed with an error");
        }
        self.done = true;
        self.take_flight(now);
    }
}

/// The digest of a certificate.
pub(crate) fn digest(algorithm: HashAlgorithm, certificate: &[u8]) -> Vec<u8> {
    match algorithm {
        HashAlgorithm::Sha256 => Sha256::digest(certificate).to_vec(),
        HashAlgorithm::Sha384 => Sha384::digest(certificate).to_vec(),
        HashAlgorithm::Sha512 => Sha512::digest(certificate).to_vec(),
    }
}

fn keys(state: &State, provider: &Arc<dyn RTCCryptoProvider>) -> Result<Keys, String> {
    let negotiated = state.srtp_protection_profile();
    let profile = PROFILES.iter().find(|(offered, _)| *offered == negotiated).map(|(_, profile)| *profile);
    let profile = profile.ok_or("the DTLS handshake agreed on no SRTP protection profile")?;
    let mut config = Config { profile, ..Config::default() };
    let derive = || -> Result<Keys, Error> {
        let material =
            state.export_keying_material(LABEL_EXTRACTOR_DTLS_SRTP, &[], config.keying_material_len())?;
        config.set_session_keys_from_keying_material(material.as_ref(), state.is_client())?;
        let keys = &config.keys;
        let (key, salt) = (keys.remote_master_key.to_vec(), keys.remote_master_salt.to_vec());
        let remote = MasterKeys { key, salt, profile };
        let (key, salt) = (keys.local_master_key.to_vec(), keys.local_master_salt.to_vec());
        let local = MasterKeys { key, salt, profile };
        Ok(Keys { inbound: Inbound::new(remote, provider)?, outbound: local.context(provider)? })
    };
    let mut derive = derive;
    derive().map_err(|error| format!("the SRTP keys cannot be derived: {error}"))
}
