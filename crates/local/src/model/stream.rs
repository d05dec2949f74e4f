//! [`Stream`]: a stream as the index keeps it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{ACCOUNT, Scope, Status, Transition};
use crate::error::ServiceError;

/// A stream of media.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stream {
    /// As text; unique for ever, because it holds the time of creation.
    pub arn: String,
    /// Unique among the streams of its region.
    pub name: String,
    /// That of the call that created it.
    pub region: String,
    /// Free text of the producer.
    pub device_name: Option<String>,
    /// Comma-separated media types.
    pub media_type: Option<String>,
    /// Key of the encryption at rest; kept and shown, nothing is encrypted.
    pub kms_key_id: String,
    /// 0 keeps nothing and acknowledges no fragment as persisted.
    pub retention_hours: u32,
    /// `HOT` or `WARM`.
    pub storage_tier: String,
    /// 20 letters and digits, new with each change.
    pub version: String,
    /// Creation, milliseconds since 1970.
    pub created_ms: u64,
    /// At most 50 keys with their values.
    pub tags: BTreeMap<String, String>,
    /// `ImageGenerationConfiguration`, as it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<Value>,
    /// `NotificationConfiguration`, as it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notifications: Option<Value>,
    /// What an edge agent would be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<EdgeConfiguration>,
    /// What it is in the middle of; `None`: it is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transition: Option<Transition>,
}

/// The edge configuration of a stream, and when it was given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EdgeConfiguration {
    /// `EdgeConfig`, as it was given.
    pub config: Value,
    /// The first time, milliseconds since 1970.
    pub created_ms: u64,
    /// The last time, milliseconds since 1970.
    pub updated_ms: u64,
}

impl Stream {
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
        if self.status().serves() { Ok(self) } else { Err(ServiceError::stream_not_found()) }
    }

    /// Region, name and creation, and the account unless it is the first: unique for ever. Where its fragments are kept.
    #[must_use]
    pub fn folder(&self) -> String {
        // names have up to 256 characters, a file name 255 bytes
        const LONGEST: usize = 150;
        let Self { name, created_ms, .. } = self;
        let Scope { account, region } = self.scope();
        // of the first account there was no other
        let region = if account == ACCOUNT { region } else { format!("{account}.{region}") };
        match name.get(..LONGEST) {
            None => format!("{region}.{name}.{created_ms}"),
            Some(start) => {
                let hash = hex::encode(&Sha256::digest(name)[..8]);
                format!("{region}.{start}.{hash}.{created_ms}")
            }
        }
    }
}
