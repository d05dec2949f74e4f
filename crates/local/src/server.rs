//! [`Server`]: listeners, connections, start and end.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::Router;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::server::TlsStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

use crate::{
    App, Config, archive::Archive, auth::KeyRing, control::ControlPlane, error::ServiceError, ice,
    page_token::PageTokens, putmedia, router, signaling::Signaling, tls,
};

/// Connections at one time. When full, new ones wait in the backlog of the operating system.
const MAX_CONNECTIONS: usize = 4096;
/// How long a running request gets to finish when the server ends.
const DRAIN: Duration = Duration::from_secs(1);
/// How long a TLS handshake may take, and all connections together when the server ends.
const GRACE: Duration = Duration::from_secs(5);

/// Where a request came in; an extension of every request.
#[derive(Debug, Clone, Copy)]
pub struct Connection {
    /// Our end.
    pub local: SocketAddr,
    /// The other end.
    pub peer: SocketAddr,
    /// Whether it is TLS.
    pub secure: bool,
}

impl Default for Connection {
    fn default() -> Self {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { local: nowhere, peer: nowhere, secure: false }
    }
}

impl Connection {
    /// The port that a URL of this scheme does not spell out.
    pub fn default_port(&self) -> u16 {
        if self.secure { 443 } else { 80 }
    }
}

/// Resets the connection of a request, as a broken network does; an extension of every request.
#[derive(Debug, Clone, Default)]
pub struct Abort(CancellationToken);

impl Abort {
    /// Resets it: what is on its way in either direction is lost.
    pub fn reset(&self) {
        self.0.cancel();
    }
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another process has the data folder.
    #[error("the data folder {0} is in use by another kvs-local; end that one or choose another with --data")]
    DataInUse(PathBuf),
    /// The data folder cannot be made or read.
    #[error("the data folder {0}: {1}")]
    Data(PathBuf, io::Error),
    /// The index in the data folder cannot be opened.
    #[error("the index {0}: {1}")]
    Index(PathBuf, String),
    /// An address cannot be listened on.
    #[error("{flag} {address}: {}", describe_bind(error))]
    Listen {
        /// The option of the command line.
        flag: &'static str,
        /// The address asked for.
        address: SocketAddr,
        /// What the operating system says.
        error: io::Error,
    },
    /// The certificates cannot be made or read.
    #[error("TLS certificates in {0}: {1}")]
    Tls(PathBuf, String),
    /// What clients would be told of the TURN server leads nowhere.
    #[error("--turn-advertise {advertise} with --turn-listen {listen}: {why}")]
    TurnAdvertise {
        /// The address to be told.
        advertise: IpAddr,
        /// The address that is listened on.
        listen: SocketAddr,
        /// What is wrong.
        why: &'static str,
    },
    /// The TURN server does not start.
    #[error("TURN server on {0}: {1}")]
    Turn(SocketAddr, String),
}

fn describe_bind(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "the port is already in use; choose another, or 0 for any free port".to_owned()
        }
        _ => error.to_string(),
    }
}

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
        fs::create_dir_all(&data).map_err(|error| StartError::Data(data.clone(), error))?;
        let lock = lock(&data)?;
        let index = data.join("index.redb");
        let db =
            redb::Database::create(&index).map_err(|e| StartError::Index(index.clone(), e.to_string()))?;
        let db = Arc::new(db);
        let control = ControlPlane::open(db.clone())
            .map_err(|error| StartError::Index(index.clone(), error.to_string()))?;
        let archive =
            Archive::open(&data, db.clone()).map_err(|error| StartError::Index(index, error.to_string()))?;
        let archive = Arc::new(archive);

        let bind = |flag, address| async move {
            let bound =
                TcpListener::bind(address).await.and_then(|listener| Ok((listener.local_addr()?, listener)));
            bound.map_err(|error| StartError::Listen { flag, address, error })
        };
        let (local, listener) = bind("--listen", config.listen).await?;
        let secure = match config.tls_listen {
            None => None,
            Some(address) => {
                let acceptor = tls::acceptor(&data, address.ip(), &config.tls_names)
                    .map_err(|error| StartError::Tls(data.clone(), error.to_string()))?;
                let (address, listener) = bind("--tls-listen", address).await?;
                Some((address, listener, acceptor))
            }
        };
        let (turn, credentials) =
            ice::TurnServer::start(config.turn_listen, config.turn_advertise, config.ice_ttl).await?;

        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let app = Arc::new(App {
            put_media: putmedia::PutMedia::default(),
            stop: stop.clone(),
            tasks: tasks.clone(),
            keys: KeyRing::new(&config.access_keys),
            signaling: Signaling::new(config.signaling.clone(), stop.clone(), tasks.clone()),
            tokens: PageTokens::default(),
            turn: credentials,
            turn_address: turn.address(),
            config,
            db,
            control,
            archive,
        });
        tasks.spawn(putmedia::expire(app.clone(), stop.clone()));
        let router = router(app.clone());
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let shell = Shell { router, permits, stop: stop.clone(), tasks: tasks.clone() };
        tasks.spawn(shell.clone().accept(listener, None));
        let secure_address = secure.map(|(address, listener, acceptor)| {
            tasks.spawn(shell.accept(listener, Some(acceptor)));
            address
        });
        Ok(Self { app, local, secure: secure_address, turn, stop, tasks, _lock: lock })
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

    /// Where the TURN server listens.
    pub fn turn_address(&self) -> SocketAddr {
        self.turn.address().listen
    }

    /// Makes sure that a channel exists in the configured region, as if someone had created it.
    ///
    /// # Errors
    /// The index cannot be written.
    pub fn ensure_channel(&self, name: &str) -> Result<(), ServiceError> {
        let region = &self.app.config.region;
        match self.app.control.channel(region, name) {
            Ok(_) => Ok(()),
            Err(_) => self.app.create_channel(region, name).map(drop),
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

/// Holds the folder for this process. The lock goes with the process, however it ends.
fn lock(data: &std::path::Path) -> Result<fs::File, StartError> {
    let path = data.join("lock");
    let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| StartError::Data(data.to_owned(), error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(StartError::DataInUse(data.to_owned())),
        Err(fs::TryLockError::Error(error)) => Err(StartError::Data(data.to_owned(), error)),
    }
}

/// What a connection runs over.
trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    fn tcp(&self) -> &TcpStream;
}

impl Socket for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Socket for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// A socket that is reset instead of closed once its connection is aborted.
struct Resettable<S: Socket> {
    socket: S,
    abort: Abort,
}

impl<S: Socket> Drop for Resettable<S> {
    fn drop(&mut self) {
        if self.abort.0.is_cancelled()
            && let Err(error) = self.socket.tcp().set_zero_linger()
        {
            tracing::warn!(%error, "a connection is closed, because it cannot be reset");
        }
    }
}

impl<S: Socket> AsyncRead for Resettable<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl<S: Socket> AsyncWrite for Resettable<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

#[derive(Clone)]
struct Shell {
    router: Router,
    permits: Arc<Semaphore>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Shell {
    async fn accept(self, listener: TcpListener, tls: Option<tokio_rustls::TlsAcceptor>) {
        loop {
            let Ok(permit) = self.permits.clone().acquire_owned().await else { return };
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let (socket, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // out of file descriptors, or the peer has gone: waiting is the only cure for the first
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let _ = socket.set_nodelay(true);
            let local = socket.local_addr().unwrap_or_else(|_| Connection::default().local);
            let connection = Connection { local, peer, secure: tls.is_some() };
            let shell = self.clone();
            let tls = tls.clone();
            self.tasks.spawn(async move {
                match tls {
                    None => shell.serve(socket, connection).await,
                    Some(tls) => match tokio::time::timeout(GRACE, tls.accept(socket)).await {
                        Ok(Ok(socket)) => shell.serve(socket, connection).await,
                        Ok(Err(error)) => tracing::warn!(%peer, %error, "TLS handshake failed"),
                        Err(_) => tracing::warn!(%peer, "TLS handshake took too long"),
                    },
                }
                drop(permit);
            });
        }
    }

    async fn serve(&self, socket: impl Socket, connection: Connection) {
        let abort = Abort::default();
        let extension = abort.clone();
        let socket = Resettable { socket, abort: abort.clone() };
        let service =
            self.router.clone().map_request(move |request: http::Request<hyper::body::Incoming>| {
                let mut request = request.map(axum::body::Body::new);
                request.extensions_mut().insert(connection);
                request.extensions_mut().insert(extension.clone());
                request
            });
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(60))
            .serve_connection(TokioIo::new(socket), TowerToHyperService::new(service))
            .with_upgrades();
        tokio::pin!(served);
        let result = tokio::select! {
            result = served.as_mut() => result,
            () = abort.0.cancelled() => return,
            () = self.stop.cancelled() => {
                served.as_mut().graceful_shutdown();
                // media and events have no end of their own; producers replay what was not acknowledged
                let Ok(result) = tokio::time::timeout(DRAIN, served).await else { return };
                result
            }
        };
        if let Err(error) = result {
            tracing::debug!(peer = %connection.peer, %error, "connection ended");
        }
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
