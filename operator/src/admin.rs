//! Health and metrics, over HTTP.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::context::Context;

/// Serves the operator's HTTP paths, for ever.
pub async fn serve(listener: TcpListener, context: Arc<Context>) {
    let metrics = context.metrics.clone();
    let closed = |from| {
        tracing::debug!(%from, "too many connections: one more was closed at once");
        metrics.connection_closed();
    };
    kvs_ingest_serve::serve(listener, router(context), closed).await;
}

fn router(context: Arc<Context>) -> Router {
    Router::new()
        // That this answers at all: the process ends by itself when its loop or its lease does.
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(context)
}

/// A standby is ready, too: its caches are what it is for.
async fn ready(State(context): State<Arc<Context>>) -> impl IntoResponse {
    if context.is_ready() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the caches are not filled yet")
    }
}

async fn metrics(State(context): State<Arc<Context>>) -> impl IntoResponse {
    context.metrics.leading(*context.leading.borrow());
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], context.metrics.encode())
}
