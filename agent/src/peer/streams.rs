//! The connections to TURN servers over TCP and TLS: a task for each, beside the one that has the engine.

use bytes::{Bytes, BytesMut};
use kvs_aws::{AwsContext, Connection, causes};
use kvs_peer::{StreamAction, StreamTransmit};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

/// What came of all streams and was not looked at yet. When it is full nothing more is read, and TCP tells the server.
const INCOMING: usize = 64;

/// Bytes read at once.
const READ: usize = 16 << 10;

/// Messages to one server that were not written yet: some seconds of feedback. When it is full, what comes is dropped and
/// counted, as UDP would; ICE and the feedback for media repeat what matters.
const OUTGOING: usize = 256;

/// Longest opening, with names, proxy and TLS.
const CONNECT: Duration = Duration::from_secs(10);

/// A stream that is closed has so long to write what it still has.
const LINGER: Duration = Duration::from_secs(2);

/// What a stream brings.
#[derive(Debug)]
pub(super) enum Incoming {
    Opened,
    Data(Bytes),
    /// Why it has ended, or could not be opened.
    Closed(String),
}

/// A stream, which of its connections, and what it brings.
type Message = (usize, u64, Incoming);

struct Open {
    number: u64,
    outgoing: mpsc::Sender<BytesMut>,
    /// Ends the task when it is dropped.
    _close: DropGuard,
}

/// The streams of one peer connection.
pub(super) struct Streams {
    context: AwsContext,
    /// One of them has brought something.
    news: Arc<Notify>,
    urls: Vec<Url>,
    open: Vec<Option<Open>>,
    numbers: u64,
    messages: mpsc::Sender<Message>,
    inbox: mpsc::Receiver<Message>,
    /// Messages that had no room.
    pub(super) dropped: u64,
}

impl Streams {
    /// To be opened at `urls`: `https` with TLS, `http` without, through the proxy that the environment names.
    pub(super) fn new(context: AwsContext, urls: Vec<Url>) -> Self {
        let (messages, inbox) = mpsc::channel(INCOMING);
        let open = urls.iter().map(|_| None).collect();
        Self { context, news: Arc::default(), urls, open, numbers: 0, messages, inbox, dropped: 0 }
    }

    /// Does what the engine asks for.
    pub(super) fn carry_out(&mut self, StreamTransmit { stream, action }: StreamTransmit) {
        let (Some(slot), Some(url)) = (self.open.get_mut(stream), self.urls.get(stream)) else {
            return;
        };
        match action {
            StreamAction::Open => {
                self.numbers += 1;
                let (outgoing, queue) = mpsc::channel(OUTGOING);
                let close = CancellationToken::new();
                let task = Task {
                    name: (stream, self.numbers),
                    messages: self.messages.clone(),
                    news: Arc::clone(&self.news),
                    close: close.clone(),
                };
                let (context, url) = (self.context.clone(), url.clone());
                tokio::spawn(task.run(
                    // Half of it to a proxy, and half from there.
                    async move { context.connect(&url, CONNECT / 2).await.map_err(|error| causes(&error)) },
                    queue,
                ));
                *slot = Some(Open { number: self.numbers, outgoing, _close: close.drop_guard() });
            }
            StreamAction::Send(data) => {
                if let Some(open) = slot
                    && open.outgoing.try_send(data).is_err()
                {
                    self.dropped += 1;
                }
            }
            StreamAction::Close => *slot = None,
        }
    }

    /// The next thing that a stream has brought; nothing of one that was closed.
    pub(super) fn poll(&mut self) -> Option<(usize, Incoming)> {
        while let Ok((stream, number, incoming)) = self.inbox.try_recv() {
            let slot = self.open.get_mut(stream)?;
            if slot.as_ref().is_none_or(|open| open.number != number) {
                continue;
            }
            if matches!(incoming, Incoming::Closed(_)) {
                *slot = None;
            }
            return Some((stream, incoming));
        }
        None
    }

    /// Waits for something that a stream has brought. It may have been taken already.
    pub(super) async fn brought(&self) {
        self.news.notified().await;
    }

    /// Whether there is more.
    pub(super) fn has_more(&self) -> bool {
        !self.inbox.is_empty()
    }
}

struct Task {
    name: (usize, u64),
    messages: mpsc::Sender<Message>,
    news: Arc<Notify>,
    close: CancellationToken,
}

impl Task {
    async fn run(
        self,
        connect: impl Future<Output = Result<Connection, String>>,
        mut queue: mpsc::Receiver<BytesMut>,
    ) {
        let connection = tokio::select! {
            // Nobody wants it any more.
            () = self.close.cancelled() => return,
            connected = connect => match connected {
                Ok(connection) => connection,
                Err(reason) => return self.tell(Incoming::Closed(reason)).await,
            },
        };
        self.tell(Incoming::Opened).await;
        let (mut reader, mut writer) = tokio::io::split(connection);
        let write = async {
            let mut batch = Vec::new();
            while queue.recv_many(&mut batch, OUTGOING).await > 0 {
                // One record of TLS, one segment, for what is sent together.
                let together: Vec<u8> = batch.drain(..).flatten().collect();
                writer.write_all(&together).await?;
                writer.flush().await?;
            }
            writer.shutdown().await
        };
        let read = async {
            let mut buffer = BytesMut::new();
            loop {
                buffer.reserve(READ);
                match reader.read_buf(&mut buffer).await {
                    Ok(0) => return "the server closed the connection".to_owned(),
                    Ok(_) => self.tell(Incoming::Data(buffer.split().freeze())).await,
                    Err(error) => return error.to_string(),
                }
            }
        };
        let given_up = async {
            self.close.cancelled().await;
            tokio::time::sleep(LINGER).await;
        };
        let reason = tokio::select! {
            reason = read => reason,
            // Closed by us: everything is written.
            Ok(()) = write => return,
            () = given_up => return,
        };
        self.tell(Incoming::Closed(reason)).await;
    }

    /// Waits while the engine has enough to do. When it is gone, nobody listens.
    async fn tell(&self, incoming: Incoming) {
        let (stream, number) = self.name;
        tokio::select! {
            () = self.close.cancelled() => {}
            sent = self.messages.send((stream, number, incoming)) => {
                if sent.is_ok() {
                    self.news.notify_one();
                }
            }
        }
    }
}
