//! Keeps a connection while there is media for it.

use super::failure::Failure;
use super::metrics::Latency;
use super::shared::Shared;
use kvs_aws::{AwsContext, Backoff, Connection, Peer, Security};
use kvs_rtmp::{Destination, Publisher, Step};
use rand::{Rng, RngCore};
use std::collections::VecDeque;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::select;
use tokio::time::{sleep, sleep_until, timeout};

/// For name, TCP, proxy and TLS.
const CONNECT: Duration = Duration::from_secs(5);
/// For handshake and all commands.
const ANSWERS: Duration = Duration::from_secs(10);
/// A server that reads nothing for so long is left.
const STALL: Duration = Duration::from_secs(5);
/// Bytes in front of the socket, beyond which no more is taken out of the queue: what is there cannot be left out any more.
const FILL: usize = 64 * 1024;
/// The same of the kernel.
const UNSENT: u32 = 128 * 1024;
/// Nothing happens: it is looked after at least so often.
const TICK: Duration = Duration::from_secs(1);
/// The same while there is a connection. Media that comes meanwhile and waits for its other track does so for longer than this
/// (`LiveConfig::hold`): it wakes nobody.
const LOOK: Duration = Duration::from_millis(400);
/// What is due has more with it: sound comes by some frames at a time. It is written together.
const GATHER: Duration = Duration::from_millis(4);
/// While it waits for the next attempt, it is looked so often whether a key frame has to be asked for.
const ASK: Duration = Duration::from_millis(100);
/// Of what the server says at once.
const READ: usize = 4096;
/// The end of a broadcast is told within so long, or not at all.
const GOODBYE: Duration = Duration::from_millis(800);

/// What a server said before it closed is there by then.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Between attempts. A live broadcast is missed by every second; a stream key that is wrong will be so for a while.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(1));
const RETRY_REFUSED: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// Who closes a broadcast that has just begun, without a word, did not want it.
const SOON: Duration = Duration::from_secs(2);
/// A connection that held for so long was a good one: what broke it is new.
const HELD: Duration = Duration::from_secs(10);

/// For the life of the process, or until it is stopped.
pub(super) async fn run(shared: Arc<Shared>, context: AwsContext, latency: Latency) {
    let mut network = Backoff::new(RETRY.0, RETRY.1);
    let mut refused = Backoff::new(RETRY_REFUSED.0, RETRY_REFUSED.1);
    while !shared.is_stopping() {
        let now = Instant::now();
        let (is_wanted, wants_key_frame) =
            shared.with(|live| (live.wants_connection(now), live.take_key_frame_wanted(now)));
        if wants_key_frame {
            shared.ask_for_key_frame();
        }
        if !is_wanted {
            let _ = timeout(TICK, shared.wake.notified()).await;
            continue;
        }
        let begun = Instant::now();
        let result = broadcast(&shared, &context, &latency).await;
        shared.with(|live| live.disconnected());
        let failure = match result {
            Ok(()) if shared.is_stopping() => return,
            Ok(()) => {
                shared.ended();
                network.reset();
                refused.reset();
                continue;
            }
            Err(failure) => failure,
        };
        if begun.elapsed() >= HELD {
            network.reset();
            refused.reset();
        }
        let backoff = if failure.needs_a_person { &mut refused } else { &mut network };
        let wait = backoff.next_delay(rand::rng().random_range(0.5..=1.0));
        shared.failed(failure);
        let until = Instant::now() + wait;
        // Media that comes meanwhile is no reason to hurry; but with what the next broadcast begins is there by then.
        while Instant::now() < until && !shared.is_stopping() {
            let now = Instant::now();
            if shared.with(|live| live.take_key_frame_wanted(now)) {
                shared.ask_for_key_frame();
            }
            sleep(until.saturating_duration_since(now).min(ASK)).await;
        }
    }
}

/// One connection. `Ok`: the master has left, or the agent stops.
async fn broadcast(shared: &Shared, context: &AwsContext, latency: &Latency) -> Result<(), Failure> {
    let destination = shared.settings.destination()?;
    shared.set_destination(&destination);
    let connection = context.connect_to(peer(shared, &destination), CONNECT).await?;
    let mut random = [0; 1528];
    rand::rng().fill_bytes(&mut random);
    let publisher = Publisher::new(destination, &random);
    let (marks, live_since, is_receiving, goodbye) = (VecDeque::new(), None, false, None);
    let mut attempt =
        Attempt { shared, context, latency, publisher, marks, live_since, is_receiving, goodbye };
    let result = attempt.run(connection).await;
    // How the server takes the end of a broadcast is its own affair.
    if attempt.goodbye.is_some() { Ok(()) } else { result }
}

/// Writes some of `output` and says how much, or, where there is none, what TLS has kept of it.
async fn push(writer: &mut WriteHalf<Connection>, output: &[u8]) -> std::io::Result<Option<usize>> {
    if output.is_empty() { writer.flush().await.map(|()| None) } else { writer.write(output).await.map(Some) }
}

fn peer<'a>(shared: &'a Shared, destination: &'a Destination) -> Peer<'a> {
    let security = match (&shared.settings.ca_bundle, destination.is_secure()) {
        (_, false) => Security::Plain,
        (None, true) => Security::Tls,
        (Some(bundle), true) => Security::TlsWith(bundle),
    };
    Peer { host: destination.host(), port: destination.port(), security, unsent: Some(UNSENT) }
}

struct Attempt<'a> {
    shared: &'a Shared,
    context: &'a AwsContext,
    latency: &'a Latency,
    publisher: Publisher,
    /// Where tags end among the bytes that are sent, and when they were captured: as many as fit in front of the socket.
    marks: VecDeque<(u64, Duration)>,
    /// Since when it takes media.
    live_since: Option<Instant>,
    /// It has been given some.
    is_receiving: bool,
    /// The broadcast is over, and the server has so long to hear of it.
    goodbye: Option<Instant>,
}

impl Attempt<'_> {
    async fn run(&mut self, connection: Connection) -> Result<(), Failure> {
        let (mut reader, mut writer) = tokio::io::split(connection);
        let mut buffer = [0; READ];
        let begun = Instant::now();
        let (mut progress, mut is_flushed) = (begun, true);
        loop {
            let now = Instant::now();
            self.fill(now)?;
            let is_over = self.shared.is_stopping()
                || self.live_since.is_some() && self.shared.with(|live| live.is_idle(now));
            if is_over && self.goodbye.is_none() {
                self.publisher.close();
                self.goodbye = Some(now + GOODBYE);
            }
            let is_written = self.publisher.output().is_empty() && is_flushed;
            if self.goodbye.is_some_and(|until| is_written || now >= until) {
                // With TLS, the end is told there, too.
                let _ = timeout(GOODBYE, writer.shutdown()).await;
                return Ok(());
            }
            if is_written {
                progress = now;
            } else if now.saturating_duration_since(progress) >= STALL {
                return Err(Failure::stalled(STALL));
            }
            if self.publisher.step() < Step::Publishing && now.saturating_duration_since(begun) >= ANSWERS {
                return Err(Failure::no_answer(self.publisher.step(), ANSWERS));
            }
            let due = self.shared.with(|live| live.timeout(now));
            let wake = [due, self.goodbye].into_iter().flatten().fold(now + LOOK, Instant::min);
            select! {
                // One that asks and does not read is left to wait with its questions.
                read = reader.read(&mut buffer), if self.publisher.takes_input() => match read {
                    Ok(0) => return Err(self.closed()),
                    Ok(count) => {
                        self.publisher.handle(&buffer[..count])?;
                        self.shared.set_unacknowledged(self.publisher.unacknowledged());
                    }
                    // A server that closes with something unread resets the connection.
                    Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset && self.live_since.is_none() => {
                        return Err(self.closed());
                    }
                    Err(error) => return Err(Failure::lost(&error)),
                },
                pushed = push(&mut writer, self.publisher.output()), if !is_written => match pushed {
                    Ok(Some(0)) => return Err(Failure::lost(&std::io::ErrorKind::WriteZero.into())),
                    Ok(Some(count)) => {
                        self.publisher.advance(count);
                        (progress, is_flushed) = (Instant::now(), false);
                        self.written(count);
                    }
                    Ok(None) => (progress, is_flushed) = (Instant::now(), true),
                    // Why it has closed may still be there to be read.
                    Err(error) => return Err(self.last_words(&mut reader, &mut buffer, &error).await),
                },
                () = self.shared.wake.notified() => if is_written {
                    sleep(GATHER).await;
                    // What came meanwhile goes with it.
                    select! {
                        biased;
                        () = self.shared.wake.notified() => {}
                        () = ready(()) => {}
                    }
                },
                () = sleep_until(wake.into()) => {}
            }
        }
    }

    /// Takes out of the queue what is due, as far as there is room.
    fn fill(&mut self, now: Instant) -> Result<(), Failure> {
        if !self.publisher.is_publishing() {
            return Ok(());
        }
        let Self { shared, publisher, marks, live_since, .. } = self;
        let wants_key_frame = shared.with(|live| {
            if live_since.is_none() {
                *live_since = Some(now);
                live.connected(now);
            }
            while publisher.output().len() < FILL
                && let Some(tag) = live.next(now)
            {
                publisher.send(&tag)?;
                marks.extend(tag.captured.map(|captured| (publisher.sent(), captured)));
            }
            Ok::<_, Failure>(live.take_key_frame_wanted(now))
        })?;
        if wants_key_frame {
            shared.ask_for_key_frame();
        }
        Ok(())
    }

    /// So many bytes went to the kernel.
    fn written(&mut self, count: usize) {
        self.shared.sent_bytes.fetch_add(count as u64, Ordering::Relaxed);
        let total = self.publisher.sent() - self.publisher.output().len() as u64;
        let now = self.context.now();
        while let Some((_, captured)) = self.marks.pop_front_if(|(end, _)| *end <= total) {
            if !std::mem::replace(&mut self.is_receiving, true) {
                self.shared.receives();
            }
            let at = SystemTime::UNIX_EPOCH + captured;
            self.latency.observe(now.duration_since(at).unwrap_or_default());
        }
    }

    /// Nothing can be written: what the server said before it closed tells why, or else `error` does.
    async fn last_words(
        &mut self,
        reader: &mut ReadHalf<Connection>,
        buffer: &mut [u8],
        error: &std::io::Error,
    ) -> Failure {
        let heard = timeout(LAST_WORDS, async {
            while let Ok(count @ 1..) = reader.read(buffer).await {
                self.publisher.handle(&buffer[..count])?;
            }
            Ok::<_, Failure>(())
        });
        match heard.await {
            Ok(Err(failure)) => failure,
            _ if self.live_since.is_none() => self.closed(),
            _ => Failure::lost(error),
        }
    }

    /// The server has closed the connection.
    fn closed(&self) -> Failure {
        match self.live_since {
            Some(since) if since.elapsed() < SOON => Failure::closed_soon(),
            _ => self.publisher.closed().into(),
        }
    }
}
