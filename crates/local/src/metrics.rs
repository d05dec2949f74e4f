//! The metrics listener: `/metrics` for Prometheus, `/livez` and `/readyz` for a kubelet. It is a listener of its own, so that
//! who may look at figures need not be let to anything else.

use std::{fmt, sync::Arc};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text::encode},
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::ConstGauge,
    },
    registry::Registry,
};

use crate::App;

/// The content type of the text (OpenMetrics 1.0), which Prometheus reads.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ErrorLabel {
    error_id: u16,
}

/// What is asked for when somebody looks.
struct Now(Arc<App>);

impl fmt::Debug for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Now")
    }
}

impl Collector for Now {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let app = &self.0;
        let (open, put) = app.put_media.totals();
        let (turn, lost) = app.turn_figures.read();
        let delivery = &app.delivery.figures;
        let channels = app.control.channels();
        let views: Vec<_> = channels.iter().map(|channel| app.signaling.view(&channel.arn)).collect();
        let streams = app.control.streams();
        let stored: Vec<_> = streams.iter().map(|stream| app.archive.summary(&stream.folder())).collect();
        let mut write = |name: &str, help: &str, metric: &dyn EncodeMetric| {
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        let count = |number: usize| number as u64;
        for (name, help, value) in [
            ("channels", "Signaling channels", count(channels.len())),
            ("streams", "Streams", count(streams.len())),
            (
                "signaling_masters",
                "Masters that are connected",
                count(views.iter().filter(|view| view.master).count()),
            ),
            (
                "signaling_viewers",
                "Viewers that are connected",
                count(views.iter().map(|view| view.viewers.len()).sum()),
            ),
            (
                "signaling_messages_held",
                "Messages that wait for who they are for",
                count(views.iter().map(|view| view.held).sum()),
            ),
            ("put_media_sessions_open", "PutMedia sessions that are open", count(open)),
            (
                "stored_fragments",
                "Fragments that are stored, each producer time once",
                stored.iter().map(|sum| sum.fragments).sum(),
            ),
            ("stored_bytes", "Bytes of them", stored.iter().map(|sum| sum.bytes).sum()),
            ("turn_allocations", "TURN allocations that are there", count(turn.allocations)),
        ] {
            write(name, help, &ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)))?;
        }
        for (name, help, value) in [
            ("put_media_sessions", "PutMedia sessions that were opened", put.sessions),
            ("put_media_refused", "PutMedia requests that were refused", put.refused),
            ("put_media_bytes", "Bytes of PutMedia bodies that were read", put.bytes),
            ("put_media_fragments_received", "Fragments that were complete", put.received),
            ("put_media_fragments_persisted", "Fragments that were stored", put.persisted),
            ("put_media_fragments_cut", "Fragments whose session ended before they were complete", put.cut),
            ("images", "Images that were written into buckets", delivery.images.read()),
            ("images_failed", "Images that could not be made or written", delivery.images_failed.read()),
            (
                "images_dropped",
                "Fragments without images because too many waited for theirs",
                delivery.images_dropped.read(),
            ),
            ("notifications", "Notifications that were written", delivery.notifications.read()),
            (
                "notifications_failed",
                "Notifications that could not be written",
                delivery.notifications_failed.read(),
            ),
            (
                "notifications_not_posted",
                "Notifications that whoever --sns-url names has not taken",
                delivery.pushes_failed.read(),
            ),
            ("turn_allocations_made", "TURN allocations that were made", turn.allocated),
            (
                "turn_requests_refused",
                "TURN requests that were answered with an error, challenges aside",
                turn.refused,
            ),
            ("turn_bytes_to_peers", "Bytes that TURN relayed from clients to peers", turn.to_peers),
            ("turn_bytes_to_clients", "Bytes that TURN relayed from peers to clients", turn.to_clients),
            (
                "turn_datagrams_unwanted",
                "Datagrams at the TURN server of strangers, or that cannot be read",
                turn.unwanted,
            ),
            ("turn_datagrams_over_bitrate", "Datagrams beyond a channel's bitrate", turn.over_bitrate),
            (
                "turn_datagrams_too_long",
                "Data of TURN clients over TCP or TLS that no datagram can carry",
                turn.too_long,
            ),
            ("turn_datagrams_lost", "Datagrams that there was no room for", lost),
        ] {
            write(name, help, &ConstCounter::new(value))?;
        }
        let errors = Family::<ErrorLabel, Counter>::default();
        for (error_id, count) in &put.errors {
            errors.get_or_create(&ErrorLabel { error_id: *error_id }).inc_by(*count);
        }
        write("put_media_errors", "PutMedia sessions that ended with an error", &errors)
    }
}

struct Metrics {
    app: Arc<App>,
    registry: Registry,
}

/// What the listener serves.
pub(crate) fn router(app: Arc<App>) -> Router {
    let mut registry = Registry::with_prefix("kvs_local");
    app.requests.register(&mut registry);
    registry.register_collector(Box::new(Now(app.clone())));
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(Arc::new(Metrics { app, registry }))
}

async fn metrics(State(metrics): State<Arc<Metrics>>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &metrics.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Ready as long as it takes requests: not once it ends.
async fn ready(State(metrics): State<Arc<Metrics>>) -> (StatusCode, &'static str) {
    match metrics.app.stop.is_cancelled() {
        false => (StatusCode::OK, "ok\n"),
        true => (StatusCode::SERVICE_UNAVAILABLE, "the server ends\n"),
    }
}
