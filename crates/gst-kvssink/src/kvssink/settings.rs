//! What the properties and the environment mean for producer, upload and AWS.

use std::time::{Duration, SystemTime};

use kvs_aws::AwsContext;
use kvs_putmedia::{MediaTime, ProducerConfig, Timecodes, WhenFull};

use super::control::StreamSettings;
use super::properties::{StreamingType, Values};
use super::timeline::Source;
use super::uploader::UploadSettings;

pub(super) fn seconds(values: &Values, name: &str) -> Duration {
    Duration::from_secs(u64::from(values.uint(name)))
}

pub(super) fn producer_config(values: &Values) -> ProducerConfig {
    let mut uid = [0; 16];
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    uid.copy_from_slice(&nanos.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C834).to_be_bytes());
    ProducerConfig {
        fragment_duration: Duration::from_millis(u64::from(values.uint("fragment-duration"))),
        key_frame_fragmentation: values.boolean("key-frame-fragmentation"),
        timecode_scale_ms: values.uint("timecode-scale").max(1),
        timecodes: timecodes(values),
        storage_bytes: (values.uint("storage-size") as usize).clamp(10, 10_240) << 20,
        buffer_duration: seconds(values, "buffer-duration").max(Duration::from_secs(20)),
        when_full: match values.streaming_type() {
            StreamingType::Offline => WhenFull::Block,
            StreamingType::Realtime | StreamingType::NearRealtime => WhenFull::DropOldest,
        },
        fragment_acks: values.boolean("fragment-acks"),
        staleness: seconds(values, "connection-staleness").max(Duration::from_secs(1)),
        segment_uid: uid,
        seed: nanos as u64 | 1,
        ..ProducerConfig::default()
    }
}

fn timecodes(values: &Values) -> Timecodes {
    // A file's start is a time: only absolute timecodes tell it. 0 stands for "no start" in the C++ element.
    let file =
        values.streaming_type() == StreamingType::Offline && values.uint64("file-start-time") != Some(0);
    if file || values.boolean("absolute-fragment-times") { Timecodes::Absolute } else { Timecodes::Relative }
}

pub(super) fn upload_settings(values: &Values) -> UploadSettings {
    let tags = values.structure("stream-tags").map(|structure| {
        let pairs = structure
            .iter()
            .filter_map(|(name, value)| Some((name.to_string(), value.get::<String>().ok()?)));
        pairs.collect()
    });
    let (connect_timeout, answer_timeout) = timeouts(values);
    UploadSettings {
        stream: StreamSettings {
            name: values.string("stream-name"),
            create: values.boolean("allow-create-stream"),
            retention_hours: values.uint("retention-period"),
            tags: tags.unwrap_or_default(),
        },
        user_agent: format!("{} kvs-ingest/{}", values.string("user-agent"), env!("CARGO_PKG_VERSION")),
        timecodes: timecodes(values),
        fragment_acks: values.boolean("fragment-acks"),
        connect_timeout,
        answer_timeout,
    }
}

/// For connecting, and for the answer to a call.
fn timeouts(values: &Values) -> (Duration, Duration) {
    match (seconds(values, "connection-timeout"), seconds(values, "completion-timeout")) {
        // As the C++ element does it: both have their defaults when they do not fit together.
        (connect, complete) if connect.is_zero() || complete < connect => {
            (Duration::from_secs(5), Duration::from_secs(10))
        }
        fit => fit,
    }
}

/// Where timecodes come from. `now` is the wall clock at the start.
pub(super) fn source(values: &Values, now: MediaTime) -> Source {
    if !values.boolean("frame-timecodes") {
        Source::Arrival
    } else if values.boolean("use-original-pts") {
        Source::Original
    } else if values.streaming_type() == StreamingType::Offline {
        let start = values.uint64("file-start-time").map(|seconds| seconds.saturating_mul(1000));
        Source::File { start: start.map_or(now, MediaTime::from_millis) }
    } else {
        Source::WallClock
    }
}

/// A context of properties and environment, as the C++ element reads them; without explicit credentials the default AWS
/// chain, which that one lacks.
pub(super) async fn own_context(values: &Values) -> Result<AwsContext, String> {
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let region = env("AWS_DEFAULT_REGION").unwrap_or_else(|| values.string("aws-region"));
    let mut builder = AwsContext::builder().region(region);
    if let Some(url) = env("CONTROL_PLANE_URI") {
        builder = builder.endpoint_url(url);
    }
    if let Some(path) = env("KVSSINK_CA_CERT_PATH") {
        builder = builder.ca_bundle(path);
    }
    let (key, secret, token) =
        (values.string("access-key"), values.string("secret-key"), values.string("session-token"));
    // The defaults of the C++ element stand for "not set".
    if key != "access_key" && !key.is_empty() {
        let token = Some(token).filter(|token| token != "session_token" && !token.is_empty());
        builder = builder.static_credentials(&key, &secret, token);
    }
    builder.build().await.map_err(|error| error.to_string())
}
