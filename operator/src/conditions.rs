//! What is said of one thing, the channel or the Deployment: status, reason and message of its condition, and who moves
//! next.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kvs_ingest_api::KvsIngestStatus;

use crate::reason::Reason;

/// `status` of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionStatus {
    True,
    False,
    Unknown,
}

impl ConditionStatus {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }

    /// As it was written. What is none of the three says nothing.
    #[must_use]
    pub fn of(condition: &Condition) -> Self {
        match condition.status.as_str() {
            "True" => Self::True,
            "False" => Self::False,
            _ => Self::Unknown,
        }
    }
}

/// What a condition is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionUpdate {
    pub status: ConditionStatus,
    pub reason: Reason,
    /// A sentence for people, with the remedy where there is one.
    pub message: String,
    pub next: Next,
}

/// Who moves next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nobody has to.
    Settled,
    /// The operator, Kubernetes or AWS: time heals it.
    Waiting,
    Person,
}

impl ConditionUpdate {
    /// `True`, and nobody has to do anything.
    pub fn met(reason: Reason, message: impl Into<String>) -> Self {
        Self { status: ConditionStatus::True, reason, message: message.into(), next: Next::Settled }
    }

    /// `False`, and a person has to do something.
    pub fn stalled(reason: Reason, message: impl Into<String>) -> Self {
        Self { status: ConditionStatus::False, reason, message: message.into(), next: Next::Person }
    }

    /// `False`, and time heals it.
    pub fn waiting(reason: Reason, message: impl Into<String>) -> Self {
        Self { status: ConditionStatus::False, reason, message: message.into(), next: Next::Waiting }
    }

    /// `Unknown`, and time will tell.
    pub fn unknown(reason: Reason, message: impl Into<String>) -> Self {
        Self { status: ConditionStatus::Unknown, reason, message: message.into(), next: Next::Waiting }
    }

    #[must_use]
    pub fn is_met(&self) -> bool {
        self.status == ConditionStatus::True
    }

    /// The same, with somebody else to move next.
    #[must_use]
    pub fn with_next(self, next: Next) -> Self {
        Self { next, ..self }
    }
}

/// The condition of this type.
#[must_use]
pub fn find<'a>(status: &'a KvsIngestStatus, kind: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.type_ == kind)
}

/// Is the condition of this type `True`?
#[must_use]
pub fn is_true(status: &KvsIngestStatus, kind: &str) -> bool {
    find(status, kind).is_some_and(|condition| ConditionStatus::of(condition) == ConditionStatus::True)
}
