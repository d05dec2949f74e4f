//! The edge configuration of streams. It is kept and told; there is no edge agent that would take it, so it stays `SYNCING`,
//! as the service says of a device that does not answer.

use std::sync::Arc;

use axum::extract::State;
use serde_json::{Value, json};

use super::streams;
use crate::{
    App,
    answer::{Answer, Json},
    auth::Signed,
    clock::{now_ms, seconds},
    error::{ErrorKind, ServiceError},
    members::Members,
    model::{EdgeConfiguration, Stream},
    names::name_char,
    page_token,
};

/// `arn:PARTITION:SERVICE:REGION:ACCOUNT:KIND/NAME`, with the separator that this service has after the kind.
fn is_arn(text: &str, service: &str, kind: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let ["arn", partition, found, region, account, resource] = parts[..] else { return false };
    let lower = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let name = resource.strip_prefix(kind).unwrap_or("");
    found == service
        && lower(partition)
        && lower(region)
        && !account.is_empty()
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(name_char)
}

fn arn<'a>(
    members: &'a Members,
    member: &str,
    length: std::ops::RangeInclusive<usize>,
    (service, kind): (&str, &str),
) -> Result<&'a str, ServiceError> {
    let text = members.required(member, members.text(member, length, |_| true, "")?)?;
    match is_arn(text, service, kind) {
        true => Ok(text),
        false => Err(members.invalid(member, format_args!("must be an ARN of {service}, of {kind}NAME"))),
    }
}

fn hub(members: &Members) -> Result<&str, ServiceError> {
    arn(members, "HubDeviceArn", 1..=1024, ("iot", "thing/"))
}

fn schedule(members: &Members) -> Result<Value, ServiceError> {
    const EXPRESSION: &str = "ScheduleExpression";
    let expression = members.text(EXPRESSION, 11..=100, |c| c != '\n', "[^\\n]{11,100}")?;
    let seconds = members.integer("DurationInSeconds", 60..=3600)?;
    Ok(json!({
        EXPRESSION: members.required(EXPRESSION, expression)?,
        "DurationInSeconds": members.required("DurationInSeconds", seconds)?,
    }))
}

fn recorder(members: &Members) -> Result<Value, ServiceError> {
    let source = members.needed("MediaSourceConfig")?;
    let secret = arn(&source, "MediaUriSecretArn", 20..=2048, ("secretsmanager", "secret:"))?;
    let mut kept = json!({"MediaSourceConfig": {
        "MediaUriSecretArn": secret,
        "MediaUriType": source.word("MediaUriType", &["RTSP_URI", "FILE_URI"])?,
    }});
    if let Some(wanted) = members.structure("ScheduleConfig")? {
        kept["ScheduleConfig"] = schedule(&wanted)?;
    }
    Ok(kept)
}

fn deletion(members: &Members) -> Result<Value, ServiceError> {
    let mut kept = json!({});
    if let Some(hours) = members.integer("EdgeRetentionInHours", 1..=720)? {
        kept["EdgeRetentionInHours"] = json!(hours);
    }
    if let Some(wanted) = members.structure("LocalSizeConfig")? {
        let mut size = json!({});
        if let Some(megabytes) = wanted.integer("MaxLocalMediaSizeInMB", 64..=2_000_000)? {
            size["MaxLocalMediaSizeInMB"] = json!(megabytes);
        }
        if let Some(word) = wanted.one_of("StrategyOnFullSize", &["DELETE_OLDEST_MEDIA", "DENY_NEW_MEDIA"])? {
            size["StrategyOnFullSize"] = json!(word);
        }
        kept["LocalSizeConfig"] = size;
    }
    if let Some(flag) = members.flag("DeleteAfterUpload")? {
        kept["DeleteAfterUpload"] = json!(flag);
    }
    Ok(kept)
}

fn configuration(members: &Members) -> Result<Value, ServiceError> {
    let wanted = members.needed("EdgeConfig")?;
    let mut kept = json!({
        "HubDeviceArn": hub(&wanted)?,
        "RecorderConfig": recorder(&wanted.needed("RecorderConfig")?)?,
    });
    if let Some(uploader) = wanted.structure("UploaderConfig")? {
        kept["UploaderConfig"] = json!({"ScheduleConfig": schedule(&uploader.needed("ScheduleConfig")?)?});
    }
    if let Some(wanted) = wanted.structure("DeletionConfig")? {
        kept["DeletionConfig"] = deletion(&wanted)?;
    }
    Ok(kept)
}

fn view(stream: &Stream, edge: &EdgeConfiguration) -> Value {
    json!({
        "StreamName": stream.name,
        "StreamARN": stream.arn,
        "CreationTime": seconds(edge.created_ms),
        "LastUpdatedTime": seconds(edge.updated_ms),
        "SyncStatus": "SYNCING",
        "EdgeConfig": edge.config,
    })
}

pub(super) async fn start(State(app): State<Arc<App>>, Signed { caller, members }: Signed) -> Answer {
    let stream = streams::find(&app, &caller.scope, &members)?;
    let config = configuration(&members)?;
    let mut answer = json!({});
    app.control.update(&stream.arn, |stream: &mut Stream| {
        if stream.retention_hours == 0 {
            return Err(ServiceError::new(ErrorKind::NoDataRetention, "The stream keeps no data."));
        }
        let now = now_ms();
        let created_ms = stream.edge.as_ref().map_or(now, |edge| edge.created_ms);
        let edge = EdgeConfiguration { config, created_ms, updated_ms: now };
        answer = view(stream, &edge);
        stream.edge = Some(edge);
        Ok(())
    })?;
    Ok(Json(answer))
}

fn missing(stream: &Stream) -> ServiceError {
    ServiceError::new(
        ErrorKind::StreamEdgeConfigurationNotFound,
        format!("The stream {} has no edge configuration.", stream.name),
    )
}

pub(super) async fn describe(State(app): State<Arc<App>>, Signed { caller, members }: Signed) -> Answer {
    let stream = streams::find(&app, &caller.scope, &members)?;
    let edge = stream.edge.as_ref().ok_or_else(|| missing(&stream))?;
    let mut answer = view(&stream, edge);
    answer["EdgeAgentStatus"] = json!({});
    Ok(Json(answer))
}

pub(super) async fn delete(State(app): State<Arc<App>>, Signed { caller, members }: Signed) -> Answer {
    let stream = streams::find(&app, &caller.scope, &members)?;
    app.control.update(&stream.arn, |stream: &mut Stream| {
        stream.edge.take().map(drop).ok_or_else(|| missing(stream))
    })?;
    Ok(Json(json!({})))
}

pub(super) async fn list(State(app): State<Arc<App>>, Signed { caller, members }: Signed) -> Answer {
    let hub = hub(&members)?;
    let most = members.integer("MaxResults", 1..=10)?.unwrap_or(10);
    let listing = format!("edge {} {hub}", caller.scope);
    // the token holds the last name of the page before
    let after = page_token::next_token(&members)?
        .map(|token| app.tokens.redeem::<String>(&members, &listing, token))
        .transpose()?;
    let all = app.control.streams();
    let mut wanted = all
        .iter()
        .filter(|stream| stream.scope() == caller.scope)
        .filter(|stream| after.as_ref().is_none_or(|after| stream.name > *after))
        .filter_map(|stream| Some((stream, stream.edge.as_ref()?)))
        .filter(|(_, edge)| edge.config["HubDeviceArn"] == hub)
        .peekable();
    let page: Vec<_> = wanted.by_ref().take(usize::try_from(most).unwrap_or(1)).collect();
    let mut answer =
        json!({"EdgeConfigs": page.iter().map(|(stream, edge)| view(stream, edge)).collect::<Vec<_>>()});
    if let Some((last, _)) = page.last()
        && wanted.peek().is_some()
    {
        answer["NextToken"] = json!(app.tokens.issue(&listing, &last.name)?);
    }
    Ok(Json(answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_of_other_services_have_the_patterns_of_the_service_model() {
        for (text, is) in [
            ("arn:aws:iot:us-east-1:123456789012:thing/hub-1", true),
            ("arn:aws:iot:us-east-1:123456789012:thing/", false),
            ("arn:aws:iot:us-east-1:12345678901x:thing/hub", false),
            ("arn:aws:iot:us-east-1:123456789012:thing/a/b", false),
            ("arn:aws:s3:us-east-1:123456789012:thing/hub", false),
        ] {
            assert_eq!(is_arn(text, "iot", "thing/"), is, "{text}");
        }
        let secret = "arn:aws:secretsmanager:us-east-1:123456789012:secret:camera-AbCdEf";
        assert!(is_arn(secret, "secretsmanager", "secret:"));
    }
}
