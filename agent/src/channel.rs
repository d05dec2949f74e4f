//! The signaling channel: looks it up, opens its socket, carries what comes and what goes.

use crate::connecting::{Connecting, Step};
use crate::events::{Event, Events};
use crate::failure;
use crate::session::{Failure, FailureKind, Input};
use kvs::signaling::{
    self, IceCandidate, SignalingConfig, SignalingEvent, SignalingReceiver, SignalingRole, SignalingSender,
};
use kvs::{
    ChannelArn, ChannelEndpoints, ChannelId, ChannelInfo, ClientId, ControlPlane, MediaStorage, Role, Tags,
};
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
    pub arn: ChannelArn,
    pub endpoints: ChannelEndpoints,
    /// For how long it holds undelivered messages.
    pub message_ttl: Duration,
}

/// Looks a channel up as its viewer; makes it when it is missing and `create` says so.
///
/// # Errors
///
/// The calls' failures, and [`FailureKind::MediaStorageEnabled`].
pub async fn resolve(
    control: &ControlPlane,
    channel: &ChannelId,
    create: bool,
    connecting: &Connecting,
) -> Result<Channel, Failure> {
    let tags = create.then(Tags::new);
    let find = control.find_or_create_channel(channel, tags.as_ref());
    let info = connecting.call(Step::Describe, find).await.map_err(|error| failure::call(&error))?.info;
    let storage = connecting.call(Step::MediaStorage, control.media_storage(&info.arn)).await;
    if let MediaStorage::Enabled { stream_arn } = storage.map_err(|error| failure::call(&error))? {
        return Err(stored_by_aws(&info, stream_arn.as_deref()));
    }
    let endpoints = connecting.call(Step::Endpoint, control.channel_endpoints(&info.arn, Role::Viewer)).await;
    let endpoints = endpoints.map_err(|error| failure::call(&error))?;
    Ok(Channel { arn: info.arn, endpoints, message_ttl: info.message_ttl })
}

/// Nothing comes of a channel whose media storage is enabled.
pub(crate) fn stored_by_aws(info: &ChannelInfo, stream_arn: Option<&str>) -> Failure {
    Failure::new(
        FailureKind::MediaStorageEnabled,
        format!(
            "media storage is enabled on channel {} (stored by AWS in {}): its viewers get no media \
             peer to peer. Disable it with `aws kinesisvideo update-media-storage-configuration \
             --channel-arn {} --media-storage-configuration Status=DISABLED`, or use AWS's own storage",
            info.name,
            stream_arn.unwrap_or("a stream"),
            info.arn
        ),
    )
}

/// A message to the master: SDP, or the text of a candidate.
#[derive(Debug)]
pub enum Outgoing {
    Offer(String),
    Candidate(String),
}

/// The sending half of a signaling socket. Dropped, it ends the other half.
pub struct Socket {
    outgoing: mpsc::Sender<Outgoing>,
    closed: CancellationToken,
}

impl Socket {
    /// Queues a message; it is dropped with a warning when the queue is full.
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

/// The receiving half of a signaling socket.
pub struct Incoming {
    receiver: SignalingReceiver,
    /// The attempt that opened it, to be given back when it ends.
    attempt: u64,
    closed: CancellationToken,
    events: Arc<Events>,
}

/// Opens the socket as viewer `client_id`.
///
/// # Errors
///
/// The id is none, or the socket could not be opened.
pub async fn open(
    context: &AwsContext,
    channel: Channel,
    client_id: &str,
    attempt: u64,
    connecting: &Connecting,
    events: Arc<Events>,
) -> Result<(Socket, Incoming), Failure> {
    let client_id = client_id
        .parse::<ClientId>()
        .map_err(|error| Failure::new(FailureKind::InvalidRequest, error.to_string()))?;
    let role = SignalingRole::Viewer { client_id };
    let config = SignalingConfig::new(channel.endpoints.wss, channel.arn, role);
    let connect = connecting.call(Step::Connect, signaling::connect(context, &config));
    let (sender, receiver) = connect.await.map_err(|error| failure::signaling(&error))?;
    events.emit(Event::SignalingOpened);
    let (outgoing, queue) = mpsc::channel(OUTGOING);
    tokio::spawn(send(sender, queue, Arc::clone(&events)));
    let closed = CancellationToken::new();
    let socket = Socket { outgoing, closed: closed.clone() };
    Ok((socket, Incoming { receiver, attempt, closed, events }))
}

impl Incoming {
    /// What comes next for the session; `None` when the socket has ended or was dropped.
    pub async fn recv(&mut self) -> Option<Input> {
        loop {
            let event = tokio::select! {
                () = self.closed.cancelled() => return None,
                event = self.receiver.recv() => event?,
            };
            if let Some(input) = self.input(event) {
                return Some(input);
            }
        }
    }

    fn input(&self, event: SignalingEvent) -> Option<Input> {
        if let Some(what) = message_type(&event) {
            self.events.emit(Event::SignalingReceived { what });
        }
        Some(match event {
            SignalingEvent::Answer { sdp, .. } => Input::Answer { sdp },
            SignalingEvent::Candidate { candidate, .. } => Input::RemoteCandidate {
                section: candidate.sdp_mline_index.unwrap_or(0).into(),
                candidate: candidate.candidate,
            },
            SignalingEvent::Status(status) if status.success => return None,
            SignalingEvent::Status(status) => {
                self.events.emit(Event::SignalingRefused);
                Input::Refused {
                    error_type: status.error_type,
                    description: if status.description.is_empty() {
                        format!("status {}", status.status_code)
                    } else {
                        status.description
                    },
                }
            }
            SignalingEvent::GoAway => Input::GoAway,
            SignalingEvent::ReconnectIceServer => Input::ReconnectIceServer,
            SignalingEvent::Malformed { what, reason } => {
                self.events.emit(Event::SignalingMalformed { what, reason });
                return None;
            }
            // Peer to peer the viewer offers; an offer comes from a storage session only.
            SignalingEvent::Offer { .. } => return None,
            // What this side closes is not heard to the end.
            SignalingEvent::Closed { code, reason } => {
                self.events.emit(Event::SignalingClosed);
                Input::SignalingClosed {
                    attempt: self.attempt,
                    reason: match code {
                        Some(code) => format!("{code} {reason}"),
                        None => reason,
                    },
                }
            }
        })
    }
}

/// The service's word for a message; `None`: it is none.
fn message_type(event: &SignalingEvent) -> Option<&'static str> {
    Some(match event {
        SignalingEvent::Offer { .. } => "SDP_OFFER",
        SignalingEvent::Answer { .. } => "SDP_ANSWER",
        SignalingEvent::Candidate { .. } => "ICE_CANDIDATE",
        SignalingEvent::Status(_) => "STATUS_RESPONSE",
        SignalingEvent::GoAway => "GO_AWAY",
        SignalingEvent::ReconnectIceServer => "RECONNECT_ICE_SERVER",
        SignalingEvent::Malformed { .. } => "malformed",
        SignalingEvent::Closed { .. } => return None,
    })
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
        events.emit(match result {
            Ok(()) => Event::SignalingSent { what },
            Err(error) => Event::SignalingNotSent { what, reason: error.to_string() },
        });
    }
}
