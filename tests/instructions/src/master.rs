//! A master that answers what the receiver asks for and seals its packets: ICE-lite, a server of DTLS, SRTP of one profile.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use kvs_media::{AudioCodec, VideoCodec};
use kvs_peer::{Config, Destinations, Event, Receiver};
use rtc_crypto::RTCCryptoProvider;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::{TransportContext, TransportProtocol};
use rtc_srtp::config::LABEL_EXTRACTOR_DTLS_SRTP;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_SUCCESS, Message, Setter};
use rtc_stun::xoraddr::XorMappedAddress;
use sha2::{Digest, Sha256};

/// Ids of the header extensions of [`ANSWER`].
pub const MID: u8 = 1;
pub const TRANSPORT_CC: u8 = 2;
pub const VIDEO: u8 = 102;

/// As in [`ANSWER`].
const PASSWORD: &str = "password-of-the-master";

/// With `FINGERPRINT` in it.
const ANSWER: &str = "v=0
o=- 1 1 IN IP4 0.0.0.0
s=-
t=0 0
a=group:BUNDLE 0 1
a=ice-lite
a=fingerprint:sha-256 FINGERPRINT
m=audio 9 UDP/TLS/RTP/SAVPF 111
c=IN IP4 0.0.0.0
a=setup:passive
a=mid:0
a=ice-ufrag:master
a=ice-pwd:password-of-the-master
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=sendonly
m=video 9 UDP/TLS/RTP/SAVPF 102
c=IN IP4 0.0.0.0
a=setup:passive
a=mid:1
a=ice-ufrag:master
a=ice-pwd:password-of-the-master
a=rtcp-mux
a=rtpmap:102 H264/90000
a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
a=rtcp-fb:102 nack
a=rtcp-fb:102 nack pli
a=rtcp-fb:102 transport-cc
a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid
a=extmap:2 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
a=sendonly
";

/// A receiver that is connected, with the other end of its connection.
pub struct Connection {
    pub receiver: Receiver,
    pub ours: SocketAddr,
    pub theirs: SocketAddr,
    pub now: Instant,
    /// Seals what the master sends.
    pub seal: Context,
}

struct Master {
    provider: Arc<dyn RTCCryptoProvider>,
    dtls: Endpoint,
    peer: SocketAddr,
    done: bool,
}

/// Connects a receiver with a master that has this profile only.
pub fn connect(offered: SrtpProtectionProfile, profile: ProtectionProfile) -> Connection {
    let mut now = Instant::now();
    let ours: SocketAddr = "192.0.2.1:5000".parse().unwrap();
    let theirs: SocketAddr = "198.51.100.7:6000".parse().unwrap();
    let config = Config {
        video: vec![VideoCodec::H264],
        audio: vec![AudioCodec::Opus],
        data: None,
        start_bitrate_kbps: None,
        relay_only: false,
        ice_servers: Vec::new(),
        turn_streams: Vec::new(),
        sockets: vec![ours],
        receive_buffer: 4 << 20,
        destinations: Destinations::default(),
    };
    let mut receiver = Receiver::new(&config, now).unwrap();
    let (mut master, fingerprint) = Master::new(offered);
    let answer = ANSWER.replace("FINGERPRINT", &fingerprint).replace('\n', "\r\n");
    receiver.accept_answer(&answer, now).unwrap();
    let candidate = format!("candidate:1 1 udp 2130706431 {} {} typ host", theirs.ip(), theirs.port());
    receiver.add_remote_candidate(&candidate, 0, now).unwrap();
    let deadline = now + Duration::from_secs(10);
    let is_connected = |receiver: &mut Receiver| {
        std::iter::from_fn(|| receiver.poll_event()).any(|event| event == Event::Connected)
    };
    while !is_connected(&mut receiver) {
        assert!(now < deadline, "no connection: {:?}", receiver.standing());
        now += Duration::from_millis(10);
        receiver.handle_timeout(now);
        while let Some(sent) = receiver.poll_transmit(now) {
            for answer in master.read(&sent.data, ours, now) {
                receiver.handle_datagram(ours, theirs, &answer, now);
            }
        }
    }
    let seal = master.seal(profile);
    Connection { receiver, ours, theirs, now, seal }
}

impl Master {
    fn new(offered: SrtpProtectionProfile) -> (Self, String) {
        let provider = rtc_crypto::default_provider().unwrap();
        let certificate =
            Certificate::generate_self_signed(vec!["master".to_owned()], provider.crypto()).unwrap();
        let digest = Sha256::digest(certificate.certificate[0].as_ref());
        let fingerprint: Vec<_> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
        let config = ConfigBuilder::default()
            .with_crypto_provider(Arc::clone(&provider))
            .with_certificates(vec![certificate])
            .with_srtp_protection_profiles(vec![offered])
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_insecure_skip_verify(true)
            .build(false, None)
            .unwrap();
        let context = TransportContext::default();
        let dtls = Endpoint::new(context.local_addr, TransportProtocol::UDP, Some(Arc::new(config)));
        (Self { provider, dtls, peer: context.peer_addr, done: false }, fingerprint.join(":"))
    }

    /// What it answers.
    fn read(&mut self, data: &[u8], from: SocketAddr, now: Instant) -> Vec<BytesMut> {
        match data[0] {
            0..=3 => vec![self.binding(data, from)],
            20..=63 => {
                // Records that come before their time are no reason to give up.
                let events = self.dtls.read(now, self.peer, None, BytesMut::from(data)).unwrap_or_default();
                self.done |= events.iter().any(|event| matches!(event, EndpointEvent::HandshakeComplete));
                std::iter::from_fn(|| self.dtls.poll_transmit()).map(|transmit| transmit.message).collect()
            }
            // Feedback.
            _ => Vec::new(),
        }
    }

    /// Success for every check (RFC 8445, section 7.3; lite).
    fn binding(&self, data: &[u8], from: SocketAddr) -> BytesMut {
        let mut request = Message { raw: data.to_vec(), ..Message::default() };
        request.decode().unwrap();
        let mut answer = Message::new();
        answer.transaction_id = request.transaction_id;
        answer.set_type(BINDING_SUCCESS);
        answer.write_header();
        let integrity = MessageIntegrity::new_short_term_integrity_with_provider(
            PASSWORD.to_owned(),
            self.provider.crypto(),
        );
        XorMappedAddress { ip: from.ip(), port: from.port() }.add_to(&mut answer).unwrap();
        integrity.add_to(&mut answer).unwrap();
        FINGERPRINT.add_to(&mut answer).unwrap();
        BytesMut::from(&answer.raw[..])
    }

    fn seal(&self, profile: ProtectionProfile) -> Context {
        assert!(self.done, "the receiver is connected before its master");
        let state = self.dtls.get_connection_state(self.peer).unwrap();
        let mut config = rtc_srtp::config::Config { profile, ..Default::default() };
        let material =
            state.export_keying_material(LABEL_EXTRACTOR_DTLS_SRTP, &[], config.keying_material_len());
        config.set_session_keys_from_keying_material(material.unwrap().as_ref(), false).unwrap();
        let (key, salt) = (&config.keys.local_master_key, &config.keys.local_master_salt);
        Context::new(key, salt, profile, None, None, self.provider.crypto()).unwrap()
    }
}
