//! [`router`]: every path that is served.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{Method, Uri, header};

use crate::{
    App, archive, console, control, cors,
    error::{ErrorKind, ServiceError},
    faults, ice, operations, playback, putmedia, request_log, signaling, storage,
};

/// All routes: the AWS operations (all of them `POST`), the signaling handshake (`GET /`), and `/_kvs/`.
pub fn router(app: Arc<App>) -> Router {
    let aws = Router::new()
        .merge(control::routes())
        .merge(archive::routes())
        .merge(playback::routes())
        .merge(putmedia::routes())
        .merge(storage::routes())
        .route("/v1/get-ice-server-config", post(ice::get_ice_server_config))
        .route("/v1/send-alexa-offer-to-master", post(signaling::send_alexa_offer_to_master))
        .route("/", get(root))
        .route_layer(middleware::from_fn_with_state(app.faults.clone(), faults::replace_answers));
    let aws = aws.fallback(unknown).layer(middleware::from_fn_with_state(app.clone(), cors::allow_browsers));
    Router::new()
        .nest("/_kvs", console::routes(app.clone()))
        .merge(playback::player_routes())
        .merge(aws)
        .layer(middleware::from_fn_with_state(app.clone(), request_log::log))
        .with_state(app)
}

/// `GET /` is the signaling handshake when it is a WebSocket, else the web page.
async fn root(State(app): State<Arc<App>>, request: Request) -> Response {
    let upgrade = request.headers().get(header::UPGRADE).and_then(|v| v.to_str().ok()).unwrap_or("");
    if upgrade.eq_ignore_ascii_case("websocket") {
        signaling::handshake(app, request).await.unwrap_or_else(IntoResponse::into_response)
    } else {
        console::page(&app, request.uri().path()).await.unwrap_or_else(console::no_page)
    }
}

async fn unknown(State(app): State<Arc<App>>, method: Method, uri: Uri) -> Response {
    if method == Method::GET
        && let Some(file) = console::page(&app, uri.path()).await
    {
        return file;
    }
    let message = match operations::name_of(uri.path()).filter(|_| method == Method::POST) {
        Some(name) => format!("kvs-local does not have the operation {name}."),
        None => format!("No operation at {method} {}", uri.path()),
    };
    ServiceError::new(ErrorKind::UnknownOperation, message).into_response()
}
