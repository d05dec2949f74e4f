//! `POST /_kvs/agents`: an agent whose outputs are to be shown, from this machine only.
//!
//! `{"status": "http://HOST:PORT/status"}`. It is asked every second, until it has not answered for half a minute; the same again
//! changes nothing. `outputs` of `GET /_kvs/state` has what it says.

use std::sync::Arc;

use axum::extract::{Request, State};
use serde_json::json;

use crate::{
    App,
    answer::{Answer, Json},
    body,
    members::Members,
};

pub(super) async fn agents(State(app): State<Arc<App>>, request: Request) -> Answer {
    let body = body::read(request.into_body()).await?;
    let members = Members::parse(&body)?;
    let status = members.required("status", members.string("status")?)?;
    app.agents.ask(status, &app.tasks, &app.stop)?;
    Ok(Json(json!({})))
}
