//! The metadata of fragments: which tags the next one carries.
//!
//! What is put belongs to the fragment that begins with a frame pushed after it, also when frames pushed before it
//! still wait for their turn: so each change carries the number of the first frame that comes after it.

use std::collections::VecDeque;

use crate::fragment_event::{EventRefused, FragmentEvent};

/// The service accepts ten tags per fragment. More wait for the next one; beyond `MAX_PENDING` they are refused.
const MAX_TAGS: usize = 10;
const MAX_PENDING: usize = 25;
/// Changes of persistent tags that wait for their frame. Of more the oldest takes effect at once.
const MAX_CHANGES: usize = 100;

type Tag = (String, String);

#[derive(Debug, Default)]
pub(crate) struct Tags {
    once: VecDeque<(u64, Tag)>,
    /// Several for one fragment become one.
    events: VecDeque<(u64, FragmentEvent)>,
    /// On all fragments that begin now.
    persistent: Vec<Tag>,
    /// Changes of that, oldest first; an empty value ends a tag.
    changes: VecDeque<(u64, Tag)>,
}

fn change(persistent: &mut Vec<Tag>, tag: Tag) {
    persistent.retain(|(known, _)| *known != tag.0);
    if !tag.1.is_empty() {
        persistent.push(tag);
    }
}

impl Tags {
    /// Persistent tags when all changes have taken effect.
    fn persistent(&self) -> Vec<Tag> {
        let mut all = self.persistent.clone();
        for (_, tag) in &self.changes {
            change(&mut all, tag.clone());
        }
        all
    }

    fn event(events: impl Iterator<Item = FragmentEvent>) -> Result<FragmentEvent, EventRefused> {
        let mut events = events;
        events.try_fold(FragmentEvent::default(), FragmentEvent::merge)
    }

    /// Takes a tag for the fragment that begins with frame `number` or the next that does, or for every following
    /// one until its value is set to nothing.
    pub(crate) fn add(&mut self, name: String, value: String, persist: bool, number: u64) -> bool {
        if !persist {
            if self.once.len() >= MAX_PENDING {
                return false;
            }
            self.once.push_back((number, (name, value)));
            return true;
        }
        if !value.is_empty() {
            let event = Self::event(self.events.iter().map(|(_, event)| event.clone())).unwrap_or_default();
            let others = self.persistent().iter().filter(|(known, _)| *known != name).count();
            if others + event.tags().len() >= MAX_TAGS {
                return false;
            }
        }
        self.changes.push_back((number, (name, value)));
        if self.changes.len() > MAX_CHANGES
            && let Some((_, oldest)) = self.changes.pop_front()
        {
            change(&mut self.persistent, oldest);
        }
        true
    }

    /// Takes an event for that fragment.
    pub(crate) fn add_event(&mut self, event: FragmentEvent, number: u64) -> Result<(), EventRefused> {
        let waiting = self.events.iter().map(|(_, event)| event.clone());
        let merged = Self::event(waiting.chain([event.clone()]))?;
        let tags = merged.tags().len() + self.persistent().len();
        if tags > MAX_TAGS {
            return Err(EventRefused::TooManyTags { tags, limit: MAX_TAGS });
        }
        self.events.push_back((number, event));
        Ok(())
    }

    /// Nothing begins any more: how many tags had waited for it. Of those that were to be on all fragments, none is counted.
    pub(crate) fn clear(&mut self) -> u64 {
        let events: usize = self.events.drain(..).map(|(_, event)| event.tags().len()).sum();
        (self.once.drain(..).count() + events) as u64
    }

    /// The tags of the fragment that begins with frame `number`.
    pub(crate) fn take(&mut self, number: u64) -> Vec<Tag> {
        while let Some((_, tag)) = self.changes.pop_front_if(|(from, _)| *from <= number) {
            change(&mut self.persistent, tag);
        }
        let mut due = Vec::new();
        while let Some((_, event)) = self.events.pop_front_if(|(from, _)| *from <= number) {
            due.push(event);
        }
        // Each was taken together with those before it.
        let mut event = Self::event(due.into_iter()).unwrap_or_default().tags();
        let mut tags = self.persistent.clone();
        while tags.len() + event.len() < MAX_TAGS
            && let Some((_, tag)) = self.once.pop_front_if(|(from, _)| *from <= number)
        {
            tags.push(tag);
        }
        // Behind the others, as `matroska::put_tags` wants it.
        tags.append(&mut event);
        tags
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(tags: &mut Tags, number: u64) -> Vec<String> {
        tags.take(number).into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn a_tag_belongs_to_the_fragment_whose_first_frame_is_pushed_after_it() {
        let mut tags = Tags::default();
        let add = |tags: &mut Tags, name: &str, value: &str, persist, number| {
            assert!(tags.add(name.to_owned(), value.to_owned(), persist, number));
        };
        add(&mut tags, "a", "1", false, 10);
        add(&mut tags, "p", "1", true, 10);
        add(&mut tags, "p", "", true, 20);
        assert_eq!(names(&mut tags, 9), Vec::<String>::new());
        assert_eq!(names(&mut tags, 10), ["p=1", "a=1"]);
        assert_eq!(names(&mut tags, 19), ["p=1"]);
        assert_eq!(names(&mut tags, 20), Vec::<String>::new());
    }

    #[test]
    fn events_of_one_fragment_become_one() {
        let mut tags = Tags::default();
        let event = |pair: &str| FragmentEvent {
            notification: true,
            pairs: vec![(pair.to_owned(), String::new())],
            ..FragmentEvent::default()
        };
        for (pair, number) in [("a", 1), ("b", 1), ("c", 2)] {
            tags.add_event(event(pair), number).unwrap();
        }
        assert_eq!(names(&mut tags, 1), ["AWS_KINESISVIDEO_NOTIFICATION=", "a=", "b="]);
        assert_eq!(names(&mut tags, 2), ["AWS_KINESISVIDEO_NOTIFICATION=", "c="]);
    }

    #[test]
    fn changes_without_frames_are_bounded() {
        let mut tags = Tags::default();
        for n in 0..1000 {
            assert!(tags.add("p".to_owned(), n.to_string(), true, 5));
        }
        assert!(tags.changes.len() <= MAX_CHANGES);
        assert_eq!(names(&mut tags, 5), ["p=999"]);
    }
}
