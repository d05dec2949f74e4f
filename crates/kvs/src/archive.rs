//! What a stream holds.

use std::time::{Duration, SystemTime};

use aws_sdk_kinesisvideo::types::ApiName;
use aws_sdk_kinesisvideoarchivedmedia::Client;
use aws_sdk_kinesisvideoarchivedmedia::config::Builder;
use aws_sdk_kinesisvideoarchivedmedia::types::{
    Fragment, FragmentSelector, FragmentSelectorType, TimestampRange,
};
use aws_smithy_types::DateTime;
use kvs_aws::{AwsContext, ErrorClass};
use url::Url;

use crate::control::ControlPlane;
use crate::error::Error;
use crate::id::{StreamArn, StreamId};

/// The most that one answer of ListFragments holds (`MaxResults`).
const PAGE: i64 = 1000;

/// A fragment that the service has for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFragment {
    /// `FragmentNumber`: unique in the stream, decimal.
    pub number: String,
    /// `ProducerTimestamp`: when its first frame was captured, by the producer's clock.
    pub captured: SystemTime,
    /// `ServerTimestamp`: when the service received it, by AWS's clock. To the begin of that or to its end: pages differ.
    pub received: SystemTime,
    /// `FragmentLengthInMilliseconds`.
    pub length: Duration,
}

/// How long ago the service received a fragment, and how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecentFragment {
    /// By AWS's clock; to the begin of that or to its end.
    pub age: Duration,
    /// `FragmentLengthInMilliseconds`.
    pub length: Duration,
}

impl ControlPlane {
    /// GetDataEndpoint for ListFragments. It may be kept until a call to it fails.
    ///
    /// # Errors
    /// The classes of any call.
    pub async fn fragments_endpoint(&self, stream: &StreamArn) -> Result<Url, Error> {
        self.data_endpoint(&StreamId::Arn(stream.clone()), ApiName::ListFragments).await
    }

    /// ListFragments: what the service has received in the last `span`. `endpoint` is that of
    /// [`Self::fragments_endpoint`].
    ///
    /// # Errors
    /// The classes of any call.
    pub async fn recent_fragments(
        &self,
        endpoint: &Url,
        stream: &StreamArn,
        span: Duration,
    ) -> Result<Vec<RecentFragment>, Error> {
        let archive = Archive::at(self.context(), StreamId::Arn(stream.clone()), endpoint);
        let now = self.context().now();
        let received = archive.received(now.checked_sub(span).unwrap_or(SystemTime::UNIX_EPOCH), now).await?;
        // What is received while it is asked may seem to come from the future.
        let age = |at| now.duration_since(at).unwrap_or_default();
        let recent = |fragment: &StoredFragment| RecentFragment {
            age: age(fragment.received),
            length: fragment.length,
        };
        Ok(received.iter().map(recent).collect())
    }
}

/// The archive of one stream.
#[derive(Clone, Debug)]
pub struct Archive {
    stream: StreamId,
    client: Client,
}

impl Archive {
    /// GetDataEndpoint for ListFragments.
    ///
    /// # Errors
    /// The classes of any call.
    pub async fn open(context: &AwsContext, stream: StreamId) -> Result<Self, Error> {
        let endpoint = ControlPlane::new(context).data_endpoint(&stream, ApiName::ListFragments).await?;
        Ok(Self::at(context, stream, &endpoint))
    }

    fn at(context: &AwsContext, stream: StreamId, endpoint: &Url) -> Self {
        let url = endpoint.as_str().trim_end_matches('/');
        let client = Client::from_conf(Builder::from(context.sdk_config()).endpoint_url(url).build());
        Self { stream, client }
    }

    /// ListFragments by ServerTimestamp: what the service received between these times, ends included, up to a thousand
    /// fragments, oldest capture first. It shows a fragment within a second of its PERSISTED.
    ///
    /// A policy without this action says nothing against the credentials, which stay.
    ///
    /// # Errors
    /// The classes of any call.
    pub async fn received(&self, from: SystemTime, to: SystemTime) -> Result<Vec<StoredFragment>, Error> {
        const OPERATION: &str = "ListFragments";
        let unfit = |error: &dyn std::error::Error| {
            Error::new(OPERATION, &self.stream, ErrorClass::InvalidRequest, error.to_string())
        };
        let range = TimestampRange::builder()
            .start_timestamp(DateTime::from(from))
            .end_timestamp(DateTime::from(to))
            .build()
            .map_err(|error| unfit(&error))?;
        let selector = FragmentSelector::builder()
            .fragment_selector_type(FragmentSelectorType::ServerTimestamp)
            .timestamp_range(range)
            .build()
            .map_err(|error| unfit(&error))?;
        let call = self.client.list_fragments().max_results(PAGE).fragment_selector(selector);
        let call = match &self.stream {
            StreamId::Name(name) => call.stream_name(name.as_str()),
            StreamId::Arn(arn) => call.stream_arn(arn.as_str()),
        };
        let answer = call.send().await.map_err(|error| Error::sdk(OPERATION, &self.stream, &error))?;
        let mut fragments: Vec<_> =
            answer.fragments.unwrap_or_default().into_iter().filter_map(stored).collect();
        // Its order is not promised.
        fragments.sort_by_key(|fragment| fragment.captured);
        Ok(fragments)
    }
}

/// `None` where the answer lacks what every fragment has.
fn stored(fragment: Fragment) -> Option<StoredFragment> {
    Some(StoredFragment {
        number: fragment.fragment_number?,
        captured: SystemTime::try_from(fragment.producer_timestamp?).ok()?,
        received: SystemTime::try_from(fragment.server_timestamp?).ok()?,
        length: Duration::from_millis(u64::try_from(fragment.fragment_length_in_milliseconds).ok()?),
    })
}
