//! The C structs that the signals `fragment-ack` and `stream-client-metric` pass by pointer, laid out as in AWS's producer
//! SDK for C (`com/amazonaws/kinesis/video/client/Include.h`) and the C++ element (`gstkvssink.h`). A pointer is good for
//! as long as its signal is emitted, as in the C++ element.

use kvs_putmedia::AckKind;

/// `FRAGMENT_ACK_CURRENT_VERSION`
const FRAGMENT_ACK_VERSION: u32 = 0;
/// `STREAM_METRICS_CURRENT_VERSION`
const STREAM_METRICS_VERSION: u32 = 3;
/// `CLIENT_METRICS_CURRENT_VERSION`
const CLIENT_METRICS_VERSION: u32 = 2;
/// `SERVICE_CALL_RESULT_OK`
const RESULT_OK: i32 = 200;
/// `MAX_FRAGMENT_SEQUENCE_NUMBER` and the NUL behind it.
const SEQUENCE_NUMBER: usize = 128 + 1;

/// `FragmentAck`, the argument of `fragment-ack`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FragmentAck {
    /// `FRAGMENT_ACK_CURRENT_VERSION`: 0.
    pub version: u32,
    /// 1 BUFFERING, 2 RECEIVED, 3 PERSISTED, 4 ERROR, 5 IDLE.
    pub ack_type: i32,
    /// Timecode of the fragment: milliseconds since the epoch.
    pub timestamp: u64,
    /// Fragment number: ASCII, NUL-terminated.
    pub sequence_number: [u8; SEQUENCE_NUMBER],
    /// 200, or the `ErrorId` of an ERROR.
    pub result: i32,
}

impl FragmentAck {
    pub(super) fn new(kind: &AckKind, timecode_ms: Option<u64>, fragment_number: Option<&str>) -> Self {
        let (ack_type, result) = match kind {
            AckKind::Buffering => (1, RESULT_OK),
            AckKind::Received => (2, RESULT_OK),
            AckKind::Persisted => (3, RESULT_OK),
            AckKind::Error { id, .. } => (4, i32::try_from(*id).unwrap_or(i32::MAX)),
            AckKind::Idle => (5, RESULT_OK),
        };
        let mut sequence_number = [0; SEQUENCE_NUMBER];
        let number = fragment_number.unwrap_or_default().bytes().take(SEQUENCE_NUMBER - 1);
        for (to, from) in sequence_number.iter_mut().zip(number) {
            *to = from;
        }
        let timestamp = timecode_ms.unwrap_or_default();
        Self { version: FRAGMENT_ACK_VERSION, ack_type, timestamp, sequence_number, result }
    }
}

/// `StreamMetrics`. Durations are in units of 100 ns.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the names are those of the C SDK")]
pub struct StreamMetrics {
    pub version: u32,
    pub current_view_duration: u64,
    pub overall_view_duration: u64,
    pub current_view_size: u64,
    pub overall_view_size: u64,
    pub current_frame_rate: f64,
    pub current_transfer_rate: u64,
    pub uptime: u64,
    pub transferred_bytes: u64,
    pub total_sessions: u64,
    pub total_active_sessions: u64,
    pub avg_session_duration: u64,
    pub buffered_acks: u64,
    pub received_acks: u64,
    pub persisted_acks: u64,
    pub error_acks: u64,
    pub dropped_frames: u64,
    pub dropped_fragments: u64,
    pub skipped_frames: u64,
    pub storage_pressures: u64,
    pub latency_pressures: u64,
    pub buffer_pressures: u64,
    pub stale_events: u64,
    pub put_frame_errors: u64,
    pub cpl_api_call_latency: u64,
    pub data_api_call_latency: u64,
    pub elementary_frame_rate: f64,
    pub stream_api_call_retry_count: u32,
}

impl Default for StreamMetrics {
    fn default() -> Self {
        Self {
            version: STREAM_METRICS_VERSION,
            current_view_duration: 0,
            overall_view_duration: 0,
            current_view_size: 0,
            overall_view_size: 0,
            current_frame_rate: 0.0,
            current_transfer_rate: 0,
            uptime: 0,
            transferred_bytes: 0,
            total_sessions: 0,
            total_active_sessions: 0,
            avg_session_duration: 0,
            buffered_acks: 0,
            received_acks: 0,
            persisted_acks: 0,
            error_acks: 0,
            dropped_frames: 0,
            dropped_fragments: 0,
            skipped_frames: 0,
            storage_pressures: 0,
            latency_pressures: 0,
            buffer_pressures: 0,
            stale_events: 0,
            put_frame_errors: 0,
            cpl_api_call_latency: 0,
            data_api_call_latency: 0,
            elementary_frame_rate: 0.0,
            stream_api_call_retry_count: 0,
        }
    }
}

/// `ClientMetrics`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the names are those of the C SDK")]
pub struct ClientMetrics {
    pub version: u32,
    pub client_avg_api_call_retry_count: f64,
    pub content_store_size: u64,
    pub content_store_available_size: u64,
    pub content_store_allocated_size: u64,
    pub total_content_views_size: u64,
    pub total_frame_rate: u64,
    pub total_transfer_rate: u64,
    pub total_elementary_frame_rate: f64,
}

impl Default for ClientMetrics {
    fn default() -> Self {
        Self {
            version: CLIENT_METRICS_VERSION,
            client_avg_api_call_retry_count: 0.0,
            content_store_size: 0,
            content_store_available_size: 0,
            content_store_allocated_size: 0,
            total_content_views_size: 0,
            total_frame_rate: 0,
            total_transfer_rate: 0,
            total_elementary_frame_rate: 0.0,
        }
    }
}

/// `KvsSinkMetric`, the argument of `stream-client-metric`. The C++ classes in it hold nothing but the C structs.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct KvsSinkMetric {
    /// Of the stream.
    pub stream_metrics: StreamMetrics,
    /// Of the whole element.
    pub client_metrics: ClientMetrics,
    /// Time of the key frame: units of 100 ns since the epoch.
    pub frame_pts: u64,
    /// Nothing has been acknowledged yet.
    pub on_first_frame: bool,
}

#[cfg(test)]
mod tests {
    use std::mem::{offset_of, size_of};

    use super::*;

    /// As a C compiler lays the SDK's structs out, on x86-64 and on 64-bit ARM.
    #[test]
    fn the_layout_is_that_of_the_c_sdk() {
        assert_eq!((offset_of!(FragmentAck, ack_type), offset_of!(FragmentAck, timestamp)), (4, 8));
        assert_eq!((offset_of!(FragmentAck, sequence_number), offset_of!(FragmentAck, result)), (16, 148));
        assert_eq!(size_of::<FragmentAck>(), 152);
        assert_eq!(offset_of!(StreamMetrics, uptime), 56);
        assert_eq!(offset_of!(StreamMetrics, elementary_frame_rate), 208);
        assert_eq!(size_of::<StreamMetrics>(), 224);
        assert_eq!(size_of::<ClientMetrics>(), 72);
        assert_eq!(offset_of!(KvsSinkMetric, client_metrics), 224);
        assert_eq!(offset_of!(KvsSinkMetric, frame_pts), 296);
        assert_eq!(offset_of!(KvsSinkMetric, on_first_frame), 304);
    }

    #[test]
    fn acknowledgements_keep_within_their_struct() {
        let ack = FragmentAck::new(&AckKind::Persisted, Some(7), Some(&"9".repeat(300)));
        assert_eq!((ack.ack_type, ack.timestamp, ack.result), (3, 7, 200));
        assert_eq!((ack.sequence_number[127], ack.sequence_number[128]), (b'9', 0));
        let error = AckKind::Error { id: 4006, code: "INVALID_MKV_DATA".to_owned() };
        let ack = FragmentAck::new(&error, None, None);
        assert_eq!((ack.ack_type, ack.result, ack.sequence_number[0]), (4, 4006, 0));
    }
}
