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
                    $(Self::$name => stringify!($name),)+
                    Self::Word(word) => word,
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

    // Of channel and stream.
    Found,
    Created,
    Creating,
    /// Of another account: the agent will see.
    NotVerified,
    NotFound,
    AccessDenied,
    InvalidRequest,
    QuotaExceeded,
    Throttled,
    Conflict,
    AwsUnavailable,
    AwsNotConfigured,
    MediaStorageEnabled,
    NoRetention,
    StreamInUse,
    ChannelCreated,
    StreamCreated,

    // Of the agent's Deployment and its pods.
    Suspending,
    Suspended,
    DeploymentConflict,
    AgentStarting,
    AgentAvailable,
    RollingOut,
    RolloutStuck,
    PodNotCreated,
    PodFailed,
    Unschedulable,
    ImagePullBackOff,
    ContainerConfigError,
    OutOfMemory,
    CrashLooping,

    // Of media: of the agent's own words, those that decide something here.
    AgentUnavailable,
    AgentSilent,
    WaitingForMaster,
    /// Media waits in the agent, because KVS does not take it.
    StorageInterrupted,
    VideoNotStored,
    AudioNotStored,
    /// The agent said what the API server does not take as a reason.
    Unspecified,
}

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
            Self::StreamInUse | Self::MediaStorageEnabled | Self::AwsNotConfigured | Self::AwsUnavailable => {
                self
            }
            other => Self::Word(format!("{resource}{other}").into()),
        }
    }

    /// Of media that is received and not stored; why, the message alone says.
    #[must_use]
    pub fn is_not_stored(&self) -> bool {
        matches!(self, Self::VideoNotStored | Self::AudioNotStored)
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
    fn the_agent_says_only_what_the_api_server_takes() {
        assert_eq!(Reason::of_agent("StorageInterrupted"), Reason::StorageInterrupted);
        for wrong in ["", "no word\n", "1st", "ü", &"x".repeat(65)] {
            assert_eq!(Reason::of_agent(wrong), Reason::Unspecified, "{wrong:?}");
        }
    }
}
