//! `/livez`, `/readyz`, `/metrics` and `/status`.

mod metrics;
mod status;

use crate::events::Events;
use crate::pipeline::SinkFigures;
use crate::session::Phase;
use crate::state::{Snapshot, State};
use axum::Router;
use axum::extract::State as Extract;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use metrics::Metrics;
use std::sync::Arc;
use std::time::Duration;

/// The driver moves every second; silent for this long, it hangs.
const HANGS: Duration = Duration::from_secs(30);

/// What the handlers look at.
pub struct Context {
    /// The agent.
    pub state: Arc<State>,
    /// The stream's side.
    pub sink: Arc<dyn SinkFigures>,
    /// Name or ARN of the channel.
    pub channel: String,
    /// Name of the stream.
    pub stream: String,
    metrics: Metrics,
}

impl Context {
    /// What the handlers look at.
    pub fn new(
        state: Arc<State>,
        sink: Arc<dyn SinkFigures>,
        events: &Events,
        channel: String,
        stream: String,
    ) -> Self {
        Self { metrics: Metrics::new(events), state, sink, channel, stream }
    }
}

/// The routes.
pub fn router(context: Context) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_text))
        .route("/status", get(status_document))
        .with_state(Arc::new(context))
}

async fn livez(Extract(context): Extract<Arc<Context>>) -> Response {
    let idle = context.state.snapshot().idle;
    if idle < HANGS {
        (StatusCode::OK, "ok\n").into_response()
    } else {
        let text = format!("the session has not moved for {} s\n", idle.as_secs());
        (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
    }
}

async fn readyz(Extract(context): Extract<Arc<Context>>) -> Response {
    let snapshot = context.state.snapshot();
    let code = if ready(&snapshot) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let view = snapshot.view;
    (code, format!("{}: {}\n", view.reason, view.message)).into_response()
}

/// Joined to the channel, and, when a master answers, receiving from its first key frame on. A
/// camera that is off is not a broken deployment.
fn ready(snapshot: &Snapshot) -> bool {
    match snapshot.view.phase {
        Phase::Streaming => true,
        Phase::WaitingForMaster => snapshot.view.signaling,
        Phase::Starting | Phase::Connecting | Phase::Reconnecting | Phase::Stopping | Phase::Failed => false,
    }
}

async fn metrics_text(Extract(context): Extract<Arc<Context>>) -> Response {
    match context.metrics.encode(&context.state.snapshot(), &context.sink.figures()) {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn status_document(Extract(context): Extract<Arc<Context>>) -> Response {
    Json(status::document(&context)).into_response()
}
