//! Tags of channels and streams.

use std::{collections::BTreeMap, sync::Arc};

use axum::extract::State;
use serde_json::json;

use super::{rules, streams};
use crate::{
    App,
    answer::{Answer, Json},
    auth::Signed,
    error::ServiceError,
    members::Members,
    model::{Arn, ArnKind, Channel, Scope, Stream},
    page_token::no_token,
};

type Tags = BTreeMap<String, String>;

fn change(
    app: &App,
    arn: &Arn,
    change: impl FnOnce(&mut Tags) -> Result<(), ServiceError>,
) -> Result<(), ServiceError> {
    let text = arn.to_string();
    match arn.kind {
        ArnKind::Channel => app.control.retag(&text, |found: &mut Channel| change(&mut found.tags)),
        ArnKind::Stream => app.control.retag(&text, |found: &mut Stream| change(&mut found.tags)),
    }
}

fn add(tags: &mut Tags, more: Tags) -> Result<(), ServiceError> {
    tags.extend(more);
    rules::check_tag_count(tags)
}

fn remove(tags: &mut Tags, keys: &[String]) -> Result<(), ServiceError> {
    tags.retain(|key, _| !keys.contains(key));
    Ok(())
}

/// `ResourceARN`, of either kind.
fn resource(members: &Members) -> Result<Arn, ServiceError> {
    let text = members.required("ResourceARN", members.string("ResourceARN")?)?;
    text.parse().map_err(|why: &str| members.invalid("ResourceARN", why))
}

fn stream(app: &App, scope: &Scope, members: &Members) -> Result<Arn, ServiceError> {
    let stream = streams::find(app, scope, members)?;
    stream.arn.parse().map_err(ServiceError::internal)
}

pub(super) async fn tag_resource(State(app): State<Arc<App>>, Signed { members, .. }: Signed) -> Answer {
    let tags = members.required("Tags", rules::tag_list(&members)?)?;
    rules::check_any_tag(&members, &tags)?;
    change(&app, &resource(&members)?, |found| add(found, tags))?;
    Ok(Json(json!({})))
}

pub(super) async fn untag_resource(State(app): State<Arc<App>>, Signed { members, .. }: Signed) -> Answer {
    let keys = rules::tag_keys(&members)?;
    change(&app, &resource(&members)?, |found| remove(found, &keys))?;
    Ok(Json(json!({})))
}

pub(super) async fn list_for_resource(State(app): State<Arc<App>>, Signed { members, .. }: Signed) -> Answer {
    no_token(&members)?;
    let arn = resource(&members)?;
    let tags = match arn.kind {
        ArnKind::Channel => app.control.channel_by_arn(&arn)?.tags,
        ArnKind::Stream => app.control.stream_by_arn(&arn)?.tags,
    };
    Ok(Json(json!({"Tags": tags})))
}

pub(super) async fn tag_stream(State(app): State<Arc<App>>, Signed { caller, members }: Signed) -> Answer {
    let tags = members.required("Tags", rules::tag_map(&members)?)?;
    change(&app, &stream(&app, &caller.scope, &members)?, |found| add(found, tags))?;
    Ok(Json(json!({})))
}

pub(super) async fn untag_stream(State(app): State<Arc<App>>, Signed { caller, members }: Signed) -> Answer {
    let keys = rules::tag_keys(&members)?;
    change(&app, &stream(&app, &caller.scope, &members)?, |found| remove(found, &keys))?;
    Ok(Json(json!({})))
}

pub(super) async fn list_for_stream(
    State(app): State<Arc<App>>,
    Signed { caller, members }: Signed,
) -> Answer {
    no_token(&members)?;
    Ok(Json(json!({"Tags": streams::find(&app, &caller.scope, &members)?.tags})))
}
