//! ICE servers: `GetIceServerConfig` and the TURN server that its answers name.
//!
//! Unlike the real one, this TURN server lets peers be on loopback and private addresses: everything here is.

mod credentials;
mod turn_server;

pub use credentials::TurnCredentials;
pub(crate) use turn_server::TurnServer;

use std::{sync::Arc, time::SystemTime};

use axum::extract::State;
use serde_json::json;

use crate::{
    App,
    auth::Signed,
    control::{Answer, Json, find_channel_by_arn, name_char},
};

/// `POST /v1/get-ice-server-config`
pub(crate) async fn get_ice_server_config(
    State(app): State<Arc<App>>,
    Signed { members: m, .. }: Signed,
) -> Answer {
    m.text("ClientId", 1..=256, name_char, "[a-zA-Z0-9_.-]+")?;
    m.text("Username", 1..=256, name_char, "[a-zA-Z0-9_.-]+")?;
    m.one_of("Service", &["TURN"])?;
    let channel = find_channel_by_arn(&app, &m)?;
    let credential = app.turn.issue(&channel.arn, SystemTime::now());
    Ok(Json(json!({
        "IceServerList": [{
            "Uris": [format!("turn:{}?transport=udp", app.turn.address())],
            "Username": credential.username,
            "Password": credential.password,
            "Ttl": app.turn.ttl().as_secs(),
        }]
    })))
}
