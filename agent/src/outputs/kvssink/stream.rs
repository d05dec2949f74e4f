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
    let error = match control.find_or_create_stream(&settings.stream, settings.create.as_ref()).await {
        Ok(found) => {
            if found.info.retention_hours == 0 {
                tracing::warn!(
                    stream = found.info.name,
                    "the stream has a retention of 0 hours: fragments are never persisted"
                );
            }
            return Ok(());
        }
        Err(error) => error,
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
