//! [`TurnCredentials`]: time-limited TURN credentials in the shape of the real service's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use rand::Rng;
use sha2::Sha256;

/// A username and its password.
#[derive(Clone, PartialEq, Eq)]
pub struct TurnCredential {
    /// `<unix expiry>:<base64 of "v1:" and the channel's ARN>`
    pub username: String,
    /// Base64 of an HMAC over the username.
    pub password: String,
}

/// Makes credentials, and knows the password of those that have not expired. The secret is made at start.
#[derive(Clone)]
pub struct TurnCredentials {
    secret: [u8; 32],
    ttl: Duration,
}

impl TurnCredentials {
    pub(super) fn new(ttl: Duration) -> Self {
        Self { secret: rand::rng().random(), ttl }
    }

    /// How long a new credential lives.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// A new credential.
    pub fn issue(&self, channel_arn: &str, now: SystemTime) -> TurnCredential {
        let expiry = seconds(now + self.ttl);
        let username = format!("{expiry}:{}", STANDARD.encode(format!("v1:{channel_arn}")));
        TurnCredential { password: self.password(&username), username }
    }

    /// Whether the username's time is not over. `None` when it is not one of ours by its shape.
    pub(super) fn is_current(&self, username: &str, now: SystemTime) -> Option<bool> {
        let (expiry, _) = username.split_once(':')?;
        Some(expiry.parse::<u64>().ok()? > seconds(now))
    }

    /// The ARN of the channel that a username is for. `None` when it is not one of ours by its shape.
    pub(super) fn channel(username: &str) -> Option<String> {
        let decoded = STANDARD.decode(username.split_once(':')?.1).ok()?;
        String::from_utf8(decoded).ok()?.strip_prefix("v1:").map(str::to_owned)
    }

    #[allow(clippy::expect_used)]
    pub(super) fn password(&self, username: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("HMAC takes keys of any length");
        mac.update(username.as_bytes());
        STANDARD.encode(mac.finalize().into_bytes())
    }
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn credentials_have_the_service_s_shape_and_expire() {
        let turn = TurnCredentials::new(Duration::from_secs(300));
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let issued = turn.issue("arn:aws:kinesisvideo:us-east-1:000000000000:channel/c/1700000000000", now);
        assert!(issued.username.starts_with("1700000300:"));
        assert!(issued.password.ends_with('=') && issued.username.len() < 256);
        assert_eq!(turn.is_current(&issued.username, now + Duration::from_secs(299)), Some(true));
        assert_eq!(turn.is_current(&issued.username, now + Duration::from_secs(300)), Some(false));
        assert_eq!(turn.is_current("nonsense", now), None);
        let arn = TurnCredentials::channel(&issued.username);
        assert_eq!(
            arn.as_deref(),
            Some("arn:aws:kinesisvideo:us-east-1:000000000000:channel/c/1700000000000")
        );
        assert_eq!(TurnCredentials::channel("1700000300:nonsense"), None);
    }
}
