//! The sockets under the [`Hub`].

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{
        FromRequestParts, Request,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade},
    },
    response::Response,
};
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, watch},
    time::{sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::hub::{Action, ChannelView, ConnectionId, Hub, Peer, Refusal};
use super::message;
use crate::{
    App,
    auth::{PayloadHash, authorize},
    config::SignalingLimits,
    control::{Arn, ArnKind, Channel},
    error::{ErrorKind, ServiceError},
};

/// Frames that a client has not read. When full, the client is cut off: it reads too slowly to be of use.
const QUEUE: usize = 512;
/// How long a close handshake may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

enum Outgoing {
    Text(String),
    Close(u16, &'static str),
}

/// All signaling connections.
pub struct Signaling {
    limits: SignalingLimits,
    hub: Mutex<Hub>,
    queues: Mutex<HashMap<ConnectionId, mpsc::Sender<Outgoing>>>,
    changed: watch::Sender<u64>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Signaling {
    pub(crate) fn new(limits: SignalingLimits, stop: CancellationToken, tasks: TaskTracker) -> Self {
        Self {
            hub: Mutex::new(Hub::new(limits.clone())),
            limits,
            queues: Mutex::default(),
            changed: watch::channel(0).0,
            stop,
            tasks,
        }
    }

    /// Who is on a channel.
    pub fn view(&self, channel_arn: &str) -> ChannelView {
        self.hub.lock().view(channel_arn)
    }

    /// Changes whenever someone comes or goes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Ends the connections of a deleted channel.
    pub fn forget(&self, channel_arn: &str) {
        let actions = self.hub.lock().forget(channel_arn);
        self.act(actions);
    }

    /// Sends a text frame of any content to everyone on a channel, or to one peer. The number of connections.
    pub fn inject(&self, channel_arn: &str, peer: Option<&Peer>, text: &str) -> usize {
        let ids = self.hub.lock().connections(channel_arn, peer);
        self.act(ids.iter().map(|id| Action::Send(*id, text.to_owned())).collect());
        ids.len()
    }

    /// Sends a message without content, such as `GO_AWAY`.
    pub fn inject_control(&self, channel_arn: &str, peer: Option<&Peer>, kind: &str) -> usize {
        self.inject(channel_arn, peer, &message::control(kind))
    }

    /// Closes the connections of a channel, or of one peer.
    pub fn close(&self, channel_arn: &str, peer: Option<&Peer>, code: u16) -> usize {
        let ids = self.hub.lock().connections(channel_arn, peer);
        self.act(ids.iter().map(|id| Action::Close(*id, code, "Going away")).collect());
        ids.len()
    }

    fn act(&self, actions: Vec<Action>) {
        let queues = self.queues.lock();
        for action in actions {
            let (id, outgoing) = match action {
                Action::Send(id, text) => (id, Outgoing::Text(text)),
                Action::Close(id, code, reason) => (id, Outgoing::Close(code, reason)),
            };
            if let Some(queue) = queues.get(&id)
                && queue.try_send(outgoing).is_err()
            {
                tracing::warn!(connection = id, "a client reads too slowly and is cut off");
                // Its task ends when the hub knows it no more.
                self.hub.lock().disconnect(id);
            }
        }
    }
}

/// `GET /` with `Upgrade: websocket`: checks the signed URL and joins the channel. There is no role in the URL: who has an
/// `X-Amz-ClientId` is a viewer.
pub(crate) async fn handshake(app: Arc<App>, request: Request) -> Result<Response, ServiceError> {
    let (mut parts, _) = request.into_parts();
    authorize(&app, &parts, PayloadHash::Body(b""))?;
    let query: HashMap<String, String> =
        url::form_urlencoded::parse(parts.uri.query().unwrap_or("").as_bytes()).into_owned().collect();
    let arn = query
        .get("X-Amz-ChannelARN")
        .ok_or_else(|| ServiceError::new(ErrorKind::InvalidArgument, "X-Amz-ChannelARN: is required"))?;
    let arn: Arn = arn.parse().map_err(|why| ServiceError::invalid("X-Amz-ChannelARN", why))?;
    if arn.kind != ArnKind::Channel {
        return Err(ServiceError::invalid("X-Amz-ChannelARN", "must be a channel's ARN"));
    }
    let channel = app.control.channel_by_arn(&arn)?;
    let peer = match query.get("X-Amz-ClientId") {
        None => Peer::Master,
        Some(id) => {
            let valid = (1..=256).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
                && !id.to_ascii_uppercase().starts_with("AWS_");
            if !valid {
                let why = "must be 1 to 256 of [a-zA-Z0-9_.-] and not begin with AWS_";
                return Err(ServiceError::invalid("X-Amz-ClientId", why));
            }
            Peer::Viewer(id.clone())
        }
    };
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &())
        .await
        .map_err(|error| ServiceError::new(ErrorKind::InvalidArgument, error.body_text()))?;
    let ttl = Duration::from_secs(u64::from(channel.message_ttl_seconds));
    let joined = app.signaling.hub.lock().connect(&channel.arn, ttl, peer.clone(), Instant::now());
    let (id, waiting) = joined.map_err(|refusal| {
        let why = match refusal {
            Refusal::Viewers => "The channel has as many viewers as it may have.",
            Refusal::Rate => "Too many connections a second.",
        };
        ServiceError::new(ErrorKind::ClientLimitExceeded, why)
    })?;
    let (queue, outgoing) = mpsc::channel(QUEUE);
    app.signaling.queues.lock().insert(id, queue);
    app.signaling.act(waiting);
    app.signaling.changed.send_modify(|count| *count += 1);
    tracing::info!(channel = channel.name, connection = id, ?peer, "joined");
    let state = app.clone();
    Ok(upgrade
        .protocols(["wss"])
        .on_failed_upgrade({
            let app = app.clone();
            move |_| leave(&app, id)
        })
        .on_upgrade(move |socket| {
            state.signaling.tasks.track_future(serve(state.clone(), id, channel, socket, outgoing))
        }))
}

fn leave(app: &App, id: ConnectionId) {
    app.signaling.hub.lock().disconnect(id);
    app.signaling.queues.lock().remove(&id);
    app.signaling.changed.send_modify(|count| *count += 1);
}

async fn serve(
    app: Arc<App>,
    id: ConnectionId,
    channel: Channel,
    mut socket: WebSocket,
    outgoing: mpsc::Receiver<Outgoing>,
) {
    let (code, reason) = relay(&app, id, &mut socket, outgoing).await;
    leave(&app, id);
    tracing::info!(channel = channel.name, connection = id, code, reason, "left");
    let close = async {
        if socket.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await.is_ok() {
            while let Some(Ok(_)) = socket.recv().await {}
        }
    };
    // A client that does not answer the close is gone all the same.
    let _ = timeout(CLOSE_WITHIN, close).await;
}

/// Until the connection ends: code and reason.
async fn relay(
    app: &App,
    id: ConnectionId,
    socket: &mut WebSocket,
    mut outgoing: mpsc::Receiver<Outgoing>,
) -> (u16, &'static str) {
    let signaling = &app.signaling;
    let limits = &signaling.limits;
    let started = tokio::time::Instant::now();
    let mut idle = started + limits.idle;
    let end = started + limits.connection;
    let mut go_away = Some(end - limits.go_away.min(limits.connection));
    loop {
        tokio::select! {
            frame = socket.recv() => {
                idle = tokio::time::Instant::now() + limits.idle;
                match frame {
                    Some(Ok(Message::Text(text))) => {
                        let actions = signaling.hub.lock().message(id, &text, Instant::now());
                        signaling.act(actions);
                    }
                    Some(Ok(Message::Binary(_))) => return (1003, "text frames only"),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Close(_))) | None => return (1000, "closed by the client"),
                    Some(Err(_)) => return (1006, "connection lost"),
                }
            }
            frame = outgoing.recv() => match frame {
                Some(Outgoing::Text(text)) => {
                    if socket.send(Message::Text(text.into())).await.is_err() {
                        return (1006, "connection lost");
                    }
                }
                Some(Outgoing::Close(code, reason)) => return (code, reason),
                None => return (1008, "the client reads too slowly"),
            },
            () = sleep_until(go_away.unwrap_or(end)), if go_away.is_some() => {
                go_away = None;
                if socket.send(Message::Text(message::control("GO_AWAY").into())).await.is_err() {
                    return (1006, "connection lost");
                }
            }
            () = sleep_until(end) => return (1001, "Going away"),
            () = sleep_until(idle) => return (1001, "idle"),
            () = signaling.stop.cancelled() => return (1001, "kvs-local ends"),
        }
    }
}
