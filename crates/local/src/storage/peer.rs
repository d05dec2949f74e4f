//! [`Peer`]: one WebRTC connection of a storage session, which offers it. Sans-IO, over str0m.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use str0m::{
    Candidate, Event as RtcEvent, IceConnectionState, Input, Output as RtcOutput, Rtc, RtcConfig,
    change::{SdpAnswer, SdpPendingOffer},
    format::Codec,
    media::{Direction, KeyframeRequestKind, MediaData, MediaKind, MediaTime, Mid},
    net::{Protocol, Receive},
};

use super::{
    answer::{Sends, check},
    clock::Report,
};

/// Packets of video that wait for one that is missing; it is asked for again meanwhile (NACK).
const REORDER: usize = 150;
/// Candidates of the other side that are tried. More are left out: each costs checks.
const MOST_CANDIDATES: usize = 64;
/// How long an offer waits for its answer, and a connection to come up.
const TO_CONNECT: Duration = Duration::from_secs(60);
/// How long a connection may be without a sign of life before it counts as gone.
const SILENCE: Duration = Duration::from_secs(30);

/// A whole frame.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) data: Arc<[u8]>,
    pub(super) time: MediaTime,
    pub(super) arrival: Instant,
    /// Nothing was lost since the one before.
    pub(super) contiguous: bool,
    pub(super) report: Option<Report>,
}

/// What it has to say.
#[derive(Debug)]
pub(super) enum Event {
    Transmit(SocketAddr, Bytes),
    Connected,
    Video(Frame),
    Sound(Frame),
    /// It cannot decode what it gets.
    KeyFrameWanted,
    /// It has ended, and why.
    Gone(&'static str),
}

/// Who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Who {
    Master,
    Viewer(String),
}

pub(super) struct Peer {
    pub(super) who: Who,
    rtc: Rtc,
    pending: Option<SdpPendingOffer>,
    video: Mid,
    audio: Mid,
    local: SocketAddr,
    candidates: usize,
    made: Instant,
    pub(super) connected: bool,
    quiet_since: Option<Instant>,
    timeout: Instant,
    gone: bool,
}

impl Peer {
    /// A connection whose datagrams come to `local`, and its offer.
    ///
    /// # Errors
    /// What str0m says.
    pub(super) fn new(who: Who, local: SocketAddr, now: Instant) -> Result<(Self, String), String> {
        let mut config = RtcConfig::new()
            .set_crypto_provider(str0m_ring::provider())
            .clear_codecs()
            .enable_opus(true, false)
            .set_reordering_size_video(REORDER);
        for (payload, resend, profile) in
            [(125, 107, 0x42_E01F), (123, 119, 0x4D_001F), (114, 115, 0x64_001F)]
        {
            config.codec_config().add_h264(payload.into(), Some(resend.into()), true, profile);
        }
        let mut rtc = config.build(now);
        let candidate = Candidate::host(local, "udp").map_err(|error| error.to_string())?;
        rtc.add_local_candidate(candidate);
        let (video, audio) = match who {
            Who::Master => (Direction::RecvOnly, Direction::SendRecv),
            Who::Viewer(_) => (Direction::SendOnly, Direction::SendRecv),
        };
        let mut changes = rtc.sdp_api();
        let stream = Some("kvs-storage-session".to_owned());
        let video = changes.add_media(MediaKind::Video, video, stream.clone(), None, None);
        let audio = changes.add_media(MediaKind::Audio, audio, stream, None, None);
        let (offer, pending) = changes.apply().ok_or("an offer of nothing")?;
        let peer = Self {
            who,
            rtc,
            pending: Some(pending),
            video,
            audio,
            local,
            candidates: 0,
            made: now,
            connected: false,
            quiet_since: None,
            timeout: now,
            gone: false,
        };
        Ok((peer, offer.to_sdp_string()))
    }

    /// The name of the first section of its offer.
    pub(super) fn first_mid(&self) -> String {
        self.video.to_string()
    }

    /// Whether its offer has no answer yet.
    pub(super) fn waits(&self) -> bool {
        self.pending.is_some()
    }

    /// Whether it could still carry anything.
    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Takes an answer.
    ///
    /// # Errors
    /// Why not, for its sender. The offer stays open.
    pub(super) fn answer(&mut self, sdp: &str) -> Result<(), String> {
        let sends = match self.who {
            Who::Master => Sends::Everything,
            Who::Viewer(_) => Sends::SoundAtMost,
        };
        check(sdp, sends)?;
        let answer =
            SdpAnswer::from_sdp_string(sdp).map_err(|error| format!("The answer is no SDP: {error}"))?;
        let pending = self.pending.take().ok_or("The offer has an answer already.")?;
        self.rtc.sdp_api().accept_answer(pending, answer).map_err(|error| {
            self.rtc.disconnect();
            format!("The answer does not fit the offer: {error}. Join again for another one.")
        })
    }

    /// Takes a candidate (`candidate:…`). One that is of no use here, of TCP or of a name, is left out.
    pub(super) fn candidate(&mut self, candidate: &str) {
        let text = candidate.trim().trim_start_matches("a=");
        if self.candidates >= MOST_CANDIDATES {
            return;
        }
        match Candidate::from_sdp_string(text) {
            Ok(candidate) if candidate.addr().is_ipv4() == self.local.is_ipv4() => {
                self.candidates += 1;
                self.rtc.add_remote_candidate(candidate);
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(who = ?self.who, %error, "a candidate is left out"),
        }
    }

    /// Takes a datagram, if it is for this connection.
    pub(super) fn datagram(&mut self, source: SocketAddr, data: &[u8], now: Instant) -> bool {
        let Ok(receive) = Receive::new(Protocol::Udp, source, self.local, data) else { return false };
        let input = Input::Receive(now, receive);
        if self.gone || !self.rtc.accepts(&input) {
            return false;
        }
        if let Err(error) = self.rtc.handle_input(input) {
            tracing::debug!(who = ?self.who, %error, "a datagram is left out");
        }
        true
    }

    /// When [`Peer::handle_timeout`] has something to do.
    pub(super) fn poll_timeout(&self) -> Instant {
        self.timeout
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Err(error) = self.rtc.handle_input(Input::Timeout(now)) {
            tracing::warn!(who = ?self.who, %error, "a connection of a storage session fails");
            self.rtc.disconnect();
        }
    }

    /// Says goodbye; what there is to send comes out of [`Peer::poll_event`].
    pub(super) fn close(&mut self) {
        if self.rtc.close().is_err() {
            self.rtc.disconnect();
        }
    }

    /// What the inputs so far have caused, one by one.
    pub(super) fn poll_event(&mut self, now: Instant) -> Option<Event> {
        loop {
            let output = match self.rtc.poll_output() {
                Ok(output) => output,
                Err(error) => {
                    tracing::warn!(who = ?self.who, %error, "a connection of a storage session fails");
                    self.rtc.disconnect();
                    return self.end("it failed");
                }
            };
            match output {
                RtcOutput::Timeout(at) => {
                    self.timeout = at;
                    return self.over(now);
                }
                RtcOutput::Transmit(transmit) => {
                    let data = Bytes::copy_from_slice(&transmit.contents);
                    return Some(Event::Transmit(transmit.destination, data));
                }
                RtcOutput::Event(event) => {
                    if let Some(event) = self.event(event, now) {
                        return Some(event);
                    }
                }
            }
        }
    }

    fn event(&mut self, event: RtcEvent, now: Instant) -> Option<Event> {
        match event {
            RtcEvent::Connected => {
                self.connected = true;
                Some(Event::Connected)
            }
            RtcEvent::IceConnectionStateChange(state) => {
                self.quiet_since = (state == IceConnectionState::Disconnected).then_some(now);
                None
            }
            RtcEvent::MediaData(data) if data.mid == self.video => Some(Event::Video(frame(data))),
            RtcEvent::MediaData(data) if data.mid == self.audio => Some(Event::Sound(frame(data))),
            RtcEvent::KeyframeRequest(_) => Some(Event::KeyFrameWanted),
            RtcEvent::Closed => self.end("it closed the connection"),
            _ => None,
        }
    }

    fn over(&mut self, now: Instant) -> Option<Event> {
        if !self.rtc.is_alive() {
            return self.end("it closed the connection");
        }
        if self.quiet_since.is_some_and(|since| now.saturating_duration_since(since) >= SILENCE) {
            return self.end("nothing is heard of it");
        }
        if !self.connected && now.saturating_duration_since(self.made) >= TO_CONNECT {
            return self.end("it did not connect");
        }
        None
    }

    fn end(&mut self, why: &'static str) -> Option<Event> {
        (!std::mem::replace(&mut self.gone, true)).then_some(Event::Gone(why))
    }

    pub(super) fn ask_for_key_frame(&mut self) {
        if let Some(mut writer) = self.rtc.writer(self.video) {
            let kinds = [KeyframeRequestKind::Pli, KeyframeRequestKind::Fir];
            if let Some(kind) = kinds.into_iter().find(|kind| writer.is_request_keyframe_possible(*kind)) {
                // before its first packet there is nobody to ask
                let _ = writer.request_keyframe(None, kind);
            }
        }
    }

    /// Sends on what another one sent; `false`: it does not take it.
    pub(super) fn send(&mut self, kind: MediaKind, frame: &Frame) -> bool {
        let (mid, codec) = match kind {
            MediaKind::Video => (self.video, Codec::H264),
            MediaKind::Audio => (self.audio, Codec::Opus),
        };
        if !self.connected || self.gone {
            return false;
        }
        let Some(writer) = self.rtc.writer(mid) else { return false };
        let Some(payload) =
            writer.payload_params().find(|params| params.spec().codec == codec).map(|params| params.pt())
        else {
            return false;
        };
        writer.write(payload, frame.arrival, frame.time, frame.data.clone()).is_ok()
    }
}

fn frame(data: MediaData) -> Frame {
    Frame {
        time: data.time,
        arrival: data.network_time,
        contiguous: data.contiguous,
        report: data.last_sender_info.map(|sender| (sender.ntp_time, sender.rtp_time)),
        data: data.data,
    }
}
