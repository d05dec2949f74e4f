//! [`TurnServer`]: TURN over UDP (RFC 8656) by the `turn` crate.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::net::UdpSocket;
use turn::{
    auth::{AuthHandler, generate_auth_key},
    relay::RelayAddressGenerator,
    server::{
        Server,
        config::{ConnConfig, ServerConfig},
    },
};
use webrtc_util::Conn;

use super::TurnCredentials;
use crate::StartError;

const REALM: &str = "kvs-local";
/// Clients whose credentials were good once. When full, all are forgotten: their allocations then end with their
/// credentials, which makes clients allocate anew.
const MAX_SEEN: usize = 10_000;

pub(crate) struct TurnServer {
    server: Server,
    address: SocketAddr,
}

impl TurnServer {
    pub(crate) async fn start(
        listen: SocketAddr,
        ttl: Duration,
    ) -> Result<(Self, TurnCredentials), StartError> {
        let socket = UdpSocket::bind(listen).await.map_err(|error| StartError::Listen {
            flag: "--turn-listen",
            address: listen,
            error,
        })?;
        let failed = |error: &dyn std::fmt::Display| StartError::Turn(listen, error.to_string());
        let address = socket.local_addr().map_err(|error| failed(&error))?;
        let credentials = TurnCredentials::new(address, ttl);
        let config = ServerConfig {
            conn_configs: vec![ConnConfig {
                conn: Arc::new(socket),
                relay_addr_generator: Box::new(Relay(address.ip())),
            }],
            realm: REALM.to_owned(),
            auth_handler: Arc::new(Auth { credentials: credentials.clone(), seen: Mutex::default() }),
            channel_bind_timeout: Duration::ZERO,
            alloc_close_notify: None,
        };
        let server = Server::new(config).await.map_err(|error| failed(&error))?;
        Ok((Self { server, address }, credentials))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) async fn close(&self) {
        if let Err(error) = self.server.close().await {
            tracing::debug!(%error, "closing the TURN server");
        }
    }
}

/// Checks credentials. They must be current when a client first uses them; its allocation then lives on, because the
/// permissions and refreshes of a running session carry the same username.
struct Auth {
    credentials: TurnCredentials,
    seen: Mutex<HashSet<(SocketAddr, String)>>,
}

impl AuthHandler for Auth {
    fn auth_handle(&self, username: &str, realm: &str, peer: SocketAddr) -> Result<Vec<u8>, turn::Error> {
        let client = (peer, username.to_owned());
        let mut seen = self.seen.lock();
        match self.credentials.is_current(username, SystemTime::now()) {
            Some(true) => {
                if seen.len() >= MAX_SEEN {
                    seen.clear();
                }
                seen.insert(client);
            }
            Some(false) if seen.contains(&client) => {}
            expired => {
                tracing::warn!(%peer, expired = expired.is_some(), "TURN credential refused");
                return Err(turn::Error::ErrNoSuchUser);
            }
        }
        Ok(generate_auth_key(username, realm, &self.credentials.password(username)))
    }
}

/// Relayed addresses on the IP of the server itself.
struct Relay(IpAddr);

#[async_trait]
impl RelayAddressGenerator for Relay {
    fn validate(&self) -> Result<(), turn::Error> {
        Ok(())
    }

    async fn allocate_conn(
        &self,
        _use_ipv4: bool,
        requested_port: u16,
    ) -> Result<(Arc<dyn Conn + Send + Sync>, SocketAddr), turn::Error> {
        let refused = |error: std::io::Error| turn::Error::Other(error.to_string());
        let socket = UdpSocket::bind((self.0, requested_port)).await.map_err(refused)?;
        let address = socket.local_addr().map_err(refused)?;
        Ok((Arc::new(socket), address))
    }
}
