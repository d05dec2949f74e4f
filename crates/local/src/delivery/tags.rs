//! What the tags of a fragment ask for ("Automated real-time image generation" and "Set up notifications" of the developer
//! guide).

/// Images are made of fragments that have this tag alone.
const IMAGES: &str = "AWS_KINESISVIDEO_IMAGE_GENERATION";
/// What the names of its images begin with.
const PREFIX: &str = "AWS_KINESISVIDEO_IMAGE_PREFIX";
/// A topic is told of fragments that have this tag alone.
const NOTIFICATION: &str = "AWS_KINESISVIDEO_NOTIFICATION";

/// The metadata of a fragment, as far as somebody is told of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) images: bool,
    pub(super) prefix: Option<String>,
    pub(super) notification: bool,
    /// The tags that are the producer's own. Of those with the same name the last counts.
    pub(super) more: Vec<(String, String)>,
}

impl Asked {
    pub(super) fn of(tags: &[(String, String)]) -> Self {
        let mut asked = Self::default();
        for (name, value) in tags {
            match name.as_str() {
                IMAGES => asked.images = true,
                PREFIX => asked.prefix = Some(value.clone()).filter(|prefix| !prefix.is_empty()),
                NOTIFICATION => asked.notification = true,
                name if name.starts_with("AWS") => {}
                name => {
                    asked.more.retain(|(other, _)| other != name);
                    asked.more.push((name.to_owned(), value.clone()));
                }
            }
        }
        asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_services_own_tags_ask_and_the_producers_are_told() {
        let tag = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(Asked::of(&[]), Asked::default());
        let asked = Asked::of(&[
            tag("who", "cat"),
            tag(IMAGES, ""),
            tag(PREFIX, "yard/"),
            tag("who", "dog"),
            tag("AWS_OTHER", "1"),
        ]);
        assert!(asked.images && !asked.notification);
        assert_eq!((asked.prefix.as_deref(), asked.more), (Some("yard/"), vec![tag("who", "dog")]));
        assert!(Asked::of(&[tag(NOTIFICATION, "")]).notification);
    }
}
