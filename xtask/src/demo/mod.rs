//! `cargo xtask demo`: the main job on one machine. KVS on localhost, a browser as master, the agent as viewer, and
//! the fragments that arrive in the stream.

mod browser;
mod cluster;
mod local;
mod local_kvs;
mod options;
mod progress;
mod rtmp;
mod state;
mod summary;

use std::process::ExitCode;

use anyhow::Result;

pub use self::local_kvs::{LocalKvs, REGION};
pub use self::options::Options;

pub fn run(options: &Options) -> Result<ExitCode> {
    match options.cluster {
        true => cluster::run(options),
        false => local::run(options),
    }
}
