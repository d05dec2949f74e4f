//! The element and its parts.

pub mod abi;
mod byte_stream;
mod caps;
mod clock;
mod control;
mod hevc;
mod imp;
mod input;
mod log;
mod metadata;
mod metrics;
mod properties;
mod report;
mod rounds;
mod settings;
mod shared;
mod spool;
mod status;
mod threads;
mod timeline;
mod track;
mod uploader;

use std::sync::Arc;

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use kvs_aws::AwsContext;
pub use kvs_putmedia::Statistics;
use kvs_putmedia::{AckKind, Event};

glib::wrapper! {
    /// The element.
    pub struct KvsSink(ObjectSubclass<imp::KvsSink>) @extends gst::Element, gst::Object;
}

/// What a sink tells its application.
#[derive(Clone, Debug, PartialEq)]
pub enum SinkEvent {
    /// Stream and endpoint are known.
    StreamReady {
        /// Name of the stream.
        stream: String,
        /// Hours for which it keeps fragments; 0: nothing is kept, and fragments count as stored when received.
        retention_hours: u32,
    },
    /// Everything that the producer tells: sessions, acknowledgements, drops, errors.
    Producer(Event),
}

/// Hears [`SinkEvent`]s, on a thread of the sink: it must not block.
pub(crate) type Handler = Arc<dyn Fn(SinkEvent) + Send + Sync>;

impl KvsSink {
    /// Signs with this context, instead of one made of properties and environment. To be set before READY to PAUSED.
    pub fn set_aws_context(&self, context: AwsContext) {
        self.imp().set_aws_context(context);
    }

    /// Tells `handler` what happens, from now on.
    pub fn set_event_handler(&self, handler: impl Fn(SinkEvent) + Send + Sync + 'static) {
        self.imp().set_event_handler(Arc::new(handler));
    }

    /// Figures since READY to PAUSED.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.imp().statistics()
    }
}

pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    // The rank of the C++ element.
    let rank = gst::Rank::PRIMARY + 10;
    gst::Element::register(Some(plugin), "kvssink", rank, KvsSink::static_type())
}

/// The names of `fragment-ack` for bindings.
pub(crate) fn ack_name(kind: &AckKind) -> &'static str {
    match kind {
        AckKind::Buffering => "buffering",
        AckKind::Received => "received",
        AckKind::Persisted => "persisted",
        AckKind::Error { .. } => "error",
        AckKind::Idle => "idle",
    }
}
