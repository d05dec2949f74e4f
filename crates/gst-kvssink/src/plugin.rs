//! What GStreamer loads.
#![allow(missing_docs, reason = "the macro documents nothing")]

use gst::prelude::*;

use crate::kvssink::KvsSink;

fn plugin_init(plugin: &gst::Plugin) -> Result<(), gst::glib::BoolError> {
    // The rank of the C++ element.
    let rank = gst::Rank::PRIMARY + 10;
    gst::Element::register(Some(plugin), "kvssink", rank, KvsSink::static_type())
}

gst::plugin_define!(
    kvssink,
    env!("CARGO_PKG_DESCRIPTION"),
    plugin_init,
    concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")),
    // GStreamer's list of licences has no Apache-2.0 before 1.24.
    "MIT/X11",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_REPOSITORY"),
    env!("BUILD_REL_DATE")
);
