//! `GET /_kvs/state`: channels and streams at a glance, of the account that the page is of.

use serde_json::{Value, json};

use crate::{App, model::ACCOUNT};

pub(super) fn state(app: &App) -> Value {
    let channels: Vec<_> = app
        .control
        .channels()
        .into_iter()
        .filter(|channel| channel.scope().account == ACCOUNT)
        .map(|channel| {
            let view = app.signaling.view(&channel.arn);
            json!({
                "name": channel.name,
                "arn": channel.arn,
                "region": channel.region,
                "status": channel.status().name(),
                "master": view.master,
                "viewers": view.viewers,
                "faults": app.faults.describe(&channel.arn),
            })
        })
        .collect();
    let streams: Vec<_> = app
        .control
        .streams()
        .into_iter()
        .filter(|stream| stream.scope().account == ACCOUNT)
        .map(|stream| {
            let summary = app.archive.summary(&stream.folder());
            let last = summary.last.as_ref();
            json!({
                "name": stream.name,
                "arn": stream.arn,
                "region": stream.region,
                "status": stream.status().name(),
                "retentionHours": stream.retention_hours,
                "firstMs": summary.first_ms,
                "fragments": summary.fragments,
                "duplicates": summary.duplicates,
                "frames": summary.video_frames,
                "audioFrames": summary.audio_frames,
                "bytes": summary.bytes,
                "durationMs": summary.duration_ms,
                "width": last.and_then(|info| info.session.width),
                "height": last.and_then(|info| info.session.height),
                "codecs": last.map(|info| info.session.codecs.clone()).unwrap_or_default(),
                "putMedia": app.put_media.describe(&stream.folder()),
                "faults": app.faults.describe(&stream.folder()),
                // From the capture of its first frame to being on disk: how old the oldest of what just became readable is.
                "lagMs": last.map(|info| info.persisted_ms.saturating_sub(info.producer_ms)),
                "lastFragment": last.map(|info| json!({
                    "number": info.number,
                    "producerMs": info.producer_ms,
                    "serverMs": info.server_ms,
                    "persistedMs": info.persisted_ms,
                    "durationMs": info.duration_ms,
                    "bytes": info.size,
                })),
            })
        })
        .collect();
    json!({"channels": channels, "streams": streams, "outputs": app.agents.outputs()})
}
