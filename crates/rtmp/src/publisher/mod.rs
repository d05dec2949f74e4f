//! One connection that publishes.

mod error;
mod handshake;
mod status;

pub use error::{PublishError, Step};

use crate::destination::Destination;
use crate::flv::{Tag, TagKind};
use broadcast_common::{Parse, Serialize};
use bytes::{Buf, BytesMut};
use handshake::Handshake;
use rtmp_runtime::amf0::{Amf0Value, Command};
use rtmp_runtime::chunk::{ChunkAssembler, ChunkWriter, Message};
use rtmp_runtime::message::{ProtocolControl, UserControl, msg_type};
use status::Status;

/// Bytes of a chunk, as OBS has it.
const CHUNK: u32 = 4096;
/// Bytes after which the server is to acknowledge.
const WINDOW: u32 = 2_500_000;
/// Bytes that may wait before the server is not listened to any more: it does not read.
const MAX_UNREAD: usize = 1 << 20;
/// Bytes that may wait before it is not answered either, where it is listened to all the same.
const MAX_UNANSWERED: usize = 2 * MAX_UNREAD;
/// Bytes of messages that a server may have begun and not ended. Its answers have a few hundred.
const MAX_UNFINISHED: usize = 1 << 20;

/// Chunk streams, as OBS and ffmpeg number them: commands, and media. One for both kinds of media keeps them in order.
const COMMANDS: u32 = 3;
const MEDIA: u32 = 4;

/// `flashVer`: services tell encoders from players by these letters.
const FLASH_VERSION: &str = "FMLE/3.0 (compatible; kvs-ingest)";

/// Numbers of what is called, in order.
const CONNECT: f64 = 1.0;
const RELEASE_STREAM: f64 = 2.0;
const FC_PUBLISH: f64 = 3.0;
const CREATE_STREAM: f64 = 4.0;
const PUBLISH: f64 = 5.0;
/// These two are the last, and nobody waits for an answer to them.
const FC_UNPUBLISH: f64 = 6.0;
const DELETE_STREAM: f64 = 7.0;

/// Publishes on one connection: bytes of the server in, bytes for it out.
pub struct Publisher {
    destination: Destination,
    step: Step,
    handshake: Handshake,
    reader: ChunkAssembler,
    writer: ChunkWriter,
    stream: u32,
    /// What waits to be written. Its bound is the caller's: it sends a tag when little waits.
    out: BytesMut,
    /// Bytes that were put there since the beginning.
    sent: u64,
    received: u64,
    acknowledged: u64,
    /// The server wants an acknowledgement after so many bytes.
    window: u32,
    /// What the server has acknowledged, as it counts: modulo 2^32.
    peer_acknowledged: Option<u32>,
}

impl Publisher {
    /// Begins the handshake with `random`, whatever it is.
    #[must_use]
    pub fn new(destination: Destination, random: &[u8; 1528]) -> Self {
        let (handshake, hello) = Handshake::begin(random);
        let mut publisher = Self {
            destination,
            step: Step::Handshake,
            handshake,
            reader: ChunkAssembler::new().with_max_in_progress_bytes(MAX_UNFINISHED),
            writer: ChunkWriter::new(),
            stream: 0,
            out: BytesMut::new(),
            sent: 0,
            received: 0,
            acknowledged: 0,
            window: WINDOW,
            peer_acknowledged: None,
        };
        publisher.write(&hello);
        publisher
    }

    /// What is being waited for.
    #[must_use]
    pub fn step(&self) -> Step {
        self.step
    }

    /// The server takes media.
    #[must_use]
    pub fn is_publishing(&self) -> bool {
        self.step == Step::Publishing
    }

    /// Bytes to be written.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        &self.out
    }

    /// So many of them were written.
    pub fn advance(&mut self, written: usize) {
        self.out.advance(written.min(self.out.len()));
    }

    /// Bytes that were handed out and are written, or wait to be.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Bytes that the server has not acknowledged; `None`: it does not acknowledge.
    #[must_use]
    pub fn unacknowledged(&self) -> Option<u32> {
        // Modulo 2^32, as the specification has it (section 5.4.3).
        self.peer_acknowledged.map(|number| (self.sent as u32).wrapping_sub(number))
    }

    /// The server said something. Call it where [`Publisher::takes_input`], with some kilobytes at most: of what it asks
    /// beyond, most is left unanswered.
    ///
    /// # Errors
    ///
    /// [`PublishError`]: it refuses, or what it says is no RTMP. The connection is of no use any more.
    pub fn handle(&mut self, input: &[u8]) -> Result<(), PublishError> {
        self.received += input.len() as u64;
        let (reply, rest) = self.handshake.read(input)?;
        if let Some(reply) = reply {
            self.write(&reply);
        }
        if !self.handshake.is_done() {
            return Ok(());
        }
        if self.step == Step::Handshake {
            self.connect()?;
        }
        // The reader hands out all messages of what it is given, and a message that sets the size of chunks counts for those
        // behind it: so it is given a byte at a time. A server says little while it receives.
        for byte in rest.chunks(1) {
            for message in self.reader.push(byte)? {
                self.message(&message)?;
            }
        }
        if self.window > 0 && self.may_answer() && self.received - self.acknowledged >= u64::from(self.window)
        {
            self.acknowledged = self.received;
            // Modulo 2^32.
            self.control(ProtocolControl::Acknowledgement(self.received as u32))?;
        }
        Ok(())
    }

    /// Puts a tag behind what is to be written. Before the server takes media, nothing happens.
    ///
    /// # Errors
    ///
    /// The tag is larger than a message may be, 16 MiB.
    pub fn send(&mut self, tag: &Tag) -> Result<(), PublishError> {
        if !self.is_publishing() {
            return Ok(());
        }
        let kind = match tag.kind {
            TagKind::Metadata => msg_type::DATA_AMF0,
            TagKind::VideoConfig | TagKind::Video | TagKind::KeyFrame => msg_type::VIDEO,
            TagKind::AudioConfig | TagKind::Audio | TagKind::Silence => msg_type::AUDIO,
        };
        self.message_out(Message {
            chunk_stream_id: MEDIA,
            timestamp: tag.timestamp,
            message_type_id: kind,
            message_stream_id: self.stream,
            payload: tag.body.to_vec(),
        })
    }

    /// The broadcast is over: the server is told, so that it does not wait for more.
    pub fn close(&mut self) {
        if !self.is_publishing() {
            return;
        }
        let name = Amf0Value::String(self.destination.name().to_owned());
        let stream = Amf0Value::Number(f64::from(self.stream));
        // They are as long as those before, which went.
        let _ = self.command(0, "FCUnpublish", FC_UNPUBLISH, vec![Amf0Value::Null, name]);
        let _ = self.command(0, "deleteStream", DELETE_STREAM, vec![Amf0Value::Null, stream]);
        self.step = Step::Closed;
    }

    /// What follows when the server closes the connection now.
    #[must_use]
    pub fn closed(&self) -> PublishError {
        PublishError::Closed { step: self.step }
    }

    /// What the server says may be read. One that does not read while it asks is not listened to: nothing of what it says is
    /// lost, and nothing piles up.
    #[must_use]
    pub fn takes_input(&self) -> bool {
        self.out.len() < MAX_UNREAD
    }

    fn may_answer(&self) -> bool {
        self.out.len() < MAX_UNANSWERED
    }

    fn message(&mut self, message: &Message) -> Result<(), PublishError> {
        if let Some(control) = ProtocolControl::from_message(message)? {
            match control {
                ProtocolControl::SetChunkSize(size) => self.reader.set_chunk_size(size),
                ProtocolControl::Abort { chunk_stream_id } => self.reader.abort(chunk_stream_id),
                ProtocolControl::WindowAckSize(size) => self.window = size,
                ProtocolControl::Acknowledgement(number) => self.peer_acknowledged = Some(number),
                ProtocolControl::SetPeerBandwidth { .. } if self.may_answer() => {
                    self.control(ProtocolControl::WindowAckSize(WINDOW))?;
                }
                _ => {}
            }
            return Ok(());
        }
        match message.message_type_id {
            msg_type::USER_CONTROL => {
                // What else it may tell is for players.
                if let Ok(UserControl::PingRequest(time)) = UserControl::parse(&message.payload)
                    && self.may_answer()
                {
                    self.message_out(UserControl::PingResponse(time).to_message())?;
                }
                Ok(())
            }
            msg_type::COMMAND_AMF0 => self.commanded(&message.payload),
            // The same behind a byte that says that it might be AMF3.
            msg_type::COMMAND_AMF3 => self.commanded(message.payload.get(1..).unwrap_or_default()),
            _ => Ok(()),
        }
    }

    fn commanded(&mut self, payload: &[u8]) -> Result<(), PublishError> {
        // Some servers know no `FCUnpublish`, others say that the broadcast is over.
        if self.step == Step::Closed {
            return Ok(());
        }
        let Some(command) = leniently(payload) else { return Ok(()) };
        let status = Status::of(&command.arguments, |text| self.destination.without_secrets(text));
        match command.name.as_str() {
            "_result" if command.transaction_id == CONNECT && self.step == Step::Connect => {
                self.create_stream()
            }
            "_result" if command.transaction_id == CREATE_STREAM && self.step == Step::CreateStream => {
                let number = command.arguments.iter().rev().find_map(|value| match value {
                    Amf0Value::Number(number) => Some(*number),
                    _ => None,
                });
                // Saturating: what is no number of a stream becomes one that the server does not know.
                self.stream = number.map_or(1, |number| number as u32);
                self.publish()
            }
            // Some servers know neither of the two, which nobody waits for.
            "_error" if [RELEASE_STREAM, FC_PUBLISH].contains(&command.transaction_id) => Ok(()),
            "_error" => Err(self.refused(status)),
            "onStatus" if status.is_error() => Err(self.refused(status)),
            "onStatus" if status.code == "NetStream.Publish.Start" && self.step == Step::Publish => {
                self.step = Step::Publishing;
                Ok(())
            }
            "onStatus" if status.ends() && self.step == Step::Publishing => Err(self.refused(status)),
            "close" => Err(self.closed()),
            _ => Ok(()),
        }
    }

    fn refused(&self, status: Status) -> PublishError {
        let Status { code, description, level: _ } = status;
        PublishError::Refused { step: self.step, code, description }
    }

    fn connect(&mut self) -> Result<(), PublishError> {
        let string = |name: &str, value: String| (name.to_owned(), Amf0Value::String(value));
        let object = vec![
            string("app", self.destination.app().to_owned()),
            string("type", "nonprivate".to_owned()),
            string("flashVer", FLASH_VERSION.to_owned()),
            string("tcUrl", self.destination.tc_url()),
        ];
        self.step = Step::Connect;
        self.command(0, "connect", CONNECT, vec![Amf0Value::Object(object)])
    }

    fn create_stream(&mut self) -> Result<(), PublishError> {
        let name = || Amf0Value::String(self.destination.name().to_owned());
        let (release, announce) = (vec![Amf0Value::Null, name()], vec![Amf0Value::Null, name()]);
        self.step = Step::CreateStream;
        self.control(ProtocolControl::WindowAckSize(WINDOW))?;
        self.control(ProtocolControl::SetChunkSize(CHUNK))?;
        self.writer.set_chunk_size(CHUNK);
        self.command(0, "releaseStream", RELEASE_STREAM, release)?;
        self.command(0, "FCPublish", FC_PUBLISH, announce)?;
        self.command(0, "createStream", CREATE_STREAM, vec![Amf0Value::Null])
    }

    fn publish(&mut self) -> Result<(), PublishError> {
        let name = Amf0Value::String(self.destination.name().to_owned());
        let kind = Amf0Value::String("live".to_owned());
        self.step = Step::Publish;
        self.command(self.stream, "publish", PUBLISH, vec![Amf0Value::Null, name, kind])
    }

    fn command(
        &mut self,
        stream: u32,
        name: &str,
        transaction_id: f64,
        arguments: Vec<Amf0Value>,
    ) -> Result<(), PublishError> {
        let payload = Command { name: name.to_owned(), transaction_id, arguments }.to_body()?;
        self.message_out(Message {
            chunk_stream_id: COMMANDS,
            timestamp: 0,
            message_type_id: msg_type::COMMAND_AMF0,
            message_stream_id: stream,
            payload,
        })
    }

    fn control(&mut self, control: ProtocolControl) -> Result<(), PublishError> {
        let message = control.try_to_message()?;
        self.message_out(message)
    }

    fn message_out(&mut self, message: Message) -> Result<(), PublishError> {
        let bytes = self.writer.write(&message)?;
        self.write(&bytes);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) {
        self.sent += bytes.len() as u64;
        self.out.extend_from_slice(bytes);
    }
}

/// A command as far as it can be read. ffmpeg's `onFCPublish` is a name and nothing more, and others have values of types that
/// are nobody's business here: what is waited for and does not come, the deadline of whoever waits tells.
fn leniently(payload: &[u8]) -> Option<Command> {
    let mut rest = payload;
    let mut values = std::iter::from_fn(|| {
        let value = Amf0Value::parse(rest).ok()?;
        rest = rest.get(value.serialized_len()..)?;
        Some(value)
    });
    let Some(Amf0Value::String(name)) = values.next() else { return None };
    let (mut transaction_id, mut arguments) = (0.0, Vec::new());
    match values.next() {
        Some(Amf0Value::Number(number)) => transaction_id = number,
        other => arguments.extend(other),
    }
    arguments.extend(values);
    Some(Command { name, transaction_id, arguments })
}

#[cfg(test)]
mod tests;
