//! What a sink tells its application.

use std::sync::Arc;
use std::time::Duration;

use kvs_putmedia::Event;

/// What a sink tells its application.
#[derive(Clone, Debug, PartialEq)]
pub enum SinkEvent {
    /// Stream and endpoint are known.
    StreamReady {
        /// Name of the stream.
        stream: String,
        /// Hours for which it keeps fragments; 0: nothing is kept, and fragments count as stored when received.
        retention_hours: u32,
    },
    /// Media waits because stream and endpoint are being looked up for longer than that takes: told every few seconds until
    /// there is an outcome.
    StreamAwaited {
        /// Name of the stream.
        stream: String,
        /// It is there, and not active yet; otherwise AWS has not answered.
        creating: bool,
        /// For so long.
        waited: Duration,
        /// It was told of this look-up before.
        again: bool,
    },
    /// Everything that the producer tells: sessions, acknowledgements, drops, errors.
    Producer(Event),
}

/// Hears [`SinkEvent`]s, on a thread of the sink: it must not block.
pub(crate) type Handler = Arc<dyn Fn(SinkEvent) + Send + Sync>;
