//! The kinds of output.

use super::kvssink::{self, Kvssink};
use super::output::Output;
use super::rtmp::{self, Rtmp};
use super::set::Outputs;
use kvs_aws::AwsContext;
use std::sync::Arc;

/// An output as it was asked for.
#[derive(Clone, Debug)]
pub enum OutputConfig {
    /// A KVS stream.
    Kvssink(kvssink::Settings),
    /// A live broadcast.
    Rtmp(rtmp::Settings),
}

impl OutputConfig {
    /// The outputs; nothing is sent before [`Output::prepare`].
    ///
    /// # Errors
    ///
    /// What one is made of is not installed, or cannot do what is asked.
    pub fn open(all: impl IntoIterator<Item = Self>, aws: &AwsContext) -> anyhow::Result<Outputs> {
        let broadcasts = Arc::default();
        let open = |config| -> anyhow::Result<Arc<dyn Output>> {
            Ok(match config {
                Self::Kvssink(settings) => Arc::new(Kvssink::new(settings, aws)?),
                Self::Rtmp(settings) => Arc::new(Rtmp::new(settings, aws, &broadcasts)?),
            })
        };
        all.into_iter().map(open).collect()
    }
}
