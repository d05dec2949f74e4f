//! Which messages become tags, and what is in these. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kvs_ingest_api::{DataSpec, TagPiece, glob};
use kvs_peer::Message;

/// Longest name and value of a tag, bytes: what the service takes
/// (<https://docs.aws.amazon.com/kinesisvideostreams/latest/dg/limits.html>).
const MAX_NAME: usize = 128;
const MAX_VALUE: usize = 256;

/// In front of what is not text (RFC 2397).
const BINARY: &str = "data:;base64,";

/// A tag of a fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    pub name: String,
    pub value: String,
}

/// Why a message is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NotStored {
    /// No pattern of `labels` matches the label of its channel.
    NotWanted,
    /// There is nothing in it.
    Empty,
    /// It does not fit into a tag.
    TooLong,
    /// The name that it would have is none.
    BadName,
    /// More came than fit into the fragments.
    TooMany,
}

impl NotStored {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::NotWanted, Self::Empty, Self::TooLong, Self::BadName, Self::TooMany];

    /// One CamelCase word, of `/status` and of the label `reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotWanted => "NotWanted",
            Self::Empty => "Empty",
            Self::TooLong => "TooLong",
            Self::BadName => "BadName",
            Self::TooMany => "TooMany",
        }
    }

    /// For a person, with the remedy.
    pub fn message(self) -> &'static str {
        match self {
            Self::NotWanted => "no pattern of spec.media.data.labels matches the label of its channel",
            Self::Empty => "it is empty, and so would the tag be",
            Self::TooLong => {
                "a tag of KVS holds 256 bytes of text, or 180 that are none: let the master send less in a message"
            }
            Self::BadName => {
                "the name of a tag has 1 to 128 bytes, none of them 0, and does not begin with AWS: set spec.media.data.tag"
            }
            Self::TooMany => {
                "more messages come than fragments have room for, which is ten each: let the master send fewer, or let its \
                 encoder send key frames more often"
            }
        }
    }
}

/// What `spec.media.data` says.
#[derive(Debug)]
pub struct Rules {
    labels: Vec<String>,
    name: Vec<TagPiece>,
}

impl Rules {
    /// # Errors
    ///
    /// What is not understood of the tag's name, in words.
    pub fn new(spec: &DataSpec) -> Result<Self, String> {
        Ok(Self { labels: spec.labels.clone(), name: spec.tag_pieces()? })
    }

    /// The tag of a message, which is the `number`th.
    pub(super) fn tag(&self, message: &Message, number: u64) -> Result<Tag, NotStored> {
        if !self.labels.iter().any(|pattern| glob(pattern, &message.label)) {
            return Err(NotStored::NotWanted);
        }
        if message.data.is_empty() {
            return Err(NotStored::Empty);
        }
        let pieces = self.name.iter().map(|piece| match piece {
            TagPiece::Text(text) => text.clone(),
            TagPiece::Label => message.label.to_string(),
            TagPiece::Number => number.to_string(),
        });
        let name: String = pieces.collect();
        if name.is_empty() || name.len() > MAX_NAME || name.starts_with("AWS") || name.contains('\0') {
            return Err(NotStored::BadName);
        }
        let value = value(message).filter(|value| value.len() <= MAX_VALUE).ok_or(NotStored::TooLong)?;
        Ok(Tag { name, value })
    }
}

/// Text as it is; of what is none, or would end at a zero byte where Matroska's strings do (RFC 9559, RFC 8794 section 7.4),
/// a `data:` URL. `None`: it is too long anyway.
fn value(message: &Message) -> Option<String> {
    let bytes = &message.data[..];
    let text = std::str::from_utf8(bytes).ok().filter(|text| message.text && !text.contains('\0'));
    match text {
        Some(text) => (text.len() <= MAX_VALUE).then(|| text.to_owned()),
        None => (bytes.len() <= MAX_VALUE).then(|| format!("{BINARY}{}", STANDARD.encode(bytes))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn rules(labels: &[&str], tag: Option<&str>) -> Rules {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        Rules::new(&DataSpec { labels, tag: tag.map(str::to_owned), open: Vec::new() }).unwrap()
    }

    fn message(label: &str, text: bool, data: &[u8]) -> Message {
        Message { label: label.into(), text, data: Bytes::copy_from_slice(data) }
    }

    #[test]
    fn the_label_is_the_name_and_the_text_is_the_value() {
        let tag =
            rules(&["gps", "door-*"], None).tag(&message("door-1", true, "öffnet".as_bytes()), 3).unwrap();
        assert_eq!(tag, Tag { name: "door-1".to_owned(), value: "öffnet".to_owned() });
        let named =
            rules(&["*"], Some("car.{label}.{number}")).tag(&message("gps", true, b"1,2"), 7).unwrap();
        assert_eq!(named.name, "car.gps.7");
    }

    #[test]
    fn what_does_not_fit_is_told_by_why() {
        let rules = rules(&["door*", "AWS*", ""], None);
        for (label, data, expected) in [
            ("gate", &b"x"[..], NotStored::NotWanted),
            ("door", b"", NotStored::Empty),
            ("door", &[b'x'; 257], NotStored::TooLong),
            ("AWS_KINESISVIDEO_END_OF_FRAGMENT", b"x", NotStored::BadName),
            ("", b"x", NotStored::BadName),
            ("door\0", b"x", NotStored::BadName),
            (&"door".repeat(33), b"x", NotStored::BadName),
        ] {
            assert_eq!(rules.tag(&message(label, true, data), 1), Err(expected), "{label}");
        }
        assert!(rules.tag(&message("door", true, &[b'x'; 256]), 1).is_ok());
        assert_eq!(rules.tag(&message("door", false, &[0; 183]), 1), Err(NotStored::TooLong));
        assert_eq!(rules.tag(&message("door", false, &[0; 180]), 1).unwrap().value.len(), 253);
    }

    proptest! {
        /// Nothing that a master sends makes a tag that the service would not take, and what is in it can be read back.
        #[test]
        fn every_tag_is_one_and_says_what_was_sent(
            label in ".{0,140}", text in any::<bool>(), data in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            if let Ok(tag) = rules(&["*"], None).tag(&message(&label, text, &data), 1) {
                prop_assert!((1..=MAX_NAME).contains(&tag.name.len()) && (1..=MAX_VALUE).contains(&tag.value.len()));
                prop_assert!(!tag.name.starts_with("AWS") && !tag.value.contains('\0'));
                let sent = match tag.value.strip_prefix(BINARY) {
                    Some(base64) if !text || std::str::from_utf8(&data).is_err() || data.contains(&0) => {
                        STANDARD.decode(base64).unwrap()
                    }
                    _ => tag.value.into_bytes(),
                };
                prop_assert_eq!(sent, data);
            }
        }
    }
}
