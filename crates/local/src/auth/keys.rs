//! [`AccessKey`] and the [`KeyRing`] of keys that may call.

use std::{
    collections::HashMap,
    fmt,
    str::FromStr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use rand::Rng;

use crate::model::ACCOUNT;

/// Temporary keys that are remembered, so that a caller learns that its key has ended. Of more, those that ended first are
/// forgotten.
const MAX_TEMPORARY: usize = 1000;

/// An access key id and its secret. `Debug` does not show the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey {
    id: String,
    secret: String,
    account: String,
}

impl AccessKey {
    /// A key from its two parts.
    pub fn new(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { id: id.into(), secret: secret.into(), account: ACCOUNT.to_owned() }
    }

    /// The same key, of this account of twelve digits.
    #[must_use]
    pub fn of_account(self, account: impl Into<String>) -> Self {
        Self { account: account.into(), ..self }
    }

    /// A random key of the usual shape.
    pub fn random() -> Self {
        Self::generate("AKIA")
    }

    fn generate(prefix: &str) -> Self {
        const ID: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        const SECRET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let mut rng = rand::rng();
        let mut draw = |letters: &[u8], count: usize| -> String {
            (0..count).map(|_| char::from(letters[rng.random_range(0..letters.len())])).collect()
        };
        Self::new(format!("{prefix}{}", draw(ID, 16)), draw(SECRET, 40))
    }

    /// The access key id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whose it is: twelve digits.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The secret; not for logs.
    pub fn secret(&self) -> &str {
        &self.secret
    }
}

impl FromStr for AccessKey {
    type Err = String;

    /// From `AKID:SECRET`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some((id, secret)) if !id.is_empty() && !secret.is_empty() => Ok(Self::new(id, secret)),
            _ => Err("expected AKID:SECRET".to_owned()),
        }
    }
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, account, secret: _ } = self;
        f.debug_struct("AccessKey")
            .field("id", id)
            .field("account", account)
            .field("secret", &"(redacted)")
            .finish()
    }
}

/// A key that ends, as STS gives them.
#[derive(Clone, PartialEq, Eq)]
pub struct TemporaryKey {
    /// What requests are signed with.
    pub key: AccessKey,
    /// What requests must carry as `X-Amz-Security-Token`; not for logs.
    pub token: String,
    /// Requests that come later are refused.
    pub ends: SystemTime,
}

impl fmt::Debug for TemporaryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TemporaryKey")
            .field("key", &self.key)
            .field("ends", &self.ends)
            .finish_non_exhaustive()
    }
}

/// The keys that may call: those configured, the page's own, and temporary ones.
#[derive(Debug, Clone)]
pub struct KeyRing {
    secrets: HashMap<String, AccessKey>,
    page: AccessKey,
    temporary: Arc<Mutex<HashMap<String, TemporaryKey>>>,
}

impl KeyRing {
    /// The configured keys plus a random one for the web page.
    pub fn new(configured: &[AccessKey]) -> Self {
        let page = AccessKey::random();
        let secrets = configured
            .iter()
            .chain(std::iter::once(&page))
            .map(|key| (key.id.clone(), key.clone()))
            .collect();
        Self { secrets, page, temporary: Arc::default() }
    }

    /// Makes a key of this account that ends.
    #[must_use]
    pub fn issue(&self, life: Duration, account: &str) -> TemporaryKey {
        let key = AccessKey::generate("ASIA").of_account(account);
        let token = AccessKey::random().secret + AccessKey::random().secret();
        let issued = TemporaryKey { key, token, ends: SystemTime::now() + life };
        let mut temporary = self.temporary.lock();
        if temporary.len() >= MAX_TEMPORARY
            && let Some(first) =
                temporary.values().min_by_key(|issued| issued.ends).map(|issued| issued.key.id.clone())
        {
            temporary.remove(&first);
        }
        temporary.insert(issued.key.id.clone(), issued.clone());
        issued
    }

    /// The temporary key with this id.
    pub fn temporary(&self, id: &str) -> Option<TemporaryKey> {
        self.temporary.lock().get(id).cloned()
    }

    /// The key with this id.
    pub fn get(&self, id: &str) -> Option<&AccessKey> {
        self.secrets.get(id)
    }

    /// The page's key pair, made at start.
    pub fn page(&self) -> &AccessKey {
        &self.page
    }
}
