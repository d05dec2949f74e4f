//! Capture times and tags, as they go into a pipeline.

use crate::metadata::Tag;
use gst::prelude::*;
use std::time::{Duration, SystemTime};

/// Nanoseconds since 1970, which fit into 64 bits until the year 2554.
pub(super) fn clock_time(at: SystemTime) -> gst::ClockTime {
    nanoseconds(at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

pub(super) fn nanoseconds(duration: Duration) -> gst::ClockTime {
    gst::ClockTime::from_nseconds(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX - 1))
}

/// As both kinds of `kvssink` read them, in order with the media.
pub(super) fn send_tags(source: &gst_app::AppSrc, tags: &[Tag]) {
    for Tag { name, value } in tags {
        let structure = gst::Structure::builder("kvs-add-metadata");
        let structure = structure.field("name", name).field("value", value).field("persist", false).build();
        source.send_event(gst::event::CustomDownstream::new(structure));
    }
}
