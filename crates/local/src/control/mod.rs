//! The control plane: channels, streams, tags, endpoints and storage configuration, kept in the index.

mod channels;
mod edge;
mod endpoints;
mod images;
mod notifications;
mod rules;
mod storage;
mod store;
mod streams;
mod tags;
mod tiers;

use std::sync::Arc;

use axum::{Router, routing::post};

pub(crate) use self::channels::{
    find_by_arn as find_channel_by_arn, find_by_member as find_channel_by_member,
};
pub use self::store::ControlPlane;
pub(crate) use self::streams::find as find_stream;
use crate::App;

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
        .route("/describeImageGenerationConfiguration", post(images::describe))
        .route("/updateImageGenerationConfiguration", post(images::update))
        .route("/describeNotificationConfiguration", post(notifications::describe))
        .route("/updateNotificationConfiguration", post(notifications::update))
        .route("/startEdgeConfigurationUpdate", post(edge::start))
        .route("/describeEdgeConfiguration", post(edge::describe))
        .route("/deleteEdgeConfiguration", post(edge::delete))
        .route("/listEdgeAgentConfigurations", post(edge::list))
        .route("/describeStreamStorageConfiguration", post(tiers::describe))
        .route("/updateStreamStorageConfiguration", post(tiers::update))
        .route("/describeMediaStorageConfiguration", post(storage::describe))
        .route("/updateMediaStorageConfiguration", post(storage::update))
        .route("/describeMappedResourceConfiguration", post(storage::mapped))
}
