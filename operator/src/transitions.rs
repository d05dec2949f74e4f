//! What a new status is worth an event for: something was created, stops working, works again, or media comes and goes;
//! not each step of a start. Pure.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kvs_ingest_api::{KvsIngestStatus, condition};

use crate::conditions::{ConditionStatus, find, is_true};
use crate::events::{EventType, Notice};
use crate::reason::Reason;

pub(crate) fn transitions(before: Option<&KvsIngestStatus>, after: &KvsIngestStatus) -> Vec<Notice> {
    let of_one = [created(before, after), mapped(before, after), ready(before, after), media(before, after)];
    of_one.into_iter().flatten().chain(outputs(before, after)).collect()
}

/// How long it took from the object's creation, if it is ready for the first time.
pub(crate) fn ready_after(
    before: Option<&KvsIngestStatus>,
    after: &KvsIngestStatus,
    created: Option<&Time>,
    now: &Time,
) -> Option<Duration> {
    let old = before.and_then(|status| find(status, condition::READY));
    let was_more = old.is_some_and(|ready| Reason::from(&*ready.reason) != Reason::AgentStarting);
    if was_more || !is_true(after, condition::READY) {
        return None;
    }
    let seconds = now.0.as_second() - created?.0.as_second();
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// One event for channel and stream: each is a request.
fn created(before: Option<&KvsIngestStatus>, after: &KvsIngestStatus) -> Option<Notice> {
    let channel = |status: &KvsIngestStatus| status.channel.as_ref().is_some_and(|found| found.created);
    let stream = |status: &KvsIngestStatus| status.stream.as_ref().is_some_and(|found| found.created);
    let message = |kind| find(after, kind).map_or("", |condition| condition.message.as_str());
    let channel_message = message(condition::CHANNEL_RESOLVED);
    let stream_message = message(condition::STREAM_RESOLVED);
    let adopted =
        |kind| find(after, kind).is_some_and(|found| Reason::from(&*found.reason) == Reason::Adopted);
    match (channel(after) && !before.is_some_and(channel), stream(after) && !before.is_some_and(stream)) {
        (true, true) => Some(normal(Reason::Created, format!("{channel_message}; {stream_message}"))),
        (true, false) if adopted(condition::CHANNEL_RESOLVED) => {
            Some(normal(Reason::ChannelAdopted, channel_message))
        }
        (true, false) => Some(normal(Reason::ChannelCreated, channel_message)),
        (false, true) if adopted(condition::STREAM_RESOLVED) => {
            Some(normal(Reason::StreamAdopted, stream_message))
        }
        (false, true) => Some(normal(Reason::StreamCreated, stream_message)),
        (false, false) => None,
    }
}

/// The channel's media storage was enabled by the operator, or disabled again.
fn mapped(before: Option<&KvsIngestStatus>, after: &KvsIngestStatus) -> Option<Notice> {
    let stream = |status: &KvsIngestStatus| {
        let storage = status.media_storage.as_ref().filter(|storage| storage.enabled_by_operator);
        storage.map(|storage| storage.stream_arn.clone())
    };
    match (before.and_then(stream), stream(after)) {
        (was, Some(is)) if was.as_ref() != Some(&is) => Some(normal(
            Reason::MediaStorageMapped,
            format!(
                "the media storage of the channel is enabled into {is}: its viewers get media from AWS's session alone"
            ),
        )),
        (Some(was), None) => Some(normal(
            Reason::MediaStorageReleased,
            format!("the media storage of the channel into {was} is disabled"),
        )),
        _ => None,
    }
}

fn ready(before: Option<&KvsIngestStatus>, after: &KvsIngestStatus) -> Option<Notice> {
    let new = find(after, condition::READY)?;
    let old = before.and_then(|status| find(status, condition::READY));
    if old.is_some_and(|old| old.status == new.status && old.reason == new.reason) {
        return None;
    }
    let reason = Reason::from(&*new.reason);
    let is_true = |ready: &Condition| ConditionStatus::of(ready) == ConditionStatus::True;
    let needs_a_person = find(after, condition::STALLED).is_some();
    let broke = old.is_some_and(is_true) && !is_true(new);
    // Ready all the same: the agent holds what KVS does not take.
    let interrupted = reason == Reason::StorageInterrupted;
    let healed = old.is_some_and(|old| match Reason::from(&*old.reason) {
        Reason::StorageInterrupted => true,
        Reason::AgentStarting => false,
        _ => !is_true(old) && is_true(new),
    });
    let kind = if needs_a_person || broke || interrupted {
        EventType::Warning
    } else if healed {
        EventType::Normal
    } else {
        return None;
    };
    Some(Notice { kind, reason, message: new.message.clone() })
}

fn media(before: Option<&KvsIngestStatus>, after: &KvsIngestStatus) -> Option<Notice> {
    let (old, new) = (find(before?, condition::MEDIA_FLOWING)?, find(after, condition::MEDIA_FLOWING)?);
    let (was, is) = (ConditionStatus::of(old), ConditionStatus::of(new));
    let known = was != ConditionStatus::Unknown && is != ConditionStatus::Unknown;
    (known && was != is).then(|| normal(Reason::from(&*new.reason), new.message.clone()))
}

/// Outputs that do not receive the media that is there, and those that do again. That there is none is told of media.
fn outputs(before: Option<&KvsIngestStatus>, after: &KvsIngestStatus) -> Vec<Notice> {
    let is_down = |status: &KvsIngestStatus, kind: &str| {
        let found = find(status, kind).filter(|_| is_true(status, condition::MEDIA_FLOWING));
        found.is_some_and(|found| ConditionStatus::of(found) == ConditionStatus::False)
    };
    // In the words of `Ready`, which has an event of its own.
    let is_in_ready = |status: &KvsIngestStatus, start: &str| {
        find(status, condition::READY).is_some_and(|ready| ready.message.starts_with(start))
    };
    let mut notices = Vec::new();
    for new in after.conditions.iter().filter(|found| found.type_.starts_with(condition::OUTPUT_PREFIX)) {
        let name = new.type_.strip_prefix(condition::OUTPUT_PREFIX).unwrap_or_default();
        let start = format!("output {name}: ");
        let (kind, told_by) = match before.filter(|before| is_down(before, &new.type_)) {
            Some(before) if is_true(after, &new.type_) => (EventType::Normal, before),
            None if is_down(after, &new.type_) => (EventType::Warning, after),
            _ => continue,
        };
        if !is_in_ready(told_by, &start) {
            let message = format!("{start}{}", new.message);
            notices.push(Notice { kind, reason: Reason::from(&*new.reason), message });
        }
    }
    notices
}

fn normal(reason: Reason, message: impl Into<String>) -> Notice {
    Notice { kind: EventType::Normal, reason, message: message.into() }
}

#[cfg(test)]
mod tests {
    use kvs_ingest_api::{AgentStatus, Phase, ResolvedChannel, ResolvedStream};

    use super::*;
    use crate::conditions::ConditionUpdate;
    use crate::report::{AgentView, DeclaredOutput, Observed, report};

    fn at(text: &str) -> Time {
        Time(text.parse().unwrap())
    }

    fn observed(workload: ConditionUpdate, agent: AgentView) -> Observed {
        Observed {
            channel: Some(ResolvedChannel::default()),
            channel_condition: Some(ConditionUpdate::met(Reason::Found, "arn:c")),
            stream: Some(ResolvedStream::default()),
            stream_condition: Some(ConditionUpdate::met(Reason::Found, "arn:s")),
            workload: Some(workload),
            agent,
            ..Observed::unobserved(Some(1))
        }
    }

    fn starting() -> KvsIngestStatus {
        let starting = ConditionUpdate::waiting(Reason::AgentStarting, "is being started");
        status(observed(starting, AgentView::NotAsked))
    }

    fn says(phase: Phase, reason: &str) -> KvsIngestStatus {
        let agent =
            AgentStatus { phase, reason: reason.into(), message: "words".into(), ..AgentStatus::default() };
        let available = ConditionUpdate::met(Reason::AgentAvailable, "the agent runs");
        status(observed(available, AgentView::Status(Box::new(agent))))
    }

    fn streaming() -> KvsIngestStatus {
        says(Phase::Streaming, "Streaming")
    }

    fn status(observed: Observed) -> KvsIngestStatus {
        report(None, observed, &at("2026-01-01T00:00:00Z"))
    }

    /// Type and reason of each event.
    fn events(before: &KvsIngestStatus, after: &KvsIngestStatus) -> Vec<(EventType, String)> {
        let notices = transitions(Some(before), after).into_iter();
        notices.map(|notice| (notice.kind, notice.reason.to_string())).collect()
    }

    fn event(kind: EventType, reason: &str) -> Vec<(EventType, String)> {
        vec![(kind, reason.to_owned())]
    }

    #[test]
    fn the_steps_of_a_start_are_no_events() {
        assert_eq!(transitions(None, &starting()), []);
        assert_eq!(events(&starting(), &streaming()), []);
        assert_eq!(events(&streaming(), &streaming()), []);
    }

    #[test]
    fn what_breaks_and_heals_is_told() {
        let failed = says(Phase::Failed, "AccessDenied");
        assert_eq!(
            events(&streaming(), &failed),
            [event(EventType::Warning, "AccessDenied"), event(EventType::Normal, "AccessDenied")].concat()
        );
        assert_eq!(
            events(&failed, &streaming()),
            [event(EventType::Normal, "Streaming"), event(EventType::Normal, "Streaming")].concat()
        );
        assert_eq!(transitions(None, &failed)[0].kind, EventType::Warning, "from the start");
    }

    #[test]
    fn media_that_waits_is_told_although_the_agent_is_ready() {
        let interrupted = says(Phase::Streaming, "StorageInterrupted");
        assert_eq!(events(&streaming(), &interrupted), event(EventType::Warning, "StorageInterrupted"));
        assert_eq!(events(&interrupted, &streaming()), event(EventType::Normal, "Streaming"));
    }

    #[test]
    fn media_that_comes_and_goes_is_told() {
        let waiting = says(Phase::WaitingForMaster, "WaitingForMaster");
        assert_eq!(events(&waiting, &streaming()), event(EventType::Normal, "Streaming"));
        assert_eq!(events(&streaming(), &waiting), event(EventType::Normal, "WaitingForMaster"));
        // Nobody knows: that is no news.
        assert_eq!(events(&says(Phase::Starting, "Starting"), &streaming()), []);
    }

    #[test]
    fn an_output_that_breaks_and_heals_is_told_once() {
        use kvs_ingest_api::{OutputState, OutputStatus};
        let sends = |required, phase, state, reason: &str| {
            let output = OutputStatus {
                name: "own".into(),
                state,
                reason: reason.into(),
                message: "words".into(),
                ..OutputStatus::default()
            };
            let agent = AgentStatus {
                phase,
                reason: format!("{phase:?}"),
                outputs: vec![output],
                ..AgentStatus::default()
            };
            let available = ConditionUpdate::met(Reason::AgentAvailable, "the agent runs");
            let outputs = vec![DeclaredOutput { name: "own".into(), required }];
            let agent = AgentView::Status(Box::new(agent));
            status(Observed { outputs, ..observed(available, agent) })
        };
        let on = |required, state, reason: &str| sends(required, Phase::Streaming, state, reason);
        let good = on(false, OutputState::Receiving, "Receiving");
        let down = on(false, OutputState::Interrupted, "ConnectionRefused");
        let off = sends(false, Phase::WaitingForMaster, OutputState::Waiting, "NoMedia");
        assert_eq!(events(&good, &down), event(EventType::Warning, "ConnectionRefused"));
        assert_eq!(events(&down, &down), []);
        assert_eq!(events(&down, &good), event(EventType::Normal, "Receiving"));
        let told = transitions(Some(&good), &down);
        assert_eq!(told[0].message, "output own: words");
        // A camera that goes off is told once, whatever has hung on it.
        assert_eq!(events(&good, &off), event(EventType::Normal, "WaitingForMaster"));
        assert_eq!(events(&off, &good), event(EventType::Normal, "Streaming"));
        assert_eq!(events(&off, &on(false, OutputState::Connecting, "Connecting")).len(), 1);
        // What Ready says of a required one is enough.
        let good = on(true, OutputState::Receiving, "Receiving");
        let down = on(true, OutputState::Failed, "KeyRefused");
        assert_eq!(events(&good, &down), event(EventType::Warning, "OutputFailed"));
        assert_eq!(events(&down, &good), event(EventType::Normal, "Streaming"));
    }

    #[test]
    fn what_is_created_is_told_once() {
        let created = |channel, stream| {
            let mut status = starting();
            status.channel.as_mut().unwrap().created = channel;
            status.stream.as_mut().unwrap().created = stream;
            status
        };
        let both = transitions(None, &created(true, true));
        assert_eq!(both, [normal(Reason::Created, "arn:c; arn:s")]);
        let channel = created(true, false);
        assert_eq!(events(&starting(), &channel), event(EventType::Normal, "ChannelCreated"));
        assert_eq!(events(&channel, &created(true, true)), event(EventType::Normal, "StreamCreated"));
        assert_eq!(events(&created(true, true), &created(true, true)), []);
    }

    #[test]
    fn the_time_to_ready_is_of_the_first_start() {
        let (created, now) = (at("2026-01-01T00:00:00Z"), at("2026-01-01T00:00:07Z"));
        let ready = |before: Option<&KvsIngestStatus>, after: &KvsIngestStatus| {
            ready_after(before, after, Some(&created), &now)
        };
        assert_eq!(ready(Some(&starting()), &streaming()), Some(Duration::from_secs(7)));
        assert_eq!(ready(None, &streaming()), Some(Duration::from_secs(7)));
        assert_eq!(ready(Some(&starting()), &starting()), None);
        assert_eq!(ready(Some(&streaming()), &streaming()), None);
        assert_eq!(ready(Some(&says(Phase::Failed, "AccessDenied")), &streaming()), None, "it heals");
        assert_eq!(
            ready_after(None, &streaming(), Some(&now), &created),
            Some(Duration::ZERO),
            "clocks differ"
        );
    }
}
