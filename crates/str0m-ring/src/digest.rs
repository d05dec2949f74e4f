//! Hashes, codes made with them, and chance.

use dimpl::{
    CryptoError, CryptoOperation,
    crypto::{Buf, HashAlgorithm, HashContext, HashProvider, HmacProvider, SecureRandom},
};
use ring::{
    digest::{self, Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384},
    hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA256, HMAC_SHA384},
    rand::{self, SystemRandom},
};
use str0m::crypto::{Sha1HmacProvider, Sha1Provider, Sha256Provider};

use crate::Ring;

/// As many bytes as the algorithm gives.
fn bytes<const N: usize>(from: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(from);
    bytes
}

impl Sha1Provider for Ring {
    fn sha1(&self, data: &[u8]) -> [u8; 20] {
        bytes(digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, data).as_ref())
    }
}

impl Sha256Provider for Ring {
    fn sha256(&self, data: &[u8]) -> [u8; 32] {
        bytes(digest::digest(&SHA256, data).as_ref())
    }
}

impl Sha1HmacProvider for Ring {
    fn sha1_hmac(&self, key: &[u8], payloads: &[&[u8]]) -> [u8; 20] {
        let mut code = hmac::Context::with_key(&hmac::Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, key));
        payloads.iter().for_each(|payload| code.update(payload));
        bytes(code.sign().as_ref())
    }
}

struct Hash(Context);

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hash").finish_non_exhaustive()
    }
}

impl HashContext for Hash {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn clone_and_finalize(&self, out: &mut Buf) {
        out.clear();
        out.extend_from_slice(self.0.clone().finish().as_ref());
    }
}

impl HashProvider for Ring {
    fn create_hash(&self, algorithm: HashAlgorithm) -> Box<dyn HashContext> {
        // The cipher suites ask for these two alone. With a third the handshake would fail.
        let algorithm = if algorithm == HashAlgorithm::SHA384 { &SHA384 } else { &SHA256 };
        Box::new(Hash(Context::new(algorithm)))
    }
}

impl HmacProvider for Ring {
    fn hmac(
        &self,
        hash: HashAlgorithm,
        key: &[u8],
        data: &[u8],
        out: &mut [u8],
    ) -> Result<usize, CryptoError> {
        let algorithm = match hash {
            HashAlgorithm::SHA256 => HMAC_SHA256,
            HashAlgorithm::SHA384 => HMAC_SHA384,
            _ => return Err(CryptoError::UnsupportedHmacHash(hash)),
        };
        let code = hmac::sign(&hmac::Key::new(algorithm, key), data);
        let code = code.as_ref();
        let out = out.get_mut(..code.len());
        out.ok_or(CryptoError::OperationFailed(CryptoOperation::ComputeHmac))?.copy_from_slice(code);
        Ok(code.len())
    }
}

impl SecureRandom for Ring {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), CryptoError> {
        rand::SecureRandom::fill(&SystemRandom::new(), buffer)
            .map_err(|_| CryptoError::OperationFailed(CryptoOperation::FillRandom))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_standards() {
        let hex = |text| hex::decode(text).unwrap();
        // FIPS 180-4, "abc"
        assert_eq!(Ring.sha1(b"abc")[..], hex("a9993e364706816aba3e25717850c26c9cd0d89d"));
        let expected = hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(Ring.sha256(b"abc")[..], expected);
        // RFC 2202 section 3, test case 2, in two pieces
        let code = Ring.sha1_hmac(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(code[..], hex("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"));
    }
}
