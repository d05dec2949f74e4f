//! The element's GObject side: pads, properties, state changes, buffers.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use kvs_aws::AwsContext;
use kvs_putmedia::{
    AckKind, Codec, Event, Frame, MediaTime, NalCodec, Producer, ProducerConfig, Statistics, Timecodes,
    TrackKind, WhenFull, is_random_access, nal_length_size,
};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::control::StreamSettings;
use super::properties::{SPECS, StreamingType, Values};
use super::uploader::{self, RUNTIME, Shared, UploadSettings};
use super::{Handler, SinkEvent, ack_name, caps};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("kvssink", gst::DebugColorFlags::empty(), Some("Kinesis Video Streams sink"))
});

/// What exists between READY to PAUSED and back.
struct Running {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What a pad knows of its track.
#[derive(Default)]
struct Track {
    kind: Option<TrackKind>,
    nal: Option<(NalCodec, usize)>,
    last: Option<MediaTime>,
}

/// Wall clock minus running time, latched at the first buffer.
type Anchor = Option<i128>;

#[derive(Default)]
pub struct KvsSink {
    values: Mutex<Values>,
    context: Mutex<Option<AwsContext>>,
    handler: Mutex<Option<Handler>>,
    running: Mutex<Option<Running>>,
    anchor: Mutex<Anchor>,
    tracks: [Mutex<Track>; 2],
    ended: Mutex<HashSet<String>>,
    last_statistics: Mutex<Statistics>,
}

#[glib::object_subclass]
impl ObjectSubclass for KvsSink {
    const NAME: &'static str = "GstKvsSink";
    type Type = super::KvsSink;
    type ParentType = gst::Element;
}

impl ObjectImpl for KvsSink {
    fn properties() -> &'static [glib::ParamSpec] {
        &SPECS
    }

    fn set_property(&self, _id: usize, value: &glib::Value, spec: &glib::ParamSpec) {
        self.values.lock().set(spec.name(), value);
    }

    fn property(&self, _id: usize, spec: &glib::ParamSpec) -> glib::Value {
        if spec.name() == "statistics" {
            return Some(structure(&self.statistics())).to_value();
        }
        self.values.lock().get(spec)
    }

    fn signals() -> &'static [glib::subclass::Signal] {
        static SIGNALS: LazyLock<Vec<glib::subclass::Signal>> = LazyLock::new(|| {
            vec![
                glib::subclass::Signal::builder("stream-error").param_types([u64::static_type()]).build(),
                glib::subclass::Signal::builder("fragment-ack")
                    .param_types([glib::Type::POINTER])
                    .action()
                    .build(),
                glib::subclass::Signal::builder("stream-client-metric")
                    .param_types([glib::Type::POINTER])
                    .action()
                    .build(),
                // The usable form of fragment-ack for bindings: a structure instead of a pointer.
                glib::subclass::Signal::builder("fragment-acknowledged")
                    .param_types([gst::Structure::static_type()])
                    .build(),
            ]
        });
        &SIGNALS
    }

    fn constructed(&self) {
        self.parent_constructed();
        // A bin must wait for the end of stream of this element.
        self.obj().set_element_flags(gst::ElementFlags::SINK);
    }

    fn dispose(&self) {
        self.abort();
    }
}

impl GstObjectImpl for KvsSink {}

impl ElementImpl for KvsSink {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "KVS Sink",
                "Sink/Video/Network",
                "Stores media in Amazon Kinesis Video Streams",
                "The kvs-ingest founders",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        &caps::TEMPLATES
    }

    fn request_new_pad(
        &self,
        template: &gst::PadTemplate,
        _name: Option<&str>,
        _caps: Option<&gst::Caps>,
    ) -> Option<gst::Pad> {
        let (name, kind) = match template.name_template() {
            "video_%u" => ("video_0", TrackKind::Video),
            "audio_%u" => ("audio_0", TrackKind::Audio),
            _ => return None,
        };
        let pad = gst::Pad::builder_from_template(template)
            .name(name)
            .chain_function(move |_, parent, buffer| {
                Self::catch_panic_pad_function(
                    parent,
                    || Err(gst::FlowError::Error),
                    |sink| sink.chain(kind, buffer),
                )
            })
            .event_function(move |pad, parent, event| {
                Self::catch_panic_pad_function(parent, || false, |sink| sink.event(kind, pad, event))
            })
            .build();
        // Fails when there is a pad of this name: one of each kind is all that KVS takes.
        self.obj().add_pad(&pad).ok()?;
        if let Some(running) = &*self.running.lock() {
            running.shared.producer.lock().add_track(kind);
        }
        Some(pad)
    }

    fn release_pad(&self, pad: &gst::Pad) {
        let kind = if pad.name().starts_with("video") { TrackKind::Video } else { TrackKind::Audio };
        if let Some(running) = &*self.running.lock() {
            running.shared.producer.lock().end_track(kind, Instant::now());
            running.shared.wake();
        }
        let _ = self.obj().remove_pad(pad);
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        match transition {
            gst::StateChange::ReadyToPaused => self.start()?,
            // The wall clock went on while the running time stood still.
            gst::StateChange::PausedToPlaying => *self.anchor.lock() = None,
            // Before the pads are deactivated, so that what upstream has pushed is all in.
            gst::StateChange::PausedToReady => self.stop(),
            _ => {}
        }
        self.parent_change_state(transition)
    }
}

impl KvsSink {
    pub(super) fn set_aws_context(&self, context: AwsContext) {
        *self.context.lock() = Some(context);
    }

    pub(super) fn set_event_handler(&self, handler: Handler) {
        *self.handler.lock() = Some(handler);
    }

    pub(super) fn statistics(&self) -> Statistics {
        match &*self.running.lock() {
            Some(running) => running.shared.producer.lock().statistics(),
            None => self.last_statistics.lock().clone(),
        }
    }

    fn start(&self) -> Result<(), gst::StateChangeError> {
        let fail = |message: &str| {
            gst::element_imp_error!(self, gst::ResourceError::Settings, ["{message}"]);
            gst::StateChangeError
        };
        let runtime =
            RUNTIME.as_ref().map_err(|error| fail(&format!("no threads for the network: {error}")))?;
        let values = self.values.lock().clone();
        let mut producer = Producer::new(producer_config(&values));
        for pad in self.obj().sink_pads() {
            let kind = if pad.name().starts_with("video") { TrackKind::Video } else { TrackKind::Audio };
            producer.add_track(kind);
        }
        for track in &self.tracks {
            *track.lock() = Track::default();
        }
        self.ended.lock().clear();
        *self.anchor.lock() = None;
        let weak = self.obj().downgrade();
        let handler: Handler = Arc::new(move |event| {
            if let Some(sink) = weak.upgrade() {
                sink.imp().tell(event);
            }
        });
        let shared = Arc::new(Shared::new(producer, handler));
        let settings = upload_settings(&values, &self.obj());
        let context = self.context.lock().clone();
        let task = runtime.spawn({
            let (shared, weak) = (shared.clone(), self.obj().downgrade());
            async move {
                let context = match context {
                    Some(context) => Ok(context),
                    None => own_context(&values).await,
                };
                match context {
                    Ok(context) => uploader::run(shared, context, settings).await,
                    Err(message) => {
                        shared.drained.lock().failed = true;
                        shared.progress.notify_all();
                        if let Some(sink) = weak.upgrade() {
                            gst::element_error!(sink, gst::ResourceError::Settings, ["{message}"]);
                        }
                    }
                }
            }
        });
        *self.running.lock() = Some(Running { shared, task });
        Ok(())
    }

    /// Ends the last fragment and waits, within `stop-stream-timeout`, for its acknowledgement.
    fn stop(&self) {
        let Some(shared) = self.running.lock().as_ref().map(|running| running.shared.clone()) else { return };
        let patience = Duration::from_secs(u64::from(self.values.lock().uint("stop-stream-timeout")));
        shared.producer.lock().finish(Instant::now());
        shared.wake();
        if !shared.wait_drained(patience) {
            gst::warning!(CAT, imp = self, "stopped before everything was acknowledged");
        }
        self.abort();
    }

    fn abort(&self) {
        if let Some(running) = self.running.lock().take() {
            running.task.abort();
            *self.last_statistics.lock() = running.shared.producer.lock().statistics();
        }
    }

    fn shared(&self) -> Option<Arc<Shared>> {
        self.running.lock().as_ref().map(|running| running.shared.clone())
    }

    fn event(&self, kind: TrackKind, pad: &gst::Pad, event: gst::Event) -> bool {
        match event.view() {
            gst::EventView::Caps(event) => self.set_caps(kind, event.caps()),
            gst::EventView::FlushStop(_) => {
                if let Some(shared) = self.shared() {
                    shared.producer.lock().flush(Instant::now());
                    shared.wake();
                }
                *self.anchor.lock() = None;
                gst::Pad::event_default(pad, Some(&*self.obj()), event)
            }
            gst::EventView::Eos(_) => {
                self.end_of_stream(kind, pad);
                true
            }
            gst::EventView::CustomDownstream(_) => {
                if let Some(structure) = event.structure().filter(|found| found.name() == "kvs-add-metadata")
                {
                    return self.metadata(structure);
                }
                true
            }
            // Sinks keep their events to themselves.
            gst::EventView::Gap(_) | gst::EventView::Tag(_) => true,
            _ => gst::Pad::event_default(pad, Some(&*self.obj()), event),
        }
    }

    fn metadata(&self, structure: &gst::StructureRef) -> bool {
        let (Ok(name), Ok(value), Ok(persist)) = (
            structure.get::<String>("name"),
            structure.get::<String>("value"),
            structure.get::<bool>("persist"),
        ) else {
            gst::warning!(CAT, imp = self, "kvs-add-metadata needs name, value and persist: {structure}");
            return false;
        };
        self.shared().is_some_and(|shared| shared.producer.lock().put_metadata(&name, &value, persist))
    }

    fn set_caps(&self, kind: TrackKind, caps: &gst::CapsRef) -> bool {
        let name = self.values.lock().string("track-name");
        let format = match caps::format(caps, &name) {
            Ok(format) => format,
            Err(message) => {
                gst::element_imp_error!(self, gst::StreamError::Format, ["{message}"]);
                return false;
            }
        };
        let nal = match format.codec {
            Codec::H264 => Some(NalCodec::H264),
            Codec::H265 => Some(NalCodec::H265),
            _ => None,
        };
        let mut track = self.tracks[index(kind)].lock();
        track.kind = Some(kind);
        track.nal = nal.map(|codec| (codec, nal_length_size(codec, &format.codec_private).unwrap_or(4)));
        drop(track);
        if let Some(shared) = self.shared() {
            shared.producer.lock().set_format(format);
        }
        true
    }

    /// Posts EOS when all pads have it, as soon as everything is acknowledged.
    fn end_of_stream(&self, kind: TrackKind, pad: &gst::Pad) {
        let Some(shared) = self.shared() else { return };
        shared.producer.lock().end_track(kind, Instant::now());
        let all = {
            let mut ended = self.ended.lock();
            ended.insert(pad.name().to_string());
            self.obj().sink_pads().iter().all(|pad| ended.contains(pad.name().as_str()))
        };
        if all {
            shared.producer.lock().finish(Instant::now());
        }
        shared.wake();
        if all {
            let patience = Duration::from_secs(u64::from(self.values.lock().uint("stop-stream-timeout")));
            let (weak, seqnum) =
                (self.obj().downgrade(), pad.sticky_event::<gst::event::Eos>(0).map(|e| e.seqnum()));
            // Not on the streaming thread: it must stay free for a state change.
            std::thread::spawn(move || {
                shared.wait_drained(patience);
                if let Some(sink) = weak.upgrade() {
                    let message = gst::message::Eos::builder().src(&sink);
                    let message = match seqnum {
                        Some(seqnum) => message.seqnum(seqnum).build(),
                        None => message.build(),
                    };
                    let _ = sink.post_message(message);
                }
            });
        }
    }

    fn chain(&self, kind: TrackKind, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        let shared = self.shared().ok_or(gst::FlowError::Flushing)?;
        if shared.drained.lock().failed {
            return Err(gst::FlowError::Error);
        }
        let flags = buffer.flags();
        if flags.intersects(gst::BufferFlags::CORRUPTED | gst::BufferFlags::DECODE_ONLY) {
            gst::debug!(CAT, imp = self, "skipping a buffer that is not to be shown: {buffer:?}");
            return Ok(gst::FlowSuccess::Ok);
        }
        let data = {
            let map = buffer.map_readable().map_err(|_| gst::FlowError::Error)?;
            Bytes::copy_from_slice(&map)
        };
        let (time, random_access) = {
            let mut track = self.tracks[index(kind)].lock();
            let time = self.time(kind, &buffer, track.last);
            track.last = Some(time);
            let random_access = match track.nal {
                Some((codec, length)) => is_random_access(codec, length, &data),
                None => true,
            };
            (time, random_access)
        };
        let offline = self.values.lock().streaming_type() == StreamingType::Offline;
        let mut producer = shared.producer.lock();
        while offline && !producer.has_room() {
            // Looks again now and then: a flush or a state change has no other way in.
            shared.progress.wait_for(&mut producer, Duration::from_millis(100));
            if self.shared().is_none_or(|now| !Arc::ptr_eq(&now, &shared)) {
                return Err(gst::FlowError::Flushing);
            }
        }
        producer.push_frame(Frame { track: kind, time, random_access, data }, Instant::now());
        drop(producer);
        shared.wake();
        Ok(gst::FlowSuccess::Ok)
    }

    /// Nanoseconds since the epoch of a buffer: its own with `use-original-pts` (DTS first, as the C++ element reads it),
    /// else its running time on the wall clock. What has no time comes a millisecond after the last.
    fn time(&self, kind: TrackKind, buffer: &gst::BufferRef, last: Option<MediaTime>) -> MediaTime {
        let after_last = || match last {
            Some(last) => last + Duration::from_millis(1),
            None => MediaTime::from_system(SystemTime::now()),
        };
        let original = self.values.lock().boolean("use-original-pts");
        if original {
            return match buffer.dts().or(buffer.pts()) {
                Some(time) => MediaTime::from_nanos(time.nseconds()),
                None => after_last(),
            };
        }
        let Some(pts) = buffer.pts().or(buffer.dts()) else { return after_last() };
        let name = if kind == TrackKind::Video { "video_0" } else { "audio_0" };
        let segment = self.obj().static_pad(name).and_then(|pad| pad.sticky_event::<gst::event::Segment>(0));
        let running = segment
            .and_then(|event| {
                event.segment().downcast_ref::<gst::ClockTime>().and_then(|s| s.to_running_time(pts))
            })
            .unwrap_or(pts);
        let running = i128::from(running.nseconds());
        let mut anchor = self.anchor.lock();
        let base = *anchor
            .get_or_insert_with(|| i128::from(MediaTime::from_system(SystemTime::now()).nanos()) - running);
        MediaTime::from_nanos(u64::try_from(base + running).unwrap_or(0))
    }

    /// Hands an event to everyone who may want it: the Rust handler, the log, signals, the bus.
    fn tell(&self, event: SinkEvent) {
        let handler = self.handler.lock().clone();
        if let Some(handler) = handler {
            handler(event.clone());
        }
        let SinkEvent::Producer(event) = event else {
            gst::info!(CAT, imp = self, "{event:?}");
            return;
        };
        match &event {
            Event::Ack { kind, timecode_ms, fragment_number } => {
                gst::debug!(CAT, imp = self, "acknowledgement {kind:?} of {timecode_ms:?}");
                let mut structure = gst::Structure::builder("kvs-fragment-ack").field("type", ack_name(kind));
                if let Some(timecode) = timecode_ms {
                    structure = structure.field("timecode", *timecode);
                }
                if let Some(number) = fragment_number {
                    structure = structure.field("fragment-number", number);
                }
                if let AckKind::Error { id, .. } = kind {
                    structure = structure.field("error-id", *id);
                }
                let structure = structure.build();
                self.obj().emit_by_name::<()>("fragment-acknowledged", &[&structure]);
                let message = gst::message::Element::builder(structure).src(&*self.obj()).build();
                let _ = self.obj().post_message(message);
            }
            Event::Error { code, message, fatal } => {
                if *fatal {
                    self.obj().emit_by_name::<()>("stream-error", &[&u64::from(*code)]);
                    gst::element_imp_error!(self, gst::ResourceError::Failed, ["{message}"]);
                } else {
                    gst::element_imp_warning!(self, gst::ResourceError::Write, ["{message}"]);
                }
            }
            Event::Dropped { fragments, frames, bytes, reason } => {
                gst::warning!(
                    CAT,
                    imp = self,
                    "dropped {fragments} fragments, {} video and {} audio frames, {bytes} bytes: {reason:?}",
                    frames[0],
                    frames[1]
                );
            }
            other => gst::info!(CAT, imp = self, "{other:?}"),
        }
    }
}

fn index(kind: TrackKind) -> usize {
    match kind {
        TrackKind::Video => 0,
        TrackKind::Audio => 1,
    }
}

fn seconds(values: &Values, name: &str) -> Duration {
    Duration::from_secs(u64::from(values.uint(name)))
}

fn producer_config(values: &Values) -> ProducerConfig {
    let mut uid = [0; 16];
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    uid.copy_from_slice(&nanos.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C834).to_be_bytes());
    ProducerConfig {
        fragment_duration: Duration::from_millis(u64::from(values.uint("fragment-duration"))),
        key_frame_fragmentation: values.boolean("key-frame-fragmentation"),
        timecode_scale_ms: values.uint("timecode-scale").max(1),
        timecodes: timecodes(values),
        storage_bytes: (values.uint("storage-size") as usize).clamp(10, 10_240) << 20,
        buffer_duration: seconds(values, "buffer-duration").max(Duration::from_secs(20)),
        when_full: match values.streaming_type() {
            StreamingType::Offline => WhenFull::Block,
            StreamingType::Realtime | StreamingType::NearRealtime => WhenFull::DropOldest,
        },
        fragment_acks: values.boolean("fragment-acks"),
        staleness: seconds(values, "connection-staleness").max(Duration::from_secs(1)),
        segment_uid: uid,
        seed: nanos as u64 | 1,
        ..ProducerConfig::default()
    }
}

fn timecodes(values: &Values) -> Timecodes {
    if values.boolean("absolute-fragment-times") { Timecodes::Absolute } else { Timecodes::Relative }
}

fn upload_settings(values: &Values, sink: &super::KvsSink) -> UploadSettings {
    let tags = values.structure("stream-tags").map(|structure| {
        let pairs = structure
            .iter()
            .filter_map(|(name, value)| Some((name.to_string(), value.get::<String>().ok()?)));
        pairs.collect()
    });
    let has = |prefix: &str| sink.sink_pads().iter().any(|pad| pad.name().starts_with(prefix));
    let media_type = match (values.string("content-type"), has("video"), has("audio")) {
        (given, _, _) if !given.is_empty() => given,
        (_, true, true) => "video/h264,audio/aac".to_owned(),
        (_, false, true) => "audio/aac".to_owned(),
        _ => "video/h264".to_owned(),
    };
    let connect_timeout = seconds(values, "connection-timeout").max(Duration::from_secs(1));
    UploadSettings {
        stream: StreamSettings {
            name: values.string("stream-name"),
            create: values.boolean("allow-create-stream"),
            retention_hours: values.uint("retention-period"),
            media_type,
            tags: tags.unwrap_or_default(),
        },
        user_agent: format!("{} kvs-ingest/{}", values.string("user-agent"), env!("CARGO_PKG_VERSION")),
        timecodes: timecodes(values),
        fragment_acks: values.boolean("fragment-acks"),
        connect_timeout,
        answer_timeout: seconds(values, "completion-timeout").max(connect_timeout),
    }
}

/// A context of properties and environment, as the C++ element reads them; without explicit credentials the default AWS
/// chain, which that one lacks.
async fn own_context(values: &Values) -> Result<AwsContext, String> {
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let region = env("AWS_DEFAULT_REGION").unwrap_or_else(|| values.string("aws-region"));
    let mut builder = AwsContext::builder().region(region);
    if let Some(url) = env("CONTROL_PLANE_URI") {
        builder = builder.endpoint_url(url);
    }
    if let Some(path) = env("KVSSINK_CA_CERT_PATH") {
        builder = builder.ca_bundle(path);
    }
    let (key, secret, token) =
        (values.string("access-key"), values.string("secret-key"), values.string("session-token"));
    // The defaults of the C++ element stand for "not set".
    if key != "access_key" && !key.is_empty() {
        let token = Some(token).filter(|token| token != "session_token" && !token.is_empty());
        builder = builder.static_credentials(&key, &secret, token);
    }
    builder.build().await.map_err(|error| error.to_string())
}

fn structure(statistics: &Statistics) -> gst::Structure {
    gst::Structure::builder("kvssink-statistics")
        .field("video-frames-in", statistics.frames_in[0])
        .field("audio-frames-in", statistics.frames_in[1])
        .field("video-frames-dropped", statistics.frames_dropped[0])
        .field("audio-frames-dropped", statistics.frames_dropped[1])
        .field("fragments-sent", statistics.fragments_sent)
        .field("fragments-received", statistics.fragments_received)
        .field("fragments-persisted", statistics.fragments_persisted)
        .field("fragments-replayed", statistics.fragments_replayed)
        .field("fragments-dropped", statistics.fragments_dropped)
        .field("bytes-sent", statistics.bytes_sent)
        .field("buffered-bytes", statistics.buffered_bytes)
        .field("buffered-duration", statistics.buffered_duration.as_nanos() as u64)
        .field("sessions", statistics.sessions)
        .field("session-failures", statistics.session_failures)
        .field("last-persisted-timecode", statistics.last_persisted_timecode_ms.unwrap_or(0))
        .field("persisted-lag", statistics.persisted_lag.unwrap_or_default().as_nanos() as u64)
        .build()
}
