//! Sees to it that the stream is there before media is asked for.

use crate::events::{Event, Events};
use crate::failure;
use crate::session::{Phase, View};
use crate::settings::Settings;
use crate::state::State;
use kvs::{ControlPlane, StreamId, StreamName};
use kvs_aws::{Backoff, ErrorClass};
use rand::Rng;
use std::time::Duration;

/// Shortest and longest wait between attempts.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The name of the stream, once it exists; created when the settings say so. Tries for ever: what
/// is missing can be made, and what is forbidden can be permitted, while the agent runs.
pub async fn stream(
    settings: &Settings,
    control: &ControlPlane,
    state: &State,
    events: &Events,
) -> StreamName {
    if let Some(name) = &settings.stream_name {
        return name.clone();
    }
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    loop {
        let error = match attempt(settings, control).await {
            Ok(name) => return name,
            Err(error) => error,
        };
        let missing = error.class == ErrorClass::NotFound;
        let failed = failure::call(&error);
        let (reason, message) = if missing {
            let remedy = match &settings.stream {
                StreamId::Name(name) => format!(
                    "create it with `aws kinesisvideo create-stream --stream-name {name} \
                     --data-retention-in-hours 24`, or set spec.stream.createIfMissing: true"
                ),
                StreamId::Arn(_) => "correct the ARN".to_owned(),
            };
            ("StreamNotFound", format!("{} does not exist in {}: {remedy}", settings.stream, settings.region))
        } else {
            (failed.kind.reason(), failed.message)
        };
        let view = View {
            phase: if missing || failed.kind.needs_a_person() { Phase::Failed } else { Phase::Starting },
            reason,
            message,
            signaling: false,
            authenticated: missing,
            client_id: String::new(),
        };
        if let Some(before) = state.set_view(view.clone()) {
            events.emit(Event::Transition { from: before, to: view });
        }
        let wait = RETRY.0 / 2 + backoff.next_delay(rand::rng().random_range(0.0..=1.0));
        // The driver is not there yet to show that the process is alive.
        let mut left = wait;
        while !left.is_zero() {
            let slice = left.min(Duration::from_secs(1));
            tokio::time::sleep(slice).await;
            state.beat();
            left -= slice;
        }
    }
}

async fn attempt(settings: &Settings, control: &ControlPlane) -> Result<StreamName, kvs::Error> {
    let create = settings.create_stream.as_ref();
    let info = control.find_or_create_stream(&settings.stream, create).await?.info;
    if info.retention_hours == 0 {
        tracing::warn!(
            stream = info.name,
            "the stream has a retention of 0 hours: fragments are never persisted"
        );
    }
    info.name.parse().map_err(|error: kvs::InvalidId| kvs::Error {
        operation: "DescribeStream",
        resource: settings.stream.to_string(),
        class: ErrorClass::Service,
        message: error.to_string(),
        request_id: None,
    })
}
