//! The STUN and TURN servers of a peer, as far as they can be had.

use crate::channel::Channel;
use crate::connecting::{Connecting, Step};
use crate::failure;
use crate::peer::IceServer;
use crate::session::{Failure, FailureKind};
use kvs::ClientId;
use kvs_aws::{AwsContext, ErrorClass};
use std::time::Duration;

/// A peer does not wait longer for its TURN servers: it may well do without.
const WITHIN: Duration = Duration::from_secs(10);

/// What a peer is built with.
pub(crate) struct Servers {
    /// STUN before TURN.
    pub(crate) servers: Vec<IceServer>,
    /// Why there is no TURN server, if there is none. The same words for the same reason.
    pub(crate) without_turn: Option<String>,
    /// For how long relays may be asked for: the shortest life of the credentials.
    pub(crate) good_for: Option<Duration>,
}

/// STUN of the region and TURN of GetIceServerConfig. Where that call fails, host and STUN candidates often do: the peer
/// is built with what there is, and the next one asks again.
///
/// # Errors
/// The call's, where nothing is possible without TURN (`relay_only`), and where the channel is gone.
pub(crate) async fn servers(
    context: &AwsContext,
    channel: &Channel,
    client_id: &str,
    relay_only: bool,
    connecting: &Connecting,
) -> Result<Servers, Failure> {
    let client_id: ClientId = client_id
        .parse()
        .map_err(|error: kvs::InvalidId| Failure::new(FailureKind::InvalidRequest, error.to_string()))?;
    let call = kvs::ice_servers(context, &channel.endpoints.https, &channel.arn, &client_id);
    let call = connecting.call(Step::IceServers, call);
    let found = match tokio::time::timeout(WITHIN, call).await {
        Ok(Ok(found)) if found.is_empty() => Err((
            "GetIceServerConfig names no server".to_owned(),
            Failure::new(FailureKind::Service, "GetIceServerConfig names no TURN server"),
        )),
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) if error.class == ErrorClass::NotFound => return Err(failure::call(&error)),
        // Without the request's id, which is another each time.
        Ok(Err(error)) => Err((format!("{}: {}", error.operation, error.message), failure::call(&error))),
        Err(_) => {
            let words = format!("GetIceServerConfig was not answered within {} s", WITHIN.as_secs());
            Err((words.clone(), Failure::new(FailureKind::Timeout, words)))
        }
    };
    let (turn, without_turn) = match found {
        Ok(turn) => (turn, None),
        Err((_, failure)) if relay_only => return Err(failure),
        Err((reason, _)) => (Vec::new(), Some(reason)),
    };
    let stun = kvs::stun_server(context).map(|url| IceServer {
        urls: vec![url],
        username: String::new(),
        credential: String::new(),
    });
    let good_for = turn.iter().map(|server| server.ttl).min();
    let turn = turn.into_iter().map(|server| IceServer {
        urls: server.urls,
        username: server.username,
        credential: server.credential,
    });
    Ok(Servers { servers: stun.into_iter().chain(turn).collect(), without_turn, good_for })
}
