//! [`Persister`]: stores a session's complete fragments one after the other, while the session reads on, and says so to
//! the producer when it is time.

use std::sync::Arc;

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::Ack;
use super::acks::Acks;
use crate::{
    App,
    archive::StoreError,
    faults::Modes,
    model::{ErrorId, Fragment, Stream},
};

/// Complete fragments that are not on disk yet. Full: the session does not read on, and TCP tells the producer.
const FRAGMENTS: usize = 2;
/// Acknowledgements that a fault holds back: an hour of the five fragments a second that the service allows. Full: no
/// further fragment is stored until one of them is sent.
const HELD: usize = 18_000;

/// A complete fragment.
pub(super) struct Job {
    pub(super) fragment: Fragment,
    pub(super) number: String,
    pub(super) producer_ms: u64,
    pub(super) server_ms: u64,
    /// When its session began, milliseconds since 1970.
    pub(super) began_ms: u64,
    /// When it was complete.
    pub(super) complete: Instant,
    /// As they were then.
    pub(super) modes: Modes,
}

/// Why a fragment is not stored.
#[derive(Debug, Clone)]
pub(super) enum NotStored {
    /// An error acknowledgement has been sent.
    Acknowledged(ErrorId, String),
    /// None has been sent.
    Unacknowledged(String),
}

/// The last acknowledgement of a fragment, and when it may be sent.
struct Pending {
    ack: Ack,
    modes: Modes,
    due: Instant,
}

pub(super) struct Persister {
    jobs: mpsc::Sender<Job>,
    failed: watch::Receiver<Option<NotStored>>,
    /// The producer has left: nobody waits for what is held back.
    left: CancellationToken,
    store: JoinHandle<()>,
    acknowledge: JoinHandle<()>,
}

impl Persister {
    pub(super) fn start(app: Arc<App>, stream: Stream, acks: Acks) -> Self {
        let (jobs, mut waiting) = mpsc::channel::<Job>(FRAGMENTS);
        let (pending, held) = mpsc::channel(HELD);
        let (fail, failed) = watch::channel(None);
        let left = CancellationToken::new();
        let acknowledge = tokio::spawn(acknowledge(acks, held, app.stop.clone(), left.clone()));
        let store = tokio::spawn(async move {
            while let Some(job) = waiting.recv().await {
                let (timecode, number) = (job.fragment.timecode, job.number.clone());
                let (modes, complete) = (job.modes, job.complete);
                let stored = persist(&app, &stream, job).await;
                let last = match &stored {
                    Ok(false) => continue,
                    Ok(true) => {
                        let due = complete + modes.delay_persisted.unwrap_or_default();
                        Pending { ack: Ack::Persisted { timecode, number }, modes, due }
                    }
                    Err((id, reason)) => {
                        let (stream, fragment) = (&stream.name, &number);
                        tracing::error!(stream, fragment, reason, "a fragment is not stored");
                        let ack = Ack::Error { timecode: Some(timecode), number: Some(number), id: *id };
                        Pending { ack, modes: Modes::default(), due: complete }
                    }
                };
                // Nobody takes it when the producer has left.
                let _ = pending.send(last).await;
                if let Err((id, reason)) = stored {
                    let _ = fail.send(Some(NotStored::Acknowledged(id, reason)));
                    return;
                }
            }
        });
        Self { jobs, failed, left, store, acknowledge }
    }

    /// Changes when a fragment could not be stored.
    pub(super) fn failed(&self) -> watch::Receiver<Option<NotStored>> {
        self.failed.clone()
    }

    pub(super) async fn store(&self, job: Job) {
        // After a failure nobody takes it: it is not stored, and not acknowledged.
        let _ = self.jobs.send(job).await;
    }

    /// Waits until everything is stored and acknowledged; what is held back is not sent to a producer that has `left`.
    pub(super) async fn finish(self, left: bool) -> Result<(), NotStored> {
        let Self { jobs, failed, left: token, store, acknowledge } = self;
        drop(jobs);
        if left {
            token.cancel();
        }
        for task in [store, acknowledge] {
            task.await.map_err(|error| NotStored::Unacknowledged(error.to_string()))?;
        }
        failed.borrow().clone().map_or(Ok(()), Err)
    }
}

/// Sends the last acknowledgement of each fragment, in their order. What a fault holds back is sent at the end of the
/// server.
async fn acknowledge(
    acks: Acks,
    mut pending: mpsc::Receiver<Pending>,
    stop: CancellationToken,
    left: CancellationToken,
) {
    while let Some(Pending { ack, modes, due }) = pending.recv().await {
        tokio::select! {
            biased;
            () = sleep_until(due) => {}
            () = stop.cancelled() => {}
            () = acks.closed() => return,
            () = left.cancelled() => continue,
        }
        acks.send(modes, &ack).await;
    }
}

/// Stores a fragment; `false` when its stream keeps nothing.
async fn persist(app: &Arc<App>, stream: &Stream, job: Job) -> Result<bool, (ErrorId, String)> {
    let Job { fragment, number, producer_ms, server_ms, began_ms, complete: _, modes } = job;
    let times = Times { producer_ms, server_ms, began_ms };
    keep(app, stream, number, times, fragment, !modes.no_store).await
}

/// Times of a fragment, in milliseconds since 1970.
pub(crate) struct Times {
    /// Of its first frame.
    pub(crate) producer_ms: u64,
    /// When its first bytes came.
    pub(crate) server_ms: u64,
    /// When its session began.
    pub(crate) began_ms: u64,
}

/// Stores a fragment and counts it; `false` when its stream keeps nothing. `really`: not only in name.
///
/// # Errors
/// As the producer is to be told: the stream is no more, or the disk.
pub(crate) async fn keep(
    app: &Arc<App>,
    stream: &Stream,
    number: String,
    Times { producer_ms, server_ms, began_ms }: Times,
    fragment: Fragment,
    really: bool,
) -> Result<bool, (ErrorId, String)> {
    // As it is now: it may have been changed or deleted since the session began.
    let stream = app
        .control
        .current(stream)
        .map_err(|_| (ErrorId::StreamNotActive, "the stream was deleted".to_owned()))?;
    if stream.retention_hours == 0 {
        return Ok(false);
    }
    if really {
        let key = stream.folder();
        let (storing, stored_key) = (app.clone(), key.clone());
        tokio::task::spawn_blocking(move || {
            let archive = &storing.archive;
            archive.describe(&stream, &number)?;
            let stored = archive.store(&stored_key, &number, producer_ms, server_ms, began_ms, &fragment)?;
            storing.delivery.persisted(&stream, &stored, &fragment.tags);
            Ok::<_, StoreError>(())
        })
        .await
        .map_err(|error| (ErrorId::InternalError, error.to_string()))?
        .map_err(|error| (ErrorId::ArchivalError, error.to_string()))?;
        app.put_media.count(&key, |counters| counters.persisted += 1);
    }
    Ok(true)
}
