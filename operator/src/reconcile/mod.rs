//! One reconcile: permit → validate → resolve → build → apply → observe → report.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use kvs_ingest_api::{KvsIngest, KvsIngestStatus, Mode};
use rand::Rng;
use tracing::field::{Empty, display};
use tracing::{Instrument, instrument};

use crate::apply::ApplyError;
use crate::aws::Pair;
use crate::build::{ResolvedNames, build};
use crate::cached::CachedIngest;
use crate::conditions::{ConditionUpdate, Next};
use crate::context::{Caches, Context};
use crate::delete::{delete, ends_agent};
use crate::deletion_report::report_unreadable;
use crate::end_agent::{Ending, end_agent};
use crate::managed::{Pass, no_agent, not_recorded, record, release};
use crate::object::{Object, Tick};
use crate::observe::{Observation, observe};
use crate::pace::jittered;
use crate::permit::{Withdrawn, permit, withdraw};
use crate::publish::{publish, publish_resources};
use crate::reason::Reason;
use crate::refusal::refusal;
use crate::relieve::relieve;
use crate::report::{AgentView, DeclaredOutput, Observed, report};
use crate::resolve::{hold_what_was_made, keep_stream, resolve};
use crate::rollout::{Contest, roll_out, stop};
use crate::tenancy::Verdict;
use crate::validate::{Refusal, Valid, is_paused, validate};
use crate::workload::{DeploymentLite, availability};

/// Between looks at something that is being created.
const CREATING: Duration = Duration::from_secs(2);
/// Between attempts to get a place in the rollout budget.
const QUEUED: Duration = Duration::from_secs(30);
/// Between looks at an object whose namespace the caches do not show yet.
const NAMESPACE: Duration = Duration::from_secs(1);
/// An error that is over by the next attempt but one is nobody's business; one that lasts is told. What is new is always
/// told.
const LASTS: u32 = 3;
/// Until somebody who left room for others comes back.
const PUT_OFF: Duration = Duration::from_secs(1);
/// Nothing is looked at more often, however late it is.
const SOONEST: Duration = Duration::from_millis(100);

/// Why a reconcile did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error(transparent)]
    Identity(#[from] crate::build::NoIdentity),
    /// AWS goes on recording what is to be recorded no more.
    #[error("{0}")]
    Recorded(String),
    /// A bug: it is caught here, so that the other objects are still reconciled.
    #[error("the reconcile panicked: {0}")]
    Panic(String),
}

impl ReconcileError {
    /// The object went away meanwhile.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Apply(error) if error.is_gone())
    }

    /// Somebody else was faster; the watch brings the object back as it is now.
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Apply(error) if error.is_conflict())
    }

    /// Nothing can be written about it: there is no object any more, or another operator leads.
    fn is_untold(&self) -> bool {
        self.is_gone() || matches!(self, Self::Apply(ApplyError::NotLeading(_)))
    }
}

/// Reconciles an object as the cache has it when this operator leads and its caches are filled.
///
/// # Errors
/// [`ReconcileError`]: it is tried again, with growing delays.
pub async fn reconcile(object: &CachedIngest, context: &Context) -> Result<Action, ReconcileError> {
    let again = reconcile_once(object, context).await?;
    Ok(again.map_or_else(Action::await_change, Action::requeue))
}

/// As [`reconcile`]: to when the object is to be looked at again, if nothing changes before.
pub(crate) async fn reconcile_once(
    object: &CachedIngest,
    context: &Context,
) -> Result<Option<Duration>, ReconcileError> {
    // A standby waits here; when it leads, the object may have changed.
    let (mut leading, mut in_office) = (context.leading.clone(), context.in_office.subscribe());
    if in_office.wait_for(|is| *is).await.is_err() || leading.wait_for(|leads| *leads).await.is_err() {
        return Ok(None);
    }
    let namespace = object.namespace().unwrap_or_default();
    let Some(caches) = context.caches(&namespace) else { return Ok(None) };
    let reference = ObjectRef::new(&object.name_any()).within(&namespace);
    let Some(cached) = caches.objects.get(&reference) else { return Ok(None) };
    let Some(_place) = context.namespaces.enter(&namespace).await else {
        context.metrics.put_off("namespace");
        return Ok(Some(put_off(context)));
    };
    let span = tracing::debug_span!(
        "reconcile",
        k8s.namespace.name = cached.namespace(),
        kvs_ingest.name = cached.name_any(),
        kvs_ingest.uid = cached.uid(),
        kvs_ingest.generation = cached.meta().generation,
        otel.status_code = Empty,
        otel.status_description = Empty,
    );
    let result = reconcile_cached(&cached, &caches, context).instrument(span.clone()).await;
    if let Err(error) = &result {
        span.record("otel.status_code", "ERROR").record("otel.status_description", display(error));
    }
    result
}

async fn reconcile_cached(
    cached: &Arc<CachedIngest>,
    caches: &Caches,
    context: &Context,
) -> Result<Option<Duration>, ReconcileError> {
    let ingest = match cached.read() {
        Ok(ingest) => ingest,
        Err(error) => return reconcile_unreadable(cached, caches, context, &error).await,
    };
    let object = Object::new(context, caches, cached, &ingest, tick(context).now);
    // Beside everything else, which may wait for AWS: an agent that ends has some seconds.
    let relieved = relieve(&object, tick(context));
    let (again, look) = futures::join!(Box::pin(reconcile_object(&object)), relieved);
    let wait = look.map(|at| at.saturating_duration_since(tick(context).now).max(SOONEST));
    Ok([again?, wait].into_iter().flatten().min())
}

async fn reconcile_object(object: &Object<'_>) -> Result<Option<Duration>, ReconcileError> {
    let (context, ingest) = (object.context, object.ingest);
    if ingest.metadata.deletion_timestamp.is_some() {
        return reconcile_deleted(object, &permit(object)).await;
    }
    let unobserved = unobserved(ingest, object.before.as_ref());
    // Also of an object that is paused: its author pauses it, and another forbids.
    match permit(object) {
        Verdict::Permitted => {}
        Verdict::Refused(message) => {
            let Withdrawn { agent, failure, media_storage } = withdraw(object).await;
            let paused = is_paused(&ingest.metadata);
            let held = if paused { Ok(()) } else { hold_what_was_made(object).await };
            let observed = Observed {
                not_permitted: Some(message),
                workload: Some(agent),
                agent: AgentView::Absent,
                media_storage,
                ..unobserved
            };
            let failure = failure.or(held.err()).map(Into::into);
            let converged = Converged { failure, ..observed.into() };
            return finish(object, converged).await;
        }
        Verdict::Unknown => return Ok(Some(NAMESPACE)),
    }
    let had_agent = object.before.as_ref().is_some_and(|status| status.deployment_generation.is_some());
    let verdict = validate(ingest, had_agent || object.deployment.is_some());
    let stopped = match verdict {
        Err(Refusal::Paused) => Ok(None),
        _ if ingest.spec.suspend => stop(object, tick(context)).await,
        _ => Ok(None),
    };
    let mut converged = match verdict {
        Ok(valid) => Box::pin(converge(object, &valid, unobserved)).await,
        Err(Refusal::Paused) => Observed { paused: true, ..unobserved }.into(),
        Err(Refusal::Invalid(message)) => {
            let held = hold_what_was_made(object).await;
            let workload = suspension(object);
            let mut observed = Observed { invalid: Some(message), workload, ..unobserved };
            let mut failure = held.err().map(Into::into);
            if ingest.spec.suspend
                && let Err(why) = released(object, &mut observed).await
            {
                failure = failure.or(Some(ReconcileError::Recorded(why.message)));
            }
            Converged { failure, ..observed.into() }
        }
    };
    match stopped {
        Ok(Some(contest)) => converged.is_contested(contest),
        Ok(None) => {}
        Err(error) => converged.failure = converged.failure.or(Some(error.into())),
    }
    finish(object, converged).await
}

/// What the object says, and nothing that was looked at.
fn unobserved(ingest: &KvsIngest, before: Option<&KvsIngestStatus>) -> Observed {
    Observed {
        mode: ingest.spec.mode,
        media_storage: before.and_then(|status| status.media_storage.clone()),
        outputs: DeclaredOutput::all(&ingest.spec),
        suspended: ingest.spec.suspend,
        ..Observed::unobserved(ingest.metadata.generation)
    }
}

/// An object that is being deleted. Who holds it with a finalizer, or pauses it, does so for as long as he likes: what it may
/// not have it must not have until then.
async fn reconcile_deleted(
    object: &Object<'_>,
    verdict: &Verdict,
) -> Result<Option<Duration>, ReconcileError> {
    let withdrawn = match verdict {
        Verdict::Refused(_) if !ends_agent(object) => withdraw(object).await.failure,
        _ => None,
    };
    let next = Box::pin(delete(object, tick(object.context), &wall_clock())).await?;
    match withdrawn {
        Some(error) => Err(error.into()),
        None => Ok(next),
    }
}

/// A newer operator's object, say: what is known of it stays, unless it may not have what can be read of it, and it can be deleted.
async fn reconcile_unreadable(
    cached: &CachedIngest,
    caches: &Caches,
    context: &Context,
    error: &str,
) -> Result<Option<Duration>, ReconcileError> {
    let ingest = cached.read_in_part();
    let object = Object::new(context, caches, cached, &ingest, tick(context).now);
    let verdict = permit(&object);
    let mut why = match (cached.meta().deletion_timestamp.is_some(), cached.read_for_deletion()) {
        (true, Ok(ingest)) => {
            let object = Object::new(context, caches, cached, &ingest, tick(context).now);
            return reconcile_deleted(&object, &verdict).await;
        }
        (true, Err(error)) => ConditionUpdate::stalled(
            Reason::DeletionBlocked,
            format!(
                "what is to be deleted cannot be read by this operator: {error}; run a newer one, or set \
                 spec.deletionPolicy: Retain"
            ),
        ),
        (false, _) => ConditionUpdate::stalled(
            Reason::InvalidSpec,
            format!("the object cannot be read by this operator: {error}"),
        ),
    };
    context.metrics.stalled();
    let generation = cached.meta().generation;
    // What is said of its agent; otherwise what was known of it stays.
    let (mut agent, mut next, mut failure) = (None, None, None);
    match verdict {
        Verdict::Refused(message) => {
            why = ConditionUpdate::stalled(Reason::NotPermitted, format!("{message}; and {}", why.message));
            let withdrawn = withdraw(&object).await;
            (agent, failure) = (Some(withdrawn.agent), withdrawn.failure);
            // As with an object that can be read: another may have made room for it.
            next = Some(context.backoff.next(&object.uid, generation, tick(context).random));
        }
        Verdict::Unknown => return Ok(Some(NAMESPACE)),
        Verdict::Permitted if cached.is_suspended() && !is_paused(&ingest.metadata) => {
            let none = DeploymentLite::default();
            agent = Some(availability(object.deployment.as_deref().unwrap_or(&none), false).condition);
            let tick = tick(context);
            match stop(&object, tick).await {
                Ok(None) => {}
                Ok(Some(contest)) => {
                    next = Some(contest.next.saturating_duration_since(tick.now).max(SOONEST));
                    agent = agent.map(|agent| contest.shown_by(agent));
                }
                Err(error) => failure = Some(error),
            }
            match release(&object).await {
                Ok(()) => keep_stream(&object),
                Err(why) => {
                    agent = Some(why);
                    next = Some(context.backoff.next(&object.uid, generation, tick.random));
                }
            }
        }
        Verdict::Permitted => {}
    }
    object.state.lock().ready = Some((why.status.as_str(), why.reason.label()));
    let before = cached.raw_status().unwrap_or_default();
    let after = report_unreadable(before.as_ref(), &why, agent.as_ref(), generation, &wall_clock());
    if before.as_ref() != Some(&after) {
        context.applier.apply_status(cached, &after).await?;
    }
    match failure {
        Some(error) => Err(error.into()),
        None => Ok(next),
    }
}

/// How far the world is what the object says.
struct Converged {
    observed: Observed,
    /// When to look again, whatever else there is to wait for.
    next: Option<Instant>,
    /// AWS has to be asked again.
    unanswered: bool,
    /// What was in the way, and may not be the next time: it is tried again with growing delays.
    failure: Option<ReconcileError>,
}

impl From<Observed> for Converged {
    fn from(observed: Observed) -> Self {
        Self { observed, next: None, unanswered: false, failure: None }
    }
}

impl Converged {
    /// Somebody starts again and again what is stopped.
    fn is_contested(&mut self, contest: Contest) {
        self.next = earliest([self.next, Some(contest.next)]);
        let workload = self.observed.workload.take();
        self.observed.workload = workload.map(|workload| contest.shown_by(workload));
    }

    /// It went no further than what was observed.
    fn failed(observed: Observed, failure: ReconcileError) -> Self {
        let observed = Observed { failed: Some(failure.to_string()), ..observed };
        Self { failure: Some(failure), ..observed.into() }
    }
}

/// Makes the world what the object says, as far as that can be done now.
async fn converge(object: &Object<'_>, valid: &Valid<'_>, mut observed: Observed) -> Converged {
    let context = object.context;
    let resolved = match Box::pin(resolve(object, valid, tick(context))).await {
        Ok(resolved) => resolved,
        Err(error) => return Converged::failed(observed, error.into()),
    };
    // What only AWS has trouble with does not stop an agent that runs; an agent on another's stream is stopped.
    let run = !valid.spec.suspend && !resolved.stream_in_use();
    let names = resolved.names().filter(|_| resolved.is_complete() || object.deployment.is_some());
    let news = object.has_finalizer() && resolved.is_news(object.before.as_ref());
    let moved = resolved.has_moved(object.before.as_ref());
    let unanswered = resolved.unanswered;
    if unanswered {
        // What is new in the spec, or was asked for, is not done: it is not said to be.
        observed.generation = object.before.as_ref().and_then(|status| status.observed_generation);
    } else {
        observed.reconcile_requested_at = valid.reconcile_requested_at.cloned();
    }
    let (asked, complete) = (resolved.asked, resolved.is_complete());
    observed.stream_condition = Some(resolved.stream_condition());
    observed.stream = resolved.stream.map(|stream| stream.resource);
    observed.channel = Some(resolved.channel.resource);
    observed.channel_condition = Some(resolved.channel.condition);
    let managed = valid.spec.mode == Mode::ManagedStorage;
    // Two never record the same: AWS lets go before an agent is started, or another object's.
    if !(managed && run)
        && let Err(why) = released(object, &mut observed).await
    {
        observed.channel_condition = Some(why);
        observed.workload = suspension(object);
        return Converged { unanswered: true, ..observed.into() };
    }
    if !managed {
        // Whoever maps it: it is no matter of an agent's object.
        observed.media_storage = None;
    }
    if managed {
        let names = names.filter(|_| complete);
        return Box::pin(manage(object, run, names, asked, observed, unanswered)).await;
    }
    let Some(names) = names else {
        observed.workload = suspension(object);
        return Converged { unanswered, ..observed.into() };
    };
    if news && let Err(error) = publish_resources(object, &observed).await {
        // What has to be deleted one day is written down before anything else is made of it.
        return Converged { failure: Some(error.into()), ..observed.into() };
    }

    let built = match build(object.ingest, &names, &context.settings.agents, run) {
        Ok(built) => built,
        Err(error) => return Converged::failed(observed, error.into()),
    };
    let rollout = match roll_out(object, &built, run, moved, tick(context)).await {
        Ok(rollout) => rollout,
        Err(error) => {
            let converged = Box::pin(not_rolled_out(object, run, observed, error)).await;
            return Converged { unanswered, ..converged };
        }
    };
    observed.deployment_generation = rollout.generation;
    observed.image = (!rollout.queued).then_some(built.image);
    let retry = rollout.queued.then(|| tick(context).now + QUEUED);

    let (Observation { workload, agent, next }, failure) = look(object, &rollout.deployment, run).await;
    let contested = rollout.contest.as_ref().map(|contest| contest.next);
    let mut workload = match rollout.contest {
        Some(contest) => contest.shown_by(workload),
        None => workload,
    };
    if let Some(flaw) = &valid.flaw {
        workload.message = format!("{}; {flaw}", workload.message);
    }
    observed.workload = Some(workload);
    observed.agent = agent;
    Converged { observed, next: earliest([retry, next, contested]), unanswered, failure }
}

/// AWS does not record for the object any more, if the operator had it do so: another may have the stream of one that is suspended.
async fn released(object: &Object<'_>, observed: &mut Observed) -> Result<(), ConditionUpdate> {
    release(object).await?;
    if object.ingest.spec.suspend {
        keep_stream(object);
    }
    observed.media_storage.take_if(|storage| storage.enabled_by_operator);
    Ok(())
}

/// An object that AWS is to record itself. `names`: of all that it needs, once that is there.
async fn manage(
    object: &Object<'_>,
    run: bool,
    names: Option<ResolvedNames>,
    asked: bool,
    mut observed: Observed,
    unanswered: bool,
) -> Converged {
    let (now, tick) = (wall_clock(), tick(object.context));
    if !run {
        let ended = end_agent(object, &now).await;
        not_recorded(object, &mut observed);
        return match ended {
            Ok(None) => Converged { unanswered, ..observed.into() },
            Ok(Some(Ending { again_in, .. })) => {
                observed.workload = suspension(object).or(observed.workload);
                Converged { next: Some(tick.now + again_in), unanswered, ..observed.into() }
            }
            Err(error) => Converged { failure: Some(error.into()), unanswered, ..observed.into() },
        };
    }
    let pair =
        names.map(|names| Pair::of(&names.channel_arn, names.stream.as_ref().map_or("", |it| &it.arn)));
    let pass = match pair {
        Some(Ok(pair)) => match record(object, &pair, asked, &mut observed, &now, tick).await {
            Ok(pass) => pass,
            Err(error) => return Converged { failure: Some(error.into()), unanswered, ..observed.into() },
        },
        Some(Err(why)) => {
            observed.channel_condition = Some(why);
            Pass { blocked: true, ..Pass::default() }
        }
        None => Pass { blocked: true, ..Pass::default() },
    };
    let Pass { mut next, unanswered: no_answer, blocked } = pass;
    if no_answer {
        observed.generation = object.before.as_ref().and_then(|status| status.observed_generation);
        observed.reconcile_requested_at = None;
    }
    let mut failure = None;
    if blocked {
        let ours = object.deployment.as_deref().filter(|found| found.belongs_to(&object.uid));
        match ours {
            // It records until AWS can.
            Some(deployment) => {
                let (observation, unseen) = look(object, deployment, true).await;
                (observed.workload, observed.agent) = (Some(observation.workload), observation.agent);
                (next, failure) = (observation.next, unseen);
            }
            None => no_agent(object, &mut observed),
        }
    }
    Converged { observed, next, unanswered: unanswered || no_answer, failure }
}

/// What became of the agent of a suspended object, where nothing else is done about its Deployment.
fn suspension(object: &Object<'_>) -> Option<ConditionUpdate> {
    let none = DeploymentLite::default();
    let deployment = object.deployment.as_deref().unwrap_or(&none);
    object.ingest.spec.suspend.then(|| availability(deployment, false).condition)
}

/// What is seen of the agent, and what stood in the way of seeing more.
async fn look(
    object: &Object<'_>,
    deployment: &DeploymentLite,
    run: bool,
) -> (Observation, Option<ReconcileError>) {
    match observe(object, deployment, run, tick(object.context)).await {
        Ok(observation) => (observation, None),
        Err(error) => {
            let mut workload = availability(deployment, run).condition;
            if !workload.is_met() {
                workload.message =
                    format!("{}; why it is not available cannot be seen: {error}", workload.message);
            }
            (Observation { workload, agent: AgentView::NotAsked, next: None }, Some(error.into()))
        }
    }
}

/// The Deployment could not be made what the object asks for: what is said of it, and what the agent that was there
/// before does, if there is one.
async fn not_rolled_out(
    object: &Object<'_>,
    run: bool,
    mut observed: Observed,
    error: ApplyError,
) -> Converged {
    let ours = object.deployment.as_deref().filter(|found| found.belongs_to(&object.uid));
    let mut failure = None;
    let (workload, next) = match ours {
        Some(_) if !run => {
            let workload = refusal(&error, "no agent runs");
            // An agent on another's stream, say, is stopped as a suspended one has been already.
            let stopped = match object.ingest.spec.suspend {
                true => Ok(None),
                false => stop(object, tick(object.context)).await,
            };
            match stopped {
                Ok(None) => (workload, None),
                Ok(Some(contest)) => {
                    let next = Some(contest.next);
                    (contest.shown_by(workload), next)
                }
                Err(error) => {
                    failure = Some(ReconcileError::from(error));
                    (workload, None)
                }
            }
        }
        Some(deployment) => {
            let (observation, unseen) = look(object, deployment, run).await;
            failure = unseen;
            observed.agent = observation.agent;
            let before = if observation.workload.is_met() {
                "the agent of the Deployment before goes on"
            } else {
                "the Deployment before stays"
            };
            (refusal(&error, before), observation.next)
        }
        None => {
            observed.agent = AgentView::Absent;
            (refusal(&error, "no agent runs"), None)
        }
    };
    observed.workload = Some(workload);
    if error.refusal().is_some() {
        tracing::warn!(namespace = object.namespace, name = object.name, %error, "the Deployment is refused");
    } else if !matches!(error, ApplyError::NotOurs(_)) {
        failure = Some(error.into());
    }
    Converged { observed, next, unanswered: false, failure }
}

/// Says in the status that a reconcile ended in a bug of the operator: the object's author has no other way to know.
pub(crate) async fn tell_panic(object: &CachedIngest, context: &Context, words: &str) {
    let namespace = object.namespace().unwrap_or_default();
    let reference = ObjectRef::new(&object.name_any()).within(&namespace);
    let Some(cached) = context.caches(&namespace).and_then(|caches| caches.objects.get(&reference)) else {
        return;
    };
    let Ok(ingest) = cached.read() else { return };
    let failed = Some(format!("a bug of the operator, please report it: {words}"));
    let observed = Observed { failed, ..unobserved(&ingest, ingest.status.as_ref()) };
    let after = report(ingest.status.as_ref(), observed, &wall_clock());
    if ingest.status.as_ref() != Some(&after)
        && let Err(error) = context.applier.apply_status(&cached, &after).await
    {
        tracing::warn!(namespace, name = object.name_any(), %error, "the status was not written");
    }
}

/// Writes what was observed, if it is new, and says when to look again.
#[instrument(name = "report", level = "debug", skip_all)]
async fn finish(object: &Object<'_>, converged: Converged) -> Result<Option<Duration>, ReconcileError> {
    let Converged { observed, next, unanswered, failure } = converged;
    let mut outlook = Outlook::of(&observed);
    if unanswered && outlook.retry == Retry::No {
        outlook.retry = Retry::BackOff;
    }
    let context = object.context;
    if observed.is_put_off() {
        // It has nothing to say yet.
        return Ok(Some(put_off(context)));
    }
    if let Some(failure) = failure {
        tell(object, observed, &failure).await;
        return Err(failure);
    }
    // A look that is due stays due as long as there was none, or AWS did not answer: then the backoff alone says when.
    let looked = observed.channel_condition.is_some() && !unanswered;
    let now = wall_clock();
    publish(object, report(object.before.as_ref(), observed, &now), &now).await?;
    if outlook.needs_a_person {
        context.metrics.stalled();
    }
    let Tick { now, random } = tick(context);
    let retry = match outlook.retry {
        Retry::Soon => Some(now + CREATING),
        Retry::BackOff => {
            Some(now + context.backoff.next(&object.uid, object.ingest.metadata.generation, random))
        }
        Retry::No | Retry::Never => {
            context.backoff.forget(&object.uid);
            None
        }
    };
    let resync = looked.then(|| object.state.lock().resync.next()).flatten();
    let next = match outlook.retry {
        // Nothing happens before the object changes, or somebody else is out of the way.
        Retry::Never => next,
        _ => earliest([retry, next, resync]),
    };
    let next = next.map(|at| at.saturating_duration_since(now));
    tracing::debug!(?next, "reconciled");
    Ok(next.map(|wait| wait.max(SOONEST)))
}

/// Writes what is known although a step failed, when the status is of another generation or the failure lasts: of what
/// passes by itself, 10,000 objects at once have nothing to say to an API server that is in trouble.
async fn tell(object: &Object<'_>, observed: Observed, failure: &ReconcileError) {
    let generation = object.ingest.metadata.generation;
    let told = object.before.as_ref().is_some_and(|status| status.observed_generation == generation);
    let lasts = object.context.backoff.failures(&object.uid) >= LASTS;
    let passes = told || failure.is_conflict();
    if failure.is_untold() || passes && !lasts {
        return;
    }
    let now = wall_clock();
    let after = report(object.before.as_ref(), observed, &now);
    if let Err(error) = publish(object, after, &now).await {
        tracing::debug!(%error, "the status was not written");
    }
}

/// What follows from what was observed.
#[derive(Debug, PartialEq, Eq)]
struct Outlook {
    retry: Retry,
    /// Nothing gets better until a person changes the spec, or something in AWS.
    needs_a_person: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retry {
    /// Something is being created in AWS.
    Soon,
    /// Channel, stream or Deployment are not as they should be, or the object is not permitted.
    BackOff,
    No,
    /// The spec is invalid, or the object is paused.
    Never,
}

impl Outlook {
    fn of(observed: &Observed) -> Self {
        if observed.invalid.is_some() {
            return Self { retry: Retry::Never, needs_a_person: true };
        }
        // Another policy brings it back; an object that makes room in its namespace may have been missed.
        if observed.not_permitted.is_some() {
            return Self { retry: Retry::BackOff, needs_a_person: true };
        }
        // Nothing of it is asked for, not even what would be due.
        if observed.paused {
            return Self { retry: Retry::Never, needs_a_person: false };
        }
        let deployment = observed.workload.as_ref().filter(|workload| workload.reason.is_of_the_deployment());
        let trouble = || observed.resources().filter(|resource| !resource.is_met()).chain(deployment);
        let creating = observed.resources().any(|resource| resource.reason == Reason::Creating);
        // It is asked for again and again.
        let refused = observed.resources().any(|resource| resource.reason == Reason::AdoptionRefused);
        let retry = match trouble().next() {
            _ if creating => Retry::Soon,
            Some(_) => Retry::BackOff,
            None if refused => Retry::BackOff,
            None => Retry::No,
        };
        Self { retry, needs_a_person: trouble().any(|resource| resource.next == Next::Person) }
    }
}

fn earliest(times: impl IntoIterator<Item = Option<Instant>>) -> Option<Instant> {
    times.into_iter().flatten().min()
}

/// Others come first: it is this object's turn soon.
fn put_off(context: &Context) -> Duration {
    jittered(PUT_OFF, tick(context).random)
}

fn tick(context: &Context) -> Tick {
    // Tokio's clock, which tests can set.
    Tick { now: tokio::time::Instant::now().into_std(), random: context.chance.lock().random() }
}

fn wall_clock() -> Time {
    Time(Timestamp::now())
}

#[cfg(test)]
mod tests;
