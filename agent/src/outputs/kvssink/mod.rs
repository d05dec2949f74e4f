//! A KVS stream, through the GStreamer element `kvssink`: ours, which is linked in, or the C++ one of the AWS producer
//! SDK.

mod builtin;
mod figures;
mod listener;
mod plugin;
mod predecessor;
mod settings;
mod stream;

pub use settings::{Origin, Settings};

use super::delivery::{Delivery, Words};
use super::output::{Inlets, NotReady, Output};
use crate::elements::{PipelineError, request_pad};
use crate::tracks::Tracks;
use async_trait::async_trait;
use builtin::Builtin;
use figures::StreamFigures;
use kvs::ControlPlane;
use kvs_aws::AwsContext;
use kvs_ingest_api::AgentStatus;
use plugin::Plugin;
use prometheus_client::encoding::DescriptorEncoder;
use std::sync::Arc;

const WORDS: Words = Words {
    interrupted: "StorageInterrupted",
    refused: "StorageRefused",
    missing: "StreamNotFound",
    receiver: "KVS",
};

/// Stores in a KVS stream.
pub struct Kvssink {
    settings: Settings,
    control: ControlPlane,
    delivery: Arc<Delivery>,
    element: Element,
}

enum Element {
    Builtin(Builtin),
    Plugin(Plugin),
}

impl Kvssink {
    /// An output of `settings`.
    ///
    /// # Errors
    ///
    /// The element is not installed or not able, or GStreamer refuses ours.
    pub fn new(settings: Settings, aws: &AwsContext) -> anyhow::Result<Self> {
        let delivery = Arc::new(match settings.origin {
            Origin::Builtin => Delivery::watched(WORDS),
            // It tells nothing of acknowledgements.
            Origin::Plugin => Delivery::new(WORDS),
        });
        let element = match settings.origin {
            Origin::Builtin => Element::Builtin(Builtin::new(aws.clone(), Arc::clone(&delivery))?),
            Origin::Plugin if settings.spool.is_some() => {
                anyhow::bail!("spec.buffering.spool: the kvssink of the AWS producer SDK has no spool")
            }
            Origin::Plugin => Element::Plugin(Plugin::new(aws.clone())?),
        };
        Ok(Self { settings, control: ControlPlane::new(aws), delivery, element })
    }

    fn figures(&self) -> StreamFigures {
        match &self.element {
            Element::Builtin(builtin) => builtin.figures(),
            // It tells nothing of acknowledgements.
            Element::Plugin(_) => StreamFigures::default(),
        }
    }
}

#[async_trait]
impl Output for Kvssink {
    async fn prepare(&self) -> Result<(), NotReady> {
        stream::ensure(&self.settings, &self.control).await?;
        if let Element::Plugin(plugin) = &self.element {
            plugin.keep_credentials_fresh();
        }
        Ok(())
    }

    fn attach(&self, pipeline: &gst::Pipeline, tracks: Tracks) -> Result<Inlets, PipelineError> {
        let sink = match &self.element {
            Element::Builtin(builtin) => builtin.attach(pipeline, &self.settings)?,
            Element::Plugin(plugin) => plugin.attach(pipeline, &self.settings)?,
        };
        let pad = |wanted: bool, template| wanted.then(|| request_pad(&sink, template)).transpose();
        Ok(Inlets {
            video: pad(tracks.video.is_some(), "video_%u")?,
            audio: pad(tracks.audio.is_some(), "audio_%u")?,
        })
    }

    fn replace_on_new_format(&self) -> bool {
        // The C++ element takes the codec data once for each track.
        matches!(self.element, Element::Plugin(_))
    }

    fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    fn describe(&self, status: &mut AgentStatus) {
        status.stream = Some(self.settings.stream_name().to_owned());
        status.kvs = self.figures().status();
    }

    fn encode_metrics(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        self.figures().encode(encoder)
    }
}
