//! [`AccessKey`] and the [`KeyRing`] of keys that may call.

use std::{collections::HashMap, fmt};

use rand::Rng;

/// An access key id and its secret. `Debug` does not show the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey {
    id: String,
    secret: String,
}

impl AccessKey {
    /// A key from its two parts.
    pub fn new(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { id: id.into(), secret: secret.into() }
    }

    /// A random key of the usual shape.
    pub fn random() -> Self {
        const ID: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        const SECRET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let mut rng = rand::rng();
        let mut draw = |letters: &[u8], count: usize| -> String {
            (0..count).map(|_| char::from(letters[rng.random_range(0..letters.len())])).collect()
        };
        Self { id: format!("AKIA{}", draw(ID, 16)), secret: draw(SECRET, 40) }
    }

    /// The access key id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The secret; not for logs.
    pub fn secret(&self) -> &str {
        &self.secret
    }
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKey").field("id", &self.id).field("secret", &"(redacted)").finish()
    }
}

/// The keys that may call: those configured and the page's own.
#[derive(Debug, Clone)]
pub struct KeyRing {
    secrets: HashMap<String, AccessKey>,
    page: AccessKey,
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
        Self { secrets, page }
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
