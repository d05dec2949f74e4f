//! [`Channel`]: a signaling channel as the index keeps it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ACCOUNT, Scope, Status, Transition};
use crate::error::ServiceError;

/// A signaling channel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Channel {
    /// As text; unique for ever, because it holds the time of creation.
    pub arn: String,
    /// Unique among the channels of its region.
    pub name: String,
    /// That of the call that created it.
    pub region: String,
    /// `SINGLE_MASTER` or `FULL_MESH`.
    pub channel_type: String,
    /// How long undelivered messages are kept, in seconds.
    pub message_ttl_seconds: u32,
    /// 20 letters and digits, new with each change.
    pub version: String,
    /// Creation, milliseconds since 1970.
    pub created_ms: u64,
    /// At most 50 keys with their values.
    pub tags: BTreeMap<String, String>,
    /// The stream of the media storage configuration.
    pub storage_stream_arn: Option<String>,
    /// Whether media storage is enabled.
    pub storage_enabled: bool,
    /// What it is in the middle of; `None`: it is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transition: Option<Transition>,
}

impl Channel {
    /// Whose it is, and where.
    #[must_use]
    pub fn scope(&self) -> Scope {
        // what an older version wrote has its account in its ARN as well
        let account = self.arn.split(':').nth(4).unwrap_or(ACCOUNT).to_owned();
        Scope { account, region: self.region.clone() }
    }

    /// Creating, active, updating or deleting; of a resource that was asked of the control plane, when it was.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::of(self.transition)
    }

    /// Itself, if calls other than those of the control plane are served of it.
    ///
    /// # Errors
    /// `ResourceNotFoundException` while it is creating or deleting.
    pub(crate) fn serving(self) -> Result<Self, ServiceError> {
        if self.status().serves() { Ok(self) } else { Err(ServiceError::channel_not_found()) }
    }
}
