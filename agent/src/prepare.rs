//! Sees to it that there is something to write to before media is asked for.

use crate::events::{Event, Events};
use crate::outputs::{NotReady, Output, Outputs};
use crate::session::View;
use crate::state::State;
use kvs_aws::Backoff;
use rand::Rng;
use std::time::Duration;

/// Shortest and longest wait between attempts.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Until every output is ready. Tries for ever: what is missing can be made, and what is forbidden can be permitted, while
/// the agent runs.
pub async fn prepare(outputs: &Outputs, state: &State, events: &Events) {
    for output in outputs.iter() {
        prepare_one(output, state, events).await;
    }
}

async fn prepare_one(output: &dyn Output, state: &State, events: &Events) {
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    while let Err(NotReady { phase, reason, message, authenticated }) = output.prepare().await {
        let view = View { phase, reason, message, signaling: false, authenticated, client_id: String::new() };
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
