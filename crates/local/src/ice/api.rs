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

/// Names the one TURN server, with the service's three URIs and a credential of its own for each call. `turns:` over UDP is
/// among them because it is among the service's: browsers take it as TLS over TCP. DTLS is not answered.
pub(crate) async fn get_ice_server_config(
    State(app): State<Arc<App>>,
    Signed { caller, members }: Signed,
) -> AnswerAbout {
    members.text("ClientId", 1..=256, name_char, NAME_PATTERN)?;
    members.text("Username", 1..=256, name_char, NAME_PATTERN)?;
    members.one_of("Service", &["TURN"])?;
    let channel = find_channel_by_arn(&app, &members)?.serving()?;
    let credential = app.turn.issue(&channel.arn, SystemTime::now());
    let address = app.turn_address.for_caller(&caller.authority);
    Ok(Json(json!({
        "IceServerList": [{
            "Uris": [
                format!("turn:{address}?transport=udp"),
                format!("turns:{address}?transport=udp"),
                format!("turns:{address}?transport=tcp"),
            ],
            "Username": credential.username,
            "Password": credential.password,
            "Ttl": app.turn.ttl().as_secs(),
        }]
    }))
    .about(channel.arn))
}
