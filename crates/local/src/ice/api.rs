//! `POST /v1/get-ice-server-config`.

use std::{sync::Arc, time::SystemTime};

use axum::extract::State;
use serde_json::json;

use crate::{
    App,
    answer::{AnswerAbout, Json},
    auth::Signed,
    control::find_channel_by_arn,
    names::{NAME_PATTERN, name_char},
};

/// Names the one TURN server, with a credential of its own for each call.
pub(crate) async fn get_ice_server_config(
    State(app): State<Arc<App>>,
    Signed { caller, members }: Signed,
) -> AnswerAbout {
    members.text("ClientId", 1..=256, name_char, NAME_PATTERN)?;
    members.text("Username", 1..=256, name_char, NAME_PATTERN)?;
    members.one_of("Service", &["TURN"])?;
    let channel = find_channel_by_arn(&app, &members)?.serving()?;
    let credential = app.turn.issue(&channel.arn, SystemTime::now());
    Ok(Json(json!({
        "IceServerList": [{
            "Uris": [format!("turn:{}?transport=udp", app.turn_address.for_caller(&caller.authority))],
            "Username": credential.username,
            "Password": credential.password,
            "Ttl": app.turn.ttl().as_secs(),
        }]
    }))
    .about(channel.arn))
}
