//! Data channels: SCTP over DTLS (RFC 8831, RFC 8261), of which messages are received and none is sent.

mod channels;
mod dcep;
mod packet;
#[cfg(test)]
mod tests;

pub(crate) use channels::DataChannels;

use std::sync::Arc;

use bytes::Bytes;

/// Data channels that are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataConfig {
    /// Labels of channels to open, for masters that wait for their viewer to do so. Nothing is sent over them. Others are
    /// the master's to open.
    pub open: Vec<String>,
}

/// A message of the master's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Of the channel.
    pub label: Arc<str>,
    /// The master sent it as text; whether it is UTF-8 was not looked at.
    pub text: bool,
    /// At most 64 KiB.
    pub data: Bytes,
}

/// Figures of the data channels of a connection, in the words of W3C's statistics where those have one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataFigures {
    /// Labels of the channels that are open, in the order of their streams.
    pub open: Vec<Arc<str>>,
    /// `dataChannelsOpened`: that were opened, by either side.
    pub channels_opened: u64,
    /// `dataChannelsClosed`.
    pub channels_closed: u64,
    /// `messagesReceived`, over all channels.
    pub messages_received: u64,
    /// `bytesReceived`, over all channels, without headers.
    pub bytes_received: u64,
    /// Messages over a stream that nobody opened as a channel: both sides of such a one must know it beforehand.
    pub unknown: u64,
    /// Packets of SCTP that were passed over because they came too fast; the master sends them again, slower.
    pub packets_discarded: u64,
    /// Why no messages come any more.
    pub lost: Option<String>,
}
