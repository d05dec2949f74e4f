//! The WebSockets of clients: their handshake, and their frames to and from the hub.

use std::{
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
use tokio::sync::mpsc;

use super::hub::{Role, SocketId};
use super::service::{Outgoing, Signaling};
use crate::{
    App,
    auth::{PayloadHash, authorize},
    error::{ErrorKind, ServiceError},
    model::{Arn, ArnKind},
};

/// Frames of a client longer than this end its connection. Offers are at most 10,000 characters.
const MAX_FRAME: usize = 128 * 1024;

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
    caller.scope.check(&arn)?;
    let channel = app.control.channel_by_arn(&arn)?.serving()?;
    let role = find("X-Amz-ClientId").map_or(Role::Master, Role::Viewer);
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &app).await.map_err(|error| {
        ServiceError::new(ErrorKind::InvalidArgument, format!("not a WebSocket handshake: {error}"))
    })?;
    // any protocol will do; the C SDK asks for "wss", and some clients want theirs back
    let protocol =
        parts.headers.get(http::header::SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok());
    let protocol = protocol.and_then(|all| all.split(',').next()).map(|first| first.trim().to_owned());

    let (id, queue) = app.signaling.connect(&channel, role.clone())?;
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
        let timeout = signaling.poll_timeout(id);
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
