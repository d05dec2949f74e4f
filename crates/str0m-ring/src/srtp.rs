//! Ciphers of SRTP: AES in counter mode (RFC 3711 section 4.1.1), whose code str0m makes, and AES-GCM (RFC 7714).

use aes::{
    Aes128, Aes256,
    cipher::{BlockCipherEncrypt, KeyInit, KeyIvInit, StreamCipher},
};
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, Nonce, Tag, UnboundKey};
use str0m::crypto::{
    AeadAes128GcmCipher, AeadAes256GcmCipher, Aes128CmSha1_80Cipher, CryptoError, SrtpProvider,
    SupportedAeadAes128Gcm, SupportedAeadAes256Gcm, SupportedAes128CmSha1_80,
};

use crate::Ring;

impl SrtpProvider for Ring {
    fn aes_128_cm_sha1_80(&self) -> &'static dyn SupportedAes128CmSha1_80 {
        &Ring
    }

    fn aead_aes_128_gcm(&self) -> &'static dyn SupportedAeadAes128Gcm {
        &Ring
    }

    fn aead_aes_256_gcm(&self) -> &'static dyn SupportedAeadAes256Gcm {
        &Ring
    }

    fn srtp_aes_128_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        block::<Aes128>(key, input, output);
    }

    fn srtp_aes_256_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        block::<Aes256>(key, input, output);
    }
}

/// Bytes of a block of AES.
const BLOCK: usize = 16;

/// One block, from which the keys of a session are derived.
///
/// # Panics
/// Key or block is of another length. They are arrays in str0m; with part of them media would have keys that anyone could guess.
fn block<C>(key: &[u8], input: &[u8], output: &mut [u8])
where
    C: KeyInit + BlockCipherEncrypt,
{
    let cipher = C::new_from_slice(key).ok();
    let block = input.get(..BLOCK).and_then(|input| input.try_into().ok());
    let (cipher, mut block): (C, aes::cipher::Block<C>) = cipher.zip(block).expect("key and block of AES");
    cipher.encrypt_block(&mut block);
    output[..BLOCK].copy_from_slice(&block);
}

struct CounterMode([u8; 16]);

impl std::fmt::Debug for CounterMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CounterMode").finish_non_exhaustive()
    }
}

impl SupportedAes128CmSha1_80 for Ring {
    fn create_cipher(&self, key: [u8; 16], _encrypt: bool) -> Box<dyn Aes128CmSha1_80Cipher> {
        Box::new(CounterMode(key))
    }
}

impl Aes128CmSha1_80Cipher for CounterMode {
    fn encrypt(&mut self, iv: &[u8; 16], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        let output = output.get_mut(..input.len()).ok_or_else(too_short)?;
        output.copy_from_slice(input);
        ctr::Ctr128BE::<Aes128>::new(&self.0.into(), &(*iv).into()).apply_keystream(output);
        Ok(())
    }

    /// The same once more gives what it was.
    fn decrypt(&mut self, iv: &[u8; 16], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        self.encrypt(iv, input, output)
    }
}

/// AES-GCM with a key of either length.
#[derive(Debug)]
struct Gcm(LessSafeKey);

impl Gcm {
    fn new(algorithm: &'static Algorithm, key: &[u8]) -> Box<Self> {
        let key = UnboundKey::new(algorithm, key).expect("the type of the key is of its algorithm's length");
        Box::new(Self(LessSafeKey::new(key)))
    }

    /// Leaves the tag behind what is encrypted.
    fn seal(&self, iv: &[u8; 12], aad: &[u8], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        let tag = self.0.algorithm().tag_len();
        let output = output.get_mut(..input.len() + tag).ok_or_else(too_short)?;
        let (data, behind) = output.split_at_mut(input.len());
        data.copy_from_slice(input);
        let nonce = Nonce::assume_unique_for_key(*iv);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(aad), data);
        let tag = tag.map_err(|_| CryptoError::Other("a packet of SRTP is too long".to_owned()))?;
        behind.copy_from_slice(tag.as_ref());
        Ok(())
    }

    fn open(
        &self,
        iv: &[u8; 12],
        aads: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        let length = input.len().checked_sub(self.0.algorithm().tag_len()).ok_or_else(too_short)?;
        let (data, tag) = input.split_at(length);
        let output = output.get_mut(..length).ok_or_else(too_short)?;
        output.copy_from_slice(data);
        let opened = Tag::try_from(tag).and_then(|tag| {
            let (nonce, aad) = (Nonce::assume_unique_for_key(*iv), Aad::from(aads.concat()));
            self.0.open_in_place_separate_tag(nonce, aad, tag, output, 0..).map(|_| length)
        });
        opened.map_err(|_| CryptoError::Other("a packet of SRTP is not authentic".to_owned()))
    }
}

fn too_short() -> CryptoError {
    CryptoError::Other("a packet of SRTP is shorter than its tag, or its buffer than the packet".to_owned())
}

impl SupportedAeadAes128Gcm for Ring {
    fn create_cipher(&self, key: [u8; 16], _encrypt: bool) -> Box<dyn AeadAes128GcmCipher> {
        Gcm::new(&AES_128_GCM, &key)
    }
}

impl SupportedAeadAes256Gcm for Ring {
    fn create_cipher(&self, key: [u8; 32], _encrypt: bool) -> Box<dyn AeadAes256GcmCipher> {
        Gcm::new(&AES_256_GCM, &key)
    }
}

macro_rules! gcm {
    ($cipher:ident) => {
        impl $cipher for Gcm {
            fn encrypt(
                &mut self,
                iv: &[u8; 12],
                aad: &[u8],
                input: &[u8],
                output: &mut [u8],
            ) -> Result<(), CryptoError> {
                self.seal(iv, aad, input, output)
            }

            fn decrypt(
                &mut self,
                iv: &[u8; 12],
                aads: &[&[u8]],
                input: &[u8],
                output: &mut [u8],
            ) -> Result<usize, CryptoError> {
                self.open(iv, aads, input, output)
            }
        }
    };
}

gcm!(AeadAes128GcmCipher);
gcm!(AeadAes256GcmCipher);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    /// RFC 3711 appendix B.2, and the derivation of a session's key in B.3.
    #[test]
    fn counter_mode_is_that_of_the_standard() {
        let key = hex("2b7e151628aed2a6abf7158809cf4f3c");
        let mut cipher = SupportedAes128CmSha1_80::create_cipher(&Ring, key, true);
        let iv = hex("f0f1f2f3f4f5f6f7f8f9fafbfcfd0000");
        let mut stream = [0; 48];
        cipher.encrypt(&iv, &[0; 48], &mut stream).unwrap();
        let expected = "e03ead0935c95e80e166b16dd92b4eb4d23513162b02d0f72a43a2fe4a5f97ab41e95b3bb0a2e8dd477901e4fca894c0";
        assert_eq!(stream, hex(expected));
        let mut back = [1; 48];
        cipher.decrypt(&iv, &stream, &mut back).unwrap();
        assert_eq!(back, [0; 48]);
        assert!(cipher.encrypt(&iv, &[0; 48], &mut [0; 47]).is_err());

        let (master, salt) = ("e1f97a0d3e018be0d64fa32c06de4139", "0ec675ad498afeebb6960b3aabe60000");
        let mut session = [0; 32];
        Ring.srtp_aes_128_ecb_round(&hex::<16>(master), &hex::<16>(salt), &mut session);
        assert_eq!(session[..16], hex::<16>("c61e7a93744f39ee10734afe3ff7a087"));
    }

    /// RFC 7714 section 16.1.1 and 16.2.1: the packet of the examples, with keys of both lengths.
    #[test]
    fn galois_counter_mode_is_that_of_the_standard() {
        let header: [u8; 12] = hex("8040f17b8041f8d35501a0b2");
        let iv = hex("51753c6580c2726f20718414");
        let text = b"Gallia est omnis divisa in partes tres";
        let short = "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce";
        let long = "32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b7aa3db36dfffd6b0f9bb7878d7a76c13";
        let mut sealed = [0; 54];
        let mut opened = [0; 38];

        let mut cipher =
            SupportedAeadAes128Gcm::create_cipher(&Ring, hex("000102030405060708090a0b0c0d0e0f"), true);
        cipher.encrypt(&iv, &header, text, &mut sealed).unwrap();
        assert_eq!(sealed, hex(short));
        assert_eq!(cipher.decrypt(&iv, &[&header[..5], &header[5..]], &sealed, &mut opened).unwrap(), 38);
        assert_eq!(opened, *text);
        sealed[3] ^= 1;
        assert!(cipher.decrypt(&iv, &[&header], &sealed, &mut opened).is_err());
        assert!(cipher.decrypt(&iv, &[&header], &sealed[..15], &mut opened).is_err());

        let key = hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
        let mut cipher = SupportedAeadAes256Gcm::create_cipher(&Ring, key, true);
        cipher.encrypt(&iv, &header, text, &mut sealed).unwrap();
        assert_eq!(sealed, hex(long));
        assert_eq!(cipher.decrypt(&iv, &[&header], &sealed, &mut opened).unwrap(), 38);
    }
}
