//! Which object owns a stream: the oldest that names it. Pure, in memory, made anew from the statuses after a restart.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kvs_ingest_api::KvsIngest;
use parking_lot::Mutex;

/// Who claims a stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// `metadata.creationTimestamp`, RFC 3339: the oldest wins.
    pub created: String,
    /// `metadata.uid`: decides between objects of the same second.
    pub uid: String,
    /// For people, and to wake it up.
    pub namespace: String,
    /// For people, and to wake it up.
    pub name: String,
}

impl Claim {
    /// Of an object on its stream.
    #[must_use]
    pub fn of(ingest: &KvsIngest) -> Self {
        let created = ingest.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |time| time.0);
        Self {
            created: created.to_string(),
            uid: ingest.uid().unwrap_or_default(),
            namespace: ingest.namespace().unwrap_or_default(),
            name: ingest.name_any(),
        }
    }
}

/// What came of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    pub owner: Claim,
    /// Who has to be looked at again, because this claim took the stream from it.
    pub ousted: Option<Claim>,
}

/// The claims of all objects by the ARN of the stream. One entry an object: bounded by their number.
#[derive(Debug, Default)]
pub struct Owners {
    claims: Mutex<Claims>,
}

#[derive(Debug, Default)]
struct Claims {
    by_stream: HashMap<Arc<str>, Vec<Claim>>,
    stream_of: HashMap<String, Arc<str>>,
}

impl Owners {
    /// Claims a stream and says who owns it now. An object claims one stream at a time.
    pub fn claim(&self, stream: &str, claim: Claim) -> Ownership {
        let mut claims = self.claims.lock();
        if claims.stream_of.get(&claim.uid).is_some_and(|old| **old != *stream) {
            claims.remove(&claim.uid);
        }
        let stream =
            claims.by_stream.get_key_value(stream).map_or_else(|| stream.into(), |(key, _)| key.clone());
        claims.stream_of.insert(claim.uid.clone(), stream.clone());
        // There is one, nearly always.
        let list = claims.by_stream.entry(stream).or_insert_with(|| Vec::with_capacity(1));
        let before = list.first().cloned();
        if !list.iter().any(|other| other.uid == claim.uid) {
            list.push(claim.clone());
            list.sort();
        }
        let owner = list[0].clone();
        let ousted = before.filter(|before| owner.uid == claim.uid && before.uid != claim.uid);
        Ownership { owner, ousted }
    }

    /// The object is gone. Who owns its stream now, if somebody else does, has to be looked at.
    pub fn release(&self, uid: &str) -> Option<Claim> {
        self.claims.lock().remove(uid)
    }
}

impl Claims {
    fn remove(&mut self, uid: &str) -> Option<Claim> {
        let stream = self.stream_of.remove(uid)?;
        let list = self.by_stream.get_mut(&stream)?;
        let owned = list.first().is_some_and(|first| first.uid == uid);
        list.retain(|claim| claim.uid != uid);
        let heir = list.first().filter(|_| owned).cloned();
        if list.is_empty() {
            self.by_stream.remove(&stream);
        }
        heir
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(created: &str, uid: &str) -> Claim {
        Claim { created: created.into(), uid: uid.into(), namespace: "n".into(), name: uid.into() }
    }

    fn owned(owner: &Claim, ousted: Option<&Claim>) -> Ownership {
        Ownership { owner: owner.clone(), ousted: ousted.cloned() }
    }

    #[test]
    fn the_oldest_wins_whoever_comes_first() {
        let owners = Owners::default();
        let (old, young) = (claim("2026-01-01T00:00:00Z", "b"), claim("2026-01-02T00:00:00Z", "a"));
        assert_eq!(owners.claim("s", young.clone()), owned(&young, None));
        // The older one takes it, and the younger has to be told.
        assert_eq!(owners.claim("s", old.clone()), owned(&old, Some(&young)));
        assert_eq!(owners.claim("s", young.clone()), owned(&old, None));
        assert_eq!(owners.claim("s", old.clone()), owned(&old, None));
        // Heirs are named once.
        assert_eq!(owners.release("b"), Some(young.clone()));
        assert_eq!(owners.release("b"), None);
        assert_eq!(owners.claim("s", young.clone()), owned(&young, None));
        assert_eq!(owners.release("a"), None);
        assert!(owners.claims.lock().by_stream.is_empty() && owners.claims.lock().stream_of.is_empty());
    }

    #[test]
    fn who_changes_the_stream_leaves_the_old_one() {
        let owners = Owners::default();
        let (one, two) = (claim("1", "a"), claim("2", "b"));
        owners.claim("s", one.clone());
        owners.claim("s", two.clone());
        owners.claim("t", one);
        assert_eq!(owners.claim("s", two.clone()), owned(&two, None));
    }

    #[test]
    fn of_the_same_second_the_smaller_uid_wins() {
        let owners = Owners::default();
        owners.claim("s", claim("1", "b"));
        assert_eq!(owners.claim("s", claim("1", "a")).owner.uid, "a");
    }
}
