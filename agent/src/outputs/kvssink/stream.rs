//! Sees to it that the stream is there.

use super::settings::Settings;
use crate::failure;
use crate::outputs::output::NotReady;
use crate::session::{Phase, Reason};
use kvs::{ControlPlane, StreamId};
use kvs_aws::ErrorClass;

/// The stream exists afterwards; created when the settings say so.
///
/// # Errors
///
/// What is in the way, with the remedy.
pub(super) async fn ensure(settings: &Settings, control: &ControlPlane) -> Result<(), NotReady> {
    if settings.resolved.is_some() {
        return Ok(());
    }
    let Err(error) = find_or_create(settings, control).await else {
        return Ok(());
    };
    if error.class == ErrorClass::NotFound {
        let remedy = match &settings.stream {
            StreamId::Name(name) => format!(
                "create it with `aws kinesisvideo create-stream --stream-name {name} \
                 --data-retention-in-hours 24`, or set spec.stream.createIfMissing: true"
            ),
            StreamId::Arn(_) => "correct the ARN".to_owned(),
        };
        return Err(NotReady {
            phase: Phase::Failed,
            reason: Reason::Output("StreamNotFound"),
            message: format!("{} does not exist in {}: {remedy}", settings.stream, settings.region),
            authenticated: true,
        });
    }
    let failed = failure::call(&error);
    Err(NotReady {
        phase: if failed.kind.needs_a_person() { Phase::Failed } else { Phase::Starting },
        reason: Reason::Failure(failed.kind),
        message: failed.message,
        authenticated: false,
    })
}

async fn find_or_create(settings: &Settings, control: &ControlPlane) -> Result<(), kvs::Error> {
    let info = match (control.describe_stream(&settings.stream).await, &settings.stream) {
        (Err(error), StreamId::Name(name)) if error.class == ErrorClass::NotFound => match &settings.create {
            Some(new) => {
                let hours = new.retention_hours;
                tracing::info!(stream = name.as_str(), hours, "the stream is missing and created");
                control.create_stream(name, new).await?
            }
            None => return Err(error),
        },
        (result, _) => result?,
    };
    if info.retention_hours == 0 {
        tracing::warn!(
            stream = info.name,
            "the stream has a retention of 0 hours: fragments are never persisted"
        );
    }
    Ok(())
}
