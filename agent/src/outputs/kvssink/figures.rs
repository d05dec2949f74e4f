//! What became of the media at KVS, in the words of `/status` and `/metrics`.

use crate::rfc3339::rfc3339;
use kvs_ingest_api::StreamStatus;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;
use std::time::{Duration, SystemTime};

/// Sums over all sinks of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct StreamFigures {
    /// Fragments acknowledged as persisted.
    fragments_persisted: u64,
    /// Producer time of the newest of them.
    pub(super) last_persisted_at: Option<SystemTime>,
    fragments_replayed: u64,
    fragments_dropped: u64,
    /// Not sent, because the agent before had stored them.
    fragments_stored_elsewhere: u64,
    frames_late: u64,
    /// PutMedia sessions that began because time went back.
    epochs: u64,
    /// Bytes in memory that wait to be persisted.
    buffered_bytes: u64,
    /// Bytes on disk that wait to be persisted.
    spooled_bytes: u64,
    spool_failures: u64,
    /// Media that waits to be persisted.
    buffered: Duration,
    /// PutMedia sessions.
    sessions: u64,
}

impl StreamFigures {
    /// Adds those of one sink.
    pub(super) fn add(&mut self, one: &gstkvssink::Statistics) {
        self.fragments_persisted += one.fragments_persisted;
        self.fragments_replayed += one.fragments_replayed;
        self.fragments_dropped += one.fragments_dropped;
        self.fragments_stored_elsewhere += one.fragments_stored_elsewhere;
        self.frames_late += one.frames_late.iter().sum::<u64>();
        self.epochs += one.epochs;
        self.buffered_bytes += one.buffered_bytes;
        self.spooled_bytes += one.spooled_bytes;
        self.spool_failures += one.spool_failures;
        self.buffered += one.buffered_duration;
        self.sessions += one.sessions;
        let last =
            one.last_persisted_timecode_ms.map(|ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms));
        self.last_persisted_at = self.last_persisted_at.max(last);
    }

    /// The sinks are gone, and with them what waited in their memory.
    pub(super) fn nothing_waits(&mut self) {
        self.buffered = Duration::ZERO;
        self.buffered_bytes = 0;
        self.spooled_bytes = 0;
    }

    pub(super) fn status(&self) -> StreamStatus {
        StreamStatus {
            fragments_persisted: self.fragments_persisted,
            last_persisted_at: self.last_persisted_at.map(rfc3339),
            fragments_replayed: self.fragments_replayed,
            fragments_dropped: self.fragments_dropped,
            frames_late: self.frames_late,
            buffered_seconds: self.buffered.as_secs_f64(),
            sessions: self.sessions,
        }
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut write = |name: &str, help: &str, metric: &dyn EncodeMetric| {
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        let gauge = |value: u64| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        let persisted = self.last_persisted_at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        write(
            "buffered_seconds",
            "Media that waits to be persisted.",
            &ConstGauge::new(self.buffered.as_secs_f64()),
        )?;
        write("buffered_bytes", "Bytes in memory that wait to be persisted.", &gauge(self.buffered_bytes))?;
        write(
            "spooled_bytes",
            "Bytes in the spool on disk that wait to be persisted.",
            &gauge(self.spooled_bytes),
        )?;
        write(
            "last_persisted_timestamp_seconds",
            "Producer time of the newest persisted fragment, Unix time.",
            &ConstGauge::new(persisted.map_or(0.0, |at| at.as_secs_f64())),
        )?;
        for (name, help, count) in [
            ("fragments_persisted", "Fragments acknowledged as persisted.", self.fragments_persisted),
            ("fragments_replayed", "Fragments sent again.", self.fragments_replayed),
            ("fragments_dropped", "Fragments given up.", self.fragments_dropped),
            (
                "fragments_stored_elsewhere",
                "Fragments that were not sent because the agent before had stored them.",
                self.fragments_stored_elsewhere,
            ),
            (
                "frames_stored_late",
                "Frames in a session of their own, too late for their fragment.",
                self.frames_late,
            ),
            ("putmedia_epochs", "PutMedia sessions that began because time went back.", self.epochs),
            ("spool_failures", "What the disk of the spool could not do.", self.spool_failures),
            ("putmedia_sessions", "PutMedia sessions.", self.sessions),
        ] {
            write(name, help, &ConstCounter::new(count))?;
        }
        Ok(())
    }
}
