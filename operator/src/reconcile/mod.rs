//! One reconcile: validate → resolve → build → apply → observe → report.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use kvs_ingest_api::KvsIngest;
use rand::Rng;
use tracing::field::{Empty, display};
use tracing::{Instrument, instrument};

use crate::apply::ApplyError;
use crate::build::build;
use crate::cached::CachedIngest;
use crate::conditions::{ConditionUpdate, Next};
use crate::context::{Caches, Context};
use crate::delete::delete;
use crate::deletion_report::report_unreadable;
use crate::object::{Object, Tick};
use crate::observe::{Observation, observe};
use crate::publish::{publish, publish_resources};
use crate::reason::Reason;
use crate::report::{Observed, report};
use crate::resolve::resolve;
use crate::rollout::roll_out;
use crate::validate::{Refusal, Valid, validate};

/// Between looks at something that is being created.
const CREATING: Duration = Duration::from_secs(2);
/// Between attempts to get a place in the rollout budget.
const QUEUED: Duration = Duration::from_secs(30);
/// Nothing is looked at more often, however late it is.
const SOONEST: Duration = Duration::from_millis(100);

/// Why a reconcile did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error(transparent)]
    Identity(#[from] crate::build::NoIdentity),
    /// A bug: it is caught here, so that the other objects are still reconciled.
    #[error("the reconcile panicked: {0}")]
    Panic(String),
}

impl ReconcileError {
    /// The object went away meanwhile.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Apply(error) if error.is_gone())
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
    if ingest.metadata.deletion_timestamp.is_some() {
        return Ok(Box::pin(delete(&object, tick(context), &wall_clock())).await?);
    }
    let unobserved =
        Observed { suspended: ingest.spec.suspend, ..Observed::unobserved(ingest.metadata.generation) };
    let converged = match validate(&ingest) {
        Ok(valid) => Box::pin(converge(&object, &valid, unobserved)).await?,
        Err(Refusal::Paused) => Observed { paused: true, ..unobserved }.into(),
        Err(Refusal::Invalid(message)) => Observed { invalid: Some(message), ..unobserved }.into(),
    };
    finish(&object, converged).await
}

/// A newer operator's object, say: what is known of it stays, and it can be deleted.
async fn reconcile_unreadable(
    cached: &CachedIngest,
    caches: &Caches,
    context: &Context,
    error: &str,
) -> Result<Option<Duration>, ReconcileError> {
    let why = match (cached.meta().deletion_timestamp.is_some(), cached.read_for_deletion()) {
        (true, Ok(ingest)) => {
            let ingest: KvsIngest = ingest;
            let object = Object::new(context, caches, cached, &ingest, tick(context).now);
            return Ok(Box::pin(delete(&object, tick(context), &wall_clock())).await?);
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
    let before = cached.raw_status().unwrap_or_default();
    let after = report_unreadable(before.as_ref(), &why, cached.meta().generation, &wall_clock());
    if before.as_ref() != Some(&after) {
        context.applier.apply_status(cached, &after).await?;
    }
    Ok(None)
}

/// How far the world is what the object says.
struct Converged {
    observed: Observed,
    /// When to look again, whatever else there is to wait for.
    next: Option<Instant>,
    /// AWS has to be asked again.
    unanswered: bool,
}

impl From<Observed> for Converged {
    fn from(observed: Observed) -> Self {
        Self { observed, next: None, unanswered: false }
    }
}

/// Makes the world what the object says, as far as that can be done now.
async fn converge(
    object: &Object<'_>,
    valid: &Valid<'_>,
    mut observed: Observed,
) -> Result<Converged, ReconcileError> {
    let resolved = Box::pin(resolve(object, valid, tick(object.context))).await?;
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
    observed.channel = Some(resolved.channel.resource);
    observed.channel_condition = Some(resolved.channel.condition);
    observed.stream = Some(resolved.stream.resource);
    observed.stream_condition = Some(resolved.stream.condition);
    let Some(names) = names else { return Ok(Converged { observed, next: None, unanswered }) };
    if news {
        // What has to be deleted one day is written down before anything else is made of it.
        publish_resources(object, &observed).await?;
    }

    let built = build(object.ingest, &names, &object.context.settings.agents, run)?;
    let rollout = match roll_out(object, &built, run, moved, tick(object.context)).await {
        Ok(rollout) => rollout,
        Err(error @ ApplyError::NotOurs(_)) => {
            observed.workload = Some(ConditionUpdate::stalled(Reason::DeploymentConflict, error.to_string()));
            return Ok(Converged { observed, next: None, unanswered });
        }
        Err(error) => return Err(error.into()),
    };
    observed.deployment_generation = rollout.generation;
    observed.image = (!rollout.queued).then_some(built.image);
    let retry = rollout.queued.then(|| tick(object.context).now + QUEUED);

    let Observation { workload, agent, next } =
        observe(object, &rollout.deployment, run, tick(object.context)).await?;
    observed.workload = Some(workload);
    observed.agent = agent;
    Ok(Converged { observed, next: earliest([retry, next]), unanswered })
}

/// Writes what was observed, if it is new, and says when to look again.
#[instrument(name = "report", level = "debug", skip_all)]
async fn finish(object: &Object<'_>, converged: Converged) -> Result<Option<Duration>, ReconcileError> {
    let Converged { observed, next, unanswered } = converged;
    let mut outlook = Outlook::of(&observed);
    if unanswered && outlook.retry == Retry::No {
        outlook.retry = Retry::BackOff;
    }
    let context = object.context;
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
    let resync = object.state.lock().resync.next();
    let next = match outlook.retry {
        // Nothing happens before the object changes.
        Retry::Never => None,
        _ => earliest([retry, next, resync]),
    };
    let next = next.map(|at| at.saturating_duration_since(now));
    tracing::debug!(?next, "reconciled");
    Ok(next.map(|wait| wait.max(SOONEST)))
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
    /// Channel or stream are not as they should be.
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
        // Nothing of it is asked for, not even what would be due.
        if observed.paused {
            return Self { retry: Retry::Never, needs_a_person: false };
        }
        let trouble = || observed.resources().filter(|resource| !resource.is_met());
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

fn tick(context: &Context) -> Tick {
    // Tokio's clock, which tests can set.
    Tick { now: tokio::time::Instant::now().into_std(), random: context.chance.lock().random() }
}

fn wall_clock() -> Time {
    Time(Timestamp::now())
}

#[cfg(test)]
mod tests;
