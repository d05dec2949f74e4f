//! `/_kvs/`: what the web page, the demo and the tests see of this server. No other origin may read it.

mod credentials;
mod faults;
mod state;

use std::{convert::Infallible, path::Path, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Path as UrlPath, Query, Request, State},
    middleware::{self, Next},
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
    routing::{get, post},
};
use futures::StreamExt;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tokio_stream::wrappers::WatchStream;

use crate::{
    App, Connection, archive,
    error::{ErrorKind, ServiceError},
};

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/config", get(config))
        .route("/state", get(state))
        .route("/events", get(events))
        .route("/faults", post(faults::faults))
        .route("/credentials", get(credentials::credentials))
        .route("/streams/{name}/fragments", get(fragments))
        .route("/streams/{name}/media.mkv", get(media))
        .layer(middleware::from_fn(same_host))
}

/// Lets `localhost` and plain addresses through. Another site may have a DNS name that points here, and would otherwise
/// read the page's keys through its visitors' browsers. Over TLS the certificate has settled the name.
async fn same_host(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    let secure = request.extensions().get::<Connection>().is_some_and(|connection| connection.secure);
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>().is_ok();
    // a browser says from where a page posts, and only our own page may
    let origin = request.headers().get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    let foreign = origin.is_some_and(|origin| origin.split_once("://").is_none_or(|(_, from)| from != host));
    if !foreign && (secure || address || name.eq_ignore_ascii_case("localhost")) {
        return next.run(request).await;
    }
    ServiceError::new(
        ErrorKind::AccessDenied,
        "/_kvs/ answers to localhost and to addresses only, and to no other origin.",
    )
    .into_response()
}

/// What the page needs to call the AWS operations: a key pair of its own, made at start. The user's keys stay here.
async fn config(State(app): State<Arc<App>>) -> Response {
    let key = app.keys.page();
    let body = json!({
        "region": app.config.region,
        "accessKeyId": key.id(),
        "secretAccessKey": key.secret(),
        "version": env!("CARGO_PKG_VERSION"),
    });
    ([(header::CACHE_CONTROL, "no-store")], axum::Json(body)).into_response()
}

async fn state(State(app): State<Arc<App>>) -> axum::Json<Value> {
    axum::Json(state::state(&app))
}

/// Server-sent events: the state, now and after every change.
async fn events(State(app): State<Arc<App>>) -> impl IntoResponse {
    let signaling = WatchStream::new(app.signaling.changes()).map(|_| ());
    let archive = WatchStream::from_changes(app.archive.changes()).map(|_| ());
    let changes = futures::stream::select(signaling, archive);
    let events = changes.map(move |()| {
        let data = state::state(&app).to_string();
        Ok::<_, Infallible>(Event::default().event("state").data(data))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Part {
    region: Option<String>,
    part: Option<usize>,
}

/// What `ListFragments` says and more, in the order of the producer's times.
async fn fragments(
    State(app): State<Arc<App>>,
    UrlPath(name): UrlPath<String>,
    Query(query): Query<Part>,
) -> Result<axum::Json<Value>, ServiceError> {
    let region = query.region.as_deref().unwrap_or(&app.config.region);
    let key = app.control.stream(region, &name)?.folder();
    let list: Vec<_> = app
        .archive
        .fragments(&key)
        .iter()
        .map(|info| {
            json!({
                "number": info.number,
                "producerMs": info.producer_ms,
                "serverMs": info.server_ms,
                "persistedMs": info.persisted_ms,
                "durationMs": info.duration_ms,
                "bytes": info.size,
                "videoFrames": info.video_frames,
                "audioFrames": info.audio_frames,
            })
        })
        .collect();
    Ok(axum::Json(json!({ "fragments": list })))
}

/// A stream as Matroska files that play: a file holds one run of fragments with the same header (a new resolution needs a
/// new one). `?part=N` chooses, from 1; `X-Kvs-Parts` says how many there are.
async fn media(
    State(app): State<Arc<App>>,
    UrlPath(name): UrlPath<String>,
    Query(query): Query<Part>,
) -> Result<Response, ServiceError> {
    let region = query.region.as_deref().unwrap_or(&app.config.region);
    let stream = app.control.stream(region, &name)?;
    let key = stream.folder();
    let parts = archive::parts(&app.archive.fragments(&key));
    let count = parts.len();
    let number = query.part.unwrap_or(1);
    let Some(fragments) = number.checked_sub(1).and_then(|index| parts.into_iter().nth(index)) else {
        return Err(ServiceError::new(
            ErrorKind::ResourceNotFound,
            format!("The stream {name} has {count} parts, and no part {number}."),
        ));
    };
    let body = archive::part_body(app.archive.clone(), key, fragments);
    let file = if count > 1 { format!("{name}-{number}.mkv") } else { format!("{name}.mkv") };
    let disposition =
        HeaderValue::try_from(format!("attachment; filename=\"{file}\"")).map_err(ServiceError::internal)?;
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("video/x-matroska"));
    headers.insert(header::CONTENT_DISPOSITION, disposition);
    headers.insert("x-kvs-parts", HeaderValue::from(count));
    Ok(response)
}

/// A file of the built web page.
pub(crate) async fn page(app: &App, path: &str) -> Option<Response> {
    let folder = app.config.web.as_ref()?;
    let name = match path.trim_start_matches('/') {
        "" => "index.html",
        name => name,
    };
    // Names are one level deep and plain: nothing outside the folder can be meant.
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    if !name.split('/').all(plain) {
        return None;
    }
    let data = tokio::fs::read(folder.join(name)).await.ok()?;
    let kind = match Path::new(name).extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json" | "map") => "application/json",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    };
    Some(([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], data).into_response())
}

/// What is shown when there is no built page.
pub(crate) fn no_page() -> Response {
    const PAGE: &str = "<!doctype html><meta charset=utf-8><title>kvs-local</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem}</style>
<h1>kvs-local</h1>
<p>KVS on localhost is running. Its web page is not built: run <code>cargo xtask demo</code>, or build it with
<code>npm ci &amp;&amp; npm run build</code> in <code>crates/local/web</code> and start <code>kvs-local --web DIR</code>.</p>
<p><a href=\"/_kvs/state\">State as JSON</a></p>";
    (StatusCode::OK, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], PAGE).into_response()
}
