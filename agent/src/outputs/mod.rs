//! Where the media goes.
//!
//! A kind of output is one folder here, which implements [`Output`], and one variant of [`OutputConfig`]. Nothing else
//! of the agent knows the kinds: pipelines, session, `/status` and `/metrics` ask [`Outputs`].

mod config;
mod delivery;
pub mod kvssink;
mod output;
pub mod rtmp;
mod set;

pub use crate::elements::PipelineError;
pub use config::OutputConfig;
pub use delivery::{Delivery, Obstacle, Words};
pub use output::{Inlets, NotReady, Output};
pub use set::Outputs;
