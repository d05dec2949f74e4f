//! Which object owns a stream: the oldest that may write it. And who else uses a channel or stream, so that it outlives its
//! owner. Pure, in memory, made anew from the statuses when this operator begins to lead.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kvs_ingest_api::KvsIngest;
use parking_lot::Mutex;

/// Who claims a channel or stream.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// `metadata.creationTimestamp`: the oldest wins.
    pub created: Timestamp,
    /// `metadata.uid`: decides between objects of the same second.
    pub uid: Arc<str>,
    /// For people, and to wake it up.
    pub namespace: Box<str>,
    /// For people, and to wake it up.
    pub name: Box<str>,
}

impl Claim {
    /// Of an object on its channel or stream.
    #[must_use]
    pub fn of(ingest: &KvsIngest) -> Arc<Self> {
        let created = ingest.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |time| time.0);
        Arc::new(Self {
            created,
            uid: ingest.uid().unwrap_or_default().into(),
            namespace: ingest.namespace().unwrap_or_default().into(),
            name: ingest.name_any().into(),
        })
    }
}

/// What for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Its agent writes it, or will: one at a time.
    Writes,
    /// It only is to stay: its object is suspended, or it is a channel, which is nobody's.
    Keeps,
}

/// What came of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// `None`: nobody writes it.
    pub owner: Option<Arc<Claim>>,
    /// Who has to be looked at again, because somebody else owns it now.
    pub wake: Vec<Arc<Claim>>,
}

/// The claims of all objects. Two an object at most: bounded by their number. There are 20,000, so each claim is held once, and
/// of ARNs a hash.
#[derive(Debug, Default)]
pub struct Owners {
    claims: Mutex<Claims>,
    hashes: RandomState,
}

/// SipHash of an ARN with keys of this process: of 20,000, one chance in 10^11 that two have the same.
type Arn = u64;

/// An object claims one of each at a time.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Channel,
    Stream,
}

#[derive(Debug, Default)]
struct Claims {
    users: HashMap<Arn, Vec<(Arc<Claim>, Use)>>,
    /// By uid.
    held: HashMap<Arc<str>, Held>,
}

#[derive(Debug)]
struct Held {
    claim: Arc<Claim>,
    channel: Option<Arn>,
    stream: Option<Arn>,
}

impl Held {
    fn of(&mut self, kind: Kind) -> &mut Option<Arn> {
        match kind {
            Kind::Channel => &mut self.channel,
            Kind::Stream => &mut self.stream,
        }
    }
}

impl Owners {
    /// Claims a stream, or says that it is used otherwise now.
    pub fn claim_stream(&self, arn: &str, claim: Arc<Claim>, usage: Use) -> Ownership {
        self.claims.lock().claim(Kind::Stream, self.key(arn), claim, usage)
    }

    /// Uses a channel, which nobody owns.
    pub fn claim_channel(&self, arn: &str, claim: Arc<Claim>) {
        self.claims.lock().claim(Kind::Channel, self.key(arn), claim, Use::Keeps);
    }

    /// The object has no right to its stream. Who has to be looked at because of that.
    pub fn release_stream(&self, uid: &str) -> Vec<Arc<Claim>> {
        self.claims.lock().release(Kind::Stream, uid)
    }

    /// The object is gone, or uses neither channel nor stream. Who has to be looked at because of that.
    pub fn release(&self, uid: &str) -> Vec<Arc<Claim>> {
        let mut claims = self.claims.lock();
        let mut heirs = claims.release(Kind::Channel, uid);
        heirs.extend(claims.release(Kind::Stream, uid));
        heirs
    }

    /// Of an object that has a claim: it writes no more, and what it has is to stay. Who has to be looked at because of that.
    pub fn keep(&self, uid: &str) -> Vec<Arc<Claim>> {
        let mut claims = self.claims.lock();
        let Some(arn) = claims.held.get(uid).and_then(|held| held.stream) else { return Vec::new() };
        let before = claims.owner(arn).cloned();
        let users = claims.users.get_mut(&arn).into_iter().flatten();
        for (_, usage) in users.filter(|(claim, _)| &*claim.uid == uid) {
            *usage = Use::Keeps;
        }
        if claims.owner(arn) == before.as_ref() {
            return Vec::new();
        }
        claims.all(arn).filter(|other| &*other.uid != uid).cloned().collect()
    }

    /// The other objects that use it, in whatever way, the oldest first.
    pub fn other_users(&self, arn: &str, uid: &str) -> Vec<Arc<Claim>> {
        self.claims.lock().all(self.key(arn)).filter(|claim| &*claim.uid != uid).cloned().collect()
    }

    /// Forgets all claims for these.
    pub fn rebuild(
        &self,
        channels: impl IntoIterator<Item = (String, Arc<Claim>)>,
        streams: impl IntoIterator<Item = (String, Arc<Claim>, Use)>,
    ) {
        let mut anew = Claims::default();
        for (arn, claim) in channels {
            anew.put(Kind::Channel, self.key(&arn), claim, Use::Keeps);
        }
        for (arn, claim, usage) in streams {
            anew.put(Kind::Stream, self.key(&arn), claim, usage);
        }
        *self.claims.lock() = anew;
    }

    fn key(&self, arn: &str) -> Arn {
        self.hashes.hash_one(arn)
    }
}

impl Claims {
    fn claim(&mut self, kind: Kind, arn: Arn, claim: Arc<Claim>, usage: Use) -> Ownership {
        let mut wake = Vec::new();
        if self.held.get_mut(&claim.uid).and_then(|held| *held.of(kind)).is_some_and(|old| old != arn) {
            wake = self.release(kind, &claim.uid);
        }
        let before = self.owner(arn).cloned();
        let uid = claim.uid.clone();
        self.put(kind, arn, claim, usage);
        let owner = self.owner(arn).cloned();
        if owner != before {
            wake.extend(self.all(arn).filter(|other| other.uid != uid).cloned());
        }
        Ownership { owner, wake }
    }

    fn put(&mut self, kind: Kind, arn: Arn, claim: Arc<Claim>, usage: Use) {
        let held = self.held.entry(claim.uid.clone());
        let held = held.or_insert_with(|| Held { claim, channel: None, stream: None });
        *held.of(kind) = Some(arn);
        let claim = &held.claim;
        // There is one, nearly always.
        let users = self.users.entry(arn).or_insert_with(|| Vec::with_capacity(1));
        match users.iter_mut().find(|(other, _)| other.uid == claim.uid) {
            Some((_, used)) => *used = usage,
            None => {
                users.push((claim.clone(), usage));
                users.sort_by(|one, other| one.0.cmp(&other.0));
            }
        }
    }

    fn all(&self, arn: Arn) -> impl Iterator<Item = &Arc<Claim>> {
        self.users.get(&arn).into_iter().flatten().map(|(claim, _)| claim)
    }

    fn owner(&self, arn: Arn) -> Option<&Arc<Claim>> {
        let mut users = self.users.get(&arn)?.iter();
        users.find(|(_, usage)| *usage == Use::Writes).map(|(claim, _)| claim)
    }

    fn release(&mut self, kind: Kind, uid: &str) -> Vec<Arc<Claim>> {
        let Some(held) = self.held.get_mut(uid) else { return Vec::new() };
        let arn = held.of(kind).take();
        if held.channel.is_none() && held.stream.is_none() {
            self.held.remove(uid);
        }
        let Some(arn) = arn else { return Vec::new() };
        let owned = self.owner(arn).is_some_and(|owner| &*owner.uid == uid);
        let Some(users) = self.users.get_mut(&arn) else { return Vec::new() };
        users.retain(|(claim, _)| &*claim.uid != uid);
        if users.is_empty() {
            self.users.remove(&arn);
        }
        // The heir, and those who name the one that is gone.
        if owned { self.all(arn).cloned().collect() } else { Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(created: i64, uid: &str) -> Arc<Claim> {
        let created = Timestamp::from_second(created).unwrap();
        Arc::new(Claim { created, uid: uid.into(), namespace: "n".into(), name: uid.into() })
    }

    fn owned(owner: &Arc<Claim>, wake: &[&Arc<Claim>]) -> Ownership {
        Ownership { owner: Some(owner.clone()), wake: wake.iter().map(|claim| (*claim).clone()).collect() }
    }

    #[test]
    fn the_oldest_wins_whoever_comes_first() {
        let owners = Owners::default();
        let (old, young) = (claim(1, "b"), claim(2, "a"));
        let writes = |claim: &Arc<Claim>| owners.claim_stream("s", claim.clone(), Use::Writes);
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
        assert!(owners.claims.lock().users.is_empty() && owners.claims.lock().held.is_empty());
    }

    #[test]
    fn all_who_wait_for_a_stream_are_told_when_its_owner_goes() {
        let owners = Owners::default();
        let [a, b, c] = [(1, "a"), (2, "b"), (3, "c")].map(|(created, uid)| claim(created, uid));
        for claim in [&a, &b, &c] {
            owners.claim_stream("s", claim.clone(), Use::Writes);
        }
        assert_eq!(owners.release("b"), [], "it owned nothing");
        owners.claim_stream("s", b.clone(), Use::Writes);
        assert_eq!(owners.release("a"), [b, c]);
    }

    #[test]
    fn who_is_suspended_owns_nothing_and_keeps_it_all_the_same() {
        let owners = Owners::default();
        let (old, young) = (claim(1, "a"), claim(2, "b"));
        owners.claim_stream("s", old.clone(), Use::Writes);
        assert_eq!(owners.claim_stream("s", young.clone(), Use::Writes), owned(&old, &[]));
        assert_eq!(
            owners.claim_stream("s", old.clone(), Use::Keeps),
            owned(&young, &[&young]),
            "the heir is told"
        );
        assert_eq!(owners.other_users("s", "b"), std::slice::from_ref(&old));
        assert_eq!(owners.claim_stream("s", old.clone(), Use::Writes), owned(&old, &[&young]));
        owners.release("b");
        assert_eq!(owners.other_users("s", "a"), []);
        assert_eq!(owners.claim_stream("s", old, Use::Keeps).owner, None);
    }

    #[test]
    fn who_is_suspended_lets_others_write_whatever_else_is_wrong_with_it() {
        let owners = Owners::default();
        let (old, young) = (claim(1, "a"), claim(2, "b"));
        assert_eq!(owners.keep("a"), [], "it has no claim");
        owners.claim_stream("s", old.clone(), Use::Writes);
        owners.claim_stream("s", young.clone(), Use::Writes);
        assert_eq!(owners.keep("a"), std::slice::from_ref(&young));
        assert_eq!(owners.keep("a"), [], "they know");
        assert_eq!(owners.claim_stream("s", young, Use::Writes).owner.unwrap().uid.as_ref(), "b");
        assert_eq!(owners.other_users("s", "b"), [old], "it uses it all the same");
    }

    #[test]
    fn who_changes_the_stream_leaves_the_old_one() {
        let owners = Owners::default();
        let (one, two) = (claim(1, "a"), claim(2, "b"));
        owners.claim_stream("s", one.clone(), Use::Writes);
        owners.claim_stream("s", two.clone(), Use::Writes);
        assert_eq!(owners.claim_stream("t", one.clone(), Use::Writes), owned(&one, &[&two]));
        assert_eq!(owners.claim_stream("s", two.clone(), Use::Writes), owned(&two, &[]));
    }

    #[test]
    fn of_the_same_second_the_smaller_uid_wins() {
        let owners = Owners::default();
        owners.claim_stream("s", claim(1, "b"), Use::Writes);
        assert_eq!(owners.claim_stream("s", claim(1, "a"), Use::Writes).owner.unwrap().uid.as_ref(), "a");
    }

    #[test]
    fn what_a_term_begins_with_is_what_the_statuses_say() {
        let owners = Owners::default();
        owners.claim_stream("s", claim(0, "gone"), Use::Writes);
        let (old, young) = (claim(1, "a"), claim(2, "b"));
        let channels = [("c".to_owned(), young.clone())];
        owners.rebuild(
            channels,
            [young.clone(), old.clone()].map(|claim| ("s".to_owned(), claim, Use::Writes)),
        );
        assert_eq!(owners.other_users("c", "a"), std::slice::from_ref(&young));
        assert_eq!(owners.claim_stream("s", young, Use::Writes), owned(&old, &[]));
        assert_eq!(owners.release("gone"), []);
    }

    #[test]
    fn a_channel_is_used_beside_a_stream_and_owned_by_nobody() {
        let owners = Owners::default();
        let (one, two) = (claim(1, "a"), claim(2, "b"));
        owners.claim_stream("s", one.clone(), Use::Writes);
        owners.claim_channel("c", one.clone());
        owners.claim_channel("c", two.clone());
        assert_eq!(owners.other_users("c", "b"), std::slice::from_ref(&one));
        assert_eq!(owners.release_stream("a"), []);
        assert_eq!(owners.other_users("c", "b"), std::slice::from_ref(&one), "it is on the channel still");
        owners.claim_channel("d", one);
        assert_eq!(owners.other_users("c", "a"), [two]);
        assert_eq!(owners.other_users("c", "b"), []);
        assert_eq!((owners.release("a"), owners.release("b")), (vec![], vec![]));
        assert!(owners.claims.lock().users.is_empty() && owners.claims.lock().held.is_empty());
    }
}
