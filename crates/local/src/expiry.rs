//! Removes what is older than its stream's retention, and what is left of deleted streams.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{App, clock::now_ms, model::Stream};

const EVERY: Duration = Duration::from_secs(60);

pub(crate) async fn expire(app: Arc<App>, stop: CancellationToken) {
    let mut every = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => {}
        }
        let app = app.clone();
        let swept = tokio::task::spawn_blocking(move || {
            if let Err(error) = app.control.sweep() {
                tracing::error!(%error, "what was deleted could not be taken out of the index");
            }
            // In this order: a stream that is created in between is in the second list, if it is in the first.
            let stored = app.archive.streams();
            let streams = app.control.streams();
            let known: HashSet<String> = streams.iter().map(Stream::folder).collect();
            for deleted in stored.iter().filter(|stored| !known.contains(*stored)) {
                if let Err(error) = app.archive.remove(deleted) {
                    tracing::error!(stream = deleted, %error, "a deleted stream could not be removed");
                }
            }
            app.put_media.retain(|stream| known.contains(stream));
            let channels: HashSet<String> =
                app.control.channels().into_iter().map(|channel| channel.arn).collect();
            app.faults.retain(|subject| known.contains(subject) || channels.contains(subject));
            for stream in streams {
                let kept_ms = u64::from(stream.retention_hours) * 3_600_000;
                if let Err(error) = app.archive.expire(&stream.folder(), now_ms().saturating_sub(kept_ms)) {
                    tracing::error!(stream = stream.name, %error, "old fragments could not be removed");
                }
            }
        });
        if let Err(error) = swept.await {
            tracing::error!(%error, "the sweep of old fragments failed");
        }
    }
}
