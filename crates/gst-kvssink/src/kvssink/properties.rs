//! The 39 properties of the C++ element, with its names, types, ranges and defaults, and those of our own. What each does
//! is in `docs/kvssink.md`.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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

/// A type of properties.
trait Property: Sized {
    /// `self` is the default.
    fn spec(&self, name: &'static str, blurb: &'static str) -> glib::ParamSpec;

    /// What whoever reads the property gets.
    fn read(&self, spec: &glib::ParamSpec) -> glib::Value;

    /// What was set, if it is of the type; GObject has seen to that.
    fn written(value: &glib::Value) -> Option<Self>;
}

/// NULL and the empty text are values, too.
pub(super) type Text = Option<String>;

impl Property for Text {
    fn spec(&self, name: &'static str, blurb: &'static str) -> glib::ParamSpec {
        glib::ParamSpecString::builder(name).blurb(blurb).default_value(self.as_deref()).build()
    }

    fn read(&self, _spec: &glib::ParamSpec) -> glib::Value {
        self.to_value()
    }

    fn written(value: &glib::Value) -> Option<Self> {
        value.get().ok()
    }
}

/// A text that is set and never read: dumps of a pipeline show what can be read. Its default can.
#[derive(Clone)]
pub(super) struct Secret(Text);

impl Secret {
    pub(super) fn reveal(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl Property for Secret {
    fn spec(&self, name: &'static str, blurb: &'static str) -> glib::ParamSpec {
        self.0.spec(name, blurb)
    }

    fn read(&self, spec: &glib::ParamSpec) -> glib::Value {
        let is_default = spec.default_value().get::<Text>().is_ok_and(|default| default == self.0);
        if is_default { self.0.to_value() } else { None::<String>.to_value() }
    }

    fn written(value: &glib::Value) -> Option<Self> {
        value.get().ok().map(Self)
    }
}

/// Seconds since 1970; `None`: not set, and the time at which the class was made is shown.
pub(super) type EpochSeconds = Option<u64>;

impl Property for EpochSeconds {
    fn spec(&self, name: &'static str, blurb: &'static str) -> glib::ParamSpec {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.unwrap_or(now).spec(name, blurb)
    }

    fn read(&self, spec: &glib::ParamSpec) -> glib::Value {
        self.map_or_else(|| spec.default_value().clone(), |seconds| seconds.to_value())
    }

    fn written(value: &glib::Value) -> Option<Self> {
        value.get::<u64>().ok().map(Some)
    }
}

impl Property for Option<gst::Structure> {
    fn spec(&self, name: &'static str, blurb: &'static str) -> glib::ParamSpec {
        glib::ParamSpecBoxed::builder::<gst::Structure>(name).blurb(blurb).build()
    }

    fn read(&self, _spec: &glib::ParamSpec) -> glib::Value {
        self.to_value()
    }

    fn written(value: &glib::Value) -> Option<Self> {
        value.get().ok()
    }
}

/// Types that are read as they were written, with the builder of their spec.
macro_rules! plain {
    ($($kind:ty: $builder:ident),*) => {$(
        impl Property for $kind {
            fn spec(&self, name: &'static str, blurb: &'static str) -> glib::ParamSpec {
                glib::$builder::builder(name).blurb(blurb).default_value(*self).build()
            }

            fn read(&self, _spec: &glib::ParamSpec) -> glib::Value {
                self.to_value()
            }

            fn written(value: &glib::Value) -> Option<Self> {
                value.get().ok()
            }
        }
    )*};
}

plain!(u32: ParamSpecUInt, u64: ParamSpecUInt64, bool: ParamSpecBoolean);

impl Property for StreamingType {
    fn spec(&self, name: &'static str, blurb: &'static str) -> glib::ParamSpec {
        glib::ParamSpecEnum::builder_with_default(name, *self).blurb(blurb).build()
    }

    fn read(&self, _spec: &glib::ParamSpec) -> glib::Value {
        self.to_value()
    }

    fn written(value: &glib::Value) -> Option<Self> {
        value.get().ok()
    }
}

fn text(default: &str) -> Text {
    Some(default.to_owned())
}

/// One field for each property, so that a name that does not exist does not compile.
macro_rules! properties {
    ($($field:ident: $kind:ty = $default:expr, $name:literal, $blurb:expr;)*) => {
        /// What was set, and the defaults of the rest.
        #[derive(Clone)]
        pub(super) struct Properties {
            $(pub(super) $field: $kind,)*
        }

        impl Default for Properties {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl Properties {
            fn specs() -> Vec<glib::ParamSpec> {
                let defaults = Self::default();
                vec![$(defaults.$field.spec($name, $blurb),)*]
            }

            pub(super) fn set(&mut self, name: &str, value: &glib::Value) {
                match name {
                    $($name => {
                        if let Some(value) = <$kind>::written(value) {
                            self.$field = value;
                        }
                    })*
                    _ => {}
                }
            }

            pub(super) fn get(&self, spec: &glib::ParamSpec) -> glib::Value {
                match spec.name() {
                    $($name => self.$field.read(spec),)*
                    _ => spec.default_value().clone(),
                }
            }
        }
    };
}

properties! {
    stream_name: Text = text("DEFAULT_STREAM"), "stream-name", "Name of the destination stream";
    user_agent: Text = text("AWS-SDK-KVS-CPP-CLIENT/3.6.0"), "user-agent", "Name of the user agent";
    retention_period: u32 = 2, "retention-period", "Hours for which a created stream keeps its fragments";
    streaming_type: StreamingType = StreamingType::Realtime, "streaming-type", "Streaming type";
    content_type: Text = None, "content-type", "Media type of the stream; the caps decide it";
    max_latency: u32 = 60, "max-latency",
        "Seconds that media may wait to be sent before kvs-pressure is posted";
    fragment_duration: u32 = 2000, "fragment-duration",
        "Fragment duration in milliseconds, where key frames do not decide it";
    timecode_scale: u32 = 1, "timecode-scale", "Timecode scale in milliseconds";
    key_frame_fragmentation: bool = true, "key-frame-fragmentation", "A new fragment at every key frame";
    frame_timecodes: bool = true, "frame-timecodes", "Use the frames' own times, not those of their arrival";
    absolute_fragment_times: bool = true, "absolute-fragment-times", "Use absolute fragment times";
    fragment_acks: bool = true, "fragment-acks", "Ask for acknowledgements of fragments";
    restart_on_error: bool = true, "restart-on-error",
        "Go on after errors that pass; otherwise the first one ends the stream";
    recalculate_metrics: bool = true, "recalculate-metrics", "Measure the rates of get-kvs-metrics";
    framerate: u32 = 25, "framerate",
        "Frames per second of video that says nothing of its rate and has no timestamps";
    avg_bandwidth_bps: u32 = 4_194_304, "avg-bandwidth-bps",
        "Average bandwidth in bit/s; without effect, nothing is sized by it";
    buffer_duration: u32 = 120, "buffer-duration", "Seconds of media kept until they are persisted";
    replay_duration: u32 = 40, "replay-duration",
        "Seconds to replay; without effect, everything that is not persisted is replayed";
    connection_staleness: u32 = 60, "connection-staleness",
        "Seconds without acknowledgement after which a connection is dead";
    codec_id: Text = text("V_MPEG4/ISO/AVC"), "codec-id", "Codec id; the caps decide it";
    track_name: Text = text("kinesis_video"), "track-name", "Name of the video track";
    access_key: Text = text("access_key"), "access-key", "AWS access key";
    secret_key: Secret = Secret(text("secret_key")), "secret-key", "AWS secret key";
    session_token: Secret = Secret(text("session_token")), "session-token", "AWS session token";
    aws_region: Text = text("us-west-2"), "aws-region", "AWS region; AWS_DEFAULT_REGION goes before it";
    rotation_period: u32 = 3600, "rotation-period",
        "Seconds after which a PutMedia session is replaced, at most 2400";
    log_config: Text = text("../kvs_log_configuration"), "log-config",
        "Log configuration; without effect, see GST_DEBUG";
    storage_size: u32 = 128, "storage-size", "MiB of memory for fragments that are not persisted";
    stop_stream_timeout: u32 = 120, "stop-stream-timeout",
        "Seconds that stopping waits for the last acknowledgement";
    connection_timeout: u32 = 5, "connection-timeout", "Seconds for connecting";
    completion_timeout: u32 = 10, "completion-timeout", "Seconds for the completion of a call";
    credential_path: Text = text(".kvs/credential"), "credential-path",
        "Credential file, as of the producer SDK; used when it exists or is set";
    iot_certificate: Option<gst::Structure> = None, "iot-certificate",
        "IoT device certificate: endpoint, cert-path, key-path, ca-path, role-aliases, iot-thing-name";
    stream_tags: Option<gst::Structure> = None, "stream-tags", "Tags of the stream, set at each start";
    file_start_time: EpochSeconds = None, "file-start-time",
        "Epoch time at which a file starts, in seconds; for streaming-type=offline";
    disable_buffer_clipping: bool = false, "disable-buffer-clipping",
        "Take buffers behind the segment's end, too";
    use_original_pts: bool = false, "use-original-pts", "Buffers carry epoch nanoseconds in DTS or PTS";
    get_kvs_metrics: bool = false, "get-kvs-metrics",
        "Emit stream-client-metric and stream-metrics at each key frame";
    allow_create_stream: bool = true, "allow-create-stream", "Create the stream when it is missing";
    endpoint: Text = None, "endpoint", "URL of the control plane; CONTROL_PLANE_URI goes behind it";
    ca_file: Text = None, "ca-file",
        "PEM file of roots beside the system's; KVSSINK_CA_CERT_PATH goes behind it";
    kms_key_id: Text = None, "kms-key-id", "KMS key of a created stream";
    post_messages: bool = false, "post-messages",
        "Post kvs-fragment-ack and kvs-stream-metrics on the bus, which must then be read";
    spool_directory: Text = None, "spool-directory",
        "Folder on disk for fragments that are not persisted; none without";
    // An hour at 2 Mbit/s.
    spool_size: u64 = 1 << 30, "spool-size",
        "Bytes that the spool may hold; beyond them the oldest fragments are dropped";
}

pub(super) static SPECS: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
    let mut specs = Properties::specs();
    let statistics = glib::ParamSpecBoxed::builder::<gst::Structure>("statistics");
    specs.push(statistics.blurb("Figures of this sink").read_only().build());
    specs
});

impl Properties {
    /// A text that was set, and is neither empty nor the default, which stands for "not set" in the C++ element.
    pub(super) fn given(&self, text: impl Fn(&Self) -> Option<&str>) -> Option<String> {
        let default = Self::default();
        text(self).filter(|set| !set.is_empty() && text(&default) != Some(*set)).map(str::to_owned)
    }
}

/// A property that counts seconds.
pub(super) fn seconds(property: u32) -> Duration {
    Duration::from_secs(u64::from(property))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_property_is_read_as_it_was_set_but_for_secrets() {
        gst::init().unwrap();
        let mut properties = Properties::default();
        let spec = |name: &str| SPECS.iter().find(|spec| spec.name() == name).unwrap();
        let is_structure = |spec: &glib::ParamSpec| spec.value_type() == gst::Structure::static_type();
        for spec in SPECS.iter().filter(|spec| !is_structure(spec)) {
            let (shown, default) = (properties.get(spec), spec.default_value());
            assert_eq!(format!("{shown:?}"), format!("{default:?}"), "{}", spec.name());
        }
        for name in ["stream-name", "secret-key"] {
            properties.set(name, &"door".to_value());
        }
        properties.set("file-start-time", &5_u64.to_value());
        properties.set("max-latency", &7_u32.to_value());
        assert_eq!(properties.get(spec("stream-name")).get::<Text>(), Ok(text("door")));
        assert_eq!(properties.get(spec("secret-key")).get::<Text>(), Ok(None));
        assert_eq!(properties.secret_key.reveal(), Some("door"));
        assert_eq!(properties.get(spec("file-start-time")).get(), Ok(5_u64));
        assert_eq!((properties.file_start_time, properties.max_latency), (Some(5), 7));
    }

    #[test]
    fn a_default_counts_as_not_given() {
        let mut properties = Properties::default();
        for (text, given) in [("", None), ("access_key", None), ("AKID", Some("AKID".to_owned()))] {
            properties.access_key = Some(text.to_owned());
            assert_eq!(properties.given(|all| all.access_key.as_deref()), given);
        }
    }
}
