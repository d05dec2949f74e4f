//! The rules of `spec.outputs`.

use crate::errors::Errors;
use crate::output::{OutputSpec, RtmpSpec};
use crate::references::{CaBundleRef, SecretKeyRef};

/// Each is an upload of its own over the node's uplink, with a buffer in the agent's memory, and has a condition: a status holds
/// sixteen.
const MAX_OUTPUTS: usize = 4;
/// What goes to `spec.stream`.
const RESERVED: &str = "kvs";
const MAX_URL: usize = 1024;

/// `path`: `spec.outputs`.
pub(crate) fn outputs(errors: &mut Errors, path: &str, outputs: &[OutputSpec]) {
    if outputs.len() > MAX_OUTPUTS {
        errors.add(path, format!("{} outputs are more than {MAX_OUTPUTS}", outputs.len()));
    }
    for (index, OutputSpec { name, required: _, rtmp }) in outputs.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if !is_label(name) {
            let words = "a name is 1 to 63 of a-z 0-9 - that begin and end with a letter or digit";
            errors.add(format!("{path}.name"), words);
        } else if name == RESERVED {
            let words = "kvs is what goes to spec.stream: name the output otherwise";
            errors.add(format!("{path}.name"), words);
        } else if outputs[..index].iter().any(|other| other.name == *name) {
            errors.add(format!("{path}.name"), format!("{name:?} is there already"));
        }
        match rtmp {
            Some(spec) => rtmp_output(errors, &format!("{path}.rtmp"), spec),
            None => errors.add(path, "an output has its kind: rtmp"),
        }
    }
}

fn rtmp_output(errors: &mut Errors, path: &str, spec: &RtmpSpec) {
    let RtmpSpec { url, url_secret_ref, stream_key_secret_ref, ca_bundle_ref, silence: _ } = spec;
    match (url, url_secret_ref) {
        (None, None) => errors.add(path, "exactly one of url, urlSecretRef: neither is set"),
        (Some(_), Some(_)) => errors.add(path, "exactly one of url, urlSecretRef: both are set"),
        (Some(url), None) => {
            // The URL is not quoted: a key may stand in it, where none should.
            if let Some(wrong) = wrong_url(url) {
                errors.add(format!("{path}.url"), wrong);
            } else if stream_key_secret_ref.is_none() && segments(url) < 2 {
                let words = "without streamKeySecretRef the URL ends with the name of the stream: rtmp://HOST/APP/NAME";
                errors.add(format!("{path}.url"), words);
            }
        }
        (None, Some(_)) => {}
    }
    for (field, reference) in
        [("urlSecretRef", url_secret_ref), ("streamKeySecretRef", stream_key_secret_ref)]
    {
        if let Some(SecretKeyRef { name, key }) = reference {
            errors.reference(&format!("{path}.{field}"), "Secret", name, key);
        }
    }
    if let Some(CaBundleRef { name, key }) = ca_bundle_ref {
        errors.reference(&format!("{path}.caBundleRef"), "ConfigMap", name, key);
    }
}

/// A DNS label (RFC 1123).
fn is_label(text: &str) -> bool {
    let outer = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    bytes.len() <= 63 && bytes.iter().all(plain) && outer(bytes.first()) && outer(bytes.last())
}

/// What is wrong with a URL, in words that do not hold it. The definition has the same as a regular expression.
fn wrong_url(url: &str) -> Option<&'static str> {
    const SHAPE: &str = "it is not rtmp://HOST[:PORT]/APP or rtmps://HOST[:PORT]/APP";
    if url.len() > MAX_URL {
        return Some("it has more than 1024 characters");
    }
    let Some((scheme, rest)) = url.split_once("://") else { return Some(SHAPE) };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    if authority.contains('@') {
        return Some("user and password have no place here: give the whole URL by urlSecretRef");
    }
    let path = &rest[authority.len()..];
    let fits = ["rtmp", "rtmps"].contains(&scheme) && is_authority(authority) && is_path(path);
    (!fits).then_some(SHAPE)
}

fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else { return false };
            let plain = |byte: u8| byte.is_ascii_hexdigit() || b":.".contains(&byte);
            if address.is_empty() || !address.bytes().all(plain) {
                return false;
            }
            match port.strip_prefix(':') {
                Some(port) => ("", Some(port)),
                None if port.is_empty() => ("", None),
                None => return false,
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let outer = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let bytes = host.as_bytes();
    let named = bytes.iter().copied().all(inner) && outer(bytes.first()) && outer(bytes.last());
    let is_port = |port: &str| {
        let digits = port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
        digits && port.parse::<u16>().is_ok()
    };
    (text.starts_with('[') || named) && port.is_none_or(is_port)
}

/// An application at least, no part of it empty, but that one `/` may stand at the end.
fn is_path(text: &str) -> bool {
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let printable = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    let Some(parts) = path.strip_prefix('/') else { return false };
    let parts = parts.strip_suffix('/').unwrap_or(parts);
    printable(text) && printable(query) && parts.split('/').all(|part| !part.is_empty())
}

/// Parts of the path: the application, and what follows it.
fn segments(url: &str) -> usize {
    let path = url.split('?').next().unwrap_or(url);
    path.split('/').filter(|part| !part.is_empty()).count().saturating_sub(2)
}
