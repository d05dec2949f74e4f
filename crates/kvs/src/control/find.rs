//! Channels and streams as a whole: found, or created and waited for. Who must not wait, the operator say, takes the
//! single steps of [`super::channel`] and [`super::stream`].

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kvs_aws::ErrorClass;
use tokio::time::{Instant, sleep};

use super::channel::ChannelInfo;
use super::plane::{ControlPlane, Tags};
use super::stream::{NewStream, StreamInfo};
use crate::error::Error;
use crate::id::{ChannelId, StreamId};

/// How long what was just created may take to become active.
const ACTIVE_WITHIN: Duration = Duration::from_secs(60);
/// DescribeStream and DescribeSignalingChannel allow five calls a second for each resource.
const DESCRIBE_EVERY: Duration = Duration::from_millis(500);

const CREATE_CHANNEL: &str = "CreateSignalingChannel";
const CREATE_STREAM: &str = "CreateStream";

/// An active channel or stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<T> {
    /// As it was last described.
    pub info: T,
    /// By this call. False where somebody else was faster.
    pub created: bool,
}

impl ControlPlane {
    /// DescribeSignalingChannel; CreateSignalingChannel with these tags when there is none and it is named by name.
    /// Returns when it is active.
    ///
    /// # Errors
    /// [`ErrorClass::NotFound`] when there is none and none was to be created; [`ErrorClass::Timeout`] when it does not
    /// become active within a minute; the classes of any call.
    pub async fn find_or_create_channel(
        &self,
        channel: &ChannelId,
        create: Option<&Tags>,
    ) -> Result<Found<ChannelInfo>, Error> {
        let created = match (self.describe_channel(channel).await, channel, create) {
            (Ok(info), ..) if info.active => return Ok(Found { info, created: false }),
            (Err(error), ChannelId::Name(name), Some(tags)) if error.class == ErrorClass::NotFound => {
                tracing::info!(channel = name.as_str(), "the channel is missing and created");
                self.begin_channel(name, tags).await?
            }
            (described, ..) => described.map(|_| false)?,
        };
        let info = self.active_channel(channel).await?;
        Ok(Found { info, created })
    }

    /// DescribeStream; CreateStream as `create` says when there is none and it is named by name. Returns when it is
    /// active.
    ///
    /// # Errors
    /// [`ErrorClass::NotFound`] when there is none and none was to be created; [`ErrorClass::Timeout`] when it does not
    /// become active within a minute; the classes of any call.
    pub async fn find_or_create_stream(
        &self,
        stream: &StreamId,
        create: Option<&NewStream>,
    ) -> Result<Found<StreamInfo>, Error> {
        let created = match (self.describe_stream(stream).await, stream, create) {
            (Ok(info), ..) if info.active => return Ok(Found { info, created: false }),
            (Err(error), StreamId::Name(name), Some(new)) if error.class == ErrorClass::NotFound => {
                let hours = new.retention_hours;
                tracing::info!(stream = name.as_str(), hours, "the stream is missing and created");
                self.begin_stream(name, new).await?
            }
            (described, ..) => described.map(|_| false)?,
        };
        let info = self.active_stream(stream).await?;
        Ok(Found { info, created })
    }

    async fn active_channel(&self, channel: &ChannelId) -> Result<ChannelInfo, Error> {
        let describe =
            || async { Ok(Some(self.describe_channel(channel).await?).filter(|info| info.active)) };
        until_active(CREATE_CHANNEL, channel, &self.waits, describe).await
    }

    async fn active_stream(&self, stream: &StreamId) -> Result<StreamInfo, Error> {
        let describe = || async { Ok(Some(self.describe_stream(stream).await?).filter(|info| info.active)) };
        until_active(CREATE_STREAM, stream, &self.waits, describe).await
    }
}

/// Describes again and again what is being created, until there is an answer. It may be unknown for a moment; another
/// error is final.
async fn until_active<T, F>(
    operation: &'static str,
    resource: &(dyn Display + Sync),
    waits: &AtomicBool,
    describe: impl Fn() -> F,
) -> Result<T, Error>
where
    F: Future<Output = Result<Option<T>, Error>>,
{
    let deadline = Instant::now() + ACTIVE_WITHIN;
    let mut told = false;
    loop {
        match describe().await {
            Ok(Some(active)) => return Ok(active),
            Err(error) if error.class != ErrorClass::NotFound || error.being_deleted => return Err(error),
            _ if Instant::now() >= deadline => {
                let message = format!("it is not active after {} s", ACTIVE_WITHIN.as_secs());
                return Err(Error::new(operation, resource, ErrorClass::Timeout, message));
            }
            _ => {
                waits.store(true, Ordering::Relaxed);
                if !std::mem::replace(&mut told, true) {
                    tracing::info!(%resource, "it is not active yet, and waited for");
                }
                sleep(DESCRIBE_EVERY).await;
            }
        }
    }
}
