//! The kinds of output.

use super::kvssink::{self, Kvssink};
use super::output::Output;
use kvs_aws::AwsContext;
use std::sync::Arc;

/// An output as it was asked for.
#[derive(Clone, Debug)]
pub enum OutputConfig {
    /// A KVS stream.
    Kvssink(kvssink::Settings),
}

impl OutputConfig {
    /// The output; nothing is sent before [`Output::prepare`].
    ///
    /// # Errors
    ///
    /// What it is made of is not installed, or cannot do what is asked.
    pub fn open(self, aws: &AwsContext) -> anyhow::Result<Arc<dyn Output>> {
        Ok(match self {
            Self::Kvssink(settings) => Arc::new(Kvssink::new(settings, aws)?),
        })
    }
}
