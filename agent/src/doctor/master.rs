//! The master: joins the channel as one more viewer, and leaves with the first key frame.

use super::checks::Checks;
use super::report::{Fault, Verdict};
use crate::channel::{self, Channel, Incoming, Outgoing, Socket};
use crate::cli::DoctorArguments;
use crate::connecting::{Connecting, Step};
use crate::driver::with_candidates;
use crate::events::Events;
use crate::failure;
use crate::peer::{
    Arrival, MediaEvent, MediaQueue, Negotiated, Peer, PeerError, PeerEvent, PeerStats, RECEIVE_BUFFER,
    RelayProtocol, ServerFigures, UdpPeer, describe,
};
use crate::peer_config::peer_config;
use crate::receive::media_config;
use crate::servers::servers;
use crate::session::Input;
use crate::settings::Settings;
use kvs_aws::AwsContext;
use kvs_media::{AudioOutput, MediaKind, MediaOutput, MediaReceiver, VideoOutput};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::{Instant as At, sleep_until, timeout_at};

/// Servers are waited for before the first offer, so that it can be said which of them work.
const GATHERING: Duration = Duration::from_secs(4);
/// Between looks at them.
const LOOK: Duration = Duration::from_millis(100);
/// Between offers: as the agent does.
const REOFFER: Duration = Duration::from_secs(6);
/// Between trickled candidates: the service takes twenty a second.
const PACE: Duration = Duration::from_millis(60);

/// The connection and what comes of it.
struct Line {
    peer: UdpPeer,
    events: mpsc::Receiver<PeerEvent>,
    media: MediaQueue,
    socket: Socket,
    incoming: Incoming,
    log: Arc<Events>,
    /// Those that were found.
    candidates: Vec<String>,
    /// An offer went out, and with it, or behind it, so many of them.
    told: Option<usize>,
    /// Nothing comes over signaling any more.
    signaling_over: bool,
    connection: Option<Result<(), String>>,
    path: Option<Instant>,
}

/// What came first.
enum Next {
    Answered(Result<Negotiated, PeerError>),
    Refused(String),
    Gone(String),
    /// The peer has news.
    News,
    Late,
}

pub(super) async fn check(
    checks: &mut Checks,
    arguments: &DoctorArguments,
    settings: &Settings,
    aws: &AwsContext,
    channel: Channel,
) {
    let Some(mut line) = join(checks, arguments, settings, aws, channel).await else {
        return;
    };
    gather(checks, settings, &mut line).await;
    if let Some(negotiated) = answer(checks, &mut line).await
        && connect(checks, &mut line).await
    {
        media(checks, &mut line, &negotiated).await;
    }
    // The master keeps a slot of its ten until it hears that; then the socket goes.
    let _ = checks.within(line.peer.close()).await;
}

/// The socket, the servers, and a connection that can be offered.
async fn join(
    checks: &mut Checks,
    arguments: &DoctorArguments,
    settings: &Settings,
    aws: &AwsContext,
    channel: Channel,
) -> Option<Line> {
    let log = Arc::new(Events::default());
    let connecting = Connecting::new(Arc::clone(&log));
    // Of its own: the agent that may be recording keeps its place.
    let client_id = kvs::ClientId::generate(&format!("kvs-ingest-doctor-{}", settings.name));
    let name = Step::Connect.as_str();
    let open = channel::open(aws, channel.clone(), client_id.as_str(), 1, &connecting, Arc::clone(&log));
    let ((socket, incoming), took) = checks.step(name, Fault::Channel, open).await?;
    checks.add(name, Verdict::Ok, took, format!("joined as viewer {}", client_id.as_str()), None);

    let name = Step::IceServers.as_str();
    let call = servers(aws, &channel, client_id.as_str(), settings.relay_only, &connecting);
    let (found, took) = checks.step(name, Fault::Channel, call).await?;
    match &found.without_turn {
        None => {
            let urls = found.servers.iter().map(|server| server.urls.len()).sum::<usize>();
            checks.add(name, Verdict::Ok, took, format!("{urls} addresses of STUN and TURN servers"), None);
        }
        Some(reason) => {
            let remedy = "allow kinesisvideo:GetIceServerConfig: without TURN there is no way where a NAT or a firewall lets \
                          nothing else through";
            checks.add(
                name,
                Verdict::Warning,
                took,
                format!("no TURN servers: {reason}"),
                Some(remedy.to_owned()),
            );
        }
    }
    let mut config = peer_config(settings, aws, &arguments.ice_bind, RECEIVE_BUFFER);
    config.ice_servers = found.servers;
    let (built, took) = checks.within(UdpPeer::new(config, aws)).await;
    match built {
        Some(Ok((peer, events, media))) => Some(Line {
            peer,
            events,
            media,
            socket,
            incoming,
            log,
            candidates: Vec::new(),
            told: None,
            signaling_over: false,
            connection: None,
            path: None,
        }),
        Some(Err(error)) => {
            checks.failure("sockets", Fault::Connection, took, failure::peer(&error));
            None
        }
        None => {
            checks.failed(
                "sockets",
                Fault::Connection,
                "the names of the TURN servers are not found in time",
                None,
            );
            None
        }
    }
}

/// Which of the servers give what they are asked for.
async fn gather(checks: &mut Checks, settings: &Settings, line: &mut Line) {
    const NAME: &str = "relays";
    let began = Instant::now();
    let until = At::now() + GATHERING.min(checks.limit);
    let mut stats = line.peer.stats().await;
    // There are none before the first figures.
    while At::now() < until && (stats.servers.is_empty() || stats.servers.iter().any(|one| !one.useful)) {
        tokio::select! {
            event = line.events.recv() => match event {
                Some(event) => line.heard(event),
                None => break,
            },
            () = sleep_until(At::now() + LOOK) => {}
        }
        stats = line.peer.stats().await;
    }
    let took = began.elapsed();
    let PeerStats { servers, udp_is_silent, .. } = stats;
    let say = |server: &ServerFigures| {
        let state = if server.useful {
            let answers = u32::try_from(server.responses_received).unwrap_or(u32::MAX).max(1);
            format!("works, {} ms", (server.total_round_trip_time / answers).as_millis())
        } else if server.responses_received > 0 {
            "refuses".to_owned()
        } else {
            "silent".to_owned()
        };
        format!("{} ({}) {state}", server.url, server.protocol.as_str())
    };
    let found = servers.iter().map(say).collect::<Vec<_>>().join(", ");
    let relays = |protocol: Option<RelayProtocol>| {
        let all = servers.iter().filter(|one| one.turn && one.useful);
        all.filter(|one| protocol.is_none_or(|protocol| one.protocol == protocol)).count()
    };
    let (verdict, remedy) = if servers.is_empty() {
        return checks.skipped(NAME, "there are no STUN or TURN servers to ask");
    } else if settings.relay_only && relays(None) == 0 {
        let remedy = "let UDP, or at least TCP port 443, out to the TURN servers: spec.ice.transportPolicy is Relay, so that \
                      there is no other way";
        (Verdict::Failed(Fault::Connection), Some(remedy))
    } else if udp_is_silent {
        let remedy = "let UDP out of this network (port 443 to the TURN servers): what goes by TCP makes up for losses by \
                      waiting, and without any relay only masters on the same network are reached";
        (Verdict::Warning, Some(remedy))
    } else {
        (Verdict::Ok, None)
    };
    checks.add(NAME, verdict, took, found, remedy.map(str::to_owned));
}

/// Offers until there is an answer that media can come of.
async fn answer(checks: &mut Checks, line: &mut Line) -> Option<Negotiated> {
    let name = Step::Answer.as_str();
    let (began, until) = (Instant::now(), At::now() + checks.limit);
    let mut next_offer = At::now();
    let next = loop {
        if At::now() >= next_offer {
            let offer = with_candidates(line.peer.offer(), &line.candidates);
            line.told = Some(line.candidates.len());
            line.socket.send(Outgoing::Offer(offer), &line.log);
            next_offer = At::now() + REOFFER;
        }
        match line.next(until.min(next_offer)).await {
            Next::News => {}
            Next::Late if At::now() < until => {}
            next => break next,
        }
    };
    let took = began.elapsed();
    match next {
        Next::Answered(Ok(negotiated)) => {
            let codec = |codec: Option<String>| codec.unwrap_or_else(|| "none".to_owned());
            let mut found = format!(
                "the master sends video {}, audio {}",
                codec(negotiated.video.map(|codec| codec.to_string())),
                codec(negotiated.audio.map(|codec| codec.to_string()))
            );
            if !negotiated.refused.is_empty() {
                found.push_str("; ");
                found.push_str(&negotiated.refused.join("; "));
            }
            checks.add(name, Verdict::Ok, took, found, None);
            return Some(negotiated);
        }
        Next::Answered(Err(error)) => checks.failure(name, Fault::Media, took, failure::peer(&error)),
        Next::Refused(reason) => {
            checks.add(name, Verdict::Failed(Fault::Service), took, reason, None);
        }
        Next::Gone(reason) => checks.add(name, Verdict::Failed(Fault::Network), took, reason, None),
        Next::News | Next::Late => {
            let found = format!("no master answered within {} s", checks.limit.as_secs());
            let remedy = "start the master (camera, browser) on this channel, and look whether it has joined as MASTER; one that \
                          has ten viewers already takes no other";
            checks.add(name, Verdict::Failed(Fault::Master), took, found, Some(remedy.to_owned()));
        }
    }
    None
}

/// Until ICE and DTLS are up.
async fn connect(checks: &mut Checks, line: &mut Line) -> bool {
    let (began, until) = (Instant::now(), At::now() + checks.limit);
    while line.connection.is_none() {
        match line.next(until).await {
            Next::Late => {
                line.connection = Some(Err(format!("nothing came up within {} s", checks.limit.as_secs())));
            }
            Next::Gone(_) | Next::Refused(_) | Next::Answered(_) | Next::News => {}
        }
    }
    let (ice, dtls) = (Step::Ice.as_str(), Step::Dtls.as_str());
    let stats = line.peer.stats().await;
    if let Some(at) = line.path {
        let pair = stats.pair.as_ref().map_or("a path".to_owned(), describe);
        checks.add(ice, Verdict::Ok, at.saturating_duration_since(began), pair, None);
    }
    let since = line.path.unwrap_or(began);
    match line.connection.take() {
        Some(Err(reason)) => {
            let (name, remedy) = match line.path {
                Some(_) => (dtls, "look at the fingerprints and the clock of the master"),
                None => (
                    ice,
                    "let UDP out of this network, or at least TCP port 443 to the TURN servers; where there are none, allow \
                     kinesisvideo:GetIceServerConfig; look whether spec.ice.denyCidrs holds the master's network",
                ),
            };
            let verdict = Verdict::Failed(Fault::Connection);
            checks.add(name, verdict, since.elapsed(), reason, Some(remedy.to_owned()));
            false
        }
        _ => {
            checks.add(dtls, Verdict::Ok, since.elapsed(), "there are keys", None);
            true
        }
    }
}

/// The first packet, and the first picture that can be decoded.
async fn media(checks: &mut Checks, line: &mut Line, negotiated: &Negotiated) {
    let (packet, frame) = (Step::FirstPacket.as_str(), Step::FirstKeyFrame.as_str());
    let (began, until) = (Instant::now(), At::now() + checks.limit);
    let mut receiver = MediaReceiver::new(media_config(negotiated, None));
    let mut first = None;
    let wanted = if negotiated.video.is_some() { MediaKind::Video } else { MediaKind::Audio };
    let found = loop {
        let due = receiver.poll_timeout().map_or(until, At::from_std).min(until);
        let batch = match timeout_at(due, line.media.recv()).await {
            Ok(None) => break Err("the master ended the connection".to_owned()),
            Ok(Some(batch)) => batch,
            Err(_) if At::now() >= until => {
                break Err(format!("none within {} s", checks.limit.as_secs()));
            }
            Err(_) => Vec::new(),
        };
        let (now, wall) = (Instant::now(), std::time::SystemTime::now());
        for Arrival { event, .. } in batch {
            if matches!(event, MediaEvent::Rtp { .. }) && first.is_none() {
                first = Some(now);
                let took = now.saturating_duration_since(began);
                checks.add(packet, Verdict::Ok, took, "media arrives", None);
            }
            match event {
                MediaEvent::Rtp { kind, packet } => receiver.handle_rtp(kind, packet, now, wall),
                MediaEvent::SenderReport(report) => receiver.handle_sender_report(report, now),
                MediaEvent::Message(_) => {}
            }
        }
        receiver.handle_timeout(now);
        if let Some(found) = line.take(&mut receiver, wanted).await {
            break Ok(found);
        }
    };
    let since = first.unwrap_or(began);
    match found {
        Ok(found) => checks.add(frame, Verdict::Ok, since.elapsed(), found, None),
        Err(reason) => {
            let remedy = match (first, wanted) {
                (None, _) => "look at the master's camera or encoder",
                (Some(_), MediaKind::Video) => {
                    "let the encoder send an IDR every few seconds, or when it receives a PLI, with SPS and PPS in front of it"
                }
                (Some(_), MediaKind::Audio) => "look at what the master sends as audio",
            };
            let name = if first.is_some() { frame } else { packet };
            let verdict = Verdict::Failed(Fault::Media);
            checks.add(name, verdict, since.elapsed(), reason, Some(remedy.to_owned()));
        }
    }
}

impl Line {
    fn heard(&mut self, event: PeerEvent) {
        match event {
            PeerEvent::LocalCandidate(text) => self.candidates.push(text),
            PeerEvent::PathFound => self.path = Some(Instant::now()),
            PeerEvent::Connected => self.connection = Some(Ok(())),
            PeerEvent::Failed { reason } => self.connection = Some(Err(reason)),
            PeerEvent::Goodbye => {
                self.connection.get_or_insert(Err("the master ended the connection".to_owned()));
            }
            PeerEvent::Disconnected | PeerEvent::Recovered | PeerEvent::RelayEnds { .. } => {}
        }
    }

    /// What comes next from peer or master, until then.
    async fn next(&mut self, until: At) -> Next {
        // What is found late is trickled, behind the offer.
        let late = self.told.and_then(|told| self.candidates.get(told)).cloned();
        tokio::select! {
            event = self.events.recv() => {
                match event {
                    Some(event) => self.heard(event),
                    None => self.connection = Some(Err("the task of its sockets has ended".to_owned())),
                }
                Next::News
            }
            input = self.incoming.recv(), if !self.signaling_over => match input {
                Some(Input::Answer { sdp }) => Next::Answered(self.peer.accept_answer(&sdp).await),
                Some(Input::RemoteCandidate { candidate, section }) => {
                    // One that is of no use is no news.
                    let _ = self.peer.add_remote_candidate(&candidate, section).await;
                    Next::News
                }
                Some(Input::Refused { error_type, description }) => {
                    Next::Refused(format!("the service refused the offer: {error_type}: {description}"))
                }
                Some(Input::SignalingClosed { reason, .. }) => Next::Gone(format!("signaling closed: {reason}")),
                Some(_) => Next::News,
                None => {
                    self.signaling_over = true;
                    Next::News
                }
            },
            () = sleep_until(At::now() + PACE), if late.is_some() => {
                if let Some(candidate) = late {
                    self.told = self.told.map(|told| told + 1);
                    self.socket.send(Outgoing::Candidate(candidate), &self.log);
                }
                Next::News
            }
            () = sleep_until(until) => Next::Late,
        }
    }

    /// What the receiver has to say: the first of what is wanted, in words.
    async fn take(&self, receiver: &mut MediaReceiver, wanted: MediaKind) -> Option<String> {
        let mut format = None;
        while let Some(output) = receiver.poll_output() {
            match output {
                MediaOutput::Video(VideoOutput::FormatChanged(found)) => format = Some(found),
                MediaOutput::Video(VideoOutput::AccessUnit(_)) => {
                    let size = format.map_or(String::new(), |format| {
                        format!(", {}x{} {}", format.width, format.height, format.profile_name())
                    });
                    return Some(format!("a picture that decoding can start with{size}"));
                }
                MediaOutput::Audio(AudioOutput::Packet(_)) if wanted == MediaKind::Audio => {
                    return Some("sound; the master sends no video".to_owned());
                }
                MediaOutput::Video(VideoOutput::Nack { ssrc, sequences })
                | MediaOutput::Audio(AudioOutput::Nack { ssrc, sequences }) => {
                    // Asked for again later.
                    let _ = self.peer.send_nack(ssrc, &sequences).await;
                }
                MediaOutput::Video(VideoOutput::RequestKeyFrame(_)) => {
                    if let Some(ssrc) = receiver.stats(MediaKind::Video).and_then(|stats| stats.ssrc) {
                        // Asked for again later.
                        let _ = self.peer.send_pli(ssrc).await;
                    }
                }
                MediaOutput::Video(_) | MediaOutput::Audio(_) => {}
            }
        }
        None
    }
}
