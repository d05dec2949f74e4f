//! [`Writer`]: stores what a storage session records, by the way that a producer's bytes go.

use std::sync::Arc;

use bytes::Bytes;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    App,
    clock::now_ms,
    mkv,
    model::Stream,
    putmedia::{Ingest, Open, Output, Times, keep},
};

/// Fragments on their way to the disk. Full: the disk does not keep up, and the next is lost, and counted as one that was cut.
const FRAGMENTS: usize = 8;
/// The tag that completes a fragment at once ("PutMedia" of the developer guide).
const END_OF_FRAGMENT: &str = "AWS_KINESISVIDEO_END_OF_FRAGMENT";

enum Piece {
    Header(Bytes),
    Fragment(Bytes),
}

/// The way to the disk.
pub(super) struct Writer {
    pieces: mpsc::Sender<Piece>,
    task: JoinHandle<()>,
    app: Arc<App>,
    key: String,
}

impl Writer {
    pub(super) fn start(app: Arc<App>, stream: Stream) -> Self {
        let (pieces, waiting) = mpsc::channel(FRAGMENTS);
        let key = stream.folder();
        // It counts as a PutMedia session, and takes no producer's place.
        let open = app.put_media.open(&key, usize::MAX);
        let task = app.tasks.spawn(write(app.clone(), stream, waiting, open));
        Self { pieces, task, app, key }
    }

    pub(super) fn header(&self, header: Bytes) {
        self.send(Piece::Header(header));
    }

    pub(super) fn fragment(&self, fragment: Bytes) {
        self.send(Piece::Fragment(fragment));
    }

    fn send(&self, piece: Piece) {
        if self.pieces.try_send(piece).is_err() {
            tracing::error!("a fragment of a storage session is lost: the disk does not keep up, or refuses");
            self.app.put_media.count(&self.key, |counters| counters.cut += 1);
        }
    }

    /// Waits until everything is on disk.
    pub(super) async fn finish(self) {
        drop(self.pieces);
        let _ = self.task.await;
    }
}

async fn write(app: Arc<App>, stream: Stream, mut pieces: mpsc::Receiver<Piece>, open: Option<Open>) {
    let key = stream.folder();
    let began_ms = now_ms();
    let end = mkv::tags(&[(END_OF_FRAGMENT, "")]).freeze();
    let mut ingest = Ingest::new(app.config.put_media.fragment);
    while let Some(piece) = pieces.recv().await {
        let outputs = match piece {
            Piece::Header(header) => {
                ingest = Ingest::new(app.config.put_media.fragment);
                ingest.push(&header)
            }
            Piece::Fragment(fragment) => {
                app.put_media.count(&key, |counters| counters.bytes += fragment.len() as u64);
                let mut outputs = ingest.push(&fragment);
                outputs.extend(ingest.push(&end));
                outputs
            }
        };
        let mut number = app.archive.next_number(&key);
        for output in outputs {
            match output {
                Output::Begun { .. } => {
                    number = app.archive.next_number(&key);
                    app.put_media.count(&key, |counters| counters.buffering += 1);
                }
                Output::Complete(fragment) => {
                    app.put_media.count(&key, |counters| counters.received += 1);
                    let times = Times { producer_ms: fragment.timecode_ms, server_ms: now_ms(), began_ms };
                    if let Err((id, reason)) =
                        keep(&app, &stream, number.clone(), times, *fragment, true).await
                    {
                        tracing::error!(
                            stream = stream.name,
                            reason,
                            "a fragment of a storage session is not stored"
                        );
                        app.put_media
                            .count(&key, |counters| *counters.errors.entry(id as u16).or_default() += 1);
                    }
                }
                Output::Refused { id, reason, .. } => {
                    tracing::error!(
                        stream = stream.name,
                        reason,
                        "a storage session is refused by its own stream"
                    );
                    app.put_media.count(&key, |counters| *counters.errors.entry(id as u16).or_default() += 1);
                }
            }
        }
    }
    drop(open);
}
