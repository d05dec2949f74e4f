//! The peer against another instance of the engine, over real sockets on this machine.
#![allow(clippy::unwrap_used)]

use super::*;
use kvs_aws::AwsContext;
use kvs_media::{AudioCodec, VideoCodec};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_H264, MediaEngine};
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::RTCIceCandidateInit;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCPeerConnectionIceEvent,
    RTCPeerConnectionState, register_default_interceptors,
};

fn config() -> PeerConfig {
    PeerConfig {
        video: vec![VideoCodec::H264],
        audio: vec![AudioCodec::Opus],
        data: None,
        start_bitrate_kbps: Some(2000),
        relay_only: false,
        ice_servers: Vec::new(),
        bind: vec!["127.0.0.1".to_owned()],
        ports: None,
        receive_buffer: RECEIVE_BUFFER,
        destinations: Destinations { loopback: true, denied: Vec::new() },
    }
}

/// One that nobody has to answer for.
async fn context() -> AwsContext {
    let context = AwsContext::builder().region("eu-central-1").static_credentials("a", "b", None);
    context.build().await.unwrap()
}

#[tokio::test]
async fn candidates_before_the_answer_are_kept_and_bounded() {
    let (peer, _events, _media) = UdpPeer::new(config(), &context().await).await.unwrap();
    assert!(!peer.add_remote_candidate("", 0).await.unwrap());
    for port in 0..64 {
        let text = format!("candidate:1 1 udp 1 192.0.2.1 {} typ host", 1000 + port);
        assert!(peer.add_remote_candidate(&text, 0).await.unwrap());
    }
    assert!(peer.add_remote_candidate("candidate:1 1 udp 1 192.0.2.1 1 typ host", 0).await.is_err());
    peer.close().await;
}

struct MasterHandler {
    candidates: mpsc::UnboundedSender<String>,
    connected: mpsc::UnboundedSender<()>,
}

#[async_trait]
impl PeerConnectionEventHandler for MasterHandler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        let _ = self.candidates.send(event.candidate.to_json().unwrap().candidate);
    }
    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        if state == RTCPeerConnectionState::Connected {
            let _ = self.connected.send(());
        }
    }
}

const SSRC: u32 = 0x1234_5678;

/// A master that sends one H.264 track.
async fn master() -> (
    Arc<dyn PeerConnection>,
    Arc<TrackLocalStaticRTP>,
    mpsc::UnboundedReceiver<String>,
    mpsc::UnboundedReceiver<()>,
) {
    let (candidates, candidate_receiver) = mpsc::unbounded_channel();
    let (connected, connected_receiver) = mpsc::unbounded_channel();
    let mut engine = MediaEngine::default();
    engine.register_default_codecs().unwrap();
    let registry = register_default_interceptors(rtc::interceptor::Registry::new(), &mut engine).unwrap();
    let connection = PeerConnectionBuilder::new()
        .with_media_engine(engine)
        .with_interceptor_registry(registry)
        .with_handler(Arc::new(MasterHandler { candidates, connected }))
        .with_udp_addrs(vec!["127.0.0.1:0"])
        .build()
        .await
        .unwrap();
    let codec = RTCRtpCodec {
        mime_type: MIME_TYPE_H264.to_owned(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f".to_owned(),
        rtcp_feedback: vec![],
    };
    let track = Arc::new(TrackLocalStaticRTP::new(MediaStreamTrack::new(
        "stream".to_owned(),
        "track".to_owned(),
        "camera".to_owned(),
        RtpCodecKind::Video,
        vec![RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(SSRC), ..Default::default() },
            codec,
            ..Default::default()
        }],
    )));
    connection.add_track(Arc::clone(&track) as Arc<dyn TrackLocal>).await.unwrap();
    (Arc::new(connection), track, candidate_receiver, connected_receiver)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn media_and_sender_reports_arrive_and_the_pair_is_known() {
    let (peer, mut events, mut media) = UdpPeer::new(config(), &context().await).await.unwrap();
    let (remote, track, mut candidates, mut connected) = master().await;
    remote
        .set_remote_description(RTCSessionDescription::offer(peer.offer().to_owned()).unwrap())
        .await
        .unwrap();
    let answer = remote.create_answer(None).await.unwrap();
    remote.set_local_description(answer.clone()).await.unwrap();
    // The candidate comes before the answer, as with C SDK masters.
    let first = candidates.recv().await.unwrap();
    assert!(peer.add_remote_candidate(&first, 0).await.unwrap());
    let negotiated = peer.accept_answer(&answer.sdp).await.unwrap();
    assert!(negotiated.video.is_some(), "{negotiated:?}");

    let run = async {
        loop {
            tokio::select! {
                event = events.recv() => match event.unwrap() {
                    PeerEvent::LocalCandidate(text) => remote
                        .add_ice_candidate(RTCIceCandidateInit { candidate: text, ..Default::default() })
                        .await
                        .unwrap(),
                    PeerEvent::PathFound => {}
                    PeerEvent::Connected => break,
                    other => panic!("{other:?}"),
                },
                Some(text) = candidates.recv() => { peer.add_remote_candidate(&text, 0).await.unwrap(); }
            }
        }
        connected.recv().await.unwrap();
        let mut sequence = 0u16;
        let (mut packets, mut reports) = (0, 0);
        let mut ticker = tokio::time::interval(Duration::from_millis(20));
        while packets < 20 || reports < 1 {
            tokio::select! {
                _ = ticker.tick() => {
                    sequence += 1;
                    let mut packet = rtc::rtp::Packet::default();
                    packet.header.version = 2;
                    packet.header.payload_type = 102;
                    packet.header.sequence_number = sequence;
                    packet.header.timestamp = u32::from(sequence) * 1800;
                    packet.header.ssrc = SSRC;
                    packet.header.marker = true;
                    packet.payload = bytes::Bytes::from_static(&[0x65, 1, 2, 3]);
                    track.write_rtp(packet).await.unwrap();
                }
                batch = media.recv() => for Arrival { event, .. } in batch.unwrap() {
                    match event {
                        MediaEvent::Rtp { kind, packet } => {
                            assert_eq!(kind, MediaKind::Video);
                            assert_eq!(packet.ssrc, SSRC);
                            assert_eq!(&packet.payload[..], &[0x65, 1, 2, 3]);
                            packets += 1;
                        }
                        MediaEvent::Message(message) => panic!("nobody asked for {message:?}"),
                        MediaEvent::SenderReport(report) => {
                            assert_eq!(report.ssrc, SSRC);
                            reports += 1;
                        }
                    }
                }
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), run).await.unwrap();
    peer.send_pli(SSRC).await.unwrap();
    peer.send_nack(SSRC, &[7, 8, 30]).await.unwrap();
    let stats = peer.stats().await;
    let pair = stats.pair.unwrap();
    assert_eq!((pair.local.kind.as_str(), pair.remote.kind.as_str()), ("host", "host"));
    assert!(pair.local.address.ip().is_loopback());
    peer.close().await;
    remote.close().await.unwrap();
}
