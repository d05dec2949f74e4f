//! JoinStorageSession and JoinStorageSessionAsViewer, the two operations of the service `kinesis-video-webrtc-storage`.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::post,
};
use http::StatusCode;
use serde_json::json;
use tokio::sync::oneshot;

use super::{sessions::Input, task};
use crate::{
    App,
    answer::Json,
    auth::Signed,
    control::find_channel_by_member,
    error::{ErrorKind, ServiceError},
    ffmpeg,
    members::Members,
    names::{NAME_PATTERN, name_char},
};

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/joinStorageSession", post(join))
        .route("/joinStorageSessionAsViewer", post(join_as_viewer))
        .layer(map_response(in_lower_case))
}

/// Whoever may call it joins the channel's master: the offer goes to the one that is connected, or to the next.
async fn join(
    State(app): State<Arc<App>>,
    Signed { members, .. }: Signed,
) -> Result<StatusCode, ServiceError> {
    begin(&app, &members, None).await
}

async fn join_as_viewer(
    State(app): State<Arc<App>>,
    Signed { members, .. }: Signed,
) -> Result<StatusCode, ServiceError> {
    let client = members.text("clientId", 1..=256, name_char, NAME_PATTERN)?;
    let client = members.required("clientId", client)?.to_owned();
    begin(&app, &members, Some(client)).await
}

/// The answer is empty, as the model has it; the offer comes by signaling.
async fn begin(
    app: &Arc<App>,
    members: &Members,
    client: Option<String>,
) -> Result<StatusCode, ServiceError> {
    let channel = find_channel_by_member(app, members, "channelArn")?.serving()?;
    let stream = channel.storage_stream_arn.as_ref().filter(|_| channel.storage_enabled);
    let Some(stream) = stream.and_then(|arn| arn.parse().ok()) else {
        let why = "the channel is not mapped to a stream: enable its media storage with UpdateMediaStorageConfiguration";
        return Err(members.invalid("channelArn", why));
    };
    let stream = app.control.stream_by_arn(&stream)?.serving()?;
    if !ffmpeg::is_there() {
        return Err(ffmpeg::missing("A storage session encodes AAC"));
    }
    // One that ends just now is found once; the next is another.
    for _ in 0..2 {
        let (app, channel, stream) = (app.clone(), channel.clone(), stream.clone());
        let (sessions, arn) = (app.storage.clone(), channel.arn.clone());
        let session = sessions.of(&arn, |inputs| task::start(app, channel, stream, inputs));
        let (answer, answered) = oneshot::channel();
        let join = Input::Join(client.clone(), answer);
        if session.map_err(ServiceError::internal)?.send(join).await.is_ok()
            && let Ok(joined) = answered.await
        {
            return joined.map(|()| StatusCode::OK);
        }
    }
    Err(ServiceError::internal("storage sessions of the channel end as soon as they begin"))
}

/// This service spells the member of its errors `message`, and answers what is not allowed with 403 (its model in botocore).
async fn in_lower_case(response: Response) -> Response {
    let Some(error) = response.extensions().get::<ServiceError>().cloned() else { return response };
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(http::header::CONTENT_LENGTH);
    if error.kind == ErrorKind::AccessDenied {
        parts.status = StatusCode::FORBIDDEN;
    }
    let (_, body) = Json(json!({ "message": error.message })).into_response().into_parts();
    Response::from_parts(parts, body)
}
