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
    /// TURN password; not shown by `Debug`.
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
    let url = context.signaling_endpoint().unwrap_or(https).as_str().trim_end_matches('/');
    let client = Client::from_conf(Builder::from(context.sdk_config()).endpoint_url(url).build());
    let call = client.get_ice_server_config().channel_arn(channel.as_str()).client_id(client_id.as_str());
    let answer = Error::call(context, "GetIceServerConfig", channel, || call.clone().send()).await?;
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
    let config = context.sdk_config();
    let (fips, dual_stack) = (config.use_fips() == Some(true), config.use_dual_stack() == Some(true));
    Some(stun_url(context.region(), fips, dual_stack))
}

fn stun_url(region: &str, fips: bool, dual_stack: bool) -> String {
    let (scheme, host) = if fips { ("stuns", "kinesisvideo-fips") } else { ("stun", "kinesisvideo") };
    let suffix = match (region.starts_with("cn-"), dual_stack) {
        (false, false) => "amazonaws.com",
        (false, true) => "api.aws",
        (true, false) => "amazonaws.com.cn",
        (true, true) => "api.amazonwebservices.com.cn",
    };
    format!("{scheme}:stun.{host}.{region}.{suffix}:443")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stun_follows_partition_fips_and_dual_stack() {
        for (region, fips, dual_stack, expected) in [
            ("us-west-2", false, false, "stun:stun.kinesisvideo.us-west-2.amazonaws.com:443"),
            ("us-west-2", false, true, "stun:stun.kinesisvideo.us-west-2.api.aws:443"),
            ("us-gov-west-1", true, false, "stuns:stun.kinesisvideo-fips.us-gov-west-1.amazonaws.com:443"),
            ("cn-north-1", false, false, "stun:stun.kinesisvideo.cn-north-1.amazonaws.com.cn:443"),
        ] {
            assert_eq!(stun_url(region, fips, dual_stack), expected);
        }
    }

    #[test]
    fn credentials_are_not_shown() {
        let server = IceServer {
            urls: vec!["turn:x".to_owned()],
            username: "user".to_owned(),
            credential: "topsecret".to_owned(),
            ttl: Duration::from_secs(300),
        };
        assert!(!format!("{server:?}").contains("topsecret"));
    }
}
