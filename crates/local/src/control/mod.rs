//! The control plane: channels, streams, tags, endpoints and storage configuration, kept in the index.

mod arn;
mod channels;
mod endpoints;
mod rules;
mod storage;
mod store;
mod streams;
mod tags;

pub use arn::{Arn, ArnKind};
pub(crate) use channels::find_by_arn as find_channel_by_arn;
pub(crate) use rules::name_char;
pub use store::{Channel, ControlPlane, Stream};
pub(crate) use streams::find as find_stream;

use std::sync::Arc;

use axum::{Router, response::Response, routing::post};
use http::{HeaderValue, header};

use crate::{App, error::ServiceError};

/// An operation's answer.
pub(crate) type Answer = Result<Json, ServiceError>;

/// A JSON answer, written at once with its length.
pub(crate) struct Json(pub serde_json::Value);

impl axum::response::IntoResponse for Json {
    fn into_response(self) -> Response {
        let mut response = self.0.to_string().into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/createSignalingChannel", post(channels::create))
        .route("/describeSignalingChannel", post(channels::describe))
        .route("/listSignalingChannels", post(channels::list))
        .route("/updateSignalingChannel", post(channels::update))
        .route("/deleteSignalingChannel", post(channels::delete))
        .route("/getSignalingChannelEndpoint", post(endpoints::signaling))
        .route("/createStream", post(streams::create))
        .route("/describeStream", post(streams::describe))
        .route("/listStreams", post(streams::list))
        .route("/updateStream", post(streams::update))
        .route("/deleteStream", post(streams::delete))
        .route("/updateDataRetention", post(streams::update_retention))
        .route("/getDataEndpoint", post(endpoints::data))
        .route("/tagStream", post(tags::tag_stream))
        .route("/untagStream", post(tags::untag_stream))
        .route("/listTagsForStream", post(tags::list_for_stream))
        .route("/TagResource", post(tags::tag_resource))
        .route("/UntagResource", post(tags::untag_resource))
        .route("/ListTagsForResource", post(tags::list_for_resource))
        .route("/describeMediaStorageConfiguration", post(storage::describe))
        .route("/updateMediaStorageConfiguration", post(storage::update))
        .route("/describeMappedResourceConfiguration", post(storage::mapped))
}
