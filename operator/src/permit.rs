//! Permit: may its author have what the object asks for? One that may not has no agent, and no claim on a stream.

use kvs_ingest_api::MediaStorageStatus;

use crate::apply::ApplyError;
use crate::conditions::ConditionUpdate;
use crate::managed::release;
use crate::object::Object;
use crate::reason::Reason;
use crate::tenancy::{Verdict, forbidden_by_release};

/// What the release and the policies of the cluster say.
pub(crate) fn permit(object: &Object<'_>) -> Verdict {
    let (context, ingest) = (object.context, object.ingest);
    let settings = &context.settings;
    let by_release =
        forbidden_by_release(&settings.tenancy, &settings.agents.image, &settings.cluster, ingest);
    let is_beyond = |most| context.is_beyond(object.caches, &ingest.metadata, most);
    let by_policies = context.policies.verdict(ingest, is_beyond);
    if by_release.is_empty() {
        return by_policies;
    }
    let mut all: Vec<_> = by_release.iter().map(ToString::to_string).collect();
    if let Verdict::Refused(more) = by_policies {
        all.push(more);
    }
    Verdict::Refused(all.join("; "))
}

/// What became of who recorded.
pub(crate) struct Withdrawn {
    pub(crate) agent: ConditionUpdate,
    pub(crate) failure: Option<ApplyError>,
    /// What AWS goes on with.
    pub(crate) media_storage: Option<MediaStorageStatus>,
}

/// The agent of an object that is not permitted ends, also one that ran before the policy came: what it may not have it must
/// not go on having; so does AWS's own recording. It stores its last fragment first, as always. Its Deployment goes as a whole, because what is not
/// permitted stands in it. Its stream is another's when it is gone, which is an event of the watch.
pub(crate) async fn withdraw(object: &Object<'_>) -> Withdrawn {
    let stalled = |words: &str| ConditionUpdate::stalled(Reason::NotPermitted, words);
    let recorded = release(object).await;
    let media_storage = match &recorded {
        Ok(()) => None,
        Err(_) => object.before.as_ref().and_then(|status| status.media_storage.clone()),
    };
    let withdrawn = |words: &str, failure| Withdrawn { agent: stalled(words), failure, media_storage };
    let deployment = object.deployment.as_deref().filter(|found| found.is_of(&object.uid));
    if let Some(running) = deployment.filter(|found| found.metadata.deletion_timestamp.is_none()) {
        if let Err(error) = object.context.applier.delete_deployment(running).await {
            let words = format!("the agent of what is not permitted cannot be ended: {error}");
            return withdrawn(&words, Some(error));
        }
        object.state.lock().applied = None;
    }
    if object.has_agent() {
        return withdrawn("the agent of what is not permitted ends", None);
    }
    if let Err(why) = recorded {
        return withdrawn(&why.message, None);
    }
    object.release_claims();
    withdrawn("no agent runs for what is not permitted", None)
}
