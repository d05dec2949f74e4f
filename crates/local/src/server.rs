//! [`Server`]: start and end.

use std::{fs, net::SocketAddr, sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    App, Config, SnsUrl, StartError,
    agents::Agents,
    archive::Archive,
    auth::KeyRing,
    control::ControlPlane,
    delivery::{Delivery, Waiting, make_images, push_notifications},
    error::ServiceError,
    expiry::expire,
    faults::Faults,
    ice,
    index::Index,
    listener::{Listener, with_fallback},
    metrics,
    model::Scope,
    page_token::PageTokens,
    playback::Playback,
    private,
    putmedia::Sessions,
    quotas::Quotas,
    requests::Requests,
    router,
    signaling::Signaling,
    snapshot::Snapshot,
    storage::Sessions as StorageSessions,
    tls,
};

/// How long all connections together may take to end when the server does.
const GRACE: Duration = Duration::from_secs(5);

fn tls_url(address: SocketAddr) -> String {
    match address.ip().is_unspecified() {
        true => format!("https://localhost:{}", address.port()),
        false => format!("https://{address}"),
    }
}

/// A running KVS.
pub struct Server {
    app: Arc<App>,
    local: SocketAddr,
    secure: Option<SocketAddr>,
    metrics: Option<SocketAddr>,
    turn: ice::TurnServer,
    stop: CancellationToken,
    tasks: TaskTracker,
    _lock: fs::File,
}

impl Server {
    /// Opens the data folder and the listeners, and serves until [`Server::shutdown`].
    ///
    /// # Errors
    /// [`StartError`] says what is in the way and which option changes it.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let data = config.data.clone();
        private::folder(&data).map_err(|error| StartError::Data(data.clone(), error))?;
        let lock = lock(&data)?;
        let path = data.join("index.redb");
        let no_index = |error: &dyn std::fmt::Display| StartError::Index(path.clone(), error.to_string());
        let index = Arc::new(Index::open(&path).map_err(|error| no_index(&error))?);
        let (archive, found) = Archive::open(&data, index.clone()).map_err(|error| no_index(&error))?;
        let archive = Arc::new(archive);
        let control =
            ControlPlane::open(index.clone(), config.states, found).map_err(|error| no_index(&error))?;
        index.settle().map_err(|error| no_index(&error))?;

        let bind = |flag, address| async move {
            let bound = with_fallback(address, TcpListener::bind)
                .await
                .and_then(|socket| Ok((socket.local_addr()?, socket)));
            bound.map_err(|error| StartError::Listen { flag, address, error })
        };
        let (local, socket) = bind("--listen", config.listen).await?;
        let no_certificate = |error: Box<dyn std::error::Error + Send + Sync>| {
            StartError::Tls(data.clone(), error.to_string())
        };
        let secure = match config.tls_listen {
            None => None,
            Some(address) => {
                let acceptor = tls::acceptor(&data, &[address.ip()], &config.tls_names, &["http/1.1"])
                    .map_err(no_certificate)?;
                let (address, socket) = bind("--tls-listen", address).await?;
                Some((address, socket, acceptor))
            }
        };
        let metrics = match config.metrics_listen {
            Some(address) => Some(bind("--metrics-listen", address).await?),
            None => None,
        };
        let options = ice::TurnOptions {
            listen: config.turn_listen,
            advertise: config.turn_advertise,
            ports: config.turn_relay_ports,
            ttl: config.ice_ttl,
            quotas: config.quotas,
        };
        let (turn, credentials) = ice::TurnServer::start(options, |address| {
            tls::acceptor(&data, &address.ips(), &config.tls_names, &[]).map_err(no_certificate)
        })
        .await?;

        for address in [Some(local), secure.as_ref().map(|(address, ..)| *address)].into_iter().flatten() {
            warn_of_others(address, &config);
        }

        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let storage = Arc::new(StorageSessions::default());
        let buckets = config.s3_folder.clone().unwrap_or_else(|| data.join("s3"));
        let subscriber = config.sns_url.clone();
        let (delivery, Waiting { images, pushes }) = Delivery::new(data.join("sns"), subscriber.is_some());
        let app = Arc::new(App {
            agents: Arc::new(Agents::default()),
            put_media: Arc::new(Sessions::default()),
            faults: Arc::new(Faults::default()),
            stop: stop.clone(),
            tasks: tasks.clone(),
            keys: KeyRing::new(&config.access_keys),
            signaling: Signaling::new(config.signaling.clone(), storage.clone(), stop.clone(), tasks.clone()),
            storage,
            snapshot: Snapshot::default(),
            playback: Playback::default(),
            delivery,
            tokens: PageTokens::default(),
            turn: credentials,
            turn_address: turn.address(),
            turn_figures: turn.figures(),
            quotas: Quotas::default(),
            requests: Requests::default(),
            config,
            control,
            archive,
        });
        tasks.spawn(expire(app.clone(), stop.clone()));
        tasks.spawn(make_images(app.clone(), images, buckets));
        if let Some(SnsUrl(url)) = subscriber {
            tasks.spawn(push_notifications(app.clone(), pushes, url));
        }
        let listener = Listener::new(router(app.clone()), stop.clone(), tasks.clone());
        tasks.spawn(listener.clone().accept(socket, None));
        let metrics = metrics.map(|(address, socket)| {
            let listener = Listener::new(metrics::router(app.clone()), stop.clone(), tasks.clone());
            tasks.spawn(listener.accept(socket, None));
            address
        });
        let secure_address = secure.map(|(address, socket, acceptor)| {
            tasks.spawn(listener.accept(socket, Some(acceptor)));
            address
        });
        Ok(Self { app, local, secure: secure_address, metrics, turn, stop, tasks, _lock: lock })
    }

    /// `http://host:port` of the plain listener.
    pub fn url(&self) -> String {
        format!("http://{}", self.local)
    }

    /// `https://host:port` of the TLS listener; of one on every address that of `localhost`, for which there is a
    /// certificate.
    pub fn tls_url(&self) -> Option<String> {
        self.secure.map(tls_url)
    }

    /// `http://host:port` of the metrics listener.
    pub fn metrics_url(&self) -> Option<String> {
        self.metrics.map(|address| format!("http://{address}"))
    }

    /// Where the TURN server listens.
    pub fn turn_address(&self) -> SocketAddr {
        self.turn.address().listen
    }

    /// Makes sure that a channel exists in the configured region, as if someone had created it.
    ///
    /// # Errors
    /// The index cannot be written.
    pub fn ensure_channel(&self, name: &str) -> Result<(), ServiceError> {
        let scope = Scope::of_region(&self.app.config.region);
        match self.app.control.channel(&scope, name) {
            Ok(_) => Ok(()),
            Err(_) => self.app.create_channel(&scope, name).map(drop),
        }
    }

    /// The state behind the handlers.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Ends: no new connections, sockets closed with 1001, running requests get a second.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(GRACE, self.tasks.wait()).await.is_err() {
            tracing::warn!("connections were still open at the end");
        }
        self.turn.close().await;
    }
}

/// Says who else can do what, where others than this machine reach a listener.
fn warn_of_others(address: SocketAddr, config: &Config) {
    if address.ip().to_canonical().is_loopback() {
        return;
    }
    match (config.auth, config.console_public) {
        (false, _) => tracing::warn!(
            %address,
            "whoever reaches this address can make every call and delete what is stored: no signatures are asked for \
             (--no-auth)"
        ),
        (true, true) => tracing::warn!(
            %address,
            "whoever reaches this address can read what is stored, and a key to make every call with (--console-public)"
        ),
        (true, false) => tracing::warn!(
            %address,
            "others than this machine may reach this address: they need an access key, and get nothing of /_kvs/ \
             (--console-public would change that)"
        ),
    }
}

/// Holds the folder for this process. The lock goes with the process, however it ends.
fn lock(data: &std::path::Path) -> Result<fs::File, StartError> {
    let path = data.join("lock");
    let file = private::file(&path).map_err(|error| StartError::Data(data.to_owned(), error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(StartError::DataInUse(data.to_owned())),
        Err(fs::TryLockError::Error(error)) => Err(StartError::Data(data.to_owned(), error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tls_url_has_a_name_that_the_certificate_is_for() {
        for (address, url) in [
            ("0.0.0.0:8443", "https://localhost:8443"),
            ("[::]:8443", "https://localhost:8443"),
            ("127.0.0.1:8443", "https://127.0.0.1:8443"),
            ("[::1]:8443", "https://[::1]:8443"),
        ] {
            assert_eq!(tls_url(address.parse().unwrap()), url);
        }
    }
}
