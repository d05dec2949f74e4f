//! Resolve: channel and stream as AWS has them, found or created. Every call within the account's quotas.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use kvs::{ChannelId, ChannelInfo, ControlPlane, MediaStorage, NewStream, StreamId, StreamInfo, Tags};
use kvs_aws::{AwsContext, ErrorClass};
use kvs_ingest_api::{KvsIngestSpec, ResolvedChannel, ResolvedStream};
use parking_lot::Mutex;
use tracing::Instrument;
use tracing::field::{Empty, display};

use crate::metrics::Metrics;
use crate::names;
use crate::pace::Bucket;
use crate::report::Verdict;

/// Quotas of the account, in a region, a second. Each operation has one of its own.
///
/// Quotas: https://docs.aws.amazon.com/kinesisvideostreams-webrtc-dg/latest/devguide/kvswebrtc-limits.html and
/// https://docs.aws.amazon.com/kinesisvideostreams/latest/dg/limits.html
#[derive(Clone, Copy, Debug)]
enum Quota {
    /// 300
    Describe,
    /// 50: create, delete, update, tags.
    Change,
    /// 50
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

/// AWS for all regions.
pub struct Aws {
    regions: tokio::sync::Mutex<HashMap<String, Arc<Region>>>,
    cluster: String,
    /// Of each quota; the account has other callers.
    quota_share: f64,
    metrics: Arc<Metrics>,
}

struct Region {
    control: ControlPlane,
    buckets: Mutex<HashMap<&'static str, Bucket>>,
}

/// An object that AWS is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// `metadata.uid`
    pub uid: &'a str,
    /// `metadata.namespace`
    pub namespace: &'a str,
    /// `metadata.name`
    pub name: &'a str,
    /// Its spec.
    pub spec: &'a KvsIngestSpec,
}

/// What came of resolving a channel or stream.
pub type Resolution<T> = (T, Verdict);

impl Aws {
    /// `cluster` marks what is created; `quota_share` of each quota of the account is used.
    pub fn new(cluster: impl Into<String>, quota_share: f64, metrics: Arc<Metrics>) -> Self {
        Self { regions: tokio::sync::Mutex::default(), cluster: cluster.into(), quota_share, metrics }
    }

    async fn region(&self, name: &str) -> Result<Arc<Region>, Verdict> {
        let mut regions = self.regions.lock().await;
        if let Some(region) = regions.get(name) {
            return Ok(region.clone());
        }
        let context = AwsContext::builder().region(name).build().await.map_err(|error| {
            Verdict::unknown("AwsNotConfigured", format!("the operator's AWS access: {error}"))
        })?;
        let region = Region { control: ControlPlane::new(&context), buckets: Mutex::default() };
        Ok(regions.entry(name.to_owned()).or_insert(Arc::new(region)).clone())
    }

    async fn call<T>(
        &self,
        region: &Region,
        quota: Quota,
        operation: &'static str,
        call: impl Future<Output = Result<T, kvs::Error>>,
    ) -> Result<T, kvs::Error> {
        let wait = {
            let now = Instant::now();
            let mut buckets = region.buckets.lock();
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
        self.metrics.aws_request(operation, code);
        result
    }

    fn tags(&self, subject: Subject<'_>) -> Tags {
        Tags::from([
            (names::TAG_CLUSTER.to_owned(), self.cluster.clone()),
            (names::TAG_UID.to_owned(), subject.uid.to_owned()),
            (names::TAG_INGEST.to_owned(), format!("{}/{}", subject.namespace, subject.name)),
        ])
    }

    fn ours(&self, tags: &Tags, subject: Subject<'_>) -> bool {
        tags.get(names::TAG_UID).is_some_and(|uid| uid == subject.uid)
            && tags.get(names::TAG_CLUSTER).is_some_and(|cluster| *cluster == self.cluster)
    }

    /// The channel; created when the object says so and `may_create` is true.
    pub async fn channel(&self, subject: Subject<'_>, may_create: bool) -> Resolution<ResolvedChannel> {
        let spec = &subject.spec.channel;
        let (id, mut resolved) = match (&spec.name, &spec.arn) {
            (_, Some(arn)) => match arn.parse::<kvs::ChannelArn>() {
                Ok(id) => {
                    let resolved = ResolvedChannel {
                        name: id.name().to_owned(),
                        arn: Some(arn.clone()),
                        created: false,
                    };
                    (ChannelId::Arn(id), resolved)
                }
                Err(error) => {
                    return (ResolvedChannel::default(), Verdict::stalled("InvalidSpec", error.to_string()));
                }
            },
            (name, None) => {
                let name = name.clone().unwrap_or_default();
                let resolved = ResolvedChannel { name: name.clone(), ..ResolvedChannel::default() };
                match name.parse() {
                    Ok(id) => (ChannelId::Name(id), resolved),
                    Err(error) => return (resolved, Verdict::stalled("InvalidSpec", format!("{error}"))),
                }
            }
        };
        let region = match self.region(&subject.spec.region).await {
            Ok(region) => region,
            Err(verdict) => return (resolved, verdict),
        };
        let describe = || {
            self.call(
                &region,
                Quota::Describe,
                "DescribeSignalingChannel",
                region.control.describe_channel(&id),
            )
        };
        let mut made = false;
        let info = match (describe().await, &id) {
            (Err(error), ChannelId::Name(name))
                if error.class == ErrorClass::NotFound && spec.create_if_missing =>
            {
                if !may_create {
                    return (resolved, Verdict::waiting("Creating", "the channel is about to be created"));
                }
                let tags = self.tags(subject);
                let begin = region.control.begin_channel(name, &tags);
                match self.call(&region, Quota::Change, "CreateSignalingChannel", begin).await {
                    Err(error) => return (resolved, failed("channel", &error, subject, false)),
                    Ok(new) => match describe().await {
                        Ok(info) => {
                            made = new;
                            info
                        }
                        Err(error) if error.class == ErrorClass::NotFound => {
                            return (resolved, Verdict::waiting("Creating", "the channel is being created"));
                        }
                        Err(error) => return (resolved, failed("channel", &error, subject, false)),
                    },
                }
            }
            (Err(error), _) => return (resolved, failed("channel", &error, subject, spec.create_if_missing)),
            (Ok(info), _) => info,
        };
        resolved.name.clone_from(&info.name);
        resolved.arn = Some(info.arn.to_string());
        if !info.active {
            return (resolved, Verdict::waiting("Creating", "the channel is being created"));
        }
        resolved.created = made;
        if spec.create_if_missing && !made {
            // Also what an operator made that stopped before it could write it down.
            let tags = region.control.channel_tags(&info.arn);
            resolved.created = match self.call(&region, Quota::Change, "ListTagsForResource", tags).await {
                Ok(tags) => self.ours(&tags, subject),
                Err(error) if error.class == ErrorClass::AccessDenied => false,
                Err(error) => return (resolved, failed("channel", &error, subject, true)),
            };
        }
        let storage = region.control.media_storage(&info.arn);
        match self.call(&region, Quota::MediaStorage, "DescribeMediaStorageConfiguration", storage).await {
            Ok(MediaStorage::Enabled { stream_arn }) => {
                let message = format!(
                    "media storage is enabled on channel {} (stored by AWS in {}): its viewers get no media peer to \
                     peer. Disable it with `aws kinesisvideo update-media-storage-configuration --channel-arn {} \
                     --media-storage-configuration Status=DISABLED`",
                    info.name,
                    stream_arn.as_deref().unwrap_or("a stream"),
                    info.arn
                );
                return (resolved, Verdict::stalled("MediaStorageEnabled", message));
            }
            Ok(MediaStorage::Disabled | MediaStorage::NotPermitted) => {}
            Err(error) => return (resolved, failed("channel", &error, subject, true)),
        }
        let verdict = if resolved.created {
            Verdict::yes("Created", format!("the operator created {}", info.arn))
        } else {
            Verdict::yes("Found", info.arn.to_string())
        };
        (resolved, verdict)
    }

    /// The stream; created when the object says so and `may_create` is true, its retention raised as declared.
    pub async fn stream(&self, subject: Subject<'_>, may_create: bool) -> Resolution<ResolvedStream> {
        let spec = &subject.spec.stream;
        let (id, mut resolved) = match (&spec.name, &spec.arn) {
            (_, Some(arn)) => match arn.parse::<kvs::StreamArn>() {
                Ok(id) => {
                    let resolved = ResolvedStream {
                        name: id.name().to_owned(),
                        arn: Some(arn.clone()),
                        ..ResolvedStream::default()
                    };
                    (StreamId::Arn(id), resolved)
                }
                Err(error) => {
                    return (ResolvedStream::default(), Verdict::stalled("InvalidSpec", error.to_string()));
                }
            },
            (name, None) => {
                let name = name.clone().unwrap_or_default();
                let resolved = ResolvedStream { name: name.clone(), ..ResolvedStream::default() };
                match name.parse() {
                    Ok(id) => (StreamId::Name(id), resolved),
                    Err(error) => return (resolved, Verdict::stalled("InvalidSpec", format!("{error}"))),
                }
            }
        };
        let region = match self.region(&subject.spec.region).await {
            Ok(region) => region,
            Err(verdict) => return (resolved, verdict),
        };
        let describe =
            || self.call(&region, Quota::Describe, "DescribeStream", region.control.describe_stream(&id));
        let mut made = false;
        let mut info = match (describe().await, &id) {
            (Err(error), StreamId::Name(name))
                if error.class == ErrorClass::NotFound && spec.create_if_missing =>
            {
                if !may_create {
                    return (resolved, Verdict::waiting("Creating", "the stream is about to be created"));
                }
                let mut tags = spec.tags.clone();
                tags.extend(self.tags(subject));
                let new = NewStream {
                    retention_hours: spec.retention_hours_or_default(),
                    kms_key_id: spec.kms_key_id.clone(),
                    tags,
                    ..NewStream::default()
                };
                let begin = region.control.begin_stream(name, &new);
                match self.call(&region, Quota::Change, "CreateStream", begin).await {
                    Err(error) => return (resolved, failed("stream", &error, subject, false)),
                    Ok(new) => match describe().await {
                        Ok(info) => {
                            made = new;
                            info
                        }
                        Err(error) if error.class == ErrorClass::NotFound => {
                            return (resolved, Verdict::waiting("Creating", "the stream is being created"));
                        }
                        Err(error) => return (resolved, failed("stream", &error, subject, false)),
                    },
                }
            }
            (Err(error), _) => return (resolved, failed("stream", &error, subject, spec.create_if_missing)),
            (Ok(info), _) => info,
        };
        resolved.name.clone_from(&info.name);
        resolved.arn = Some(info.arn.to_string());
        resolved.retention_hours = Some(info.retention_hours);
        if !info.active {
            return (resolved, Verdict::waiting("Creating", "the stream is being created"));
        }
        resolved.created = made;
        if spec.create_if_missing && !made {
            let tags = region.control.stream_tags(&info.arn);
            resolved.created = match self.call(&region, Quota::Change, "ListTagsForStream", tags).await {
                Ok(tags) => self.ours(&tags, subject),
                Err(error) if error.class == ErrorClass::AccessDenied => false,
                Err(error) => return (resolved, failed("stream", &error, subject, true)),
            };
        }
        if let Some(wanted) = spec.retention_hours.filter(|wanted| *wanted > info.retention_hours) {
            let raise = region.control.raise_retention(&info, wanted);
            if let Err(error) = self.call(&region, Quota::Change, "UpdateDataRetention", raise).await {
                return (resolved, failed("stream", &error, subject, true));
            }
            info.retention_hours = wanted;
            resolved.retention_hours = Some(wanted);
        }
        if info.retention_hours == 0 {
            let message = format!(
                "stream {} has a retention of 0 hours: it keeps nothing. Set spec.stream.retentionHours",
                info.name
            );
            return (resolved, Verdict::stalled("NoRetention", message));
        }
        let verdict = if resolved.created {
            Verdict::yes("Created", format!("the operator created {}", info.arn))
        } else {
            Verdict::yes("Found", info.arn.to_string())
        };
        (resolved, verdict)
    }

    /// Deletes what the operator created for this object, and nothing else: AWS's own tags have the last word.
    ///
    /// # Errors
    /// What has to be tried again, or healed by a person.
    pub async fn delete_created(
        &self,
        subject: Subject<'_>,
        channel: Option<&ResolvedChannel>,
        stream: Option<&ResolvedStream>,
    ) -> Result<(), Verdict> {
        let region = self.region(&subject.spec.region).await?;
        if let Some(arn) = channel.filter(|found| found.created).and_then(|found| found.arn.as_deref()) {
            let wrong = |error: kvs::Error| failed("channel", &error, subject, true);
            if let Ok(arn) = arn.parse::<kvs::ChannelArn>() {
                let id = ChannelId::Arn(arn);
                let call = self.call(
                    &region,
                    Quota::Describe,
                    "DescribeSignalingChannel",
                    region.control.describe_channel(&id),
                );
                if let Some(info) = there(call.await).map_err(wrong)? {
                    self.delete_channel(&region, &info, subject).await.map_err(wrong)?;
                }
            }
        }
        if let Some(arn) = stream.filter(|found| found.created).and_then(|found| found.arn.as_deref()) {
            let wrong = |error: kvs::Error| failed("stream", &error, subject, true);
            if let Ok(arn) = arn.parse::<kvs::StreamArn>() {
                let id = StreamId::Arn(arn);
                let call = self.call(
                    &region,
                    Quota::Describe,
                    "DescribeStream",
                    region.control.describe_stream(&id),
                );
                if let Some(info) = there(call.await).map_err(wrong)? {
                    self.delete_stream(&region, &info, subject).await.map_err(wrong)?;
                }
            }
        }
        Ok(())
    }

    async fn delete_channel(
        &self,
        region: &Region,
        info: &ChannelInfo,
        subject: Subject<'_>,
    ) -> Result<(), kvs::Error> {
        let tags = self
            .call(region, Quota::Change, "ListTagsForResource", region.control.channel_tags(&info.arn))
            .await?;
        if self.ours(&tags, subject) {
            self.call(region, Quota::Change, "DeleteSignalingChannel", region.control.delete_channel(info))
                .await?;
        }
        Ok(())
    }

    async fn delete_stream(
        &self,
        region: &Region,
        info: &StreamInfo,
        subject: Subject<'_>,
    ) -> Result<(), kvs::Error> {
        let tags = self
            .call(region, Quota::Change, "ListTagsForStream", region.control.stream_tags(&info.arn))
            .await?;
        if self.ours(&tags, subject) {
            self.call(region, Quota::Change, "DeleteStream", region.control.delete_stream(info)).await?;
        }
        Ok(())
    }
}

fn there<T>(found: Result<T, kvs::Error>) -> Result<Option<T>, kvs::Error> {
    match found {
        Err(error) if error.class == ErrorClass::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// What a failed call means for the object, with the remedy.
fn failed(kind: &str, error: &kvs::Error, subject: Subject<'_>, exists: bool) -> Verdict {
    let spec = subject.spec;
    let (arn, field) = match kind {
        "channel" => (spec.channel.arn.is_some(), "spec.channel"),
        _ => (spec.stream.arn.is_some(), "spec.stream"),
    };
    match error.class {
        ErrorClass::NotFound if arn => {
            Verdict::stalled("NotFound", format!("{} does not exist: correct {field}.arn", error.resource))
        }
        ErrorClass::NotFound => Verdict::stalled(
            "NotFound",
            format!(
                "{} does not exist in {}: create it, or set {field}.createIfMissing",
                error.resource, spec.region
            ),
        ),
        // Another account's: the agent has the rights, the operator may have none there.
        ErrorClass::AccessDenied
            if arn && (spec.role_arn.is_some() || spec.credentials_secret_ref.is_some()) =>
        {
            Verdict::yes(
                "NotVerified",
                format!("the operator may not look at it, the agent will: {}", error.message),
            )
        }
        ErrorClass::AccessDenied => Verdict::stalled(
            "AccessDenied",
            format!("the operator may not call {} on {}: {}", error.operation, error.resource, error.message),
        ),
        ErrorClass::InvalidRequest => Verdict::stalled("InvalidRequest", error.message.clone()),
        ErrorClass::LimitExceeded => Verdict::stalled(
            "QuotaExceeded",
            format!("{}: {}; ask AWS for a higher quota", error.operation, error.message),
        ),
        ErrorClass::Throttled => Verdict::unknown("Throttled", format!("AWS throttles {}", error.operation)),
        ErrorClass::Conflict if exists => Verdict::unknown("Conflict", error.message.clone()),
        _ => Verdict::unknown("AwsUnavailable", format!("{}: {}", error.operation, error.message)),
    }
}
