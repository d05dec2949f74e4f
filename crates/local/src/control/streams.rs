//! Streams: create, describe, list, update, retention, delete.

use std::sync::Arc;

use axum::extract::State;
use serde_json::{Value, json};

use super::rules::{self, Page};
use super::store::{new_arn, new_version};
use crate::{
    App,
    answer::{Answer, AnswerAbout, Json},
    auth::Signed,
    clock::seconds,
    error::{ErrorKind, ServiceError},
    members::Members,
    model::{ArnKind, Scope, Stream},
};

/// Ten years, the most of the service model.
const MAX_RETENTION_HOURS: i64 = 87_600;

impl Stream {
    fn describe(&self) -> Value {
        json!({
            "DeviceName": self.device_name,
            "StreamName": self.name,
            "StreamARN": self.arn,
            "MediaType": self.media_type,
            "KmsKeyId": self.kms_key_id,
            "Version": self.version,
            "Status": self.status().name(),
            "CreationTime": seconds(self.created_ms),
            "DataRetentionInHours": self.retention_hours,
        })
    }
}

/// `video/h264`, or several with commas between them, as the service model's pattern has it.
fn media_type(members: &Members) -> Result<Option<&str>, ServiceError> {
    const MEMBER: &str = "MediaType";
    const PATTERN: &str = "[\\w\\-\\.\\+]+/[\\w\\-\\.\\+]+(,…)*";
    let allowed = |c: char| c.is_ascii_alphanumeric() || "/.+-,_".contains(c);
    let Some(types) = members.text(MEMBER, 1..=128, allowed, PATTERN)? else { return Ok(None) };
    let well_formed = types.split(',').all(|media_type| {
        media_type
            .split_once('/')
            .is_some_and(|(kind, format)| !kind.is_empty() && !format.is_empty() && !format.contains('/'))
    });
    if well_formed {
        Ok(Some(types))
    } else {
        Err(members.invalid(MEMBER, format_args!("must match {PATTERN}")))
    }
}

pub(super) async fn create(State(app): State<Arc<App>>, Signed { caller, members }: Signed) -> Answer {
    let name = members.required("StreamName", rules::name(&members, "StreamName")?)?;
    let retention = members.integer("DataRetentionInHours", 0..=MAX_RETENTION_HOURS)?.unwrap_or(0);
    let tier = rules::storage_tier(&members)?.unwrap_or("HOT");
    // `.+` of the service model: no line ends
    let key = members.text("KmsKeyId", 1..=2048, |c| !matches!(c, '\n' | '\r'), ".+")?;
    let tags = rules::tag_map(&members)?.unwrap_or_default();
    rules::check_tag_count(&tags)?;
    let (arn, created_ms) = new_arn(ArnKind::Stream, &caller.scope, name);
    let default_key =
        format!("arn:aws:kms:{}:{}:alias/aws/kinesisvideo", caller.scope.region, caller.scope.account);
    let stream = Stream {
        arn: arn.clone(),
        name: name.to_owned(),
        region: caller.scope.region.clone(),
        device_name: rules::device_name(&members)?.map(str::to_owned),
        media_type: media_type(&members)?.map(str::to_owned),
        kms_key_id: key.map_or(default_key, str::to_owned),
        retention_hours: u32::try_from(retention).unwrap_or(0),
        storage_tier: tier.to_owned(),
        version: new_version(),
        created_ms,
        tags,
        images: None,
        notifications: None,
        edge: None,
        transition: None,
    };
    let taken = format!("The stream {name} already exists.");
    app.control.insert(stream, &taken, ErrorKind::AccountStreamLimitExceeded)?;
    Ok(Json(json!({"StreamARN": arn})))
}

/// The stream that `StreamName` or `StreamARN` names.
pub(crate) fn find(app: &App, scope: &Scope, members: &Members) -> Result<Stream, ServiceError> {
    app.control.find_stream(
        scope,
        rules::name(members, "StreamName")?,
        rules::arn(members, "StreamARN", ArnKind::Stream)?,
    )
}

pub(super) async fn describe(State(app): State<Arc<App>>, Signed { caller, members }: Signed) -> AnswerAbout {
    let stream = find(&app, &caller.scope, &members)?;
    Ok(Json(json!({"StreamInfo": stream.describe()})).about(stream.folder()))
}

pub(super) async fn list(State(app): State<Arc<App>>, Signed { caller, members }: Signed) -> Answer {
    let page = Page::read(&app.tokens, &caller.scope, &members, "StreamNameCondition")?;
    let all: Vec<_> =
        app.control.streams().into_iter().filter(|found| found.scope() == caller.scope).collect();
    let (items, token) = page.cut(all.iter().map(|stream| (stream.name.as_str(), stream.describe())))?;
    let mut answer = json!({"StreamInfoList": items});
    if let Some(token) = token {
        answer["NextToken"] = json!(token);
    }
    Ok(Json(answer))
}

pub(super) async fn update(State(app): State<Arc<App>>, Signed { caller, members }: Signed) -> Answer {
    let stream = find(&app, &caller.scope, &members)?;
    let version = members.required("CurrentVersion", rules::version(&members, "CurrentVersion")?)?;
    let (device, media) = (rules::device_name(&members)?, media_type(&members)?);
    app.control.update(&stream.arn, |stream: &mut Stream| {
        rules::check_version(Some(version), &stream.version)?;
        if let Some(device) = device {
            stream.device_name = Some(device.to_owned());
        }
        if let Some(media) = media {
            stream.media_type = Some(media.to_owned());
        }
        Ok(())
    })?;
    Ok(Json(json!({})))
}

pub(super) async fn update_retention(
    State(app): State<Arc<App>>,
    Signed { caller, members }: Signed,
) -> Answer {
    let stream = find(&app, &caller.scope, &members)?;
    let version = members.required("CurrentVersion", rules::version(&members, "CurrentVersion")?)?;
    let words = ["INCREASE_DATA_RETENTION", "DECREASE_DATA_RETENTION"];
    let operation = members.required("Operation", members.one_of("Operation", &words)?)?;
    let member = "DataRetentionChangeInHours";
    let hours = members.required(member, members.integer(member, 1..=MAX_RETENTION_HOURS)?)?;
    app.control.update(&stream.arn, |stream: &mut Stream| {
        rules::check_version(Some(version), &stream.version)?;
        let now = i64::from(stream.retention_hours);
        let then = if operation == words[0] { now + hours } else { now - hours };
        if !(0..=MAX_RETENTION_HOURS).contains(&then) {
            return Err(members.invalid(member, format_args!("would make the retention {then} hours")));
        }
        stream.retention_hours = u32::try_from(then).unwrap_or(0);
        Ok(())
    })?;
    Ok(Json(json!({})))
}

pub(super) async fn delete(State(app): State<Arc<App>>, Signed { members, .. }: Signed) -> Answer {
    let arn = members.required("StreamARN", rules::arn(&members, "StreamARN", ArnKind::Stream)?)?;
    let stream = app.control.stream_by_arn(&arn)?;
    let version = rules::version(&members, "CurrentVersion")?;
    app.control.delete(&stream.arn, |stream: &Stream| rules::check_version(version, &stream.version))?;
    // "makes the data in the stream inaccessible immediately": it goes while the stream is still deleting
    let removed = tokio::task::spawn_blocking(move || app.archive.remove(&stream.folder())).await;
    removed.map_err(ServiceError::internal)?.map_err(ServiceError::internal)?;
    Ok(Json(json!({})))
}
