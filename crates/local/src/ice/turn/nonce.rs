//! [`Nonces`]: nonces that are known again without being kept (RFC 8489 section 9.2).

use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// A nonce is good in the span of time that it is from, and in the next.
const SPAN: Duration = Duration::from_secs(1800);

/// Makes nonces: the number of a span of time and a code that nobody else can make. Who has no credential leaves nothing
/// behind, however often he asks.
pub(super) struct Nonces {
    secret: [u8; 32],
    start: Instant,
}

impl Nonces {
    pub(super) fn new(secret: [u8; 32], start: Instant) -> Self {
        Self { secret, start }
    }

    fn span(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_secs() / SPAN.as_secs()
    }

    #[allow(clippy::expect_used)]
    fn of(&self, span: u64) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("HMAC takes keys of any length");
        mac.update(&span.to_be_bytes());
        let code = hex::encode(&mac.finalize().into_bytes()[..12]);
        format!("{span:x}-{code}")
    }

    pub(super) fn current(&self, now: Instant) -> String {
        self.of(self.span(now))
    }

    pub(super) fn is_good(&self, nonce: &str, now: Instant) -> bool {
        let span = self.span(now);
        nonce == self.of(span) || span.checked_sub(1).is_some_and(|before| nonce == self.of(before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_good_for_half_an_hour_at_least_and_an_hour_at_most() {
        let start = Instant::now();
        let nonces = Nonces::new([7; 32], start);
        let made = start + Duration::from_secs(1000);
        let nonce = nonces.current(made);
        assert!(nonces.is_good(&nonce, made) && nonces.is_good(&nonce, made + SPAN));
        assert!(!nonces.is_good(&nonce, made + 2 * SPAN));
        assert!(!nonces.is_good("0-00", made));
        assert!(!Nonces::new([8; 32], start).is_good(&nonce, made));
    }
}
