//! Resolve: channel and stream, if it has one, from the status while it holds, from AWS otherwise; and whose the stream is.

use std::sync::Arc;

use kvs_ingest_api::{
    DeletionPolicy, KvsIngest, KvsIngestSpec, KvsIngestStatus, Mode, ResolvedChannel, ResolvedStream,
    StreamConfig, condition,
};
use tracing::instrument;

use crate::apply::ApplyError;
use crate::aws::{Known, Resolution};
use crate::build::ResolvedNames;
use crate::conditions::{ConditionStatus, ConditionUpdate, find};
use crate::managed::is_enabled;
use crate::neighbours::NeighboursOf;
use crate::object::{Object, Tick};
use crate::owners::{Claim, Use};
use crate::reason::Reason;
use crate::validate::{Valid, is_paused};
use crate::workload::DeploymentLite;

#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) channel: Resolution<ResolvedChannel>,
    /// `None`: the object names none.
    pub(crate) stream: Option<Resolution<ResolvedStream>>,
    /// AWS did not answer, and what was known before has to do: it is asked again.
    pub(crate) unanswered: bool,
    /// AWS was asked: what else the status knows of it is to be looked at, too.
    pub(crate) asked: bool,
}

impl Resolved {
    /// All that it has, once all of it is known.
    pub(crate) fn names(&self) -> Option<ResolvedNames> {
        let channel_arn = self.channel.resource.arn.clone()?;
        let stream = match &self.stream {
            Some(Resolution { resource: stream, .. }) => {
                Some(StreamConfig { name: stream.name.clone(), arn: stream.arn.clone()? })
            }
            None => None,
        };
        Some(ResolvedNames { channel_arn, stream })
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.channel.condition.is_met() && self.stream.as_ref().is_none_or(|stream| stream.condition.is_met())
    }

    /// An older object has the stream.
    pub(crate) fn stream_in_use(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.condition.reason == Reason::StreamInUse)
    }

    /// What is to be said of the stream. Without one it is `True`: nothing is in the way of who waits for it.
    pub(crate) fn stream_condition(&self) -> ConditionUpdate {
        let not_used = || {
            ConditionUpdate::met(
                Reason::NotUsed,
                "the object names no stream: its media goes to its outputs alone",
            )
        };
        self.stream.as_ref().map_or_else(not_used, |stream| stream.condition.clone())
    }

    /// One of them is another than before: it was deleted, and made again. Its agent has to be told at once.
    pub(crate) fn has_moved(&self, before: Option<&KvsIngestStatus>) -> bool {
        let moved =
            |was: Option<&String>, is: Option<&String>| was.zip(is).is_some_and(|(was, is)| was != is);
        before.is_some_and(|before| {
            let channel = before.channel.as_ref().and_then(|channel| channel.arn.as_ref());
            let stream = before.stream.as_ref().and_then(|stream| stream.arn.as_ref());
            moved(channel, self.channel.resource.arn.as_ref())
                || moved(stream, self.stream.as_ref().and_then(|stream| stream.resource.arn.as_ref()))
        })
    }

    /// Something that was made or taken just now is not in the status yet.
    pub(crate) fn is_news(&self, before: Option<&KvsIngestStatus>) -> bool {
        let known = |own: bool, was: Option<bool>| !own || was == Some(true);
        let channel = before.and_then(|status| status.channel.as_ref()).map(|channel| channel.created);
        let stream = before.and_then(|status| status.stream.as_ref()).map(|stream| stream.created);
        let made = self.stream.as_ref().is_some_and(|stream| stream.resource.created);
        !known(self.channel.resource.created, channel) || !known(made, stream)
    }
}

/// May something in AWS have to be deleted with the object? Once that is so, it stays so as long as the policy does: what was
/// made may be there although nobody sees it just now.
pub(crate) fn needs_finalizer(spec: &KvsIngestSpec, before: Option<&KvsIngestStatus>, held: bool) -> bool {
    let KvsIngestSpec { channel, stream, mode, .. } = spec;
    // What the operator enables there ends with the object, whatever becomes of channel and stream.
    if *mode == Mode::ManagedStorage || is_enabled(before) {
        return true;
    }
    let stream = stream.as_ref().is_some_and(|stream| stream.create_if_missing || stream.adopt);
    let may_be_made = channel.create_if_missing || channel.adopt || stream;
    spec.deletion_policy == DeletionPolicy::Delete && (held || may_be_made || was_made(before))
}

fn was_made(before: Option<&KvsIngestStatus>) -> bool {
    before.is_some_and(|status| {
        status.channel.as_ref().is_some_and(|channel| channel.created)
            || status.stream.as_ref().is_some_and(|stream| stream.created)
    })
}

/// Nothing is made for an object that is not resolved. What was made before has to be deleted all the same, if it says so
/// only now.
pub(crate) async fn hold_what_was_made(object: &Object<'_>) -> Result<(), ApplyError> {
    let before = object.before.as_ref();
    let deletes = object.ingest.spec.deletion_policy == DeletionPolicy::Delete;
    let is_left = deletes && was_made(before) || is_enabled(before);
    if !is_left || object.has_finalizer() {
        return Ok(());
    }
    object.context.applier.set_finalizer(object.ingest, true).await
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
    // Before anything is created: an operator that stops here must leave nothing behind.
    let finalizer = needs_finalizer(valid.spec, before, object.has_finalizer());
    object.context.applier.set_finalizer(object.ingest, finalizer).await?;

    // Who refuses may let go.
    let known = Known {
        channel: channel_of(holds).filter(|channel| channel.condition.reason != Reason::AdoptionRefused),
        stream: stream_of(holds).filter(|stream| stream.condition.reason != Reason::AdoptionRefused),
    };
    let asked = known.channel.is_none() || known.stream.is_none() && valid.spec.stream.is_some();
    let (channel, stream) = aws.resolve(object.subject(), known, &NeighboursOf(object)).await;
    let (channel, no_channel) = or_as_before(channel, channel_of(before));
    let (stream, no_stream) = match stream {
        Some(stream) => {
            let (stream, unanswered) = or_as_before(stream, stream_of(before));
            (Some(stream), unanswered)
        }
        None => (None, false),
    };
    let mut resolved = Resolved { channel, stream, unanswered: no_channel || no_stream, asked };
    if due && !resolved.unanswered {
        object.state.lock().resync.done(interval, tick.now, tick.random);
    }
    claim_channel(object, &resolved.channel);
    match &mut resolved.stream {
        Some(stream) => {
            if let Some(taken) = claim_stream(object, stream) {
                stream.condition = taken;
            }
        }
        None => wake(object, object.context.owners.release_stream(&object.uid)),
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
    let reason = Reason::from(&*found.reason);
    (ConditionStatus::of(found) == ConditionStatus::True)
        .then(|| ConditionUpdate::met(reason, found.message.clone()))
}

/// Trouble with AWS takes nothing away from what was resolved: the agent runs on. True: it has to be asked again for that.
fn or_as_before<T>(now: Resolution<T>, before: Option<Resolution<T>>) -> (Resolution<T>, bool) {
    match before {
        Some(before) if now.condition.status == ConditionStatus::Unknown => (before, true),
        _ => (now, false),
    }
}

/// Several agents may be on a channel; who is, keeps it from being deleted with another object, also when it is not found as
/// it should be just now.
fn claim_channel(object: &Object<'_>, channel: &Resolution<ResolvedChannel>) {
    let agent = object.deployment.as_deref().is_some_and(|deployment| deployment.belongs_to(&object.uid))
        || is_enabled(object.before.as_ref());
    if let Some(arn) = channel.resource.arn.as_deref().filter(|_| channel.condition.is_met() || agent) {
        object.context.owners.claim_channel(arn, Claim::of(object.ingest));
    }
}

/// The stream belongs to the oldest object that may write it: what is to be said when that is another one. Only who found
/// what it names has a claim; and who has an agent, which writes whatever has that name.
fn claim_stream(object: &Object<'_>, stream: &Resolution<ResolvedStream>) -> Option<ConditionUpdate> {
    let owners = &object.context.owners;
    let agent = object.deployment.as_deref().filter(|deployment| deployment.belongs_to(&object.uid));
    let enabled = is_enabled(object.before.as_ref());
    let holds = agent.is_some() || enabled;
    let arn = stream.resource.arn.as_deref().filter(|_| stream.condition.is_met() || holds);
    let Some(arn) = arn else {
        if !holds {
            wake(object, owners.release_stream(&object.uid));
        }
        return None;
    };
    let usage = usage(object.ingest, agent, enabled);
    let ownership = owners.claim_stream(arn, Claim::of(object.ingest), usage);
    wake(object, ownership.wake);
    let owner = ownership.owner.filter(|owner| *owner.uid != *object.uid && usage == Use::Writes)?;
    Some(ConditionUpdate::stalled(
        Reason::StreamInUse,
        format!(
            "stream {} is of the older KvsIngest {}/{}: name another stream, or delete or suspend that object",
            stream.resource.name, owner.namespace, owner.name
        ),
    ))
}

fn wake(object: &Object<'_>, claims: Vec<Arc<Claim>>) {
    claims.iter().for_each(|claim| object.context.wake_up(claim));
}

/// A suspended object lets others write its stream when its agent has ended, also while nothing else of it can be looked at.
/// AWS does not record for it any more, whatever its status still says.
pub(crate) fn keep_stream(object: &Object<'_>) {
    let agent = object.deployment.as_deref().filter(|deployment| deployment.belongs_to(&object.uid));
    if !writes(agent) {
        for heir in object.context.owners.keep(&object.uid) {
            object.context.wake_up(&heir);
        }
    }
}

/// An agent that ends still writes.
fn writes(agent: Option<&DeploymentLite>) -> bool {
    agent.is_some_and(|agent| agent.status.as_ref().is_some_and(|status| status.replicas.unwrap_or(0) > 0))
}

/// `enabled`: AWS records into it.
fn usage(ingest: &KvsIngest, agent: Option<&DeploymentLite>, enabled: bool) -> Use {
    if ingest.spec.suspend && !writes(agent) && !enabled { Use::Keeps } else { Use::Writes }
}

/// What an object claimed when it was last looked at, by its status: its channel, and its stream with what for.
pub(crate) fn claims_of(
    ingest: &KvsIngest,
    deployment: Option<&DeploymentLite>,
) -> (Option<String>, Option<(String, Use)>) {
    let Some(status) = &ingest.status else { return (None, None) };
    let uid = ingest.metadata.uid.as_deref().unwrap_or_default();
    // As `delete` lets go of them.
    let ends = ingest.metadata.deletion_timestamp.is_some() && !is_paused(&ingest.metadata);
    let enabled = is_enabled(Some(status));
    if ends && !enabled && !deployment.is_some_and(|deployment| deployment.is_of(uid)) {
        return (None, None);
    }
    let agent = deployment.filter(|deployment| deployment.belongs_to(uid));
    let resolved = channel_of(Some(status)).is_some();
    let channel = status.channel.as_ref().and_then(|channel| channel.arn.clone());
    let holds = agent.is_some() || enabled;
    let channel = channel.filter(|_| resolved || holds);
    // Who lost the stream to an older object may inherit it.
    let found = find(status, condition::STREAM_RESOLVED).is_some_and(|found| {
        ConditionStatus::of(found) == ConditionStatus::True
            || Reason::from(&*found.reason) == Reason::StreamInUse
    });
    let arn = status.stream.as_ref().and_then(|stream| stream.arn.clone());
    let stream = arn.filter(|_| found || holds).map(|arn| (arn, usage(ingest, agent, enabled)));
    (channel, stream)
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
        assert_eq!(or_as_before(throttled.clone(), before()), (channel(false, found()), true));
        assert_eq!(or_as_before(throttled.clone(), None), (throttled, false));
        let deleted = channel(false, ConditionUpdate::stalled(Reason::NotFound, "create it"));
        assert_eq!(or_as_before(deleted.clone(), before()), (deleted, false));
    }

    fn ingest(spec: serde_json::Value) -> KvsIngest {
        let mut all =
            serde_json::json!({"region": "eu-central-1", "channel": {"name": "c"}, "stream": {"name": "s"}});
        for (key, value) in spec.as_object().unwrap() {
            all[key] = value.clone();
        }
        serde_json::from_value(serde_json::json!({"metadata": {"name": "door", "uid": "u"}, "spec": all}))
            .unwrap()
    }

    #[test]
    fn a_finalizer_is_there_before_what_it_is_for_and_stays() {
        let made = KvsIngestStatus {
            stream: Some(ResolvedStream { created: true, ..ResolvedStream::default() }),
            ..KvsIngestStatus::default()
        };
        let creates = serde_json::json!({"name": "c", "createIfMissing": true});
        let adopts = serde_json::json!({"name": "s", "adopt": true});
        for (policy, more, before, held, needed) in [
            ("Delete", serde_json::json!({}), None, false, false),
            ("Delete", serde_json::json!({"channel": creates}), None, false, true),
            ("Delete", serde_json::json!({"stream": adopts}), None, false, true),
            ("Delete", serde_json::json!({}), Some(&made), false, true),
            // What nobody sees may be there all the same.
            ("Delete", serde_json::json!({}), None, true, true),
            ("Retain", serde_json::json!({"channel": creates, "stream": adopts}), Some(&made), true, false),
        ] {
            let mut spec = ingest(more.clone()).spec;
            spec.deletion_policy = serde_json::from_value(policy.into()).unwrap();
            assert_eq!(needs_finalizer(&spec, before, held), needed, "{policy} {more} {held}");
        }
    }

    #[test]
    fn a_claim_outlives_a_change_of_leader_where_it_was_just() {
        let stream = |name: &str, condition: ConditionUpdate| {
            let observed = Observed {
                stream: Some(ResolvedStream { arn: Some("arn:s".into()), ..ResolvedStream::default() }),
                stream_condition: Some(condition),
                ..Observed::unobserved(Some(1))
            };
            let mut ingest = ingest(serde_json::json!({"suspend": name == "suspended"}));
            ingest.status = Some(report(None, observed, &Time("2026-01-01T00:00:00Z".parse().unwrap())));
            ingest
        };
        let claims = |ingest: &KvsIngest| claims_of(ingest, None).1;
        let in_use = ConditionUpdate::stalled(Reason::StreamInUse, "of another");
        assert_eq!(claims(&stream("", found())), Some(("arn:s".into(), Use::Writes)));
        assert_eq!(claims(&stream("", in_use)), Some(("arn:s".into(), Use::Writes)), "an heir");
        assert_eq!(claims(&stream("suspended", found())), Some(("arn:s".into(), Use::Keeps)));
        let denied = stream("", ConditionUpdate::stalled(Reason::AccessDenied, "no"));
        assert_eq!(claims(&denied), None);
        let agent: DeploymentLite =
            serde_json::from_value(serde_json::json!({"metadata": {"ownerReferences": [
            {"apiVersion": "x", "kind": "KvsIngest", "name": "door", "uid": "u", "controller": true}]}}))
            .unwrap();
        let written = Some(("arn:s".into(), Use::Writes));
        assert_eq!(claims_of(&denied, Some(&agent)).1, written, "its agent writes");
        // What is being deleted has it as long as its agent is there, or as it is paused.
        let mut ends = stream("", found());
        ends.metadata.deletion_timestamp = Some(Time("2026-01-01T00:00:00Z".parse().unwrap()));
        assert_eq!(claims(&ends), None);
        assert_eq!(claims_of(&ends, Some(&agent)).1, written);
        ends.metadata.annotations = Some([("kvs-ingest.dev/paused".into(), "true".into())].into());
        assert_eq!(claims(&ends), written);
    }

    #[test]
    fn an_agent_keeps_the_channel_that_it_is_on() {
        let mut ingest = ingest(serde_json::json!({}));
        let claims = |ingest: &KvsIngest, agent| claims_of(ingest, agent).0;
        ingest.status = Some(status(found()));
        assert_eq!(claims(&ingest, None).as_deref(), Some("arn:c"));
        ingest.status = Some(status(ConditionUpdate::stalled(Reason::MediaStorageEnabled, "disable it")));
        assert_eq!(claims(&ingest, None), None);
        let agent: DeploymentLite =
            serde_json::from_value(serde_json::json!({"metadata": {"ownerReferences": [
            {"apiVersion": "x", "kind": "KvsIngest", "name": "door", "uid": "u", "controller": true}]}}))
            .unwrap();
        assert_eq!(claims(&ingest, Some(&agent)).as_deref(), Some("arn:c"));
    }

    #[test]
    fn an_agent_needs_all_that_its_object_names() {
        let arn = |mut stream: Resolution<ResolvedStream>| {
            stream.resource.arn = Some("arn:s".into());
            stream
        };
        let half = Resolved {
            channel: channel(false, found()),
            stream: Some(stream(false, found())),
            unanswered: false,
            asked: false,
        };
        assert_eq!(half.names(), None);
        let taken = ConditionUpdate::stalled(Reason::StreamInUse, "of another");
        let both = Resolved {
            channel: channel(false, found()),
            stream: Some(arn(stream(false, taken))),
            unanswered: false,
            asked: false,
        };
        assert_eq!(both.names().unwrap().stream.unwrap().arn, "arn:s");
        assert!(both.stream_in_use() && !both.is_complete());
        let alone =
            Resolved { channel: channel(false, found()), stream: None, unanswered: false, asked: false };
        assert_eq!(alone.names().unwrap().stream, None);
        assert!(alone.is_complete() && !alone.stream_in_use() && alone.stream_condition().is_met());
    }
}
