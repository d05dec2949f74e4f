//! Roll out: applies what was built, unless it is there, and within the budget where only the operator changed.

use std::time::Instant;

use kube::ResourceExt;
use kvs_ingest_api::{KvsIngest, KvsIngestStatus, annotations};
use tracing::instrument;

use crate::apply::ApplyError;
use crate::build::Built;
use crate::conditions::{ConditionUpdate, Next};
use crate::object::{Object, Tick};
use crate::reason::Reason;
use crate::rivalry::Rivalry;
use crate::state::AppliedDeployment;
use crate::workload::DeploymentLite;

/// The Deployment as it is now, as far as that is known.
#[derive(Debug)]
pub(crate) struct Rollout {
    pub(crate) deployment: DeploymentLite,
    /// After the last apply.
    pub(crate) generation: Option<i64>,
    /// What was built waits for the budget.
    pub(crate) queued: bool,
    /// Somebody else changes it back again and again.
    pub(crate) contest: Option<Contest>,
}

/// A Deployment that two fight about.
#[derive(Debug)]
pub(crate) struct Contest {
    pub(crate) message: String,
    /// When to look again.
    pub(crate) next: Instant,
}

impl Contest {
    /// What is said of the Deployment, whose agent may well run all the same.
    pub(crate) fn shown_by(self, workload: ConditionUpdate) -> ConditionUpdate {
        let (reason, message, next) = (Reason::DeploymentContested, self.message, Next::Person);
        ConditionUpdate { reason, message, next, ..workload }
    }
}

/// What is known before something is applied.
struct Known<'a> {
    /// In the cache, and of this object.
    cached: Option<&'a DeploymentLite>,
    /// By this process.
    applied: Option<&'a AppliedDeployment>,
    /// `status.deploymentGeneration`
    recorded: Option<i64>,
    /// Nobody but the operator asks for a change.
    operators_own: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Decision {
    /// It was applied, and the cache does not show it yet.
    AwaitCache,
    InSync,
    Apply,
    /// A running agent is restarted, and nobody asked for it.
    ApplyWithinBudget,
}

/// What to do, so that the Deployment is what was built, which has this `hash`.
fn decide(hash: &str, known: &Known<'_>) -> Decision {
    let Known { cached, applied, recorded, operators_own } = *known;
    // What we applied and the cache does not show yet is as good as there.
    if let Some(applied) = applied
        && applied.hash == hash
        && cached.is_none_or(|cached| cached.metadata.generation < applied.generation)
    {
        return Decision::AwaitCache;
    }
    let Some(cached) = cached else { return Decision::Apply };
    // Another generation than after the last apply: somebody else has changed it.
    let expected = applied.map_or(recorded, |applied| applied.generation);
    match cached.hash() == Some(hash) {
        // Nobody's: its owner was taken away, and is written again.
        true if cached.is_orphan() => Decision::Apply,
        true if cached.metadata.generation == expected => Decision::InSync,
        true => Decision::Apply,
        false if operators_own => Decision::ApplyWithinBudget,
        false => Decision::Apply,
    }
}

/// Neither the spec nor an annotation of the object asks for the change: the operator itself does, after an upgrade.
fn is_operators_own(ingest: &KvsIngest, cached: &DeploymentLite, before: Option<&KvsIngestStatus>) -> bool {
    let same_spec = before.is_some_and(|status| status.observed_generation == ingest.metadata.generation);
    let asked = ingest.annotations().get(annotations::RESTARTED_AT);
    let same_restart = cached.restarted_at() == asked.map(String::as_str);
    let runs = cached.status.as_ref().is_some_and(|status| status.replicas.unwrap_or(0) > 0);
    same_spec && same_restart && runs
}

/// Applies what was built, so that an agent runs or, with `run` false, none. `moved`: what it has to write to is another one.
#[instrument(name = "apply", level = "debug", skip_all)]
pub(crate) async fn roll_out(
    object: &Object<'_>,
    built: &Built,
    run: bool,
    moved: bool,
    tick: Tick,
) -> Result<Rollout, ApplyError> {
    let context = object.context;
    let cached = object.deployment.as_deref();
    if let Some(found) = cached.filter(|found| !found.is_of(&object.uid)) {
        return Err(ApplyError::NotOurs(found.name_any()));
    }
    let applied = object.state.lock().applied.clone();
    let before = object.before.as_ref();
    let known = Known {
        cached,
        applied: applied.as_ref(),
        recorded: before.and_then(|status| status.deployment_generation),
        operators_own: run
            && !moved
            && cached.is_some_and(|cached| is_operators_own(object.ingest, cached, before)),
    };
    let as_it_is = |generation, queued| Rollout {
        deployment: cached.cloned().unwrap_or_default(),
        generation,
        queued,
        contest: None,
    };
    let decision = decide(&built.hash, &known);
    let undone = cached.zip(applied.as_ref()).filter(|(cached, applied)| {
        // What others change, not what was asked for since.
        applied.hash == built.hash && cached.metadata.generation > applied.generation
    });
    if let (Decision::Apply | Decision::ApplyWithinBudget, Some((cached, _))) = (&decision, undone)
        && let Some(contest) = contested(object, cached, tick).await?
        && tick.now < contest.next
    {
        let contest = Some(contest);
        return Ok(Rollout { contest, ..as_it_is(applied.and_then(|applied| applied.generation), false) });
    }
    match decision {
        Decision::AwaitCache => return Ok(as_it_is(applied.and_then(|applied| applied.generation), false)),
        Decision::InSync => {
            context.metrics.applied("unchanged");
            context.rollouts.lock().forget(&object.uid);
            let contest = contest(object, tick);
            let generation = cached.and_then(|cached| cached.metadata.generation);
            return Ok(Rollout { contest, ..as_it_is(generation, false) });
        }
        Decision::ApplyWithinBudget if !context.rollouts.lock().take(&object.uid, tick.now) => {
            return Ok(as_it_is(known.recorded, true));
        }
        Decision::ApplyWithinBudget | Decision::Apply => {}
    }
    let deployment = context.applier.apply_deployment(built, cached.is_some(), &object.uid).await?;
    let generation = deployment.metadata.generation;
    object.caches.deployment_filter.record_written(&deployment);
    {
        let mut state = object.state.lock();
        state.applied = Some(AppliedDeployment { hash: built.hash.clone(), generation });
        state.answer_rival();
        if run {
            // It is ours to run again.
            state.stopped = None;
        }
    }
    let drift = cached.is_some_and(|cached| cached.hash() == Some(&built.hash));
    tracing::info!(generation, drift, "Deployment applied");
    Ok(Rollout { deployment, generation, queued: false, contest: contest(object, tick) })
}

/// What this operator applied was undone: whether that is a fight by now, and until when the other side is left alone.
async fn contested(
    object: &Object<'_>,
    cached: &DeploymentLite,
    tick: Tick,
) -> Result<Option<Contest>, ApplyError> {
    let (fight, next, unknown) = {
        let mut state = object.state.lock();
        let before = state.rivalry.take().map(|rivalry| *rivalry);
        let rivalry = Rivalry::undone(before, cached.metadata.generation, tick.now, tick.random);
        let unknown = rivalry.is_fight() && rivalry.rival().is_none();
        // Before anybody is asked: what was counted is not lost when nobody answers.
        let rivalry = state.rivalry.insert(Box::new(rivalry));
        (rivalry.is_fight(), rivalry.next(), unknown)
    };
    if unknown {
        let rival = object.context.applier.rival(cached).await?;
        let rival = rival.map_or_else(|| "who does is not told".to_owned(), |rival| rival.to_string());
        tracing::warn!(
            namespace = object.namespace,
            name = object.name,
            rival,
            "the Deployment is fought about"
        );
        if let Some(rivalry) = &mut object.state.lock().rivalry {
            rivalry.set_rival(rival);
        }
    }
    let words = contest(object, tick).map(|contest| contest.message).unwrap_or_default();
    Ok(fight.then_some(Contest { message: words, next }))
}

/// The fight that is not over yet, if there is one.
fn contest(object: &Object<'_>, tick: Tick) -> Option<Contest> {
    let mut state = object.state.lock();
    state.rivalry.take_if(|rivalry| rivalry.is_over(tick.now));
    let rivalry = state.rivalry.as_ref().filter(|rivalry| rivalry.is_fight())?;
    let message = format!(
        "the Deployment is changed back again and again: {}",
        rivalry.rival().unwrap_or("who does is not told")
    );
    Some(Contest { message, next: rivalry.end() })
}

/// Ends the agent of an object that is to have none, before and whatever else is decided about it: a camera that should
/// be off is off. Where somebody starts it again and again, both get their way for a while, and it is said: that is what is
/// returned.
#[instrument(level = "debug", skip_all)]
pub(crate) async fn stop(object: &Object<'_>, tick: Tick) -> Result<Option<Contest>, ApplyError> {
    let Some(found) = object.deployment.as_deref() else { return Ok(None) };
    let generation = found.metadata.generation;
    let (applied, stopped) = {
        let state = object.state.lock();
        (state.applied.as_ref().and_then(|applied| applied.generation), state.stopped)
    };
    // What was applied since, the cache will show; then it is looked at again.
    let shown = generation >= applied;
    let ours = found.is_of(&object.uid) && found.metadata.deletion_timestamp.is_none();
    if !(ours && shown && found.is_to_run()) {
        return Ok(None);
    }
    let undone = stopped.is_some() && generation > stopped;
    let contest = if undone { contested(object, found, tick).await? } else { contest(object, tick) };
    if undone && contest.as_ref().is_some_and(|contest| tick.now < contest.next) {
        return Ok(contest);
    }
    object.context.applier.stop_deployment(found).await?;
    {
        let mut state = object.state.lock();
        state.stopped = generation;
        state.answer_rival();
    }
    tracing::info!("the agent is stopped");
    Ok(contest)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::names;

    fn deployment(hash: &str, generation: i64) -> DeploymentLite {
        serde_json::from_value(json!({
            "metadata": {"name": "door-agent", "generation": generation, "ownerReferences": [
                {"apiVersion": "x", "kind": "KvsIngest", "name": "door", "uid": "u", "controller": true}],
                "annotations": {names::HASH: hash, annotations::RESTARTED_AT: "then"}},
            "status": {"replicas": 1},
        }))
        .unwrap()
    }

    fn applied(hash: &str, generation: i64) -> AppliedDeployment {
        AppliedDeployment { hash: hash.to_owned(), generation: Some(generation) }
    }

    const NOTHING: Known<'_> = Known { cached: None, applied: None, recorded: None, operators_own: false };

    #[test]
    fn what_is_not_there_is_applied_once() {
        assert_eq!(decide("new", &NOTHING), Decision::Apply);
        let applied = applied("new", 1);
        let mut known = Known { applied: Some(&applied), ..NOTHING };
        assert_eq!(decide("new", &known), Decision::AwaitCache);
        assert_eq!(decide("newer", &known), Decision::Apply, "it was changed again meanwhile");
        let cached = deployment("new", 1);
        known.cached = Some(&cached);
        assert_eq!(decide("new", &known), Decision::InSync);
    }

    #[test]
    fn after_a_restart_of_the_operator_the_status_says_what_was_applied() {
        let cached = deployment("same", 4);
        let known = Known { cached: Some(&cached), recorded: Some(4), ..NOTHING };
        assert_eq!(decide("same", &known), Decision::InSync);
        // Drift: somebody else changed it since.
        let known = Known { recorded: Some(3), ..known };
        assert_eq!(decide("same", &known), Decision::Apply);
    }

    #[test]
    fn what_this_process_applied_counts_before_the_status() {
        let (cached, applied) = (deployment("same", 5), applied("same", 5));
        let known = Known { cached: Some(&cached), applied: Some(&applied), recorded: Some(4), ..NOTHING };
        assert_eq!(decide("same", &known), Decision::InSync);
        let drifted = deployment("same", 6);
        let known = Known { cached: Some(&drifted), ..known };
        assert_eq!(decide("same", &known), Decision::Apply);
    }

    #[test]
    fn the_budget_is_asked_only_for_what_the_operator_itself_changes() {
        let cached = deployment("old", 4);
        let known = Known { cached: Some(&cached), recorded: Some(4), operators_own: true, ..NOTHING };
        assert_eq!(decide("new", &known), Decision::ApplyWithinBudget);
        assert_eq!(decide("new", &Known { operators_own: false, ..known }), Decision::Apply);
    }

    #[test]
    fn whose_change_it_is() {
        let ingest = |generation: i64, restarted_at: &str| -> KvsIngest {
            serde_json::from_value(json!({
                "metadata": {"name": "door", "generation": generation,
                    "annotations": {annotations::RESTARTED_AT: restarted_at}},
                "spec": {"region": "eu-central-1", "channel": {"name": "c"}, "stream": {"name": "s"}},
            }))
            .unwrap()
        };
        let status = KvsIngestStatus { observed_generation: Some(2), ..KvsIngestStatus::default() };
        let mut running = deployment("old", 4);
        let own =
            |ingest: &KvsIngest, running: &DeploymentLite| is_operators_own(ingest, running, Some(&status));
        assert!(own(&ingest(2, "then"), &running));
        assert!(!own(&ingest(3, "then"), &running), "the spec was changed");
        assert!(!own(&ingest(2, "now"), &running), "a restart was asked for");
        assert!(!is_operators_own(&ingest(2, "then"), &running, None));
        running.status = None;
        assert!(!own(&ingest(2, "then"), &running), "nothing runs that could be interrupted");
    }
}
