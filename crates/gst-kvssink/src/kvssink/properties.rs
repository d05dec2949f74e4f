//! The 39 properties of the C++ element, with its names, types, ranges and defaults, and those of our own. What each does
//! is in `docs/kvssink.md`.

use std::collections::HashMap;
use std::sync::LazyLock;

use gst::glib;
use gst::prelude::*;

/// How the source delivers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstKvsSinkStreamingType")]
pub(crate) enum StreamingType {
    /// Live: the oldest fragments go when the buffer is full.
    #[default]
    #[enum_value(name = "streaming type realtime", nick = "realtime")]
    Realtime,
    /// As realtime.
    #[enum_value(name = "streaming type near realtime", nick = "near-realtime")]
    NearRealtime,
    /// From a file: the pipeline waits when the buffer is full.
    #[enum_value(name = "streaming type offline", nick = "offline")]
    Offline,
}

/// They are set, and never read.
const SECRET: [&str; 2] = ["secret-key", "session-token"];

/// Bytes of the spool: an hour at 2 Mbit/s.
pub(super) const DEFAULT_SPOOL_SIZE: u64 = 1 << 30;

fn string(name: &str, default: Option<&str>, blurb: &str) -> glib::ParamSpec {
    glib::ParamSpecString::builder(name).blurb(blurb).default_value(default).build()
}

fn uint(name: &str, default: u32, blurb: &str) -> glib::ParamSpec {
    glib::ParamSpecUInt::builder(name).blurb(blurb).default_value(default).build()
}

fn boolean(name: &str, default: bool, blurb: &str) -> glib::ParamSpec {
    glib::ParamSpecBoolean::builder(name).blurb(blurb).default_value(default).build()
}

pub(super) static SPECS: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    vec![
        string("stream-name", Some("DEFAULT_STREAM"), "Name of the destination stream"),
        string("user-agent", Some("AWS-SDK-KVS-CPP-CLIENT/3.6.0"), "Name of the user agent"),
        uint("retention-period", 2, "Hours for which a created stream keeps its fragments"),
        glib::ParamSpecEnum::builder_with_default("streaming-type", StreamingType::Realtime)
            .blurb("Streaming type")
            .build(),
        string("content-type", None, "Media type of the stream; the caps decide it"),
        uint("max-latency", 60, "Seconds that media may wait to be sent before kvs-pressure is posted"),
        uint(
            "fragment-duration",
            2000,
            "Fragment duration in milliseconds, where key frames do not decide it",
        ),
        uint("timecode-scale", 1, "Timecode scale in milliseconds"),
        boolean("key-frame-fragmentation", true, "A new fragment at every key frame"),
        boolean("frame-timecodes", true, "Use the frames' own times, not those of their arrival"),
        boolean("absolute-fragment-times", true, "Use absolute fragment times"),
        boolean("fragment-acks", true, "Ask for acknowledgements of fragments"),
        boolean("restart-on-error", true, "Go on after errors that pass; otherwise the first one ends the stream"),
        boolean("recalculate-metrics", true, "Measure the rates of get-kvs-metrics"),
        uint("framerate", 25, "Frames per second of video that says nothing of its rate and has no timestamps"),
        uint("avg-bandwidth-bps", 4_194_304, "Average bandwidth in bit/s; without effect, nothing is sized by it"),
        uint("buffer-duration", 120, "Seconds of media kept until they are persisted"),
        uint(
            "replay-duration",
            40,
            "Seconds to replay; without effect, everything that is not persisted is replayed",
        ),
        uint("connection-staleness", 60, "Seconds without acknowledgement after which a connection is dead"),
        string("codec-id", Some("V_MPEG4/ISO/AVC"), "Codec id; the caps decide it"),
        string("track-name", Some("kinesis_video"), "Name of the video track"),
        string("access-key", Some("access_key"), "AWS access key"),
        string("secret-key", Some("secret_key"), "AWS secret key"),
        string("session-token", Some("session_token"), "AWS session token"),
        string("aws-region", Some("us-west-2"), "AWS region; AWS_DEFAULT_REGION goes before it"),
        uint(
            "rotation-period",
            3600,
            "Seconds after which a PutMedia session is replaced, at most 2400",
        ),
        string(
            "log-config",
            Some("../kvs_log_configuration"),
            "Log configuration; without effect, see GST_DEBUG",
        ),
        uint("storage-size", 128, "MiB of memory for fragments that are not persisted"),
        uint("stop-stream-timeout", 120, "Seconds that stopping waits for the last acknowledgement"),
        uint("connection-timeout", 5, "Seconds for connecting"),
        uint("completion-timeout", 10, "Seconds for the completion of a call"),
        string("credential-path", Some(".kvs/credential"), "Credential file, as of the producer SDK; used when it exists or is set"),
        glib::ParamSpecBoxed::builder::<gst::Structure>("iot-certificate")
            .blurb("IoT device certificate: endpoint, cert-path, key-path, ca-path, role-aliases, iot-thing-name")
            .build(),
        glib::ParamSpecBoxed::builder::<gst::Structure>("stream-tags")
            .blurb("Tags of the stream, set at each start")
            .build(),
        glib::ParamSpecUInt64::builder("file-start-time")
            .blurb("Epoch time at which a file starts, in seconds; for streaming-type=offline")
            .default_value(now)
            .build(),
        boolean("disable-buffer-clipping", false, "Take buffers behind the segment's end, too"),
        boolean("use-original-pts", false, "Buffers carry epoch nanoseconds in DTS or PTS"),
        boolean("get-kvs-metrics", false, "Emit stream-client-metric and stream-metrics at each key frame"),
        boolean("allow-create-stream", true, "Create the stream when it is missing"),
        string("endpoint", None, "URL of the control plane; CONTROL_PLANE_URI goes behind it"),
        string("ca-file", None, "PEM file of roots beside the system's; KVSSINK_CA_CERT_PATH goes behind it"),
        string("kms-key-id", None, "KMS key of a created stream"),
        boolean(
            "post-messages",
            false,
            "Post kvs-fragment-ack and kvs-stream-metrics on the bus, which must then be read",
        ),
        string("spool-directory", None, "Folder on disk for fragments that are not persisted; none without"),
        glib::ParamSpecUInt64::builder("spool-size")
            .blurb("Bytes that the spool may hold; beyond them the oldest fragments are dropped")
            .default_value(DEFAULT_SPOOL_SIZE)
            .build(),
        glib::ParamSpecBoxed::builder::<gst::Structure>("statistics")
            .blurb("Figures of this sink")
            .read_only()
            .build(),
    ]
});

/// A value of one of the types that the properties have.
#[derive(Clone)]
enum Value {
    Text(Option<String>),
    Uint(u32),
    Uint64(u64),
    Bool(bool),
    Streaming(StreamingType),
    Structure(Option<gst::Structure>),
}

impl Value {
    fn of(value: &glib::Value) -> Option<Self> {
        value
            .get::<Option<String>>()
            .map(Value::Text)
            .or_else(|_| value.get().map(Value::Uint))
            .or_else(|_| value.get().map(Value::Uint64))
            .or_else(|_| value.get().map(Value::Bool))
            .or_else(|_| value.get().map(Value::Streaming))
            .or_else(|_| value.get::<Option<gst::Structure>>().map(Value::Structure))
            .ok()
    }
}

/// The values that were set; what was not set has its default.
#[derive(Clone, Default)]
pub(super) struct Values(HashMap<String, Value>);

impl Values {
    pub(super) fn set(&mut self, name: &str, value: &glib::Value) {
        // GObject has checked the type.
        if let Some(value) = Value::of(value) {
            self.0.insert(name.to_owned(), value);
        }
    }

    pub(super) fn get(&self, spec: &glib::ParamSpec) -> glib::Value {
        match self.0.get(spec.name()) {
            // Dumps of a pipeline show what can be read.
            Some(Value::Text(_)) if SECRET.contains(&spec.name()) => None::<String>.to_value(),
            Some(Value::Text(value)) => value.to_value(),
            Some(Value::Uint(value)) => value.to_value(),
            Some(Value::Uint64(value)) => value.to_value(),
            Some(Value::Bool(value)) => value.to_value(),
            Some(Value::Streaming(value)) => value.to_value(),
            Some(Value::Structure(value)) => value.to_value(),
            None => spec.default_value().clone(),
        }
    }

    fn value(&self, name: &str) -> Option<Value> {
        let default =
            || SPECS.iter().find(|spec| spec.name() == name).and_then(|spec| Value::of(spec.default_value()));
        self.0.get(name).cloned().or_else(default)
    }

    pub(super) fn string(&self, name: &str) -> String {
        match self.value(name) {
            Some(Value::Text(Some(text))) => text,
            _ => String::new(),
        }
    }

    pub(super) fn uint(&self, name: &str) -> u32 {
        match self.value(name) {
            Some(Value::Uint(number)) => number,
            _ => 0,
        }
    }

    /// A text that was set, and is neither empty nor the default, which stands for "not set" in the C++ element.
    pub(super) fn given(&self, name: &str) -> Option<String> {
        let default = SPECS.iter().find(|spec| spec.name() == name)?.default_value().get::<Option<String>>();
        match self.0.get(name) {
            Some(Value::Text(Some(text))) if !text.is_empty() && default != Ok(Some(text.clone())) => {
                Some(text.clone())
            }
            _ => None,
        }
    }

    /// A value that was set; its default changes with time.
    pub(super) fn uint64(&self, name: &str) -> Option<u64> {
        match self.0.get(name) {
            Some(Value::Uint64(number)) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn set_text(&mut self, name: &str, value: String) {
        self.0.insert(name.to_owned(), Value::Text(Some(value)));
    }

    pub(super) fn boolean(&self, name: &str) -> bool {
        matches!(self.value(name), Some(Value::Bool(true)))
    }

    pub(super) fn streaming_type(&self) -> StreamingType {
        match self.value("streaming-type") {
            Some(Value::Streaming(kind)) => kind,
            _ => StreamingType::default(),
        }
    }

    pub(super) fn structure(&self, name: &str) -> Option<gst::Structure> {
        match self.value(name) {
            Some(Value::Structure(found)) => found,
            _ => None,
        }
    }
}
