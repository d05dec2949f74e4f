//! `POST /putMedia`: from the request to a running session.

use std::{convert::Infallible, pin::Pin, sync::Arc, task::Poll, time::Duration};

use axum::{
    Router,
    body::{Body, BodyDataStream},
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::post,
};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{faults::Call, head::Head, session::Session};
use crate::{
    Abort, App,
    auth::{PayloadHash, authorize},
    error::{ERROR_TYPE, ErrorKind, MEDIA_ERROR_TYPE, ServiceError},
};

/// Acknowledgements that the producer has not read. Full: the body is not read on, and TCP tells the producer.
const ACKS: usize = 256;
/// How long the body of a refused request is read, so that its sender can read why before the connection goes.
const DRAIN: Duration = Duration::from_secs(2);

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new().route("/putMedia", post(put_media))
}

async fn put_media(State(app): State<Arc<App>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let mut body = body.into_data_stream();
    let head = authorize(&app, &parts, PayloadHash::Streamed)
        .and_then(|caller| Ok((Head::read(&app, &caller.region, &parts.headers)?, caller.until)));
    let (head, until) = match head {
        Ok(head) => head,
        Err(error) => return refuse(error.into_response(), body),
    };
    let stream = head.stream.folder();
    if let Some(response) = misbehave(&app, &stream, Call::PutMedia).await {
        app.put_media.sessions.count(&stream, |counters| counters.refused += 1);
        return refuse(response, body);
    }
    let limit = app.config.put_media.connections;
    let Some(open) = app.put_media.sessions.open(&stream, limit) else {
        let message = format!("The stream {} has {limit} connections already.", head.stream.name);
        return refuse(ServiceError::new(ErrorKind::ConnectionLimitExceeded, message).into_response(), body);
    };
    // A first look, and a turn for the connection to notice it, make the server answer `Expect: 100-continue` before the
    // 200. curl waits for that, up to a second at the start of each session.
    let first = futures::future::poll_fn(|context| {
        Poll::Ready(match Pin::new(&mut body).poll_next(context) {
            Poll::Ready(item) => Some(item),
            Poll::Pending => None,
        })
    })
    .await;
    tokio::task::yield_now().await;
    let (acks, lines) = mpsc::channel::<Result<Bytes, Infallible>>(ACKS);
    let abort = parts.extensions.get::<Abort>().cloned().unwrap_or_default();
    // Tracked: the server does not end before what is complete is stored.
    let tasks = app.tasks.clone();
    tasks.spawn(Session::new(app, head, until, open, acks, abort).run(first, body));
    let mut response = Response::new(Body::from_stream(ReceiverStream::new(lines)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Closing a socket with unread data resets it, and the peer may lose an answer that it has not read yet.
fn refuse(response: Response, body: BodyDataStream) -> Response {
    tokio::spawn(drain(body, DRAIN));
    response
}

/// Reads a body to its end, for a while.
pub(super) async fn drain(mut body: BodyDataStream, limit: Duration) {
    let _ = tokio::time::timeout(limit, async { while let Some(Ok(_)) = body.next().await {} }).await;
}

/// What a call that is about a stream suffers before it is answered, and the error that it gets instead of its answer.
pub(crate) async fn misbehave(app: &App, stream: &str, call: Call) -> Option<Response> {
    let fault = app.put_media.faults.at_start(stream, call);
    if let Some(delay) = fault.delay {
        tokio::time::sleep(delay).await;
    }
    fault.error.map(|(status, error_type, message)| on_purpose(status, &error_type, &message))
}

fn on_purpose(status: u16, error_type: &str, message: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, json!({"Message": message}).to_string()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(value) = HeaderValue::from_str(error_type) {
        headers.insert(ERROR_TYPE, value.clone());
        headers.insert(MEDIA_ERROR_TYPE, value);
    }
    response
}
