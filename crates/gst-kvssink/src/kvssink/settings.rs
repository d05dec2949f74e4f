//! What the properties and the environment mean for producer, upload and AWS.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use kvs_aws::{AwsContext, AwsContextBuilder, CredentialFile, IotCertificate};
use kvs_putmedia::{MediaTime, ProducerConfig, SpoolConfig, Timecodes, WhenFull};

use super::control::StreamSettings;
use super::metrics::Bounds;
use super::properties::{DEFAULT_SPOOL_SIZE, StreamingType, Values};
use super::timeline::Source;
use super::uploader::UploadSettings;

const FIRST_DELAY: Duration = Duration::from_millis(250);

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
        buffer_duration: buffer_duration(values),
        when_full: match values.streaming_type() {
            StreamingType::Offline => WhenFull::Block,
            StreamingType::Realtime | StreamingType::NearRealtime => WhenFull::DropOldest,
        },
        spool: spool_directory(values)
            .map(|_| SpoolConfig::new(values.uint64("spool-size").unwrap_or(DEFAULT_SPOOL_SIZE))),
        fragment_acks: values.boolean("fragment-acks"),
        session_max: session_max(values),
        staleness: staleness(values),
        segment_uid: uid,
        backoff: backoff(values),
        seed: nanos as u64 | 1,
        ..ProducerConfig::default()
    }
}

/// First and last ceiling of the delay before another attempt. It is spent by chance (half of it in the mean) and by
/// count: thirty attempts fit both into what memory holds of a live source, and into what is waited for at its end.
fn backoff(values: &Values) -> (Duration, Duration) {
    let patience = seconds(values, "stop-stream-timeout").min(buffer_duration(values));
    (FIRST_DELAY, (patience / 24).clamp(Duration::from_secs(1), Duration::from_secs(30)))
}

fn buffer_duration(values: &Values) -> Duration {
    seconds(values, "buffer-duration").max(Duration::from_secs(20))
}

fn staleness(values: &Values) -> Duration {
    seconds(values, "connection-staleness").max(Duration::from_secs(1))
}

fn spool_directory(values: &Values) -> Option<PathBuf> {
    Some(values.string("spool-directory")).filter(|path| !path.is_empty()).map(PathBuf::from)
}

fn timecodes(values: &Values) -> Timecodes {
    // A file's start is a time: only absolute timecodes tell it. 0 stands for "no start" in the C++ element.
    let file =
        values.streaming_type() == StreamingType::Offline && values.uint64("file-start-time") != Some(0);
    if file || values.boolean("absolute-fragment-times") { Timecodes::Absolute } else { Timecodes::Relative }
}

/// The tags of the structure. One that is no string is none that KVS takes: as in the C++ element all are refused then.
fn stream_tags(structure: &gst::StructureRef) -> Result<Vec<(String, String)>, String> {
    let tag = |(name, value): (&gst::glib::GStr, &gst::glib::SendValue)| match value.get::<String>() {
        Ok(text) => Ok((name.to_string(), text)),
        Err(_) => Err(format!(
            "the tag {name} of stream-tags is no string but a {}: write {name}=(string)...",
            value.type_()
        )),
    };
    structure.iter().map(tag).collect()
}

/// The error names the property that cannot be meant.
pub(super) fn upload_settings(values: &Values) -> Result<UploadSettings, String> {
    let tags = values.structure("stream-tags").map(|structure| stream_tags(&structure)).transpose()?;
    let (connect_timeout, answer_timeout) = timeouts(values);
    Ok(UploadSettings {
        stream: StreamSettings {
            name: values.string("stream-name"),
            kms_key_id: values.given("kms-key-id"),
            create: values.boolean("allow-create-stream"),
            retention_hours: values.uint("retention-period"),
            tags: tags.unwrap_or_default(),
        },
        user_agent: format!("{} kvs-ingest/{}", values.string("user-agent"), env!("CARGO_PKG_VERSION")),
        timecodes: timecodes(values),
        fragment_acks: values.boolean("fragment-acks"),
        connect_timeout,
        answer_timeout,
        staleness: staleness(values),
        backoff: backoff(values),
        spool: spool_directory(values),
    })
}

/// What pressure is measured against.
pub(super) fn bounds(values: &Values) -> Bounds {
    let ProducerConfig { storage_bytes, buffer_duration, .. } = producer_config(values);
    Bounds {
        storage_bytes: storage_bytes as u64,
        buffer_duration,
        max_latency: seconds(values, "max-latency"),
        rates: values.boolean("recalculate-metrics"),
    }
}

/// How long a PutMedia session lasts at most. The service ends one after 45 minutes.
fn session_max(values: &Values) -> Duration {
    let longest = ProducerConfig::default().session_max;
    match seconds(values, "rotation-period") {
        Duration::ZERO => longest,
        wanted => wanted.min(longest),
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

/// Whether a file begins at the time of the start, because nobody has said when it does.
pub(super) fn begins_now(values: &Values) -> bool {
    let file = values.streaming_type() == StreamingType::Offline && !values.boolean("use-original-pts");
    file && values.uint64("file-start-time").is_none()
}

/// A context of properties and environment, as the C++ element reads them.
pub(super) async fn own_context(values: &Values) -> Result<AwsContext, String> {
    let mut builder = AwsContext::builder();
    // Without either, the AWS chain's region goes before the default of the property.
    let region = env("AWS_DEFAULT_REGION").or_else(|| values.given("aws-region"));
    if let Some(region) = region.or_else(|| env("AWS_REGION").is_none().then(|| values.string("aws-region")))
    {
        builder = builder.region(region);
    }
    if let Some(url) = values.given("endpoint").or_else(|| env("CONTROL_PLANE_URI")) {
        builder = builder.endpoint_url(url);
    }
    if let Some(path) = values.given("ca-file").or_else(|| env("KVSSINK_CA_CERT_PATH")) {
        builder = builder.ca_bundle(path);
    }
    credentials(values, builder)?.build().await.map_err(|error| error.to_string())
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The order of the C++ element: IoT certificate, properties, environment, file. Behind them the default AWS chain, whose
/// first source is the environment.
fn credentials(values: &Values, builder: AwsContextBuilder) -> Result<AwsContextBuilder, String> {
    if let Some(structure) = values.structure("iot-certificate") {
        let certificate = iot_certificate(&structure, &values.string("stream-name"))?;
        return Ok(builder.credentials_provider(certificate));
    }
    if let Some(key) = values.given("access-key") {
        let secret = values.given("secret-key").ok_or("access-key is set, and secret-key is not")?;
        // A token in the environment belongs to the key there.
        let same = || env("AWS_ACCESS_KEY_ID").is_none_or(|other| other == key);
        let token =
            values.given("session-token").or_else(|| same().then(|| env("AWS_SESSION_TOKEN")).flatten());
        return Ok(builder.static_credentials(&key, &secret, token));
    }
    let file = values.string("credential-path");
    // One that was asked for may still be written.
    let wanted = values.given("credential-path").is_some() || Path::new(&file).exists();
    if env("AWS_ACCESS_KEY_ID").is_none() && wanted && !file.is_empty() {
        return Ok(builder.credentials_provider(CredentialFile::new(file)));
    }
    Ok(builder)
}

/// The structure of the property `iot-certificate`.
fn iot_certificate(structure: &gst::StructureRef, stream_name: &str) -> Result<IotCertificate, String> {
    const FIELDS: [&str; 8] = [
        "endpoint",
        "cert-path",
        "key-path",
        "ca-path",
        "role-aliases",
        "iot-thing-name",
        "connection-timeout",
        "completion-timeout",
    ];
    if let Some(unknown) = structure.fields().find(|field| !FIELDS.contains(&field.as_str())) {
        return Err(format!("iot-certificate has no field {unknown}: there are {}", FIELDS.join(", ")));
    }
    let given = |field: &str| match structure.value(field).map(|value| value.get::<String>()) {
        Ok(Ok(text)) if !text.is_empty() => Ok(Some(text)),
        Ok(_) => Err(format!("the field {field} of iot-certificate is no text, or empty")),
        Err(_) => Ok(None),
    };
    let needed =
        |field: &str| given(field)?.ok_or_else(|| format!("iot-certificate lacks the field {field}"));
    let timeout = |field: &str, default: u64| match structure.value(field) {
        Err(_) => Ok(Duration::from_secs(default)),
        Ok(value) => value
            .get::<i32>()
            .ok()
            .and_then(|seconds| u64::try_from(seconds).ok())
            .or_else(|| value.get::<String>().ok()?.parse().ok())
            .filter(|seconds| *seconds > 0)
            .map(Duration::from_secs)
            .ok_or_else(|| format!("the field {field} of iot-certificate is no number of seconds")),
    };
    Ok(IotCertificate {
        endpoint: needed("endpoint")?,
        cert_path: needed("cert-path")?.into(),
        key_path: needed("key-path")?.into(),
        ca_path: needed("ca-path")?.into(),
        role_alias: needed("role-aliases")?,
        thing_name: given("iot-thing-name")?.unwrap_or_else(|| stream_name.to_owned()),
        connect_timeout: timeout("connection-timeout", 3)?,
        completion_timeout: timeout("completion-timeout", 5)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn structure(text: &str) -> gst::Structure {
        gst::init().unwrap();
        text.parse().unwrap()
    }

    #[test]
    fn tags_are_strings_or_there_are_none() {
        let tags = stream_tags(&structure("tags,floor=(string)1,door=front")).unwrap();
        assert_eq!(tags, [("floor".to_owned(), "1".to_owned()), ("door".to_owned(), "front".to_owned())]);
        for text in ["tags,door=front,floor=1", "tags,floor=(boolean)true", "tags,floor=(fraction)1/2"] {
            let error = stream_tags(&structure(text)).unwrap_err();
            assert!(error.contains("tag floor of stream-tags is no string"), "{error}");
        }
    }

    #[test]
    fn thirty_attempts_fit_into_what_is_waited_for() {
        gst::init().unwrap();
        for (stop, buffer) in [(120, 120), (30, 120), (600, 60), (3600, 3600)] {
            let mut values = Values::default();
            values.set("stop-stream-timeout", &gst::prelude::ToValue::to_value(&(stop as u32)));
            values.set("buffer-duration", &gst::prelude::ToValue::to_value(&(buffer as u32)));
            let (first, last) = backoff(&values);
            let sum = |seed| {
                let mut delays = kvs_putmedia::Backoff::new(first, last, seed);
                (0..30).map(|_| delays.next_delay()).sum::<Duration>()
            };
            let window = Duration::from_secs(stop.min(buffer));
            let late = (1..=1000).filter(|seed| sum(seed * 7919) > window).count();
            assert!(late <= 10, "{stop} s, {buffer} s: {late} of 1000 times they do not");
        }
    }

    #[test]
    fn an_iot_certificate_is_read_as_gst_launch_writes_it() {
        let text = "iot-certificate,endpoint=c1.credentials.iot.eu-central-1.amazonaws.com,cert-path=/d/c.pem,\
            key-path=/d/k.pem,ca-path=/d/ca.pem,role-aliases=camera";
        let plain = iot_certificate(&structure(text), "front-door").unwrap();
        assert_eq!((plain.role_alias.as_str(), plain.thing_name.as_str()), ("camera", "front-door"));
        assert_eq!(plain.endpoint, "c1.credentials.iot.eu-central-1.amazonaws.com");
        assert_eq!((plain.connect_timeout.as_secs(), plain.completion_timeout.as_secs()), (3, 5));
        let more = format!("{text},iot-thing-name=thing,connection-timeout=7,completion-timeout=(string)9");
        let more = iot_certificate(&structure(&more), "front-door").unwrap();
        assert_eq!(more.thing_name, "thing");
        assert_eq!((more.connect_timeout.as_secs(), more.completion_timeout.as_secs()), (7, 9));
        for (text, words) in [
            (text.replace("cert-path", "cert_path"), "no field cert_path"),
            (text.replace(",ca-path=/d/ca.pem", ""), "lacks the field ca-path"),
            (format!("{text},iot-thing-name=\"\""), "iot-thing-name"),
            (format!("{text},connection-timeout=soon"), "connection-timeout"),
        ] {
            let error = iot_certificate(&structure(&text), "front-door").unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
