//! One GStreamer pipeline for one set of tracks.

use super::audio::{ENCODER, Front, RATE};
use super::backlog::Backlog;
use super::sound::{Sound, SoundFigures};
use super::stamp::{clock_time, send_tags};
use crate::elements::{APPSRC, CAPSFILTER, PipelineError, TEE, request_pad, set};
use crate::metadata::Tag;
use crate::outputs::Outputs;
use crate::tracks::Tracks;
use gst::prelude::*;
use kvs_media::{AccessUnit, AudioPacket, VideoCodec, VideoParameters};
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;

/// Encoded video that may wait in front of the pipeline. When it is full, whole groups of pictures
/// are dropped and counted.
const VIDEO_QUEUE_BYTES: u64 = 16 * 1024 * 1024;

/// Silence reaches this far beyond the newest picture at most.
const AHEAD: Duration = Duration::from_millis(300);

/// A longer gap is a pause of everything, and is left empty.
const PAUSE: Duration = Duration::from_secs(5);

/// Silence reaches this far beyond the last picture: a frame of AAC, and what the delays of the codecs leave.
const LAST_SOUND: Duration = Duration::from_millis(40);

/// Messages of one pipeline's bus that may wait. When it is full they are dropped: the first error
/// already ends the pipeline.
const EVENT_QUEUE: usize = 64;

/// What a pipeline reports.
#[derive(Debug)]
pub enum GraphEvent {
    /// It is broken and must be replaced.
    Error { element: String, message: String },
    /// Something is not as it should be, but it goes on.
    Warning { element: String, message: String },
    /// What is stored cannot be decoded, or not from its beginning, without a key frame.
    KeyFrameWanted,
    /// Everything that was put in has come out.
    EndOfStream,
}

/// Checks that everything a pipeline is made of is installed, beside what its outputs are made of. `sound`: with audio. Video
/// takes no element of its own.
///
/// # Errors
///
/// The first element that is missing.
pub fn check_installed(sound: bool) -> Result<(), PipelineError> {
    let others = [APPSRC, CAPSFILTER, TEE].into_iter().chain(sound.then_some(ENCODER));
    others.into_iter().try_for_each(|element| element.check_installed())
}

pub struct Graph {
    pipeline: gst::Pipeline,
    tracks: Tracks,
    /// Places of the outputs that it feeds.
    outputs: Vec<usize>,
    video: Option<gst_app::AppSrc>,
    sound: Option<Sound>,
    backlog: Backlog,
    parameters: Option<VideoParameters>,
    last_picture: Option<SystemTime>,
    /// A picture is presented before one that came before it.
    reorders: bool,
}

impl Graph {
    /// Builds and starts a pipeline of `tracks` that ends in `outputs`. `aac_bitrate` is in bit/s.
    ///
    /// # Errors
    ///
    /// [`PipelineError`] when an element is missing or nothing starts.
    pub fn start(
        tracks: Tracks,
        outputs: &Outputs,
        aac_bitrate: i32,
    ) -> Result<(Self, mpsc::Receiver<GraphEvent>), PipelineError> {
        let pipeline = gst::Pipeline::new();
        let (mut video_inlets, mut audio_inlets) = (Vec::new(), Vec::new());
        let ready = outputs.ready();
        for output in ready.iter().filter_map(|place| outputs.get(*place)) {
            let inlets = output.attach(&pipeline, tracks)?;
            video_inlets.extend(inlets.video);
            audio_inlets.extend(inlets.audio);
        }
        let (sender, events) = mpsc::channel(EVENT_QUEUE);
        let video = match &video_inlets[..] {
            [] => None,
            inlets => Some(video_branch(&pipeline, inlets, sender.clone())?),
        };
        let sound = match (tracks.audio, &audio_inlets[..]) {
            (None, _) | (_, []) => None,
            (Some(codec), inlets) => {
                let channels = if tracks.stereo { 2 } else { 1 };
                let front = Front::new(codec, channels)?;
                Some(Sound::new(audio_branch(&pipeline, inlets, aac_bitrate, channels)?, front))
            }
        };
        if let Some(bus) = pipeline.bus() {
            bus.set_sync_handler(move |_, message| {
                if let Some(event) = event(message) {
                    let _ = sender.try_send(event);
                }
                gst::BusSyncReply::Drop
            });
        }
        if let Err(error) = pipeline.set_state(gst::State::Playing) {
            let _ = pipeline.set_state(gst::State::Null);
            return Err(error.into());
        }
        let graph = Self {
            pipeline,
            tracks,
            outputs: ready,
            video,
            sound,
            backlog: Backlog::new(VIDEO_QUEUE_BYTES),
            parameters: None,
            last_picture: None,
            reorders: false,
        };
        Ok((graph, events))
    }

    /// The tracks it was built with.
    pub fn tracks(&self) -> Tracks {
        self.tracks
    }

    /// Places of the outputs that it was built with.
    pub fn outputs(&self) -> &[usize] {
        &self.outputs
    }

    /// Puts an access unit in, with the tags of the fragment that it begins. `false`: it was dropped, because the pipeline does not
    /// keep up or has no video.
    pub fn access_unit(&mut self, unit: &AccessUnit, tags: &[Tag]) -> bool {
        // Of a track that was silent and is back there is a pipeline with its next IDR.
        let Some(source) = &self.video else {
            return false;
        };
        let (size, at) = (unit.data.len() as u64, unit.capture_time);
        if !self.backlog.admit(unit.is_idr(), size, source.current_level_bytes()) {
            return false;
        }
        if unit.parameters.is_some() && unit.parameters != self.parameters {
            // It takes effect with the buffer that follows.
            source.set_caps(unit.parameters.as_ref().map(video_caps).as_ref());
            self.parameters.clone_from(&unit.parameters);
        }
        // Behind the caps: an event that comes before them ends the C++ element.
        send_tags(source, tags);
        let mut buffer = gst::Buffer::from_slice(unit.data.clone());
        // With B pictures there is a DTS that nobody sent: only where none of them has come is it the PTS.
        self.reorders |= self.last_picture.is_some_and(|last| at < last);
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(clock_time(at));
            // It is decoded when it is presented; the C++ element's `use-original-pts` reads the DTS.
            buffer.set_dts(Some(clock_time(at)).filter(|_| !self.reorders));
            if !unit.is_idr() {
                buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
        }
        let taken = source.push_buffer(buffer).is_ok();
        self.last_picture = self.last_picture.max(Some(at));
        // No picture waits for sound that was received.
        if let Some(sound) = &mut self.sound {
            sound.picture(at);
        }
        taken
    }

    /// Tags of the fragment that begins with the sound that follows.
    pub fn audio_tags(&mut self, tags: &[Tag]) {
        if let Some(sound) = &mut self.sound {
            sound.tags(tags);
        }
    }

    /// Puts an audio packet in. `false`: it was dropped, because the pipeline does not keep up.
    pub fn audio_packet(&mut self, packet: &AudioPacket) -> bool {
        self.sound.as_mut().is_none_or(|sound| sound.packet(packet))
    }

    /// Conceals a place where nothing sounds, unless everything has paused.
    pub fn audio_gap(&mut self, at: SystemTime, duration: Duration) {
        // When the master vanishes both tracks fall silent: audio must not go on alone.
        let ahead =
            self.tracks.video.is_some() && self.last_picture.is_none_or(|last| at + duration > last + AHEAD);
        if let Some(sound) = &mut self.sound
            && !ahead
            && duration < PAUSE
        {
            sound.gap(at, duration);
        }
    }

    /// What was done to the sound of this pipeline.
    pub fn sound_figures(&self) -> SoundFigures {
        self.sound.as_ref().map_or_else(SoundFigures::default, Sound::figures)
    }

    /// No more input: what is inside is written out, then [`GraphEvent::EndOfStream`] follows.
    pub fn finish(&mut self) {
        if let Some(sound) = &mut self.sound {
            // Where sound lags behind pictures the last fragment would have none, and with it another set of tracks.
            if let Some((end, last)) = sound.end().zip(self.last_picture)
                && let Ok(missing) = (last + LAST_SOUND).duration_since(end)
                && missing < PAUSE
            {
                sound.gap(end, missing);
            }
            sound.finish();
        }
        if let Some(source) = &self.video {
            let _ = source.end_of_stream();
        }
    }

    /// Ends it. Waits for GStreamer's threads: call it where blocking is allowed.
    pub fn stop(&self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

fn video_branch(
    pipeline: &gst::Pipeline,
    inlets: &[gst::Pad],
    events: mpsc::Sender<GraphEvent>,
) -> Result<gst_app::AppSrc, PipelineError> {
    // With the first picture come its caps.
    let source = source(None);
    link(pipeline, &source, &[], inlets)?;
    if let Some(pad) = source.static_pad("src") {
        pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
            let wanted = info
                .event()
                .and_then(|event| event.structure())
                .is_some_and(|structure| structure.name() == "GstForceKeyUnit");
            if wanted {
                // Full: who wants one asks again.
                let _ = events.try_send(GraphEvent::KeyFrameWanted);
            }
            gst::PadProbeReturn::Ok
        });
    }
    Ok(source)
}

/// The caps of pictures as they are handed in. Nothing of what a stranger sent is parsed in C.
fn video_caps(parameters: &VideoParameters) -> gst::Caps {
    let VideoParameters { format, configuration_record } = parameters;
    let caps = match format.codec {
        VideoCodec::H264 => gst::Caps::builder("video/x-h264").field("stream-format", "avc"),
        VideoCodec::H265 => gst::Caps::builder("video/x-h265").field("stream-format", "hvc1"),
    };
    caps.field("alignment", "au")
        .field("codec_data", gst::Buffer::from_slice(configuration_record.clone()))
        .field("width", i32::try_from(format.width).unwrap_or(i32::MAX))
        .field("height", i32::try_from(format.height).unwrap_or(i32::MAX))
        .build()
}

/// Takes samples on the grid.
fn audio_branch(
    pipeline: &gst::Pipeline,
    inlets: &[gst::Pad],
    aac_bitrate: i32,
    channels: usize,
) -> Result<gst_app::AppSrc, PipelineError> {
    let caps = gst::Caps::builder("audio/x-raw")
        .field("format", "S16LE")
        .field("layout", "interleaved")
        .field("rate", RATE as i32)
        .field("channels", channels as i32);
    // Left and right, which caps of two channels have to say.
    let caps = if channels == 2 { caps.field("channel-mask", gst::Bitmask::new(0b11)) } else { caps };
    let source = source(Some(&caps.build()));
    let encode = ENCODER.make()?;
    set(&encode, "bitrate", aac_bitrate)?;
    let filter = CAPSFILTER.make()?;
    set(
        &filter,
        "caps",
        gst::Caps::builder("audio/mpeg").field("mpegversion", 4i32).field("stream-format", "raw").build(),
    )?;
    link(pipeline, &source, &[encode, filter], inlets)?;
    Ok(source)
}

/// How late media comes in at most: a capture time is up to 2.5 s before its packet's arrival, which may wait for others
/// and for its judgement, and silence is reported behind all that, in pieces.
const LATENESS: gst::ClockTime = gst::ClockTime::from_mseconds(4_250);

fn source(caps: Option<&gst::Caps>) -> gst_app::AppSrc {
    let source = gst_app::AppSrc::builder()
        .format(gst::Format::Time)
        .is_live(true)
        .do_timestamp(false)
        .block(false)
        // We look at the level before each push and drop what may be dropped; appsrc does not know.
        .max_bytes(0)
        .max_buffers(0)
        .build();
    source.set_caps(caps);
    // An output that puts the tracks in one order waits for one with the other so long.
    source.set_latency(LATENESS, gst::ClockTime::NONE);
    source
}

/// `source ! chain`, and then to every one of `inlets`: through a `tee` where there are several.
fn link(
    pipeline: &gst::Pipeline,
    source: &gst_app::AppSrc,
    chain: &[gst::Element],
    inlets: &[gst::Pad],
) -> Result<(), PipelineError> {
    pipeline.add(source)?;
    pipeline.add_many(chain)?;
    let mut last: &gst::Element = source.upcast_ref();
    for element in chain {
        last.link(element)?;
        last = element;
    }
    let connect = |outlet: &gst::Pad, inlet: &gst::Pad| {
        outlet.link(inlet).map(drop).map_err(|error| PipelineError::Element {
            element: inlet.parent_element().map(|it| it.name().to_string()).unwrap_or_default(),
            reason: format!("pad `{}`: {error}", inlet.name()),
        })
    };
    if let [inlet] = inlets {
        let outlet = last.static_pad("src").ok_or_else(|| PipelineError::Element {
            element: last.name().to_string(),
            reason: "it has no pad `src`".to_owned(),
        })?;
        return connect(&outlet, inlet);
    }
    let tee = TEE.make()?;
    pipeline.add(&tee)?;
    last.link(&tee)?;
    inlets.iter().try_for_each(|inlet| connect(&request_pad(&tee, "src_%u")?, inlet))
}

fn event(message: &gst::Message) -> Option<GraphEvent> {
    let element =
        || message.src().map(|source| source.name().to_string()).unwrap_or_else(|| "pipeline".to_owned());
    let words = |error: &gst::glib::Error, debug: Option<gst::glib::GString>| match debug {
        Some(debug) => format!("{error} ({debug})"),
        None => error.to_string(),
    };
    match message.view() {
        gst::MessageView::Error(error) => {
            Some(GraphEvent::Error { element: element(), message: words(&error.error(), error.debug()) })
        }
        gst::MessageView::Warning(warning) => Some(GraphEvent::Warning {
            element: element(),
            message: words(&warning.error(), warning.debug()),
        }),
        gst::MessageView::Eos(_) => Some(GraphEvent::EndOfStream),
        _ => None,
    }
}
