//! `/livez`, `/readyz`, `/metrics` and `/status`, and `/finish` for an agent that was told to end.

mod metrics;
mod status;

use crate::connecting::Connecting;
use crate::events::Events;
use crate::outputs::Outputs;
use crate::relief::Relief;
use crate::session::{Phase, Reason};
use crate::state::{Snapshot, State};
use axum::Router;
use axum::extract::State as Extract;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
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
    relief: Arc<Relief>,
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
        relief: Arc<Relief>,
        channel: String,
    ) -> Self {
        let metrics = Metrics::new(&events, outputs.clone());
        Self { metrics, state, outputs, events, connecting, relief, channel }
    }

    /// Tells whether media arrives, and nothing says that what becomes of it hangs: a process that a kubelet restarts because it
    /// hangs has no successor before its end.
    pub fn records(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let (state, outputs) = (Arc::clone(&self.state), self.outputs.clone());
        move || {
            let snapshot = state.snapshot();
            snapshot.view.phase == Phase::Streaming && hangs(&snapshot, &outputs).is_none()
        }
    }
}

pub fn router(context: Context) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_text))
        .route("/status", get(status_document))
        .route("/finish", post(finish))
        .with_state(Arc::new(context))
}

async fn livez(Extract(context): Extract<Arc<Context>>) -> Response {
    match hangs(&context.state.snapshot(), &context.outputs) {
        None => (StatusCode::OK, "ok\n").into_response(),
        Some(hangs) => (StatusCode::SERVICE_UNAVAILABLE, hangs).into_response(),
    }
}

/// What hangs, if anything does.
fn hangs(snapshot: &Snapshot, outputs: &Outputs) -> Option<String> {
    if snapshot.idle >= HANGS {
        Some(format!("the session has not moved for {} s\n", snapshot.idle.as_secs()))
    } else {
        let stuck = "media arrives and nothing is stored, whichever pipeline it goes through\n";
        outputs.is_stuck().then(|| stuck.to_owned())
    }
}

/// Of an agent that was told to end: its successor is ready, or none will come. It ends nobody that was not told to.
async fn finish(Extract(context): Extract<Arc<Context>>) -> Response {
    if context.relief.finish() {
        StatusCode::NO_CONTENT.into_response()
    } else {
        (StatusCode::CONFLICT, "nobody told this agent to end: SIGTERM comes first\n").into_response()
    }
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
    let Context { state, outputs, events, connecting, channel, relief: _, metrics: _ } = &*context;
    Json(status::document(state, outputs, events, connecting, channel)).into_response()
}
