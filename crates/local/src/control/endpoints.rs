//! Where channels and streams are served: here, at the address by which the caller reached us.

use std::sync::Arc;

use axum::extract::State;
use serde_json::json;

use super::{channels, streams};
use crate::{
    App,
    answer::{AnswerAbout, Json},
    auth::Signed,
};

/// GetSignalingChannelEndpoint. Master and viewer get the same address: no client takes a path in it, and some take no
/// port, so a viewer is known by its `X-Amz-ClientId`, which a master never sends.
pub(super) async fn signaling(
    State(app): State<Arc<App>>,
    Signed { caller, members }: Signed,
) -> AnswerAbout {
    let channel = channels::find_by_arn(&app, &members)?.serving()?;
    let configuration = members.structure("SingleMasterChannelEndpointConfiguration")?.unwrap_or_default();
    configuration.one_of("Role", &["MASTER", "VIEWER"])?;
    let protocols = configuration.strings("Protocols", 5)?.unwrap_or_else(|| vec!["WSS"]);
    if protocols.is_empty() {
        return Err(configuration.invalid("Protocols", "must have at least one of WSS, HTTPS, WEBRTC"));
    }
    let mut list = Vec::new();
    for protocol in protocols {
        let endpoint = match protocol {
            "WSS" => caller.ws_url(),
            "HTTPS" => caller.http_url(),
            "WEBRTC" if channel.storage_enabled => caller.http_url(),
            "WEBRTC" => {
                return Err(
                    configuration.invalid("Protocols", "WEBRTC needs media storage enabled on the channel")
                );
            }
            _ => return Err(configuration.invalid("Protocols", "must be some of WSS, HTTPS, WEBRTC")),
        };
        list.push(json!({"Protocol": protocol, "ResourceEndpoint": endpoint}));
    }
    Ok(Json(json!({"ResourceEndpointList": list})).about(channel.arn))
}

/// What GetDataEndpoint can be asked about.
const APIS: [&str; 8] = [
    "PUT_MEDIA",
    "GET_MEDIA",
    "LIST_FRAGMENTS",
    "GET_MEDIA_FOR_FRAGMENT_LIST",
    "GET_HLS_STREAMING_SESSION_URL",
    "GET_DASH_STREAMING_SESSION_URL",
    "GET_CLIP",
    "GET_IMAGES",
];

/// GetDataEndpoint: the same address for every API.
pub(super) async fn data(State(app): State<Arc<App>>, Signed { caller, members }: Signed) -> AnswerAbout {
    members.required("APIName", members.one_of("APIName", &APIS)?)?;
    let stream = streams::find(&app, &caller.scope, &members)?.serving()?;
    Ok(Json(json!({"DataEndpoint": caller.http_url()})).about(stream.folder()))
}
