//! [`make_images`]: pictures of tagged fragments, as a stream's configuration asks for them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::mpsc;

use super::bucket::{Bucket, Object};
use super::queues::ImageJob;
use super::sampler::Sampler;
use crate::{
    App,
    archive::TimestampKind,
    playback::{Decoder, Format, Size, pictures_of_fragment},
};

/// An `ImageGenerationConfiguration`, which was checked when it was given.
struct Wanted {
    kind: TimestampKind,
    uri: String,
    interval_ms: u64,
    decoder: Decoder,
}

impl Wanted {
    fn of(configuration: &Value) -> Option<Self> {
        let kind = match configuration["ImageSelectorType"].as_str()? {
            "PRODUCER_TIMESTAMP" => TimestampKind::Producer,
            _ => TimestampKind::Server,
        };
        let format = if configuration["Format"].as_str()? == "PNG" { Format::Png } else { Format::Jpeg };
        let quality = configuration["FormatConfig"]["JPEGQuality"].as_str();
        let pixels = |member: &str| configuration[member].as_u64().and_then(|n| u32::try_from(n).ok());
        Some(Self {
            kind,
            uri: configuration["DestinationConfig"]["Uri"].as_str()?.to_owned(),
            interval_ms: configuration["SamplingInterval"].as_u64()?,
            decoder: Decoder {
                format,
                quality: quality.and_then(|quality| quality.parse().ok()).unwrap_or(Decoder::QUALITY),
                size: Size::of(pixels("WidthPixels"), pixels("HeightPixels")),
            },
        })
    }
}

/// Makes images of what waits, one fragment after the other, until the server ends.
pub(crate) async fn make_images(app: Arc<App>, mut waiting: mpsc::Receiver<ImageJob>, buckets: PathBuf) {
    let mut sampler = Sampler::default();
    loop {
        let job = tokio::select! {
            () = app.stop.cancelled() => return,
            job = waiting.recv() => job,
        };
        let Some(job) = job else { return };
        tokio::select! {
            () = app.stop.cancelled() => return,
            () = make(&app, job, &mut sampler, &buckets) => {}
        }
    }
}

async fn make(app: &Arc<App>, job: ImageJob, sampler: &mut Sampler, buckets: &Path) {
    let ImageJob { stream, info, asked } = job;
    let Some(wanted) = stream.images.as_ref().and_then(Wanted::of) else { return };
    let (key, start_ms) = (stream.folder(), wanted.kind.of(&info));
    let times = sampler.times(&key, start_ms, info.duration_ms, wanted.interval_ms);
    if times.is_empty() {
        return;
    }
    let figures = &app.delivery.figures;
    let made = pictures_of_fragment(app, &key, (&info, wanted.kind), &times, &wanted.decoder).await;
    let made = match made {
        Ok(made) => made,
        Err(error) => {
            times.iter().for_each(|_| figures.images_failed.one());
            tracing::error!(stream = stream.name, fragment = info.number, error = error.message, "no images");
            return;
        }
    };
    let bucket = Arc::new(Bucket::of(buckets, &wanted.uri));
    for (time, picture) in times.into_iter().zip(made) {
        let Ok(picture) = picture else {
            figures.images_failed.one();
            continue;
        };
        let after_ms = time.saturating_sub(start_ms);
        let own = [
            ("aws_kinesisvideo_fragment_number", info.number.clone()),
            ("aws_kinesisvideo_producer_timestamp", (info.producer_ms + after_ms).to_string()),
            ("aws_kinesisvideo_server_timestamp", (info.server_ms + after_ms).to_string()),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value));
        let object = Object {
            key: object_key(asked.prefix.as_deref(), &stream.arn, &stream.name, time, wanted.decoder.format),
            content_type: wanted.decoder.format.content_type(),
            metadata: asked.more.iter().cloned().chain(own).collect(),
        };
        match put(bucket.clone(), object, picture).await {
            Ok(()) => figures.images.one(),
            Err(error) => {
                figures.images_failed.one();
                tracing::error!(stream = stream.name, %error, "an image could not be written");
            }
        }
    }
}

async fn put(bucket: Arc<Bucket>, object: Object<'static>, picture: Bytes) -> std::io::Result<()> {
    let put = move || bucket.put(object, &picture).map(drop);
    tokio::task::spawn_blocking(put).await.map_err(std::io::Error::other)?
}

/// `ImagePrefix_AccountID_StreamName_ImageTimecode_RandomID.file-extension` ("Amazon S3 object path (image)" of the developer
/// guide).
fn object_key(prefix: Option<&str>, arn: &str, name: &str, time_ms: u64, format: Format) -> String {
    let account = arn.split(':').nth(4).unwrap_or_default();
    let prefix = prefix.map_or(String::new(), |prefix| format!("{prefix}_"));
    let (random, extension) = (uuid::Uuid::new_v4(), format.extension());
    format!("{prefix}{account}_{name}_{time_ms}_{random}.{extension}")
}
