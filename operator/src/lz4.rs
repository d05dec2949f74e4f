//! JSON compressed with LZ4 and a dictionary: what waits or is cached by the ten thousand.

use lz4_flex::block::{compress_prepend_size_with_dict, decompress_size_prepended_with_dict};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What most objects say. Any text will do; the more alike, the smaller.
const DICTIONARY: &[u8] = include_bytes!("lz4.dictionary.json");

pub(crate) fn compress(value: &impl Serialize) -> Result<Box<[u8]>, serde_json::Error> {
    let text = serde_json::to_string(value)?;
    Ok(compress_prepend_size_with_dict(text.as_bytes(), DICTIONARY).into_boxed_slice())
}

/// What [`compress`] made; or what does not fit, with its field.
pub(crate) fn decompress<T: DeserializeOwned>(compressed: &[u8]) -> Result<T, String> {
    let text = decompress_size_prepended_with_dict(compressed, DICTIONARY);
    let text = text.map_err(|error| format!("this operator's cache: {error}"))?;
    serde_json::from_slice(&text).map_err(|error| error.to_string())
}
