//! Sees to it that there is something to write to before media is asked for.

use crate::events::{Event, Events};
use crate::outputs::{Output, Outputs};
use crate::session::{Phase, Reason, View};
use crate::state::State;
use kvs_aws::Backoff;
use rand::Rng;
use std::sync::Arc;
use std::time::Duration;

/// Shortest and longest wait between attempts.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// The driver, which shows that the process is alive, is not there yet.
const BEAT: Duration = Duration::from_secs(1);

/// Until one of the outputs is ready: none waits for another. Those that are not are tried for ever beside that: what is missing
/// can be made, and what is forbidden can be permitted, while the agent runs.
pub async fn prepare(outputs: &Outputs, state: &State, events: &Events) {
    for place in 0..outputs.unprepared() {
        if let Some(output) = outputs.get(place) {
            tokio::spawn(prepare_one(outputs.clone(), place, Arc::clone(output)));
        }
    }
    let starting = View {
        phase: Phase::Starting,
        reason: Reason::Starting,
        message: String::new(),
        signaling: false,
        authenticated: false,
        client_id: String::new(),
    };
    while outputs.ready().is_empty() {
        if let Some(view) = outputs.not_ready(&starting)
            && let Some(before) = state.set_view(view.clone())
        {
            events.emit(Event::Transition { from: before, to: view });
        }
        state.beat();
        let _ = tokio::time::timeout(BEAT, outputs.readiness_changed()).await;
    }
}

async fn prepare_one(outputs: Outputs, place: usize, output: Arc<dyn Output>) {
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    while let Err(not_ready) = output.prepare().await {
        outputs.set_ready(place, Err(not_ready));
        let wait = RETRY.0 / 2 + backoff.next_delay(rand::rng().random_range(0.0..=1.0));
        tokio::time::sleep(wait).await;
    }
    outputs.set_ready(place, Ok(()));
}
