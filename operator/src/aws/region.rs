//! AWS in one region: every call within its quota, as a span and a count.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kvs_aws::ErrorClass;
use parking_lot::Mutex;
use tracing::Instrument;
use tracing::field::{Empty, display};

use super::control::Control;
use crate::lease::Leadership;
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
    /// UpdateMediaStorageConfiguration.
    SetMediaStorage,
    /// What has a quota for each stream alone, five: who asks seldom is far from it.
    OfStream,
}

impl Quota {
    fn rate(self) -> f64 {
        match self {
            Quota::Describe | Quota::OfStream => 300.0,
            Quota::Change | Quota::MediaStorage => 50.0,
            Quota::SetMediaStorage => 10.0,
        }
    }
}

pub(super) struct Region {
    pub(super) control: Arc<dyn Control>,
    /// Of each operation that was called.
    buckets: Mutex<HashMap<&'static str, Bucket>>,
    /// Of each quota, what the operator uses: the account has other callers.
    quota_share: f64,
    leading: Leadership,
    /// The last call had no answer.
    silent: AtomicBool,
    metrics: Arc<Metrics>,
}

impl Region {
    pub(super) fn new(
        control: Arc<dyn Control>,
        quota_share: f64,
        leading: Leadership,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (buckets, silent) = (Mutex::default(), AtomicBool::new(false));
        Self { control, buckets, quota_share, leading, silent, metrics }
    }

    /// Is AWS not reached there, or does it not answer?
    pub(super) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    /// How long to wait for a turn at looking after one of the recordings of this region, which is taken by asking. A turn
    /// makes no call twice, so that the smallest quota of its calls is the pace of all: with ten times as many channels each
    /// is looked after a tenth as often, and none waits within a reconcile.
    pub(super) fn turn(&self) -> Duration {
        self.reserve(Quota::Change, "a turn")
    }

    fn reserve(&self, quota: Quota, operation: &'static str) -> Duration {
        let now = tokio::time::Instant::now().into_std();
        let mut buckets = self.buckets.lock();
        let rate = quota.rate() * self.quota_share;
        let bucket = buckets.entry(operation).or_insert_with(|| Bucket::new(rate, rate.max(1.0), now));
        bucket.reserve(now)
    }

    /// A call that changes something: made only while this operator leads, also when it had to wait for its quota.
    pub(super) async fn change<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, kvs::Error>>,
    ) -> Result<T, kvs::Error> {
        self.change_within(Quota::Change, operation, call).await
    }

    /// The same with a quota of its own.
    pub(super) async fn change_within<T>(
        &self,
        quota: Quota,
        operation: &'static str,
        call: impl Future<Output = Result<T, kvs::Error>>,
    ) -> Result<T, kvs::Error> {
        let while_leading = async {
            if *self.leading.borrow() {
                return call.await;
            }
            Err(kvs::Error {
                operation,
                resource: String::new(),
                class: ErrorClass::Unknown,
                message: "this operator does not lead any more".to_owned(),
                request_id: None,
                being_deleted: false,
            })
        };
        self.call(quota, operation, while_leading).await
    }

    pub(super) async fn call<T>(
        &self,
        quota: Quota,
        operation: &'static str,
        call: impl Future<Output = Result<T, kvs::Error>>,
    ) -> Result<T, kvs::Error> {
        let wait = self.reserve(quota, operation);
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
