//! The streams to TURN servers over TCP and TLS: when one is opened, what it carries, when it is given up. Who opens
//! connections and moves bytes is asked by [`StreamTransmit`]s.

use crate::config::TurnStream;
use crate::framing::Deframer;
use bytes::BytesMut;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Between one way to a server and the next (RFC 8305, section 5): UDP has the first word.
const PACE: Duration = Duration::from_millis(250);

/// From asking for a connection to having a relay: a name, a proxy, TCP, TLS and two round trips.
const DEADLINE: Duration = Duration::from_secs(15);

/// A stream that ended is opened again after so long, twice as long, and so on.
const REOPEN: Duration = Duration::from_secs(1);
const REOPEN_CAP: Duration = Duration::from_secs(30);

/// Streams opened to one server for one connection: each may bring a relay, and each relay is a candidate.
const MAX_OPENED: u32 = 8;

/// What is to be done with a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamAction {
    /// Connect to the server, with what the scheme of its URL asks for.
    Open,
    /// Write all of this, or nothing: what has no room is dropped whole, as UDP would.
    Send(BytesMut),
    /// Close it when everything was written.
    Close,
}

/// Something to do for a stream of [`crate::Config::turn_streams`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamTransmit {
    /// Which, from 0.
    pub stream: usize,
    /// What.
    pub action: StreamAction,
}

enum State {
    Waiting { at: Instant },
    Opening { deadline: Instant },
    Open { deframer: Deframer, deadline: Option<Instant> },
    Over,
}

struct Stream {
    server: TurnStream,
    state: State,
    opened: u32,
}

/// What a stream brought.
pub(crate) enum Brought {
    Message(BytesMut),
    /// It is of no use any more, and has been closed.
    Broken(String),
}

/// The streams of one connection.
#[derive(Default)]
pub(crate) struct Streams {
    streams: Vec<Stream>,
    /// As much as the engine takes between two looks: the messages of one turn.
    out: VecDeque<StreamTransmit>,
}

impl Streams {
    pub(crate) fn new(servers: &[TurnStream], now: Instant) -> Self {
        let streams = servers.iter().zip(1..).map(|(server, order)| Stream {
            server: server.clone(),
            state: State::Waiting { at: now + PACE * order },
            opened: 0,
        });
        Self { streams: streams.collect(), out: VecDeque::new() }
    }

    /// Which server each leads to.
    pub(crate) fn servers(&self) -> impl Iterator<Item = &TurnStream> {
        self.streams.iter().map(|stream| &stream.server)
    }

    /// Which server it leads to; `None` when there is no such stream, or it is not asked for any more.
    pub(crate) fn opened(&mut self, index: usize) -> Option<&TurnStream> {
        let stream = self.streams.get_mut(index)?;
        let State::Opening { deadline } = stream.state else {
            return None;
        };
        stream.state = State::Open { deframer: Deframer::default(), deadline: Some(deadline) };
        Some(&stream.server)
    }

    /// Its server has given a relay.
    pub(crate) fn proven(&mut self, index: usize) {
        if let Some(Stream { state: State::Open { deadline, .. }, .. }) = self.streams.get_mut(index) {
            *deadline = None;
        }
    }

    /// Bytes of the server's.
    pub(crate) fn push(&mut self, index: usize, bytes: &[u8]) {
        if let Some(Stream { state: State::Open { deframer, .. }, .. }) = self.streams.get_mut(index) {
            deframer.push(bytes);
        }
    }

    /// The next message in what was pushed.
    pub(crate) fn next(&mut self, index: usize, now: Instant) -> Option<Brought> {
        let State::Open { deframer, .. } = &mut self.streams.get_mut(index)?.state else {
            return None;
        };
        match deframer.next() {
            Ok(message) => message.map(Brought::Message),
            Err(error) => Some(Brought::Broken(self.broken(index, &error.to_string(), now)?)),
        }
    }

    /// The stream has ended, or could not be opened; what is to be said of it, if that is news.
    pub(crate) fn closed(&mut self, index: usize, reason: &str, now: Instant) -> Option<String> {
        let stream = self.streams.get_mut(index)?;
        if !matches!(stream.state, State::Opening { .. } | State::Open { .. }) {
            return None;
        }
        let again = stream.opened < MAX_OPENED;
        stream.state = if again {
            let wait = REOPEN.saturating_mul(1 << (stream.opened.saturating_sub(1)).min(8)).min(REOPEN_CAP);
            State::Waiting { at: now + wait }
        } else {
            State::Over
        };
        let last = if again { "" } else { "; it is not tried again for this connection" };
        Some(format!("{}: {reason}{last}", stream.server.name))
    }

    /// It is of no use any more.
    pub(crate) fn broken(&mut self, index: usize, reason: &str, now: Instant) -> Option<String> {
        let failure = self.closed(index, reason, now)?;
        self.out.push_back(StreamTransmit { stream: index, action: StreamAction::Close });
        Some(failure)
    }

    /// It is not needed: it is closed behind what was sent, and not opened again.
    pub(crate) fn release(&mut self, index: usize) {
        let Some(stream) = self.streams.get_mut(index) else {
            return;
        };
        let state = std::mem::replace(&mut stream.state, State::Over);
        if matches!(state, State::Opening { .. } | State::Open { .. }) {
            self.out.push_back(StreamTransmit { stream: index, action: StreamAction::Close });
        }
    }

    pub(crate) fn send(&mut self, index: usize, data: BytesMut) {
        if let Some(Stream { state: State::Open { .. }, .. }) = self.streams.get(index) {
            self.out.push_back(StreamTransmit { stream: index, action: StreamAction::Send(data) });
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.streams.len()
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<StreamTransmit> {
        self.out.pop_front()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let due = self.streams.iter().filter_map(|stream| match stream.state {
            State::Waiting { at } => Some(at),
            State::Opening { deadline } => Some(deadline),
            State::Open { deadline, .. } => deadline,
            State::Over => None,
        });
        due.min()
    }

    /// Those that took too long and were closed, with what is to be said of them.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Vec<(usize, String)> {
        let mut late = Vec::new();
        for index in 0..self.streams.len() {
            let stream = &mut self.streams[index];
            let reason = match stream.state {
                State::Waiting { at } if at <= now => {
                    stream.state = State::Opening { deadline: now + DEADLINE };
                    stream.opened += 1;
                    self.out.push_back(StreamTransmit { stream: index, action: StreamAction::Open });
                    continue;
                }
                State::Opening { deadline } if deadline <= now => "no connection",
                State::Open { deadline: Some(deadline), .. } if deadline <= now => "connected, but no relay",
                _ => continue,
            };
            let reason = format!("{reason} within {} s", DEADLINE.as_secs());
            late.extend(self.broken(index, &reason, now).map(|failure| (index, failure)));
        }
        late
    }
}
