//! What the libraries below the element log, among GStreamer's debug messages: `GST_DEBUG=kvssink:5`.

use std::fmt::{self, Write};

use gst::{DebugLevel, DebugLogger};
use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::category::CAT;

/// Makes this thread, one of the element's runtime, log to GStreamer; unless the application hears `tracing` itself.
pub(super) fn bridge() {
    if tracing::dispatcher::has_been_set() {
        return;
    }
    let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(ToGStreamer));
    // For as long as the thread lives.
    std::mem::forget(guard);
}

struct ToGStreamer;

impl<S: Subscriber> Layer<S> for ToGStreamer {
    /// Asked once for each place that logs or opens a span: the SDK, HTTP and TLS have hundreds, and what nobody hears of
    /// must cost nothing. The SDK would also show requests, and what authorizes them.
    fn register_callsite(&self, meta: &'static Metadata<'static>) -> Interest {
        if is_ours(meta) { Interest::sometimes() } else { Interest::never() }
    }

    fn enabled(&self, meta: &Metadata<'_>, _context: Context<'_, S>) -> bool {
        is_ours(meta) && CAT.above_threshold(level(meta))
    }

    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let meta = event.metadata();
        let mut text = Text::default();
        event.record(&mut text);
        gst::log_with_level!(CAT, level(meta), "{}: {}{}", meta.target(), text.message, text.fields);
    }
}

fn is_ours(meta: &Metadata<'_>) -> bool {
    // Of kvs, kvs_aws and kvs_putmedia.
    let (target, crate_end) = (meta.target(), |rest: &str| rest.is_empty() || rest.starts_with([':', '_']));
    target.strip_prefix("kvs").is_some_and(crate_end)
}

fn level(meta: &Metadata<'_>) -> DebugLevel {
    match *meta.level() {
        Level::ERROR => DebugLevel::Error,
        Level::WARN => DebugLevel::Warning,
        Level::INFO => DebugLevel::Info,
        Level::DEBUG => DebugLevel::Debug,
        Level::TRACE => DebugLevel::Trace,
    }
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn our_own_messages_reach_gstreamer_and_nobody_else_s_do() {
        gst::init().unwrap();
        CAT.set_threshold(DebugLevel::Info);
        let lines = Arc::new(Mutex::new(Vec::new()));
        let heard = lines.clone();
        let function = gst::log::add_log_function(move |category, level, _, _, _, _, message| {
            if category.name() == "kvssink" {
                heard.lock().unwrap().push((level, message.get().map(|text| text.to_string())));
            }
        });
        std::thread::spawn(|| {
            bridge();
            tracing::warn!(target: "kvs_aws::credentials", error = "gone", "old ones are used");
            tracing::debug!(target: "kvs_aws::clock", "not at this level");
            tracing::info!(target: "kvsomething", "of somebody else");
            tracing::info!(target: "kvs::control::find", "the stream is missing and created");
            tracing::error!(target: "aws_smithy_runtime", "Authorization: topsecret");
        })
        .join()
        .unwrap();
        gst::log::remove_log_function(function);
        CAT.set_threshold(DebugLevel::None);
        let text = "kvs_aws::credentials: old ones are used error=\"gone\"".to_owned();
        let created = "kvs::control::find: the stream is missing and created".to_owned();
        assert_eq!(
            *lines.lock().unwrap(),
            [(DebugLevel::Warning, Some(text)), (DebugLevel::Info, Some(created))]
        );
    }
}
