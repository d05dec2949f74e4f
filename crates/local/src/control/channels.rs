//! Signaling channels: create, describe, list, update, delete.

use std::{collections::BTreeMap, sync::Arc};

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
    model::{ArnKind, Channel, Scope},
};

/// Seconds that undelivered messages are kept, unless the caller says otherwise.
const DEFAULT_TTL: u32 = 60;

impl Channel {
    fn describe(&self) -> Value {
        json!({
            "ChannelName": self.name,
            "ChannelARN": self.arn,
            "ChannelType": self.channel_type,
            "ChannelStatus": self.status().name(),
            "CreationTime": seconds(self.created_ms),
            "SingleMasterConfiguration": {"MessageTtlSeconds": self.message_ttl_seconds},
            "Version": self.version,
        })
    }
}

fn ttl(members: &Members) -> Result<Option<u32>, ServiceError> {
    let Some(configuration) = members.structure("SingleMasterConfiguration")? else { return Ok(None) };
    let ttl = configuration.integer("MessageTtlSeconds", 5..=120)?;
    Ok(ttl.and_then(|ttl| u32::try_from(ttl).ok()))
}

impl App {
    /// Makes a channel; for the command line and for CreateSignalingChannel.
    ///
    /// # Errors
    /// `ResourceInUseException` when the name is taken.
    pub(crate) fn create_channel(&self, scope: &Scope, name: &str) -> Result<Channel, ServiceError> {
        self.insert_channel(scope, name, "SINGLE_MASTER", DEFAULT_TTL, Default::default())
    }

    fn insert_channel(
        &self,
        scope: &Scope,
        name: &str,
        channel_type: &str,
        message_ttl_seconds: u32,
        tags: BTreeMap<String, String>,
    ) -> Result<Channel, ServiceError> {
        let (arn, created_ms) = new_arn(ArnKind::Channel, scope, name);
        let channel = Channel {
            arn,
            name: name.to_owned(),
            region: scope.region.clone(),
            channel_type: channel_type.to_owned(),
            message_ttl_seconds,
            version: new_version(),
            created_ms,
            tags,
            storage_stream_arn: None,
            storage_enabled: false,
            transition: None,
        };
        let taken = format!("The channel {name} already exists.");
        self.control.insert(channel.clone(), &taken, ErrorKind::AccountChannelLimitExceeded)?;
        Ok(channel)
    }
}

pub(super) async fn create(State(app): State<Arc<App>>, Signed { caller, members }: Signed) -> Answer {
    let name = members.required("ChannelName", rules::name(&members, "ChannelName")?)?;
    let channel_type =
        members.one_of("ChannelType", &["SINGLE_MASTER", "FULL_MESH"])?.unwrap_or("SINGLE_MASTER");
    let ttl = ttl(&members)?.unwrap_or(DEFAULT_TTL);
    let tags = rules::tag_list(&members)?.unwrap_or_default();
    rules::check_tag_count(&tags)?;
    let channel = app.insert_channel(&caller.scope, name, channel_type, ttl, tags)?;
    Ok(Json(json!({"ChannelARN": channel.arn})))
}

/// The channel that `ChannelName` or `ChannelARN` names.
pub(super) fn find(app: &App, scope: &Scope, members: &Members) -> Result<Channel, ServiceError> {
    let name = rules::name(members, "ChannelName")?;
    match (name, rules::arn(members, "ChannelARN", ArnKind::Channel)?) {
        (_, Some(arn)) => app.control.channel_by_arn(&arn),
        (Some(name), None) => app.control.channel(scope, name),
        (None, None) => Err(ServiceError::new(
            ErrorKind::InvalidArgument,
            "Either ChannelName or ChannelARN is required.",
        )),
    }
}

/// The channel that `ChannelARN` names.
pub(crate) fn find_by_arn(app: &App, members: &Members) -> Result<Channel, ServiceError> {
    find_by_member(app, members, "ChannelARN")
}

/// The channel whose ARN is this member.
pub(crate) fn find_by_member(app: &App, members: &Members, member: &str) -> Result<Channel, ServiceError> {
    let arn = members.required(member, rules::arn(members, member, ArnKind::Channel)?)?;
    app.control.channel_by_arn(&arn)
}

pub(super) async fn describe(State(app): State<Arc<App>>, Signed { caller, members }: Signed) -> AnswerAbout {
    let channel = find(&app, &caller.scope, &members)?;
    Ok(Json(json!({"ChannelInfo": channel.describe()})).about(channel.arn))
}

pub(super) async fn list(State(app): State<Arc<App>>, Signed { caller, members }: Signed) -> Answer {
    let page = Page::read(&app.tokens, &caller.scope, &members, "ChannelNameCondition")?;
    let all: Vec<_> =
        app.control.channels().into_iter().filter(|found| found.scope() == caller.scope).collect();
    let (items, token) = page.cut(all.iter().map(|channel| (channel.name.as_str(), channel.describe())))?;
    let mut answer = json!({"ChannelInfoList": items});
    if let Some(token) = token {
        answer["NextToken"] = json!(token);
    }
    Ok(Json(answer))
}

pub(super) async fn update(State(app): State<Arc<App>>, Signed { members, .. }: Signed) -> Answer {
    let channel = find_by_arn(&app, &members)?;
    let version = members.required("CurrentVersion", rules::version(&members, "CurrentVersion")?)?;
    let ttl = ttl(&members)?;
    app.control.update(&channel.arn, |channel: &mut Channel| {
        rules::check_version(Some(version), &channel.version)?;
        channel.message_ttl_seconds = ttl.unwrap_or(channel.message_ttl_seconds);
        Ok(())
    })?;
    Ok(Json(json!({})))
}

pub(super) async fn delete(State(app): State<Arc<App>>, Signed { members, .. }: Signed) -> Answer {
    let channel = find_by_arn(&app, &members)?;
    let version = rules::version(&members, "CurrentVersion")?;
    app.control.delete(&channel.arn, |channel: &Channel| rules::check_version(version, &channel.version))?;
    app.signaling.forget(&channel.arn);
    Ok(Json(json!({})))
}
