//! [`PageTokens`]: `NextToken`s that only this server can have given, each for the listing that it was given in.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use rand::Rng;
use serde::{Serialize, de::DeserializeOwned};
use sha2::Sha256;

use crate::{error::ServiceError, members::Members};

/// Bytes of the signature in a token.
const SIGNATURE: usize = 16;

/// Makes tokens and knows its own. The secret is made at start: a listing does not go on over a restart.
pub struct PageTokens {
    secret: [u8; 32],
}

impl std::fmt::Debug for PageTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PageTokens").finish_non_exhaustive()
    }
}

impl Default for PageTokens {
    fn default() -> Self {
        Self { secret: rand::rng().random() }
    }
}

impl PageTokens {
    /// A token for the next page of this listing, which goes on at `position`. Base64, as the service's are.
    pub fn issue(&self, listing: &str, position: &impl Serialize) -> Result<String, ServiceError> {
        let position = serde_json::to_vec(position).map_err(ServiceError::internal)?;
        let signature = self.mac(listing, &position).finalize().into_bytes();
        Ok(STANDARD.encode([&signature[..SIGNATURE], &position].concat()))
    }

    /// The position of a token that was given for this listing.
    ///
    /// # Errors
    /// `InvalidArgumentException` that names the member.
    pub fn redeem<T: DeserializeOwned>(
        &self,
        members: &Members,
        listing: &str,
        token: &str,
    ) -> Result<T, ServiceError> {
        let position = STANDARD.decode(token).ok().and_then(|bytes| {
            let (signature, position) = bytes.split_at_checked(SIGNATURE)?;
            self.mac(listing, position).verify_truncated_left(signature).ok()?;
            serde_json::from_slice(position).ok()
        });
        position.ok_or_else(|| members.invalid(NEXT_TOKEN, "was not given by this service for this list"))
    }

    #[allow(clippy::expect_used)]
    fn mac(&self, listing: &str, position: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("HMAC takes keys of any length");
        mac.update(&(listing.len() as u64).to_be_bytes());
        mac.update(listing.as_bytes());
        mac.update(position);
        mac
    }
}

const NEXT_TOKEN: &str = "NextToken";

/// `NextToken` of the control plane's lists: up to 1024 characters, and an empty one is none.
///
/// # Errors
/// `InvalidArgumentException`.
pub(crate) fn next_token(members: &Members) -> Result<Option<&str>, ServiceError> {
    let base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    let token = members.text(NEXT_TOKEN, 0..=1024, base64, "[a-zA-Z0-9+/=]*")?;
    Ok(token.filter(|token| !token.is_empty()))
}

/// `NextToken` of a list that always fits in one page: no token was ever given.
///
/// # Errors
/// `InvalidArgumentException` when there is one.
pub(crate) fn no_token(members: &Members) -> Result<(), ServiceError> {
    match next_token(members)? {
        None => Ok(()),
        Some(_) => Err(members.invalid(NEXT_TOKEN, "was not given by this service for this list")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_of_its_listing_and_of_nobody_else() {
        let (tokens, members) = (PageTokens::default(), Members::default());
        let token = tokens.issue("streams", &("a".repeat(256), 7)).unwrap();
        assert!(token.len() <= 1024);
        let redeem = |tokens: &PageTokens, listing: &str, token: &str| {
            tokens.redeem::<(String, u64)>(&members, listing, token).map_err(|error| error.message)
        };
        assert_eq!(redeem(&tokens, "streams", &token), Ok(("a".repeat(256), 7)));
        // Its signature begins with another character.
        let first = if token.starts_with('A') { 'B' } else { 'A' };
        for (tokens, listing, token) in [
            (&tokens, "channels", token.as_str()),
            (&tokens, "streams", ""),
            (&tokens, "streams", "bWluZQ=="),
            (&tokens, "streams", "%"),
            (&tokens, "streams", &format!("{first}{}", &token[1..])),
            (&PageTokens::default(), "streams", &token),
        ] {
            assert!(redeem(tokens, listing, token).unwrap_err().starts_with("NextToken: "), "{token}");
        }
    }
}
