//! `/livez`, `/readyz`, `/metrics` and `/status`.

mod metrics;
mod status;

use crate::connecting::Connecting;
use crate::events::Events;
use crate::outputs::Outputs;
use crate::session::{Phase, Reason};
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
    state: Arc<State>,
    outputs: Outputs,
    events: Arc<Events>,
    connecting: Arc<Connecting>,
    /// Name or ARN of the channel.
    channel: String,
    metrics: Metrics,
}

impl Context {
    pub fn new(
        state: Arc<State>,
        outputs: Outputs,
        events: Arc<Events>,
        connecting: Arc<Connecting>,
        channel: String,
    ) -> Self {
        Self { metrics: Metrics::new(&events, outputs.clone()), state, outputs, events, connecting, channel }
    }
}

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
    let hangs = if idle >= HANGS {
        format!("the session has not moved for {} s\n", idle.as_secs())
    } else if context.outputs.is_stuck() {
        "media arrives and nothing is stored, whichever pipeline it goes through\n".to_owned()
    } else {
        return (StatusCode::OK, "ok\n").into_response();
    };
    (StatusCode::SERVICE_UNAVAILABLE, hangs).into_response()
}

async fn readyz(Extract(context): Extract<Arc<Context>>) -> Response {
    let snapshot = context.state.snapshot();
    let code = if ready(&snapshot) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let view = snapshot.view;
    (code, format!("{}: {}\n", view.reason.as_str(), view.message)).into_response()
}

/// A master that sends pictures sends a key frame in that time. While sound alone is stored for longer, that is how it is.
const FIRST_KEY_FRAME: Duration = Duration::from_secs(15);

/// Joined to the channel, and, when a master answers, receiving from its first key frame on: an agent that takes the place of
/// another must not make it end before. A camera that is off is not a broken deployment.
fn ready(snapshot: &Snapshot) -> bool {
    match snapshot.view.phase {
        Phase::Streaming if snapshot.view.reason == Reason::WaitingForVideo => {
            snapshot.since.elapsed().is_ok_and(|elapsed| elapsed >= FIRST_KEY_FRAME)
        }
        Phase::Streaming => true,
        Phase::WaitingForMaster => snapshot.view.signaling_since.is_some(),
        Phase::Starting | Phase::Connecting | Phase::Reconnecting | Phase::Stopping | Phase::Failed => false,
    }
}

async fn metrics_text(Extract(context): Extract<Arc<Context>>) -> Response {
    match context.metrics.encode(&context.state.snapshot()) {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn status_document(Extract(context): Extract<Arc<Context>>) -> Response {
    let Context { state, outputs, events, connecting, channel, metrics: _ } = &*context;
    Json(status::document(state, outputs, events, connecting, channel)).into_response()
}
