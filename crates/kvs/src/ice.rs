//! STUN and TURN servers of a channel.

use std::fmt;
use std::time::Duration;

use aws_sdk_kinesisvideosignaling::Client;
use aws_sdk_kinesisvideosignaling::config::Builder;
use kvs_aws::AwsContext;
use url::Url;

use crate::error::Error;
use crate::id::{ChannelArn, ClientId};

/// One server, as GetIceServerConfig gives it. Its credentials are good for [`IceServer::ttl`], for allocating.
#[derive(Clone, PartialEq, Eq)]
pub struct IceServer {
    /// `turn:HOST:443?transport=udp` and the like.
    pub urls: Vec<String>,
    /// TURN user name.
    pub username: String,
    /// TURN password.
    pub credential: String,
    /// How long an allocation may be made with them.
    pub ttl: Duration,
}

impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServer").field("urls", &self.urls).field("ttl", &self.ttl).finish_non_exhaustive()
    }
}

/// GetIceServerConfig at the channel's HTTPS endpoint; `AWS_ENDPOINT_URL_KINESIS_VIDEO_SIGNALING` goes before it.
///
/// # Errors
/// The classes of any call.
pub async fn ice_servers(
    context: &AwsContext,
    https: &Url,
    channel: &ChannelArn,
    client_id: &ClientId,
) -> Result<Vec<IceServer>, Error> {
    let overridden =
        std::env::var("AWS_ENDPOINT_URL_KINESIS_VIDEO_SIGNALING").ok().filter(|url| !url.is_empty());
    let url = overridden.as_deref().unwrap_or(https.as_str()).trim_end_matches('/');
    let client = Client::from_conf(Builder::from(context.sdk_config()).endpoint_url(url).build());
    let answer = client
        .get_ice_server_config()
        .channel_arn(channel.as_str())
        .client_id(client_id.as_str())
        .send()
        .await
        .map_err(|error| Error::sdk(context, "GetIceServerConfig", channel, error))?;
    Ok(answer
        .ice_server_list
        .unwrap_or_default()
        .into_iter()
        .map(|server| IceServer {
            urls: server.uris.unwrap_or_default(),
            username: server.username.unwrap_or_default(),
            credential: server.password.unwrap_or_default(),
            ttl: Duration::from_secs(u64::try_from(server.ttl.unwrap_or(300)).unwrap_or(300)),
        })
        .filter(|server| !server.urls.is_empty())
        .collect())
}

/// KVS's own STUN server, which GetIceServerConfig does not list. `None` where the control plane is not AWS's: an
/// emulator's users have no STUN server to reach.
#[must_use]
pub fn stun_server(context: &AwsContext) -> Option<String> {
    if context.has_custom_endpoint() {
        return None;
    }
    let region = context.region();
    let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    Some(format!("stun:stun.kinesisvideo.{region}.{suffix}:443"))
}
