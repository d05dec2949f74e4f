//! What the properties and the environment mean for producer, upload and AWS.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use kvs::Tags;
use kvs_aws::{AwsContext, AwsContextBuilder, CredentialFile, IotCertificate};
use kvs_putmedia::{MediaTime, ProducerConfig, SpoolConfig, Timecodes, WhenFull};

use super::control::StreamSettings;
use super::metrics::Bounds;
use super::properties::{Properties, StreamingType, seconds};
use super::timeline::Source;
use super::uploader::UploadSettings;

const FIRST_DELAY: Duration = Duration::from_millis(250);

pub(super) fn producer_config(properties: &Properties) -> ProducerConfig {
    let mut uid = [0; 16];
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    uid.copy_from_slice(&nanos.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C834).to_be_bytes());
    ProducerConfig {
        fragment_duration: Duration::from_millis(u64::from(properties.fragment_duration)),
        key_frame_fragmentation: properties.key_frame_fragmentation,
        timecode_scale_ms: properties.timecode_scale.max(1),
        timecodes: timecodes(properties),
        storage_bytes: (properties.storage_size as usize).clamp(10, 10_240) << 20,
        buffer_duration: buffer_duration(properties),
        when_full: match properties.streaming_type {
            StreamingType::Offline => WhenFull::Block,
            StreamingType::Realtime | StreamingType::NearRealtime => WhenFull::DropOldest,
        },
        spool: spool_directory(properties).map(|_| SpoolConfig::new(properties.spool_size)),
        fragment_acks: properties.fragment_acks,
        session_max: session_max(properties),
        staleness: staleness(properties),
        segment_uid: uid,
        backoff: backoff(properties),
        seed: nanos as u64 | 1,
        ..ProducerConfig::default()
    }
}

/// First and last ceiling of the delay before another attempt. It is spent by chance (half of it in the mean) and by
/// count: thirty attempts fit both into what memory holds of a live source, and into what is waited for at its end.
fn backoff(properties: &Properties) -> (Duration, Duration) {
    let patience = seconds(properties.stop_stream_timeout).min(buffer_duration(properties));
    (FIRST_DELAY, (patience / 24).clamp(Duration::from_secs(1), Duration::from_secs(30)))
}

fn buffer_duration(properties: &Properties) -> Duration {
    seconds(properties.buffer_duration).max(Duration::from_secs(20))
}

fn staleness(properties: &Properties) -> Duration {
    seconds(properties.connection_staleness).max(Duration::from_secs(1))
}

fn spool_directory(properties: &Properties) -> Option<PathBuf> {
    properties.given(|it| it.spool_directory.as_deref()).map(PathBuf::from)
}

fn timecodes(properties: &Properties) -> Timecodes {
    // A file's start is a time: only absolute timecodes tell it. 0 stands for "no start" in the C++ element.
    let file = properties.streaming_type == StreamingType::Offline && properties.file_start_time != Some(0);
    if file || properties.absolute_fragment_times { Timecodes::Absolute } else { Timecodes::Relative }
}

/// The tags of the structure. One that is no string is none that KVS takes: as in the C++ element all are refused then.
fn stream_tags(structure: &gst::StructureRef) -> Result<Tags, String> {
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
pub(super) fn upload_settings(properties: &Properties) -> Result<UploadSettings, String> {
    let tags = properties.stream_tags.as_ref().map(|structure| stream_tags(structure)).transpose()?;
    let (connect_timeout, answer_timeout) = timeouts(properties);
    let user_agent = properties.user_agent.as_deref().unwrap_or_default();
    Ok(UploadSettings {
        stream: StreamSettings {
            name: properties.stream_name.clone().unwrap_or_default(),
            kms_key_id: properties.given(|it| it.kms_key_id.as_deref()),
            create: properties.allow_create_stream,
            retention_hours: properties.retention_period,
            tags: tags.unwrap_or_default(),
        },
        user_agent: format!("{user_agent} kvs-ingest/{}", env!("CARGO_PKG_VERSION")),
        timecodes: timecodes(properties),
        fragment_acks: properties.fragment_acks,
        connect_timeout,
        answer_timeout,
        staleness: staleness(properties),
        backoff: backoff(properties),
        spool: spool_directory(properties),
    })
}

/// What pressure is measured against.
pub(super) fn bounds(properties: &Properties) -> Bounds {
    let ProducerConfig { storage_bytes, buffer_duration, .. } = producer_config(properties);
    Bounds {
        storage_bytes: storage_bytes as u64,
        buffer_duration,
        max_latency: seconds(properties.max_latency),
        rates: properties.recalculate_metrics,
    }
}

/// How long a PutMedia session lasts at most. The service ends one after 45 minutes.
fn session_max(properties: &Properties) -> Duration {
    let longest = ProducerConfig::default().session_max;
    match seconds(properties.rotation_period) {
        Duration::ZERO => longest,
        wanted => wanted.min(longest),
    }
}

/// For connecting, and for the answer to a call.
fn timeouts(properties: &Properties) -> (Duration, Duration) {
    match (seconds(properties.connection_timeout), seconds(properties.completion_timeout)) {
        // As the C++ element does it: both have their defaults when they do not fit together.
        (connect, complete) if connect.is_zero() || complete < connect => {
            (Duration::from_secs(5), Duration::from_secs(10))
        }
        fit => fit,
    }
}

/// Where timecodes come from. `now` is the wall clock at the start.
pub(super) fn source(properties: &Properties, now: MediaTime) -> Source {
    if !properties.frame_timecodes {
        Source::Arrival
    } else if properties.use_original_pts {
        Source::Original
    } else if properties.streaming_type == StreamingType::Offline {
        let start = properties.file_start_time.map(|seconds| seconds.saturating_mul(1000));
        Source::File { start: start.map_or(now, MediaTime::from_millis) }
    } else {
        Source::WallClock
    }
}

/// Whether a file begins at the time of the start, because nobody has said when it does.
pub(super) fn begins_now(properties: &Properties) -> bool {
    let file = properties.streaming_type == StreamingType::Offline && !properties.use_original_pts;
    file && properties.file_start_time.is_none()
}

/// A context of properties and environment, as the C++ element reads them.
pub(super) async fn own_context(properties: &Properties) -> Result<AwsContext, String> {
    let mut builder = AwsContext::builder();
    // Without either, the AWS chain's region goes before the default of the property.
    let region = env("AWS_DEFAULT_REGION").or_else(|| properties.given(|it| it.aws_region.as_deref()));
    if let Some(region) = region
        .or_else(|| env("AWS_REGION").is_none().then(|| properties.aws_region.clone().unwrap_or_default()))
    {
        builder = builder.region(region);
    }
    if let Some(url) = properties.given(|it| it.endpoint.as_deref()).or_else(|| env("CONTROL_PLANE_URI")) {
        builder = builder.endpoint_url(url);
    }
    if let Some(path) = properties.given(|it| it.ca_file.as_deref()).or_else(|| env("KVSSINK_CA_CERT_PATH")) {
        builder = builder.ca_bundle(path);
    }
    credentials(properties, builder)?.build().await.map_err(|error| error.to_string())
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The order of the C++ element: IoT certificate, properties, environment, file. Behind them the default AWS chain, whose
/// first source is the environment.
fn credentials(properties: &Properties, builder: AwsContextBuilder) -> Result<AwsContextBuilder, String> {
    if let Some(structure) = &properties.iot_certificate {
        let certificate = iot_certificate(structure, properties.stream_name.as_deref().unwrap_or_default())?;
        return Ok(builder.credentials_provider(certificate));
    }
    if let Some(key) = properties.given(|it| it.access_key.as_deref()) {
        let secret = properties
            .given(|it| it.secret_key.reveal())
            .ok_or("access-key is set, and secret-key is not")?;
        // A token in the environment belongs to the key there.
        let same = || env("AWS_ACCESS_KEY_ID").is_none_or(|other| other == key);
        let token = properties
            .given(|it| it.session_token.reveal())
            .or_else(|| same().then(|| env("AWS_SESSION_TOKEN")).flatten());
        return Ok(builder.static_credentials(&key, &secret, token));
    }
    let file = properties.credential_path.clone().unwrap_or_default();
    // One that was asked for may still be written.
    let wanted = properties.given(|it| it.credential_path.as_deref()).is_some() || Path::new(&file).exists();
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
        let expected =
            [("floor", "1"), ("door", "front")].map(|(name, tag)| (name.to_owned(), tag.to_owned()));
        assert_eq!(tags, Tags::from(expected));
        for text in ["tags,door=front,floor=1", "tags,floor=(boolean)true", "tags,floor=(fraction)1/2"] {
            let error = stream_tags(&structure(text)).unwrap_err();
            assert!(error.contains("tag floor of stream-tags is no string"), "{error}");
        }
    }

    #[test]
    fn thirty_attempts_fit_into_what_is_waited_for() {
        gst::init().unwrap();
        for (stop, buffer) in [(120, 120), (30, 120), (600, 60), (3600, 3600)] {
            let properties =
                Properties { stop_stream_timeout: stop, buffer_duration: buffer, ..Properties::default() };
            let (first, last) = backoff(&properties);
            let sum = |seed| {
                let mut delays = kvs_putmedia::Backoff::new(first, last, seed);
                (0..30).map(|_| delays.next_delay()).sum::<Duration>()
            };
            let window = seconds(stop.min(buffer));
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
