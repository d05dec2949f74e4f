//! Publish: a new status is written, if it is new, and what it is worth an event for is said.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kvs_ingest_api::KvsIngestStatus;
use tokio::time::Instant;

use crate::apply::ApplyError;
use crate::object::Object;
use crate::report::Observed;
use crate::transitions::{ready_after, transitions};

/// Writes down which channel and stream there are, and leaves everything else for the end of the reconcile.
pub(crate) async fn publish_resources(object: &Object<'_>, observed: &Observed) -> Result<(), ApplyError> {
    let mut status = object.before.clone().unwrap_or_default();
    status.channel.clone_from(&observed.channel);
    status.stream.clone_from(&observed.stream);
    status.media_storage.clone_from(&observed.media_storage);
    object.context.applier.apply_status(object.cached, &status).await?;
    object.state.lock().record_status(status, Instant::now().into_std());
    Ok(())
}

pub(crate) async fn publish(
    object: &Object<'_>,
    after: KvsIngestStatus,
    now: &Time,
) -> Result<(), ApplyError> {
    let context = object.context;
    let before = object.before.as_ref();
    object.state.lock().record_ready(&after);
    if before == Some(&after) {
        return Ok(());
    }
    context.applier.apply_status(object.cached, &after).await?;
    object.state.lock().record_status(after.clone(), Instant::now().into_std());
    for notice in transitions(before, &after) {
        context.events.record(object.ingest, &notice);
    }
    let created = object.ingest.metadata.creation_timestamp.as_ref();
    if let Some(after) = ready_after(before, &after, created, now) {
        context.metrics.ready_after(after.as_secs_f64());
    }
    Ok(())
}
