//! Delete: first the agent, which must not write to what is deleted, then what is the object's own in AWS. The finalizer goes
//! when nothing is left.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kvs_ingest_api::DeletionPolicy;
use tracing::instrument;

use crate::apply::ApplyError;
use crate::aws::Removal;
use crate::conditions::{ConditionUpdate, Next};
use crate::deletion_report::report_deletion;
use crate::end_agent::{ENDS, Ending, end_agent};
use crate::managed::{is_enabled, release};
use crate::names;
use crate::neighbours::NeighboursOf;
use crate::object::{Object, Tick};
use crate::pace::jittered;
use crate::publish::publish;
use crate::reason::Reason;
use crate::report::{Observed, report};
use crate::validate::is_paused;

/// Between looks at what AWS deletes.
const DELETING: Duration = Duration::from_secs(2);
/// What was created may be unknown for so long. An operator before this one may have created it and said nothing.
const UNKNOWN: Duration = Duration::from_secs(5);
/// An error that is over before so many attempts failed is nobody's business.
const LASTS: u32 = 3;
/// Trouble with AWS that is not over by so many attempts, about half a minute, is in the way.
const STAYS: u32 = 5;
/// Until somebody who left room for others comes back.
const PUT_OFF: Duration = Duration::from_secs(1);
/// What helps, whatever is in the way.
const OR_RETAIN: &str = "; or set spec.deletionPolicy: Retain, to let the object go and keep the rest";

/// What is in the way of the end.
struct Waits {
    why: ConditionUpdate,
    /// `None`: with growing delays.
    again_in: Option<Duration>,
}

impl From<Ending> for Waits {
    fn from(Ending { overdue, again_in }: Ending) -> Self {
        let why = match overdue {
            None => ConditionUpdate::waiting(Reason::Deleting, ENDS),
            Some(words) => {
                let message = format!("{words}; or set spec.deletionPolicy: Retain");
                ConditionUpdate::stalled(Reason::DeletionBlocked, message)
            }
        };
        Self { why, again_in: Some(again_in) }
    }
}

/// Does the deletion end the agent before anything else?
pub(crate) fn ends_agent(object: &Object<'_>) -> bool {
    object.has_finalizer()
        && !is_paused(&object.ingest.metadata)
        && object.ingest.spec.deletion_policy == DeletionPolicy::Delete
}

/// To when it is to be looked at again, if nothing changes before.
#[instrument(level = "debug", skip_all)]
pub(crate) async fn delete(
    object: &Object<'_>,
    tick: Tick,
    now: &Time,
) -> Result<Option<Duration>, ApplyError> {
    let paused = is_paused(&object.ingest.metadata);
    if !object.has_agent() && !is_enabled(object.before.as_ref()) {
        // Whatever else it waits for: it writes nothing any more.
        object.context.leave_place(object.caches, &object.ingest.metadata);
        // Two that are deleted must not wait for each other, either.
        if !paused {
            object.release_claims();
        }
    }
    if !object.has_finalizer() {
        return Ok(None);
    }
    let generation = object.ingest.metadata.generation;
    if paused {
        let paused = Observed { paused: true, ..Observed::unobserved(generation) };
        publish(object, report(object.before.as_ref(), paused, now), now).await?;
        return Ok(None);
    }
    let waits = match object.ingest.spec.deletion_policy {
        DeletionPolicy::Retain => end_recording(object, tick).await,
        DeletionPolicy::Delete => match end_agent(object, now).await {
            Ok(Some(ending)) => Some(ending.into()),
            Ok(None) => match end_recording(object, tick).await {
                Some(waits) => Some(waits),
                None => delete_own(object, tick).await,
            },
            Err(error) => Some(in_the_way(object, error, "end the agent", OR_RETAIN, now).await?),
        },
    };
    let waits = match waits {
        Some(waits) => waits,
        None => match object.context.applier.set_finalizer(object.ingest, false).await {
            Ok(()) => return Ok(None),
            Err(error) if error.is_gone() => return Ok(None),
            Err(error) => in_the_way(object, error, "take the finalizer away", "", now).await?,
        },
    };
    let Waits { why, again_in } = waits;
    if why.reason == Reason::AwsBusy {
        // Others ask AWS just now: it has nothing to say yet.
        return Ok(again_in);
    }
    if why.next == Next::Person {
        object.context.metrics.stalled();
    }
    publish(object, report_deletion(object.before.as_ref(), &why, generation, now), now).await?;
    let backoff = || object.context.backoff.next(&object.uid, generation, tick.random);
    Ok(Some(again_in.unwrap_or_else(backoff)))
}

/// What the API server did not do, and refuses to: a person has to see that. Of an error that lasts is told as well.
async fn in_the_way(
    object: &Object<'_>,
    error: ApplyError,
    what: &str,
    remedy: &str,
    now: &Time,
) -> Result<Waits, ApplyError> {
    if let Some(words) = error.refusal() {
        let message = format!("the API server refuses to {what}: {words}{remedy}");
        return Ok(Waits { why: ConditionUpdate::stalled(Reason::DeletionBlocked, message), again_in: None });
    }
    let untold = error.is_gone() || matches!(error, ApplyError::NotLeading(_));
    if !untold && object.context.backoff.failures(&object.uid) >= LASTS {
        let why = ConditionUpdate::waiting(Reason::Deleting, format!("to {what} failed: {error}"));
        let generation = object.ingest.metadata.generation;
        let status = report_deletion(object.before.as_ref(), &why, generation, now);
        if let Err(error) = publish(object, status, now).await {
            tracing::debug!(%error, "the status was not written");
        }
    }
    Err(error)
}

/// The channel is not mapped by the operator any more, whatever the policy: nothing goes on recording for an object that is
/// gone. `None`: so it is.
async fn end_recording(object: &Object<'_>, tick: Tick) -> Option<Waits> {
    let Err(why) = release(object).await else {
        if !object.has_agent() {
            object.release_claims();
        }
        return None;
    };
    if why.reason == Reason::AwsBusy {
        return Some(Waits { why, again_in: Some(jittered(PUT_OFF, tick.random)) });
    }
    let stays = object.context.backoff.failures(&object.uid) >= STAYS;
    let why = match why.next {
        Next::Waiting if !stays => ConditionUpdate::waiting(Reason::Deleting, why.message),
        next => {
            let message = format!(
                "{}; or disable it by hand and take the finalizer {} away",
                why.message,
                names::FINALIZER
            );
            ConditionUpdate::waiting(Reason::DeletionBlocked, message).with_next(next)
        }
    };
    Some(Waits { why, again_in: None })
}

/// `None`: nothing is left that is the object's own.
async fn delete_own(object: &Object<'_>, tick: Tick) -> Option<Waits> {
    let aws = &object.context.aws;
    let removals = aws.delete_own(object.subject(), &NeighboursOf(object)).await;
    let unseen = removals.contains(&Removal::Unseen);
    let since = if unseen { Some(object.state.lock().unseen_since(tick.now)) } else { None };
    // What AWS throttles, many at once, passes; nobody is to be frightened before.
    let stays = object.context.backoff.failures(&object.uid) >= STAYS;
    let mut waits = None;
    let patient = since.is_some_and(|since| tick.now.saturating_duration_since(since) >= UNKNOWN);
    for (half, removal) in removals.into_iter().enumerate() {
        let deleted = {
            let deleted = &mut object.state.lock().deleted[half];
            *deleted |= matches!(removal, Removal::Deleted | Removal::Going(_));
            *deleted
        };
        let this = match removal {
            Removal::Gone | Removal::Deleted => continue,
            Removal::Unseen if deleted || patient => continue,
            Removal::Unseen => Waits {
                why: ConditionUpdate::waiting(
                    Reason::Deleting,
                    "AWS may not show yet what was created a moment ago: it is asked again",
                ),
                again_in: Some(UNKNOWN),
            },
            Removal::Kept(by) => {
                tracing::info!(by, "another object uses it: it stays");
                continue;
            }
            Removal::Used(message) => {
                Waits { why: ConditionUpdate::waiting(Reason::Deleting, message), again_in: None }
            }
            Removal::Going(message) => {
                Waits { why: ConditionUpdate::waiting(Reason::Deleting, message), again_in: Some(DELETING) }
            }
            Removal::Blocked(why) if why.reason == Reason::AwsBusy => {
                Waits { why, again_in: Some(jittered(PUT_OFF, tick.random)) }
            }
            Removal::Blocked(ConditionUpdate { message, next: Next::Waiting, .. }) if !stays => {
                Waits { why: ConditionUpdate::waiting(Reason::Deleting, message), again_in: None }
            }
            Removal::Blocked(ConditionUpdate { message, next, .. }) => Waits {
                why: ConditionUpdate {
                    message: format!("{message}{OR_RETAIN}"),
                    ..ConditionUpdate::waiting(Reason::DeletionBlocked, "").with_next(next)
                },
                again_in: None,
            },
        };
        // What a person has to do goes before what time does.
        let urgent = |waits: &Waits| (waits.why.next == Next::Person, waits.again_in.is_none());
        waits = match waits {
            Some(before) if urgent(&before) >= urgent(&this) => Some(before),
            _ => Some(this),
        };
    }
    waits
}
