//! `spec.mode: ManagedStorage`: AWS records by itself. The operator maps the channel to the stream, has the agent of before
//! end, and looks after the storage session; and takes the mapping away when the object is not to be recorded any more.

use std::time::Instant;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kvs_ingest_api::{ChannelSpec, KvsIngestStatus, MediaStorageStatus};
use tracing::instrument;

use crate::apply::ApplyError;
use crate::aws::{Mapped, Pair, Recorder};
use crate::conditions::{ConditionStatus, ConditionUpdate, Next};
use crate::ending::{ENDS, end_agent};
use crate::object::{Object, Tick};
use crate::pace::jittered;
use crate::publish::publish_resources;
use crate::reason::Reason;
use crate::recording::Recording;
use crate::report::{AgentView, Observed};

/// Until somebody who left room for others comes back.
const PUT_OFF: std::time::Duration = std::time::Duration::from_secs(1);

/// What came of a pass.
#[derive(Debug, Default)]
pub(crate) struct Pass {
    /// When to look again.
    pub(crate) next: Option<Instant>,
    /// AWS did not answer, and what was known before has to do.
    pub(crate) unanswered: bool,
    /// Nothing is changed yet: an agent of before goes on.
    pub(crate) blocked: bool,
}

/// Did the operator map the channel for this object, and has not taken that back?
pub(crate) fn is_enabled(status: Option<&KvsIngestStatus>) -> bool {
    status.and_then(|status| status.media_storage.as_ref()).is_some_and(|storage| storage.enabled_by_operator)
}

/// Takes back what the operator mapped for this object, and nothing else: AWS does not record it any more.
///
/// # Errors
/// Why AWS goes on.
#[instrument(level = "debug", skip_all)]
pub(crate) async fn release(object: &Object<'_>) -> Result<(), ConditionUpdate> {
    let Some(status) = object.before.as_ref().filter(|status| is_enabled(Some(status))) else {
        return Ok(());
    };
    let Some(storage) = &status.media_storage else { return Ok(()) };
    let channel = storage.channel_arn.parse().map_err(|error: kvs::InvalidId| {
        ConditionUpdate::stalled(Reason::InvalidSpec, format!("status.mediaStorage: {error}"))
    })?;
    if let Err(why) = object.context.aws.unmap(object.subject(), &channel, &storage.stream_arn).await {
        let message = format!(
            "the channel's media storage is to be disabled, and AWS goes on recording until it is: {}",
            why.message
        );
        return Err(ConditionUpdate { message, ..why });
    }
    object.state.lock().recording = None;
    tracing::info!(
        namespace = object.namespace,
        name = object.name,
        "the channel's media storage is disabled"
    );
    Ok(())
}

/// One pass over an object that AWS is to record, `pair`: what is seen is put into `observed`. `asked`: AWS was asked for the
/// rest of it, too, and so for this.
#[instrument(level = "debug", skip_all)]
pub(crate) async fn record(
    object: &Object<'_>,
    pair: &Pair,
    asked: bool,
    observed: &mut Observed,
    now: &Time,
    tick: Tick,
) -> Result<Pass, ApplyError> {
    let mut pass = Pass::default();
    match enable(object, pair, asked, observed, tick).await? {
        Enabled::Yes => {}
        Enabled::Unanswered => pass.unanswered = true,
        Enabled::No(why) => {
            observed.channel_condition = Some(why);
            return Ok(Pass { blocked: true, ..pass });
        }
    }
    if let Some(ending) = end_agent(object, now).await? {
        if let Some(recording) = &mut object.state.lock().recording {
            // What arrives until then is the agent's.
            recording.begin(tick.now);
        }
        observed.workload = Some(match ending.overdue {
            None => ConditionUpdate::waiting(Reason::AgentEnding, format!("{ENDS}, before AWS begins")),
            Some(words) => ConditionUpdate::stalled(Reason::AgentEnding, words),
        });
        pass.next = Some(tick.now + ending.again_in);
        return Ok(pass);
    }
    no_agent(object, observed);
    let mut recording = object.state.lock().recording.take().unwrap_or_default();
    look_after(object, pair, &mut recording, tick).await;
    observed.recording = recording.condition();
    pass.next = recording.next();
    object.state.lock().recording = Some(recording);
    Ok(pass)
}

/// There is none, and there is to be none.
pub(crate) fn no_agent(object: &Object<'_>, observed: &mut Observed) {
    object.state.lock().poller.stop();
    let words = "spec.mode is ManagedStorage: AWS records, and no agent is needed";
    observed.workload = Some(ConditionUpdate::met(Reason::NotUsed, words));
    observed.agent = AgentView::Absent;
}

enum Enabled {
    Yes,
    /// As far as is known: AWS does not answer.
    Unanswered,
    No(ConditionUpdate),
}

/// Maps the channel to the stream where it is not. What somebody else mapped to another stream is left to them, unless the
/// author says that the channel is the object's.
async fn enable(
    object: &Object<'_>,
    pair: &Pair,
    asked: bool,
    observed: &mut Observed,
    tick: Tick,
) -> Result<Enabled, ApplyError> {
    let known = observed.media_storage.clone();
    let of_pair = |enabled_by_operator| MediaStorageStatus {
        channel_arn: pair.channel.as_str().to_owned(),
        stream_arn: pair.stream.as_str().to_owned(),
        enabled_by_operator,
    };
    let is_known = known == Some(of_pair(true)) || known == Some(of_pair(false));
    if is_known && !asked {
        return Ok(Enabled::Yes);
    }
    let aws = &object.context.aws;
    // What the operator mapped on this very channel, to whatever stream there was.
    let own = known
        .as_ref()
        .filter(|known| known.enabled_by_operator && known.channel_arn == pair.channel.as_str());
    let own = own.map(|known| known.stream_arn.as_str());
    let replace = may_replace(&object.ingest.spec.channel, observed);
    let elsewhere = match aws.mapped(object.subject(), pair).await {
        Ok(Mapped::Here) => {
            observed.media_storage = Some(of_pair(own == Some(pair.stream.as_str()) || replace));
            return Ok(Enabled::Yes);
        }
        Ok(Mapped::Nowhere) => false,
        Ok(Mapped::Elsewhere(other)) if replace || own.is_some() && other.as_deref() == own => true,
        Ok(Mapped::Elsewhere(_)) => {
            observed.media_storage = None;
            return Ok(Enabled::No(in_use(&object.ingest.spec.channel, pair)));
        }
        Err(why) if is_known && why.status == ConditionStatus::Unknown => return Ok(Enabled::Unanswered),
        Err(why) => return Ok(Enabled::No(why)),
    };
    // What has to be taken back one day is written down before it is done.
    if known != Some(of_pair(true)) {
        observed.media_storage = Some(of_pair(true));
        publish_resources(object, observed).await?;
    }
    if let Err(why) = aws.map(object.subject(), pair, elsewhere).await {
        return Ok(Enabled::No(why));
    }
    let stream = pair.stream.as_str();
    tracing::info!(
        namespace = object.namespace,
        name = object.name,
        stream,
        "the channel's media storage is enabled"
    );
    object.state.lock().recording.get_or_insert_default().begin(tick.now);
    Ok(Enabled::Yes)
}

/// The word that makes the channel the object's own is said, and it is.
fn may_replace(spec: &ChannelSpec, observed: &Observed) -> bool {
    let created = observed.channel.as_ref().is_some_and(|channel| channel.created);
    let refused = observed.channel_condition.as_ref().is_some_and(|it| it.reason == Reason::AdoptionRefused);
    spec.adopt && created && !refused
}

/// Into which stream is not told: it may be somebody else's.
fn in_use(spec: &ChannelSpec, pair: &Pair) -> ConditionUpdate {
    let or = if spec.adopt { "" } else { "; or say spec.channel.adopt: true, and the operator maps it anew" };
    ConditionUpdate::stalled(
        Reason::MediaStorageInUse,
        format!(
            "the media storage of channel {} is mapped to another stream, not by this operator: disable it with `aws \
             kinesisvideo update-media-storage-configuration --channel-arn {} --media-storage-configuration \
             Status=DISABLED`{or}",
            pair.channel.name(),
            pair.channel
        ),
    )
}

/// A look at what is recorded, if it is time for one, and a call to join the session if that is needed.
async fn look_after(object: &Object<'_>, pair: &Pair, recording: &mut Recording, tick: Tick) {
    let Tick { now, random } = tick;
    if !recording.is_due(now) {
        return;
    }
    let recorder = match object.context.aws.recorder(pair).await {
        Ok(recorder) => recorder,
        Err(why) if why.reason == Reason::AwsBusy => {
            return recording.put_off(now + jittered(PUT_OFF, random));
        }
        Err(why) => return recording.not_looked(why, now, random),
    };
    if recording.queues(|| recorder.turn(), now) {
        return;
    }
    if let Err(why) = look(object, &recorder, recording, tick).await {
        if why.reason == Reason::NotFound {
            object.state.lock().resync.doubt(now, random);
        }
        recording.not_looked(why, now, random);
    }
}

async fn look(
    object: &Object<'_>,
    recorder: &Recorder<'_>,
    recording: &mut Recording,
    Tick { now, random }: Tick,
) -> Result<(), ConditionUpdate> {
    let subject = object.subject();
    if !recording.begins() {
        let evidence = recorder.look(subject, &mut recording.endpoint).await?;
        let joins = recording.looked(evidence, now, random);
        if recording.is_recorded() {
            object.state.lock().resync.trust();
        }
        if !joins {
            return Ok(());
        }
    }
    // Somebody may have disabled it, or mapped it to another stream: then that is in the way, and no master.
    if !recorder.is_mapped(subject).await? {
        object.state.lock().resync.doubt(now, random);
        recording.put_off(now + jittered(PUT_OFF, random));
        return Ok(());
    }
    let joined = recorder.join().await;
    let failed = joined.is_err();
    recording.joined(joined, now, random);
    tracing::info!(namespace = object.namespace, name = object.name, failed, "the storage session is joined");
    Ok(())
}

/// As far as the object that is not to be recorded now is concerned: what is said where an agent would be.
pub(crate) fn not_recorded(object: &Object<'_>, observed: &mut Observed) {
    no_agent(object, observed);
    if object.ingest.spec.suspend {
        let words = match &observed.media_storage {
            // By somebody else.
            Some(_) => {
                "no agent runs; the channel's media storage was enabled by somebody else, and AWS may go on recording"
            }
            None => "no agent runs, and the channel's media storage is not enabled",
        };
        let suspended = ConditionUpdate::waiting(Reason::Suspended, words).with_next(Next::Settled);
        observed.workload = Some(suspended);
    }
}
