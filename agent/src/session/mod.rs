//! When to connect, to offer, to offer again, to give up and to begin anew: one pure state machine.
//!
//! It has no clock, no socket and no task. The shell feeds it [`Input`]s and carries out the
//! [`Action`]s; between inputs it calls [`Session::handle`] with [`Input::Tick`] at
//! [`Session::poll_timeout`].

mod action;
mod answer;
mod failure;
mod ids;
mod input;
mod leaving;
mod machine;
mod patience;
mod reason;
#[cfg(test)]
mod tests;
mod timing;
mod view;

pub use action::Action;
pub use failure::{Failure, FailureKind};
pub use input::Input;
pub use kvs_ingest_api::Phase;
pub use machine::Session;
pub use reason::Reason;
pub use timing::Timing;
pub use view::{Missing, View};
