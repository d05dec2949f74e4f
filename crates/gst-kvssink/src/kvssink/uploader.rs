//! The task that moves bytes between the sans-IO producer and the network. The streaming threads only lock the producer,
//! put a frame in, and wake this task: no state change and no buffer ever waits for the network.

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kvs_aws::AwsContext;
use kvs_putmedia::transport::{Connection, SessionEvent, SessionTarget};
use kvs_putmedia::{
    Backoff, CloseReason, Event, Output, SessionId, SessionStart, Timecodes, TrackKind, Transmit,
};
use tokio::time::sleep_until;
use tokio_util::task::AbortOnDropHandle;

use super::control::{ControlError, StreamSettings, StreamTarget, resolve};
use super::event::SinkEvent;
use super::hold::{self, Hold, Predecessor};
use super::shared::Shared;
use super::spool::{Command, Report, Spool};

/// An endpoint is asked for again with the first session after this long, as the SDKs do it.
const TARGET_LIFE: Duration = Duration::from_secs(40 * 60);
/// Frames that come within so long after others were sent go together, unless one of them begins a fragment.
const HOLD: Duration = Duration::from_millis(250);

/// Credentials that were refused are not fetched anew sooner after the last time.
const RENEW_AGAIN: Duration = Duration::from_secs(15);
/// A look-up that has taken so long, and so long again, is told of.
const AWAITED: Duration = Duration::from_secs(5);
/// For so long a spool may be read before media goes on without it: a disk may be slow, and hold tens of thousands of fragments.
const SPOOL_PATIENCE: Duration = Duration::from_secs(30);

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
pub(super) async fn run(
    shared: Arc<Shared>,
    context: AwsContext,
    settings: UploadSettings,
    mut hold: Option<Hold>,
) {
    // What was said before counts as well.
    if let Some(hold) = &mut hold {
        hold.mark_changed();
    }
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
        lookup: Lookup::Idle,
        backoff,
        end_seen: false,
        renewal: Renewal::default(),
        session: None,
        hold,
        hold_until: None,
        spool_by: spool.is_some().then(|| Instant::now() + SPOOL_PATIENCE),
        spool,
    };
    upload.run().await;
}

/// What to say when [`run`] has panicked.
pub(super) fn panicked(panic: &(dyn Any + Send)) -> String {
    let words = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
    format!("the upload has panicked, and nothing is stored any more: {}", words.unwrap_or("no message"))
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
    lookup: Lookup,
    backoff: Backoff,
    /// The end of the input was seen: somebody waits for it, and not for long.
    end_seen: bool,
    renewal: Renewal,
    session: Option<Session>,
    /// Until another writer of the stream is over.
    hold: Option<Hold>,
    /// The task looks again then, and is not woken for each frame before.
    hold_until: Option<Instant>,
    /// Until then media waits for what the spool held from an earlier run, which is older.
    spool_by: Option<Instant>,
    spool: Option<Spool>,
}

/// The look-up of stream and endpoint.
enum Lookup {
    Idle,
    Running(Running),
    /// It has failed, and begins again then.
    Again(Instant),
}

/// A look-up that has no outcome yet.
struct Running {
    task: AbortOnDropHandle<Resolved>,
    since: Instant,
    /// The stream is there, and not active.
    creating: Arc<AtomicBool>,
    /// When it is told that it still runs.
    tell: Instant,
    told: bool,
}

/// A session on its way.
struct Session {
    id: SessionId,
    connection: Connection,
    body: Body,
}

/// What the connection takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    /// TCP and TLS do not stand yet.
    Opening,
    Free,
    /// It has had no room since then: it is asked for that before the producer is asked for more.
    FullSince(Instant),
}

impl Session {
    /// The body has had no room since then.
    fn full_since(&self) -> Option<Instant> {
        match self.body {
            Body::FullSince(since) => Some(since),
            Body::Opening | Body::Free => None,
        }
    }
}

enum Next {
    Woken,
    Due,
    Room,
    Session(Option<SessionEvent>),
    Resolved(Resolved),
    Spool(Option<Report>),
    Predecessor(Predecessor),
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
                Next::Woken => self.retry_soon_after_end(),
                Next::Due => self.due(),
                Next::Room => {
                    if let Some(session) = &mut self.session {
                        session.body = Body::Free;
                    }
                }
                Next::Session(event) => self.session(event),
                Next::Resolved(result) => {
                    self.lookup = Lookup::Idle;
                    self.resolved(result).await;
                }
                Next::Spool(report) => self.spooled(report).await,
                Next::Predecessor(predecessor) => self.predecessor(predecessor),
            }
        }
    }

    /// When the input has ended, the control plane is asked as often as after the first failure.
    fn retry_soon_after_end(&mut self) {
        let ended = self.shared.lock().stage.ended().is_some();
        if ended && !self.end_seen {
            // What is held has no time to wait any more.
            if let Some(hold) = self.hold.take() {
                let known = *hold.borrow();
                self.predecessor(Predecessor { over: true, ..known });
            }
            self.backoff.reset();
            if let Lookup::Again(at) = &mut self.lookup {
                *at = (*at).min(Instant::now() + self.backoff.next_delay());
            }
        }
        self.end_seen = ended;
    }

    /// There is a word of the other writer of the stream.
    fn predecessor(&mut self, Predecessor { stored, over }: Predecessor) {
        let (now, mut inner) = (Instant::now(), self.shared.lock());
        if let Some(stored) = stored {
            inner.producer.stored_elsewhere(stored, now);
        }
        if over {
            inner.producer.release(now);
            self.hold = None;
        }
    }

    async fn next(&mut self) -> Next {
        let producer = self.shared.lock().producer.poll_timeout();
        let again = match &self.lookup {
            Lookup::Again(at) => Some(*at),
            Lookup::Running(running) => Some(running.tell),
            Lookup::Idle => None,
        };
        let due =
            [producer, self.stuck_at(), again, self.hold_until, self.spool_by].into_iter().flatten().min();
        tokio::select! {
            () = self.shared.woken() => Next::Woken,
            () = at(due) => Next::Due,
            next = network(self.session.as_mut()) => next,
            result = resolution(&mut self.lookup) => Next::Resolved(result),
            report = report(self.spool.as_mut()) => Next::Spool(report),
            predecessor = hold::next(self.hold.as_mut()) => Next::Predecessor(predecessor),
        }
    }

    fn due(&mut self) {
        let now = Instant::now();
        self.shared.lock().producer.handle_timeout(now);
        if self.hold_until.is_some_and(|until| now >= until) {
            self.hold_until = None;
        }
        if self.spool_by.take_if(|by| now >= *by).is_some() {
            // It is taken when it has been read, all the same.
            self.shared.lock().producer.spool_unavailable(
                format!("it is not read after {} s: media does not wait for it", SPOOL_PATIENCE.as_secs()),
                now,
            );
        }
        match &mut self.lookup {
            Lookup::Again(at) if now >= *at => {
                self.lookup = Lookup::Idle;
                self.resolve();
            }
            Lookup::Running(running) if now >= running.tell => {
                running.tell = now + AWAITED;
                // Otherwise nobody misses it yet.
                if self.pending.is_some() {
                    let again = std::mem::replace(&mut running.told, true);
                    let (creating, waited) = (running.creating.load(Ordering::Relaxed), now - running.since);
                    let stream = self.settings.stream.name.clone();
                    self.shared.emit(SinkEvent::StreamAwaited { stream, creating, waited, again });
                }
            }
            Lookup::Idle | Lookup::Again(_) | Lookup::Running(_) => {}
        }
        // With acknowledgements the producer notices; without, nobody else does.
        if self.stuck_at().is_some_and(|at| now >= at)
            && let Some(Session { id, .. }) = self.session.take()
        {
            self.shared.lock().producer.handle_closed(id, CloseReason::Stale, now);
        }
    }

    /// When a connection that takes nothing is dead.
    fn stuck_at(&self) -> Option<Instant> {
        Some(self.session.as_ref()?.full_since()? + self.settings.staleness)
    }

    fn session(&mut self, event: Option<SessionEvent>) {
        let Some(session) = &mut self.session else { return };
        let id = session.id;
        let now = Instant::now();
        let mut inner = self.shared.lock();
        let producer = &mut inner.producer;
        let closed = match event {
            Some(SessionEvent::Expires(at)) => {
                producer.handle_expiry(id, at, now);
                None
            }
            Some(SessionEvent::Ready) => {
                session.body = Body::Free;
                None
            }
            Some(SessionEvent::Connected) => {
                producer.handle_connected(id);
                None
            }
            Some(SessionEvent::Acks(bytes)) => {
                producer.handle_acks(id, &bytes, now);
                None
            }
            Some(SessionEvent::Closed(reason)) => Some(reason),
            None => Some(CloseReason::Lost("the connection's task ended".to_owned())),
        };
        if let Some(reason) = closed {
            producer.handle_closed(id, reason, now);
            self.session = None;
        }
        drop(inner);
        self.shared.notify_progress();
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
        let Some(Session { id, connection, body }) = &mut self.session else { return sent };
        if *body == Body::Opening {
            return sent;
        }
        loop {
            let Some(room) = connection.try_reserve() else {
                if !connection.is_ended() && *body == Body::Free {
                    *body = Body::FullSince(Instant::now());
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
                    *body = Body::Free;
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
                    self.session.take_if(|session| session.id == id);
                }
                Some(Output::Spill(key, fragment)) => self.command_spool(Command::Spill(key, fragment)),
                Some(Output::Load(key)) => self.command_spool(Command::Load(key)),
                Some(Output::Delete(key)) => self.command_spool(Command::Delete(key)),
                Some(Output::Event(event)) => self.event(event).await,
                None => return,
            }
        }
    }

    fn command_spool(&self, command: Command) {
        if let Some(spool) = &self.spool {
            spool.send(command);
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
        self.shared.notify_progress();
    }

    async fn event(&mut self, event: Event) {
        match &event {
            Event::RefreshStream => self.target = None,
            Event::RefreshCredentials => self.renew_credentials().await,
            Event::Error { fatal: true, .. } => self.shared.lock().fail(),
            _ => {}
        }
        self.shared.notify_progress();
        self.shared.emit(SinkEvent::Producer(event));
    }

    /// The service refuses them: they are fetched anew, but not with every attempt.
    async fn renew_credentials(&mut self) {
        if self.renewal.is_due(Instant::now()) {
            self.context.invalidate_credentials().await;
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
        let connection = Connection::open(self.context.clone(), target, start);
        self.session = Some(Session { id: start.id, connection, body: Body::Opening });
    }

    /// Asks for the stream's endpoint, in the background: what comes in meanwhile is kept, spooled or dropped as in any
    /// other outage.
    fn resolve(&mut self) {
        if !matches!(self.lookup, Lookup::Idle) {
            return;
        }
        let (context, stream, media_type) =
            (self.context.clone(), self.settings.stream.clone(), self.media_type());
        let creating = Arc::<AtomicBool>::default();
        let waits = creating.clone();
        let task = tokio::spawn(async move { resolve(&context, &stream, media_type, waits).await });
        let (task, since) = (AbortOnDropHandle::new(task), Instant::now());
        self.lookup = Lookup::Running(Running { task, since, creating, tell: since + AWAITED, told: false });
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
                self.shared.emit(SinkEvent::StreamReady {
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
                if self.pending.is_some() {
                    self.lookup = Lookup::Again(Instant::now() + Duration::from_secs(1));
                }
                return;
            }
            Err(error) => error,
        };
        // A stream that is gone in the middle may be made again; what is buffered must not go with it.
        let fatal = error.fatal && !self.was_ready;
        let ControlError { code, message, denied, .. } = error;
        if denied {
            self.renew_credentials().await;
        }
        self.event(Event::Error { code, message, fatal, denied }).await;
        if fatal {
            self.pending = None;
        } else if let Some((_, since)) = &mut self.target {
            // The old endpoint may still do.
            *since = Instant::now();
            self.connect();
        } else {
            self.lookup = Lookup::Again(Instant::now() + self.backoff.next_delay());
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
async fn network(session: Option<&mut Session>) -> Next {
    match session {
        Some(session) => {
            let full = session.full_since().is_some();
            session.connection.next(full).await.map_or(Next::Room, Next::Session)
        }
        None => std::future::pending().await,
    }
}

async fn resolution(lookup: &mut Lookup) -> Resolved {
    match lookup {
        Lookup::Running(Running { task, .. }) => task.await.unwrap_or_else(|error| {
            let message = format!("looking the stream up has failed: {error}");
            Err(ControlError { message, code: 0, fatal: false, denied: false })
        }),
        Lookup::Idle | Lookup::Again(_) => std::future::pending().await,
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
