//! Signatures of handshakes: ECDSA with P-256, and P-384 of the other side. Its certificate is held against the fingerprint in
//! its SDP by str0m; whose it is matters no further.

use dimpl::{
    CryptoError, CryptoOperation,
    crypto::{
        Buf, HashAlgorithm, KeyProvider, NamedGroup, SignatureAlgorithm, SignatureVerifier, SigningKey,
        check_verify_scheme,
    },
};
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA384_ASN1,
        ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, EcdsaKeyPair, UnparsedPublicKey,
        VerificationAlgorithm,
    },
};
use x509_parser::{
    oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384},
    parse_x509_certificate,
};

use crate::Ring;

#[derive(Debug)]
struct P256(EcdsaKeyPair);

impl SigningKey for P256 {
    fn sign(&mut self, data: &[u8], hash: HashAlgorithm, out: &mut Buf) -> Result<(), CryptoError> {
        let key_hash = self.hash_algorithm();
        if hash != key_hash {
            return Err(CryptoError::SigningKeyHashMismatch { key_hash, requested: hash });
        }
        let signature = self
            .0
            .sign(&SystemRandom::new(), data)
            .map_err(|_| CryptoError::OperationFailed(CryptoOperation::Sign))?;
        out.clear();
        out.extend_from_slice(signature.as_ref());
        Ok(())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }

    fn hash_algorithm(&self) -> HashAlgorithm {
        HashAlgorithm::SHA256
    }

    fn supported_hash_algorithms(&self) -> &[HashAlgorithm] {
        &[HashAlgorithm::SHA256]
    }
}

impl KeyProvider for Ring {
    /// Takes PKCS#8 of P-256, which is what our own certificates have.
    fn load_private_key(&self, key: &[u8]) -> Result<Box<dyn SigningKey>, CryptoError> {
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key, &SystemRandom::new())
            .map(|key| Box::new(P256(key)) as _)
            .map_err(|_| CryptoError::InvalidPrivateKey)
    }
}

impl SignatureVerifier for Ring {
    fn verify_signature(
        &self,
        certificate: &[u8],
        data: &[u8],
        signed: &[u8],
        hash: HashAlgorithm,
        signature: SignatureAlgorithm,
    ) -> Result<(), CryptoError> {
        let (_, certificate) =
            parse_x509_certificate(certificate).map_err(|_| CryptoError::CertificateParseFailed)?;
        let key = certificate.public_key();
        if key.algorithm.algorithm != OID_KEY_TYPE_EC_PUBLIC_KEY {
            return Err(CryptoError::UnsupportedPublicKeyAlgorithm);
        }
        let curve = key.algorithm.parameters.as_ref().ok_or(CryptoError::MissingEcCurveParameter)?;
        let curve = curve.as_oid().map_err(|_| CryptoError::InvalidEcCurveParameter)?;
        let group = if curve == OID_EC_P256 {
            NamedGroup::Secp256r1
        } else if curve == OID_NIST_EC_P384 {
            NamedGroup::Secp384r1
        } else {
            return Err(CryptoError::UnsupportedEcCurve);
        };
        check_verify_scheme(signature, hash, group)?;
        let algorithm: &dyn VerificationAlgorithm = match (group, hash) {
            (NamedGroup::Secp256r1, HashAlgorithm::SHA256) => &ECDSA_P256_SHA256_ASN1,
            (NamedGroup::Secp256r1, HashAlgorithm::SHA384) => &ECDSA_P256_SHA384_ASN1,
            (NamedGroup::Secp384r1, HashAlgorithm::SHA256) => &ECDSA_P384_SHA256_ASN1,
            (NamedGroup::Secp384r1, HashAlgorithm::SHA384) => &ECDSA_P384_SHA384_ASN1,
            _ => return Err(CryptoError::UnsupportedSignatureVerification { signature, hash, group }),
        };
        UnparsedPublicKey::new(algorithm, &key.subject_public_key.data)
            .verify(data, signed)
            .map_err(|_| CryptoError::SignatureVerificationFailed { signature, hash, group })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::certificate::generate;

    #[test]
    fn what_our_certificate_signs_is_verified_by_it_alone() {
        let (ours, others) = (generate().unwrap(), generate().unwrap());
        let mut key = Ring.load_private_key(&ours.private_key).unwrap();
        let mut signed = Buf::new();
        key.sign(b"handshake", HashAlgorithm::SHA256, &mut signed).unwrap();
        let verify = |certificate: &[u8], data: &[u8], signed: &[u8]| {
            Ring.verify_signature(certificate, data, signed, HashAlgorithm::SHA256, SignatureAlgorithm::ECDSA)
        };
        verify(&ours.certificate, b"handshake", &signed).unwrap();
        for (certificate, data, signed) in [
            (&others.certificate[..], &b"handshake"[..], &signed[..]),
            (&ours.certificate, b"handshakes", &signed),
            (&ours.certificate, b"handshake", &signed[..signed.len() - 1]),
            (&ours.certificate[..100], b"handshake", &signed),
        ] {
            assert!(verify(certificate, data, signed).is_err());
        }
    }

    #[test]
    fn no_certificate_makes_it_panic() {
        let certificate = generate().unwrap().certificate;
        for at in 0..certificate.len() {
            for bit in 0..8 {
                let mut changed = certificate.clone();
                changed[at] ^= 1 << bit;
                let refused = Ring.verify_signature(
                    &changed,
                    b"",
                    &[],
                    HashAlgorithm::SHA256,
                    SignatureAlgorithm::ECDSA,
                );
                assert!(refused.is_err());
            }
        }
    }
}
