//! Between an agent and KVS: everything passes, and of PutMedia it is written down when each picture was there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use kvs_ingest_tests::certificate;
use kvs_ingest_tests::nal::{frame_number, split_avcc};
use kvs_local::mkv::{Item, Parser};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// How KVS says that a fragment is kept (PutMedia, response).
const PERSISTED: &[u8] = b"\"PERSISTED\"";
/// How exactly it is seen that something has happened.
const POLL: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(60);

/// Gone when dropped.
pub struct Front {
    pub url: String,
    /// Who answers for its certificate.
    pub authority: PathBuf,
    arrivals: Arc<Mutex<Arrivals>>,
    task: JoinHandle<()>,
}

#[derive(Clone, Debug, Default)]
pub struct Arrivals {
    /// By the number of a picture, when its last byte was there.
    pub pictures: BTreeMap<u64, SystemTime>,
    /// When the first fragment was said to be kept.
    pub persisted: Option<SystemTime>,
}

impl Front {
    /// In front of the TLS listener of KVS at `server`, for whose certificate `authority` answers; with its files in `folder`.
    pub async fn start(server: &str, authority: &Path, folder: &Path) -> Self {
        let server = server.trim_start_matches("https://").to_owned();
        let issued = certificate::issue(vec!["127.0.0.1".to_owned()]).unwrap();
        let chain =
            CertificateDer::pem_slice_iter(issued.certificate.as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let accepted = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_file_iter(authority).unwrap() {
            roots.add(root.unwrap()).unwrap();
        }
        let connected = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let own = folder.join("front-ca.pem");
        std::fs::write(&own, issued.authority).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let arrivals = Arc::<Mutex<Arrivals>>::default();
        let (acceptor, connector) =
            (TlsAcceptor::from(Arc::new(accepted)), TlsConnector::from(Arc::new(connected)));
        let task = tokio::spawn({
            let arrivals = arrivals.clone();
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    let (acceptor, connector) = (acceptor.clone(), connector.clone());
                    let (server, arrivals) = (server.clone(), arrivals.clone());
                    tokio::spawn(async move {
                        let _ = client.set_nodelay(true);
                        // Whoever does not come through here tries again.
                        let Ok(client) = acceptor.accept(client).await else { return };
                        let upstream = TcpStream::connect(&server).await.expect("KVS listens");
                        let _ = upstream.set_nodelay(true);
                        let name = ServerName::try_from("127.0.0.1").expect("an address");
                        let upstream = connector.connect(name, upstream).await.expect("KVS has TLS");
                        let (from_client, to_client) = tokio::io::split(client);
                        let (from_server, to_server) = tokio::io::split(upstream);
                        let watched = arrivals.clone();
                        let mut body = Body::default();
                        let up = pass(from_client, to_server, |data| body.look(data, &watched));
                        let mut tail = Vec::new();
                        let down =
                            pass(from_server, to_client, |data| acknowledged(&mut tail, data, &arrivals));
                        tokio::join!(up, down);
                    });
                }
            }
        });
        Self { url, authority: own, arrivals, task }
    }

    /// Waits until `is_there` finds something among what has arrived.
    pub async fn until<T>(&self, what: &str, is_there: impl Fn(&Arrivals) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = is_there(&self.arrivals.lock().unwrap()) {
                return found;
            }
            assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
            sleep(POLL).await;
        }
    }

    pub fn arrivals(&self) -> Arrivals {
        self.arrivals.lock().unwrap().clone()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Until either side has ended.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut look: impl FnMut(&[u8]),
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(length) => length,
        };
        look(&buffer[..length]);
        if to.write_all(&buffer[..length]).await.is_err() || to.flush().await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}

/// An acknowledgement may come in two pieces: `tail` is the end of what came before.
fn acknowledged(tail: &mut Vec<u8>, data: &[u8], arrivals: &Mutex<Arrivals>) {
    tail.extend_from_slice(data);
    if tail.windows(PERSISTED.len()).any(|window| window == PERSISTED) {
        arrivals.lock().unwrap().persisted.get_or_insert_with(SystemTime::now);
    }
    tail.drain(..tail.len().saturating_sub(PERSISTED.len() - 1));
}

/// The first request of a connection, if it is PutMedia: a session has a connection of its own.
enum Body {
    Head(Vec<u8>),
    /// Chunks (RFC 9112, section 7.1): what is not yet a whole one.
    Chunks(Vec<u8>, Box<Parser>),
    Other,
}

impl Default for Body {
    fn default() -> Self {
        Self::Head(Vec::new())
    }
}

impl Body {
    fn look(&mut self, data: &[u8], arrivals: &Mutex<Arrivals>) {
        match self {
            Self::Other => {}
            Self::Head(head) => {
                head.extend_from_slice(data);
                let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") else { return };
                let rest = head.split_off(end + 4);
                *self = match head.starts_with(b"POST /putMedia ") {
                    true => Self::Chunks(Vec::new(), Box::new(Parser::new(u64::MAX))),
                    false => Self::Other,
                };
                self.look(&rest, arrivals);
            }
            Self::Chunks(pending, parser) => {
                let now = SystemTime::now();
                pending.extend_from_slice(data);
                let mut items = Vec::new();
                while let Some((begin, length)) = chunk(pending) {
                    parser.push(&pending[begin..begin + length], &mut items).expect("Matroska");
                    pending.drain(..begin + length + 2);
                }
                let mut arrivals = arrivals.lock().unwrap();
                for item in items {
                    if let Item::Frame { data, .. } = item
                        && let Some(number) = split_avcc(&data).and_then(|units| frame_number(&units))
                    {
                        // What is sent again was there before.
                        arrivals.pictures.entry(number).or_insert(now);
                    }
                }
            }
        }
    }
}

/// Where the content of the first chunk begins, and its length, once it is whole. None for the last, which is empty.
fn chunk(pending: &[u8]) -> Option<(usize, usize)> {
    let line = pending.windows(2).position(|window| window == b"\r\n")?;
    let digits = std::str::from_utf8(&pending[..line]).ok()?.split(';').next()?.trim();
    let length = usize::from_str_radix(digits, 16).ok()?;
    (length > 0 && pending.len() >= line + 2 + length + 2).then_some((line + 2, length))
}
