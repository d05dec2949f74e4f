//! The reasons of conditions and events: one CamelCase word each, which users, alerts and Argo CD read.

use std::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// Why a condition is as it is. As text it is the variant's own name.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Reason {
            $($(#[$doc])* $name,)+
            /// Any other word: the agent's own (`MasterSilent`), one put together for the summary
            /// (`ChannelNotFound`), or one that another release of the operator wrote into the status.
            Word(Box<str>),
        }

        impl Reason {
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    Self::Word(word) => word,
                    known => known.name(),
                }
            }

            fn name(&self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                    Self::Word(_) => "Other",
                }
            }
        }

        impl From<&str> for Reason {
            fn from(text: &str) -> Self {
                $(if text == stringify!($name) {
                    return Self::$name;
                })+
                Self::Word(text.into())
            }
        }
    };
}

reasons! {
    // Of the object as it is declared.
    PausedByAnnotation,
    InvalidSpec,
    /// The author may not have what it asks for.
    NotPermitted,
    /// Something before it is in the way.
    NotReached,
    /// The operator came to no end, because of the API server or of a bug.
    ReconcileFailed,

    // Of channel and stream.
    Found,
    Created,
    /// It was there before, and is this object's own since.
    Adopted,
    Creating,
    /// The stream is missing, and not created before the channel is found.
    WaitingForChannel,
    /// The channel is missing, and not created before the stream is found.
    WaitingForStream,
    /// It is of another object, which lives, or of another cluster.
    AdoptionRefused,
    /// The object names no stream.
    NotUsed,
    /// Of another account: the agent will see.
    NotVerified,
    NotFound,
    AccessDenied,
    InvalidRequest,
    QuotaExceeded,
    Throttled,
    Conflict,
    AwsUnavailable,
    /// Others ask AWS just now: it is this object's turn soon. Nobody is told.
    AwsBusy,
    RegionUnknown,
    AwsNotConfigured,
    MediaStorageEnabled,
    /// The channel is mapped to another stream, by somebody else.
    MediaStorageInUse,
    NoRetention,
    StreamInUse,
    ChannelCreated,
    StreamCreated,
    ChannelAdopted,
    StreamAdopted,
    /// The operator mapped the channel to the stream, or took that back.
    MediaStorageMapped,
    MediaStorageReleased,

    // Of the end of an object.
    Deleting,
    DeletionBlocked,

    // Of the agent's Deployment and its pods.
    Suspending,
    Suspended,
    DeploymentConflict,
    /// By the API server, a quota, an admission policy or webhook.
    DeploymentRefused,
    /// The API server did not take it, and may the next time.
    DeploymentNotApplied,
    /// Somebody else changes it back again and again.
    DeploymentContested,
    AgentStarting,
    AgentAvailable,
    RollingOut,
    RolloutStuck,
    PodNotCreated,
    /// It has no network, say.
    PodNotStarted,
    PodFailed,
    Unschedulable,
    ImagePullBackOff,
    ContainerConfigError,
    OutOfMemory,
    CrashLooping,

    /// Its object has another mode now.
    AgentEnding,
    /// AWS records, as far as anybody sees: there is no agent.
    ManagedStorage,

    // Of media: of the agent's own words, those that decide something here.
    AgentUnavailable,
    AgentSilent,
    /// All of it is stored.
    Streaming,
    WaitingForMaster,
    /// Media waits in the agent, because KVS does not take it.
    StorageInterrupted,
    /// KVS says that it never will.
    StorageRefused,
    /// The agent does not find what it was given.
    ChannelNotFound,
    StreamNotFound,
    VideoNotStored,
    AudioNotStored,
    /// A required output does not receive the media that is there; time may heal it.
    OutputInterrupted,
    /// A required output does not receive the media that is there, and a person has to do something.
    OutputFailed,
    /// The agent said what the API server does not take as a reason.
    Unspecified,
}

/// Words that nothing here decides by: of the summary of channel and stream, and the agent's own.
const MORE: [&str; 45] = [
    "ChannelCreating",
    "ChannelAccessDenied",
    "ChannelInvalidRequest",
    "ChannelInvalidSpec",
    "ChannelQuotaExceeded",
    "ChannelThrottled",
    "ChannelConflict",
    "ChannelNotReached",
    "ChannelReconcileFailed",
    "ChannelAdoptionRefused",
    "ChannelWaitingForStream",
    "StreamCreating",
    "StreamAccessDenied",
    "StreamInvalidRequest",
    "StreamInvalidSpec",
    "StreamQuotaExceeded",
    "StreamThrottled",
    "StreamConflict",
    "StreamNoRetention",
    "StreamNotReached",
    "StreamReconcileFailed",
    "StreamAdoptionRefused",
    "StreamWaitingForChannel",
    "Starting",
    "JoiningChannel",
    "Offering",
    "ConnectingPeer",
    "WaitingForMedia",
    "MasterEnded",
    "MasterSilent",
    "WaitingForVideo",
    "WaitingForAudio",
    "PipelineFailed",
    "Stopping",
    "CredentialsExpired",
    "ClockSkew",
    "NetworkError",
    "Timeout",
    "ServiceError",
    "CodecMismatch",
    "PeerBuildFailed",
    "PeerConnectionFailed",
    "MediaTimeout",
    "AnsweredTwice",
    "NothingPersisted",
];

impl Reason {
    /// A word from the network. It has to be one that the API server takes.
    #[must_use]
    pub fn of_agent(word: &str) -> Self {
        let valid = word.len() <= 64
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && word.starts_with(|first: char| first.is_ascii_alphabetic());
        if valid { Self::from(word) } else { Self::Unspecified }
    }

    /// As the summary says it, where it has to be said whether the channel or the stream is not found.
    #[must_use]
    pub fn in_summary(self, resource: &str) -> Self {
        match self {
            Self::StreamInUse
            | Self::MediaStorageEnabled
            | Self::MediaStorageInUse
            | Self::AwsNotConfigured
            | Self::AwsUnavailable
            | Self::RegionUnknown => self,
            other => Self::from(&*format!("{resource}{other}")),
        }
    }

    /// The agent says so of a channel or stream that may not be there any more, or not as it was.
    #[must_use]
    pub fn doubts_aws(&self) -> bool {
        matches!(
            self,
            Self::ChannelNotFound
                | Self::StreamNotFound
                | Self::StorageInterrupted
                | Self::StorageRefused
                | Self::MediaStorageEnabled
                | Self::AccessDenied
        )
    }

    /// Of a channel or stream that is not created before the other one is found.
    #[must_use]
    pub fn waits_for_other(&self) -> bool {
        matches!(self, Self::WaitingForChannel | Self::WaitingForStream)
    }

    /// The Deployment is not what the object asks for, whatever its agent does meanwhile.
    #[must_use]
    pub fn is_of_the_deployment(&self) -> bool {
        matches!(self, Self::DeploymentConflict | Self::DeploymentRefused | Self::DeploymentNotApplied)
    }

    /// As a label of a metric: one of so many words and no more. What is none of them is `Other`.
    #[must_use]
    pub fn label(&self) -> &'static str {
        let Self::Word(word) = self else { return self.name() };
        MORE.iter().find(|known| **known == &**word).copied().unwrap_or("Other")
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_survives_the_status() {
        for reason in [Reason::AgentStarting, Reason::VideoNotStored, Reason::NotFound.in_summary("Channel")]
        {
            assert_eq!(Reason::from(reason.as_str()), reason);
        }
        assert_eq!(Reason::from("MasterSilent").as_str(), "MasterSilent");
    }

    #[test]
    fn the_summary_says_of_what_it_speaks() {
        assert_eq!(Reason::NotFound.in_summary("Stream").as_str(), "StreamNotFound");
        assert_eq!(Reason::NoRetention.in_summary("Stream").as_str(), "StreamNoRetention");
        for clear in [
            Reason::StreamInUse,
            Reason::MediaStorageEnabled,
            Reason::AwsNotConfigured,
            Reason::AwsUnavailable,
        ] {
            assert_eq!(clear.clone().in_summary("Channel"), clear);
        }
    }

    #[test]
    fn a_label_is_one_of_so_many() {
        let of = |word: &str| Reason::from(word).label();
        for known in ["WaitingForMaster", "ChannelNotFound", "Streaming", "DeploymentRefused"] {
            assert_eq!(of(known), known);
        }
        for other in ["", "Other", "SomethingNew", "ChannelSomethingNew"] {
            assert_eq!(of(other), "Other");
        }
        let enumerated = MORE.iter().find(|word| !matches!(Reason::from(**word), Reason::Word(_)));
        assert_eq!(enumerated, None, "it needs no second place");
    }

    #[test]
    fn the_agent_says_only_what_the_api_server_takes() {
        assert_eq!(Reason::of_agent("StorageInterrupted"), Reason::StorageInterrupted);
        for wrong in ["", "no word\n", "1st", "ü", &"x".repeat(65)] {
            assert_eq!(Reason::of_agent(wrong), Reason::Unspecified, "{wrong:?}");
        }
    }
}
