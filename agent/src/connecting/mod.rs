//! The way from nothing to a stored fragment, step by step: how far each attempt got, and how long each step took.

mod step;
mod time_line;

pub use step::Step;
pub use time_line::Taken;

use crate::events::{Event, Events};
use crate::session::Failure;
use kvs_ingest_api::ConnectingStatus;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Instant, SystemTime};
use time_line::{Attempt, Ended, TimeLine};

/// The time line of this process, which driver and media tasks write and `/status` shows.
#[derive(Debug, Default)]
pub struct Connecting {
    line: Mutex<TimeLine>,
    events: Arc<Events>,
}

impl Connecting {
    /// One that tells `events` of each step.
    pub fn new(events: Arc<Events>) -> Self {
        Self { line: Mutex::default(), events }
    }

    /// Something is begun for the next connection, as this viewer; goes on with the attempt that is under way.
    pub fn begin(&self, client_id: &str) {
        self.line.lock().begin(client_id, Instant::now(), SystemTime::now());
    }

    /// A peer connection of the attempt that is under way is being made.
    pub fn peer(&self, generation: u64) {
        self.line.lock().peer(generation);
    }

    /// An offer of this connection goes out.
    pub fn offered(&self, generation: u64) {
        self.line.lock().offered(generation, Instant::now());
    }

    /// A call, or the opening of the signaling socket, is over: makes it known whatever it was for.
    pub async fn call<T, E>(&self, step: Step, call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let began = Instant::now();
        let result = call.await;
        let took = began.elapsed();
        self.events.emit(Event::CallEnded { step, took, failed: result.is_err() });
        let taken = result.is_ok().then(|| self.line.lock().called(step, took, Instant::now())).flatten();
        if let Some(taken) = taken {
            self.events.emit(Event::Step(taken));
        }
        result
    }

    /// A step of the connection of this generation was taken at `at`.
    pub fn step(&self, generation: u64, step: Step, at: Instant) {
        let taken = self.line.lock().step(generation, step, at);
        if let Some(taken) = taken {
            self.events.emit(Event::Step(taken));
        }
    }

    /// The connection of this generation is over, or will not be; with the failure, if it is one.
    pub fn ended(&self, generation: u64, failure: Option<&Failure>) {
        self.line.lock().ended(generation, ended(failure), Instant::now());
    }

    /// The channel could not be joined for the attempt that is under way.
    pub fn not_joined(&self, failure: &Failure) {
        self.line.lock().not_joined(ended(Some(failure)), Instant::now());
    }

    /// As `/status` shows it.
    pub fn status(&self) -> ConnectingStatus {
        let line = self.line.lock();
        ConnectingStatus {
            current: line.current().map(Attempt::status),
            last: line.last().map(Attempt::status),
        }
    }
}

fn ended(failure: Option<&Failure>) -> Ended {
    match failure {
        Some(failure) => Ended::Failed { reason: failure.kind.reason(), message: failure.message.clone() },
        None => Ended::Closed,
    }
}
