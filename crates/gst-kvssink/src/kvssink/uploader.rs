//! The task that moves bytes between the sans-IO producer and the network. The streaming threads only lock the producer,
//! put a frame in, and wake this task: no state change and no buffer ever waits for the network.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use kvs_aws::AwsContext;
use kvs_putmedia::transport::{Connection, SessionEvent, SessionTarget};
use kvs_putmedia::{
    Backoff, Event, Output, Producer, SessionId, SessionStart, Timecodes, TrackKind, Transmit,
};
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::time::sleep_until;

use super::control::{StreamSettings, StreamTarget, resolve};
use super::{Handler, SinkEvent};

/// One small runtime for all sinks of the process. It is made when the first one starts.
pub(super) static RUNTIME: LazyLock<Result<Runtime, std::io::Error>> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("kvssink").enable_all().build()
});

/// How the producer's stream is reached.
#[derive(Clone)]
pub(super) struct UploadSettings {
    pub(super) stream: StreamSettings,
    pub(super) user_agent: String,
    pub(super) timecodes: Timecodes,
    pub(super) fragment_acks: bool,
    pub(super) connect_timeout: Duration,
    pub(super) answer_timeout: Duration,
}

/// What streaming threads and the upload task share.
pub(super) struct Shared {
    inner: Mutex<Inner>,
    /// There is something to send, or to stop for.
    wake: Notify,
    /// Room in the storage, everything acknowledged, given up, flushed, stopped: whoever waits should look again.
    progress: Condvar,
    handler: Handler,
}

/// The producer, and what keeps it from going on.
pub(super) struct Inner {
    pub(super) producer: Producer,
    /// A streaming thread waits for room, instead of the oldest fragment being dropped.
    pub(super) waits: bool,
    /// A fatal error: nothing will be stored any more.
    pub(super) failed: bool,
    /// No more frames are taken.
    pub(super) stopping: bool,
    /// The element has left PAUSED: nobody waits any longer.
    pub(super) over: bool,
}

impl Shared {
    pub(super) fn new(producer: Producer, waits: bool, handler: Handler) -> Self {
        let inner = Inner { producer, waits, failed: false, stopping: false, over: false };
        Self { inner: Mutex::new(inner), wake: Notify::new(), progress: Condvar::new(), handler }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// The producer got something.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Whoever waits should look again.
    pub(super) fn look_again(&self) {
        // Whoever has looked already waits by now, and hears it.
        drop(self.lock());
        self.progress.notify_all();
    }

    /// Waits until it is time to look again.
    pub(super) fn wait(&self, inner: &mut MutexGuard<'_, Inner>) {
        self.progress.wait(inner);
    }

    /// Nothing will be stored any more.
    pub(super) fn fail(&self) {
        self.lock().failed = true;
        self.look_again();
    }

    /// Takes no more frames, and sends what there is.
    pub(super) fn stop(&self) {
        let mut inner = self.lock();
        inner.stopping = true;
        inner.producer.finish(Instant::now());
        drop(inner);
        self.look_again();
        self.wake();
    }

    /// Nobody sends any more.
    pub(super) fn end(&self) {
        self.lock().over = true;
        self.look_again();
    }

    pub(super) fn is_over(&self) -> bool {
        self.lock().over
    }

    /// Waits until everything is acknowledged. False when that did not happen in time, or never will.
    pub(super) fn wait_drained(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut inner = self.lock();
        while !inner.producer.is_drained() && !inner.failed && !inner.over {
            if self.progress.wait_until(&mut inner, deadline).timed_out() {
                break;
            }
        }
        inner.producer.is_drained()
    }
}

/// Runs until its task is aborted.
pub(super) async fn run(shared: Arc<Shared>, context: AwsContext, settings: UploadSettings) {
    let mut upload =
        Upload { shared, context, settings, target: None, connection: None, full: false, ready: false };
    upload.run().await;
}

struct Upload {
    shared: Arc<Shared>,
    context: AwsContext,
    settings: UploadSettings,
    target: Option<StreamTarget>,
    connection: Option<(SessionId, Connection)>,
    /// The connection has no room: ask for it before the producer.
    full: bool,
    /// TCP and TLS stand.
    ready: bool,
}

enum Next {
    Woken,
    Room,
    Session(Option<SessionEvent>),
}

impl Upload {
    async fn run(&mut self) {
        // A stream that is missing, or credentials that do not do, show before the first frame comes.
        self.resolve().await;
        loop {
            self.outputs().await;
            self.transmit();
            // What sending changed (a session's end, say) may have made more to do.
            self.outputs().await;
            let timeout = self.shared.lock().producer.poll_timeout();
            let full = self.full;
            let next = tokio::select! {
                () = self.shared.wake.notified() => Next::Woken,
                () = at(timeout) => {
                    self.shared.lock().producer.handle_timeout(Instant::now());
                    Next::Woken
                }
                next = network(self.connection.as_mut(), full) => next,
            };
            match next {
                Next::Woken => {}
                Next::Room => self.full = false,
                Next::Session(event) => self.session(event),
            }
        }
    }

    fn session(&mut self, event: Option<SessionEvent>) {
        let Some((id, _)) = &self.connection else { return };
        let id = *id;
        let now = Instant::now();
        let mut inner = self.shared.lock();
        let producer = &mut inner.producer;
        match event {
            Some(SessionEvent::Ready) => self.ready = true,
            Some(SessionEvent::Connected) => producer.handle_connected(id),
            Some(SessionEvent::Acks(bytes)) => producer.handle_acks(id, &bytes, now),
            Some(SessionEvent::Closed(reason)) => {
                producer.handle_closed(id, reason, now);
                self.connection = None;
            }
            None => {
                let reason = kvs_putmedia::CloseReason::Lost("the connection's task ended".to_owned());
                producer.handle_closed(id, reason, now);
                self.connection = None;
            }
        }
        drop(inner);
        self.shared.look_again();
    }

    /// Sends what the connection takes.
    fn transmit(&mut self) {
        let Some((id, connection)) = &mut self.connection else { return };
        if !self.ready {
            return;
        }
        loop {
            let Some(room) = connection.try_reserve() else {
                self.full = true;
                return;
            };
            match self.shared.lock().producer.poll_transmit(*id, Instant::now()) {
                Transmit::Data(data) => room.send(data),
                Transmit::Wait => return,
                Transmit::End => {
                    drop(room);
                    connection.end();
                    self.full = true;
                    return;
                }
            }
        }
    }

    async fn outputs(&mut self) {
        loop {
            let output = self.shared.lock().producer.poll_output();
            match output {
                Some(Output::Connect(start)) => self.connect(start).await,
                Some(Output::Abort(id)) => {
                    if self.connection.as_ref().is_some_and(|(open, _)| *open == id) {
                        self.connection = None;
                    }
                }
                Some(Output::Event(event)) => self.event(event).await,
                None => return,
            }
        }
    }

    async fn event(&mut self, event: Event) {
        match &event {
            Event::RefreshStream => self.target = None,
            Event::RefreshCredentials => self.context.forget_credentials().await,
            Event::Error { fatal: true, .. } => self.shared.lock().failed = true,
            _ => {}
        }
        self.shared.look_again();
        (self.shared.handler)(SinkEvent::Producer(event));
    }

    async fn connect(&mut self, start: SessionStart) {
        let Some(target) = self.resolve().await else { return };
        let target = SessionTarget {
            endpoint: target.endpoint,
            stream_name: self.settings.stream.name.clone(),
            user_agent: self.settings.user_agent.clone(),
            timecodes: self.settings.timecodes,
            fragment_acks: self.settings.fragment_acks,
            connect_timeout: self.settings.connect_timeout,
            answer_timeout: self.settings.answer_timeout,
        };
        self.full = false;
        self.ready = false;
        self.connection = Some((start.id, Connection::open(self.context.clone(), target, start)));
    }

    /// The stream's endpoint, asked for until it is known. `None` after a fatal error, or when the stream must be created
    /// and no track has told yet what it will hold. The producer keeps what comes in the meantime, and its timers run
    /// late only by what a call takes.
    async fn resolve(&mut self) -> Option<StreamTarget> {
        if let Some(target) = &self.target {
            return Some(target.clone());
        }
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(30), seed());
        loop {
            let media_type = self.media_type();
            let error = match resolve(&self.context, &self.settings.stream, media_type.as_deref()).await {
                Ok(Some(target)) => {
                    self.shared.lock().producer.set_retention(target.retention_hours > 0);
                    (self.shared.handler)(SinkEvent::StreamReady {
                        stream: self.settings.stream.name.clone(),
                        retention_hours: target.retention_hours,
                    });
                    self.target = Some(target.clone());
                    if let Some(message) = target.warning.clone() {
                        self.event(Event::Error { code: 0, message, fatal: false }).await;
                    }
                    return Some(target);
                }
                Ok(None) => return None,
                Err(error) => error,
            };
            let fatal = error.fatal;
            if error.refused {
                self.context.forget_credentials().await;
            }
            self.event(Event::Error { code: error.code, message: error.message, fatal }).await;
            if fatal {
                return None;
            }
            let until = tokio::time::Instant::now() + backoff.next_delay();
            loop {
                tokio::select! {
                    () = sleep_until(until) => break,
                    // The storage bound holds meanwhile.
                    () = self.shared.wake.notified() => {}
                }
            }
        }
    }

    /// The stream's media type, once a track is known; by the time of the first session all are.
    fn media_type(&self) -> Option<String> {
        let inner = self.shared.lock();
        let formats = TrackKind::ALL.map(|kind| inner.producer.format(kind).map(|format| format.codec));
        let types: Vec<_> = formats.iter().flatten().map(|codec| codec.media_type()).collect();
        (!types.is_empty()).then(|| types.join(","))
    }
}

fn seed() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(1, |since| since.as_nanos() as u64)
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// What the connection does next: it has room again, when that is waited for, or something happens on it.
async fn network(connection: Option<&mut (SessionId, Connection)>, full: bool) -> Next {
    match connection {
        Some((_, connection)) => connection.next(full).await.map_or(Next::Room, Next::Session),
        None => std::future::pending().await,
    }
}
