//! One PutMedia session over one HTTP/1.1 connection: the body goes out while acknowledgements come in.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use bytes::Bytes;
use bytes_utils::SegmentedBuf;
use http::header::{HOST, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Limited, StreamBody};
use hyper_util::rt::TokioIo;
use kvs_aws::{AwsContext, ErrorClass, ErrorResponse};
use tokio::sync::mpsc;
use tokio::time::timeout;
use url::Url;

use crate::{CloseReason, Refusal, SessionStart, Timecodes};

/// Pieces of the body, each of slices that follow each other, between the producer and the socket. When it is full the producer is not asked for more.
const PIECES: usize = 4;
/// Acknowledgements and the like on their way to the producer. When it is full they are not read on.
const EVENTS: usize = 64;
/// What is read of an error answer.
const ERROR_BODY: usize = 16 * 1024;

/// Where a session goes, and how.
#[derive(Clone, Debug)]
pub struct SessionTarget {
    /// Data endpoint of the stream for PUT_MEDIA.
    pub endpoint: Url,
    /// Name of the stream.
    pub stream_name: String,
    /// The header `User-Agent`.
    pub user_agent: String,
    /// Absolute or relative timecodes.
    pub timecodes: Timecodes,
    /// Ask for acknowledgements.
    pub fragment_acks: bool,
    /// TCP and TLS must stand within this.
    pub connect_timeout: Duration,
    /// The answer's head must come within this.
    pub answer_timeout: Duration,
}

/// What happens to a session.
#[derive(Debug)]
pub enum SessionEvent {
    /// The credentials that it is signed with end then.
    Expires(Instant),
    /// TCP and TLS stand: the body may be sent.
    Ready,
    /// The service answered 200.
    Connected,
    /// A piece of the answer's body.
    Acks(Bytes),
    /// It is over. Always the last.
    Closed(CloseReason),
}

/// A session on its way. Dropping it breaks the connection off.
#[derive(Debug)]
pub struct Connection {
    events: mpsc::Receiver<SessionEvent>,
    body: Option<mpsc::Sender<Vec<Bytes>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Connection {
    /// Opens a session in the background.
    #[must_use]
    pub fn open(context: AwsContext, target: SessionTarget, start: SessionStart) -> Self {
        let (body, pieces) = mpsc::channel(PIECES);
        let (sender, events) = mpsc::channel(EVENTS);
        let task = tokio::spawn(async move {
            let reason = run(&context, &target, start, pieces, &sender).await;
            let _ = sender.send(SessionEvent::Closed(reason)).await;
        });
        Self { events, body: Some(body), task }
    }

    /// Room for a piece of the body, if there is room now. `None` also after [`Connection::end`].
    pub fn try_reserve(&self) -> Option<mpsc::Permit<'_, Vec<Bytes>>> {
        self.body.as_ref()?.try_reserve().ok()
    }

    /// The body has ended.
    pub fn is_ended(&self) -> bool {
        self.body.is_none()
    }

    /// Waits for the next event, `Some(None)` when there will be none, or, with `room`, for room in the body, `None`.
    pub async fn next(&mut self, room: bool) -> Option<Option<SessionEvent>> {
        let body = self.body.as_ref().filter(|_| room);
        tokio::select! {
            event = self.events.recv() => Some(event),
            () = has_room(body) => None,
        }
    }

    /// Ends the body. Acknowledgements still come.
    pub fn end(&mut self) {
        self.body = None;
    }
}

/// Never returns when there is no body, or nobody to read it: the connection's last event says so.
async fn has_room(body: Option<&mpsc::Sender<Vec<Bytes>>>) {
    match body {
        Some(body) if body.reserve().await.is_ok() => {}
        _ => std::future::pending().await,
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lost(error: impl std::fmt::Display) -> CloseReason {
    CloseReason::Lost(error.to_string())
}

async fn run(
    context: &AwsContext,
    target: &SessionTarget,
    start: SessionStart,
    pieces: mpsc::Receiver<Vec<Bytes>>,
    events: &mpsc::Sender<SessionEvent>,
) -> CloseReason {
    match exchange(context, target, start, pieces, events).await {
        Ok(reason) | Err(reason) => reason,
    }
}

async fn exchange(
    context: &AwsContext,
    target: &SessionTarget,
    start: SessionStart,
    pieces: mpsc::Receiver<Vec<Bytes>>,
    events: &mpsc::Sender<SessionEvent>,
) -> Result<CloseReason, CloseReason> {
    let (url, headers) = head(target, start)?;
    if url.scheme() != "https" && !context.has_custom_endpoint() {
        return Err(lost(format!(
            "AWS named {url} for media: what is signed and private does not go over plain HTTP"
        )));
    }
    // Before the signature: what that is made with ends no sooner.
    if let Some(end) = context.credentials().await.map_err(lost)?.expiry() {
        let left = end.duration_since(context.now()).unwrap_or_default();
        let _ = events.send(SessionEvent::Expires(Instant::now() + left)).await;
    }
    let signed = context.sign_headers(&Method::POST, &url, &headers, b"").await.map_err(lost)?;
    let stream = context.connect(&url, target.connect_timeout).await.map_err(lost)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
    let driver = tokio::spawn(connection);
    let abort = driver.abort_handle();
    // The connection ends with this function, however it ends.
    let _guard = Guard(abort);
    let _ = events.send(SessionEvent::Ready).await;

    // A piece is a chunk of HTTP, whatever it is made of; what writes it gets the slices as they are.
    let body = StreamBody::new(futures::stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(SegmentedBuf::from(piece))), pieces))
    }));
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = url.path().parse().map_err(lost)?;
    request.headers_mut().extend(headers);
    request.headers_mut().extend(signed);

    let answer = timeout(target.answer_timeout, sender.send_request(request))
        .await
        .map_err(|_| lost(format!("no answer from {url} within {} s", target.answer_timeout.as_secs())))?
        .map_err(lost)?;
    if let Some(date) = answer.headers().get("date").and_then(|date| date.to_str().ok()) {
        context.observe_date(date);
    }
    let status = answer.status();
    if status != StatusCode::OK {
        let (head, body) = answer.into_parts();
        let body = timeout(target.answer_timeout, Limited::new(body, ERROR_BODY).collect()).await;
        let body = body.ok().and_then(Result::ok).map(|body| body.to_bytes()).unwrap_or_default();
        return Ok(refused(ErrorResponse::new(status.as_u16(), &head.headers, &body)));
    }
    let _ = events.send(SessionEvent::Connected).await;
    let mut body = answer.into_body();
    loop {
        match body.frame().await {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data()
                    && events.send(SessionEvent::Acks(data)).await.is_err()
                {
                    return Ok(lost("nobody listens"));
                }
            }
            Some(Err(error)) => return Err(lost(error)),
            None => return Ok(lost("the service ended the session")),
        }
    }
}

/// What the producer makes of an error answer.
fn refused(answer: ErrorResponse) -> CloseReason {
    let ErrorResponse { status, error_type, message, class } = answer;
    let refusal = match class {
        // A time that is wrong may be put right by the answer, as may credentials where they come from.
        ErrorClass::AccessDenied | ErrorClass::CredentialsExpired | ErrorClass::ClockSkew => Refusal::Denied,
        ErrorClass::NotFound => Refusal::NotFound,
        _ => Refusal::Other,
    };
    CloseReason::Refused { status, error_type, message, refusal }
}

struct Guard(tokio::task::AbortHandle);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// URL and the headers that are signed.
fn head(target: &SessionTarget, start: SessionStart) -> Result<(Url, HeaderMap), CloseReason> {
    let mut url = target.endpoint.clone();
    url.set_path("/putMedia");
    url.set_query(None);
    let text = |text: String| HeaderValue::try_from(text).map_err(lost);
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, text(target.user_agent.clone())?);
    headers.insert("x-amzn-stream-name", text(target.stream_name.clone())?);
    let ms = start.start_timestamp_ms;
    headers.insert("x-amzn-producer-start-timestamp", text(format!("{}.{:03}", ms / 1000, ms % 1000))?);
    let kind = match target.timecodes {
        Timecodes::Absolute => "ABSOLUTE",
        Timecodes::Relative => "RELATIVE",
    };
    headers.insert("x-amzn-fragment-timecode-type", HeaderValue::from_static(kind));
    let acks = if target.fragment_acks { "1" } else { "0" };
    headers.insert("x-amzn-fragment-acknowledgment-required", HeaderValue::from_static(acks));
    debug_assert!(!headers.contains_key(HOST), "the signer adds it");
    Ok((url, headers))
}
