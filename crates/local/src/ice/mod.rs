//! ICE servers: `GetIceServerConfig` and the TURN server that its answers name.
//!
//! Unlike the real one, this TURN server lets peers be on loopback and private addresses: everything here is.

mod credentials;
mod turn_server;

pub use credentials::TurnCredentials;
pub use turn_server::TurnAddress;
pub(crate) use turn_server::TurnServer;

use std::{sync::Arc, time::SystemTime};

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::{
    App,
    auth::Signed,
    control::{Json, find_channel_by_arn, name_char},
    error::ServiceError,
    putmedia::{Call, misbehave},
};

/// `POST /v1/get-ice-server-config`
pub(crate) async fn get_ice_server_config(
    State(app): State<Arc<App>>,
    Signed { caller, members: m }: Signed,
) -> Result<Response, ServiceError> {
    m.text("ClientId", 1..=256, name_char, "[a-zA-Z0-9_.-]+")?;
    m.text("Username", 1..=256, name_char, "[a-zA-Z0-9_.-]+")?;
    m.one_of("Service", &["TURN"])?;
    let channel = find_channel_by_arn(&app, &m)?;
    if let Some(response) = misbehave(&app, &channel.arn, Call::GetIceServerConfig).await {
        return Ok(response);
    }
    let credential = app.turn.issue(&channel.arn, SystemTime::now());
    Ok(Json(json!({
        "IceServerList": [{
            "Uris": [format!("turn:{}?transport=udp", app.turn_address.for_caller(&caller.authority))],
            "Username": credential.username,
            "Password": credential.password,
            "Ttl": app.turn.ttl().as_secs(),
        }]
    }))
    .into_response())
}
