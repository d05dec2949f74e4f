//! The WebSockets around the [`Hub`].

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
use tokio::sync::{mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::hub::{ChannelView, Hub, Output, Role, SocketId, control};
use crate::{
    App, SignalingLimits,
    auth::{PayloadHash, authorize},
    control::{Arn, ArnKind},
    error::{ErrorKind, ServiceError},
};

/// Frames waiting for a slow client. When full, the connection is given up: the client has long stopped reading.
const QUEUE: usize = 1024;
/// Frames of a client longer than this end its connection. Offers are at most 10,000 characters.
const MAX_FRAME: usize = 128 * 1024;

enum Outgoing {
    Text(String),
    Close(u16, &'static str),
}

#[derive(Debug)]
struct Inner {
    hub: Hub,
    queues: HashMap<SocketId, mpsc::Sender<Outgoing>>,
}

/// The signaling service of a running server.
#[derive(Debug)]
pub struct Signaling {
    inner: Mutex<Inner>,
    changed: watch::Sender<u64>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Signaling {
    pub(crate) fn new(limits: SignalingLimits, stop: CancellationToken, tasks: TaskTracker) -> Self {
        let inner = Inner { hub: Hub::new(limits), queues: HashMap::new() };
        Self { inner: Mutex::new(inner), changed: watch::channel(0).0, stop, tasks }
    }

    /// Who is on a channel.
    pub fn view(&self, channel_arn: &str) -> ChannelView {
        self.inner.lock().hub.view(channel_arn)
    }

    /// Changes whenever someone comes or goes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Closes the connections of a deleted channel.
    pub fn forget(&self, channel_arn: &str) {
        self.with(|hub| hub.forget(channel_arn));
        self.note_change();
    }

    /// Sends a text frame, well-formed or not, to everyone on a channel or to one of them; says to how many.
    pub fn inject(&self, channel_arn: &str, role: Option<&Role>, text: &str) -> usize {
        self.each(channel_arn, role, || Outgoing::Text(text.to_owned()))
    }

    /// Sends a message without content: `GO_AWAY`, `RECONNECT_ICE_SERVER`.
    pub fn inject_control(&self, channel_arn: &str, role: Option<&Role>, kind: &str) -> usize {
        self.inject(channel_arn, role, &control(kind))
    }

    /// Closes connections with a code; says how many.
    pub fn close(&self, channel_arn: &str, role: Option<&Role>, code: u16) -> usize {
        self.each(channel_arn, role, || Outgoing::Close(code, "Going away"))
    }

    fn each(&self, channel_arn: &str, role: Option<&Role>, make: impl Fn() -> Outgoing) -> usize {
        let inner = self.inner.lock();
        let ids = inner.hub.sockets(channel_arn, role);
        ids.iter()
            .filter_map(|id| inner.queues.get(id))
            .filter(|queue| queue.try_send(make()).is_ok())
            .count()
    }

    fn note_change(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Runs an input of the hub and hands out what it causes, in order.
    fn with<T>(&self, input: impl FnOnce(&mut Hub) -> T) -> T {
        let mut inner = self.inner.lock();
        let result = input(&mut inner.hub);
        inner.dispatch();
        result
    }

    fn connect(
        &self,
        channel_arn: &str,
        ttl: Duration,
        role: Role,
    ) -> Result<(SocketId, mpsc::Receiver<Outgoing>), ServiceError> {
        let mut inner = self.inner.lock();
        let id = inner.hub.connect(channel_arn, ttl, role, Instant::now())?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        inner.queues.insert(id, sender);
        inner.dispatch();
        drop(inner);
        self.note_change();
        Ok((id, receiver))
    }

    fn disconnect(&self, id: SocketId) {
        let mut inner = self.inner.lock();
        inner.hub.disconnect(id);
        inner.queues.remove(&id);
        drop(inner);
        self.note_change();
    }
}

impl Inner {
    fn dispatch(&mut self) {
        while let Some(output) = self.hub.poll_output() {
            let (id, outgoing, last) = match output {
                Output::Send(id, text) => (id, Outgoing::Text(text), false),
                Output::Close(id, code, reason) => (id, Outgoing::Close(code, reason), true),
            };
            let full = self.queues.get(&id).is_some_and(|queue| queue.try_send(outgoing).is_err());
            if last || full {
                // the socket's task ends when it has sent what is in its queue
                self.queues.remove(&id);
            }
        }
    }
}

/// The signaling handshake: `GET /?X-Amz-ChannelARN=…[&X-Amz-ClientId=…]&<signature>`. Without a client id it is a master.
pub(crate) async fn handshake(app: Arc<App>, request: Request) -> Result<Response, ServiceError> {
    let (mut parts, _) = request.into_parts();
    let caller = authorize(&app, &parts, PayloadHash::Body(b""))?;
    let query = parts.uri.query().unwrap_or("").to_owned();
    let find = |name: &str| {
        url::form_urlencoded::parse(query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    };
    let arn =
        find("X-Amz-ChannelARN").ok_or_else(|| ServiceError::invalid("X-Amz-ChannelARN", "is required"))?;
    let arn: Arn = arn.parse().map_err(|why| ServiceError::invalid("X-Amz-ChannelARN", why))?;
    if arn.kind != ArnKind::Channel {
        return Err(ServiceError::invalid("X-Amz-ChannelARN", "must be a channel's ARN"));
    }
    let channel = app.control.channel_by_arn(&arn)?;
    let role = find("X-Amz-ClientId").map_or(Role::Master, Role::Viewer);
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &app).await.map_err(|error| {
        ServiceError::new(ErrorKind::InvalidArgument, format!("not a WebSocket handshake: {error}"))
    })?;
    // any protocol will do; the C SDK asks for "wss", and some clients want theirs back
    let protocol =
        parts.headers.get(http::header::SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok());
    let protocol = protocol.and_then(|all| all.split(',').next()).map(|first| first.trim().to_owned());

    let ttl = Duration::from_secs(channel.message_ttl_seconds.into());
    let (id, queue) = app.signaling.connect(&channel.arn, ttl, role.clone())?;
    tracing::info!(channel = channel.name, ?role, peer = %caller.peer, "signaling connected");
    let failed = app.clone();
    let upgrade =
        upgrade.protocols(protocol).max_frame_size(MAX_FRAME).max_message_size(MAX_FRAME).on_failed_upgrade(
            move |error| {
                tracing::warn!(%error, "signaling handshake failed");
                failed.signaling.disconnect(id);
            },
        );
    let tasks = app.signaling.tasks.clone();
    Ok(upgrade.on_upgrade(move |socket| {
        tasks.track_future(async move {
            let why = run(&app.signaling, id, queue, socket).await;
            app.signaling.disconnect(id);
            tracing::info!(channel = channel.name, ?role, why, "signaling disconnected");
        })
    }))
}

/// Moves frames until one side ends; says why it ended.
async fn run(
    signaling: &Signaling,
    id: SocketId,
    mut queue: mpsc::Receiver<Outgoing>,
    mut socket: WebSocket,
) -> &'static str {
    loop {
        let timeout = signaling.inner.lock().hub.poll_timeout(id);
        let timeout = async {
            match timeout {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                // replaced or over: the queue holds the close
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = signaling.stop.cancelled() => {
                close(&mut socket, 1001, "Going away").await;
                return "server stops";
            }
            outgoing = queue.recv() => match outgoing {
                Some(Outgoing::Text(text)) => {
                    let sent = tokio::time::timeout(Duration::from_secs(30), socket.send(Message::Text(text.into())));
                    if !matches!(sent.await, Ok(Ok(()))) {
                        return "sending failed";
                    }
                }
                Some(Outgoing::Close(code, reason)) => {
                    close(&mut socket, code, reason).await;
                    return reason;
                }
                None => return "its queue was full",
            },
            () = timeout => signaling.with(|hub| hub.handle_timeout(Instant::now())),
            frame = socket.recv() => match frame {
                Some(Ok(Message::Text(text))) => signaling.with(|hub| hub.message(id, &text, Instant::now())),
                // pings are answered by the WebSocket layer
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {
                    signaling.with(|hub| hub.activity(id, Instant::now()));
                }
                Some(Ok(Message::Binary(_))) => {
                    close(&mut socket, 1003, "Text frames only").await;
                    return "sent a binary frame";
                }
                Some(Ok(Message::Close(_))) | None => return "closed by the client",
                Some(Err(_)) => return "connection broke",
            },
        }
    }
}

async fn close(socket: &mut WebSocket, code: u16, reason: &'static str) {
    let frame = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
    let handshake = async {
        if socket.send(frame).await.is_ok() {
            // the client's own close frame, so that it sees the code and not a reset
            while let Some(Ok(_)) = socket.recv().await {}
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(2), handshake).await;
}
