//! What the pipelines' threads, the connection's task and the HTTP server share.

use super::failure::Failure;
use super::left_out::LeftOut;
use super::settings::Settings;
use super::standing::{Standing, Words};
use gst::prelude::*;
use kvs_rtmp::{Destination, Figures, Live, LiveConfig, Track, Tracks, ivs};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::Notify;

/// One output.
pub(super) struct Shared {
    pub(super) settings: Settings,
    live: Mutex<Live>,
    /// Media came that makes something due, or it is to stop.
    pub(super) wake: Notify,
    stopping: AtomicBool,
    connection: Mutex<Connection>,
    /// Where a key frame is asked for: the newest pipeline's.
    video: Mutex<Option<gst::glib::WeakRef<gst::Pad>>>,
    pub(super) sent_bytes: AtomicU64,
    /// Connections on which media was received.
    pub(super) connections: AtomicU64,
}

#[derive(Default)]
struct Connection {
    standing: Standing,
    destination: Option<Destination>,
    /// Bytes that the server has not acknowledged, if it acknowledges.
    unacknowledged: Option<u32>,
    failures: BTreeMap<&'static str, u64>,
    left_out: LeftOut,
}

/// For metrics.
pub(super) struct Snapshot {
    pub(super) live: Figures,
    pub(super) is_receiving: bool,
    pub(super) unacknowledged: Option<u32>,
    pub(super) failures: BTreeMap<&'static str, u64>,
}

impl Shared {
    pub(super) fn new(settings: Settings) -> Self {
        let live = Live::new(LiveConfig { silence: settings.silence, ..LiveConfig::default() });
        Self {
            settings,
            live: Mutex::new(live),
            wake: Notify::new(),
            stopping: AtomicBool::new(false),
            connection: Mutex::default(),
            video: Mutex::default(),
            sent_bytes: AtomicU64::new(0),
            connections: AtomicU64::new(0),
        }
    }

    /// A pipeline of these tracks feeds it from now on; `video` is its inlet for pictures.
    pub(super) fn attached(&self, tracks: Tracks, video: Option<&gst::Pad>) {
        self.live.lock().set_tracks(tracks, Instant::now());
        // What it brings, its first buffers tell.
        Track::ALL.into_iter().for_each(|track| self.set_unfit(track, None));
        *self.video.lock() = video.map(|pad| pad.downgrade());
    }

    /// Puts media in. It takes no longer than sorting it in does, and the bound is the queue's own. Most of it waits for its other
    /// track: nobody is woken for that.
    pub(super) fn put(&self, put: impl FnOnce(&mut Live, Instant)) {
        let now = Instant::now();
        let mut live = self.live.lock();
        put(&mut live, now);
        if live.is_due(now) {
            drop(live);
            self.wake.notify_one();
        }
    }

    /// With the queue.
    pub(super) fn with<T>(&self, use_it: impl FnOnce(&mut Live) -> T) -> T {
        use_it(&mut self.live.lock())
    }

    /// What comes of this track can be sent over RTMP, or `why` not.
    pub(super) fn set_unfit(&self, track: Track, why: Option<&String>) {
        let mut connection = self.connection.lock();
        let Some(failure) = why.map(|why| Failure::codec(why)) else {
            connection.standing.set_fit(track);
            return;
        };
        *connection.failures.entry(failure.reason).or_default() += 1;
        let (reason, message) = (failure.reason, failure.message.clone());
        if connection.standing.set_unfit(track, failure, Instant::now()) {
            tracing::warn!(output = self.settings.name, reason, "{}: {message}", target(&connection));
        }
    }

    /// Asks the master for a key frame, by way of the pipeline.
    pub(super) fn ask_for_key_frame(&self) {
        // Not under the lock: the event runs through the pipeline on this thread.
        let pad = self.video.lock().as_ref().and_then(gst::glib::WeakRef::upgrade);
        if let Some(pad) = pad {
            let structure = gst::Structure::builder("GstForceKeyUnit").field("all-headers", true).build();
            // False: nobody is there to ask, and the next pipeline begins with a key frame.
            let _ = pad.push_event(gst::event::CustomUpstream::new(structure));
        }
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    pub(super) fn set_destination(&self, destination: &Destination) {
        self.connection.lock().destination = Some(destination.clone());
    }

    pub(super) fn set_unacknowledged(&self, bytes: Option<u32>) {
        self.connection.lock().unacknowledged = bytes;
    }

    /// Media arrives.
    pub(super) fn receives(&self) {
        let mut connection = self.connection.lock();
        connection.standing.receives();
        self.connections.fetch_add(1, Ordering::Relaxed);
        tracing::info!(output = self.settings.name, "{} receives", target(&connection));
    }

    /// The broadcast was ended from here.
    pub(super) fn ended(&self) {
        let mut connection = self.connection.lock();
        connection.standing.ended();
        connection.unacknowledged = None;
        tracing::info!(
            output = self.settings.name,
            "the master has left: the broadcast to {} is over",
            target(&connection)
        );
    }

    /// It does not receive.
    pub(super) fn failed(&self, failure: Failure) {
        let mut connection = self.connection.lock();
        *connection.failures.entry(failure.reason).or_default() += 1;
        connection.unacknowledged = None;
        let (reason, message) = (failure.reason, failure.message.clone());
        if connection.standing.failed(failure, Instant::now()) {
            tracing::warn!(output = self.settings.name, reason, "{}: {message}", target(&connection));
        }
    }

    /// How it stands, in words.
    pub(super) fn words(&self) -> Words {
        let now = Instant::now();
        let (media, figures, missing, observed) =
            self.with(|live| (!live.is_idle(now), live.figures(), live.left_out(now), live.observed()));
        let mut connection = self.connection.lock();
        let mut notes = connection.left_out.notes(&figures, missing, now);
        let asks = connection
            .destination
            .as_ref()
            .filter(|it| ivs::is_ivs(it))
            .map(|destination| ivs::complaints(destination, &observed, self.settings.silence));
        if let Some(asks) = asks.filter(|asks| !asks.is_empty()) {
            notes.push(("IvsRequirements", format!("Amazon IVS asks for more: {}", asks.join("; "))));
        }
        connection.standing.words(media, &target(&connection), &notes)
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let live = self.with(|live| live.figures());
        let connection = self.connection.lock();
        Snapshot {
            live,
            is_receiving: connection.standing.is_receiving(),
            unacknowledged: connection.unacknowledged,
            failures: connection.failures.clone(),
        }
    }
}

fn target(connection: &Connection) -> String {
    connection.destination.as_ref().map_or_else(|| "the server".to_owned(), ToString::to_string)
}
