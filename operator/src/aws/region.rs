//! AWS in one region: every call within its quota, as a span and a count.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use kvs::ControlPlane;
use kvs_aws::ErrorClass;
use parking_lot::Mutex;
use tracing::Instrument;
use tracing::field::{Empty, display};

use crate::metrics::Metrics;
use crate::pace::Bucket;

/// Quotas of the account, in a region, a second. Each operation has one of its own.
///
/// Quotas: https://docs.aws.amazon.com/kinesisvideostreams-webrtc-dg/latest/devguide/kvswebrtc-limits.html and
/// https://docs.aws.amazon.com/kinesisvideostreams/latest/dg/limits.html
#[derive(Clone, Copy, Debug)]
pub(super) enum Quota {
    Describe,
    /// Create, delete, update, tags.
    Change,
    MediaStorage,
}

impl Quota {
    fn rate(self) -> f64 {
        match self {
            Quota::Describe => 300.0,
            Quota::Change | Quota::MediaStorage => 50.0,
        }
    }
}

pub(super) struct Region {
    pub(super) control: ControlPlane,
    /// Of each operation that was called.
    buckets: Mutex<HashMap<&'static str, Bucket>>,
    /// Of each quota, what the operator uses: the account has other callers.
    quota_share: f64,
    /// The last call had no answer.
    silent: AtomicBool,
    metrics: Arc<Metrics>,
}

impl Region {
    pub(super) fn new(control: ControlPlane, quota_share: f64, metrics: Arc<Metrics>) -> Self {
        Self { control, buckets: Mutex::default(), quota_share, silent: AtomicBool::new(false), metrics }
    }

    /// Is AWS not reached there, or does it not answer?
    pub(super) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    pub(super) async fn call<T>(
        &self,
        quota: Quota,
        operation: &'static str,
        call: impl Future<Output = Result<T, kvs::Error>>,
    ) -> Result<T, kvs::Error> {
        let wait = {
            let now = Instant::now();
            let mut buckets = self.buckets.lock();
            let rate = quota.rate() * self.quota_share;
            let bucket = buckets.entry(operation).or_insert_with(|| Bucket::new(rate, rate.max(1.0), now));
            bucket.reserve(now)
        };
        let span = tracing::debug_span!(
            "aws",
            otel.name = operation,
            otel.kind = "client",
            rpc.system = "aws-api",
            rpc.service = "KinesisVideo",
            rpc.method = operation,
            waited_seconds = wait.as_secs_f64(),
            error.r#type = Empty,
            otel.status_code = Empty,
            otel.status_description = Empty,
        );
        // At most as many wait as objects are reconciled at once.
        tokio::time::sleep(wait).await;
        let result = call.instrument(span.clone()).await;
        let code = result.as_ref().map_or_else(|error| error.class.as_str(), |_| "ok");
        if let Err(error) = &result {
            span.record("error.type", code);
            span.record("otel.status_code", "ERROR").record("otel.status_description", display(error));
        }
        let silent = result
            .as_ref()
            .is_err_and(|error| matches!(error.class, ErrorClass::Network | ErrorClass::Timeout));
        self.silent.store(silent, Ordering::Relaxed);
        self.metrics.aws_request(operation, code);
        result
    }
}
