//! The storage tier of streams. It is kept and told, and nothing follows from it.

use std::sync::Arc;

use axum::extract::State;
use serde_json::json;

use super::{rules, streams};
use crate::{
    App,
    answer::{Answer, Json},
    auth::Signed,
    model::Stream,
};

pub(super) async fn describe(State(app): State<Arc<App>>, Signed { caller, members }: Signed) -> Answer {
    let stream = streams::find(&app, &caller.scope, &members)?;
    Ok(Json(json!({
        "StreamName": stream.name,
        "StreamARN": stream.arn,
        "StreamStorageConfiguration": {"DefaultStorageTier": stream.storage_tier},
    })))
}

pub(super) async fn update(State(app): State<Arc<App>>, Signed { caller, members }: Signed) -> Answer {
    let stream = streams::find(&app, &caller.scope, &members)?;
    let version = members.required("CurrentVersion", rules::version(&members, "CurrentVersion")?)?;
    let tier = members.required("StreamStorageConfiguration", rules::storage_tier(&members)?)?;
    app.control.update(&stream.arn, |stream: &mut Stream| {
        rules::check_version(Some(version), &stream.version)?;
        tier.clone_into(&mut stream.storage_tier);
        Ok(())
    })?;
    Ok(Json(json!({})))
}
