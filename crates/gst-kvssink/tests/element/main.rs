//! The element among pads that the tests hold themselves, against kvs-local.
#![allow(clippy::unwrap_used, reason = "a test")]

mod input;
mod signals;
mod states;
mod time;

use std::sync::Arc;
use std::time::{Duration, Instant};

use gst::prelude::*;
use kvs_local::archive::FragmentInfo;
use kvs_local::model::Scope;
use kvs_local::{AccessKey, Config, Server};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const STREAM: &str = "front-door";

/// KVS on localhost.
struct Local {
    runtime: Runtime,
    server: Option<Server>,
    _folder: TempDir,
}

impl Local {
    fn new() -> Self {
        gst::init().unwrap();
        gstkvssink::plugin_register_static().unwrap();
        let runtime = Runtime::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::new(folder.path().join("kvs"));
        config.access_keys = vec![AccessKey::new("AKIDTEST", "secret")];
        let server = runtime.block_on(Server::start(config)).unwrap();
        Self { runtime, server: Some(server), _folder: folder }
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    /// A sink that stores there.
    fn sink(&self) -> gst::Element {
        gst::ElementFactory::make("kvssink")
            .property("stream-name", STREAM)
            .property("aws-region", "us-east-1")
            .property("endpoint", self.server().url())
            .property("access-key", "AKIDTEST")
            .property("secret-key", "secret")
            .property("stop-stream-timeout", 20_u32)
            .build()
            .unwrap()
    }

    /// The stream's key in archive and faults, once it exists.
    fn key(&self) -> Option<String> {
        self.server()
            .app()
            .control
            .stream(&Scope::of_region("us-east-1"), STREAM)
            .ok()
            .map(|stream| stream.folder())
    }

    fn fragments(&self) -> Vec<Arc<FragmentInfo>> {
        self.key().map(|key| self.server().app().archive.fragments(&key)).unwrap_or_default()
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server.shutdown());
        }
    }
}

/// A pad that feeds one of a sink's.
struct Feed {
    pad: gst::Pad,
    sink: gst::Pad,
}

impl Feed {
    /// Into a new pad `video_%u` or `audio_%u`.
    fn new(sink: &gst::Element, template: &str) -> Self {
        let target = sink.request_pad_simple(template).unwrap();
        let pad = gst::Pad::builder(gst::PadDirection::Src).build();
        pad.set_active(true).unwrap();
        pad.link(&target).unwrap();
        Self { pad, sink: target }
    }

    fn begin(&self, caps: &str) -> bool {
        let caps: gst::Caps = caps.parse().unwrap();
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        self.pad.push_event(gst::event::StreamStart::new(&format!("test-{}", self.sink.name())))
            && self.pad.push_event(gst::event::Caps::new(&caps))
            && self.pad.push_event(gst::event::Segment::new(&segment))
    }

    fn push(&self, ms: u64, key: bool) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.pad.push(frame(ms, key))
    }

    fn end(&self) -> bool {
        self.pad.push_event(gst::event::Eos::new())
    }
}

const H264: &str = "video/x-h264,stream-format=avc,alignment=au,width=320,height=240,framerate=10/1,\
    codec_data=(buffer)0142001effe0";
const ALAW: &str = "audio/x-alaw,rate=8000,channels=1";

/// A frame of H.264, as far as anybody looks; good as audio, too.
fn frame(ms: u64, key: bool) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_slice([0, 0, 0, 2, if key { 0x65 } else { 0x41 }, 0x88]);
    let known = buffer.get_mut().unwrap();
    known.set_pts(gst::ClockTime::from_mseconds(ms));
    if !key {
        known.set_flags(gst::BufferFlags::DELTA_UNIT);
    }
    buffer
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    u64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} does not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}
