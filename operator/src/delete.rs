//! Delete: first the agent, which must not write to what is deleted, then what was created in AWS.

use std::time::Duration;

use kube::runtime::controller::Action;
use kvs_ingest_api::{DeletionPolicy, KvsIngestStatus};
use tracing::instrument;

use crate::apply::ApplyError;
use crate::conditions::ConditionUpdate;
use crate::events::{EventType, Notice};
use crate::object::Object;

/// Between looks at an agent that ends: its end is an event of the watch, too.
const ENDING: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error("what was created in AWS cannot be deleted yet: {0}")]
    Aws(String),
}

#[instrument(level = "debug", skip_all)]
pub(crate) async fn delete(object: &Object<'_>) -> Result<Action, DeleteError> {
    if !object.has_finalizer() {
        return Ok(Action::await_change());
    }
    let applier = &object.context.applier;
    if object.ingest.spec.deletion_policy == DeletionPolicy::Delete {
        let deployment = object.deployment.as_deref();
        if let Some(deployment) = deployment.filter(|found| found.belongs_to(&object.uid)) {
            if deployment.metadata.deletion_timestamp.is_none() {
                applier.delete_deployment(deployment).await?;
            }
            return Ok(Action::requeue(ENDING));
        }
        let empty = KvsIngestStatus::default();
        let status = object.before.as_ref().unwrap_or(&empty);
        let (channel, stream) = (status.channel.as_ref(), status.stream.as_ref());
        let deleted = object.context.aws.delete_created(object.subject(), channel, stream).await;
        if let Err(ConditionUpdate { reason, message, .. }) = deleted {
            let hint = "set spec.deletionPolicy: Retain to let it go without";
            let notice = Notice { kind: EventType::Warning, reason, message: format!("{message}; {hint}") };
            object.context.events.record(object.ingest, &notice);
            return Err(DeleteError::Aws(message));
        }
    }
    match applier.set_finalizer(object.ingest, false).await {
        Err(error) if error.is_gone() => {}
        done => done?,
    }
    Ok(Action::await_change())
}
