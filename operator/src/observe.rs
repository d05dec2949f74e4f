//! Observe: what Kubernetes says of the agent, and the agent of itself, when it is time to ask.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use kvs_ingest_api::{AgentStatus, KvsIngestStatus, OutputState, condition};
use tracing::instrument;

use crate::apply::{ApplyError, within};
use crate::conditions::{ConditionStatus, ConditionUpdate, Next, find};
use crate::object::{Object, Tick};
use crate::poll::{AgentHealth, Poll, Workload};
use crate::reason::Reason;
use crate::report::{AgentView, DeclaredOutput};
use crate::state::PodFinding;
use crate::workload::{Availability, DeploymentLite, availability, newest_pod, stuck};

/// Between looks at an agent that ends.
const ENDING: Duration = Duration::from_secs(10);

pub(crate) struct Observation {
    pub(crate) workload: ConditionUpdate,
    pub(crate) agent: AgentView,
    /// When to look again.
    pub(crate) next: Option<Instant>,
}

#[instrument(name = "look", level = "debug", skip_all)]
pub(crate) async fn observe(
    object: &Object<'_>,
    deployment: &DeploymentLite,
    run: bool,
    tick: Tick,
) -> Result<Observation, ApplyError> {
    let Availability { condition, unexplained } = availability(deployment, run);
    let not_asked = |workload, next| Observation { workload, agent: AgentView::NotAsked, next };
    if !run {
        object.state.lock().poller.stop();
        let next = (condition.next == Next::Waiting).then(|| tick.now + ENDING);
        return Ok(not_asked(condition, next));
    }
    if !condition.is_met() && !unexplained {
        // There is no pod to look at.
        return Ok(not_asked(condition, None));
    }
    let workload = Workload {
        version: deployment.metadata.resource_version.as_deref(),
        unexplained,
        media_known: media_is_known(object),
    };
    let intervals = object.context.settings.poll;
    let poll = object.state.lock().poller.decide(workload, intervals, tick.now, tick.random);
    if let Poll::WaitUntil(next) = poll {
        let known = unexplained.then(|| known_problem(object, deployment)).flatten();
        return Ok(not_asked(known.unwrap_or(condition), Some(next)));
    }
    let Answer { problem, agent } = ask(object, deployment, unexplained).await?;
    let health = health(&agent, &DeclaredOutput::all(&object.ingest.spec), unexplained);
    if let AgentView::Status(status) = &agent {
        let resync = &mut object.state.lock().resync;
        if Reason::of_agent(&status.reason).doubts_aws() {
            resync.doubt(tick.now, tick.random);
        } else if status.stores_all() {
            resync.trust();
        }
    }
    let next = object.state.lock().poller.asked(health, intervals, tick.now, tick.random);
    Ok(Observation { workload: problem.unwrap_or(condition), agent, next: Some(next) })
}

/// Does the status say whether media flows, and to which outputs?
fn media_is_known(object: &Object<'_>) -> bool {
    let Some(status) = &object.ingest.status else { return false };
    let is_known = |kind: &str| {
        find(status, kind).is_some_and(|found| ConditionStatus::of(found) != ConditionStatus::Unknown)
    };
    let outputs = DeclaredOutput::all(&object.ingest.spec);
    is_known(condition::MEDIA_FLOWING) && outputs.iter().all(|output| is_known(&output.condition()))
}

fn health(agent: &AgentView, outputs: &[DeclaredOutput], unexplained: bool) -> AgentHealth {
    let AgentView::Status(status) = agent else { return AgentHealth::Other };
    if !status.stores_all() || unexplained {
        return AgentHealth::Other;
    }
    let state = |output: &DeclaredOutput| output.of_agent(status).map(|output| output.state);
    // What is down for long is asked seldom, what is up for the first time at once.
    if !outputs.iter().all(|output| state(output) == Some(OutputState::Receiving)) {
        return AgentHealth::Other;
    }
    match Reason::of_agent(&status.reason) {
        Reason::StorageInterrupted => AgentHealth::Interrupted,
        _ => AgentHealth::Storing,
    }
}

/// Why no agent is available, as it was found last: by this process, or else as the status says.
fn known_problem(object: &Object<'_>, deployment: &DeploymentLite) -> Option<ConditionUpdate> {
    match object.state.lock().pods.clone() {
        Some(PodFinding { problem }) => problem.map(|problem| *problem),
        None => reported_problem(object, deployment),
    }
}

/// What the status says of the pods of this very Deployment: until this process has looked, that still holds.
fn reported_problem(object: &Object<'_>, deployment: &DeploymentLite) -> Option<ConditionUpdate> {
    let status = object.ingest.status.as_ref().filter(|status| {
        status.observed_generation == object.ingest.metadata.generation
            && status.deployment_generation == deployment.metadata.generation
    })?;
    let reported = find(status, condition::AGENT_AVAILABLE)
        .filter(|reported| ConditionStatus::of(reported) == ConditionStatus::False)?;
    let (reason, message) = (Reason::from(&*reported.reason), reported.message.clone());
    Some(match find(status, condition::STALLED) {
        Some(_) => ConditionUpdate::stalled(reason, message),
        None => ConditionUpdate::waiting(reason, message),
    })
}

struct Answer {
    /// Why no agent is available, if that was asked and its pod says.
    problem: Option<ConditionUpdate>,
    agent: AgentView,
}

/// Asks the agent where it answered last; otherwise looks for its pod, and asks there.
async fn ask(
    object: &Object<'_>,
    deployment: &DeploymentLite,
    unexplained: bool,
) -> Result<Answer, ApplyError> {
    let context = object.context;
    let address = object.state.lock().poller.address().filter(|_| !unexplained);
    if let Some(address) = address
        && let Ok(status) = context.agents.status(address).await
        && is_ours(object.ingest.status.as_ref(), &status)
    {
        context.metrics.polled("ok");
        return Ok(Answer { problem: None, agent: AgentView::Status(Box::new(status)) });
    }
    let Some(uid) = &deployment.metadata.uid else {
        return Ok(Answer { problem: None, agent: AgentView::NotAsked });
    };
    let pod = newest_pod(&context.client, &object.namespace, &object.name, uid);
    let pod = within("list pods", pod).await?;
    let mut problem = pod.as_ref().and_then(|pod| pod.problem.clone()).filter(|_| unexplained);
    if let Some(pod) = pod.as_ref().and_then(|pod| pod.preparing.as_deref()).filter(|_| unexplained) {
        let look = context.event_looks.lock().take(Instant::now());
        problem = if look {
            within("list events", stuck(&context.client, &object.namespace, pod)).await?
        } else {
            // Its turn comes: until then what was found last still holds, but that it has no node.
            known_problem(object, deployment).filter(|known| known.reason != Reason::Unschedulable)
        };
    }
    object.state.lock().pods = Some(PodFinding { problem: problem.clone().map(Box::new) });
    let agent = match pod.and_then(|pod| pod.address) {
        Some(address) => ask_at(object, address).await,
        None => AgentView::NotAsked,
    };
    Ok(Answer { problem, agent })
}

async fn ask_at(object: &Object<'_>, address: IpAddr) -> AgentView {
    let answer = object.context.agents.status(address).await;
    object.context.metrics.polled(if answer.is_ok() { "ok" } else { "error" });
    match answer {
        Ok(status) if is_ours(object.ingest.status.as_ref(), &status) => {
            object.state.lock().poller.answered_at(address);
            AgentView::Status(Box::new(status))
        }
        Ok(_) => AgentView::Silent("the agent at the pod's address serves another channel".to_owned()),
        Err(error) => AgentView::Silent(format!("the agent's /status: {error}")),
    }
}

/// An address may be another pod's by now.
fn is_ours(known: Option<&KvsIngestStatus>, status: &AgentStatus) -> bool {
    let stream = known.and_then(|status| status.stream.as_ref());
    let channel = known.and_then(|status| status.channel.as_ref());
    match (stream, status.stream.as_deref(), channel, status.channel.as_deref()) {
        (Some(stream), Some(said), ..) => said == stream.name || stream.arn.as_deref() == Some(said),
        // One without a stream is told by its channel.
        (_, None, Some(channel), Some(said)) => said == channel.name || channel.arn.as_deref() == Some(said),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use kvs_ingest_api::{OutputStatus, Phase, ResolvedChannel, ResolvedStream};

    use super::*;

    #[test]
    fn an_agent_is_told_by_its_stream_or_else_by_its_channel() {
        let known = |stream: Option<&str>| KvsIngestStatus {
            channel: Some(ResolvedChannel { name: "c".into(), arn: Some("arn:c".into()), created: false }),
            stream: stream.map(|name| ResolvedStream { name: name.into(), ..ResolvedStream::default() }),
            ..KvsIngestStatus::default()
        };
        let says = |channel: &str, stream: Option<&str>| AgentStatus {
            channel: Some(channel.into()),
            stream: stream.map(Into::into),
            ..AgentStatus::default()
        };
        assert!(is_ours(Some(&known(Some("s"))), &says("arn:c", Some("s"))));
        assert!(!is_ours(Some(&known(Some("s"))), &says("arn:c", Some("t"))));
        assert!(is_ours(Some(&known(None)), &says("arn:c", None)));
        assert!(!is_ours(Some(&known(None)), &says("arn:d", None)));
        assert!(is_ours(None, &says("arn:d", None)), "nothing is known yet");
    }

    #[test]
    fn an_output_that_does_not_receive_is_asked_about() {
        let declared = |name: &str| DeclaredOutput { name: name.into(), required: false };
        let says = |state| {
            let output = OutputStatus { name: "live".into(), state, ..OutputStatus::default() };
            AgentView::Status(Box::new(AgentStatus {
                phase: Phase::Streaming,
                reason: "Streaming".into(),
                outputs: vec![output],
                ..AgentStatus::default()
            }))
        };
        let live = [declared("live")];
        assert_eq!(health(&says(OutputState::Receiving), &live, false), AgentHealth::Storing);
        assert_eq!(health(&says(OutputState::Failed), &live, false), AgentHealth::Other);
        assert_eq!(health(&says(OutputState::Receiving), &[declared("new")], false), AgentHealth::Other);
    }

    #[test]
    fn only_an_agent_that_stores_everything_is_left_alone() {
        let says = |phase, reason: &str| {
            AgentView::Status(Box::new(AgentStatus {
                phase,
                reason: reason.into(),
                ..AgentStatus::default()
            }))
        };
        assert_eq!(health(&says(Phase::Streaming, "Streaming"), &[], false), AgentHealth::Storing);
        assert_eq!(
            health(&says(Phase::Streaming, "StorageInterrupted"), &[], false),
            AgentHealth::Interrupted
        );
        assert_eq!(
            health(&says(Phase::Streaming, "Streaming"), &[], true),
            AgentHealth::Other,
            "it is not ready"
        );
        assert_eq!(
            health(&says(Phase::WaitingForMaster, "WaitingForMaster"), &[], false),
            AgentHealth::Other
        );
        assert_eq!(health(&AgentView::Silent("refused".into()), &[], false), AgentHealth::Other);
        assert_eq!(health(&AgentView::NotAsked, &[], false), AgentHealth::Other);
    }
}
