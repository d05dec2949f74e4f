//! Tags that wait for the fragment which they go with.

use super::rules::{NotStored, Rules, Tag};
use kvs_peer::Message;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime};

/// Tags of a fragment: what the service takes.
const PER_FRAGMENT: usize = 10;

/// Tags that wait: two fragments and a half of them, as many as the producer SDK of AWS keeps. Of more the newest are not
/// stored, and counted: what is stored stays near the pictures that it came with.
const MAX_WAITING: usize = 25;

/// A fragment has at least this length: key frames that come sooner begin none.
const SHORTEST: Duration = Duration::from_secs(1);

/// What was counted since the agent started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataFigures {
    /// Tags that went into a pipeline, in front of a fragment.
    pub stored: u64,
    /// That wait for one.
    pub waiting: u64,
    /// Messages that are not stored, by why.
    pub not_stored: BTreeMap<NotStored, u64>,
}

/// The tags of one agent. They outlast a connection: what has not found its fragment goes with the first of the next one.
#[derive(Debug, Default)]
pub struct Metadata {
    /// `None`: no message is asked for.
    rules: Option<Rules>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<Tag>,
    /// When the newest fragment began that tags could go with.
    began: Option<SystemTime>,
    /// Messages that became a tag.
    tagged: u64,
    stored: u64,
    not_stored: BTreeMap<NotStored, u64>,
}

impl Metadata {
    /// As the rules have it.
    pub fn new(rules: Option<Rules>) -> Self {
        Self { rules, inner: Mutex::default() }
    }

    /// The tag of a message.
    ///
    /// # Errors
    ///
    /// Why there is none; it is counted.
    pub fn tag(&self, message: &Message) -> Result<Tag, NotStored> {
        let mut inner = self.inner.lock();
        let tag = match &self.rules {
            Some(rules) => rules.tag(message, inner.tagged + 1),
            None => Err(NotStored::NotWanted),
        };
        match tag {
            Ok(_) => inner.tagged += 1,
            Err(reason) => inner.refuse(reason),
        }
        tag
    }

    /// Takes a tag for the next fragment, or for those after it.
    ///
    /// # Errors
    ///
    /// Too many wait already; it is counted.
    pub fn push(&self, tag: Tag) -> Result<(), NotStored> {
        let mut inner = self.inner.lock();
        if inner.waiting.len() >= MAX_WAITING {
            inner.refuse(NotStored::TooMany);
            return Err(NotStored::TooMany);
        }
        inner.waiting.push_back(tag);
        Ok(())
    }

    /// The tags of the fragment that may begin with what was captured then. Empty where none begins.
    pub fn of_fragment(&self, at: SystemTime) -> Vec<Tag> {
        let mut inner = self.inner.lock();
        // Time that went back begins one, too.
        let begins =
            inner.began.is_none_or(|began| at.duration_since(began).map_or(true, |since| since >= SHORTEST));
        if !begins {
            return Vec::new();
        }
        inner.began = Some(at);
        let count = inner.waiting.len().min(PER_FRAGMENT);
        inner.stored += count as u64;
        inner.waiting.drain(..count).collect()
    }

    /// What was counted so far.
    pub fn figures(&self) -> MetadataFigures {
        let inner = self.inner.lock();
        let not_stored = inner.not_stored.clone();
        MetadataFigures { stored: inner.stored, waiting: inner.waiting.len() as u64, not_stored }
    }
}

impl Inner {
    fn refuse(&mut self, reason: NotStored) {
        *self.not_stored.entry(reason).or_default() += 1;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::UNIX_EPOCH;

    fn tag(number: u64) -> Tag {
        Tag { name: "n".to_owned(), value: number.to_string() }
    }

    fn at(millis: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(millis)
    }

    proptest! {
        /// In order, each once, ten to a fragment, and never two such in a second: what was taken is stored or waits.
        #[test]
        fn what_is_taken_is_stored_once_and_in_order(
            steps in prop::collection::vec((0..30_u64, 1..1500_u64), 1..60),
        ) {
            let metadata = Metadata::default();
            let (mut taken, mut stored, mut number, mut now) = (Vec::new(), Vec::new(), 0, 0);
            let mut last: Option<u64> = None;
            for (messages, later) in steps {
                for _ in 0..messages {
                    number += 1;
                    if metadata.push(tag(number)).is_ok() {
                        taken.push(tag(number));
                    }
                }
                now += later;
                let tags = metadata.of_fragment(at(now));
                prop_assert!(tags.len() <= 10);
                if !tags.is_empty() {
                    prop_assert!(last.is_none_or(|last| now - last >= 1000));
                    last = Some(now);
                }
                stored.extend(tags);
            }
            let figures = metadata.figures();
            prop_assert_eq!(figures.stored, stored.len() as u64);
            prop_assert_eq!(figures.waiting, (taken.len() - stored.len()) as u64);
            let refused = figures.not_stored.get(&NotStored::TooMany).copied().unwrap_or_default();
            prop_assert_eq!(refused, number - taken.len() as u64);
            prop_assert_eq!(&stored[..], &taken[..stored.len()]);
        }
    }

    #[test]
    fn time_that_goes_back_holds_nothing_back() {
        let metadata = Metadata::default();
        assert!(metadata.of_fragment(at(10_000_000)).is_empty());
        metadata.push(tag(1)).unwrap();
        assert_eq!(metadata.of_fragment(at(10_000_500)), []);
        assert_eq!(metadata.of_fragment(at(5_000)), [tag(1)]);
    }
}
