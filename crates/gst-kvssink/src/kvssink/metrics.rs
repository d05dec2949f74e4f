//! Figures for `stream-client-metric` and for messages about pressure. Pure.

use std::time::{Duration, Instant};

use kvs_putmedia::{AckKind, CloseReason, Event, MediaTime, Statistics};

use super::abi::{ClientMetrics, KvsSinkMetric, StreamMetrics};

/// What is measured at a key frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample<'a> {
    pub(super) statistics: &'a Statistics,
    /// Bytes and media time that were not sent yet.
    pub(super) unsent: (u64, Duration),
    /// Time of the key frame.
    pub(super) frame: MediaTime,
    pub(super) now: Instant,
}

/// What the user allows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds {
    pub(super) storage_bytes: u64,
    pub(super) buffer_duration: Duration,
    pub(super) max_latency: Duration,
    /// Rates are measured.
    pub(super) rates: bool,
}

/// A bound that has nearly been reached, told once until it eases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pressure {
    /// The storage is nearly full: bytes that are left.
    Storage(u64),
    /// The buffer's duration is nearly used up: what is left.
    Buffer(Duration),
    /// Media waits for longer than `max-latency`: for how long.
    Latency(Duration),
}

#[derive(Clone, Copy, Debug, Default)]
struct Rates {
    frames: f64,
    elementary: f64,
    bytes: u64,
}

/// Everything since the element has started.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    bounds: Bounds,
    started: Option<Instant>,
    last: Option<(Instant, MediaTime, u64, u64)>,
    rates: Rates,
    buffered: u64,
    errors: u64,
    stale: u64,
    opened: Option<Instant>,
    /// Sessions that are over, and how long they lasted together.
    closed: (u64, Duration),
    under: [bool; 3],
    pressures: [u64; 3],
    retries: u32,
}

impl Metrics {
    pub(super) fn start(bounds: Bounds, now: Instant) -> Self {
        Self { bounds, started: Some(now), ..Self::default() }
    }

    /// How long ago the last sample was taken; `None` before the first.
    pub(super) fn since_last(&self, now: Instant) -> Option<Duration> {
        self.last.map(|(then, ..)| now.saturating_duration_since(then))
    }

    /// Counts what happens.
    pub(super) fn record(&mut self, event: &Event, now: Instant) {
        match event {
            Event::SessionOpened(_) => self.opened = Some(now),
            Event::SessionClosed { reason, .. } => {
                self.stale += u64::from(*reason == CloseReason::Stale);
                if let Some(opened) = self.opened.take() {
                    self.closed.0 += 1;
                    self.closed.1 += now.saturating_duration_since(opened);
                }
            }
            Event::Ack { kind: AckKind::Buffering, .. } => self.buffered += 1,
            Event::Ack { kind: AckKind::Error { .. }, .. } => self.errors += 1,
            Event::Error { fatal: false, .. } => self.retries += 1,
            _ => {}
        }
    }

    /// What has come under pressure since the last time. Measures the rates since then, too.
    pub(super) fn take(&mut self, sample: Sample<'_>) -> Vec<Pressure> {
        let Sample { statistics, unsent, frame, now } = sample;
        let (frames, bytes): (u64, u64) = (statistics.frames_in.iter().sum(), statistics.bytes_sent);
        if let Some((then, before, old_frames, old_bytes)) = self.last
            && self.bounds.rates
        {
            let elapsed = now.saturating_duration_since(then).as_secs_f64().max(0.001);
            let media = frame.since(before).as_secs_f64().max(0.001);
            let new = frames.saturating_sub(old_frames) as f64;
            let rate = bytes.saturating_sub(old_bytes) as f64 / elapsed;
            self.rates = Rates { frames: new / elapsed, elementary: new / media, bytes: rate as u64 };
        }
        self.last = Some((now, frame, frames, bytes));
        // A twentieth that is left, as in the C SDK.
        let room = self.bounds.storage_bytes.saturating_sub(statistics.buffered_bytes);
        let time = self.bounds.buffer_duration.saturating_sub(statistics.buffered_duration);
        let latency = self.bounds.max_latency;
        let found = [
            (room <= self.bounds.storage_bytes / 20).then_some(Pressure::Storage(room)),
            (time <= self.bounds.buffer_duration / 20).then_some(Pressure::Buffer(time)),
            (!latency.is_zero() && unsent.1 > latency).then_some(Pressure::Latency(unsent.1)),
        ];
        let mut new = Vec::new();
        for ((found, under), count) in found.into_iter().zip(&mut self.under).zip(&mut self.pressures) {
            let is_under = found.is_some();
            if let Some(pressure) = found.filter(|_| !*under) {
                *count += 1;
                new.push(pressure);
            }
            *under = is_under;
        }
        new
    }

    /// As the C++ element tells them.
    pub(super) fn metric(&self, sample: Sample<'_>) -> KvsSinkMetric {
        let Sample { statistics, unsent, frame, now } = sample;
        let (sessions, lasted) = self.closed;
        let open = u64::from(self.opened.is_some());
        let lasting = self.opened.map_or(Duration::ZERO, |opened| now.saturating_duration_since(opened));
        let average = (lasted + lasting).checked_div(u32::try_from(sessions + open).unwrap_or(u32::MAX));
        let [storage_pressures, buffer_pressures, latency_pressures] = self.pressures;
        let dropped_frames = statistics.frames_dropped.iter().sum();
        let stream_metrics = StreamMetrics {
            current_view_duration: hundred_nanos(unsent.1),
            overall_view_duration: hundred_nanos(statistics.buffered_duration),
            current_view_size: unsent.0,
            overall_view_size: statistics.buffered_bytes,
            current_frame_rate: self.rates.frames,
            current_transfer_rate: self.rates.bytes,
            uptime: hundred_nanos(
                self.started.map_or(Duration::ZERO, |then| now.saturating_duration_since(then)),
            ),
            transferred_bytes: statistics.bytes_sent,
            total_sessions: statistics.sessions + statistics.session_failures,
            total_active_sessions: statistics.sessions,
            avg_session_duration: hundred_nanos(average.unwrap_or_default()),
            buffered_acks: self.buffered,
            received_acks: statistics.fragments_received,
            persisted_acks: statistics.fragments_persisted,
            error_acks: self.errors,
            dropped_frames,
            dropped_fragments: statistics.fragments_dropped,
            storage_pressures,
            latency_pressures,
            buffer_pressures,
            stale_events: self.stale,
            elementary_frame_rate: self.rates.elementary,
            stream_api_call_retry_count: self.retries,
            ..StreamMetrics::default()
        };
        let client_metrics = ClientMetrics {
            client_avg_api_call_retry_count: f64::from(self.retries),
            content_store_size: self.bounds.storage_bytes,
            content_store_available_size: self.bounds.storage_bytes.saturating_sub(statistics.buffered_bytes),
            content_store_allocated_size: statistics.buffered_bytes,
            total_frame_rate: self.rates.frames.round() as u64,
            total_transfer_rate: self.rates.bytes,
            total_elementary_frame_rate: self.rates.elementary,
            ..ClientMetrics::default()
        };
        KvsSinkMetric {
            stream_metrics,
            client_metrics,
            frame_pts: frame.nanos() / 100,
            on_first_frame: self.buffered == 0,
        }
    }
}

fn hundred_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos() / 100).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds() -> Bounds {
        Bounds {
            storage_bytes: 1000,
            buffer_duration: Duration::from_secs(100),
            max_latency: Duration::from_secs(10),
            rates: true,
        }
    }

    #[test]
    fn pressure_is_told_once_until_it_eases() {
        let (mut metrics, now) = (Metrics::start(bounds(), Instant::now()), Instant::now());
        let mut take = |bytes: u64, seconds: u64, unsent: u64| {
            let statistics = Statistics {
                buffered_bytes: bytes,
                buffered_duration: Duration::from_secs(seconds),
                ..Statistics::default()
            };
            let unsent = (0, Duration::from_secs(unsent));
            metrics.take(Sample { statistics: &statistics, unsent, frame: MediaTime::from_millis(0), now })
        };
        assert_eq!(take(100, 5, 1), []);
        assert_eq!(take(951, 5, 1), [Pressure::Storage(49)]);
        assert_eq!(take(999, 5, 1), []);
        assert_eq!(
            take(100, 96, 11),
            [Pressure::Buffer(Duration::from_secs(4)), Pressure::Latency(Duration::from_secs(11))]
        );
        assert_eq!(take(1000, 5, 1), [Pressure::Storage(0)]);
        let statistics = Statistics::default();
        let unsent = (0, Duration::ZERO);
        let sample = Sample { statistics: &statistics, unsent, frame: MediaTime::from_millis(0), now };
        let metric = metrics.metric(sample).stream_metrics;
        assert_eq!((metric.storage_pressures, metric.buffer_pressures, metric.latency_pressures), (2, 1, 1));
    }

    #[test]
    fn rates_are_those_since_the_last_key_frame() {
        let start = Instant::now();
        let mut metrics = Metrics::start(bounds(), start);
        let mut statistics = Statistics::default();
        for second in 0..3_u64 {
            statistics.frames_in = [second * 50, 0];
            statistics.bytes_sent = second * 4000;
            let now = start + Duration::from_secs(second * 2);
            // The media runs at half the speed.
            let frame = MediaTime::from_millis(second * 1000);
            let sample = Sample { statistics: &statistics, unsent: (0, Duration::ZERO), frame, now };
            metrics.take(sample);
            if second == 2 {
                let metric = metrics.metric(sample);
                let stream = metric.stream_metrics;
                assert_eq!((stream.current_frame_rate, stream.elementary_frame_rate), (25.0, 50.0));
                assert_eq!((stream.current_transfer_rate, stream.uptime), (2000, 40_000_000));
                assert_eq!((metric.frame_pts, metric.on_first_frame), (20_000_000, true));
            }
        }
    }
}
