//! The task that moves bytes between the sans-IO producer and the network. The streaming threads only lock the producer,
//! put a frame in, and wake this task: no state change and no buffer ever waits for the network.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use kvs_aws::AwsContext;
use kvs_putmedia::transport::{Connection, SessionEvent, SessionTarget};
use kvs_putmedia::{
    Backoff, CloseReason, Event, Output, SessionId, SessionStart, Timecodes, TrackKind, Transmit,
};
use tokio::runtime::Runtime;
use tokio::time::sleep_until;
use tokio_util::task::AbortOnDropHandle;

use super::control::{ControlError, StreamSettings, StreamTarget, resolve};
use super::shared::Shared;
use super::spool::{Command, Report, Spool};
use super::{SinkEvent, log, threads};

/// An endpoint is asked for again with the first session after this long, as the SDKs do it.
const TARGET_LIFE: Duration = Duration::from_secs(40 * 60);
/// Frames that come within so long after others were sent go together, unless one of them begins a fragment.
const HOLD: Duration = Duration::from_millis(250);

/// Credentials that were refused are not fetched anew sooner after the last time.
const RENEW_AGAIN: Duration = Duration::from_secs(15);

/// Threads that look up names and read credentials, for all sinks of the process. More look-ups wait for a thread.
const MAX_BLOCKING_THREADS: usize = 16;

/// One small runtime for all sinks of the process. It is made when the first one starts.
pub(super) static RUNTIME: LazyLock<Result<Runtime, std::io::Error>> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("kvssink")
        .max_blocking_threads(MAX_BLOCKING_THREADS)
        .on_thread_start(|| {
            threads::mask();
            log::bridge();
        })
        .enable_all()
        .build()
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
    /// A connection that takes nothing for so long is dead.
    pub(super) staleness: Duration,
    /// First and last ceiling of the delay before the control plane is asked again.
    pub(super) backoff: (Duration, Duration),
    /// Folder of the spool.
    pub(super) spool: Option<PathBuf>,
}

/// Runs until its task is aborted.
pub(super) async fn run(shared: Arc<Shared>, context: AwsContext, settings: UploadSettings) {
    let spool = settings.spool.clone().and_then(|root| {
        let stream = format!("{}/{}", context.region(), settings.stream.name);
        match Spool::start(root, stream) {
            Ok((spool, ended)) => {
                shared.spool_started(ended);
                Some(spool)
            }
            Err(error) => {
                let message = format!("no thread for the spool: {error}");
                shared.lock().producer.spool_unavailable(message, Instant::now());
                None
            }
        }
    });
    let backoff = Backoff::new(settings.backoff.0, settings.backoff.1, seed());
    let upload = Upload {
        shared,
        context,
        settings,
        target: None,
        was_ready: false,
        pending: None,
        resolving: None,
        resolve_at: None,
        backoff,
        hurries: false,
        renewal: Renewal::default(),
        connection: None,
        full_since: None,
        hold_until: None,
        ready: false,
        spool,
    };
    upload.run().await;
}

type Resolved = Result<Option<StreamTarget>, ControlError>;

struct Upload {
    shared: Arc<Shared>,
    context: AwsContext,
    settings: UploadSettings,
    /// Where the stream is, and since when that is known.
    target: Option<(StreamTarget, Instant)>,
    /// The stream was found once: what is wrong with it now may pass.
    was_ready: bool,
    /// A session that waits for the target.
    pending: Option<SessionStart>,
    resolving: Option<AbortOnDropHandle<Resolved>>,
    /// The target could not be had; it is asked for again then.
    resolve_at: Option<Instant>,
    backoff: Backoff,
    /// The end of the input was seen: somebody waits for it, and not for long.
    hurries: bool,
    renewal: Renewal,
    connection: Option<(SessionId, Connection)>,
    /// The connection has had no room since then: ask for it before the producer.
    full_since: Option<Instant>,
    /// The task looks again then, and is not woken for each frame before.
    hold_until: Option<Instant>,
    /// TCP and TLS stand.
    ready: bool,
    spool: Option<Spool>,
}

enum Next {
    Woken,
    Due,
    Room,
    Session(Option<SessionEvent>),
    Resolved(Resolved),
    Spool(Option<Report>),
}

impl Upload {
    async fn run(mut self) {
        // A stream that is missing, or credentials that do not do, show before the first frame comes.
        self.resolve();
        loop {
            self.outputs().await;
            self.transmit();
            // What sending changed (a session's end, say) may have made more to do.
            self.outputs().await;
            match self.next().await {
                Next::Woken => self.hurry(),
                Next::Due => self.due(),
                Next::Room => self.full_since = None,
                Next::Session(event) => self.session(event),
                Next::Resolved(result) => {
                    self.resolving = None;
                    self.resolved(result).await;
                }
                Next::Spool(report) => self.spooled(report).await,
            }
        }
    }

    /// When the input has ended, the control plane is asked as often as after the first failure.
    fn hurry(&mut self) {
        let finished = self.shared.lock().finished.is_some();
        if finished && !self.hurries {
            self.backoff.reset();
            if let Some(at) = &mut self.resolve_at {
                *at = (*at).min(Instant::now() + self.backoff.next_delay());
            }
        }
        self.hurries = finished;
    }

    async fn next(&mut self) -> Next {
        let producer = self.shared.lock().producer.poll_timeout();
        let stuck = self.full_since.filter(|_| self.ready).map(|since| since + self.settings.staleness);
        let due = [producer, stuck, self.resolve_at, self.hold_until].into_iter().flatten().min();
        let full = self.full_since.is_some();
        tokio::select! {
            () = self.shared.woken() => Next::Woken,
            () = at(due) => Next::Due,
            next = network(self.connection.as_mut(), full) => next,
            result = resolution(self.resolving.as_mut()) => Next::Resolved(result),
            report = report(self.spool.as_mut()) => Next::Spool(report),
        }
    }

    fn due(&mut self) {
        let now = Instant::now();
        self.shared.lock().producer.handle_timeout(now);
        if self.hold_until.is_some_and(|until| now >= until) {
            self.hold_until = None;
        }
        if self.resolve_at.is_some_and(|at| now >= at) {
            self.resolve_at = None;
            self.resolve();
        }
        // With acknowledgements the producer notices; without, nobody else does.
        if let (Some(since), Some((id, _))) = (self.full_since.filter(|_| self.ready), &self.connection)
            && now >= since + self.settings.staleness
        {
            self.shared.lock().producer.handle_closed(*id, CloseReason::Stale, now);
            self.connection = None;
            self.full_since = None;
        }
    }

    fn session(&mut self, event: Option<SessionEvent>) {
        let Some((id, _)) = &self.connection else { return };
        let id = *id;
        let now = Instant::now();
        let mut inner = self.shared.lock();
        let producer = &mut inner.producer;
        match event {
            Some(SessionEvent::Expires(at)) => producer.handle_expiry(id, at, now),
            Some(SessionEvent::Ready) => self.ready = true,
            Some(SessionEvent::Connected) => producer.handle_connected(id),
            Some(SessionEvent::Acks(bytes)) => producer.handle_acks(id, &bytes, now),
            Some(SessionEvent::Closed(reason)) => {
                producer.handle_closed(id, reason, now);
                self.connection = None;
                self.full_since = None;
            }
            None => {
                let reason = CloseReason::Lost("the connection's task ended".to_owned());
                producer.handle_closed(id, reason, now);
                self.connection = None;
                self.full_since = None;
            }
        }
        drop(inner);
        self.shared.look_again();
    }

    /// Sends what the connection takes.
    fn transmit(&mut self) {
        if self.hold_until.is_none() {
            // Before it looks: a frame that saw the hold is in the producer by now, one that did not wakes the task.
            self.shared.hold(false);
        }
        if self.send() {
            self.hold_until = Some(Instant::now() + HOLD);
            self.shared.hold(true);
        }
    }

    /// Says whether anything was sent.
    fn send(&mut self) -> bool {
        let mut sent = false;
        let Some((id, connection)) = &mut self.connection else { return sent };
        if !self.ready {
            return sent;
        }
        loop {
            let Some(room) = connection.try_reserve() else {
                if !connection.is_ended() {
                    self.full_since.get_or_insert_with(Instant::now);
                }
                return sent;
            };
            match self.shared.lock().producer.poll_transmit(*id, Instant::now()) {
                Transmit::Data(data) => {
                    room.send(data);
                    sent = true;
                }
                Transmit::Wait => return sent,
                Transmit::End => {
                    drop(room);
                    connection.end();
                    self.full_since = None;
                    return sent;
                }
            }
        }
    }

    async fn outputs(&mut self) {
        loop {
            let output = self.shared.lock().producer.poll_output();
            match output {
                Some(Output::Connect(start)) => {
                    self.pending = Some(start);
                    self.connect();
                }
                Some(Output::Abort(id)) => {
                    self.pending = self.pending.filter(|start| start.id != id);
                    if self.connection.as_ref().is_some_and(|(open, _)| *open == id) {
                        self.connection = None;
                        self.full_since = None;
                    }
                }
                Some(Output::Spill(key, fragment)) => self.tell_spool(Command::Spill(key, fragment)),
                Some(Output::Load(key)) => self.tell_spool(Command::Load(key)),
                Some(Output::Delete(key)) => self.tell_spool(Command::Delete(key)),
                Some(Output::Event(event)) => self.event(event).await,
                None => return,
            }
        }
    }

    fn tell_spool(&self, command: Command) {
        if let Some(spool) = &self.spool {
            spool.tell(command);
        }
    }

    async fn spooled(&mut self, report: Option<Report>) {
        let now = Instant::now();
        let mut messages = Vec::new();
        {
            let producer = &mut self.shared.lock().producer;
            match report {
                Some(Report::Opened { run, found, damaged }) => {
                    messages = damaged;
                    producer.spool_opened(run, found, now);
                }
                Some(Report::Unavailable(message)) => producer.spool_unavailable(message, now),
                Some(Report::Spilled(key, result)) => producer.handle_spilled(key, result, now),
                Some(Report::Loaded(key, result)) => producer.handle_loaded(key, result, now),
                Some(Report::NotDeleted(message)) => messages.push(message),
                None => {
                    self.spool = None;
                    producer.spool_lost("the spool's thread has died".to_owned(), now);
                }
            }
        }
        for message in messages {
            self.event(Event::SpoolFailed { message }).await;
        }
        self.shared.look_again();
    }

    async fn event(&mut self, event: Event) {
        match &event {
            Event::RefreshStream => self.target = None,
            Event::RefreshCredentials => self.renew_credentials().await,
            Event::Error { fatal: true, .. } => self.shared.lock().failed = true,
            _ => {}
        }
        self.shared.look_again();
        self.shared.tell(SinkEvent::Producer(event));
    }

    /// The service refuses them: they are fetched anew, but not with every attempt.
    async fn renew_credentials(&mut self) {
        if self.renewal.is_due(Instant::now()) {
            self.context.forget_credentials().await;
        }
    }

    /// Opens the session that waits, if it is known where.
    fn connect(&mut self) {
        if self.target.as_ref().is_none_or(|(_, since)| since.elapsed() >= TARGET_LIFE) {
            self.resolve();
            return;
        }
        let (Some(start), Some((target, _))) = (self.pending.take(), &self.target) else { return };
        let target = SessionTarget {
            endpoint: target.endpoint.clone(),
            stream_name: self.settings.stream.name.clone(),
            user_agent: self.settings.user_agent.clone(),
            timecodes: self.settings.timecodes,
            fragment_acks: self.settings.fragment_acks,
            connect_timeout: self.settings.connect_timeout,
            answer_timeout: self.settings.answer_timeout,
        };
        self.full_since = None;
        self.ready = false;
        self.connection = Some((start.id, Connection::open(self.context.clone(), target, start)));
    }

    /// Asks for the stream's endpoint, in the background: what comes in meanwhile is kept, spooled or dropped as in any
    /// other outage.
    fn resolve(&mut self) {
        if self.resolving.is_some() || self.resolve_at.is_some() {
            return;
        }
        let (context, stream, media_type) =
            (self.context.clone(), self.settings.stream.clone(), self.media_type());
        let task = tokio::spawn(async move { resolve(&context, &stream, media_type.as_deref()).await });
        self.resolving = Some(AbortOnDropHandle::new(task));
    }

    async fn resolved(&mut self, result: Resolved) {
        let error = match result {
            Ok(Some(target)) => {
                {
                    let mut inner = self.shared.lock();
                    inner.producer.set_retention(target.retention_hours > 0);
                    // AWS has answered, so its time is known.
                    inner.learn_aws_time(self.context.now());
                }
                self.shared.tell(SinkEvent::StreamReady {
                    stream: self.settings.stream.name.clone(),
                    retention_hours: target.retention_hours,
                });
                self.was_ready = true;
                self.backoff.reset();
                let warning = target.warning.clone();
                self.target = Some((target, Instant::now()));
                self.connect();
                if let Some(message) = warning {
                    self.event(Event::Error { code: 0, message, fatal: false, denied: false }).await;
                }
                return;
            }
            // The stream must be created, and no track has told yet what it will hold.
            Ok(None) => {
                self.resolve_at = self.pending.map(|_| Instant::now() + Duration::from_secs(1));
                return;
            }
            Err(error) => error,
        };
        // A stream that is gone in the middle may be made again; what is buffered must not go with it.
        let fatal = error.fatal && !self.was_ready;
        if error.refused {
            self.renew_credentials().await;
        }
        let (code, denied) = (error.code, error.refused);
        self.event(Event::Error { code, message: error.message, fatal, denied }).await;
        if fatal {
            self.pending = None;
        } else if let Some((_, since)) = &mut self.target {
            // The old endpoint may still do.
            *since = Instant::now();
            self.connect();
        } else {
            self.resolve_at = Some(Instant::now() + self.backoff.next_delay());
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

/// When refused credentials were last fetched anew.
#[derive(Default)]
struct Renewal(Option<Instant>);

impl Renewal {
    /// Whether that was long enough ago; then it is now.
    fn is_due(&mut self, now: Instant) -> bool {
        let due = self.0.is_none_or(|last| now.saturating_duration_since(last) >= RENEW_AGAIN);
        if due {
            self.0 = Some(now);
        }
        due
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

async fn resolution(resolving: Option<&mut AbortOnDropHandle<Resolved>>) -> Resolved {
    match resolving {
        Some(task) => task.await.unwrap_or_else(|error| {
            let message = format!("looking the stream up has failed: {error}");
            Err(ControlError { message, code: 0, fatal: false, refused: false })
        }),
        None => std::future::pending().await,
    }
}

async fn report(spool: Option<&mut Spool>) -> Option<Report> {
    match spool {
        Some(spool) => spool.report().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_credentials_are_not_fetched_with_every_attempt() {
        let (mut renewal, start) = (Renewal::default(), Instant::now());
        let fetched = (0..60).filter(|n| renewal.is_due(start + Duration::from_secs(*n))).collect::<Vec<_>>();
        assert_eq!(fetched, [0, 15, 30, 45]);
    }
}
