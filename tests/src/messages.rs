//! Messages of data channels that a master numbered, and the tags that came of them.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::stored;

/// Of `spec`: a channel that the master opens, and one that the agent does.
pub const SPEC: &str = "  media: {data: {labels: [numbers, 'ask*'], open: [asked]}}\n";
/// The labels of both.
pub const LABELS: [&str; 2] = ["numbers", "asked"];

/// Tags of one fragment: as many may have been given to the last, before it began.
const PER_FRAGMENT: u64 = 10;

/// So many messages arrived.
pub fn arrived(status: &Value, sent: &[Vec<String>]) -> bool {
    let count = sent.iter().map(|sent| sent.len() as u64).sum::<u64>();
    status["data"]["messagesReceived"].as_u64() == Some(count)
}

/// Each of what was sent over each of [`LABELS`] is a tag of one fragment, in order, or came too late for the last one. `status` is
/// the agent's when all had arrived.
///
/// # Panics
///
/// When it is otherwise.
pub fn check(status: &Value, files: &[PathBuf], sent: &[Vec<String>]) {
    let data = &status["data"];
    assert_eq!(data["notStored"], json!({}), "{status}");
    let mut channels: Vec<_> = data["channels"].as_array().into_iter().flatten().collect();
    channels.sort_unstable_by_key(|label| label.as_str());
    assert_eq!(channels, ["asked", "numbers"], "{status}");
    let tags: Vec<_> = files.iter().flat_map(|file| stored::tags(file).expect("Matroska")).collect();
    let (given, waiting) = (data["tagsStored"].as_u64(), data["tagsWaiting"].as_u64());
    let count = sent.iter().map(|sent| sent.len() as u64).sum::<u64>();
    assert_eq!(given.zip(waiting).map(|(given, waiting)| given + waiting), Some(count), "{status}");
    let lacking = given.map(|given| given - tags.len() as u64);
    assert!(lacking.is_some_and(|lacking| lacking <= PER_FRAGMENT), "{lacking:?} of {status}");
    for (label, sent) in LABELS.iter().zip(sent) {
        let found: Vec<_> =
            tags.iter().filter(|(name, _)| name == label).map(|(_, value)| value.clone()).collect();
        assert!(found.len() >= 4, "{label}: {tags:?} of {sent:?}");
        assert_eq!(found, sent[..found.len()], "{label}");
    }
}
