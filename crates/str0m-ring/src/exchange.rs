//! Agreements on a secret: X25519, P-256 and P-384.

use dimpl::{
    CryptoError, CryptoOperation,
    crypto::{ActiveKeyExchange, Buf, NamedGroup, SupportedKxGroup},
};
use ring::{
    agreement::{
        Algorithm, ECDH_P256, ECDH_P384, EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral,
    },
    rand::SystemRandom,
};

pub(crate) static GROUPS: &[&dyn SupportedKxGroup] = &[
    &Group { name: NamedGroup::X25519, algorithm: &X25519 },
    &Group { name: NamedGroup::Secp256r1, algorithm: &ECDH_P256 },
    &Group { name: NamedGroup::Secp384r1, algorithm: &ECDH_P384 },
];

#[derive(Debug)]
struct Group {
    name: NamedGroup,
    algorithm: &'static Algorithm,
}

impl SupportedKxGroup for Group {
    fn name(&self) -> NamedGroup {
        self.name
    }

    fn start_exchange(&self, mut public: Buf) -> Result<Box<dyn ActiveKeyExchange>, CryptoError> {
        let private = EphemeralPrivateKey::generate(self.algorithm, &SystemRandom::new())
            .map_err(|_| CryptoError::OperationFailed(CryptoOperation::GenerateEphemeralKey))?;
        let ours = private
            .compute_public_key()
            .map_err(|_| CryptoError::OperationFailed(CryptoOperation::ComputePublicKey))?;
        public.clear();
        public.extend_from_slice(ours.as_ref());
        Ok(Box::new(Exchange { group: self.name, private, public }))
    }
}

struct Exchange {
    group: NamedGroup,
    private: EphemeralPrivateKey,
    public: Buf,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").field("group", &self.group).finish_non_exhaustive()
    }
}

impl ActiveKeyExchange for Exchange {
    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn complete(self: Box<Self>, theirs: &[u8], secret: &mut Buf) -> Result<(), CryptoError> {
        let Self { group, private, public: _ } = *self;
        let theirs = UnparsedPublicKey::new(private.algorithm(), theirs);
        // A point that is not on the curve, and a secret of zeros (RFC 7748 section 6.1), are refused.
        agree_ephemeral(private, &theirs, |agreed| {
            secret.clear();
            secret.extend_from_slice(agreed);
        })
        .map_err(|_| CryptoError::InvalidPublicKey(group))
    }

    fn group(&self) -> NamedGroup {
        self.group
    }
}
