//! Report: the status of a `KvsIngest`, a pure function of what was observed and of the status before.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kvs_ingest_api::{
    AgentStatus, KvsIngestSpec, KvsIngestStatus, MediaStorageStatus, Mode, OutputState, OutputStatus, Phase,
    ResolvedChannel, ResolvedStream, condition,
};

use crate::conditions::{ConditionStatus, ConditionUpdate, Next, find, is_true};
use crate::reason::Reason;
use crate::words::same_cause;

/// What the agent says, or why nobody knows.
#[derive(Clone, Debug, PartialEq)]
pub enum AgentView {
    /// Its `/status`.
    Status(Box<AgentStatus>),
    /// It could not be asked, and why.
    Silent(String),
    /// It was not asked this time: what was known still holds.
    NotAsked,
    /// There is none.
    Absent,
}

/// One of `spec.outputs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredOutput {
    pub name: String,
    pub required: bool,
}

impl DeclaredOutput {
    /// Those of an object.
    #[must_use]
    pub fn all(spec: &KvsIngestSpec) -> Vec<Self> {
        let declared = spec.outputs.iter();
        declared.map(|output| Self { name: output.name.clone(), required: output.required }).collect()
    }

    /// The type of its condition.
    pub fn condition(&self) -> String {
        format!("{}{}", condition::OUTPUT_PREFIX, self.name)
    }

    /// What the agent says of it; an agent of before it was declared says nothing.
    pub fn of_agent<'a>(&self, agent: &'a AgentStatus) -> Option<&'a OutputStatus> {
        agent.outputs.iter().find(|output| output.name == self.name)
    }
}

/// Everything that was observed.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// `metadata.generation`
    pub generation: Option<i64>,
    /// An annotation pauses the object: nothing below was looked at.
    pub paused: bool,
    /// The spec breaks this rule: nothing below was looked at, but whether a suspended agent has ended.
    pub invalid: Option<String>,
    /// Its author may not have these: it has no agent, and nothing else below was looked at.
    pub not_permitted: Option<String>,
    /// A step failed, and why: what is `None` below was not looked at.
    pub failed: Option<String>,
    pub channel: Option<ResolvedChannel>,
    /// `None`: the channel was not looked at.
    pub channel_condition: Option<ConditionUpdate>,
    pub stream: Option<ResolvedStream>,
    /// `None`: the stream was not looked at.
    pub stream_condition: Option<ConditionUpdate>,
    /// `spec.mode`
    pub mode: Mode,
    /// As it is now, or as before where it was not looked at.
    pub media_storage: Option<MediaStorageStatus>,
    /// What is seen of AWS's own recording; `None`: nothing is known, or an agent records.
    pub recording: Option<ConditionUpdate>,
    /// `spec.outputs`
    pub outputs: Vec<DeclaredOutput>,
    /// `spec.suspend`
    pub suspended: bool,
    /// Of the Deployment; `None`: there is none yet.
    pub workload: Option<ConditionUpdate>,
    pub agent: AgentView,
    /// The image that was applied; `None`: the one before still runs.
    pub image: Option<String>,
    /// The Deployment's generation after the last apply.
    pub deployment_generation: Option<i64>,
    /// The value of the annotation that asked for this reconcile, if one did.
    pub reconcile_requested_at: Option<String>,
}

impl Observed {
    /// Of an object at this generation of which nothing was looked at.
    #[must_use]
    pub fn unobserved(generation: Option<i64>) -> Self {
        Self {
            generation,
            paused: false,
            invalid: None,
            not_permitted: None,
            failed: None,
            channel: None,
            channel_condition: None,
            stream: None,
            stream_condition: None,
            mode: Mode::Agent,
            media_storage: None,
            recording: None,
            outputs: Vec::new(),
            suspended: false,
            workload: None,
            agent: AgentView::NotAsked,
            image: None,
            deployment_generation: None,
            reconcile_requested_at: None,
        }
    }

    /// Channel or stream could not be asked for, because others ask.
    pub fn is_put_off(&self) -> bool {
        self.resources().any(|resource| resource.reason == Reason::AwsBusy)
    }

    /// Channel and stream, as far as they were looked at.
    pub fn resources(&self) -> impl Iterator<Item = &ConditionUpdate> {
        self.channel_condition.iter().chain(&self.stream_condition)
    }
}

/// The new status. It equals the old one when nothing happened, so that nothing is written.
#[must_use]
pub fn report(before: Option<&KvsIngestStatus>, observed: Observed, now: &Time) -> KvsIngestStatus {
    let empty = KvsIngestStatus::default();
    let before = before.unwrap_or(&empty);
    if observed.paused {
        // Whatever was true is not looked at: only that is said.
        let mut status = before.clone();
        let paused = ConditionUpdate::met(
            Reason::PausedByAnnotation,
            "kvs-ingest.dev/paused is set: the operator changes nothing",
        );
        set(&mut status.conditions, before, condition::PAUSED, &paused, observed.generation, now);
        return status;
    }
    let media = media(before, &observed);
    let known = |update: &Option<ConditionUpdate>, kind: &str, what: &str| {
        let known = update.clone().or_else(|| as_before(before, &observed, kind));
        known.unwrap_or_else(|| not_reached(&observed, what))
    };
    let agent = known(&observed.workload, condition::AGENT_AVAILABLE, "the agent");
    let channel = known(&observed.channel_condition, condition::CHANNEL_RESOLVED, "the channel");
    let stream = known(&observed.stream_condition, condition::STREAM_RESOLVED, "the stream");
    let ready = ready(before, &observed, &channel, &stream, &agent, &media);

    let mut conditions = Vec::new();
    let mut add = |kind: &str, update: &ConditionUpdate| {
        set(&mut conditions, before, kind, update, observed.generation, now);
    };
    add(condition::READY, &ready);
    add(condition::CHANNEL_RESOLVED, &channel);
    add(condition::STREAM_RESOLVED, &stream);
    add(condition::AGENT_AVAILABLE, &agent);
    add(condition::MEDIA_FLOWING, &media);
    for declared in &observed.outputs {
        add(&declared.condition(), &output(before, &observed, declared, &media));
    }
    // kstatus: abnormal-true, absent otherwise. Of what is ready and yet changes, or is stuck in a change, the agent's
    // Deployment tells.
    let next = ready.next;
    let no_agent = observed.mode == Mode::ManagedStorage && agent.reason == Reason::NotUsed;
    let cause = if ready.is_met() { agent } else { ready };
    let cause = ConditionUpdate { status: ConditionStatus::True, ..cause };
    match next {
        Next::Waiting => add(condition::RECONCILING, &cause),
        Next::Person => add(condition::STALLED, &cause),
        Next::Settled => {}
    }
    KvsIngestStatus {
        observed_generation: observed.generation,
        conditions,
        channel: observed.channel.or_else(|| before.channel.clone()),
        stream: observed.stream.or_else(|| before.stream.clone()),
        media_storage: observed.media_storage,
        image: observed.image.or_else(|| before.image.clone()).filter(|_| !no_agent),
        deployment_generation: observed
            .deployment_generation
            .or(before.deployment_generation)
            .filter(|_| !no_agent),
        last_handled_reconcile_at: observed
            .reconcile_requested_at
            .or_else(|| before.last_handled_reconcile_at.clone()),
    }
}

/// What was said of this very generation, where the failure of another step is all that is new.
fn as_before(before: &KvsIngestStatus, observed: &Observed, kind: &str) -> Option<ConditionUpdate> {
    let same = observed.failed.is_some() && before.observed_generation == observed.generation;
    let old = find(before, kind).filter(|_| same)?;
    let (status, reason) = (ConditionStatus::of(old), Reason::from(&*old.reason));
    Some(ConditionUpdate { status, reason, message: old.message.clone(), next: Next::Waiting })
}

/// Something further up is in the way.
fn not_reached(observed: &Observed, what: &str) -> ConditionUpdate {
    let reason = match (&observed.not_permitted, &observed.invalid, &observed.failed) {
        (Some(_), ..) => Reason::NotPermitted,
        (None, Some(_), _) => Reason::InvalidSpec,
        (None, None, Some(_)) => Reason::ReconcileFailed,
        (None, None, None) => Reason::NotReached,
    };
    ConditionUpdate::unknown(reason, format!("{what} was not looked at"))
}

fn ready(
    before: &KvsIngestStatus,
    observed: &Observed,
    channel: &ConditionUpdate,
    stream: &ConditionUpdate,
    agent: &ConditionUpdate,
    media: &ConditionUpdate,
) -> ConditionUpdate {
    if let Some(message) = &observed.not_permitted {
        return ConditionUpdate::stalled(Reason::NotPermitted, message.clone());
    }
    if let Some(message) = &observed.invalid {
        return ConditionUpdate::stalled(Reason::InvalidSpec, message.clone());
    }
    if let Some(message) = &observed.failed {
        return ConditionUpdate::unknown(Reason::ReconcileFailed, message.clone());
    }
    let mut unmet =
        [("Channel", channel), ("Stream", stream)].into_iter().filter(|(_, update)| !update.is_met());
    // Of two, not the one that waits for the other.
    let first = unmet.clone().find(|(_, update)| !update.reason.waits_for_other()).or_else(|| unmet.next());
    if let Some((resource, update)) = first {
        let reason = update.reason.clone().in_summary(resource);
        return ConditionUpdate { reason, ..update.clone() };
    }
    if agent.reason.is_of_the_deployment() {
        return agent.clone();
    }
    if observed.suspended && !agent.is_met() {
        let suspended = ConditionUpdate::met(Reason::Suspended, "spec.suspend is true: no agent runs");
        return suspended.with_next(agent.next);
    }
    if !agent.is_met() {
        // The agent knows better why it is not ready than Kubernetes does.
        if let AgentView::Status(status) = &observed.agent
            && status.phase == Phase::Failed
        {
            return ConditionUpdate::stalled(Reason::of_agent(&status.reason), status.message.clone());
        }
        if let Some(ready) = find(before, condition::READY).filter(|_| still_fails(before, observed)) {
            return ConditionUpdate::stalled(Reason::from(&*ready.reason), ready.message.clone());
        }
        return agent.clone();
    }
    if agent.reason == Reason::NotUsed {
        return recorded(media);
    }
    match &observed.agent {
        AgentView::Status(status) => match status.phase {
            Phase::Failed => {
                ConditionUpdate::stalled(Reason::of_agent(&status.reason), status.message.clone())
            }
            Phase::Streaming | Phase::WaitingForMaster | Phase::Connecting | Phase::Reconnecting => {
                if let Some(unmet) = required_output(observed, status) {
                    return unmet;
                }
                ConditionUpdate::met(media.reason.clone(), media.message.clone()).with_next(agent.next)
            }
            Phase::Starting | Phase::Stopping => available(agent),
        },
        AgentView::Silent(_) | AgentView::Absent => available(agent),
        AgentView::NotAsked => match find(before, condition::READY) {
            // It was available before, and still is: what the agent said then still holds.
            Some(ready)
                if is_true(before, condition::READY) && Reason::from(&*ready.reason) != Reason::Suspended =>
            {
                let reason = Reason::from(&*ready.reason);
                ConditionUpdate::met(reason, ready.message.clone()).with_next(agent.next)
            }
            Some(ready)
                if is_true(before, condition::AGENT_AVAILABLE)
                    && was_the_agents(before)
                    && !observed.suspended =>
            {
                let reason = Reason::from(&*ready.reason);
                // An output that time may heal needs nobody yet.
                let heals = reason == Reason::OutputInterrupted;
                let next = if heals { Next::Waiting } else { Next::Person };
                ConditionUpdate::stalled(reason, ready.message.clone()).with_next(next)
            }
            _ => available(agent),
        },
    }
}

/// AWS records by itself, or waits for a master; who may not look, or join, needs a person.
fn recorded(media: &ConditionUpdate) -> ConditionUpdate {
    match (media.next, media.status) {
        (Next::Person, _) => ConditionUpdate::stalled(media.reason.clone(), media.message.clone()),
        (_, ConditionStatus::Unknown) => ConditionUpdate::met(
            Reason::ManagedStorage,
            format!("the channel's media storage is enabled; {}", media.message),
        ),
        _ => ConditionUpdate::met(media.reason.clone(), media.message.clone()),
    }
}

/// The agent runs, is not ready, and said why: until it is asked again that still holds.
fn still_fails(before: &KvsIngestStatus, observed: &Observed) -> bool {
    let (Some(agent), Some(old)) = (&observed.workload, find(before, condition::AGENT_AVAILABLE)) else {
        return false;
    };
    let old = (ConditionStatus::of(old), Reason::from(&*old.reason));
    observed.agent == AgentView::NotAsked
        && was_the_agents(before)
        && old == (agent.status, agent.reason.clone())
        && find(before, condition::STALLED)
            .is_some_and(|stalled| Reason::from(&*stalled.reason) != agent.reason)
}

/// Nothing but the agent was in the way of Ready.
fn was_the_agents(before: &KvsIngestStatus) -> bool {
    is_true(before, condition::CHANNEL_RESOLVED) && is_true(before, condition::STREAM_RESOLVED)
}

fn available(agent: &ConditionUpdate) -> ConditionUpdate {
    ConditionUpdate::met(Reason::AgentAvailable, "the agent runs").with_next(agent.next)
}

/// A required output that does not receive the media that is there: the first that needs a person, or else the first.
fn required_output(observed: &Observed, agent: &AgentStatus) -> Option<ConditionUpdate> {
    let required = observed.outputs.iter().filter(|declared| declared.required);
    let mut unmet: Vec<_> = required
        .filter_map(|declared| declared.of_agent(agent))
        .filter(|output| matches!(output.state, OutputState::Interrupted | OutputState::Failed))
        .collect();
    unmet.sort_by_key(|output| output.state == OutputState::Interrupted);
    let output = unmet.first()?;
    let message = format!("output {}: {}", output.name, output.message);
    Some(match output.state {
        OutputState::Failed => ConditionUpdate::stalled(Reason::OutputFailed, message),
        _ => ConditionUpdate::waiting(Reason::OutputInterrupted, message),
    })
}

fn settled(status: ConditionStatus, reason: Reason, message: &str) -> ConditionUpdate {
    ConditionUpdate { status, reason, message: message.to_owned(), next: Next::Settled }
}

fn media(before: &KvsIngestStatus, observed: &Observed) -> ConditionUpdate {
    let no_agent = observed.workload.as_ref().is_some_and(|agent| agent.reason == Reason::NotUsed);
    if no_agent && !observed.suspended {
        if observed.media_storage.is_none() {
            let words = "the channel's media storage is not enabled for this object";
            return settled(ConditionStatus::False, Reason::NotReached, words);
        }
        return observed.recording.clone().unwrap_or_else(|| recording_before(before));
    }
    word_of_agent(before, observed, condition::MEDIA_FLOWING, |agent| {
        let status = match agent.phase {
            Phase::Streaming if agent.stores_all() => ConditionStatus::True,
            Phase::Starting => ConditionStatus::Unknown,
            _ => ConditionStatus::False,
        };
        let reason = match agent.phase {
            // Whether it is just now being called makes no difference to who waits for it.
            Phase::WaitingForMaster => Reason::WaitingForMaster,
            Phase::Connecting if !agent.lacks_a_track() => Reason::WaitingForMaster,
            _ => Reason::of_agent(&agent.reason),
        };
        settled(status, reason, &agent.message)
    })
}

/// What was said of AWS's recording before this operator has looked at it.
fn recording_before(before: &KvsIngestStatus) -> ConditionUpdate {
    let no_agent = find(before, condition::AGENT_AVAILABLE)
        .is_some_and(|agent| Reason::from(&*agent.reason) == Reason::NotUsed);
    let Some(media) = find(before, condition::MEDIA_FLOWING).filter(|_| no_agent) else {
        return settled(ConditionStatus::Unknown, Reason::ManagedStorage, "it has not been looked at yet");
    };
    let reason = Reason::from(&*media.reason);
    let needs_a_person =
        find(before, condition::STALLED).is_some_and(|stalled| Reason::from(&*stalled.reason) == reason);
    let next = if needs_a_person { Next::Person } else { Next::Settled };
    settled(ConditionStatus::of(media), reason, &media.message).with_next(next)
}

fn output(
    before: &KvsIngestStatus,
    observed: &Observed,
    declared: &DeclaredOutput,
    media: &ConditionUpdate,
) -> ConditionUpdate {
    word_of_agent(before, observed, &declared.condition(), |agent| {
        let Some(output) = declared.of_agent(agent) else {
            let words = "the agent that runs does not know this output: it is replaced";
            return settled(ConditionStatus::Unknown, Reason::AgentSilent, words);
        };
        let said = |status| settled(status, Reason::of_agent(&output.reason), &output.message);
        match output.state {
            OutputState::Receiving => said(ConditionStatus::True),
            OutputState::Connecting => said(ConditionStatus::Unknown),
            OutputState::Interrupted | OutputState::Failed => said(ConditionStatus::False),
            // It is not the output that is in the way, and what is in the way is said once.
            OutputState::Waiting if media.is_met() => said(ConditionStatus::Unknown),
            OutputState::Waiting => ConditionUpdate { next: Next::Settled, ..media.clone() },
        }
    })
}

/// A condition that the agent alone can tell of, as far as there is one and it was asked.
fn word_of_agent(
    before: &KvsIngestStatus,
    observed: &Observed,
    kind: &str,
    said: impl Fn(&AgentStatus) -> ConditionUpdate,
) -> ConditionUpdate {
    if observed.suspended {
        return settled(ConditionStatus::False, Reason::Suspended, "spec.suspend is true");
    }
    let no_agent = || settled(ConditionStatus::Unknown, Reason::AgentUnavailable, "there is no agent to ask");
    match &observed.agent {
        AgentView::Status(agent) => said(agent),
        AgentView::Silent(why) => settled(ConditionStatus::Unknown, Reason::AgentSilent, why),
        AgentView::Absent => no_agent(),
        AgentView::NotAsked => match (find(before, kind), &observed.workload) {
            (Some(old), Some(agent))
                if agent.is_met() || agent.reason.is_of_the_deployment() || still_fails(before, observed) =>
            {
                settled(ConditionStatus::of(old), Reason::from(&*old.reason), &old.message)
            }
            (Some(old), None) if observed.failed.is_some() => {
                settled(ConditionStatus::of(old), Reason::from(&*old.reason), &old.message)
            }
            (None, Some(agent)) if agent.is_met() => settled(
                ConditionStatus::Unknown,
                Reason::AgentUnavailable,
                "the agent has not been asked yet",
            ),
            _ => no_agent(),
        },
    }
}

/// Puts a condition in. Its message stays while status, reason and cause do: how long something has lasted would be a
/// write each time. Another cause is told.
pub(crate) fn set(
    conditions: &mut Vec<Condition>,
    before: &KvsIngestStatus,
    kind: &str,
    update: &ConditionUpdate,
    generation: Option<i64>,
    now: &Time,
) {
    /// Characters of a message.
    const LONGEST: usize = 1024;
    let same_status = find(before, kind).filter(|old| ConditionStatus::of(old) == update.status);
    let message: String = update.message.chars().take(LONGEST).collect();
    let same = same_status.filter(|old| {
        old.reason == update.reason.as_str()
            && old.observed_generation == generation
            && same_cause(&old.message, &message)
    });
    let message = same.map_or(message, |old| old.message.clone());
    let condition = Condition {
        type_: kind.to_owned(),
        status: update.status.as_str().to_owned(),
        reason: update.reason.to_string(),
        message,
        observed_generation: generation,
        last_transition_time: same_status.map_or_else(|| now.clone(), |old| old.last_transition_time.clone()),
    };
    match conditions.iter_mut().find(|condition| condition.type_ == kind) {
        Some(place) => *place = condition,
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests;
