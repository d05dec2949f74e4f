//! The peer over the `webrtc` crate.

use super::reports::SenderReportTap;
use super::{
    IceServer, MediaEvent, MediaKind, Negotiated, Peer, PeerConfig, PeerError, PeerEvent, PeerStats,
    SelectedPair, answer, candidate, offer,
};
use async_trait::async_trait;
use kvs_media::RtpPacket;
use parking_lot::Mutex;
use rtc::interceptor::{ReceiverReportBuilder, Registry, Slot};
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::configuration::interceptor_registry::configure_twcc_receiver_only;
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::{RTCIceCandidateInit, RTCIceServer};
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{
    TransportLayerNack, nack_pairs_from_sequence_numbers,
};
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceTransportPolicy,
    RTCPeerConnectionIceEvent, RTCPeerConnectionState, RTCStatsReportEntry, SettingEngineBuilder,
    StatsSelector,
};

/// Remote candidates kept before the answer; a master that sends more is not trusted with memory.
const MAX_EARLY_CANDIDATES: usize = 100;

/// RTP packets and sender reports between the engine and the media task: about two seconds of
/// 8 Mbit/s. When it is full the packet is dropped and counted; loss repair asks for it again.
const MEDIA_QUEUE: usize = 2048;

/// Candidates and state changes of one connection. When it is full the event is dropped with a
/// warning; a connection makes a few dozen of them in its life.
const EVENT_QUEUE: usize = 256;

/// Sender SSRC of our feedback: we send no media, and masters match only the media SSRC.
const FEEDBACK_SSRC: u32 = 1;

/// Checks that go unanswered for so long are told, and how often one is sent.
const ICE_DISCONNECTED: Duration = Duration::from_secs(4);
const ICE_CHECK: Duration = Duration::from_secs(1);

/// A [`Peer`] whose engine is the `webrtc` crate.
pub struct RtcPeer {
    connection: Arc<dyn PeerConnection>,
    shared: Arc<Shared>,
    offer: String,
    remote: tokio::sync::Mutex<Remote>,
}

/// What the engine's callbacks and the peer share.
struct Shared {
    events: mpsc::Sender<PeerEvent>,
    media: mpsc::Sender<MediaEvent>,
    tracks: Mutex<HashMap<MediaKind, Arc<dyn TrackRemote>>>,
    discarded: AtomicU64,
}

#[derive(Default)]
struct Remote {
    answered: bool,
    early: Vec<String>,
}

impl RtcPeer {
    /// Builds the connection, makes the offer and starts to gather candidates.
    ///
    /// # Errors
    ///
    /// [`PeerError::Build`] when sockets cannot be bound or a server URL is malformed.
    pub async fn new(
        config: PeerConfig,
    ) -> Result<(Self, mpsc::Receiver<PeerEvent>, mpsc::Receiver<MediaEvent>), PeerError> {
        let build = |error: rtc::shared::error::Error| PeerError::Build(error.to_string());
        let (events, event_receiver) = mpsc::channel(EVENT_QUEUE);
        let (media, media_receiver) = mpsc::channel(MEDIA_QUEUE);
        let shared = Arc::new(Shared {
            events: events.clone(),
            media: media.clone(),
            tracks: Mutex::new(HashMap::new()),
            discarded: AtomicU64::new(0),
        });

        let mut engine = MediaEngine::default();
        offer::register_codecs(&mut engine, config.start_bitrate_kbps).map_err(build)?;
        // Transport-wide feedback keeps Chromium's rate up, receiver reports keep masters informed.
        // No NACK generator: it cannot see packets repaired by RTX and asks for them for ever.
        let registry = configure_twcc_receiver_only(Registry::new(), &mut engine)
            .map_err(build)?
            .with(
                Slot::ReceiverReport,
                ReceiverReportBuilder::new().with_interval(Duration::from_secs(1)).build(),
            )
            .with(Slot::from(9_500), SenderReportTap::new(media, events));
        let configuration = RTCConfigurationBuilder::new()
            .with_ice_servers(config.ice_servers.iter().map(usable_server).collect())
            .with_ice_transport_policy(if config.relay_only {
                RTCIceTransportPolicy::Relay
            } else {
                RTCIceTransportPolicy::All
            })
            .build();
        let settings = SettingEngineBuilder::new()
            .with_multicast_dns_mode(rtc::ice::mdns::MulticastDnsMode::Disabled)
            .with_include_loopback_candidate(true)
            .with_ice_timeouts(Some(ICE_DISCONNECTED), None, Some(ICE_CHECK))
            // How long a better pair is waited for before one of this type is taken.
            .with_srflx_acceptance_min_wait(Some(Duration::from_millis(300)))
            .with_prflx_acceptance_min_wait(Some(Duration::from_millis(300)))
            .with_relay_acceptance_min_wait(Some(if config.relay_only {
                Duration::ZERO
            } else {
                Duration::from_secs(1)
            }))
            .build();
        let connection = PeerConnectionBuilder::new()
            .with_configuration(configuration)
            .with_media_engine(engine)
            .with_setting_engine(settings)
            .with_interceptor_registry(registry)
            .with_handler(Arc::new(Handler(Arc::clone(&shared))))
            .with_udp_addrs(config.bind.iter().map(|addr| with_port(addr)).collect())
            .build()
            .await
            .map_err(build)?;
        let connection: Arc<dyn PeerConnection> = Arc::new(connection);
        // Audio first: C SDK masters write their answer in that order.
        for (wanted, kind) in [(config.audio, RtpCodecKind::Audio), (config.video, RtpCodecKind::Video)] {
            if wanted {
                connection
                    .add_transceiver_from_kind(
                        kind,
                        Some(RTCRtpTransceiverInit {
                            direction: RTCRtpTransceiverDirection::Recvonly,
                            ..Default::default()
                        }),
                    )
                    .await
                    .map_err(build)?;
            }
        }
        let description = connection.create_offer(None).await.map_err(build)?;
        let text = offer::polish(&description.sdp);
        connection.set_local_description(description).await.map_err(build)?;
        let peer = Self { connection, shared, offer: text, remote: tokio::sync::Mutex::default() };
        Ok((peer, event_receiver, media_receiver))
    }

    async fn apply_candidate(&self, text: &str) -> Result<(), PeerError> {
        self.connection
            .add_ice_candidate(RTCIceCandidateInit {
                candidate: text.to_owned(),
                sdp_mid: Some(String::new()),
                sdp_mline_index: Some(0),
                ..Default::default()
            })
            .await
            .map_err(|error| PeerError::Candidate { candidate: text.to_owned(), reason: error.to_string() })
    }

    async fn feedback(&self, packet: Box<dyn rtc::rtcp::Packet>) -> Result<(), PeerError> {
        let track = {
            let tracks = self.shared.tracks.lock();
            tracks.get(&MediaKind::Video).or_else(|| tracks.get(&MediaKind::Audio)).cloned()
        };
        let Some(track) = track else {
            return Err(PeerError::Feedback("no track yet".to_owned()));
        };
        track.write_rtcp(vec![packet]).await.map_err(|error| PeerError::Feedback(error.to_string()))
    }
}

#[async_trait]
impl Peer for RtcPeer {
    fn offer(&self) -> &str {
        &self.offer
    }

    async fn accept_answer(&self, sdp: &str) -> Result<Negotiated, PeerError> {
        let negotiated = answer::read_answer(sdp)?;
        let mut remote = self.remote.lock().await;
        let apply = |error: rtc::shared::error::Error| PeerError::Apply(error.to_string());
        let description = RTCSessionDescription::answer(answer::sanitize(sdp)).map_err(apply)?;
        self.connection.set_remote_description(description).await.map_err(apply)?;
        remote.answered = true;
        for text in std::mem::take(&mut remote.early) {
            if let Err(error) = self.apply_candidate(&text).await {
                tracing::debug!(%error, "candidate skipped");
            }
        }
        Ok(negotiated)
    }

    async fn add_remote_candidate(&self, text: &str) -> Result<bool, PeerError> {
        let Some(text) = candidate::remote(text) else {
            return Ok(false);
        };
        let mut remote = self.remote.lock().await;
        if remote.answered {
            drop(remote);
            self.apply_candidate(&text).await?;
        } else if remote.early.len() >= MAX_EARLY_CANDIDATES {
            return Err(PeerError::Candidate {
                candidate: text,
                reason: format!("more than {MAX_EARLY_CANDIDATES} before the answer"),
            });
        } else {
            remote.early.push(text);
        }
        Ok(true)
    }

    async fn send_nack(&self, media_ssrc: u32, sequences: &[u16]) -> Result<(), PeerError> {
        self.feedback(Box::new(TransportLayerNack {
            sender_ssrc: FEEDBACK_SSRC,
            media_ssrc,
            nacks: nack_pairs_from_sequence_numbers(sequences),
        }))
        .await
    }

    async fn send_pli(&self, media_ssrc: u32) -> Result<(), PeerError> {
        self.feedback(Box::new(PictureLossIndication { sender_ssrc: FEEDBACK_SSRC, media_ssrc })).await
    }

    async fn stats(&self) -> PeerStats {
        let report = self.connection.get_stats(Instant::now(), StatsSelector::None).await;
        let mut stats = PeerStats {
            packets_discarded: self.shared.discarded.load(Ordering::Relaxed),
            ..PeerStats::default()
        };
        let selected = report
            .transport()
            .map(|transport| transport.selected_candidate_pair_id.as_str())
            .unwrap_or_default();
        let pair = report
            .candidate_pairs()
            .find(|pair| pair.stats.id == selected)
            .or_else(|| report.candidate_pairs().find(|pair| pair.nominated));
        if let Some(pair) = pair {
            if pair.current_round_trip_time > 0.0 {
                stats.round_trip_time = Duration::try_from_secs_f64(pair.current_round_trip_time).ok();
            }
            let side = |id: &str| {
                // The engine's pairs name a candidate by its bare id, its entries prefix it. A
                // peer-reflexive candidate has no entry.
                report
                    .iter()
                    .find_map(|entry| match entry {
                        RTCStatsReportEntry::LocalCandidate(candidate)
                        | RTCStatsReportEntry::RemoteCandidate(candidate)
                            if candidate.stats.id.ends_with(id) =>
                        {
                            let address = candidate.address.as_deref().unwrap_or_default();
                            Some((
                                candidate.candidate_type.to_string(),
                                format!("{address}:{}", candidate.port),
                            ))
                        }
                        _ => None,
                    })
                    .unwrap_or_else(|| ("prflx".to_owned(), String::new()))
            };
            let (local_type, local) = side(&pair.local_candidate_id);
            let (remote_type, remote) = side(&pair.remote_candidate_id);
            stats.pair = Some(SelectedPair { local_type, remote_type, local, remote });
        }
        stats
    }

    async fn close(&self) {
        if let Err(error) = self.connection.close().await {
            tracing::debug!(%error, "peer connection closed with an error");
        }
        self.shared.tracks.lock().clear();
    }
}

/// The engine's callbacks. They run on the task that drives ICE and DTLS, so they only forward.
struct Handler(Arc<Shared>);

impl Handler {
    fn emit(&self, event: PeerEvent) {
        if let Err(mpsc::error::TrySendError::Full(event)) = self.0.events.try_send(event) {
            tracing::warn!(?event, "peer event dropped: the session does not keep up");
        }
    }
}

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        match event.candidate.to_json() {
            Ok(init) => {
                if let Some(text) = candidate::local(&init.candidate) {
                    self.emit(PeerEvent::LocalCandidate(text));
                }
            }
            Err(error) => tracing::debug!(%error, "local candidate skipped"),
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        tracing::debug!(%state, "peer connection state");
        match state {
            RTCPeerConnectionState::Connected => self.emit(PeerEvent::Connected),
            RTCPeerConnectionState::Disconnected => self.emit(PeerEvent::Disconnected),
            RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed => {
                self.emit(PeerEvent::Failed);
            }
            _ => {}
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let kind = match track.kind().await {
            RtpCodecKind::Video => MediaKind::Video,
            RtpCodecKind::Audio => MediaKind::Audio,
            _ => return,
        };
        self.0.tracks.lock().insert(kind, Arc::clone(&track));
        let shared = Arc::clone(&self.0);
        // The crate's queue holds 256 packets and logs an error for each that it drops: so it has
        // a reader that does nothing but move them on.
        tokio::spawn(async move {
            while let Some(event) = track.poll().await {
                match event {
                    TrackRemoteEvent::OnRtpPacket(packet) => {
                        let packet = RtpPacket {
                            ssrc: packet.header.ssrc,
                            payload_type: packet.header.payload_type,
                            sequence: packet.header.sequence_number,
                            timestamp: packet.header.timestamp,
                            marker: packet.header.marker,
                            padding: 0,
                            payload: packet.payload,
                        };
                        let event = MediaEvent::Rtp { kind, packet };
                        if shared.media.try_send(event).is_err() {
                            shared.discarded.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    TrackRemoteEvent::OnEnded => break,
                    _ => {}
                }
            }
        });
    }
}

/// The part of a server entry that the engine can use: it knows TURN over UDP only, and would warn
/// about the others for every connection.
fn usable_server(server: &IceServer) -> RTCIceServer {
    RTCIceServer {
        urls: server
            .urls
            .iter()
            .filter(|url| {
                url.starts_with("stun:") || (url.starts_with("turn:") && !url.contains("transport=tcp"))
            })
            .cloned()
            .collect(),
        username: server.username.clone(),
        credential: server.credential.clone(),
    }
}

fn with_port(addr: &str) -> String {
    if addr.parse::<std::net::SocketAddr>().is_ok() {
        addr.to_owned()
    } else if addr.contains(':') && !addr.starts_with('[') {
        format!("[{addr}]:0")
    } else {
        format!("{addr}:0")
    }
}
