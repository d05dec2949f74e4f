//! `POST /_kvs/faults`: makes faults of signaling, calls and PutMedia, from this machine only.
//!
//! `{"channel": NAME, "region"?, "client"?: "MASTER" or a client id, "action": …}` with one of the actions
//! `go_away`, `reconnect_ice_server`, `close` (with `code`, default 1001) and `text` (with `text`, any frame).
//! Answers how many connections it reached. The actions `http_error`, `delay_response` and `clear` are about the `call`
//! that names the channel, and answer like those of streams.
//!
//! `{"stream": NAME, "region"?, "action": …, "after"?: N, "times"?: N}` with one of the actions of
//! [`crate::faults`]. Answers how many faults the stream has now, or had when they are cleared.

use std::sync::Arc;

use axum::extract::{Request, State};
use serde_json::json;

use crate::{
    App,
    answer::{Answer, Json},
    body,
    error::{ErrorKind, ServiceError},
    faults::{CALL_ACTIONS, Order},
    members::Members,
    model::Scope,
    signaling::Role,
};

pub(super) async fn faults(State(app): State<Arc<App>>, request: Request) -> Answer {
    let body = body::read(request.into_body()).await?;
    let members = Members::parse(&body)?;
    let scope = Scope::of_region(members.string("region")?.unwrap_or(&app.config.region));
    if let Some(stream) = members.string("stream")? {
        let stream = app.control.stream(&scope, stream)?.folder();
        return order(&app, &stream, Order::parse(&members)?);
    }
    let name = members.required("channel", members.string("channel")?)?;
    let channel = app.control.channel(&scope, name)?;
    if CALL_ACTIONS.contains(&members.string("action")?.unwrap_or("")) {
        return order(&app, &channel.arn, Order::parse_channel(&members)?);
    }
    let role = match members.string("client")? {
        None => None,
        Some("MASTER") => Some(Role::Master),
        Some(id) => Some(Role::Viewer(id.to_owned())),
    };
    let actions =
        ["go_away", "reconnect_ice_server", "close", "text", "http_error", "delay_response", "clear"];
    let action = members.required("action", members.one_of("action", &actions)?)?;
    let role = role.as_ref();
    let reached = match action {
        "go_away" => app.signaling.inject_control(&channel.arn, role, "GO_AWAY"),
        "reconnect_ice_server" => app.signaling.inject_control(&channel.arn, role, "RECONNECT_ICE_SERVER"),
        "close" => {
            let code = members.integer("code", 1000..=4999)?.unwrap_or(1001);
            app.signaling.close(&channel.arn, role, u16::try_from(code).unwrap_or(1001))
        }
        _ => {
            let text = members.required("text", members.string("text")?)?;
            app.signaling.inject(&channel.arn, role, text)
        }
    };
    Ok(Json(json!({"connections": reached})))
}

/// Of a stream, by its key, or a channel, by its ARN; `None` clears.
fn order(app: &App, subject: &str, order: Option<Order>) -> Answer {
    let faults = &app.faults;
    let Some(order) = order else {
        return Ok(Json(json!({"cleared": faults.clear(subject)})));
    };
    if !faults.order(subject, order) {
        return Err(ServiceError::new(ErrorKind::InvalidArgument, "There are too many faults; clear them."));
    }
    Ok(Json(json!({"faults": faults.describe(subject)})))
}
