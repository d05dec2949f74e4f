//! The canonical request of Signature Version 4 (IAM user guide, "Create a signed AWS API request").

use http::HeaderMap;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Everything but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// As [`RESERVED`], with the slash between path segments left alone.
const PATH: &AsciiSet = &RESERVED.remove(b'/');

/// The path as every service but S3 signs it: the path as sent, encoded once more.
pub(super) fn path(raw: &str) -> String {
    if raw.is_empty() { "/".to_owned() } else { utf8_percent_encode(raw, PATH).to_string() }
}

/// Name and value pairs of a raw query, percent-decoded. A `+` is a plus sign.
pub(super) fn query_pairs(raw: &str) -> Vec<(String, String)> {
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    raw.split('&')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (decode(name), decode(value))
        })
        .collect()
}

/// The query without its signature, encoded per RFC 3986 and sorted by name, then value.
pub(super) fn query(pairs: &[(String, String)]) -> String {
    let encode = |text: &str| utf8_percent_encode(text, RESERVED).to_string();
    let mut encoded: Vec<_> = pairs
        .iter()
        .filter(|(name, _)| name != "X-Amz-Signature")
        .map(|(name, value)| (encode(name), encode(value)))
        .collect();
    encoded.sort();
    encoded.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// The `name:value` lines of the signed headers, in the order in which the caller lists them, each ended by a newline.
/// `None` when a signed header was not sent.
pub(super) fn headers(signed: &[&str], sent: &HeaderMap, host: &str) -> Option<String> {
    let mut lines = String::new();
    for name in signed {
        let value = if *name == "host" { host.to_owned() } else { header(sent, name)? };
        lines.push_str(name);
        lines.push(':');
        lines.push_str(&value);
        lines.push('\n');
    }
    Some(lines)
}

/// A header's values, trimmed, inner runs of blanks folded to one, several joined by commas.
fn header(sent: &HeaderMap, name: &str) -> Option<String> {
    let values: Vec<String> = sent
        .get_all(name)
        .iter()
        .map(|value| {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            text.split([' ', '\t']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
        })
        .collect();
    (!values.is_empty()).then(|| values.join(","))
}
