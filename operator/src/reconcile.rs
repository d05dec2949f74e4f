//! One reconcile: resolve → validate → build → apply → report.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kvs_ingest_api::{
    DeletionPolicy, KvsIngest, KvsIngestStatus, ResolvedChannel, ResolvedStream, annotations, condition,
};
use tracing::field::{Empty, display};
use tracing::{Instrument, instrument};

use crate::apply::{ApplyError, within};
use crate::aws::{Resolution, Subject};
use crate::build::{Built, ResolvedNames, build};
use crate::context::{Caches, Context, STATUS_LAG, claim};
use crate::controller::Seen;
use crate::names;
use crate::report::{AgentView, Next, Observed, Truth, Verdict, find, report};
use crate::stored::StoredIngest;
use crate::workload::{self, DeploymentLite};

/// Between looks at something that is being created or deleted.
const SOON: Duration = Duration::from_secs(2);
/// A pod that does not run yet is given so long before it is asked why.
const STARTING: Duration = Duration::from_secs(5);

/// The agent's word for media that waits.
const STORAGE_INTERRUPTED: &str = "StorageInterrupted";

/// Why a reconcile did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// Something could not be read or written.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// An object without identity.
    #[error(transparent)]
    Identity(#[from] crate::build::NoIdentity),
    /// What was created in AWS could not be deleted.
    #[error("what was created in AWS cannot be deleted yet: {0}")]
    Delete(String),
    /// A bug: it is caught here, so that the other objects are still reconciled.
    #[error("the reconcile panicked: {0}")]
    Panic(String),
}

/// Reconciles an object as the cache has it now.
///
/// # Errors
/// [`ReconcileError`]: it is tried again, with growing delays.
pub async fn reconcile(object: &StoredIngest, context: &Arc<Context>) -> Result<Action, ReconcileError> {
    let mut leading = context.leading.clone();
    // A standby waits here; when it leads, the object may have changed.
    if leading.wait_for(|leads| *leads).await.is_err() {
        return Ok(Action::await_change());
    }
    let mut ready = context.ready.subscribe();
    if ready.wait_for(|ready| *ready).await.is_err() {
        return Ok(Action::await_change());
    }
    let Some(caches) = context.caches(&object.namespace().unwrap_or_default()) else {
        return Ok(Action::await_change());
    };
    let here = ObjectRef::new(&object.name_any()).within(&object.namespace().unwrap_or_default());
    let Some(object) = caches.objects.get(&here) else {
        return Ok(Action::await_change());
    };
    let span = tracing::debug_span!(
        "reconcile",
        k8s.namespace.name = object.namespace(),
        kvs_ingest.name = object.name_any(),
        kvs_ingest.uid = object.uid(),
        kvs_ingest.generation = object.meta_generation(),
        otel.status_code = Empty,
        otel.status_description = Empty,
    );
    let result = pass(&object, &caches, context).instrument(span.clone()).await;
    if let Err(error) = &result {
        span.record("otel.status_code", "ERROR").record("otel.status_description", display(error));
    }
    result
}

async fn pass(
    object: &StoredIngest,
    caches: &Caches,
    context: &Arc<Context>,
) -> Result<Action, ReconcileError> {
    let ingest = match object.read() {
        Ok(ingest) => ingest,
        Err(error) => {
            let observed = Observed {
                invalid: Some(format!("the object cannot be read by this operator: {error}")),
                ..nothing(object.meta_generation())
            };
            let status = report(None, observed, &now());
            context.apply_status(object, &status).await?;
            return Ok(Action::await_change());
        }
    };
    let name = names::deployment(&ingest.name_any());
    let deployment =
        caches.deployments.get(&ObjectRef::new(&name).within(&ingest.namespace().unwrap_or_default()));
    let uid = ingest.uid().unwrap_or_default();
    let pass = Pass { context, object, ingest: &ingest, deployment, touched: &caches.touched, uid };
    if ingest.metadata.deletion_timestamp.is_some() { pass.delete().await } else { pass.run().await }
}

trait Generation {
    fn meta_generation(&self) -> Option<i64>;
}

impl Generation for StoredIngest {
    fn meta_generation(&self) -> Option<i64> {
        kube::Resource::meta(self).generation
    }
}

fn now() -> Time {
    Time(Timestamp::now())
}

fn nothing(generation: Option<i64>) -> Observed {
    Observed {
        generation,
        paused: false,
        invalid: None,
        channel: None,
        channel_verdict: None,
        stream: None,
        stream_verdict: None,
        suspended: false,
        workload: None,
        agent: AgentView::NotAsked,
        image: None,
        deployment_generation: None,
        reconcile_requested_at: None,
    }
}

struct Pass<'a> {
    context: &'a Arc<Context>,
    object: &'a StoredIngest,
    ingest: &'a KvsIngest,
    /// Of this name, in the cache.
    deployment: Option<Arc<DeploymentLite>>,
    touched: &'a Seen,
    uid: String,
}

impl Pass<'_> {
    /// The last status that is known: what was just written may not be in the cache yet.
    fn before(&self) -> Option<KvsIngestStatus> {
        let written = self.context.remember(&self.uid, |memory| {
            memory
                .status
                .as_ref()
                .filter(|written| written.1.elapsed() < STATUS_LAG)
                .map(|written| written.0.clone())
        });
        written.or_else(|| self.ingest.status.clone())
    }

    fn subject<'s>(&'s self, namespace: &'s str, name: &'s str) -> Subject<'s> {
        Subject { uid: &self.uid, namespace, name, spec: &self.ingest.spec }
    }

    async fn run(&self) -> Result<Action, ReconcileError> {
        let spec = &self.ingest.spec;
        let before = self.before();
        let generation = self.ingest.metadata.generation;
        let mut observed = Observed { suspended: spec.suspend, ..nothing(generation) };
        if self.ingest.annotations().get(annotations::PAUSED).is_some_and(|value| value == "true") {
            observed.paused = true;
            return self.finish(before, observed, None).await;
        }
        if let Err(errors) = spec.validate() {
            let message = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            observed.invalid = Some(message);
            return self.finish(before, observed, None).await;
        }
        let requested = self.ingest.annotations().get(annotations::RECONCILE_REQUESTED_AT).cloned();
        let (channel, stream) = self.resolve(before.as_ref(), requested.as_ref()).await?;
        observed.reconcile_requested_at = requested;
        observed.channel = Some(channel.0.clone());
        observed.stream = Some(stream.0.clone());
        observed.channel_verdict = Some(channel.1);
        observed.stream_verdict = Some(self.owned(&stream.0, stream.1));

        let resolved = match (&channel.0.arn, &stream.0.arn) {
            (Some(channel_arn), Some(stream_arn)) => Some(ResolvedNames {
                channel_arn: channel_arn.clone(),
                stream_name: stream.0.name.clone(),
                stream_arn: stream_arn.clone(),
            }),
            _ => None,
        };
        let good = [&observed.channel_verdict, &observed.stream_verdict]
            .iter()
            .all(|verdict| verdict.as_ref().is_some_and(|verdict| verdict.truth == Truth::Yes));
        // What only AWS has trouble with does not stop an agent that runs; an agent on another's stream is stopped.
        let in_use = observed.stream_verdict.as_ref().is_some_and(|verdict| verdict.reason == "StreamInUse");
        let run = !spec.suspend && !in_use;
        let mut wait = None;
        match resolved {
            Some(resolved) if good || self.deployment.is_some() => {
                let built = build(self.ingest, &resolved, &self.context.settings.agents, run)?;
                match self.apply(&built, before.as_ref(), run).await {
                    Ok(Applied { deployment, generation, queued }) => {
                        observed.deployment_generation = generation;
                        if !queued {
                            observed.image = Some(built.image);
                        }
                        wait = queued.then_some(Duration::from_secs(30));
                        let (verdict, view, ask) = self.look(&deployment, run).await?;
                        observed.workload = Some(verdict);
                        observed.agent = view;
                        wait = [wait, ask].into_iter().flatten().min();
                    }
                    Err(ReconcileError::Apply(error @ ApplyError::NotOurs(_))) => {
                        observed.workload = Some(Verdict::stalled("DeploymentConflict", error.to_string()));
                    }
                    Err(error) => return Err(error),
                }
            }
            _ => {}
        }
        self.finish(before, observed, wait).await
    }

    /// Channel and stream: from the status while they are as they were, from AWS otherwise.
    #[instrument(level = "debug", skip_all)]
    async fn resolve(
        &self,
        before: Option<&KvsIngestStatus>,
        requested: Option<&String>,
    ) -> Result<(Resolution<ResolvedChannel>, Resolution<ResolvedStream>), ReconcileError> {
        let spec = &self.ingest.spec;
        let known = before.filter(|status| {
            status.observed_generation == self.ingest.metadata.generation
                && status.last_handled_reconcile_at.as_ref() == requested
        });
        let resync = self.context.settings.aws_resync;
        let due = self.context.remember(&self.uid, |memory| {
            // After a restart nobody knows when AWS was asked: some time from now to then, not all at once.
            let at = *memory.aws_at.get_or_insert_with(|| Instant::now() + resync.mul_f64(rand::random()));
            Instant::now() >= at
        });
        let trusted = |kind: &str| {
            let condition = known.filter(|_| !due).and_then(|status| find(status, kind))?;
            (condition.status == "True").then(|| Verdict::yes(&condition.reason, condition.message.clone()))
        };
        let (namespace, name) = (self.ingest.namespace().unwrap_or_default(), self.ingest.name_any());
        let subject = self.subject(&namespace, &name);
        let deletes = spec.deletion_policy == DeletionPolicy::Delete;
        let held = self.ingest.finalizers().iter().any(|name| name == names::FINALIZER);
        let may_create = !deletes || held;

        let mut channel =
            match (trusted(condition::CHANNEL_RESOLVED), known.and_then(|status| status.channel.clone())) {
                (Some(verdict), Some(channel)) => (channel, verdict),
                _ => self.context.aws.channel(subject, may_create).await,
            };
        // Who lost the stream to an older object asks AWS no more often than others.
        let mut stream =
            match (trusted(condition::STREAM_RESOLVED), known.and_then(|status| status.stream.clone())) {
                (Some(verdict), Some(stream)) => (stream, verdict),
                _ => self.context.aws.stream(subject, may_create).await,
            };
        // Trouble with AWS takes nothing away from what was resolved: the agent runs on.
        if channel.1.truth == Truth::Unknown
            && let Some((verdict, known)) =
                still(before, condition::CHANNEL_RESOLVED, before.and_then(|b| b.channel.clone()))
        {
            channel = (known, verdict);
        }
        if stream.1.truth == Truth::Unknown
            && let Some((verdict, known)) =
                still(before, condition::STREAM_RESOLVED, before.and_then(|b| b.stream.clone()))
        {
            stream = (known, verdict);
        }
        if due {
            let again = resync.mul_f64(0.8 + 0.4 * rand::random::<f64>());
            self.context.remember(&self.uid, |memory| memory.aws_at = Some(Instant::now() + again));
        }
        let about_to = |verdict: &Verdict| verdict.reason == "Creating" && !may_create;
        let wanted =
            deletes && (channel.0.created || stream.0.created || about_to(&channel.1) || about_to(&stream.1));
        if wanted != held {
            // Before anything is created: an operator that stops here must leave nothing behind. The change brings the
            // object back.
            self.context.set_finalizer(self.ingest, wanted).await?;
        }
        Ok((channel, stream))
    }

    /// The stream belongs to the oldest object that names it.
    fn owned(&self, stream: &ResolvedStream, verdict: Verdict) -> Verdict {
        let Some(arn) = stream.arn.as_deref() else { return verdict };
        let (owner, ousted) = self.context.owners.claim(arn, claim(self.ingest));
        if let Some(ousted) = ousted {
            self.context.wake_up(&ousted);
        }
        if owner.uid == self.uid {
            return verdict;
        }
        Verdict::stalled(
            "StreamInUse",
            format!("stream {} is of the older KvsIngest {}/{}", stream.name, owner.namespace, owner.name),
        )
    }

    /// Applies what was built, unless it is there.
    #[instrument(level = "debug", skip_all)]
    async fn apply(
        &self,
        built: &Built,
        before: Option<&KvsIngestStatus>,
        run: bool,
    ) -> Result<Applied, ReconcileError> {
        let cached = self.deployment.as_deref();
        if let Some(found) = cached.filter(|found| !found.belongs_to(&self.uid)) {
            return Err(ApplyError::NotOurs(found.name_any()).into());
        }
        let applied = self.context.remember(&self.uid, |memory| memory.applied.clone());
        // What we applied and the cache does not show yet is as good as there.
        if let Some((hash, generation)) = &applied
            && *hash == built.hash
            && cached.is_none_or(|cached| cached.metadata.generation < *generation)
        {
            let deployment = cached.cloned().unwrap_or_default();
            return Ok(Applied { deployment, generation: *generation, queued: false });
        }
        let recorded = before.and_then(|status| status.deployment_generation);
        if let Some(cached) = cached {
            let generation = cached.metadata.generation;
            let same = cached.hash() == Some(&built.hash);
            let expected = applied.map_or(recorded, |(_, generation)| generation);
            if same && generation == expected {
                self.context.metrics.applied("unchanged");
                self.context.rollout.lock().1.remove(&self.uid);
                return Ok(Applied { deployment: cached.clone(), generation, queued: false });
            }
            if !same && run && self.is_operators_own(cached, before) && !self.may_roll_out() {
                return Ok(Applied { deployment: cached.clone(), generation: recorded, queued: true });
            }
        }
        let deployment = self.context.apply_deployment(built, cached.is_some(), &self.uid).await?;
        let generation = deployment.metadata.generation;
        // The watch will tell of this write, too.
        self.touched.is_new_version(&deployment);
        self.context.remember(&self.uid, |memory| memory.applied = Some((built.hash.clone(), generation)));
        tracing::info!(
            generation,
            drift = cached.is_some_and(|cached| cached.hash() == Some(&built.hash)),
            "Deployment applied"
        );
        Ok(Applied { deployment, generation, queued: false })
    }

    /// Neither the spec nor an annotation of the object asks for the change: the operator itself does, after an upgrade.
    fn is_operators_own(&self, cached: &DeploymentLite, before: Option<&KvsIngestStatus>) -> bool {
        let spec = before.is_some_and(|status| status.observed_generation == self.ingest.metadata.generation);
        let asked = self.ingest.annotations().get(annotations::RESTARTED_AT);
        let restart = cached.restarted_at() == asked.map(String::as_str);
        let runs = cached.status.as_ref().is_some_and(|status| status.replicas.unwrap_or(0) > 0);
        spec && restart && runs
    }

    fn may_roll_out(&self) -> bool {
        let mut rollout = self.context.rollout.lock();
        let may = rollout.0.take(Instant::now());
        if may {
            rollout.1.remove(&self.uid);
        } else {
            rollout.1.insert(self.uid.clone());
        }
        may
    }

    /// What Kubernetes and the agent say; and when to look again.
    #[instrument(level = "debug", skip_all)]
    async fn look(
        &self,
        deployment: &DeploymentLite,
        run: bool,
    ) -> Result<(Verdict, AgentView, Option<Duration>), ReconcileError> {
        let (mut verdict, puzzling) = workload::verdict(deployment, run);
        if !run {
            self.context.remember(&self.uid, |memory| (memory.ask_at, memory.seen) = (None, None));
            let wait = (verdict.next == Next::Waiting).then_some(SOON * 5);
            return Ok((verdict, AgentView::NotAsked, wait));
        }
        if verdict.truth != Truth::Yes && !puzzling {
            // There is no pod to look at.
            return Ok((verdict, AgentView::NotAsked, None));
        }
        let (shortest, longest) = self.context.settings.ask;
        let version = deployment.metadata.resource_version.clone();
        let settled = self.ingest.status.as_ref().is_some_and(|status| {
            find(status, condition::MEDIA_FLOWING).is_some_and(|media| media.status != "Unknown")
        });
        let now = Instant::now();
        let (ask, address) = self.context.remember(&self.uid, |memory| {
            if memory.ask_at.is_none() {
                memory.ask_delay = shortest;
                // After a restart: what the status says holds until somebody looks, and not all are looked at at once.
                let first = if puzzling {
                    STARTING
                } else if settled {
                    longest.mul_f64(rand::random())
                } else {
                    Duration::ZERO
                };
                memory.ask_at = Some(now + first);
                memory.seen.clone_from(&version);
            } else if memory.seen != version {
                // A transition: look soon, and often again. A pod that is starting needs a moment first.
                memory.seen.clone_from(&version);
                memory.address = None;
                memory.ask_delay = shortest;
                let soon = now + if puzzling { STARTING } else { Duration::ZERO };
                memory.ask_at = memory
                    .ask_at
                    .map(|at| if puzzling { at.max(soon).min(now + shortest) } else { at.min(soon) });
            }
            (memory.ask_at.is_none_or(|at| at <= now), memory.address)
        });
        if !ask {
            if puzzling {
                let (asked, found) = self
                    .context
                    .remember(&self.uid, |memory| (memory.asked, memory.trouble.as_deref().cloned()));
                let trouble = if asked { found } else { self.told(deployment) };
                verdict = trouble.unwrap_or(verdict);
            }
            return Ok((verdict, AgentView::NotAsked, self.next_look()));
        }
        let view = self.ask(deployment, address, puzzling, &mut verdict).await?;
        self.context.remember(&self.uid, |memory| {
            let healthy = matches!(&view, AgentView::Says(status) if status.stores_all());
            // What waits at the agent is over soon, or does not go by itself.
            let interrupted =
                matches!(&view, AgentView::Says(status) if status.reason == STORAGE_INTERRUPTED);
            let delay = match healthy && !puzzling {
                true if interrupted => (shortest * 3).min(longest),
                true => longest,
                false => memory.ask_delay,
            };
            memory.ask_delay = (memory.ask_delay * 2).min(longest);
            memory.ask_at = Some(now + delay.mul_f64(0.8 + 0.4 * rand::random::<f64>()));
        });
        Ok((verdict, view, self.next_look()))
    }

    /// What the status says of the pods of this very Deployment: until this process has looked, that still holds.
    fn told(&self, deployment: &DeploymentLite) -> Option<Verdict> {
        let status = self.ingest.status.as_ref().filter(|status| {
            status.observed_generation == self.ingest.metadata.generation
                && status.deployment_generation == deployment.metadata.generation
        })?;
        let told = find(status, condition::AGENT_AVAILABLE).filter(|told| told.status == "False")?;
        Some(match find(status, condition::STALLED) {
            Some(_) => Verdict::stalled(&told.reason, told.message.clone()),
            None => Verdict::waiting(&told.reason, told.message.clone()),
        })
    }

    fn next_look(&self) -> Option<Duration> {
        self.context
            .remember(&self.uid, |memory| memory.ask_at)
            .map(|at| at.saturating_duration_since(Instant::now()).max(Duration::from_millis(100)))
    }

    async fn ask(
        &self,
        deployment: &DeploymentLite,
        address: Option<std::net::IpAddr>,
        puzzling: bool,
        verdict: &mut Verdict,
    ) -> Result<AgentView, ReconcileError> {
        if let Some(address) = address.filter(|_| !puzzling)
            && let Ok(status) = self.context.asker.ask(address).await
            && self.is_ours(&status)
        {
            self.context.metrics.polled("ok");
            return Ok(AgentView::Says(Box::new(status)));
        }
        let Some(uid) = deployment.uid() else { return Ok(AgentView::NotAsked) };
        let (namespace, name) = (self.ingest.namespace().unwrap_or_default(), self.ingest.name_any());
        let look = workload::newest_pod(&self.context.client, &namespace, &name, &uid);
        let pod = within("list pods", look).await?;
        let trouble = pod.as_ref().and_then(|pod| pod.trouble.clone()).filter(|_| puzzling);
        self.context.remember(&self.uid, |memory| {
            memory.asked = true;
            memory.trouble = trouble.clone().map(Box::new);
        });
        if let Some(trouble) = trouble {
            *verdict = trouble;
        }
        let Some(address) = pod.and_then(|pod| pod.address) else { return Ok(AgentView::NotAsked) };
        let answer = self.context.asker.ask(address).await;
        self.context.metrics.polled(if answer.is_ok() { "ok" } else { "error" });
        match answer {
            Ok(status) if self.is_ours(&status) => {
                self.context.remember(&self.uid, |memory| memory.address = Some(address));
                Ok(AgentView::Says(Box::new(status)))
            }
            Ok(_) => {
                Ok(AgentView::Silent("the agent at the pod's address serves another channel".to_owned()))
            }
            Err(error) => Ok(AgentView::Silent(format!("the agent's /status: {error}"))),
        }
    }

    /// An address may be another pod's by now.
    fn is_ours(&self, status: &kvs_ingest_api::AgentStatus) -> bool {
        let stream = self.ingest.status.as_ref().and_then(|status| status.stream.as_ref());
        match (stream, status.stream.as_deref()) {
            (Some(stream), Some(said)) => said == stream.name || stream.arn.as_deref() == Some(said),
            _ => true,
        }
    }

    #[instrument(name = "report", level = "debug", skip_all)]
    async fn finish(
        &self,
        before: Option<KvsIngestStatus>,
        observed: Observed,
        wait: Option<Duration>,
    ) -> Result<Action, ReconcileError> {
        let invalid = observed.invalid.is_some();
        let aws = [&observed.channel_verdict, &observed.stream_verdict]
            .iter()
            .any(|verdict| verdict.as_ref().is_some_and(|verdict| verdict.truth != Truth::Yes));
        let creating = [&observed.channel_verdict, &observed.stream_verdict]
            .iter()
            .any(|verdict| verdict.as_ref().is_some_and(|verdict| verdict.reason == "Creating"));
        let stalled = aws
            && [&observed.channel_verdict, &observed.stream_verdict]
                .iter()
                .any(|verdict| verdict.as_ref().is_some_and(|verdict| verdict.next == Next::Person));
        let after = report(before.as_ref(), observed, &now());
        if before.as_ref() != Some(&after) {
            self.context.apply_status(self.object, &after).await?;
            self.context.remember(&self.uid, |memory| {
                memory.status = Some(Box::new((after.clone(), Instant::now())))
            });
            self.tell_transitions(before.as_ref(), &after);
        }
        if invalid || stalled {
            self.context.metrics.stalled();
        }
        if invalid {
            self.context.backoff.forget(&self.uid);
            return Ok(Action::await_change());
        }
        let again = if creating {
            Some(SOON)
        } else if aws {
            let delay = self.context.backoff.next(&self.uid, self.ingest.metadata.generation, rand::random());
            Some(delay)
        } else {
            self.context.backoff.forget(&self.uid);
            None
        };
        let resync = self.context.remember(&self.uid, |memory| memory.aws_at);
        let resync = resync.map(|at| at.saturating_duration_since(Instant::now()));
        let next = [again, wait, resync].into_iter().flatten().min();
        tracing::debug!(?next, "reconciled");
        Ok(next.map_or_else(Action::await_change, Action::requeue))
    }

    /// Events: when something stops working, works again, was created, or media comes and goes. Not each step of a start.
    fn tell_transitions(&self, before: Option<&KvsIngestStatus>, after: &KvsIngestStatus) {
        let created = |status: Option<&KvsIngestStatus>| {
            let channel =
                status.and_then(|status| status.channel.as_ref()).is_some_and(|found| found.created);
            let stream = status.and_then(|status| status.stream.as_ref()).is_some_and(|found| found.created);
            (channel, stream)
        };
        let (was, is) = (created(before), created(Some(after)));
        let message = |kind| find(after, kind).map_or("", |condition| condition.message.as_str());
        let (channel, stream) = (message(condition::CHANNEL_RESOLVED), message(condition::STREAM_RESOLVED));
        // One event for both: each is a request.
        match (is.0 && !was.0, is.1 && !was.1) {
            (true, true) => {
                self.context.tell(self.ingest, true, "Created", &format!("{channel}; {stream}"));
            }
            (true, false) => self.context.tell(self.ingest, true, "ChannelCreated", channel),
            (false, true) => self.context.tell(self.ingest, true, "StreamCreated", stream),
            (false, false) => {}
        }
        let old = |kind| before.and_then(|status| find(status, kind));
        if let Some(ready) = find(after, condition::READY) {
            let was = old(condition::READY);
            let changed = was.is_none_or(|was| was.status != ready.status || was.reason != ready.reason);
            let needs_a_person = find(after, condition::STALLED).is_some();
            let broke = was.is_some_and(|was| was.status == "True") && ready.status != "True";
            let healed = was.is_some_and(|was| was.status != "True" && was.reason != "AgentStarting")
                && ready.status == "True";
            // Ready all the same: the agent holds what KVS does not take.
            let interrupted = ready.reason == STORAGE_INTERRUPTED;
            let healed = healed || was.is_some_and(|was| was.reason == STORAGE_INTERRUPTED);
            if changed && (needs_a_person || broke || interrupted) {
                self.context.tell(self.ingest, false, &ready.reason, &ready.message);
            } else if changed && healed {
                self.context.tell(self.ingest, true, &ready.reason, &ready.message);
            }
            let first = was.is_none_or(|was| was.status != "True") && ready.status == "True";
            if first
                && before.is_none_or(|before| {
                    !before
                        .conditions
                        .iter()
                        .any(|c| c.type_ == condition::READY && c.reason != "AgentStarting")
                })
                && let Some(created) = &self.ingest.metadata.creation_timestamp
            {
                let seconds = Timestamp::now().as_second() - created.0.as_second();
                self.context.metrics.ready_after(f64::from(u32::try_from(seconds).unwrap_or(0)));
            }
        }
        if let (Some(was), Some(media)) =
            (old(condition::MEDIA_FLOWING), find(after, condition::MEDIA_FLOWING))
            && was.status != media.status
            && was.status != "Unknown"
            && media.status != "Unknown"
        {
            self.context.tell(self.ingest, true, &media.reason, &media.message);
        }
    }

    /// The object goes: first the agent, which must not write to what is deleted, then what was created in AWS.
    #[instrument(level = "debug", skip_all)]
    async fn delete(&self) -> Result<Action, ReconcileError> {
        if !self.ingest.finalizers().iter().any(|name| name == names::FINALIZER) {
            return Ok(Action::await_change());
        }
        if self.ingest.spec.deletion_policy == DeletionPolicy::Delete {
            if let Some(deployment) = self.deployment.as_deref().filter(|found| found.belongs_to(&self.uid)) {
                if deployment.metadata.deletion_timestamp.is_none() {
                    self.context.delete_deployment(deployment).await?;
                }
                // Its end is an event of the watch.
                return Ok(Action::requeue(SOON * 5));
            }
            let (namespace, name) = (self.ingest.namespace().unwrap_or_default(), self.ingest.name_any());
            let status = self.before().unwrap_or_default();
            let created = self.context.aws.delete_created(
                self.subject(&namespace, &name),
                status.channel.as_ref(),
                status.stream.as_ref(),
            );
            if let Err(verdict) = created.await {
                let hint = "set spec.deletionPolicy: Retain to let it go without";
                self.context.tell(
                    self.ingest,
                    false,
                    &verdict.reason,
                    &format!("{}; {hint}", verdict.message),
                );
                return Err(ReconcileError::Delete(verdict.message));
            }
        }
        match self.context.set_finalizer(self.ingest, false).await {
            Err(error) if error.is_gone() => {}
            other => other?,
        }
        Ok(Action::await_change())
    }
}

/// What was resolved before, with the condition that says so.
fn still<T>(before: Option<&KvsIngestStatus>, kind: &str, known: Option<T>) -> Option<(Verdict, T)> {
    let condition = find(before?, kind).filter(|condition| condition.status == "True")?;
    Some((Verdict::yes(&condition.reason, condition.message.clone()), known?))
}

struct Applied {
    deployment: DeploymentLite,
    generation: Option<i64>,
    queued: bool,
}
