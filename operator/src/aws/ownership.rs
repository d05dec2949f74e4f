//! Whose a channel or stream is, by its tags. Pure.

use kvs::Tags;

use super::resource::Subject;
use crate::names;

/// Whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// This very object's.
    This {
        /// It was there before the object, which said `adopt`.
        adopted: bool,
    },
    /// Of an object of this cluster that had this one's name, and cannot live any more: there is one of a name at a time.
    Predecessor,
    /// Of another object of this cluster, which lives, or does not.
    Other { namespace: String, name: String, uid: String },
    /// Of the operator of another cluster.
    OtherCluster {
        cluster: String,
        /// `NAMESPACE/NAME` there.
        ingest: String,
        /// It is for an object with this one's uid: of this cluster under another name, or of one that both were copied from.
        same_uid: bool,
    },
    /// No operator's.
    Nobody,
    /// The operator may not look at the tags. It cannot have written them, then.
    Unreadable,
}

impl Owner {
    /// `None`: the tags may not be looked at.
    pub(super) fn of(tags: Option<&Tags>, cluster: &str, subject: Subject<'_>) -> Self {
        let Some(tags) = tags else { return Self::Unreadable };
        let tag = |name: &str| tags.get(name).map(String::as_str);
        let Some(uid) = tag(names::TAG_UID) else { return Self::Nobody };
        let ingest = tag(names::TAG_INGEST).unwrap_or_default();
        let tagged = tag(names::TAG_CLUSTER).unwrap_or_default();
        if tagged != cluster {
            return Self::OtherCluster {
                cluster: tagged.to_owned(),
                ingest: ingest.to_owned(),
                same_uid: uid == subject.uid,
            };
        }
        if uid == subject.uid {
            return Self::This { adopted: tag(names::TAG_ADOPTED).is_some() };
        }
        let (namespace, name) = ingest.split_once('/').unwrap_or_default();
        if (namespace, name) == (subject.namespace, subject.name) {
            return Self::Predecessor;
        }
        Self::Other { namespace: namespace.to_owned(), name: name.to_owned(), uid: uid.to_owned() }
    }

    /// Is it this object's own?
    pub(super) fn is_this(&self) -> bool {
        matches!(self, Self::This { .. })
    }
}

#[cfg(test)]
mod tests {
    use kvs_ingest_api::KvsIngestSpec;

    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn written(cluster: &str, uid: &str, ingest: &str) -> Tags {
        tags(&[(names::TAG_CLUSTER, cluster), (names::TAG_UID, uid), (names::TAG_INGEST, ingest)])
    }

    #[test]
    fn tags_say_whose_it_is() {
        let spec = KvsIngestSpec::default();
        let subject = Subject { uid: "u", namespace: "n", name: "door", spec: &spec, status: None };
        let of = |tags: &Tags| Owner::of(Some(tags), "one", subject);
        assert_eq!(of(&written("one", "u", "n/door")), Owner::This { adopted: false });
        let mut adopted = written("one", "u", "n/door");
        adopted.insert(names::TAG_ADOPTED.to_owned(), "true".to_owned());
        assert_eq!(of(&adopted), Owner::This { adopted: true });
        assert_eq!(of(&written("one", "before", "n/door")), Owner::Predecessor);
        let other = |namespace: &str, name: &str| Owner::Other {
            namespace: namespace.into(),
            name: name.into(),
            uid: "v".into(),
        };
        assert_eq!(of(&written("one", "v", "n/gate")), other("n", "gate"));
        assert_eq!(of(&written("one", "v", "m/door")), other("m", "door"));
        // What somebody else has written there is nobody's word for being ours.
        assert_eq!(of(&written("one", "v", "nonsense")), other("", ""));
        assert_eq!(of(&tags(&[("team", "doors")])), Owner::Nobody);
        assert_eq!(Owner::of(None, "one", subject), Owner::Unreadable);
        for (uid, same_uid) in [("v", false), ("u", true)] {
            let of_two = of(&written("two", uid, "n/door"));
            let expected = Owner::OtherCluster { cluster: "two".into(), ingest: "n/door".into(), same_uid };
            assert_eq!(of_two, expected);
            assert!(!of_two.is_this());
        }
        let without_cluster = tags(&[(names::TAG_UID, "u")]);
        assert!(!of(&without_cluster).is_this(), "of a cluster that nobody names");
    }
}
