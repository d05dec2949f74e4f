//! The end of an agent whose object is to have none: its Deployment goes as a whole, and it has ended when that is gone.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use crate::apply::ApplyError;
use crate::object::Object;
use crate::workload::DeploymentLite;

/// What is to be said of it.
pub(crate) const ENDS: &str = "the agent brings its last fragment to its end";
/// Between looks at an agent that ends: its end is an event of the watch, too.
const ENDING: Duration = Duration::from_secs(10);
/// Until the cache shows what was written a moment ago.
const CACHE_LAG: Duration = Duration::from_secs(1);
/// An agent that has not ended so long after its grace period does not end by itself.
const OVERDUE: Duration = Duration::from_secs(60);

/// An agent that has not ended yet.
pub(crate) struct Ending {
    /// It does not end by itself: what a person can do.
    pub(crate) overdue: Option<String>,
    /// When to look again.
    pub(crate) again_in: Duration,
}

/// `None`: there is no agent.
pub(crate) async fn end_agent(object: &Object<'_>, now: &Time) -> Result<Option<Ending>, ApplyError> {
    let deployment = object.deployment.as_deref();
    let Some(deployment) = deployment.filter(|found| found.is_of(&object.uid)) else {
        return Ok(object.has_agent().then_some(Ending { overdue: None, again_in: CACHE_LAG }));
    };
    if deployment.metadata.deletion_timestamp.is_none() {
        object.context.applier.delete_deployment(deployment).await?;
        object.state.lock().applied = None;
    }
    let grace = object.ingest.spec.termination_grace_period_seconds.unwrap_or(30);
    let overdue = is_overdue(deployment, Duration::from_secs(grace.into()) + OVERDUE, now).then(|| {
        format!(
            "the agent does not end: look at the pods of Deployment {} and at their node, and delete them by force when that \
             is gone",
            deployment.name_any()
        )
    });
    Ok(Some(Ending { overdue, again_in: ENDING }))
}

fn is_overdue(deployment: &DeploymentLite, after: Duration, now: &Time) -> bool {
    let since =
        deployment.metadata.deletion_timestamp.as_ref().map(|at| now.0.as_second() - at.0.as_second());
    since.and_then(|seconds| u64::try_from(seconds).ok()).is_some_and(|seconds| seconds > after.as_secs())
}
