//! RTMP servers that nobody here wrote, and what they received.

mod address;
pub mod flv;
pub mod follow;
pub mod nginx;
pub mod node;
pub mod received;
pub mod tls;
mod tools;

use std::path::PathBuf;

use anyhow::Result;

/// A server that writes down what it receives.
pub trait Recorder {
    /// FLV files, one for each broadcast, in their order. The last one may be growing.
    fn received(&self) -> Result<Vec<PathBuf>>;

    /// What it says of itself.
    fn log(&self) -> String;
}
