//! What the answer says about how the master is reached.

use std::fmt;

/// One certificate fingerprint (RFC 8122).
#[derive(Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// The hash function.
    pub algorithm: HashAlgorithm,
    /// The digest, as long as the hash function says.
    pub digest: Vec<u8>,
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ", self.algorithm)?;
        self.digest.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

/// The hash functions of fingerprints that are compared (RFC 8122, section 5; MD5 and SHA-1 are not trusted).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashAlgorithm {
    /// `sha-256`, 32 bytes.
    Sha256,
    /// `sha-384`, 48 bytes.
    Sha384,
    /// `sha-512`, 64 bytes.
    Sha512,
}

/// Who begins the DTLS handshake, as the master sees it (RFC 5763, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// The master is the DTLS client; also what a missing attribute and `actpass` or `holdconn`, which no answer may have,
    /// are taken for: RFC 5763 recommends `active` to answerers.
    Active,
    /// The master waits for our ClientHello.
    Passive,
}

/// What reaching the master takes.
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteTransport {
    /// `a=ice-ufrag`.
    pub ice_ufrag: String,
    /// `a=ice-pwd`. A secret.
    pub ice_pwd: String,
    /// `a=ice-lite`: the master only answers checks.
    pub ice_lite: bool,
    /// Every usable fingerprint; the certificate must match one.
    pub fingerprints: Vec<Fingerprint>,
    /// Who begins the DTLS handshake.
    pub setup: Setup,
    /// Usable candidates, each beginning with `candidate:`, without repetition, in the order of the answer.
    pub candidates: Vec<String>,
}

impl fmt::Debug for RemoteTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteTransport")
            .field("ice_ufrag", &self.ice_ufrag)
            .field("ice_lite", &self.ice_lite)
            .field("fingerprints", &self.fingerprints)
            .field("setup", &self.setup)
            .field("candidates", &self.candidates)
            .finish_non_exhaustive()
    }
}
