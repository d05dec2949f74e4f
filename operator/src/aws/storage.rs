//! AWS's own recording: the media storage of a channel, and the storage session that a master is offered.

use std::time::Duration;

use kvs::{ChannelArn, MediaStorage, RecentFragment, StreamArn};
use kvs_aws::ErrorClass;
use kvs_ingest_api::{ResolvedChannel, ResolvedStream};
use url::Url;

use super::Aws;
use super::region::{Quota, Region};
use super::regions::Entered;
use super::resource::{Resource, Subject};
use crate::conditions::ConditionUpdate;
use crate::reason::Reason;

const DESCRIBE: &str = "DescribeMediaStorageConfiguration";
const UPDATE: &str = "UpdateMediaStorageConfiguration";
const JOIN: &str = "JoinStorageSession";
const ENDPOINT: &str = "GetDataEndpoint";
const LIST: &str = "ListFragments";

/// A channel, and the stream into which AWS records it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) channel: ChannelArn,
    pub(crate) stream: StreamArn,
}

impl Pair {
    /// Of ARNs as the status has them.
    ///
    /// # Errors
    /// They cannot belong together: what is to be said of that.
    pub(crate) fn of(channel: &str, stream: &str) -> Result<Self, ConditionUpdate> {
        let invalid = |words: String| ConditionUpdate::stalled(Reason::InvalidSpec, words);
        let account = |arn: &str| arn.split(':').nth(4).map(str::to_owned);
        if account(channel) != account(stream) {
            return Err(invalid(format!(
                "{channel} and {stream} are of different accounts, and AWS records within one: name a stream of the \
                 channel's account"
            )));
        }
        let channel = channel.parse().map_err(|error: kvs::InvalidId| invalid(error.to_string()))?;
        let stream = stream.parse().map_err(|error: kvs::InvalidId| invalid(error.to_string()))?;
        Ok(Self { channel, stream })
    }
}

/// Where a channel's media storage goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mapped {
    /// Into the stream that it is to go to.
    Here,
    Nowhere,
    /// Into another stream: this one.
    Elsewhere(Option<String>),
}

impl Aws {
    /// Looks where the channel is mapped to.
    pub(crate) async fn mapped(&self, subject: Subject<'_>, pair: &Pair) -> Result<Mapped, ConditionUpdate> {
        let region = self.regions.enter(pair.channel.region()).await?;
        mapped(&region, subject, &pair.channel, pair.stream.as_str()).await
    }

    /// Maps the channel to the stream. `elsewhere`: it is mapped to another one, which is taken away first.
    pub(crate) async fn map(
        &self,
        subject: Subject<'_>,
        pair: &Pair,
        elsewhere: bool,
    ) -> Result<(), ConditionUpdate> {
        let region = self.regions.enter(pair.channel.region()).await?;
        if elsewhere {
            set(&region, subject, &pair.channel, None).await?;
        }
        set(&region, subject, &pair.channel, Some(&pair.stream)).await
    }

    /// Takes the mapping to this very stream away. What is mapped otherwise by now stays; so does what is gone.
    pub(crate) async fn unmap(
        &self,
        subject: Subject<'_>,
        channel: &ChannelArn,
        stream: &str,
    ) -> Result<(), ConditionUpdate> {
        let region = self.regions.enter_any(channel.region()).await?;
        let gone = |condition: &ConditionUpdate| condition.reason == Reason::NotFound;
        let unmapped = match mapped(&region, subject, channel, stream).await {
            Ok(Mapped::Here) => set(&region, subject, channel, None).await,
            Ok(Mapped::Nowhere | Mapped::Elsewhere(_)) => Ok(()),
            Err(condition) => Err(condition),
        };
        unmapped.or_else(|condition| if gone(&condition) { Ok(()) } else { Err(condition) })
    }

    /// To look after a recording, among those that ask AWS at once.
    pub(crate) async fn recorder<'a>(&'a self, pair: &'a Pair) -> Result<Recorder<'a>, ConditionUpdate> {
        Ok(Recorder { region: self.regions.enter(pair.channel.region()).await?, pair })
    }
}

async fn mapped(
    region: &Region,
    subject: Subject<'_>,
    channel: &ChannelArn,
    stream: &str,
) -> Result<Mapped, ConditionUpdate> {
    match region.call(Quota::MediaStorage, DESCRIBE, region.control.media_storage(channel)).await {
        Ok(MediaStorage::Enabled { stream_arn }) if stream_arn.as_deref() == Some(stream) => Ok(Mapped::Here),
        Ok(MediaStorage::Enabled { stream_arn }) => Ok(Mapped::Elsewhere(stream_arn)),
        Ok(MediaStorage::Disabled) => Ok(Mapped::Nowhere),
        Ok(MediaStorage::NotPermitted) => Err(ConditionUpdate::stalled(
            Reason::AccessDenied,
            format!("the operator may not call {DESCRIBE} on {channel}: it needs kinesisvideo:{DESCRIBE}"),
        )),
        Err(error) => Err(ResolvedChannel::failed(&error, subject, true)),
    }
}

async fn set(
    region: &Region,
    subject: Subject<'_>,
    channel: &ChannelArn,
    stream: Option<&StreamArn>,
) -> Result<(), ConditionUpdate> {
    let set = region.control.set_media_storage(channel, stream);
    let Err(error) = region.change_within(Quota::SetMediaStorage, UPDATE, set).await else { return Ok(()) };
    Err(match (error.class, stream) {
        (ErrorClass::Conflict, Some(stream)) => ConditionUpdate::stalled(
            Reason::MediaStorageInUse,
            format!(
                "AWS does not map the channel to {stream}: {}; a stream is mapped to one channel, and a channel to one \
                 stream: disable the other mapping, or name another stream",
                error.message
            ),
        ),
        _ => ResolvedChannel::failed(&error, subject, true),
    })
}

/// What a look at a stream found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Evidence(pub(crate) Vec<RecentFragment>);

impl Evidence {
    /// How far back is looked.
    pub(crate) const SPAN: Duration = Duration::from_secs(90);
    /// The least and the most that may pass without a fragment while it is recorded.
    const QUIET: [Duration; 2] = [Duration::from_secs(20), Duration::from_secs(60)];

    /// Without what was received before so long ago.
    pub(crate) fn within(mut self, age: Duration) -> Self {
        self.0.retain(|fragment| fragment.age < age);
        self
    }

    /// Does AWS record now? A fragment is seen when it is complete: the next one after as long as it is itself, and the
    /// service may say its begin for when it came.
    pub(crate) fn is_recorded(&self) -> bool {
        let longest = self.0.iter().map(|fragment| fragment.length).max().unwrap_or_default();
        let [least, most] = Self::QUIET;
        let quiet = (longest * 3 + Duration::from_secs(5)).clamp(least, most);
        self.0.iter().any(|fragment| fragment.age <= quiet)
    }
}

/// One who looks after one recording.
pub(crate) struct Recorder<'a> {
    region: Entered<'a>,
    pair: &'a Pair,
}

impl Recorder<'_> {
    /// How long until it is this one's turn.
    pub(crate) fn turn(&self) -> Duration {
        self.region.turn()
    }

    /// What the stream has received of late. `endpoint` is kept from look to look.
    pub(crate) async fn look(
        &self,
        subject: Subject<'_>,
        endpoint: &mut Option<Url>,
    ) -> Result<Evidence, ConditionUpdate> {
        let (region, stream) = (&self.region, &self.pair.stream);
        let failed = |error: &kvs::Error| ResolvedStream::failed(error, subject, true);
        let at = match endpoint.take() {
            Some(at) => at,
            None => {
                let found = region.call(Quota::Describe, ENDPOINT, region.control.fragments_endpoint(stream));
                found.await.map_err(|error| failed(&error))?
            }
        };
        let recent = region.control.recent_fragments(&at, stream, Evidence::SPAN);
        match region.call(Quota::OfStream, LIST, recent).await {
            Ok(recent) => {
                *endpoint = Some(at);
                Ok(Evidence(recent))
            }
            Err(error) => Err(failed(&error)),
        }
    }

    /// Is the channel mapped as it should be?
    pub(crate) async fn is_mapped(&self, subject: Subject<'_>) -> Result<bool, ConditionUpdate> {
        let found = mapped(&self.region, subject, &self.pair.channel, self.pair.stream.as_str()).await?;
        Ok(found == Mapped::Here)
    }

    /// Has AWS offer its session to the channel's master.
    pub(crate) async fn join(&self) -> Result<(), kvs::Error> {
        self.region.change(JOIN, self.region.control.join_storage_session(&self.pair.channel)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(fragments: &[(u64, u64)]) -> Evidence {
        let recent = |(age, length): &(u64, u64)| RecentFragment {
            age: Duration::from_secs(*age),
            length: Duration::from_secs(*length),
        };
        Evidence(fragments.iter().map(recent).collect())
    }

    #[test]
    fn a_stream_is_recorded_while_its_fragments_come_as_often_as_they_are_long() {
        assert!(!evidence(&[]).is_recorded());
        assert!(evidence(&[(80, 2), (20, 2)]).is_recorded());
        assert!(!evidence(&[(80, 2), (21, 2)]).is_recorded());
        assert!(evidence(&[(35, 10)]).is_recorded(), "the next one is on its way");
        assert!(!evidence(&[(36, 10)]).is_recorded());
        assert!(!evidence(&[(61, 1000)]).is_recorded(), "nobody waits longer than that");
        assert!(evidence(&[(0, 1)]).is_recorded());
    }

    #[test]
    fn a_pair_is_of_one_account() {
        let arn = |account: u64, kind: &str| {
            format!("arn:aws:kinesisvideo:eu-central-1:{account}:{kind}/door/0123456789012")
        };
        let (channel, stream) = (arn(111_122_223_333, "channel"), arn(111_122_223_333, "stream"));
        let pair = Pair::of(&channel, &stream).unwrap();
        assert_eq!((pair.channel.as_str(), pair.stream.as_str()), (&*channel, &*stream));
        let refused = Pair::of(&channel, &arn(444_455_556_666, "stream")).unwrap_err();
        assert_eq!(refused.reason, Reason::InvalidSpec);
        assert!(refused.message.contains("different accounts"), "{}", refused.message);
        assert_eq!(Pair::of("c", "s").unwrap_err().reason, Reason::InvalidSpec);
    }
}
