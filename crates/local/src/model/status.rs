//! [`Status`] of a channel or stream, and the [`Transition`] that it is in the middle of.

use serde::{Deserialize, Serialize};

use crate::StateTimes;

/// `ChannelStatus`, and `Status` of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// Made a moment ago: it is described and listed, and serves nothing yet.
    Creating,
    /// It serves, and can be changed.
    Active,
    /// A change is being applied: it serves, and takes no other change.
    Updating,
    /// Its end was asked for: it serves nothing any more, and its name is still taken.
    Deleting,
}

impl Status {
    /// Of what is in the middle of this, if of anything.
    pub(super) fn of(transition: Option<Transition>) -> Self {
        transition.map_or(Self::Active, |transition| transition.status)
    }

    /// Calls other than those of the control plane are served.
    pub(super) fn serves(self) -> bool {
        match self {
            Self::Active | Self::Updating => true,
            Self::Creating | Self::Deleting => false,
        }
    }

    /// As the service spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Creating => "CREATING",
            Self::Active => "ACTIVE",
            Self::Updating => "UPDATING",
            Self::Deleting => "DELETING",
        }
    }
}

/// A status that ends by itself, and when it began. How long it lasts is asked when it is looked at, so that a change of
/// [`StateTimes`] counts for what is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// The status meanwhile.
    pub status: Status,
    /// Milliseconds since 1970.
    pub since_ms: u64,
}

impl Transition {
    /// One that begins now; `None` when it would be over at once.
    pub(crate) fn begin(status: Status, now_ms: u64, times: &StateTimes) -> Option<Self> {
        let begun = Self { status, since_ms: now_ms };
        (!begun.is_over(now_ms, times)).then_some(begun)
    }

    /// Whether its time has passed.
    pub(crate) fn is_over(&self, now_ms: u64, times: &StateTimes) -> bool {
        let lasts = match self.status {
            Status::Creating => times.creating,
            Status::Active => return true,
            Status::Updating => times.updating,
            Status::Deleting => times.deleting,
        };
        u128::from(now_ms.saturating_sub(self.since_ms)) >= lasts.as_millis()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_transition_lasts_as_long_as_the_times_say_when_it_is_looked_at() {
        let mut times = StateTimes { deleting: Duration::from_secs(5), ..StateTimes::default() };
        assert_eq!(Transition::begin(Status::Creating, 1000, &times), None);
        let deleting = Transition::begin(Status::Deleting, 1000, &times).unwrap();
        assert!(!deleting.is_over(5999, &times) && deleting.is_over(6000, &times));
        assert!(!deleting.is_over(0, &times), "the clock was set back");
        times.deleting = Duration::from_secs(60);
        assert!(!deleting.is_over(6000, &times));
        times.deleting = Duration::ZERO;
        assert!(deleting.is_over(1000, &times));
    }
}
