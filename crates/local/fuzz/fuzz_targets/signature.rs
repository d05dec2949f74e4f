#![no_main]
//! Any text as path, query and `Authorization` of a request: `path \n query \n header`. Nobody gets in without the secret.

use std::time::SystemTime;

use http::{HeaderMap, HeaderValue, header};
use kvs_local::auth::{AccessKey, KeyRing, PayloadHash, Request, verify};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.splitn(3, '\n');
    let (path, query) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1:8440"));
    if let Some(value) = lines.next().and_then(|line| HeaderValue::from_str(line).ok()) {
        headers.insert(header::AUTHORIZATION, value);
    }
    let keys = KeyRing::new(&[AccessKey::new("AKID", "the fuzzer does not guess this")]);
    let request = Request { method: "POST", path, query, headers: &headers, payload: PayloadHash::Body(b"") };
    assert!(verify(&request, &keys, SystemTime::now()).is_err());
});
