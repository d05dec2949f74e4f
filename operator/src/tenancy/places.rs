//! Which objects of a namespace come before which, where a policy counts them (`maxObjects`): in order, as their watch tells of
//! them, so that nobody walks through all objects for each of them. Pure.

use std::collections::HashMap;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::ObjectMeta;
use kube::runtime::watcher::Event;

/// An object is older than those behind it; of the same second the smaller uid is older.
type Age = (Option<Timestamp>, Box<str>);

fn age(object: &ObjectMeta) -> Age {
    let time = object.creation_timestamp.as_ref().map(|time| time.0);
    (time, object.uid.as_deref().unwrap_or_default().into())
}

#[derive(Debug, PartialEq, Eq)]
struct Place {
    age: Age,
    name: Box<str>,
}

/// Of one namespace. Both in order, the oldest first.
#[derive(Debug, Default)]
struct Row {
    there: Vec<Place>,
    /// Those that are being deleted have their place for as long as they have an agent. Not for longer: one that writes nothing
    /// must not keep one that runs from its place. And not for less: whoever has a finalizer of his own on an object would have its
    /// agent beside those that are permitted, as many as he likes.
    ending: Vec<Place>,
}

fn put(places: &mut Vec<Place>, place: Place) {
    match places.binary_search_by(|other| other.age.cmp(&place.age)) {
        Ok(at) => places[at] = place,
        Err(at) => places.insert(at, place),
    }
}

fn take(places: &mut Vec<Place>, age: &Age) -> bool {
    let found = places.binary_search_by(|other| other.age.cmp(age));
    found.map(|at| places.remove(at)).is_ok()
}

impl Row {
    /// How many of those that are being deleted have a place, and are older.
    fn ending(&self, age: &Age, has_agent: &impl Fn(&str, &str) -> bool) -> usize {
        let older = self.ending.iter().take_while(|place| place.age < *age);
        older.filter(|place| has_agent(&place.name, &place.age.1)).count()
    }
}

/// The objects of a cache. One entry an object: bounded by their number.
#[derive(Debug, Default)]
pub(crate) struct Places {
    now: HashMap<String, Row>,
    /// Of a list that is not complete: what was before holds until then.
    coming: HashMap<String, Row>,
}

impl Places {
    /// Takes note of what the watch of the objects says; of an end, by [`Self::leave`].
    pub(crate) fn take<K: ResourceExt>(&mut self, event: &Event<K>) {
        match event {
            Event::Init => self.coming.clear(),
            Event::InitApply(object) => {
                let object = object.meta();
                let row = self.coming.entry(object.namespace.clone().unwrap_or_default()).or_default();
                let place =
                    Place { age: age(object), name: object.name.as_deref().unwrap_or_default().into() };
                // In whatever order they come; they are sorted once.
                let places =
                    if object.deletion_timestamp.is_some() { &mut row.ending } else { &mut row.there };
                places.push(place);
            }
            Event::InitDone => {
                self.now = std::mem::take(&mut self.coming);
                for Row { there, ending } in self.now.values_mut() {
                    for places in [there, ending] {
                        places.sort_unstable_by(|one, other| one.age.cmp(&other.age));
                        places.shrink_to_fit();
                    }
                }
            }
            Event::Apply(object) => {
                let object = object.meta();
                let row = self.now.entry(object.namespace.clone().unwrap_or_default()).or_default();
                let place =
                    Place { age: age(object), name: object.name.as_deref().unwrap_or_default().into() };
                if object.deletion_timestamp.is_none() {
                    put(&mut row.there, place);
                } else if take(&mut row.there, &place.age) {
                    // Once: it does not get back the place that it has left.
                    put(&mut row.ending, place);
                }
            }
            Event::Delete(_) => {}
        }
    }

    /// The object has no agent any more, and gets none. Whether it had a place until now.
    pub(crate) fn leave(&mut self, object: &ObjectMeta) -> bool {
        let namespace = object.namespace.as_deref().unwrap_or_default();
        let Some(row) = self.now.get_mut(namespace) else { return false };
        let age = age(object);
        let had = take(&mut row.ending, &age) || take(&mut row.there, &age);
        if row.there.is_empty() && row.ending.is_empty() {
            self.now.remove(namespace);
        }
        had
    }

    /// Are there `most` older objects in the namespace of `object` that have a place? `has_agent` is asked of those that are
    /// being deleted, by name and uid.
    pub(crate) fn is_beyond(
        &self,
        object: &ObjectMeta,
        most: u32,
        has_agent: impl Fn(&str, &str) -> bool,
    ) -> bool {
        let row = self.now.get(object.namespace.as_deref().unwrap_or_default());
        let older = row.map_or(0, |row| {
            let age = age(object);
            row.there.partition_point(|other| other.age < age) + row.ending(&age, &has_agent)
        });
        older >= usize::try_from(most).unwrap_or(usize::MAX)
    }

    /// The name of the object of this namespace that has the last of `most` places, unless it is being deleted.
    pub(crate) fn last(
        &self,
        namespace: &str,
        most: u32,
        has_agent: impl Fn(&str, &str) -> bool,
    ) -> Option<&str> {
        let row = self.now.get(namespace)?;
        let last = usize::try_from(most).ok()?.checked_sub(1)?;
        let before = |at: usize| at + row.ending(&row.there[at].age, &has_agent);
        // How many are before an object grows with its place in the row.
        let (mut from, mut to) = (0, row.there.len());
        while from < to {
            let middle = from.midpoint(to);
            if before(middle) < last { from = middle + 1 } else { to = middle }
        }
        (from < row.there.len() && before(from) == last).then(|| &*row.there[from].name)
    }
}
