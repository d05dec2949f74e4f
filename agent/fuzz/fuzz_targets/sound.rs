#![no_main]
//! Packets through the audio branch as the agent runs it, decoder and encoder included: `[length (2), kind, packet …]`, where
//! a kind above 250 is a gap instead, and the length its milliseconds.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use gst::prelude::*;
use kvs_ingest_agent::outputs::{Delivery, Inlets, NotReady, Output, Outputs, PipelineError, Words};
use kvs_ingest_agent::pipeline::{PipelineEvent, Pipelines};
use kvs_ingest_agent::tracks::Tracks;
use kvs_ingest_api::AgentStatus;
use kvs_media::{AudioCodec, AudioPacket, opus_duration};
use libfuzzer_sys::fuzz_target;
use prometheus_client::encoding::DescriptorEncoder;
use tokio::runtime::Runtime;

/// A pipeline that has not ended by then is stuck.
const DEADLINE: Duration = Duration::from_secs(60);

struct Sink(Delivery);

#[async_trait]
impl Output for Sink {
    async fn prepare(&self) -> Result<(), NotReady> {
        Ok(())
    }

    fn attach(&self, pipeline: &gst::Pipeline, _: Tracks) -> Result<Inlets, PipelineError> {
        let sink = gst::ElementFactory::make("fakesink").property("sync", false).property("async", false).build()?;
        pipeline.add(&sink)?;
        Ok(Inlets { video: None, audio: sink.static_pad("sink") })
    }

    fn delivery(&self) -> &Delivery {
        &self.0
    }

    fn describe(&self, _: &mut AgentStatus) {}

    fn encode_metrics(&self, _: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        Ok(())
    }
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    gst::init().expect("GStreamer");
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime")
});

fuzz_target!(|data: &[u8]| {
    let _entered = RUNTIME.enter();
    let words = Words { interrupted: "SinkInterrupted", refused: "SinkRefused", missing: "SinkMissing", receiver: "the fuzzer" };
    let outputs: Outputs = [Arc::new(Sink(Delivery::new(words))) as Arc<dyn Output>].into_iter().collect();
    let tracks = Tracks { video: None, audio: Some(AudioCodec::Opus), stereo: false };
    let mut pipelines = Pipelines::new(tracks, outputs, 64_000, 2 * DEADLINE);
    let now = Instant::now();
    let mut at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000);
    let mut events = Vec::new();
    let mut rest = data;
    while let [high, low, kind, behind @ ..] = rest {
        let length = u16::from_be_bytes([*high, *low]);
        if *kind > 250 {
            let duration = Duration::from_millis(u64::from(length));
            events.extend(pipelines.audio_gap(at, duration, now));
            at += duration;
            rest = behind;
            continue;
        }
        let (packet, behind) = behind.split_at(behind.len().min(usize::from(length)));
        rest = behind;
        // Nothing else gets past kvs-media.
        let Some(duration) = opus_duration(packet) else { continue };
        let stereo = packet[0] & 4 != 0;
        let data = Bytes::copy_from_slice(packet);
        let packet = AudioPacket { data, capture_time: at, rtp_timestamp: 0, duration, stereo };
        events.extend(pipelines.audio_packet(packet, now));
        at += duration;
    }
    let broken = events.iter().find(|event| matches!(event, PipelineEvent::Broken { .. }));
    assert!(broken.is_none(), "{broken:?}");
    let ended = RUNTIME.block_on(async { tokio::time::timeout(DEADLINE, pipelines.finish()).await });
    assert!(ended.is_ok(), "the pipeline is stuck");
});
