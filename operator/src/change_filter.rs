//! Of the events of a watch, those that say something new: a relist, or our own write, must not reconcile everything.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::LazyLock;

use kube::Resource;
use parking_lot::Mutex;

/// The last known state of each object, as a hash of what is compared. One entry an object: bounded by their number.
#[derive(Debug, Default)]
pub(crate) struct ChangeFilter(Mutex<HashMap<u64, u64>>);

impl ChangeFilter {
    /// Records `compared` of an object: is it another than was recorded last?
    pub(crate) fn is_changed<K: Resource>(&self, object: &K, compared: &impl Hash) -> bool {
        let hash = hash(compared);
        self.0.lock().insert(key(object), hash) != Some(hash)
    }

    /// As [`ChangeFilter::is_changed`], for objects of which any write counts.
    pub(crate) fn is_new_version<K: Resource>(&self, object: &K) -> bool {
        self.is_changed(object, &version(object))
    }

    /// Records what we have just written: the event that tells of it says nothing new.
    pub(crate) fn record_written<K: Resource>(&self, object: &K) {
        self.0.lock().insert(key(object), hash(&version(object)));
    }

    /// The object is deleted.
    pub(crate) fn forget<K: Resource>(&self, object: &K) {
        self.0.lock().remove(&key(object));
    }
}

fn version<K: Resource>(object: &K) -> impl Hash {
    (&object.meta().uid, &object.meta().resource_version)
}

fn key<K: Resource>(object: &K) -> u64 {
    hash(&(&object.meta().namespace, &object.meta().name))
}

fn hash(value: &impl Hash) -> u64 {
    // One for the process, so that nobody can choose names that collide.
    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    KEYS.hash_one(value)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::ObjectMeta;

    use super::*;

    fn object(name: &str, version: &str) -> ConfigMap {
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            resource_version: Some(version.to_owned()),
            ..ObjectMeta::default()
        };
        ConfigMap { metadata, ..ConfigMap::default() }
    }

    #[test]
    fn a_relist_and_our_own_writes_are_no_change() {
        let filter = ChangeFilter::default();
        assert!(filter.is_new_version(&object("a", "1")));
        assert!(!filter.is_new_version(&object("a", "1")), "a relist");
        assert!(filter.is_new_version(&object("b", "1")), "another object");
        filter.record_written(&object("a", "2"));
        assert!(!filter.is_new_version(&object("a", "2")), "our own write");
        assert!(filter.is_new_version(&object("a", "3")));
        filter.forget(&object("a", "3"));
        assert!(filter.is_new_version(&object("a", "3")), "deleted and made again");
    }

    #[test]
    fn only_what_is_compared_counts() {
        let filter = ChangeFilter::default();
        assert!(filter.is_changed(&object("a", "1"), &1));
        assert!(!filter.is_changed(&object("a", "2"), &1));
        assert!(filter.is_changed(&object("a", "2"), &2));
    }
}
