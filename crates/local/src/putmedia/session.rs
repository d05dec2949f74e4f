//! [`Session`]: moves bytes between a PutMedia connection, its [`Ingest`] and the disk.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::body::BodyDataStream;
use bytes::Bytes;
use futures::StreamExt;
use tokio::time::{Instant, sleep_until};

use super::acks::Acks;
use super::drain::drain;
use super::head::Head;
use super::persist::{Job, NotStored, Persister};
use super::sessions::Open;
use super::{Ack, Ingest, Output};
use crate::{
    Abort, App,
    clock::now_ms,
    faults::{Fault, Modes},
    model::ErrorId,
};

/// How often a session checks whether its stream still exists.
const STREAM_CHECK: Duration = Duration::from_secs(1);
/// How long the body is read on after an error, so that the producer can read it before the connection goes.
const LINGER: Duration = Duration::from_secs(5);

type Piece = Option<Result<Bytes, axum::Error>>;

/// Why a session ended.
enum End {
    /// The body is complete.
    Complete,
    /// The producer has closed or broken the connection; what was open never will be complete.
    Disconnected(String),
    /// The service refuses it, and says so in an error acknowledgement.
    Error(ErrorId, String),
    /// A complete fragment could not be stored, which the producer knows already.
    NotStored(ErrorId, String),
    /// Nothing came for too long.
    Idle,
    /// The key that it was opened with has ended.
    Expired,
    /// The server ends.
    Stop,
    /// A fault resets the connection.
    Reset,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Complete => f.write_str("complete"),
            End::Disconnected(reason) => f.write_str(reason),
            End::Error(id, reason) | End::NotStored(id, reason) => write!(f, "{}: {reason}", id.code()),
            End::Expired => f.write_str("its credentials have ended"),
            End::Idle => f.write_str("nothing came for too long"),
            End::Stop => f.write_str("the server ends"),
            End::Reset => f.write_str("reset on purpose"),
        }
    }
}

#[derive(Debug, Clone)]
struct OpenFragment {
    number: String,
    /// Of its cluster, as it came.
    timecode: u64,
    /// When its first bytes came, milliseconds since 1970.
    server_ms: u64,
}

pub(super) struct Session {
    app: Arc<App>,
    head: Head,
    /// The stream's key.
    stream: String,
    /// When the key that it was opened with ends.
    until: Option<Instant>,
    /// `None` once the session no longer counts.
    open: Option<Open>,
    id: u64,
    /// Milliseconds since 1970.
    began_ms: u64,
    acks: Acks,
    abort: Abort,
    fragment: Option<OpenFragment>,
    modes: Modes,
    persister: Persister,
}

impl Session {
    pub(super) fn new(
        app: Arc<App>,
        head: Head,
        until: Option<SystemTime>,
        open: Open,
        acks: Acks,
        abort: Abort,
    ) -> Self {
        let until = until.map(|at| Instant::now() + at.duration_since(SystemTime::now()).unwrap_or_default());
        let persister = Persister::start(app.clone(), head.stream.clone(), acks.clone());
        let (stream, id) = (head.stream.folder(), open.id);
        let modes = Modes::default();
        let open = Some(open);
        let began_ms = now_ms();
        Self { app, head, stream, until, open, id, began_ms, acks, abort, fragment: None, modes, persister }
    }

    /// Runs to the end of the body, of the producer, or of the session's life.
    pub(super) async fn run(mut self, first: Option<Piece>, mut body: BodyDataStream) {
        let name = self.head.stream.name.clone();
        tracing::info!(stream = name, session = self.id, "PutMedia session begins");
        let end = self.read(first, &mut body).await;
        let Self {
            app,
            stream,
            open,
            id,
            acks,
            abort,
            fragment,
            modes,
            persister,
            head: _,
            until: _,
            began_ms: _,
        } = self;
        if matches!(end, End::Reset) {
            abort.reset();
        }
        // What is complete is stored and acknowledged before the last word.
        let end = match persister.finish(matches!(end, End::Disconnected(_) | End::Reset)).await {
            Ok(()) => end,
            Err(failed) => failed.into(),
        };
        tracing::info!(stream = name, session = id, %end, "PutMedia session ends");
        // From here on it does not count, and its producer may come again.
        drop(open);
        app.faults.session_ended(&stream, id);
        app.put_media.count(&stream, |counters| {
            counters.cut += u64::from(fragment.is_some());
            if let End::Error(id, _) | End::NotStored(id, _) = &end {
                *counters.errors.entry(*id as u16).or_default() += 1;
            }
        });
        if let End::Error(id, _) = &end {
            let fragment = fragment.as_ref();
            let ack = Ack::Error {
                timecode: fragment.map(|fragment| fragment.timecode),
                number: fragment.map(|fragment| fragment.number.clone()),
                id: *id,
            };
            acks.send(modes, &ack).await;
        }
        drop(acks);
        if matches!(end, End::Error(..) | End::NotStored(..)) {
            drain(body, LINGER).await;
        }
    }

    async fn read(&mut self, mut first: Option<Piece>, body: &mut BodyDataStream) -> End {
        let limits = self.app.config.put_media.clone();
        let mut ingest = Ingest::new(limits.fragment);
        let stop = self.app.stop.clone();
        let mut faults = self.app.faults.changes();
        let mut failed = self.persister.failed();
        let opened = Instant::now();
        let mut last_data = opened;
        let mut idle_acks = 0;
        // When a session that a fault makes slow reads on.
        let mut resume = opened;
        self.refresh_modes();
        loop {
            let now = Instant::now();
            let silence = now.saturating_duration_since(last_data.max(resume));
            if now - opened >= limits.lifetime {
                return End::Error(
                    ErrorId::MaxConnectionDurationReached,
                    "the session is too old".to_owned(),
                );
            }
            if self.until.is_some_and(|until| now >= until) {
                return End::Expired;
            }
            if !self.modes.stop_reading {
                if silence >= limits.idle {
                    return End::Idle;
                }
                if silence >= limits.idle_ack * (idle_acks + 1) {
                    idle_acks += 1;
                    self.send(&Ack::Idle).await;
                }
            }
            if self.deleted() {
                return End::Error(ErrorId::StreamNotActive, "the stream was deleted".to_owned());
            }
            let reading = !self.modes.stop_reading && now >= resume;
            let wake = [
                Some(now + STREAM_CHECK),
                Some(opened + limits.lifetime),
                Some(last_data + limits.idle),
                Some(last_data + limits.idle_ack * (idle_acks + 1)),
                (now < resume).then_some(resume),
                self.until,
            ];
            let wake = wake.into_iter().flatten().filter(|at| *at > now).min().unwrap_or(now + STREAM_CHECK);
            let piece = match first.take() {
                Some(piece) => piece,
                None => tokio::select! {
                    biased;
                    () = stop.cancelled() => return End::Stop,
                    () = self.acks.closed() => return End::Disconnected("the producer closed the connection".to_owned()),
                    // finish() gives the reason.
                    _ = failed.changed() => return End::Stop,
                    _ = faults.changed() => {
                        let stopped = self.modes.stop_reading;
                        self.refresh_modes();
                        if stopped && !self.modes.stop_reading {
                            last_data = Instant::now();
                        }
                        if let Some(end) = self.ordered_end() {
                            return end;
                        }
                        continue;
                    }
                    piece = body.next(), if reading => piece,
                    () = sleep_until(wake) => continue,
                },
            };
            let (outputs, complete) = match piece {
                Some(Ok(data)) => {
                    last_data = Instant::now();
                    idle_acks = 0;
                    self.app.put_media.count(&self.stream, |counters| counters.bytes += data.len() as u64);
                    if let Some(speed) = self.modes.bytes_per_second {
                        resume =
                            last_data + Duration::from_secs_f64(data.len() as f64 / f64::from(speed.max(1)));
                    }
                    (ingest.push(&data), false)
                }
                Some(Err(error)) => return End::Disconnected(format!("the connection broke: {error}")),
                None => (ingest.finish(), true),
            };
            if let Some(end) = self.outputs(outputs).await {
                return end;
            }
            // The disk may have been slow.
            last_data = Instant::now();
            if complete {
                return End::Complete;
            }
        }
    }

    /// Whether the stream no longer exists, although another may have its name.
    fn deleted(&self) -> bool {
        self.app.control.current(&self.head.stream).is_err()
    }

    /// Takes the faults that bend the session from here on.
    fn refresh_modes(&mut self) {
        self.modes = self.app.faults.modes(&self.stream, self.id);
        if self.modes.stop_reading {
            // It hangs, and must not keep the producer's next session out.
            self.open = None;
        }
    }

    /// A reset or error that was ordered, if it is time for it.
    fn ordered_end(&mut self) -> Option<End> {
        match self.app.faults.event(&self.stream, self.fragment.is_some())? {
            Fault::Error(id) => Some(End::Error(id, "a fault made on purpose".to_owned())),
            _ => Some(End::Reset),
        }
    }

    async fn outputs(&mut self, outputs: Vec<Output>) -> Option<End> {
        for output in outputs {
            match output {
                Output::Begun { timecode } => {
                    let number = self.app.archive.next_number(&self.stream);
                    self.app.put_media.count(&self.stream, |counters| counters.buffering += 1);
                    self.fragment =
                        Some(OpenFragment { number: number.clone(), timecode, server_ms: now_ms() });
                    self.refresh_modes();
                    self.send(&Ack::Buffering { timecode, number }).await;
                    if let Some(end) = self.ordered_end() {
                        return Some(end);
                    }
                }
                Output::Complete(fragment) => {
                    let Some(OpenFragment { number, timecode, server_ms }) = self.fragment.take() else {
                        continue;
                    };
                    self.app.put_media.count(&self.stream, |counters| counters.received += 1);
                    self.send(&Ack::Received { timecode, number: number.clone() }).await;
                    self.app.faults.fragment_complete(&self.stream);
                    let producer_ms = self.head.base_ms.saturating_add(fragment.timecode_ms);
                    self.persister
                        .store(Job {
                            fragment: *fragment,
                            number,
                            producer_ms,
                            server_ms,
                            began_ms: self.began_ms,
                            complete: Instant::now(),
                            modes: self.modes,
                        })
                        .await;
                    self.refresh_modes();
                    if let Some(end) = self.ordered_end() {
                        return Some(end);
                    }
                }
                Output::Refused { id, reason, .. } => return Some(End::Error(id, reason)),
            }
        }
        None
    }

    async fn send(&self, ack: &Ack) {
        self.acks.send(self.modes, ack).await;
    }
}

impl From<NotStored> for End {
    fn from(failed: NotStored) -> Self {
        match failed {
            NotStored::Acknowledged(id, reason) => End::NotStored(id, reason),
            NotStored::Unacknowledged(reason) => End::Error(ErrorId::InternalError, reason),
        }
    }
}
