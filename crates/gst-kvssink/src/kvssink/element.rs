//! The element's GObject side: pads, properties, state changes.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use kvs_aws::AwsContext;
use kvs_putmedia::{Event, Producer, Statistics, TrackKind};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::category::CAT;
use super::clock::WallClock;
use super::event::{Handler, SinkEvent};
use super::hold::{Hold, Predecessor};
use super::metrics::Metrics;
use super::properties::{Properties, SPECS, StreamingType, seconds};
use super::runtime::RUNTIME;
use super::shared::Shared;
use super::timeline::Timeline;
use super::track::{Track, index, kind_of};
use super::warnings::Warned;
use super::{caps, settings, statistics, uploader};

glib::wrapper! {
    /// The element `kvssink`, as a program that links it sees it.
    pub struct KvsSink(ObjectSubclass<Imp>) @extends gst::Element, gst::Object;
}

impl KvsSink {
    /// Signs with this context, instead of one made of properties and environment. To be set before READY to PAUSED.
    pub fn set_aws_context(&self, context: AwsContext) {
        self.imp().set_aws_context(context);
    }

    /// Uploads on this runtime, which must not be blocked by who changes the state of the element, instead of on a thread of the
    /// element's own. To be set before READY to PAUSED.
    pub fn set_runtime(&self, runtime: Handle) {
        *self.imp().runtime.lock() = Some(runtime);
    }

    /// Another process may write to the stream: nothing is sent before `predecessor` says that it is over, or has nobody any
    /// more to say it, or half of `storage-size` is full; nor is what it says to be stored. To be set before READY to PAUSED.
    pub fn set_predecessor(&self, predecessor: watch::Receiver<Predecessor>) {
        *self.imp().hold.lock() = Some(predecessor);
    }

    /// Tells `handler` what happens, from now on.
    pub fn set_event_handler(&self, handler: impl Fn(SinkEvent) + Send + Sync + 'static) {
        self.imp().set_event_handler(Arc::new(handler));
    }

    /// Figures since READY to PAUSED.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.imp().statistics()
    }
}

enum State {
    /// Below PAUSED, with the figures of the last run.
    Stopped(Box<Statistics>),
    /// From READY to PAUSED on, and back.
    Started { shared: Arc<Shared>, task: JoinHandle<()> },
}

impl Default for State {
    fn default() -> Self {
        State::Stopped(Box::default())
    }
}

#[derive(Default)]
pub struct Imp {
    pub(super) properties: Mutex<Properties>,
    context: Mutex<Option<AwsContext>>,
    hold: Mutex<Option<Hold>>,
    /// The application's.
    runtime: Mutex<Option<Handle>>,
    pub(super) handler: Mutex<Option<Handler>>,
    state: Mutex<State>,
    pub(super) timeline: Mutex<Timeline>,
    pub(super) tracks: [Mutex<Track>; 2],
    pub(super) clock: Mutex<WallClock>,
    /// What upstream says of its latency has changed, or is not known yet: to be asked before the next buffer.
    pub(super) ask_latency: AtomicBool,
    /// The producer would like a key frame.
    pub(super) key_wanted: AtomicBool,
    pub(super) metrics: Mutex<Metrics>,
    /// Counts beginnings: an end that waits to be told is none any more when a track has begun since.
    pub(super) beginnings: AtomicU64,
    pub(super) warned: Mutex<Warned>,
}

#[glib::object_subclass]
impl ObjectSubclass for Imp {
    const NAME: &'static str = "GstKvsSink";
    type Type = KvsSink;
    type ParentType = gst::Element;
}

impl ObjectImpl for Imp {
    fn properties() -> &'static [glib::ParamSpec] {
        &SPECS
    }

    fn set_property(&self, _id: usize, value: &glib::Value, spec: &glib::ParamSpec) {
        self.properties.lock().set(spec.name(), value);
    }

    fn property(&self, _id: usize, spec: &glib::ParamSpec) -> glib::Value {
        if spec.name() == "statistics" {
            return Some(statistics::structure(&self.statistics())).to_value();
        }
        self.properties.lock().get(spec)
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
                // The same for bindings: structures instead of pointers.
                glib::subclass::Signal::builder("stream-metrics")
                    .param_types([gst::Structure::static_type()])
                    .build(),
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

impl GstObjectImpl for Imp {}

impl ElementImpl for Imp {
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
        // One of each kind is all that KVS takes.
        if self.obj().static_pad(name).is_some() {
            return None;
        }
        let pad = gst::Pad::builder_from_template(template)
            .name(name)
            .chain_function(move |pad, parent, buffer| {
                Self::catch_panic_pad_function(
                    parent,
                    || Err(gst::FlowError::Error),
                    |sink| sink.chain(kind, pad, &buffer),
                )
            })
            .event_function(move |pad, parent, event| {
                Self::catch_panic_pad_function(parent, || false, |sink| sink.event(kind, pad, event))
            })
            .build();
        // The core refuses caps that do not fit the template, and all that the application sees is "not negotiated".
        pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |pad, info| {
            if let Some(gst::EventView::Caps(event)) = info.event().map(|event| event.view())
                && let Some(message) = caps::refusal(&pad.pad_template_caps(), event.caps())
                && let Some(sink) = pad.parent_element()
            {
                gst::element_error!(sink, gst::StreamError::Format, ["{message}"]);
            }
            gst::PadProbeReturn::Ok
        });
        *self.tracks[index(kind)].lock() = Track::default();
        self.ask_latency.store(true, Ordering::Relaxed);
        self.obj().add_pad(&pad).ok()?;
        if let Some(shared) = self.shared() {
            shared.lock().producer.add_track(kind);
        }
        Some(pad)
    }

    fn release_pad(&self, pad: &gst::Pad) {
        let kind = kind_of(&pad.name());
        // A streaming thread that waits for room must leave the pad before it is deactivated.
        self.tracks[index(kind)].lock().flushing = true;
        if let Some(shared) = self.shared() {
            shared.notify_progress();
        }
        let _ = pad.set_active(false);
        let _ = self.obj().remove_pad(pad);
        if let Some(shared) = self.shared() {
            shared.lock().producer.end_track(kind, Instant::now());
            shared.wake();
            // It may have been the last that others waited for.
            self.finish_if_ended(&shared, None);
        }
    }

    /// The pipeline's latency has changed: what upstream's is, is asked before the next buffer.
    fn send_event(&self, event: gst::Event) -> bool {
        if event.type_() != gst::EventType::Latency {
            return self.parent_send_event(event);
        }
        self.ask_latency.store(true, Ordering::Relaxed);
        for pad in self.obj().sink_pads() {
            let _ = pad.push_event(event.clone());
        }
        true
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        match transition {
            gst::StateChange::ReadyToPaused => self.start()?,
            gst::StateChange::PlayingToPaused => {
                if let Some(running) = self.obj().current_running_time() {
                    self.timeline.lock().pause(running.nseconds().into());
                }
            }
            // Before the pads are deactivated: a streaming thread that waits for room must go on first.
            gst::StateChange::PausedToReady => self.stop(),
            _ => {}
        }
        let result = self.parent_change_state(transition);
        if transition == gst::StateChange::ReadyToPaused && result.is_err() {
            self.abort();
        }
        result
    }
}

impl Imp {
    pub(super) fn set_aws_context(&self, context: AwsContext) {
        *self.context.lock() = Some(context);
    }

    pub(super) fn set_event_handler(&self, handler: Handler) {
        *self.handler.lock() = Some(handler);
    }

    pub(super) fn statistics(&self) -> Statistics {
        let shared = match &*self.state.lock() {
            State::Started { shared, .. } => shared.clone(),
            State::Stopped(last) => return Statistics::clone(last),
        };
        shared.lock().producer.statistics()
    }

    pub(super) fn shared(&self) -> Option<Arc<Shared>> {
        match &*self.state.lock() {
            State::Started { shared, .. } => Some(shared.clone()),
            State::Stopped(_) => None,
        }
    }

    pub(super) fn stop_timeout(&self) -> Duration {
        seconds(self.properties.lock().stop_stream_timeout)
    }

    fn start(&self) -> Result<(), gst::StateChangeError> {
        let fail = |message: &str| {
            gst::element_imp_error!(self, gst::ResourceError::Settings, ["{message}"]);
            gst::StateChangeError
        };
        let runtime =
            self.runtime().map_err(|error| fail(&format!("no threads for the network: {error}")))?;
        let properties = self.properties.lock().clone();
        let upload = settings::upload_settings(&properties).map_err(|message| fail(&message))?;
        let mut producer = Producer::new(settings::producer_config(&properties));
        for pad in self.obj().sink_pads() {
            producer.add_track(kind_of(&pad.name()));
        }
        for track in &self.tracks {
            *track.lock() = Track::default();
        }
        let mut clock = WallClock::default();
        let source = settings::source(&properties, clock.now());
        let host_clock = clock.host();
        *self.clock.lock() = clock;
        let timeline = Timeline::new(source);
        let follows_clock = timeline.follows_clock() || settings::begins_now(&properties);
        *self.timeline.lock() = timeline;
        self.ask_latency.store(true, Ordering::Relaxed);
        self.key_wanted.store(false, Ordering::Relaxed);
        *self.metrics.lock() = Metrics::start(settings::bounds(&properties), Instant::now());
        let weak = self.obj().downgrade();
        let handler: Handler = Arc::new(move |event| {
            if let Some(sink) = weak.upgrade() {
                sink.imp().emit(event);
            }
        });
        let waits = properties.streaming_type == StreamingType::Offline;
        let shared = Arc::new(Shared::new(producer, waits, handler));
        let context = self.context.lock().clone();
        let hold = self.hold.lock().clone();
        {
            let mut inner = shared.lock();
            if hold.is_some() {
                inner.producer.hold();
            }
            inner.follows_clock = follows_clock;
            inner.host_clock = Some(host_clock);
            inner.wall = clock;
            if follows_clock {
                inner.producer.set_host_clock(host_clock);
            }
            // The application's context may have asked AWS already. That it knows of no difference may mean that not.
            if let Some(context) = context.as_ref().filter(|context| context.skew_ms() != 0) {
                inner.learn_aws_time(context.now());
            }
        }
        let task = runtime.spawn({
            let (shared, weak) = (shared.clone(), self.obj().downgrade());
            async move {
                let context = match context {
                    Some(context) => Ok(context),
                    None => settings::own_context(&properties).await,
                };
                let (error, message) = match context {
                    Ok(context) => {
                        let upload =
                            AssertUnwindSafe(uploader::run(Arc::clone(&shared), context, upload, hold));
                        // Without it nothing is stored any more, and nobody else would notice.
                        match upload.catch_unwind().await {
                            Ok(()) => return,
                            Err(panic) => (gst::ResourceError::Failed, uploader::panicked(panic.as_ref())),
                        }
                    }
                    Err(message) => (gst::ResourceError::Settings, message),
                };
                shared.fail();
                if let Some(sink) = weak.upgrade() {
                    gst::element_error!(sink, error, ["{message}"]);
                }
            }
        });
        *self.state.lock() = State::Started { shared, task };
        Ok(())
    }

    /// What the upload runs on.
    pub(super) fn runtime(&self) -> Result<Handle, &'static io::Error> {
        match &*self.runtime.lock() {
            Some(runtime) => Ok(runtime.clone()),
            None => RUNTIME.as_ref().map(|runtime| runtime.handle().clone()),
        }
    }

    /// Ends the last fragment and waits, within `stop-stream-timeout`, for its acknowledgement.
    fn stop(&self) {
        let Some(shared) = self.shared() else { return };
        shared.stop();
        if !shared.wait_drained(self.stop_timeout()) {
            gst::warning!(CAT, imp = self, "stopped before everything was acknowledged");
            if let Some(lost) = self.give_up(&shared) {
                gst::element_imp_error!(self, gst::ResourceError::Write, ["{lost}"]);
            }
        }
        self.abort();
        // The next sink, in this process or another, finds the spool closed and as it should be.
        shared.wait_spool();
    }

    /// The wait is over: what is not acknowledged goes to the spool, and what that does not take is lost. Returns the error
    /// that this is, unless there was one already that says why nothing is stored any more.
    pub(super) fn give_up(&self, shared: &Shared) -> Option<String> {
        shared.save_rest();
        let (lost, failed) = {
            let mut inner = shared.lock();
            (inner.producer.abandon(Instant::now()), inner.stage.has_failed())
        };
        // For what the session's end has brought.
        shared.wake();
        let lost = lost?;
        self.emit(SinkEvent::Producer(lost.clone()));
        let Event::Dropped { fragments, frames: [video, audio], .. } = lost else { return None };
        let seconds = self.stop_timeout().as_secs();
        (!failed).then(|| {
            format!(
                "{fragments} fragments with {video} video and {audio} audio frames are given up: Kinesis Video Streams \
                 has not confirmed them within {seconds} s (stop-stream-timeout) of the end"
            )
        })
    }

    fn abort(&self) {
        let (shared, task) = {
            let mut state = self.state.lock();
            match std::mem::take(&mut *state) {
                State::Started { shared, task } => (shared, task),
                stopped => {
                    *state = stopped;
                    return;
                }
            }
        };
        task.abort();
        shared.end();
        let last = {
            let producer = &mut shared.lock().producer;
            producer.drop_waiting_tags();
            producer.statistics()
        };
        *self.state.lock() = State::Stopped(Box::new(last));
    }
}
