//! The notification configuration of streams: of which fragments a topic is told.

use std::sync::Arc;

use axum::extract::State;
use serde_json::{Value, json};

use super::{rules, streams};
use crate::{
    App,
    answer::{Answer, Json},
    auth::Signed,
    error::{ErrorKind, ServiceError},
    members::Members,
    model::Stream,
};

/// The most characters of a `DestinationUri`, and its pattern.
const URI: (std::ops::RangeInclusive<usize>, &str) = (1..=255, "^[a-zA-Z_0-9]+:(//)?([^/]+)/?([^*]*)$");

/// A `DestinationUri` of one of these schemes.
pub(super) fn destination<'a>(members: &'a Members, scheme: &str) -> Result<&'a str, ServiceError> {
    let uri = members.text("Uri", URI.0, |c| c != '*', URI.1)?;
    let uri = members.required("Uri", uri)?;
    let rest = uri.split_once(':').filter(|(found, _)| *found == scheme).map(|(_, rest)| rest);
    match rest.map(|rest| rest.strip_prefix("//").unwrap_or(rest)) {
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') => Ok(uri),
        _ => Err(members.invalid("Uri", format_args!("must begin with {scheme}:// and match {}", URI.1))),
    }
}

/// Puts a configuration in the place of another. Without one the other is deleted, as the service does.
pub(super) fn replace(stream: &Stream, app: &App, enabled: bool, change: impl FnOnce(&mut Stream)) -> Answer {
    app.control.update(&stream.arn, |stream: &mut Stream| {
        if enabled && stream.retention_hours == 0 {
            return Err(ServiceError::new(ErrorKind::NoDataRetention, "The stream keeps no data."));
        }
        change(stream);
        Ok(())
    })?;
    Ok(Json(json!({})))
}

fn configuration(members: &Members) -> Result<Option<Value>, ServiceError> {
    let Some(wanted) = members.structure("NotificationConfiguration")? else { return Ok(None) };
    let status = wanted.word("Status", &rules::STATUSES)?;
    let to = wanted.needed("DestinationConfig")?;
    Ok(Some(json!({"Status": status, "DestinationConfig": {"Uri": destination(&to, "sns")?}})))
}

pub(super) async fn describe(State(app): State<Arc<App>>, Signed { caller, members }: Signed) -> Answer {
    let stream = streams::find(&app, &caller.scope, &members)?;
    Ok(Json(stream.notifications.map_or(json!({}), |found| json!({"NotificationConfiguration": found}))))
}

pub(super) async fn update(State(app): State<Arc<App>>, Signed { caller, members }: Signed) -> Answer {
    let stream = streams::find(&app, &caller.scope, &members)?;
    let wanted = configuration(&members)?;
    let enabled = wanted.as_ref().is_some_and(|wanted| wanted["Status"] == "ENABLED");
    replace(&stream, &app, enabled, |stream| stream.notifications = wanted)
}
