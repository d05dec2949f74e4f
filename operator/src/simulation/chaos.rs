//! What goes wrong, and when: the same for a seed each time.

use std::sync::Arc;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::Notify;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Done,
    /// It fails, and nothing happened.
    Refused,
    /// It fails, and has happened.
    AnswerLost,
    /// The operator ends before it is sent.
    KilledBefore,
    /// The operator ends before it is answered.
    KilledAfter,
}

/// Shared by everything that can fail.
#[derive(Clone)]
pub(super) struct Chaos {
    state: Arc<Mutex<State>>,
    kill: Arc<Notify>,
}

struct State {
    random: StdRng,
    /// Share of the requests to AWS that fail.
    aws: f64,
    /// Share of the requests to the API server that fail.
    api_server: f64,
    writes: Vec<String>,
    /// The operator ends at this write from now.
    kill_at: Option<(usize, Fate)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Aws,
    ApiServer,
}

impl Chaos {
    pub(super) fn new(seed: u64) -> Self {
        let state = State {
            random: StdRng::seed_from_u64(seed),
            aws: 0.0,
            api_server: 0.0,
            writes: Vec::new(),
            kill_at: None,
        };
        Self { state: Arc::new(Mutex::new(state)), kill: Arc::default() }
    }

    pub(super) fn fail(&self, aws: f64, api_server: f64) {
        let mut state = self.state.lock();
        (state.aws, state.api_server) = (aws, api_server);
    }

    /// The operator ends at the write of this number, from 1.
    pub(super) fn kill_at(&self, write: usize, fate: Fate) {
        self.state.lock().kill_at = Some((write, fate));
    }

    /// Whoever was to be killed has not come so far.
    pub(super) fn is_to_kill(&self) -> bool {
        self.state.lock().kill_at.is_some()
    }

    /// Comes back when the operator has to end.
    pub(super) async fn killed(&self) {
        self.kill.notified().await;
    }

    pub(super) fn writes(&self) -> Vec<String> {
        self.state.lock().writes.clone()
    }

    pub(super) fn read(&self, side: Side) -> Fate {
        let mut state = self.state.lock();
        let share = if side == Side::Aws { state.aws } else { state.api_server };
        if state.random.random_bool(share) { Fate::Refused } else { Fate::Done }
    }

    pub(super) fn write(&self, side: Side, what: String) -> Fate {
        let mut state = self.state.lock();
        state.writes.push(what);
        if let Some((left, fate)) = &mut state.kill_at {
            *left -= 1;
            if *left == 0 {
                let fate = *fate;
                state.kill_at = None;
                self.kill.notify_one();
                return fate;
            }
        }
        let share = if side == Side::Aws { state.aws } else { state.api_server };
        match (state.random.random_bool(share), state.random.random_bool(0.5)) {
            (false, _) => Fate::Done,
            (true, false) => Fate::Refused,
            (true, true) => Fate::AnswerLost,
        }
    }

    pub(super) fn pick<T: Copy>(&self, from: &[T]) -> T {
        let index = self.state.lock().random.random_range(0..from.len());
        from[index]
    }

    pub(super) fn chance(&self, share: f64) -> bool {
        self.state.lock().random.random_bool(share)
    }
}
