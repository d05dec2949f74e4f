//! `GET /_kvs/credentials`: temporary credentials, in the form in which containers get theirs
//! (`AWS_CONTAINER_CREDENTIALS_FULL_URI`), from this machine only.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Query, State},
    response::{IntoResponse, Response},
};
use http::header;
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    App,
    error::ServiceError,
    model::{ACCOUNT, is_account},
};

/// The longest life of a role's session.
const MAX_SECONDS: u64 = 43_200;

#[derive(serde::Deserialize)]
#[serde(default)]
pub(super) struct Life {
    seconds: u64,
    account: String,
}

impl Default for Life {
    fn default() -> Self {
        Self { seconds: 3600, account: ACCOUNT.to_owned() }
    }
}

pub(super) async fn credentials(
    State(app): State<Arc<App>>,
    Query(life): Query<Life>,
) -> Result<Response, ServiceError> {
    if !(1..=MAX_SECONDS).contains(&life.seconds) {
        return Err(ServiceError::invalid("seconds", format!("must be from 1 to {MAX_SECONDS}")));
    }
    if !is_account(&life.account) {
        return Err(ServiceError::invalid("account", "must have twelve digits"));
    }
    let issued = app.keys.issue(Duration::from_secs(life.seconds), &life.account);
    let ends = OffsetDateTime::from(issued.ends).replace_nanosecond(0).map_err(ServiceError::internal)?;
    let body = json!({
        "AccessKeyId": issued.key.id(),
        "SecretAccessKey": issued.key.secret(),
        "Token": issued.token,
        "Expiration": ends.format(&Rfc3339).map_err(ServiceError::internal)?,
    });
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}
