//! Report: the status of a `KvsIngest`, a pure function of what was observed and of the status before.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kvs_ingest_api::{AgentStatus, KvsIngestStatus, Phase, ResolvedChannel, ResolvedStream, condition};

/// `status` of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// `True`
    Yes,
    /// `False`
    No,
    /// `Unknown`
    Unknown,
}

impl Truth {
    fn as_str(self) -> &'static str {
        match self {
            Truth::Yes => "True",
            Truth::No => "False",
            Truth::Unknown => "Unknown",
        }
    }
}

/// What is to be said of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Is it so?
    pub truth: Truth,
    /// One CamelCase word.
    pub reason: String,
    /// A sentence for people, with the remedy where there is one.
    pub message: String,
    /// What it takes from here.
    pub next: Next,
}

/// Who moves next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nobody has to.
    Settled,
    /// The operator, Kubernetes or AWS: time heals it.
    Waiting,
    /// A person.
    Person,
}

impl Verdict {
    /// It is so.
    pub fn yes(reason: &str, message: impl Into<String>) -> Self {
        Self { truth: Truth::Yes, reason: reason.to_owned(), message: message.into(), next: Next::Settled }
    }

    /// It is not so, and a person has to do something.
    pub fn stalled(reason: &str, message: impl Into<String>) -> Self {
        Self { truth: Truth::No, reason: reason.to_owned(), message: message.into(), next: Next::Person }
    }

    /// It is not so yet.
    pub fn waiting(reason: &str, message: impl Into<String>) -> Self {
        Self { truth: Truth::No, reason: reason.to_owned(), message: message.into(), next: Next::Waiting }
    }

    /// Nobody knows yet.
    pub fn unknown(reason: &str, message: impl Into<String>) -> Self {
        Self {
            truth: Truth::Unknown,
            reason: reason.to_owned(),
            message: message.into(),
            next: Next::Waiting,
        }
    }
}

/// What the agent says, or why nobody knows.
#[derive(Clone, Debug, PartialEq)]
pub enum AgentView {
    /// Its `/status`.
    Says(Box<AgentStatus>),
    /// It could not be asked.
    Silent(String),
    /// It was not asked this time: what was known still holds.
    NotAsked,
}

/// Everything that was observed.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// `metadata.generation`
    pub generation: Option<i64>,
    /// An annotation pauses the object: nothing below was looked at.
    pub paused: bool,
    /// The spec breaks a rule.
    pub invalid: Option<String>,
    /// The channel.
    pub channel: Option<ResolvedChannel>,
    /// What is to be said of it; `None`: it was not looked at.
    pub channel_verdict: Option<Verdict>,
    /// The stream.
    pub stream: Option<ResolvedStream>,
    /// What is to be said of it.
    pub stream_verdict: Option<Verdict>,
    /// `spec.suspend`
    pub suspended: bool,
    /// The Deployment.
    pub workload: Option<Verdict>,
    /// The agent.
    pub agent: AgentView,
    /// The image that was applied.
    pub image: Option<String>,
    /// The Deployment's generation after the last apply.
    pub deployment_generation: Option<i64>,
    /// The annotation that was followed.
    pub reconcile_requested_at: Option<String>,
}

/// The new status. It equals the old one when nothing happened, so that nothing is written.
#[must_use]
pub fn report(before: Option<&KvsIngestStatus>, observed: Observed, now: &Time) -> KvsIngestStatus {
    let empty = KvsIngestStatus::default();
    let before = before.unwrap_or(&empty);
    if observed.paused {
        // Whatever was true is not looked at: only that is said.
        let mut status = before.clone();
        let paused =
            Verdict::yes("PausedByAnnotation", "kvs-ingest.dev/paused is set: the operator changes nothing");
        set(&mut status.conditions, before, condition::PAUSED, &paused, observed.generation, now);
        return status;
    }
    let media = media(before, &observed);
    let agent = observed.workload.clone().unwrap_or_else(|| blocked(&observed, "the agent"));
    let channel = observed.channel_verdict.clone().unwrap_or_else(|| blocked(&observed, "the channel"));
    let stream = observed.stream_verdict.clone().unwrap_or_else(|| blocked(&observed, "the stream"));
    let ready = ready(before, &observed, &channel, &stream, &agent, &media);

    let mut conditions = Vec::new();
    let mut add = |kind: &str, verdict: &Verdict| {
        set(&mut conditions, before, kind, verdict, observed.generation, now);
    };
    add(condition::READY, &ready);
    add(condition::CHANNEL_RESOLVED, &channel);
    add(condition::STREAM_RESOLVED, &stream);
    add(condition::AGENT_AVAILABLE, &agent);
    add(condition::MEDIA_FLOWING, &media);
    // kstatus: abnormal-true, absent otherwise. Of what is ready and yet changes, or is stuck in a change, the agent's
    // Deployment tells.
    let next = ready.next;
    let cause = if ready.truth == Truth::Yes { agent } else { ready };
    match next {
        Next::Waiting => add(condition::RECONCILING, &Verdict { truth: Truth::Yes, ..cause }),
        Next::Person => add(condition::STALLED, &Verdict { truth: Truth::Yes, ..cause }),
        Next::Settled => {}
    }
    KvsIngestStatus {
        observed_generation: observed.generation,
        conditions,
        channel: observed.channel.or_else(|| before.channel.clone()),
        stream: observed.stream.or_else(|| before.stream.clone()),
        image: observed.image.or_else(|| before.image.clone()),
        deployment_generation: observed.deployment_generation.or(before.deployment_generation),
        last_handled_reconcile_at: observed
            .reconcile_requested_at
            .or_else(|| before.last_handled_reconcile_at.clone()),
    }
}

/// Something further up is in the way.
fn blocked(observed: &Observed, what: &str) -> Verdict {
    let reason = if observed.invalid.is_some() { "InvalidSpec" } else { "NotReached" };
    Verdict::unknown(reason, format!("{what} was not looked at"))
}

fn ready(
    before: &KvsIngestStatus,
    observed: &Observed,
    channel: &Verdict,
    stream: &Verdict,
    agent: &Verdict,
    media: &Verdict,
) -> Verdict {
    if let Some(message) = &observed.invalid {
        return Verdict::stalled("InvalidSpec", message.clone());
    }
    for (kind, verdict) in [("Channel", channel), ("Stream", stream)] {
        if verdict.truth != Truth::Yes {
            // In the summary it has to be said what is not found, or forbidden.
            let says =
                ["Channel", "Stream", "Media", "Aws"].iter().any(|word| verdict.reason.starts_with(word));
            let reason = if says { verdict.reason.clone() } else { format!("{kind}{}", verdict.reason) };
            return Verdict { reason, ..verdict.clone() };
        }
    }
    if observed.suspended && agent.truth != Truth::Yes {
        let next = agent.next;
        return Verdict { next, ..Verdict::yes("Suspended", "spec.suspend is true: no agent runs") };
    }
    if agent.truth != Truth::Yes {
        // The agent knows better why it is not ready than Kubernetes does.
        if let AgentView::Says(status) = &observed.agent
            && status.phase == Phase::Failed
        {
            return Verdict::stalled(word(&status.reason), status.message.clone());
        }
        if let Some(ready) = find(before, condition::READY).filter(|_| still_fails(before, observed)) {
            return Verdict::stalled(&ready.reason, ready.message.clone());
        }
        return agent.clone();
    }
    match &observed.agent {
        AgentView::Says(status) => match status.phase {
            Phase::Failed => Verdict::stalled(word(&status.reason), status.message.clone()),
            Phase::Streaming | Phase::WaitingForMaster | Phase::Connecting | Phase::Reconnecting => {
                Verdict { next: agent.next, ..Verdict::yes(&media.reason, media.message.clone()) }
            }
            Phase::Starting | Phase::Stopping => available(agent),
        },
        AgentView::Silent(_) => available(agent),
        AgentView::NotAsked => match find(before, condition::READY) {
            // It was available before, and still is: what the agent said then still holds.
            Some(ready) if ready.status == "True" && ready.reason != "Suspended" => {
                Verdict { next: agent.next, ..Verdict::yes(&ready.reason, ready.message.clone()) }
            }
            Some(ready) if is_true(before, condition::AGENT_AVAILABLE) && !observed.suspended => {
                Verdict { next: Next::Person, ..Verdict::stalled(&ready.reason, ready.message.clone()) }
            }
            _ => available(agent),
        },
    }
}

/// The agent runs, is not ready, and said why: until it is asked again that still holds.
fn still_fails(before: &KvsIngestStatus, observed: &Observed) -> bool {
    let (Some(agent), Some(told)) = (&observed.workload, find(before, condition::AGENT_AVAILABLE)) else {
        return false;
    };
    observed.agent == AgentView::NotAsked
        && (told.status.as_str(), &told.reason) == (agent.truth.as_str(), &agent.reason)
        && find(before, condition::STALLED).is_some_and(|stalled| stalled.reason != agent.reason)
}

fn available(agent: &Verdict) -> Verdict {
    Verdict { next: agent.next, ..Verdict::yes("AgentAvailable", "the agent runs") }
}

fn media(before: &KvsIngestStatus, observed: &Observed) -> Verdict {
    let settled = |truth, reason: &str, message: &str| Verdict {
        truth,
        reason: reason.to_owned(),
        message: message.to_owned(),
        next: Next::Settled,
    };
    if observed.suspended {
        return settled(Truth::No, "Suspended", "spec.suspend is true");
    }
    match &observed.agent {
        AgentView::Says(status) => {
            let truth = match status.phase {
                Phase::Streaming if status.stores_all() => Truth::Yes,
                Phase::Starting => Truth::Unknown,
                _ => Truth::No,
            };
            let reason = match status.phase {
                // Whether it is just now being called makes no difference to who waits for it.
                Phase::WaitingForMaster => "WaitingForMaster",
                Phase::Connecting if !status.lacks_a_track() => "WaitingForMaster",
                _ => word(&status.reason),
            };
            settled(truth, reason, &status.message)
        }
        AgentView::Silent(why) => settled(Truth::Unknown, "AgentSilent", why),
        AgentView::NotAsked => match (find(before, condition::MEDIA_FLOWING), &observed.workload) {
            (Some(old), Some(agent)) if agent.truth == Truth::Yes || still_fails(before, observed) => {
                Verdict {
                    truth: match old.status.as_str() {
                        "True" => Truth::Yes,
                        "False" => Truth::No,
                        _ => Truth::Unknown,
                    },
                    reason: old.reason.clone(),
                    message: old.message.clone(),
                    next: Next::Settled,
                }
            }
            _ => settled(Truth::Unknown, "AgentUnavailable", "there is no agent to ask"),
        },
    }
}

/// A reason from outside has to be one that the API server takes.
fn word(reason: &str) -> &str {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    let valid = !reason.is_empty()
        && reason.len() <= 64
        && reason.bytes().all(plain)
        && reason.as_bytes()[0].is_ascii_alphabetic();
    if valid { reason } else { "Unspecified" }
}

/// The condition of this type.
#[must_use]
pub fn find<'a>(status: &'a KvsIngestStatus, kind: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.type_ == kind)
}

/// Is the condition of this type `True`?
#[must_use]
pub fn is_true(status: &KvsIngestStatus, kind: &str) -> bool {
    find(status, kind).is_some_and(|condition| condition.status == "True")
}

/// Puts a condition in. Its message stays while status and reason do: words that change all the time would be writes all
/// the time. Why a track is not stored is told by the message alone.
fn set(
    conditions: &mut Vec<Condition>,
    before: &KvsIngestStatus,
    kind: &str,
    verdict: &Verdict,
    generation: Option<i64>,
    now: &Time,
) {
    const LONGEST: usize = 1024;
    let old = find(before, kind);
    let status = verdict.truth.as_str();
    let same_status = old.filter(|old| old.status == status);
    let same =
        same_status.filter(|old| old.reason == verdict.reason && old.observed_generation == generation);
    let same = same.filter(|old| !old.reason.ends_with("NotStored"));
    let message =
        same.map_or_else(|| verdict.message.chars().take(LONGEST).collect(), |old| old.message.clone());
    let condition = Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: verdict.reason.clone(),
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
