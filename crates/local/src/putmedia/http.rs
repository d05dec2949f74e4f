//! `POST /putMedia`: from the request to a running session.

use std::{pin::Pin, sync::Arc, task::Poll, time::Duration};

use axum::{
    Router,
    body::{Body, BodyDataStream},
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::post,
};
use futures::Stream;
use http::{HeaderValue, header};
use tokio_stream::wrappers::ReceiverStream;

use super::{acks::Acks, drain::drain, head::Head, session::Session};
use crate::{
    Abort, App,
    auth::{PayloadHash, authorize},
    error::{ErrorKind, ServiceError},
    faults::{Call, answer_instead},
};

/// How long the body of a refused request is read, so that its sender can read why before the connection goes.
const DRAIN: Duration = Duration::from_secs(2);

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new().route("/putMedia", post(put_media))
}

async fn put_media(State(app): State<Arc<App>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let mut body = body.into_data_stream();
    let head = authorize(&app, &parts, PayloadHash::Streamed)
        .and_then(|caller| Ok((Head::read(&app, &caller.scope, &parts.headers)?, caller.until)));
    let (head, until) = match head {
        Ok(head) => head,
        Err(error) => return refuse(error.into_response(), body),
    };
    let stream = head.stream.folder();
    if let Some(response) = answer_instead(&app.faults, &stream, Call::PutMedia).await {
        app.put_media.count(&stream, |counters| counters.refused += 1);
        return refuse(response, body);
    }
    let limit = app.config.put_media.connections;
    let Some(open) = app.put_media.open(&stream, limit) else {
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
    let (acks, lines) = Acks::new(head.acks);
    let abort = parts.extensions.get::<Abort>().cloned().unwrap_or_default();
    // Tracked: the server does not end before what is complete is stored.
    let tasks = app.tasks.clone();
    tasks.spawn(Session::new(app, head, until, open, acks, abort).run(first, body));
    let mut response = Response::new(Body::from_stream(ReceiverStream::new(lines)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn refuse(response: Response, body: BodyDataStream) -> Response {
    tokio::spawn(drain(body, DRAIN));
    response
}
