//! GetIceServerConfig, and the TURN server that it names.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::extract::State;
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;
use tokio::net::UdpSocket;
use turn::auth::{AuthHandler, generate_auth_key};
use turn::relay::relay_static::RelayAddressGeneratorStatic;
use turn::server::Server;
use turn::server::config::{ConnConfig, ServerConfig};

use crate::{
    App,
    auth::Signed,
    control::{Answer, Json, find_channel_by_arn},
    server::StartError,
};

const REALM: &str = "kvs-local";

/// Makes and checks time-limited credentials: the user name holds their end, the password is a keyed hash of it.
#[derive(Clone)]
pub struct TurnCredentials {
    // As long as a block of SHA-256.
    secret: [u8; 64],
    ttl: Duration,
    address: SocketAddr,
}

impl TurnCredentials {
    fn new(ttl: Duration, address: SocketAddr) -> Self {
        Self { secret: rand::random(), ttl, address }
    }

    /// User name and password for a channel, from `now` on.
    fn make(&self, channel_arn: &str, now: SystemTime) -> (String, String) {
        let end = (now + self.ttl).duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let username = format!("{end}:{}", STANDARD.encode(format!("v1:{channel_arn}")));
        let password = self.password(&username);
        (username, password)
    }

    fn password(&self, username: &str) -> String {
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&self.secret.into());
        mac.update(username.as_bytes());
        STANDARD.encode(mac.finalize().into_bytes())
    }

    /// The password of a user name that has not ended.
    fn check(&self, username: &str, now: SystemTime) -> Option<String> {
        let end: u64 = username.split_once(':')?.0.parse().ok()?;
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        (end >= now).then(|| self.password(username))
    }
}

impl AuthHandler for TurnCredentials {
    fn auth_handle(&self, username: &str, realm: &str, source: SocketAddr) -> Result<Vec<u8>, turn::Error> {
        match self.check(username, SystemTime::now()) {
            Some(password) => Ok(generate_auth_key(username, realm, &password)),
            None => {
                tracing::info!(%source, "TURN credentials have expired or are none of ours");
                Err(turn::Error::Other("expired credentials".to_owned()))
            }
        }
    }
}

/// The embedded TURN server (RFC 8656, UDP). It relays between peers on this machine too, which AWS's refuses.
pub struct TurnServer {
    server: Server,
    address: SocketAddr,
}

impl TurnServer {
    pub(crate) async fn start(
        listen: SocketAddr,
        ttl: Duration,
    ) -> Result<(Self, TurnCredentials), StartError> {
        let bind_error = |error| StartError::Listen { flag: "--turn-listen", address: listen, error };
        let socket = UdpSocket::bind(listen).await.map_err(bind_error)?;
        let address = socket.local_addr().map_err(bind_error)?;
        let credentials = TurnCredentials::new(ttl, address);
        let server = Server::new(ServerConfig {
            conn_configs: vec![ConnConfig {
                conn: Arc::new(socket),
                relay_addr_generator: Box::new(RelayAddressGeneratorStatic {
                    relay_address: address.ip(),
                    address: address.ip().to_string(),
                    net: Arc::new(webrtc_util::vnet::net::Net::new(None)),
                }),
            }],
            realm: REALM.to_owned(),
            auth_handler: Arc::new(credentials.clone()),
            channel_bind_timeout: Duration::from_secs(0),
            alloc_close_notify: None,
        })
        .await
        .map_err(|error| StartError::Turn(listen, error.to_string()))?;
        Ok((Self { server, address }, credentials))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) async fn close(self) {
        if let Err(error) = self.server.close().await {
            tracing::debug!(%error, "TURN server did not close cleanly");
        }
    }
}

/// `POST /v1/get-ice-server-config`
pub(crate) async fn get_ice_server_config(
    State(app): State<Arc<App>>,
    Signed { members, .. }: Signed,
) -> Answer {
    let channel = find_channel_by_arn(&app, &members)?;
    members.text(
        "ClientId",
        1..=256,
        |c| c.is_ascii_alphanumeric() || "_.-".contains(c),
        "[a-zA-Z0-9_.-]+",
    )?;
    members.one_of("Service", &["TURN"])?;
    let (username, password) = app.turn.make(&channel.arn, SystemTime::now());
    Ok(Json(json!({"IceServerList": [{
        "Uris": [format!("turn:{}?transport=udp", app.turn.address)],
        "Username": username,
        "Password": password,
        "Ttl": app.turn.ttl.as_secs(),
    }]})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_end() {
        let turn = TurnCredentials::new(Duration::from_secs(300), SocketAddr::from(([127, 0, 0, 1], 1)));
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let (username, password) = turn.make("arn:x", now);
        assert!(username.starts_with("1700000300:"));
        assert_eq!(turn.check(&username, now + Duration::from_secs(300)), Some(password));
        assert_eq!(turn.check(&username, now + Duration::from_secs(301)), None);
        assert_eq!(turn.check("nobody", now), None);
        let other = TurnCredentials::new(Duration::from_secs(300), SocketAddr::from(([127, 0, 0, 1], 1)));
        assert_ne!(other.check(&username, now), turn.check(&username, now));
    }
}
