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
        signaling_since: None,
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;
    use crate::outputs::{Delivery, Inlets, NotReady, PipelineError, Words};
    use crate::tracks::Tracks;
    use async_trait::async_trait;
    use kvs_ingest_api::AgentStatus;
    use prometheus_client::encoding::DescriptorEncoder;
    use std::sync::atomic::{AtomicBool, Ordering};
    use tokio::sync::Barrier;

    struct Fake {
        is_there: AtomicBool,
        delivery: Delivery,
        /// The end of each waits for that of another.
        end: Arc<Barrier>,
    }

    fn fake(is_there: bool) -> Arc<Fake> {
        let words = Words { interrupted: "I", refused: "R", missing: "M", receiver: "it" };
        let end = Arc::new(Barrier::new(2));
        Arc::new(Fake { is_there: AtomicBool::new(is_there), delivery: Delivery::new(words), end })
    }

    #[async_trait]
    impl Output for Fake {
        async fn prepare(&self) -> Result<(), NotReady> {
            if self.is_there.load(Ordering::SeqCst) {
                return Ok(());
            }
            let message = "make it".to_owned();
            let (phase, reason) = (Phase::Failed, Reason::Output("NotThere"));
            Err(NotReady { phase, reason, message, authenticated: true })
        }

        fn attach(&self, _: &gst::Pipeline, _: Tracks) -> Result<Inlets, PipelineError> {
            Ok(Inlets::default())
        }

        fn delivery(&self) -> &Delivery {
            &self.delivery
        }

        fn describe(&self, _: &mut AgentStatus) {}

        fn encode_metrics(&self, _: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
            Ok(())
        }

        async fn finish(&self) {
            self.end.wait().await;
        }
    }

    fn outputs(all: &[&Arc<Fake>]) -> Outputs {
        all.iter().map(|fake| Arc::clone(fake) as Arc<dyn Output>).collect()
    }

    /// Until it is so: the next attempt is at most a second and a half away.
    async fn until(outputs: &Outputs, is_so: impl Fn() -> bool) {
        let waits = async {
            while !is_so() {
                let _ = tokio::time::timeout(BEAT, outputs.readiness_changed()).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), waits).await.unwrap();
    }

    #[tokio::test]
    async fn one_that_is_not_ready_is_told_and_keeps_nobody_waiting() {
        let (missing, there) = (fake(false), fake(true));
        let outputs = outputs(&[&missing, &there]);
        prepare(&outputs, &State::default(), &Events::default()).await;
        assert_eq!(outputs.ready(), [1]);
        let view = || outputs.view(View::streaming(), std::time::Instant::now());
        until(&outputs, || view().phase == Phase::Failed).await;
        assert_eq!((view().reason.as_str(), view().message.as_str()), ("NotThere", "make it"));
        missing.is_there.store(true, Ordering::SeqCst);
        until(&outputs, || outputs.ready() == [0, 1]).await;
        assert_eq!(view(), View::streaming());
    }

    #[tokio::test]
    async fn the_end_of_one_does_not_wait_for_that_of_another() {
        let one = fake(true);
        // Each of them waits for the other, which is the same.
        tokio::time::timeout(Duration::from_secs(30), outputs(&[&one, &one]).finish()).await.unwrap();
    }

    #[tokio::test]
    async fn where_none_is_ready_media_is_not_asked_for_and_the_state_says_why() {
        let (missing, state) = (fake(false), State::default());
        let (outputs, events) = (outputs(&[&missing]), Events::default());
        let preparing = prepare(&outputs, &state, &events);
        let noticing = async {
            while state.snapshot().view.reason.as_str() != "NotThere" {
                tokio::task::yield_now().await;
            }
            missing.is_there.store(true, Ordering::SeqCst);
        };
        let both = async { tokio::join!(preparing, noticing) };
        tokio::time::timeout(Duration::from_secs(30), both).await.unwrap();
        assert_eq!(outputs.ready(), [0]);
    }
}
