//! Ciphers of DTLS records: AES-GCM and ChaCha20-Poly1305.

use aes::{
    Aes128,
    cipher::{BlockCipherEncrypt, KeyInit},
};
use dimpl::{
    CryptoError, CryptoOperation,
    crypto::{
        Aad, Buf, Cipher, Dtls12CipherSuite, Dtls13CipherSuite, HashAlgorithm, Nonce,
        SupportedDtls12CipherSuite, SupportedDtls13CipherSuite, TmpBuf,
    },
};
use ring::aead::{self, AES_128_GCM, AES_256_GCM, Algorithm, CHACHA20_POLY1305, LessSafeKey, UnboundKey};

pub(crate) static SUITES: &[&dyn SupportedDtls12CipherSuite] = &[
    &Suite {
        suite: Dtls12CipherSuite::ECDHE_ECDSA_AES128_GCM_SHA256,
        hash: HashAlgorithm::SHA256,
        algorithm: &AES_128_GCM,
        explicit_nonce: 8,
    },
    &Suite {
        suite: Dtls12CipherSuite::ECDHE_ECDSA_AES256_GCM_SHA384,
        hash: HashAlgorithm::SHA384,
        algorithm: &AES_256_GCM,
        explicit_nonce: 8,
    },
    &Suite {
        suite: Dtls12CipherSuite::ECDHE_ECDSA_CHACHA20_POLY1305_SHA256,
        hash: HashAlgorithm::SHA256,
        algorithm: &CHACHA20_POLY1305,
        explicit_nonce: 0,
    },
];

/// dimpl will not have a provider without one. Connections are of DTLS 1.2 (`dtls.rs`).
pub(crate) static SUITES_13: &[&dyn SupportedDtls13CipherSuite] = &[&Aes128GcmSha256];

#[derive(Debug)]
struct Suite {
    suite: Dtls12CipherSuite,
    hash: HashAlgorithm,
    algorithm: &'static Algorithm,
    /// Bytes of the nonce that are in each record (RFC 5288 section 3, RFC 7905 section 2). The rest is of the handshake.
    explicit_nonce: usize,
}

impl SupportedDtls12CipherSuite for Suite {
    fn suite(&self) -> Dtls12CipherSuite {
        self.suite
    }

    fn hash_algorithm(&self) -> HashAlgorithm {
        self.hash
    }

    fn key_lengths(&self) -> (usize, usize, usize) {
        (0, self.algorithm.key_len(), self.algorithm.nonce_len() - self.explicit_nonce)
    }

    fn explicit_nonce_len(&self) -> usize {
        self.explicit_nonce
    }

    fn tag_len(&self) -> usize {
        self.algorithm.tag_len()
    }

    fn create_cipher(&self, key: &[u8]) -> Result<Box<dyn Cipher>, CryptoError> {
        cipher(self.algorithm, key)
    }
}

#[derive(Debug)]
struct Aes128GcmSha256;

impl SupportedDtls13CipherSuite for Aes128GcmSha256 {
    fn suite(&self) -> Dtls13CipherSuite {
        Dtls13CipherSuite::AES_128_GCM_SHA256
    }

    fn hash_algorithm(&self) -> HashAlgorithm {
        HashAlgorithm::SHA256
    }

    fn key_len(&self) -> usize {
        AES_128_GCM.key_len()
    }

    fn iv_len(&self) -> usize {
        AES_128_GCM.nonce_len()
    }

    fn tag_len(&self) -> usize {
        AES_128_GCM.tag_len()
    }

    fn create_cipher(&self, key: &[u8]) -> Result<Box<dyn Cipher>, CryptoError> {
        cipher(&AES_128_GCM, key)
    }

    fn encrypt_sn(&self, key: &[u8], sample: &[u8; 16]) -> [u8; 16] {
        let mut mask = (*sample).into();
        // No key of another length is derived for this suite.
        if let Ok(cipher) = Aes128::new_from_slice(key) {
            cipher.encrypt_block(&mut mask);
        }
        mask.into()
    }
}

fn cipher(algorithm: &'static Algorithm, key: &[u8]) -> Result<Box<dyn Cipher>, CryptoError> {
    let key = UnboundKey::new(algorithm, key)
        .map_err(|_| CryptoError::OperationFailed(CryptoOperation::CreateCipher))?;
    Ok(Box::new(Records(LessSafeKey::new(key))))
}

#[derive(Debug)]
struct Records(LessSafeKey);

impl Cipher for Records {
    fn encrypt(&mut self, record: &mut Buf, aad: Aad, nonce: Nonce) -> Result<(), CryptoError> {
        let nonce = aead::Nonce::assume_unique_for_key(nonce.0);
        self.0
            .seal_in_place_append_tag(nonce, aead::Aad::from(&aad[..]), record)
            .map_err(|_| CryptoError::OperationFailed(CryptoOperation::Encrypt))
    }

    fn decrypt(&mut self, record: &mut TmpBuf, aad: Aad, nonce: Nonce) -> Result<(), CryptoError> {
        let nonce = aead::Nonce::assume_unique_for_key(nonce.0);
        let length = self
            .0
            .open_in_place(nonce, aead::Aad::from(&aad[..]), record.as_mut())
            .map_err(|_| CryptoError::OperationFailed(CryptoOperation::Decrypt))?
            .len();
        record.truncate(length);
        Ok(())
    }
}
