//! `/_kvs/`: what the web page, the demo and the tests see of this server. No other origin may read it.

mod agents;
mod credentials;
mod faults;
mod state;
mod states;
mod timeline;

use std::{
    convert::Infallible,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

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
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    App, Connection, archive,
    error::{ErrorKind, ServiceError},
    model::Scope,
    origin,
    snapshot::Snapshot,
};

pub(crate) fn routes(app: Arc<App>) -> Router<Arc<App>> {
    let for_this_machine = Router::new()
        .route("/agents", post(agents::agents))
        .route("/faults", post(faults::faults))
        .route("/states", post(states::states))
        .route("/credentials", get(credentials::credentials))
        .layer(middleware::from_fn(from_this_machine));
    Router::new()
        .route("/config", get(config))
        .route("/state", get(state))
        .route("/events", get(events))
        .route("/streams/{name}/fragments", get(fragments))
        .route("/streams/{name}/timeline", get(timeline::timeline))
        .route("/streams/{name}/media.mkv", get(media))
        .merge(for_this_machine)
        .layer(middleware::from_fn_with_state(app, admit))
}

/// Lets this machine through, and others if they were invited; and no page but our own. Who reads the page's keys can call.
async fn admit(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let connection = request.extensions().get::<Connection>().copied().unwrap_or_default();
    let refuse = |why: &str| ServiceError::new(ErrorKind::AccessDenied, why).into_response();
    if !connection.is_local() && !app.config.console_public {
        return refuse(
            "/_kvs/ answers to this machine only. Who reads it can make every call and read all that is stored; if all \
             who reach this address may, start kvs-local with --console-public.",
        );
    }
    let host = origin::host(request.headers());
    // a browser says from where a page posts, and only our own page may
    let page = request.headers().get(header::ORIGIN).map(|page| page.to_str().unwrap_or(""));
    if !origin::is_trusted_host(host, &connection)
        || page.is_some_and(|page| !origin::is_own(page, host, &connection))
    {
        return refuse("/_kvs/ answers to localhost and to addresses only, and to no other origin.");
    }
    next.run(request).await
}

/// What breaks things on purpose, and what gives keys away, is for this machine, whoever else was invited. Before the body is
/// read.
async fn from_this_machine(request: Request, next: Next) -> Response {
    if request.extensions().get::<Connection>().is_some_and(Connection::is_local) {
        return next.run(request).await;
    }
    let path = request.uri().path();
    ServiceError::new(ErrorKind::AccessDenied, format!("{path} is for this machine only.")).into_response()
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

/// How soon is told what nobody announces: a state that has lasted its time, a session that has ended, a stream that is new.
const UNANNOUNCED: Duration = Duration::from_secs(1);

/// What a browser may do with the page: nothing that comes from, or goes to, anywhere else.
const PAGE_POLICY: &str = "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; worker-src 'self' blob:; \
    connect-src 'self' ws: wss:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Server-sent events: the state, now and after changes.
async fn events(State(app): State<Arc<App>>) -> impl IntoResponse {
    let (signaling, archive) = (app.signaling.changes(), app.archive.changes());
    let events = futures::stream::unfold((app, signaling, archive, None), |watched| async move {
        let (app, mut signaling, mut archive, told): (_, _, _, Option<Arc<str>>) = watched;
        let text = loop {
            if told.is_some() {
                let changed = tokio::select! {
                    changed = signaling.changed() => changed,
                    changed = archive.changed() => changed,
                    () = tokio::time::sleep(UNANNOUNCED) => Ok(()),
                };
                changed.ok()?;
                tokio::time::sleep(Snapshot::FRESH).await;
            }
            signaling.mark_unchanged();
            archive.mark_unchanged();
            let make = || state::state(&app).to_string();
            // who has just come has missed the changes since the shared text was made
            let text = if told.is_none() { make().into() } else { app.snapshot.get(Instant::now(), make) };
            if told.as_ref() != Some(&text) {
                break text;
            }
        };
        let event = Ok::<_, Infallible>(Event::default().event("state").data(&text));
        Some((event, (app, signaling, archive, Some(text))))
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
    let scope = Scope::of_region(query.region.as_deref().unwrap_or(&app.config.region));
    let key = app.control.stream(&scope, &name)?.folder();
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
    let scope = Scope::of_region(query.region.as_deref().unwrap_or(&app.config.region));
    let stream = app.control.stream(&scope, &name)?;
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
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Some((headers, data).into_response())
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
