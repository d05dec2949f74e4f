//! Permit: may its author have what the object asks for? One that may not has no agent, and no claim on a stream.

use kvs_ingest_api::KvsIngest;

use crate::apply::ApplyError;
use crate::object::Object;
use crate::tenancy::{Verdict, forbidden_by_release, is_beyond};

/// What the release and the policies of the cluster say.
pub(crate) fn permit(object: &Object<'_>) -> Verdict {
    let (context, ingest) = (object.context, object.ingest);
    let settings = &context.settings;
    let by_release =
        forbidden_by_release(&settings.tenancy, &settings.agents.image, &settings.cluster, ingest);
    let by_policies = context.policies.verdict(ingest, |most| is_too_young(object, ingest, most));
    if by_release.is_empty() {
        return by_policies;
    }
    let mut all: Vec<_> = by_release.iter().map(ToString::to_string).collect();
    if let Verdict::Refused(more) = by_policies {
        all.push(more);
    }
    Verdict::Refused(all.join("; "))
}

fn is_too_young(object: &Object<'_>, ingest: &KvsIngest, most: u32) -> bool {
    let objects = object.caches.objects.state();
    is_beyond(objects.iter().map(|object| &object.metadata), &ingest.metadata, most)
}

/// The agent of an object that is not permitted ends, also one that ran before the policy came: what it may not have it must
/// not go on having. It stores its last fragment first, as always. Its Deployment goes as a whole, because what is not
/// permitted stands in it.
pub(crate) async fn withdraw(object: &Object<'_>) -> Result<(), ApplyError> {
    let context = object.context;
    for owners in [&context.owners, &context.channel_users] {
        for other in owners.release(&object.uid) {
            context.wake_up(&other);
        }
    }
    let deployment = object.deployment.as_deref().filter(|found| found.is_of(&object.uid));
    match deployment.filter(|found| found.metadata.deletion_timestamp.is_none()) {
        Some(deployment) => context.applier.delete_deployment(deployment).await,
        None => Ok(()),
    }
}
