//! From a pipeline to the queue.

use super::shared::Shared;
use crate::concealed::Concealed;
use crate::elements::{APPSINK, PipelineError, set};
use bytes::Bytes;
use gst::prelude::*;
use kvs_rtmp::{AacConfig, Picture, Sound, Track, VideoParameters};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Adds an inlet for pictures.
pub(super) fn video(pipeline: &gst::Pipeline, shared: &Arc<Shared>) -> Result<gst::Pad, PipelineError> {
    let mut parameters = OfCaps::new(Track::Video, video_parameters);
    let shared = Arc::clone(shared);
    inlet(pipeline, move |sample| {
        let Some((at, data, buffer)) = taken(sample) else { return };
        let Some(parameters) = parameters.of(sample, &shared).cloned() else {
            return shared.with(|live| live.heard(Instant::now()));
        };
        let idr = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let picture = Picture { at, idr, data, parameters };
        shared.put(|live, now| live.picture(picture, now));
    })
}

/// Adds an inlet for sound.
pub(super) fn audio(pipeline: &gst::Pipeline, shared: &Arc<Shared>) -> Result<gst::Pad, PipelineError> {
    let mut config = OfCaps::new(Track::Audio, audio_config);
    let shared = Arc::clone(shared);
    let gaps = Arc::new(Mutex::new(Concealed::default()));
    let told = Arc::clone(&gaps);
    let pad = inlet(pipeline, move |sample| {
        let Some((at, data, _)) = taken(sample) else { return };
        let Some(config) = config.of(sample, &shared).copied() else {
            return shared.with(|live| live.heard(Instant::now()));
        };
        let nanoseconds = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
        let concealed = gaps.lock().covers(nanoseconds, config.frame());
        let sound = Sound { at, data, config, concealed };
        shared.put(|live, now| live.sound(sound, now));
    })?;
    // Events come in order with the buffers, on the same thread.
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        if let Some(event) = info.event() {
            told.lock().note(event);
        }
        gst::PadProbeReturn::Ok
    });
    Ok(pad)
}

/// An `appsink` that takes every buffer at once, and waits for nothing when the pipeline starts.
fn inlet(
    pipeline: &gst::Pipeline,
    mut take: impl FnMut(&gst::Sample) + Send + 'static,
) -> Result<gst::Pad, PipelineError> {
    let element = APPSINK.make()?;
    set(&element, "sync", false)?;
    set(&element, "async", false)?;
    // Else the newest buffer is held for whoever asks.
    set(&element, "enable-last-sample", false)?;
    let unfit =
        |reason: &str| PipelineError::Element { element: "appsink".to_owned(), reason: reason.to_owned() };
    let sink = element.downcast_ref::<gst_app::AppSink>().ok_or_else(|| unfit("it is another's"))?;
    sink.set_callbacks(
        gst_app::AppSinkCallbacks::builder()
            .new_sample(move |sink| {
                // At the end there is none.
                if let Ok(sample) = sink.pull_sample() {
                    take(&sample);
                }
                Ok(gst::FlowSuccess::Ok)
            })
            .build(),
    );
    pipeline.add(&element)?;
    element.static_pad("sink").ok_or_else(|| unfit("it has no pad `sink`"))
}

/// Its time, its bytes, and the buffer; `None`: it has no time, or cannot be read, which none of ours is.
fn taken(sample: &gst::Sample) -> Option<(Duration, Bytes, &gst::BufferRef)> {
    let buffer = sample.buffer()?;
    let at = Duration::from_nanos(buffer.pts()?.nseconds());
    let data = Bytes::copy_from_slice(&buffer.map_readable().ok()?);
    Some((at, data, buffer))
}

/// What caps say, read once for each, and told once where it cannot be sent.
struct OfCaps<T> {
    track: Track,
    read: fn(&gst::StructureRef) -> Result<T, String>,
    known: Option<(gst::Caps, Option<T>)>,
}

impl<T> OfCaps<T> {
    fn new(track: Track, read: fn(&gst::StructureRef) -> Result<T, String>) -> Self {
        Self { track, read, known: None }
    }

    fn of(&mut self, sample: &gst::Sample, shared: &Shared) -> Option<&T> {
        let caps = sample.caps()?;
        if self.known.as_ref().is_none_or(|(known, _)| known.as_ptr() != caps.as_ptr()) {
            let read = (self.read)(caps.structure(0)?);
            shared.set_unfit(self.track, read.as_ref().err());
            self.known = Some((caps.to_owned(), read.ok()));
        }
        self.known.as_ref()?.1.as_ref()
    }
}

fn video_parameters(caps: &gst::StructureRef) -> Result<Arc<VideoParameters>, String> {
    if caps.name() != "video/x-h264" {
        let codec = caps.name().as_str().trim_start_matches("video/x-").to_uppercase();
        return Err(format!(
            "the master sends {codec}, and only H264 goes out by RTMP: name H264 alone in spec.media.video.codecs"
        ));
    }
    let pixels = |name| u32::try_from(caps.get::<i32>(name).unwrap_or(0)).unwrap_or(0);
    let record = codec_data(caps).ok_or("the pipeline gives no configuration record of H.264")?;
    Ok(Arc::new(VideoParameters { record, width: pixels("width"), height: pixels("height") }))
}

fn audio_config(caps: &gst::StructureRef) -> Result<AacConfig, String> {
    let config = codec_data(caps).ok_or("the pipeline gives no AudioSpecificConfig")?;
    AacConfig::parse(&config).map_err(|error| error.to_string())
}

fn codec_data(caps: &gst::StructureRef) -> Option<Bytes> {
    let buffer = caps.get::<gst::Buffer>("codec_data").ok()?;
    let map = buffer.map_readable().ok()?;
    Some(Bytes::copy_from_slice(&map))
}
