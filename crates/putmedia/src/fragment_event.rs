//! Tags by which the service makes images of a fragment, or notifies somebody of it.

use thiserror::Error;

const IMAGE_GENERATION: &str = "AWS_KINESISVIDEO_IMAGE_GENERATION";
const IMAGE_PREFIX: &str = "AWS_KINESISVIDEO_IMAGE_PREFIX";
const NOTIFICATION: &str = "AWS_KINESISVIDEO_NOTIFICATION";

/// The service's limits, in bytes.
const MAX_NAME: usize = 128;
const MAX_VALUE: usize = 256;

/// What the service shall do with a fragment.
///
/// Sources: [image generation](https://docs.aws.amazon.com/kinesisvideostreams/latest/dg/gs-s3-delivery.html),
/// [notifications](https://docs.aws.amazon.com/kinesisvideostreams/latest/dg/notifications.html).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FragmentEvent {
    /// Images are made of it, as the stream's image generation configuration says.
    pub image_generation: bool,
    /// A notification is sent, as the stream's notification configuration says.
    pub notification: bool,
    /// What the names of its images begin with.
    pub image_prefix: Option<String>,
    /// Names and values that go with images and notification.
    pub pairs: Vec<(String, String)>,
}

/// Why an event cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EventRefused {
    /// Neither images nor a notification are asked for.
    #[error("the event asks for neither image generation nor notification")]
    Nothing,
    /// A prefix without image generation.
    #[error("the image prefix {0:?} goes with image generation only")]
    PrefixWithoutImages(String),
    /// A name or value that the service does not take.
    #[error(
        "the name {0:?} is empty, longer than 128 bytes or begins with AWS, or its value is longer than 256"
    )]
    Pair(String),
    /// More tags than a fragment may have.
    #[error("{tags} tags, and a fragment may have {limit}")]
    TooManyTags {
        /// Those of this event and those that are set for all fragments.
        tags: usize,
        /// What the service takes.
        limit: usize,
    },
}

impl FragmentEvent {
    /// This event and another one for the same fragment; what the other one says goes first.
    pub(crate) fn merge(mut self, other: Self) -> Result<Self, EventRefused> {
        if !other.image_generation && !other.notification {
            return Err(EventRefused::Nothing);
        }
        self.image_generation |= other.image_generation;
        self.notification |= other.notification;
        if let Some(prefix) = other.image_prefix {
            if !self.image_generation {
                return Err(EventRefused::PrefixWithoutImages(prefix));
            }
            if prefix.len() > MAX_VALUE {
                return Err(EventRefused::Pair(IMAGE_PREFIX.to_owned()));
            }
            self.image_prefix = Some(prefix);
        }
        for (name, value) in other.pairs {
            let valid = !name.is_empty() && name.len() <= MAX_NAME && !name.starts_with("AWS");
            if !valid || value.len() > MAX_VALUE {
                return Err(EventRefused::Pair(name));
            }
            self.pairs.retain(|(known, _)| *known != name);
            self.pairs.push((name, value));
        }
        Ok(self)
    }

    /// As a fragment carries it: the service's own tags first.
    pub(crate) fn tags(&self) -> Vec<(String, String)> {
        let mut tags = Vec::new();
        if self.image_generation {
            tags.push((IMAGE_GENERATION.to_owned(), String::new()));
        }
        if self.notification {
            tags.push((NOTIFICATION.to_owned(), String::new()));
        }
        if let Some(prefix) = &self.image_prefix {
            tags.push((IMAGE_PREFIX.to_owned(), prefix.clone()));
        }
        tags.extend(self.pairs.iter().cloned());
        tags
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_events_for_one_fragment_become_one() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let images = FragmentEvent {
            image_generation: true,
            image_prefix: Some("front".to_owned()),
            pairs: vec![pair("door", "shut")],
            ..FragmentEvent::default()
        };
        let notification = FragmentEvent {
            notification: true,
            pairs: vec![pair("door", "open")],
            ..FragmentEvent::default()
        };
        let merged = FragmentEvent::default().merge(images).unwrap().merge(notification).unwrap();
        let want = [
            pair(IMAGE_GENERATION, ""),
            pair(NOTIFICATION, ""),
            pair(IMAGE_PREFIX, "front"),
            pair("door", "open"),
        ];
        assert_eq!(merged.tags(), want);
    }

    #[test]
    fn what_the_service_does_not_take_is_named() {
        let merge = |event| FragmentEvent::default().merge(event).unwrap_err().to_string();
        assert!(merge(FragmentEvent::default()).contains("neither"));
        let prefix = FragmentEvent {
            notification: true,
            image_prefix: Some("front".to_owned()),
            ..FragmentEvent::default()
        };
        assert!(merge(prefix).contains("\"front\""));
        for name in ["", "AWS_X", &"x".repeat(129)] {
            let pairs = vec![(name.to_owned(), String::new())];
            assert!(
                merge(FragmentEvent { notification: true, pairs, ..FragmentEvent::default() }).contains(name)
            );
        }
    }
}
