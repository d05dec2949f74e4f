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
    faults, ice, playback, putmedia, request_log, signaling,
};

/// The operations of the service that are not here. `docs/kvs-local.md` names them for people; tests keep the two the same.
const MISSING: [(&str, &str); 13] = [
    ("/deleteEdgeConfiguration", "DeleteEdgeConfiguration"),
    ("/describeEdgeConfiguration", "DescribeEdgeConfiguration"),
    ("/describeImageGenerationConfiguration", "DescribeImageGenerationConfiguration"),
    ("/describeNotificationConfiguration", "DescribeNotificationConfiguration"),
    ("/describeStreamStorageConfiguration", "DescribeStreamStorageConfiguration"),
    ("/joinStorageSession", "JoinStorageSession"),
    ("/joinStorageSessionAsViewer", "JoinStorageSessionAsViewer"),
    ("/listEdgeAgentConfigurations", "ListEdgeAgentConfigurations"),
    ("/startEdgeConfigurationUpdate", "StartEdgeConfigurationUpdate"),
    ("/updateImageGenerationConfiguration", "UpdateImageGenerationConfiguration"),
    ("/updateNotificationConfiguration", "UpdateNotificationConfiguration"),
    ("/updateStreamStorageConfiguration", "UpdateStreamStorageConfiguration"),
    ("/v1/send-alexa-offer-to-master", "SendAlexaOfferToMaster"),
];

/// All routes: the AWS operations (all of them `POST`), the signaling handshake (`GET /`), and `/_kvs/`.
pub fn router(app: Arc<App>) -> Router {
    let aws = Router::new()
        .merge(control::routes())
        .merge(archive::routes())
        .merge(playback::routes())
        .merge(putmedia::routes())
        .route("/v1/get-ice-server-config", post(ice::get_ice_server_config))
        .route("/", get(root))
        .route_layer(middleware::from_fn_with_state(app.faults.clone(), faults::replace_answers));
    let aws = aws.fallback(unknown).layer(middleware::from_fn_with_state(app.clone(), cors::allow_browsers));
    Router::new()
        .nest("/_kvs", console::routes(app.clone()))
        .merge(playback::player_routes())
        .merge(aws)
        .layer(middleware::from_fn(request_log::log))
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
    let missing = MISSING.iter().find(|(path, _)| *path == uri.path()).filter(|_| method == Method::POST);
    let message = match missing {
        Some((_, name)) => format!("kvs-local does not have the operation {name}."),
        None => format!("No operation at {method} {}", uri.path()),
    };
    ServiceError::new(ErrorKind::UnknownOperation, message).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The other way round, `tests/control.rs` calls what the page names.
    #[test]
    fn the_page_names_what_is_missing() {
        let page = include_str!("../../../docs/kvs-local.md");
        for (path, name) in MISSING {
            assert!(page.contains(&format!("`{name}`")), "docs/kvs-local.md does not name {name} ({path})");
        }
    }
}
