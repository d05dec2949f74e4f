//! Certificate fingerprints as text (RFC 8122, section 5).

use crate::sdp::transport::{Fingerprint, HashAlgorithm};
use crate::sdp::words::{is_blank, printable};

/// Reads `sha-256 AA:BB:…`: names and digits in any case, with or without colons.
///
/// # Errors
///
/// What there is instead, in words for a person: a hash function that is not trusted or not known, or a digest of
/// another length.
pub(super) fn read_fingerprint(value: &str) -> Result<Fingerprint, String> {
    let mut words = value.split(is_blank).filter(|word| !word.is_empty());
    let name = words.next().unwrap_or_default();
    let (algorithm, length) = match name.to_ascii_lowercase().as_str() {
        "sha-256" | "sha256" => (HashAlgorithm::Sha256, 32),
        "sha-384" | "sha384" => (HashAlgorithm::Sha384, 48),
        "sha-512" | "sha512" => (HashAlgorithm::Sha512, 64),
        _ => return Err(format!("fingerprint of {}", printable(name))),
    };
    let mut digest = Vec::with_capacity(length);
    let mut half = None;
    for character in words.flat_map(str::chars).filter(|character| *character != ':') {
        let Some(digit) = character.to_digit(16) else {
            return Err(format!("fingerprint of {} that is not hexadecimal", printable(name)));
        };
        match half.take() {
            None => half = Some(digit),
            Some(high) => digest.push((high << 4 | digit) as u8),
        }
        if digest.len() > length {
            break;
        }
    }
    if digest.len() != length || half.is_some() {
        return Err(format!("fingerprint of {} that has not {length} bytes", printable(name)));
    }
    Ok(Fingerprint { algorithm, digest })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn any_case_and_every_trusted_hash() {
        for (name, algorithm, length) in [
            ("sha-256", HashAlgorithm::Sha256, 32),
            ("SHA-384", HashAlgorithm::Sha384, 48),
            ("Sha512", HashAlgorithm::Sha512, 64),
        ] {
            let colons = vec!["aB"; length].join(":");
            for digits in [colons.clone(), colons.to_uppercase(), colons.replace(':', "")] {
                let read = read_fingerprint(&format!("{name}  {digits} ")).unwrap();
                assert_eq!(read, Fingerprint { algorithm, digest: vec![0xab; length] });
            }
        }
    }

    #[test]
    fn what_is_no_fingerprint_says_what_it_is() {
        let colons = vec!["AB"; 32].join(":");
        for (value, why) in [
            (String::new(), "fingerprint of "),
            ("md5 00:11".to_owned(), "fingerprint of md5"),
            ("sha-1 00:11".to_owned(), "fingerprint of sha-1"),
            ("sha-256 00:11".to_owned(), "has not 32 bytes"),
            (format!("sha-256 {colons}:AB"), "has not 32 bytes"),
            (format!("sha-256 {colons}A"), "has not 32 bytes"),
            (format!("sha-256 {colons}:XY"), "not hexadecimal"),
        ] {
            let said = read_fingerprint(&value).unwrap_err();
            assert!(said.contains(why), "{value}: {said}");
        }
    }
}
