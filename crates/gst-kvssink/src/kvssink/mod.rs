//! The element and its parts.

pub mod abi;
mod byte_stream;
mod caps;
mod category;
mod clock;
mod control;
mod event;
mod hevc;
mod imp;
mod input;
mod log;
mod metadata;
mod metrics;
mod properties;
mod report;
mod rounds;
mod runtime;
mod settings;
mod shared;
mod spool;
mod statistics;
mod status;
mod threads;
mod timeline;
mod track;
mod uploader;
mod warnings;

use std::sync::Arc;

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use kvs_aws::AwsContext;
pub use kvs_putmedia::Statistics;

pub use self::event::SinkEvent;

glib::wrapper! {
    /// The element.
    pub struct KvsSink(ObjectSubclass<imp::KvsSink>) @extends gst::Element, gst::Object;
}

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
