//! A live broadcast to an RTMP server, beside a recording or without one.
//!
//! ```text
//! appsink, one for each track ─► queue (kvs_rtmp::Live) ─► connection, a task of its own
//! ```
//!
//! The queue and the connection outlive the pipelines, which are replaced: a broadcast goes on.

mod connection;
mod failure;
mod inlet;
mod left_out;
mod metrics;
mod settings;
mod shared;
mod standing;

pub use metrics::Group;
pub use settings::Settings;

use super::delivery::{Delivery, Words};
use super::output::{Inlets, NotReady, Output};
use crate::elements::{APPSINK, PipelineError};
use crate::tracks::Tracks;
use async_trait::async_trait;
use kvs_aws::AwsContext;
use kvs_ingest_api::{AgentStatus, OutputStatus};
use metrics::Latency;
use parking_lot::Mutex;
use prometheus_client::encoding::DescriptorEncoder;
use shared::Shared;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Nothing is ever reported under them: what is in the way of a live broadcast is in no other output's way, and has its own
/// part of `/status`.
const WORDS: Words = Words {
    interrupted: "OutputInterrupted",
    refused: "OutputRefused",
    missing: "OutputMissing",
    receiver: "the RTMP server",
};

/// The end of a broadcast has so long.
const GOODBYE: Duration = Duration::from_secs(2);

/// Publishes to an RTMP server.
pub struct Rtmp {
    shared: Arc<Shared>,
    context: AwsContext,
    delivery: Delivery,
    group: Arc<Group>,
    /// It writes the metrics of the group.
    writes: bool,
    latency: Latency,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Rtmp {
    /// An output of `settings`, among those of `group`.
    ///
    /// # Errors
    ///
    /// GStreamer's `appsink` is not installed.
    pub fn new(settings: Settings, context: &AwsContext, group: &Arc<Group>) -> anyhow::Result<Self> {
        APPSINK.check_installed()?;
        let shared = Arc::new(Shared::new(settings));
        let (writes, latency) = group.join(&shared);
        Ok(Self {
            shared,
            context: context.clone(),
            delivery: Delivery::new(WORDS),
            group: Arc::clone(group),
            writes,
            latency,
            task: Mutex::default(),
        })
    }
}

#[async_trait]
impl Output for Rtmp {
    /// There is nothing to prepare: a server is not asked before there is media, because who publishes is live.
    async fn prepare(&self) -> Result<(), NotReady> {
        self.task.lock().get_or_insert_with(|| {
            let (shared, context) = (Arc::clone(&self.shared), self.context.clone());
            tokio::spawn(connection::run(shared, context, self.latency.clone()))
        });
        Ok(())
    }

    fn attach(&self, pipeline: &gst::Pipeline, tracks: Tracks) -> Result<Inlets, PipelineError> {
        let video = tracks.video.map(|_| inlet::video(pipeline, &self.shared)).transpose()?;
        let audio = tracks.audio.map(|_| inlet::audio(pipeline, &self.shared)).transpose()?;
        let tracks = kvs_rtmp::Tracks { video: video.is_some(), audio: audio.is_some() };
        self.shared.attached(tracks, video.as_ref());
        Ok(Inlets { video, audio })
    }

    fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    fn describe(&self, status: &mut AgentStatus) {
        let standing::Words { state, reason, message } = self.shared.words();
        let (name, kind) = (self.shared.settings.name.clone(), "rtmp".to_owned());
        status.outputs.push(OutputStatus { name, kind, state, reason: reason.to_owned(), message });
    }

    fn encode_metrics(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        if self.writes { self.group.encode(encoder) } else { Ok(()) }
    }

    async fn finish(&self) {
        self.shared.stop();
        let task = self.task.lock().take();
        if let Some(mut task) = task {
            // One that is just connecting has nothing to end.
            if tokio::time::timeout(GOODBYE, &mut task).await.is_err() {
                task.abort();
            }
        }
    }
}
