//! The socket, the encoder and the disk of a [`Session`].

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use socket2::SockRef;
use tokio::{net::UdpSocket, sync::mpsc};

use super::{
    drops::dropped_by_kernel,
    recording,
    session::{NotJoined, Output, Session},
    sessions::Input,
    sound::{ENCODER_GRACE, Encoded, Encoder},
    writer::Writer,
};
use crate::{
    App,
    clock::now_ms,
    error::{ErrorKind, ServiceError},
    ice,
    model::{Channel, Stream},
};

/// The longest datagram of a peer; what is longer is cut, and no packet then.
const DATAGRAM: usize = 2048;
/// Datagrams that are taken before anything else is looked at.
const BATCH: usize = 64;
/// Frames of sound that wait for the session. Full: the encoder waits.
const FRAMES: usize = 64;
/// How often it is looked whether the channel still stores in this stream.
const CHECK: Duration = Duration::from_secs(1);
/// How long the end waits for the encoder.
const GRACE: Duration = ENCODER_GRACE.saturating_add(Duration::from_secs(1));
/// Bytes of `SO_RCVBUF` that are asked for: a master's key frames come in bursts, and a busy machine may not look for tenths of
/// a second. What the kernel drops is asked for again, but nobody can ask for what came last.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Starts the storage session of a channel.
///
/// # Errors
/// There is no port.
pub(super) fn start(
    app: Arc<App>,
    channel: Channel,
    stream: Stream,
    inputs: mpsc::Receiver<Input>,
) -> io::Result<()> {
    let [listen, own] = app.turn_address.ips();
    let socket = ice::bind(listen, app.config.turn_relay_ports)?;
    socket.set_nonblocking(true)?;
    if let Err(error) = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER) {
        tracing::debug!(%error, "SO_RCVBUF");
    }
    let socket = UdpSocket::from_std(socket)?;
    let local = SocketAddr::new(own, socket.local_addr()?.port());
    let tasks = app.tasks.clone();
    tasks.spawn(async move {
        let (arn, name) = (channel.arn.clone(), channel.name.clone());
        tracing::info!(channel = name, stream = stream.name, %local, "a storage session begins");
        let writer = Writer::start(app.clone(), stream.clone());
        let session = Session::new(app.config.storage, local, Instant::now(), now_ms());
        let (encoder, not_sent) = (None, 0);
        let task = Task { app: app.clone(), channel, stream, socket, session, writer, encoder, not_sent };
        task.run(inputs).await;
        app.storage.tidy();
        tracing::debug!(channel = arn, "the storage session is over");
    });
    Ok(())
}

struct Task {
    app: Arc<App>,
    channel: Channel,
    stream: Stream,
    socket: UdpSocket,
    session: Session,
    writer: Writer,
    encoder: Option<(u64, Encoder)>,
    /// Datagrams that the operating system did not take.
    not_sent: u64,
}

impl Task {
    async fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        let (encoded, mut frames) = mpsc::channel(FRAMES);
        let mut buffer = vec![0; DATAGRAM];
        let mut checked = Instant::now();
        let stop = self.app.stop.clone();
        // Until it has ended, and what it recorded is out of the encoder.
        let mut over: Option<Instant> = None;
        loop {
            self.outputs(&encoded);
            let now = Instant::now();
            if self.session.ended().is_some() {
                let until = *over.get_or_insert(now + GRACE);
                // who joins from here on begins another one
                inputs.close();
                if now >= until || !self.session.records() {
                    break;
                }
            }
            if now.saturating_duration_since(checked) >= CHECK {
                checked = now;
                self.check(now);
            }
            let timeout = self.session.poll_timeout(now);
            tokio::select! {
                () = stop.cancelled(), if over.is_none() => self.session.end("the server ends", now),
                input = inputs.recv(), if over.is_none() => match input {
                    Some(input) => self.input(input, now),
                    None => self.session.end("nobody can join any more", now),
                },
                readable = self.socket.readable() => if readable.is_ok() { self.receive(&mut buffer) },
                // It never ends: its other end is here.
                Some((number, next)) = frames.recv() => {
                    self.encoded(number, next);
                    // All of them, as of datagrams: whoever gets one turn for a batch of the other falls behind.
                    while let Ok((number, next)) = frames.try_recv() {
                        self.encoded(number, next);
                    }
                }
                () = tokio::time::sleep_until(timeout.into()) => {
                    self.session.handle_timeout(Instant::now());
                }
            }
        }
        let why = self.session.ended().unwrap_or_default();
        let (figures, refused) = self.session.figures();
        let not_sent = self.not_sent;
        let not_received = self.socket.local_addr().ok().and_then(dropped_by_kernel);
        tracing::info!(
            channel = self.channel.name,
            why,
            ?figures,
            refused,
            not_sent,
            not_received,
            "a storage session ends"
        );
        self.writer.finish().await;
    }

    fn input(&mut self, input: Input, now: Instant) {
        match input {
            Input::Join(client, answer) => {
                let joined = match &client {
                    None => self.session.join_master(now),
                    Some(client) => self.session.join_viewer(client, now),
                };
                let joined = joined.map_err(|error| match error {
                    NotJoined::TooMany => {
                        let most = self.app.config.storage.viewers;
                        let why = format!(
                            "The storage session has the {most} viewers that it can have, among them those that left in \
                             the last minute."
                        );
                        ServiceError::new(ErrorKind::ClientLimitExceeded, why)
                    }
                    NotJoined::Broken(why) => ServiceError::internal(why),
                });
                // A caller that has left needs no answer.
                let _ = answer.send(joined);
            }
            Input::Message(socket, message) => {
                let taken = self.session.message(&message.from, message.action, &message.payload, now);
                if let Err(why) = taken {
                    let (channel, from) = (&self.channel.name, &message.from);
                    tracing::warn!(channel, ?from, why, "the storage session refuses a message");
                    self.app.signaling.refuse(socket, message.correlation_id, &why);
                }
            }
        }
    }

    fn encoded(&mut self, encoder: u64, next: Encoded) {
        match next {
            Encoded::Frame(frame) => self.session.encoded(encoder, frame),
            Encoded::Ended(why) => {
                tracing::debug!(encoder, why, "an encoder of sound has ended");
                self.session.encoder_ended(encoder);
            }
        }
    }

    fn receive(&mut self, buffer: &mut [u8]) {
        for _ in 0..BATCH {
            match self.socket.try_recv_from(buffer) {
                Ok((length, source)) => {
                    self.session.datagram(source, &buffer[..length], Instant::now());
                }
                // Nothing more, or what an earlier datagram brought back (ICMP).
                Err(_) => break,
            }
        }
    }

    /// Whether the channel still stores in this stream.
    fn check(&mut self, now: Instant) {
        let current =
            self.channel.arn.parse().ok().and_then(|arn| self.app.control.channel_by_arn(&arn).ok());
        let mapped = current.is_some_and(|channel| {
            channel.storage_enabled && channel.storage_stream_arn.as_deref() == Some(&self.stream.arn)
        });
        if !mapped || self.app.control.current(&self.stream).is_err() {
            self.session.end("the channel no longer stores in the stream", now);
        }
    }

    fn outputs(&mut self, encoded: &mpsc::Sender<(u64, Encoded)>) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Signal(to, action, payload) => {
                    self.app.signaling.storage_says(&self.channel, to, action, payload);
                }
                Output::Transmit(to, data) => {
                    // UDP may lose it anyway, and it is asked for again.
                    self.not_sent += u64::from(self.socket.try_send_to(&data, to).is_err());
                }
                Output::Record(recording::Output::Encoder(number)) => {
                    let encoder = Encoder::start(number, encoded.clone(), &self.app.tasks);
                    self.encoder = Some((number, encoder));
                }
                Output::Record(recording::Output::Encode(packet)) => self.encode(packet),
                Output::Record(recording::Output::EncoderEnd) => self.encoder = None,
                Output::Record(recording::Output::Header(header)) => self.writer.header(header),
                Output::Record(recording::Output::Fragment(fragment)) => self.writer.fragment(fragment),
                // The session sees to it.
                Output::Record(recording::Output::KeyFrame) => {}
            }
        }
    }

    fn encode(&mut self, packet: Bytes) {
        let behind =
            self.encoder.as_ref().filter(|(_, encoder)| !encoder.push(packet)).map(|(number, _)| *number);
        if let Some(number) = behind {
            tracing::warn!("the encoder of sound does not keep up; the recording goes on with another one");
            self.encoder = None;
            self.session.encoder_ended(number);
        }
    }
}
