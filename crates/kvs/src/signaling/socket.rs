//! The WebSocket under the messages: a thin shell over [`super::wire`].

use std::time::{Duration, Instant};

use futures::{SinkExt, StreamExt};
use kvs_aws::{AwsContext, ConnectError, Connection, CredentialsError, ErrorClass, ErrorResponse};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use url::Url;

use super::reclaim::{Reclaim, Reclaimable};
use super::throttle::Throttle;
use super::wire::{self, IceCandidate, SignalingEvent, WireError};
use crate::id::{ChannelArn, ClientId};
use crate::retry::should_retry;

/// AWS's own browser clients ask for this; the URL is used at once.
const URL_LIFETIME: Duration = Duration::from_secs(299);
/// TCP and TLS; through a proxy that much to it, and from it.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// WebSocket's own handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// A frame on its way out. Longer, and the network takes nothing any more.
const SEND_WITHIN: Duration = Duration::from_secs(10);
/// The close handshake, which is a courtesy.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
/// The rest of a refusal.
const REFUSAL_WITHIN: Duration = Duration::from_secs(2);
/// As much of a refusal as is read.
const REFUSAL: usize = 16 * 1024;
/// A message of 10,000 base64 characters, and room for what the service puts around it. Longer: the connection ends.
const MESSAGE: usize = 256 * 1024;
/// Events that the receiver has not taken. Full: reading and pings stop, and TCP tells the service.
const EVENTS: usize = 256;
/// Messages that the throttle holds back. Full: the sender waits.
const MESSAGES: usize = 64;

/// As what to join. There is no role in the URL: the endpoint decides it, and a viewer's client id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignalingRole {
    /// Receives the offers of all viewers.
    Master,
    /// Sends offers to the master.
    Viewer {
        /// Unique on the channel.
        client_id: ClientId,
    },
}

/// Where and how to connect.
#[derive(Clone, Debug)]
pub struct SignalingConfig {
    /// The WSS endpoint for the role.
    pub wss: Url,
    /// Signed into the URL.
    pub channel_arn: ChannelArn,
    /// Decides which endpoint `wss` has to be.
    pub role: SignalingRole,
    /// Idle connections are closed after 10 minutes; pings count. Two without a pong close it from this side.
    pub ping_interval: Duration,
}

impl SignalingConfig {
    /// With a ping every 20 s.
    #[must_use]
    pub fn new(wss: Url, channel_arn: ChannelArn, role: SignalingRole) -> Self {
        Self { wss, channel_arn, role, ping_interval: Duration::from_secs(20) }
    }
}

/// Why there is no connection, or why a message did not go.
#[derive(Debug, thiserror::Error)]
pub enum SignalingError {
    /// No credentials, or a URL that cannot be signed.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The endpoint was not reached, or is none.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// There was no handshake in time, or what answered is no WebSocket.
    #[error("no signaling with {host}: {reason}")]
    Handshake {
        /// `HOST` or `HOST:PORT`
        host: String,
        /// What went wrong, in words.
        reason: String,
    },
    /// The service answered the handshake with an error.
    #[error("the signaling handshake of {channel} was refused with HTTP {}{}: {}", answer.status,
            answer.error_type.as_ref().map_or(String::new(), |kind| format!(" {kind}")), answer.message)]
    Refused {
        /// The channel's ARN.
        channel: ChannelArn,
        /// What it answered.
        answer: ErrorResponse,
    },
    /// The message itself cannot be sent.
    #[error(transparent)]
    Message(#[from] WireError),
    /// The connection is gone.
    #[error("the signaling connection is closed")]
    Closed,
}

impl SignalingError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            SignalingError::Credentials(error) => error.class(),
            SignalingError::Connect(error) => error.class(),
            SignalingError::Message(_) => ErrorClass::InvalidRequest,
            SignalingError::Handshake { .. } | SignalingError::Closed => ErrorClass::Network,
            SignalingError::Refused { answer, .. } => answer.class,
        }
    }
}

/// Sends messages; cheap to clone. When the last one is dropped the connection is closed, after what is queued.
#[derive(Clone, Debug)]
pub struct SignalingSender {
    queue: mpsc::Sender<Queued>,
}

#[derive(Debug)]
enum Queued {
    Message { kind: Kind, text: String },
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Description,
    Candidate,
}

impl SignalingSender {
    /// Sends an offer to the master.
    ///
    /// # Errors
    /// [`SignalingError::Message`], [`SignalingError::Closed`].
    pub async fn send_offer(&self, sdp: &str, correlation_id: Option<&str>) -> Result<(), SignalingError> {
        self.send(Kind::Description, wire::offer(sdp, None, correlation_id)?).await
    }

    /// Sends an answer, as a master to the viewer who offered.
    ///
    /// # Errors
    /// [`SignalingError::Message`], [`SignalingError::Closed`].
    pub async fn send_answer(
        &self,
        sdp: &str,
        recipient: Option<&str>,
        correlation_id: Option<&str>,
    ) -> Result<(), SignalingError> {
        self.send(Kind::Description, wire::answer(sdp, recipient, correlation_id)?).await
    }

    /// Sends a candidate; as a master, to a viewer.
    ///
    /// # Errors
    /// [`SignalingError::Message`], [`SignalingError::Closed`].
    pub async fn send_candidate(
        &self,
        candidate: &IceCandidate,
        recipient: Option<&str>,
    ) -> Result<(), SignalingError> {
        self.send(Kind::Candidate, wire::candidate(candidate, recipient, None)?).await
    }

    /// Closes the connection, after what is queued; [`SignalingEvent::Closed`] follows. Other clones may live on.
    pub async fn close(&self) {
        // Closed already is as good.
        let _ = self.queue.send(Queued::Close).await;
    }

    async fn send(&self, kind: Kind, text: String) -> Result<(), SignalingError> {
        self.queue.send(Queued::Message { kind, text }).await.map_err(|_| SignalingError::Closed)
    }
}

/// Receives events, the last of which is [`SignalingEvent::Closed`].
#[derive(Debug)]
pub struct SignalingReceiver {
    events: mpsc::Receiver<SignalingEvent>,
}

impl SignalingReceiver {
    /// The next event; `None` after [`SignalingEvent::Closed`].
    pub async fn recv(&mut self) -> Option<SignalingEvent> {
        self.events.recv().await
    }
}

type Socket = WebSocketStream<Reclaimable<Connection>>;

/// Joins a channel. The URL is signed anew for each connection; where the service says that this was too late, or with
/// credentials that have ended, once more with the right time or new ones.
///
/// # Errors
/// [`SignalingError`]; its class says what to do.
pub async fn connect(
    context: &AwsContext,
    config: &SignalingConfig,
) -> Result<(SignalingSender, SignalingReceiver), SignalingError> {
    let skew = context.skew_ms();
    let socket = match handshake(context, config).await {
        Err(error) if should_retry(context, skew, error.class()).await => handshake(context, config).await?,
        result => result?,
    };
    let (queue, messages) = mpsc::channel(MESSAGES);
    let (sink, events) = mpsc::channel(EVENTS);
    tokio::spawn(run(socket, messages, sink, config.ping_interval));
    Ok((SignalingSender { queue }, SignalingReceiver { events }))
}

async fn handshake(context: &AwsContext, config: &SignalingConfig) -> Result<Socket, SignalingError> {
    let mut endpoint = config.wss.clone();
    if endpoint.path().is_empty() {
        endpoint.set_path("/");
    }
    let mut parameters = vec![("X-Amz-ChannelARN", config.channel_arn.as_str())];
    if let SignalingRole::Viewer { client_id } = &config.role {
        parameters.push(("X-Amz-ClientId", client_id.as_str()));
    }
    let url = context.presign_websocket(&endpoint, &parameters, URL_LIFETIME).await?;
    let failed = |reason: String| SignalingError::Handshake { host: endpoint.authority().to_owned(), reason };
    let limits = WebSocketConfig::default().max_message_size(Some(MESSAGE)).max_frame_size(Some(MESSAGE));
    let (stream, reclaim) = Reclaimable::new(context.connect(&endpoint, CONNECT_WITHIN).await?);
    let connected = timeout(HANDSHAKE_WITHIN, async {
        match client_async_with_config(url.as_str(), stream, Some(limits)).await {
            Ok(connected) => Ok(connected),
            Err(tungstenite::Error::Http(response)) => {
                let (head, body) = response.into_parts();
                let body = refusal_body(&head.headers, body.unwrap_or_default(), reclaim).await;
                Err(refused(context, config, &head, &body))
            }
            Err(error) => Err(failed(error.to_string())),
        }
    });
    let (socket, answer) = connected
        .await
        .map_err(|_| failed(format!("no handshake within {} s", HANDSHAKE_WITHIN.as_secs())))??;
    if let Some(date) = answer.headers().get("date").and_then(|date| date.to_str().ok()) {
        context.observe_date(date);
    }
    Ok(socket)
}

/// The body of a refusal, of which `body` has come already.
async fn refusal_body(headers: &http::HeaderMap, mut body: Vec<u8>, stream: Reclaim<Connection>) -> Vec<u8> {
    let length = headers
        .get(http::header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok())
        // Without it the body lasts until the connection ends (RFC 9112 section 6.3), or is chunked: then what came
        // with the head has to do.
        .unwrap_or(if headers.contains_key(http::header::TRANSFER_ENCODING) { 0 } else { REFUSAL })
        .min(REFUSAL);
    if let Some(stream) = stream.take()
        && let Some(missing) = length.checked_sub(body.len())
    {
        let mut stream = stream.take(missing as u64);
        // What came until then has to do.
        let _ = timeout(REFUSAL_WITHIN, stream.read_to_end(&mut body)).await;
    }
    body.truncate(REFUSAL);
    body
}

fn refused(
    context: &AwsContext,
    config: &SignalingConfig,
    head: &http::response::Parts,
    body: &[u8],
) -> SignalingError {
    if let Some(date) = head.headers.get("date").and_then(|date| date.to_str().ok()) {
        context.observe_date(date);
    }
    let answer = ErrorResponse::new(head.status.as_u16(), &head.headers, body);
    SignalingError::Refused { channel: config.channel_arn.clone(), answer }
}

async fn run(
    mut socket: Socket,
    mut messages: mpsc::Receiver<Queued>,
    events: mpsc::Sender<SignalingEvent>,
    ping_interval: Duration,
) {
    let (code, reason) = relay(&mut socket, &mut messages, &events, ping_interval).await;
    let _ = timeout(CLOSE_WITHIN, socket.close(None)).await;
    drop(socket);
    // Nobody listens any more when this fails.
    let _ = events.send(SignalingEvent::Closed { code, reason }).await;
}

/// Until the connection ends: its close code and why.
async fn relay(
    socket: &mut Socket,
    messages: &mut mpsc::Receiver<Queued>,
    events: &mpsc::Sender<SignalingEvent>,
    ping_interval: Duration,
) -> (Option<u16>, String) {
    let mut descriptions = Throttle::per_second(5);
    let mut candidates = Throttle::per_second(20);
    let mut ping = interval(ping_interval);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unanswered = 0;
    // A message whose time has not come. One at a time: the order of messages is kept.
    let mut held: Option<(Instant, String)> = None;
    loop {
        tokio::select! {
            frame = socket.next() => {
                // Whatever comes shows that the connection is alive.
                unanswered = 0;
                let event = match frame {
                    Some(Ok(Message::Text(text))) => wire::decode(&text),
                    Some(Ok(Message::Binary(bytes))) => wire::decode_bytes(&bytes),
                    Some(Ok(Message::Close(frame))) => return closed(frame),
                    Some(Ok(_)) => continue,
                    Some(Err(error)) => return (None, error.to_string()),
                    None => return (None, "the service ended the connection".to_owned()),
                };
                if let Some(event) = event
                    && events.send(event).await.is_err()
                {
                    return (None, "the receiver was dropped".to_owned());
                }
            }
            _ = ping.tick() => {
                if unanswered >= 2 {
                    return (None, format!("no pong within {} s", 2 * ping_interval.as_secs()));
                }
                unanswered += 1;
                if let Err(reason) = send(socket, Message::Ping(Default::default())).await {
                    return (None, reason);
                }
            }
            queued = messages.recv(), if held.is_none() => match queued {
                Some(Queued::Message { kind, text }) => {
                    let throttle = if kind == Kind::Candidate { &mut candidates } else { &mut descriptions };
                    held = Some((throttle.take(Instant::now()), text));
                }
                Some(Queued::Close) | None => return (None, "closed by this side".to_owned()),
            },
            () = due(held.as_ref().map(|(at, _)| *at)), if held.is_some() => {
                if let Some((_, text)) = held.take()
                    && let Err(reason) = send(socket, Message::text(text)).await
                {
                    return (None, reason);
                }
            }
        }
    }
}

async fn send(socket: &mut Socket, message: Message) -> Result<(), String> {
    match timeout(SEND_WITHIN, socket.send(message)).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err(format!("the network took nothing for {} s", SEND_WITHIN.as_secs())),
    }
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn closed(frame: Option<CloseFrame>) -> (Option<u16>, String) {
    match frame {
        Some(CloseFrame { code, reason }) => {
            let code: CloseCode = code;
            (
                Some(code.into()),
                if reason.is_empty() { "closed by the service".to_owned() } else { reason.to_string() },
            )
        }
        None => (None, "closed by the service".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_tungstenite::accept_async;

    use super::*;

    async fn context() -> AwsContext {
        AwsContext::builder()
            .region("us-west-2")
            .static_credentials("AKIDEXAMPLE", "secret", None)
            .build()
            .await
            .unwrap()
    }

    async fn listen() -> (TcpListener, SignalingConfig) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wss = Url::parse(&format!("ws://{}", listener.local_addr().unwrap())).unwrap();
        let arn = "arn:aws:kinesisvideo:us-west-2:123456789012:channel/demo/1234567890123".parse().unwrap();
        let role = SignalingRole::Viewer { client_id: "viewer-1".parse().unwrap() };
        (listener, SignalingConfig::new(wss, arn, role))
    }

    #[tokio::test]
    async fn messages_go_both_ways_and_nonsense_is_survived() {
        let (listener, config) = listen().await;
        let server = tokio::spawn(async move {
            let mut socket = accept_async(listener.accept().await.unwrap().0).await.unwrap();
            loop {
                if let Message::Text(text) = socket.next().await.unwrap().unwrap() {
                    let sent: serde_json::Value = serde_json::from_str(&text).unwrap();
                    assert_eq!(sent["action"], "SDP_OFFER");
                    break;
                }
            }
            let answer = base64::engine::general_purpose::STANDARD.encode(r#"{"type":"answer","sdp":"v=0"}"#);
            for text in [
                String::new(),
                "no json".to_owned(),
                format!(r#"{{"messagePayload":"{answer}","messageType":"SDP_ANSWER"}}"#),
            ] {
                socket.send(Message::text(text)).await.unwrap();
            }
            let frame = CloseFrame { code: CloseCode::Away, reason: "Going away".into() };
            socket.close(Some(frame)).await.unwrap();
            while socket.next().await.is_some() {}
        });
        let (sender, mut receiver) = connect(&context().await, &config).await.unwrap();
        sender.send_offer("v=0\r\n", None).await.unwrap();
        assert!(matches!(receiver.recv().await, Some(SignalingEvent::Malformed { .. })));
        assert!(matches!(receiver.recv().await, Some(SignalingEvent::Answer { .. })));
        let expected = SignalingEvent::Closed { code: Some(1001), reason: "Going away".to_owned() };
        assert_eq!(receiver.recv().await, Some(expected));
        assert_eq!(receiver.recv().await, None);
        server.await.unwrap();
        assert!(matches!(sender.send_offer("v=0\r\n", None).await, Err(SignalingError::Closed)));
    }

    #[tokio::test]
    async fn a_service_that_falls_silent_is_noticed() {
        let (listener, mut config) = listen().await;
        config.ping_interval = Duration::from_millis(20);
        let server = tokio::spawn(async move {
            // Never polled again: it answers no ping.
            let socket = accept_async(listener.accept().await.unwrap().0).await.unwrap();
            std::future::pending::<()>().await;
            drop(socket);
        });
        let (_sender, mut receiver) = connect(&context().await, &config).await.unwrap();
        let Some(SignalingEvent::Closed { code: None, reason }) = receiver.recv().await else { panic!() };
        assert!(reason.contains("no pong"), "{reason}");
        server.abort();
    }

    #[tokio::test]
    async fn a_refused_handshake_says_what_the_service_said() {
        let (listener, config) = listen().await;
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let _ = stream.read(&mut request).await.unwrap();
            let body = r#"{"message":"Signature expired: 1 is now earlier than 2"}"#;
            let head = format!(
                "HTTP/1.1 403 Forbidden\r\nx-amzn-ErrorType: InvalidSignatureException:http://x/\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            stream.set_nodelay(true).unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            // In a segment of its own.
            tokio::time::sleep(Duration::from_millis(50)).await;
            stream.write_all(body.as_bytes()).await.unwrap();
            let _ = stream.read(&mut request).await;
        });
        let error = connect(&context().await, &config).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::ClockSkew, "{error}");
        let text = error.to_string();
        assert!(text.contains("403 InvalidSignatureException: Signature expired"), "{text}");
    }

    #[tokio::test]
    // tungstenite's callback wants it.
    #[allow(clippy::result_large_err)]
    async fn a_signature_at_the_wrong_time_is_made_again_at_the_right_one() {
        let (listener, config) = listen().await;
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let count = stream.read(&mut request).await.unwrap();
            let date = |request: &str| request.split("X-Amz-Date=").nth(1).unwrap()[..16].to_owned();
            let first = date(std::str::from_utf8(&request[..count]).unwrap());
            let answer = "HTTP/1.1 403 Forbidden\r\nDate: Fri, 01 Jan 2055 00:00:00 GMT\r\nContent-Length: 21\r\n\r\n\
                          Signature expired: 1 ";
            stream.write_all(answer.as_bytes()).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let mut second = String::new();
            let accept = |request: &tungstenite::handshake::server::Request, response| {
                second = date(&request.uri().to_string());
                Ok(response)
            };
            let mut socket = tokio_tungstenite::accept_hdr_async(stream, accept).await.unwrap();
            socket.close(None).await.unwrap();
            while socket.next().await.is_some() {}
            (first, second)
        });
        let context = context().await;
        let (_sender, mut receiver) = connect(&context, &config).await.unwrap();
        assert!(matches!(receiver.recv().await, Some(SignalingEvent::Closed { .. })));
        let (first, second) = server.await.unwrap();
        assert!(first.starts_with("20") && second.starts_with("20550101T0000"), "{first} {second}");
    }

    #[tokio::test]
    async fn closing_sends_first_what_is_queued() {
        let (listener, config) = listen().await;
        let server = tokio::spawn(async move {
            let mut socket = accept_async(listener.accept().await.unwrap().0).await.unwrap();
            let mut texts = 0;
            while let Some(Ok(message)) = socket.next().await {
                texts += usize::from(message.is_text());
            }
            texts
        });
        let (sender, mut receiver) = connect(&context().await, &config).await.unwrap();
        sender.send_offer("v=0\r\n", None).await.unwrap();
        let text = "candidate:1 1 udp 1 192.0.2.1 5 typ host".to_owned();
        let candidate = IceCandidate { candidate: text, ..IceCandidate::default() };
        sender.send_candidate(&candidate, None).await.unwrap();
        sender.close().await;
        let expected = SignalingEvent::Closed { code: None, reason: "closed by this side".to_owned() };
        assert_eq!(receiver.recv().await, Some(expected));
        assert!(matches!(sender.send_offer("v=0\r\n", None).await, Err(SignalingError::Closed)));
        assert_eq!(server.await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_message_of_fragments_is_one_and_a_monster_ends_the_connection() {
        use tungstenite::protocol::frame::Frame;
        use tungstenite::protocol::frame::coding::{Data, OpCode};
        let (listener, config) = listen().await;
        let server = tokio::spawn(async move {
            let mut socket = accept_async(listener.accept().await.unwrap().0).await.unwrap();
            let payload =
                base64::engine::general_purpose::STANDARD.encode(r#"{"type":"answer","sdp":"v=0"}"#);
            let text = format!(r#"{{"messagePayload":"{payload}","messageType":"SDP_ANSWER"}}"#);
            let (start, end) = text.split_at(20);
            let frame = |part: &str, data, last| {
                Message::Frame(Frame::message(part.as_bytes().to_vec(), OpCode::Data(data), last))
            };
            socket.send(frame(start, Data::Text, false)).await.unwrap();
            socket.send(frame(end, Data::Continue, true)).await.unwrap();
            socket.send(Message::binary(text.into_bytes())).await.unwrap();
            socket.send(Message::binary(vec![0xff])).await.unwrap();
            // The other side may already have closed.
            let _ = socket.send(Message::text("x".repeat(MESSAGE + 1))).await;
            while let Some(Ok(_)) = socket.next().await {}
        });
        let (_sender, mut receiver) = connect(&context().await, &config).await.unwrap();
        for _ in 0..2 {
            assert!(matches!(receiver.recv().await, Some(SignalingEvent::Answer { .. })));
        }
        assert!(matches!(receiver.recv().await, Some(SignalingEvent::Malformed { .. })));
        let Some(SignalingEvent::Closed { code: None, reason }) = receiver.recv().await else { panic!() };
        assert!(reason.contains("too long") || reason.contains("too big"), "{reason}");
        server.await.unwrap();
    }

    #[tokio::test]
    async fn nobody_there_is_a_network_error_with_the_address() {
        let (listener, config) = listen().await;
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let error = connect(&context().await, &config).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Network);
        assert!(error.to_string().contains(&address), "{error}");
    }
}
