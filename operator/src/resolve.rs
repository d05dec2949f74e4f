//! Resolve: channel and stream, from the status while it holds, from AWS otherwise; and whose the stream is.

use kvs_ingest_api::{DeletionPolicy, KvsIngestStatus, ResolvedChannel, ResolvedStream, condition};
use tracing::instrument;

use crate::apply::ApplyError;
use crate::aws::Resolution;
use crate::build::ResolvedNames;
use crate::conditions::{ConditionStatus, ConditionUpdate, find};
use crate::object::{Object, Tick};
use crate::owners::Claim;
use crate::reason::Reason;
use crate::validate::Valid;

#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) channel: Resolution<ResolvedChannel>,
    pub(crate) stream: Resolution<ResolvedStream>,
}

impl Resolved {
    /// Both, once both are known.
    pub(crate) fn names(&self) -> Option<ResolvedNames> {
        let (channel, stream) = (&self.channel.resource, &self.stream.resource);
        Some(ResolvedNames {
            channel_arn: channel.arn.clone()?,
            stream_name: stream.name.clone(),
            stream_arn: stream.arn.clone()?,
        })
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.channel.condition.is_met() && self.stream.condition.is_met()
    }

    /// An older object has the stream.
    pub(crate) fn stream_in_use(&self) -> bool {
        self.stream.condition.reason == Reason::StreamInUse
    }

    /// Is something in AWS that has to be deleted with the object, or about to be?
    fn needs_finalizer(&self, policy: DeletionPolicy, may_create: bool) -> bool {
        let about_to = |condition: &ConditionUpdate| condition.reason == Reason::Creating && !may_create;
        let Self { channel, stream } = self;
        policy == DeletionPolicy::Delete
            && (channel.resource.created
                || stream.resource.created
                || about_to(&channel.condition)
                || about_to(&stream.condition))
    }
}

#[instrument(name = "resolve", level = "debug", skip_all)]
pub(crate) async fn resolve(
    object: &Object<'_>,
    valid: &Valid<'_>,
    tick: Tick,
) -> Result<Resolved, ApplyError> {
    let aws = &object.context.aws;
    let interval = object.context.settings.aws_resync;
    let due = object.state.lock().resync.is_due(interval, tick.now, tick.random);
    let before = object.before.as_ref();
    let holds = before.filter(|status| {
        !due && status.observed_generation == object.ingest.metadata.generation
            && status.last_handled_reconcile_at.as_ref() == valid.reconcile_requested_at
    });
    let policy = valid.spec.deletion_policy;
    let may_create = policy != DeletionPolicy::Delete || object.has_finalizer();

    let channel = match channel_of(holds) {
        Some(channel) => channel,
        None => or_as_before(aws.channel(object.subject(), may_create).await, channel_of(before)),
    };
    // Who lost the stream to an older object asks AWS no more often than others.
    let stream = match stream_of(holds) {
        Some(stream) => stream,
        None => or_as_before(aws.stream(object.subject(), may_create).await, stream_of(before)),
    };
    if due {
        object.state.lock().resync.done(interval, tick.now, tick.random);
    }
    let mut resolved = Resolved { channel, stream };
    // Before anything is created: an operator that stops here must leave nothing behind. The change brings the object
    // back.
    let finalizer = resolved.needs_finalizer(policy, may_create);
    object.context.applier.set_finalizer(object.ingest, finalizer).await?;
    if let Some(taken) = taken(object, &resolved.stream.resource) {
        resolved.stream.condition = taken;
    }
    Ok(resolved)
}

/// The channel as the status says that it is resolved.
fn channel_of(status: Option<&KvsIngestStatus>) -> Option<Resolution<ResolvedChannel>> {
    let status = status?;
    let condition = resolved_condition(status, condition::CHANNEL_RESOLVED)?;
    Some(Resolution { resource: status.channel.clone()?, condition })
}

/// The stream as the status says that it is resolved.
fn stream_of(status: Option<&KvsIngestStatus>) -> Option<Resolution<ResolvedStream>> {
    let status = status?;
    let condition = resolved_condition(status, condition::STREAM_RESOLVED)?;
    Some(Resolution { resource: status.stream.clone()?, condition })
}

fn resolved_condition(status: &KvsIngestStatus, kind: &str) -> Option<ConditionUpdate> {
    let found = find(status, kind)?;
    (ConditionStatus::of(found) == ConditionStatus::True)
        .then(|| ConditionUpdate::met(Reason::from(&*found.reason), found.message.clone()))
}

/// Trouble with AWS takes nothing away from what was resolved: the agent runs on.
fn or_as_before<T>(now: Resolution<T>, before: Option<Resolution<T>>) -> Resolution<T> {
    match before {
        Some(before) if now.condition.status == ConditionStatus::Unknown => before,
        _ => now,
    }
}

/// The stream belongs to the oldest object that names it: what is to be said when that is another one.
fn taken(object: &Object<'_>, stream: &ResolvedStream) -> Option<ConditionUpdate> {
    let arn = stream.arn.as_deref()?;
    let ownership = object.context.owners.claim(arn, Claim::of(object.ingest));
    if let Some(ousted) = &ownership.ousted {
        object.context.wake_up(ousted);
    }
    let owner = ownership.owner;
    (owner.uid != object.uid).then(|| {
        ConditionUpdate::stalled(
            Reason::StreamInUse,
            format!("stream {} is of the older KvsIngest {}/{}", stream.name, owner.namespace, owner.name),
        )
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::report::{Observed, report};

    fn channel(created: bool, condition: ConditionUpdate) -> Resolution<ResolvedChannel> {
        let resource = ResolvedChannel { name: "c".into(), arn: Some("arn:c".into()), created };
        Resolution { resource, condition }
    }

    fn stream(created: bool, condition: ConditionUpdate) -> Resolution<ResolvedStream> {
        let resource = ResolvedStream { name: "s".into(), created, ..ResolvedStream::default() };
        Resolution { resource, condition }
    }

    fn found() -> ConditionUpdate {
        ConditionUpdate::met(Reason::Found, "arn:c")
    }

    fn status(condition: ConditionUpdate) -> KvsIngestStatus {
        let observed = Observed {
            channel: Some(channel(false, found()).resource),
            channel_condition: Some(condition),
            ..Observed::unobserved(Some(1))
        };
        report(None, observed, &Time("2026-01-01T00:00:00Z".parse().unwrap()))
    }

    #[test]
    fn what_is_resolved_is_taken_from_the_status() {
        assert_eq!(channel_of(Some(&status(found()))), Some(channel(false, found())));
        for unresolved in [
            ConditionUpdate::stalled(Reason::NotFound, "create it"),
            ConditionUpdate::waiting(Reason::Creating, "soon"),
            ConditionUpdate::unknown(Reason::Throttled, "wait"),
        ] {
            assert_eq!(channel_of(Some(&status(unresolved))), None);
        }
        assert_eq!(channel_of(None), None);
    }

    #[test]
    fn trouble_with_aws_takes_nothing_away_and_an_answer_does() {
        let before = || Some(channel(false, found()));
        let throttled = channel(false, ConditionUpdate::unknown(Reason::Throttled, "wait"));
        assert_eq!(or_as_before(throttled.clone(), before()), channel(false, found()));
        assert_eq!(or_as_before(throttled.clone(), None), throttled);
        let deleted = channel(false, ConditionUpdate::stalled(Reason::NotFound, "create it"));
        assert_eq!(or_as_before(deleted.clone(), before()), deleted);
    }

    #[test]
    fn a_finalizer_is_there_before_what_it_is_for() {
        let creating = || ConditionUpdate::waiting(Reason::Creating, "about to be");
        let needs = |policy, may_create, channel, stream| {
            Resolved { channel, stream }.needs_finalizer(policy, may_create)
        };
        let delete = DeletionPolicy::Delete;
        assert!(needs(delete, false, channel(false, creating()), stream(false, found())));
        assert!(needs(delete, false, channel(false, found()), stream(false, creating())));
        assert!(needs(delete, true, channel(true, found()), stream(false, found())));
        assert!(needs(delete, true, channel(false, found()), stream(true, found())));
        // Somebody else creates it.
        assert!(!needs(delete, true, channel(false, creating()), stream(false, found())));
        assert!(!needs(delete, true, channel(false, found()), stream(false, found())));
        assert!(!needs(DeletionPolicy::Retain, true, channel(true, found()), stream(true, found())));
    }

    #[test]
    fn an_agent_needs_both() {
        let arn = |mut stream: Resolution<ResolvedStream>| {
            stream.resource.arn = Some("arn:s".into());
            stream
        };
        let half = Resolved { channel: channel(false, found()), stream: stream(false, found()) };
        assert_eq!(half.names(), None);
        let taken = ConditionUpdate::stalled(Reason::StreamInUse, "of another");
        let both = Resolved { channel: channel(false, found()), stream: arn(stream(false, taken)) };
        assert_eq!(both.names().unwrap().stream_arn, "arn:s");
        assert!(both.stream_in_use() && !both.is_complete());
    }
}
