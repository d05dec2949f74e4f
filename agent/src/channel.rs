//! The signaling side of the session's actions: looks the channel up, opens the socket, forwards
//! what comes and what goes.

use crate::driver::Message;
use crate::events::{Event, Events};
use crate::failure;
use crate::session::{Failure, FailureKind, Input};
use kvs::signaling::{self, IceCandidate, SignalingConfig, SignalingEvent, SignalingRole, SignalingSender};
use kvs::{ChannelArn, ChannelEndpoints, ChannelId, ClientId, ControlPlane, MediaStorage, Role, Tags};
use kvs_aws::AwsContext;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Offers and candidates waiting for the service's rate limits. When it is full the message is
/// dropped with a warning: the next offer carries everything.
const OUTGOING: usize = 64;

/// A channel that was looked up.
#[derive(Clone, Debug)]
pub struct Channel {
    /// Its ARN.
    pub arn: ChannelArn,
    /// Where it is served.
    pub endpoints: ChannelEndpoints,
    /// For how long it holds undelivered messages.
    pub message_ttl: Duration,
}

/// Looks a channel up as its viewer; makes it when it is missing and `create` says so.
///
/// # Errors
///
/// The calls' failures, and [`FailureKind::MediaStorageEnabled`].
pub async fn resolve(control: &ControlPlane, channel: &ChannelId, create: bool) -> Result<Channel, Failure> {
    let tags = create.then(Tags::new);
    let found = control.find_or_create_channel(channel, tags.as_ref()).await;
    let info = found.map_err(|error| failure::call(&error))?.info;
    let storage = control.media_storage(&info.arn).await.map_err(|error| failure::call(&error))?;
    if let MediaStorage::Enabled { stream_arn } = storage {
        return Err(Failure::new(
            FailureKind::MediaStorageEnabled,
            format!(
                "media storage is enabled on channel {} (stored by AWS in {}): its viewers get no media \
                 peer to peer. Disable it with `aws kinesisvideo update-media-storage-configuration \
                 --channel-arn {} --media-storage-configuration Status=DISABLED`, or use AWS's own storage",
                info.name,
                stream_arn.as_deref().unwrap_or("a stream"),
                info.arn
            ),
        ));
    }
    let endpoints =
        control.channel_endpoints(&info.arn, Role::Viewer).await.map_err(|error| failure::call(&error))?;
    Ok(Channel { arn: info.arn, endpoints, message_ttl: info.message_ttl })
}

/// A message to the master.
#[derive(Debug)]
pub enum Outgoing {
    /// The offer.
    Offer(String),
    /// A local candidate.
    Candidate(String),
}

/// An open signaling socket.
pub struct Socket {
    outgoing: mpsc::Sender<Outgoing>,
    closed: CancellationToken,
}

impl Socket {
    /// Queues a message.
    pub fn send(&self, message: Outgoing, events: &Events) {
        let what = match &message {
            Outgoing::Offer(_) => "SDP_OFFER",
            Outgoing::Candidate(_) => "ICE_CANDIDATE",
        };
        if let Err(error) = self.outgoing.try_send(message) {
            events.emit(Event::SignalingNotSent { what, reason: error.to_string() });
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

/// Opens the socket as viewer `client_id` and forwards what comes, until it ends or is dropped.
pub async fn open(
    context: AwsContext,
    channel: Channel,
    client_id: String,
    attempt: u64,
    messages: mpsc::Sender<Message>,
    events: Arc<Events>,
) {
    let role = match client_id.parse::<ClientId>() {
        Ok(client_id) => SignalingRole::Viewer { client_id },
        Err(error) => {
            let failure = Failure::new(FailureKind::InvalidRequest, error.to_string());
            let input = Input::SignalingOpened { attempt, result: Err(failure) };
            let _ = messages.send(Message::Input(input)).await;
            return;
        }
    };
    let config = SignalingConfig::new(channel.endpoints.wss, channel.arn, role);
    let (sender, mut receiver) = match signaling::connect(&context, &config).await {
        Ok(connected) => connected,
        Err(error) => {
            let input = Input::SignalingOpened { attempt, result: Err(failure::signaling(&error)) };
            let _ = messages.send(Message::Input(input)).await;
            return;
        }
    };
    let (outgoing, queue) = mpsc::channel(OUTGOING);
    let closed = CancellationToken::new();
    let socket = Socket { outgoing, closed: closed.clone() };
    if messages.send(Message::SocketOpen { attempt, socket }).await.is_err() {
        return;
    }
    tokio::spawn(send(sender, queue, Arc::clone(&events)));
    loop {
        let event = tokio::select! {
            () = closed.cancelled() => return,
            event = receiver.recv() => event,
        };
        let input = match event {
            Some(SignalingEvent::Answer { sdp, .. }) => Input::Answer { sdp },
            Some(SignalingEvent::Candidate { candidate, .. }) => Input::RemoteCandidate {
                section: candidate.sdp_mline_index.unwrap_or(0).into(),
                candidate: candidate.candidate,
            },
            Some(SignalingEvent::Status(status)) if status.success => continue,
            Some(SignalingEvent::Status(status)) => Input::Refused {
                error_type: status.error_type,
                description: if status.description.is_empty() {
                    format!("status {}", status.status_code)
                } else {
                    status.description
                },
            },
            Some(SignalingEvent::GoAway) => Input::GoAway,
            Some(SignalingEvent::ReconnectIceServer) => Input::ReconnectIceServer,
            Some(SignalingEvent::Malformed { what, reason }) => {
                events.emit(Event::SignalingMalformed { what, reason });
                continue;
            }
            // Peer to peer the viewer offers; an offer comes from a storage session only.
            Some(SignalingEvent::Offer { .. }) => continue,
            Some(SignalingEvent::Closed { code, reason }) => Input::SignalingClosed {
                attempt,
                reason: match code {
                    Some(code) => format!("{code} {reason}"),
                    None => reason,
                },
            },
            None => return,
        };
        if messages.send(Message::Input(input)).await.is_err() {
            return;
        }
    }
}

async fn send(sender: SignalingSender, mut queue: mpsc::Receiver<Outgoing>, events: Arc<Events>) {
    let mut correlation = 0u64;
    while let Some(message) = queue.recv().await {
        let (what, result) = match message {
            Outgoing::Offer(sdp) => {
                correlation += 1;
                let id = format!("offer-{correlation}");
                ("SDP_OFFER", sender.send_offer(&sdp, Some(&id)).await)
            }
            Outgoing::Candidate(candidate) => {
                let candidate = IceCandidate {
                    candidate,
                    sdp_mid: Some("0".to_owned()),
                    sdp_mline_index: Some(0),
                    username_fragment: None,
                };
                ("ICE_CANDIDATE", sender.send_candidate(&candidate, None).await)
            }
        };
        if let Err(error) = result {
            events.emit(Event::SignalingNotSent { what, reason: error.to_string() });
        }
    }
}
