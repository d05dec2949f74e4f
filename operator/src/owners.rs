//! Which object owns a stream: the oldest that may write it. And who else uses a channel or stream, so that it outlives its
//! owner. Pure, in memory, made anew from the statuses when this operator begins to lead.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kvs_ingest_api::KvsIngest;
use parking_lot::Mutex;

/// Who claims a channel or stream.
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
    /// Of an object on its channel or stream.
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

/// What for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Its agent writes it, or will: one at a time.
    Writes,
    /// It only is to stay: its object is suspended.
    Keeps,
}

/// What came of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// `None`: nobody writes it.
    pub owner: Option<Claim>,
    /// Who has to be looked at again, because somebody else owns it now.
    pub wake: Vec<Claim>,
}

/// The claims of all objects by ARN. One entry an object: bounded by their number.
#[derive(Debug, Default)]
pub struct Owners {
    claims: Mutex<Claims>,
}

#[derive(Debug, Default)]
struct Claims {
    by_arn: HashMap<Arc<str>, Vec<(Claim, Use)>>,
    arn_of: HashMap<String, Arc<str>>,
}

impl Owners {
    /// Claims a channel or stream, or says that it is used otherwise now. An object claims one at a time.
    pub fn claim(&self, arn: &str, claim: Claim, usage: Use) -> Ownership {
        let mut claims = self.claims.lock();
        let mut wake = Vec::new();
        if claims.arn_of.get(&claim.uid).is_some_and(|old| **old != *arn) {
            wake = claims.remove(&claim.uid);
        }
        let before = claims.owner(arn).cloned();
        claims.put(arn, claim.clone(), usage);
        let owner = claims.owner(arn).cloned();
        if owner != before {
            wake.extend(claims.all(arn).filter(|other| other.uid != claim.uid).cloned());
        }
        Ownership { owner, wake }
    }

    /// The object is gone, or has no right to it. Who has to be looked at because of that.
    pub fn release(&self, uid: &str) -> Vec<Claim> {
        self.claims.lock().remove(uid)
    }

    /// Of an object that has a claim: it writes no more, and what it has is to stay. Who has to be looked at because of that.
    pub fn keep(&self, uid: &str) -> Vec<Claim> {
        let mut claims = self.claims.lock();
        let Some(arn) = claims.arn_of.get(uid).cloned() else { return Vec::new() };
        let before = claims.owner(&arn).cloned();
        let list = claims.by_arn.get_mut(&arn).into_iter().flatten();
        for (_, usage) in list.filter(|(claim, _)| claim.uid == uid) {
            *usage = Use::Keeps;
        }
        if claims.owner(&arn) == before.as_ref() {
            return Vec::new();
        }
        claims.all(&arn).filter(|other| other.uid != uid).cloned().collect()
    }

    /// The other objects that use it, in whatever way, the oldest first.
    pub fn other_users(&self, arn: &str, uid: &str) -> Vec<Claim> {
        self.claims.lock().all(arn).filter(|claim| claim.uid != uid).cloned().collect()
    }

    /// Forgets all claims for these.
    pub fn rebuild(&self, all: impl IntoIterator<Item = (String, Claim, Use)>) {
        let mut anew = Claims::default();
        for (arn, claim, usage) in all {
            anew.put(&arn, claim, usage);
        }
        *self.claims.lock() = anew;
    }
}

impl Claims {
    fn put(&mut self, arn: &str, claim: Claim, usage: Use) {
        let arn = self.by_arn.get_key_value(arn).map_or_else(|| arn.into(), |(key, _)| key.clone());
        self.arn_of.insert(claim.uid.clone(), arn.clone());
        // There is one, nearly always.
        let list = self.by_arn.entry(arn).or_insert_with(|| Vec::with_capacity(1));
        match list.iter_mut().find(|(other, _)| other.uid == claim.uid) {
            Some((_, used)) => *used = usage,
            None => {
                list.push((claim, usage));
                list.sort_by(|one, other| one.0.cmp(&other.0));
            }
        }
    }

    fn all(&self, arn: &str) -> impl Iterator<Item = &Claim> {
        self.by_arn.get(arn).into_iter().flatten().map(|(claim, _)| claim)
    }

    fn owner(&self, arn: &str) -> Option<&Claim> {
        let mut list = self.by_arn.get(arn)?.iter();
        list.find(|(_, usage)| *usage == Use::Writes).map(|(claim, _)| claim)
    }

    fn remove(&mut self, uid: &str) -> Vec<Claim> {
        let Some(arn) = self.arn_of.remove(uid) else { return Vec::new() };
        let owned = self.owner(&arn).is_some_and(|owner| owner.uid == uid);
        let Some(list) = self.by_arn.get_mut(&arn) else { return Vec::new() };
        list.retain(|(claim, _)| claim.uid != uid);
        if list.is_empty() {
            self.by_arn.remove(&arn);
        }
        // The heir, and those who name the one that is gone.
        if owned { self.all(&arn).cloned().collect() } else { Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(created: &str, uid: &str) -> Claim {
        Claim { created: created.into(), uid: uid.into(), namespace: "n".into(), name: uid.into() }
    }

    fn owned(owner: &Claim, wake: &[&Claim]) -> Ownership {
        Ownership { owner: Some(owner.clone()), wake: wake.iter().map(|claim| (*claim).clone()).collect() }
    }

    #[test]
    fn the_oldest_wins_whoever_comes_first() {
        let owners = Owners::default();
        let (old, young) = (claim("2026-01-01T00:00:00Z", "b"), claim("2026-01-02T00:00:00Z", "a"));
        let writes = |claim: &Claim| owners.claim("s", claim.clone(), Use::Writes);
        assert_eq!(writes(&young), owned(&young, &[]));
        // The older one takes it, and the younger has to be told.
        assert_eq!(writes(&old), owned(&old, &[&young]));
        assert_eq!(writes(&young), owned(&old, &[]));
        assert_eq!(writes(&old), owned(&old, &[]));
        // Heirs are named once.
        assert_eq!(owners.release("b"), std::slice::from_ref(&young));
        assert_eq!(owners.release("b"), []);
        assert_eq!(writes(&young), owned(&young, &[]));
        assert_eq!(owners.release("a"), []);
        assert!(owners.claims.lock().by_arn.is_empty() && owners.claims.lock().arn_of.is_empty());
    }

    #[test]
    fn all_who_wait_for_a_stream_are_told_when_its_owner_goes() {
        let owners = Owners::default();
        let [a, b, c] = ["a", "b", "c"].map(|uid| claim(uid, uid));
        for claim in [&a, &b, &c] {
            owners.claim("s", claim.clone(), Use::Writes);
        }
        assert_eq!(owners.release("b"), [], "it owned nothing");
        owners.claim("s", b.clone(), Use::Writes);
        assert_eq!(owners.release("a"), [b, c]);
    }

    #[test]
    fn who_is_suspended_owns_nothing_and_keeps_it_all_the_same() {
        let owners = Owners::default();
        let (old, young) = (claim("1", "a"), claim("2", "b"));
        owners.claim("s", old.clone(), Use::Writes);
        assert_eq!(owners.claim("s", young.clone(), Use::Writes), owned(&old, &[]));
        assert_eq!(owners.claim("s", old.clone(), Use::Keeps), owned(&young, &[&young]), "the heir is told");
        assert_eq!(owners.other_users("s", "b"), std::slice::from_ref(&old));
        assert_eq!(owners.claim("s", old.clone(), Use::Writes), owned(&old, &[&young]));
        owners.release("b");
        assert_eq!(owners.other_users("s", "a"), []);
        assert_eq!(owners.claim("s", old, Use::Keeps).owner, None);
    }

    #[test]
    fn who_is_suspended_lets_others_write_whatever_else_is_wrong_with_it() {
        let owners = Owners::default();
        let (old, young) = (claim("1", "a"), claim("2", "b"));
        assert_eq!(owners.keep("a"), [], "it has no claim");
        owners.claim("s", old.clone(), Use::Writes);
        owners.claim("s", young.clone(), Use::Writes);
        assert_eq!(owners.keep("a"), std::slice::from_ref(&young));
        assert_eq!(owners.keep("a"), [], "they know");
        assert_eq!(owners.claim("s", young, Use::Writes).owner.unwrap().uid, "b");
        assert_eq!(owners.other_users("s", "b"), [old], "it uses it all the same");
    }

    #[test]
    fn who_changes_the_stream_leaves_the_old_one() {
        let owners = Owners::default();
        let (one, two) = (claim("1", "a"), claim("2", "b"));
        owners.claim("s", one.clone(), Use::Writes);
        owners.claim("s", two.clone(), Use::Writes);
        assert_eq!(owners.claim("t", one.clone(), Use::Writes), owned(&one, &[&two]));
        assert_eq!(owners.claim("s", two.clone(), Use::Writes), owned(&two, &[]));
    }

    #[test]
    fn of_the_same_second_the_smaller_uid_wins() {
        let owners = Owners::default();
        owners.claim("s", claim("1", "b"), Use::Writes);
        assert_eq!(owners.claim("s", claim("1", "a"), Use::Writes).owner.unwrap().uid, "a");
    }

    #[test]
    fn what_a_term_begins_with_is_what_the_statuses_say() {
        let owners = Owners::default();
        owners.claim("s", claim("0", "gone"), Use::Writes);
        let (old, young) = (claim("1", "a"), claim("2", "b"));
        owners.rebuild([
            ("s".to_owned(), young.clone(), Use::Writes),
            ("s".to_owned(), old.clone(), Use::Writes),
        ]);
        assert_eq!(owners.claim("s", young, Use::Writes), owned(&old, &[]));
        assert_eq!(owners.release("gone"), []);
    }
}
