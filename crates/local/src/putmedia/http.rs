//! `POST /putMedia`: the session's head, and the two streams of its connection.

use std::{convert::Infallible, pin::Pin, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, BodyDataStream},
    extract::State,
    response::Response,
    routing::post,
};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::{HeaderMap, HeaderValue, header};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;

use super::{Ack, ErrorId, Fragment, Ingest, Limits, Output};
use crate::{
    App,
    archive::now_ms,
    auth::SignedHead,
    control::Stream as KvsStream,
    error::{ErrorKind, ServiceError},
};

/// Acknowledgements that the producer has not read. Full: the body is not read on, and TCP tells the producer.
const ACKS: usize = 256;
/// Silence after which the producer is told that the service is still here,
const IDLE_ACK: Duration = Duration::from_secs(10);
/// and how often that happens before the connection is closed.
const IDLE_ACKS: u32 = 3;

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new().route("/putMedia", post(put_media))
}

/// What the headers say.
struct Head {
    stream: KvsStream,
    /// Added to the timecodes of clusters: the producer's start when they are relative to it.
    base_ms: u64,
    acks: bool,
}

fn head(app: &App, region: &str, headers: &HeaderMap) -> Result<Head, ServiceError> {
    let text = |name: &str| {
        let value = headers.get(name).map(|value| value.to_str());
        value.transpose().map_err(|_| ServiceError::invalid(name, "is no text"))
    };
    let (name, arn) = (text("x-amzn-stream-name")?, text("x-amzn-stream-arn")?);
    if name.is_some() && arn.is_some() {
        return Err(ServiceError::new(
            ErrorKind::InvalidArgument,
            "x-amzn-stream-name and x-amzn-stream-arn: only one of them can be given",
        ));
    }
    let stream = app.control.find_stream(region, name, arn)?;
    let start = match text("x-amzn-producer-start-timestamp")? {
        None => None,
        // Some producers do not pad the milliseconds; they mean what they say.
        Some(seconds) => Some(
            seconds.parse::<f64>().ok().filter(|seconds| seconds.is_finite() && *seconds >= 0.0).ok_or_else(
                || ServiceError::invalid("x-amzn-producer-start-timestamp", "must be seconds since 1970"),
            )?,
        ),
    };
    let base_ms = match text("x-amzn-fragment-timecode-type")? {
        Some("ABSOLUTE") => 0,
        Some("RELATIVE") => {
            let start = start.ok_or_else(|| {
                ServiceError::invalid(
                    "x-amzn-producer-start-timestamp",
                    "is required with RELATIVE timecodes",
                )
            })?;
            (start * 1000.0).round() as u64
        }
        _ => {
            return Err(ServiceError::invalid(
                "x-amzn-fragment-timecode-type",
                "must be ABSOLUTE or RELATIVE",
            ));
        }
    };
    let acks = text("x-amzn-fragment-acknowledgment-required")? != Some("0");
    Ok(Head { stream, base_ms, acks })
}

async fn put_media(
    State(app): State<Arc<App>>,
    SignedHead(caller): SignedHead,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ServiceError> {
    let head = head(&app, &caller.region, &headers)?;
    let mut body = body.into_data_stream();
    // A first look, and a turn for the connection to notice it, make the server answer `Expect: 100-continue` before the
    // 200. curl waits for that, up to a second at the start of each session.
    let first = futures::future::poll_fn(|context| {
        std::task::Poll::Ready(match Pin::new(&mut body).poll_next(context) {
            std::task::Poll::Ready(item) => Some(item),
            std::task::Poll::Pending => None,
        })
    })
    .await;
    tokio::task::yield_now().await;
    let (acks, lines) = mpsc::channel::<Result<Bytes, Infallible>>(ACKS);
    let session = Session { app, head, acks, number: None };
    tokio::spawn(session.run(first, body));
    let mut response = Response::new(Body::from_stream(ReceiverStream::new(lines)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

struct Session {
    app: Arc<App>,
    head: Head,
    acks: mpsc::Sender<Result<Bytes, Infallible>>,
    /// Number and time of arrival of the open fragment.
    number: Option<(String, u64)>,
}

type Piece = Option<Result<Bytes, axum::Error>>;

impl Session {
    async fn run(mut self, first: Option<Piece>, mut body: BodyDataStream) {
        let stream = self.head.stream.name.clone();
        tracing::info!(stream, "PutMedia session begins");
        let mut ingest = Ingest::new(Limits::default());
        let mut first = first;
        let mut idle = 0;
        let end = loop {
            let piece = match first.take() {
                Some(piece) => Ok(piece),
                None => tokio::select! {
                    piece = timeout(IDLE_ACK, body.next()) => piece,
                    // The producer has left; there is nobody to read for.
                    () = self.acks.closed() => break "the producer closed the connection".to_owned(),
                },
            };
            let outputs = match piece {
                Err(_) => {
                    idle += 1;
                    if idle > IDLE_ACKS {
                        break "nothing came for 30 s".to_owned();
                    }
                    self.send(&Ack::Idle).await;
                    continue;
                }
                Ok(Some(Ok(data))) => {
                    idle = 0;
                    ingest.push(&data)
                }
                // What was open is not complete, and never will be.
                Ok(Some(Err(error))) => break format!("the connection broke: {error}"),
                Ok(None) => {
                    let outputs = ingest.finish();
                    if let Err(reason) = self.outputs(outputs).await {
                        break reason;
                    }
                    break "complete".to_owned();
                }
            };
            if let Err(reason) = self.outputs(outputs).await {
                break reason;
            }
        };
        tracing::info!(stream, end, "PutMedia session ends");
    }

    /// Handles what the ingest says; an error ends the session.
    async fn outputs(&mut self, outputs: Vec<Output>) -> Result<(), String> {
        for output in outputs {
            match output {
                Output::Begun { timecode_ms } => {
                    let number = self.app.archive.next_number(&self.head.stream.folder());
                    self.number = Some((number.clone(), now_ms()));
                    self.send(&Ack::Buffering { timecode_ms, number }).await;
                }
                Output::Complete(fragment) => self.complete(*fragment).await?,
                Output::Refused { timecode_ms, id, reason } => {
                    self.refuse(timecode_ms, id).await;
                    return Err(format!("{}: {reason}", id.code()));
                }
            }
        }
        Ok(())
    }

    async fn complete(&mut self, fragment: Fragment) -> Result<(), String> {
        let (number, server_ms) = self.number.take().unwrap_or_default();
        let timecode_ms = fragment.timecode_ms;
        self.send(&Ack::Received { timecode_ms, number: number.clone() }).await;
        // As it is now: it may have been changed or deleted since the session began.
        let Ok(stream) =
            self.app.control.find_stream(&self.head.stream.region, None, Some(&self.head.stream.arn))
        else {
            self.number = Some((number, server_ms));
            self.refuse(Some(timecode_ms), ErrorId::StreamNotActive).await;
            return Err("the stream was deleted".to_owned());
        };
        if stream.retention_hours == 0 {
            return Ok(());
        }
        let (archive, key) = (self.app.archive.clone(), stream.folder());
        let producer_ms = self.head.base_ms + timecode_ms;
        let stored = {
            let number = number.clone();
            tokio::task::spawn_blocking(move || {
                archive.store(&key, &number, producer_ms, server_ms, &fragment)
            })
            .await
        };
        let failed = match stored {
            Ok(Ok(_)) => {
                self.send(&Ack::Persisted { timecode_ms, number }).await;
                return Ok(());
            }
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::error!(
            stream = stream.name,
            fragment = number,
            error = failed,
            "a fragment could not be stored"
        );
        self.number = Some((number, server_ms));
        self.refuse(Some(timecode_ms), ErrorId::ArchivalError).await;
        Err(failed)
    }

    async fn refuse(&self, timecode_ms: Option<u64>, id: ErrorId) {
        let number = self.number.as_ref().map(|(number, _)| number.clone());
        self.send(&Ack::Error { timecode_ms, number, id }).await;
    }

    async fn send(&self, ack: &Ack) {
        if self.head.acks {
            // A producer that has left reads no acknowledgement; what it sent is stored all the same.
            let _ = self.acks.send(Ok(Bytes::from(ack.line()))).await;
        }
    }
}
