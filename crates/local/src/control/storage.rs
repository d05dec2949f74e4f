//! Media storage of channels: into which stream a storage session writes.

use std::sync::Arc;

use axum::extract::State;
use serde_json::json;

use super::{channels, rules, store::Resource, streams};
use crate::{
    App,
    answer::{Answer, Json},
    auth::Signed,
    error::{ErrorKind, ServiceError},
    model::{ArnKind, Channel},
    page_token::no_token,
};

pub(super) async fn describe(State(app): State<Arc<App>>, Signed { caller, members }: Signed) -> Answer {
    let channel = channels::find(&app, &caller.scope, &members)?;
    let mut configuration = json!({"Status": if channel.storage_enabled { "ENABLED" } else { "DISABLED" }});
    if let Some(arn) = channel.storage_stream_arn {
        configuration["StreamARN"] = json!(arn);
    }
    Ok(Json(json!({"MediaStorageConfiguration": configuration})))
}

pub(super) async fn update(State(app): State<Arc<App>>, Signed { members, .. }: Signed) -> Answer {
    let channel = channels::find_by_arn(&app, &members)?;
    let wanted = members.structure("MediaStorageConfiguration")?;
    let wanted = members.required("MediaStorageConfiguration", wanted)?;
    let status = wanted.required("Status", wanted.one_of("Status", &["ENABLED", "DISABLED"])?)?;
    let enabled = status == "ENABLED";
    let stream = match rules::arn(&wanted, "StreamARN", ArnKind::Stream)? {
        Some(arn) => {
            let stream = app.control.stream_by_arn(&arn)?;
            stream.check_active()?;
            Some(stream)
        }
        None => None,
    };
    if enabled {
        let stream = wanted.required("StreamARN", stream.as_ref())?;
        if stream.retention_hours == 0 {
            return Err(ServiceError::new(ErrorKind::NoDataRetention, "The stream keeps no data."));
        }
        // One channel, one stream; whoever wants another pair takes this one apart first.
        let taken = |what: String| Err(ServiceError::new(ErrorKind::ResourceInUse, what));
        let other = |arn: &String| channel.storage_enabled && *arn != stream.arn;
        if let Some(other) = channel.storage_stream_arn.as_ref().filter(|arn| other(arn)) {
            return taken(format!("The channel is mapped to another stream: {other}."));
        }
        if let Some(other) = mapped_to(&app, &stream.arn).find(|other| other.arn != channel.arn) {
            return taken(format!("The stream is mapped to another channel: {}.", other.arn));
        }
    }
    app.control.update(&channel.arn, |channel: &mut Channel| {
        channel.storage_enabled = enabled;
        if let Some(stream) = stream {
            channel.storage_stream_arn = Some(stream.arn);
        }
        Ok(())
    })?;
    app.signaling.set_storage(&channel.arn, enabled);
    Ok(Json(json!({})))
}

/// The channels that store in this stream.
fn mapped_to(app: &App, stream_arn: &str) -> impl Iterator<Item = Channel> {
    let channels = app.control.channels().into_iter();
    channels.filter(move |channel| {
        channel.storage_enabled && channel.storage_stream_arn.as_deref() == Some(stream_arn)
    })
}

pub(super) async fn mapped(State(app): State<Arc<App>>, Signed { caller, members }: Signed) -> Answer {
    let stream = streams::find(&app, &caller.scope, &members)?;
    members.integer("MaxResults", 1..=1)?;
    // there is one at most, and so no second page
    no_token(&members)?;
    let list: Vec<_> = mapped_to(&app, &stream.arn)
        .map(|channel| json!({"Type": "SIGNALING_CHANNEL", "ARN": channel.arn}))
        .collect();
    Ok(Json(json!({"MappedResourceConfigurationList": list})))
}
