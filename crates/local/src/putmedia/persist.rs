//! [`Persister`]: stores a session's complete fragments one after the other, while the session reads on.

use std::sync::Arc;

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use super::faults::Modes;
use super::head::Head;
use super::session::{Acks, send};
use super::{Ack, ErrorId, Fragment};
use crate::App;

/// Complete fragments that are not on disk yet. Full: the session does not read on, and TCP tells the producer.
const FRAGMENTS: usize = 2;

/// A complete fragment.
pub(super) struct Job {
    pub(super) fragment: Fragment,
    pub(super) number: String,
    pub(super) producer_ms: u64,
    pub(super) server_ms: u64,
    /// When it was complete.
    pub(super) complete: Instant,
    /// As they were then.
    pub(super) modes: Modes,
}

/// Why a fragment is not stored.
#[derive(Debug, Clone)]
pub(super) enum NotStored {
    /// The producer has been told.
    Told(ErrorId, String),
    /// It has not.
    Untold(String),
}

pub(super) struct Persister {
    jobs: mpsc::Sender<Job>,
    failed: watch::Receiver<Option<NotStored>>,
    task: JoinHandle<()>,
}

impl Persister {
    pub(super) fn start(app: Arc<App>, head: Head, acks: Acks) -> Self {
        let (jobs, mut waiting) = mpsc::channel::<Job>(FRAGMENTS);
        let (fail, failed) = watch::channel(None);
        let task = tokio::spawn(async move {
            while let Some(job) = waiting.recv().await {
                let (timecode, number) = (job.fragment.timecode, job.number.clone());
                if let Err((id, reason)) = persist(&app, &head, &acks, job).await {
                    tracing::error!(
                        stream = head.stream.name,
                        fragment = number,
                        reason,
                        "a fragment is not stored"
                    );
                    let ack = Ack::Error { timecode: Some(timecode), number: Some(number), id };
                    send(&acks, &head, Modes::default(), &ack).await;
                    let _ = fail.send(Some(NotStored::Told(id, reason)));
                    return;
                }
            }
        });
        Self { jobs, failed, task }
    }

    /// Changes when a fragment could not be stored.
    pub(super) fn failed(&self) -> watch::Receiver<Option<NotStored>> {
        self.failed.clone()
    }

    pub(super) async fn store(&self, job: Job) {
        // After a failure nobody takes it: it is not stored, and not acknowledged.
        let _ = self.jobs.send(job).await;
    }

    /// Waits until everything is stored.
    pub(super) async fn finish(self) -> Result<(), NotStored> {
        let Self { jobs, failed, task } = self;
        drop(jobs);
        task.await.map_err(|error| NotStored::Untold(error.to_string()))?;
        failed.borrow().clone().map_or(Ok(()), Err)
    }
}

async fn persist(app: &Arc<App>, head: &Head, acks: &Acks, job: Job) -> Result<(), (ErrorId, String)> {
    let Job { fragment, number, producer_ms, server_ms, complete, modes } = job;
    // As it is now: it may have been changed or deleted since the session began.
    let stream = app
        .control
        .current(&head.stream)
        .map_err(|_| (ErrorId::StreamNotActive, "the stream was deleted".to_owned()))?;
    if stream.retention_hours == 0 {
        return Ok(());
    }
    if let Some(delay) = modes.delay_persisted {
        // What is complete is not lost with the end of the server, however late it was to be.
        tokio::select! {
            () = sleep_until(complete + delay) => {}
            () = app.stop.cancelled() => {}
        }
    }
    let (key, timecode) = (stream.folder(), fragment.timecode);
    if !modes.no_store {
        let (archive, stream, number) = (app.archive.clone(), key.clone(), number.clone());
        tokio::task::spawn_blocking(move || {
            archive.store(&stream, &number, producer_ms, server_ms, &fragment)
        })
        .await
        .map_err(|error| (ErrorId::InternalError, error.to_string()))?
        .map_err(|error| (ErrorId::ArchivalError, error.to_string()))?;
        app.put_media.sessions.count(&key, |counters| counters.persisted += 1);
    }
    send(acks, head, modes, &Ack::Persisted { timecode, number }).await;
    Ok(())
}
