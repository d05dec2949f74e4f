//! What reaching the master takes, and which sections travel together (RFC 9143, RFC 8839, RFC 8122).

use super::fingerprint::read_fingerprint;
use super::lines::{Attributes, Description};
use crate::sdp::candidate::usable_candidate;
use crate::sdp::outcome::AnswerError;
use crate::sdp::transport::{Fingerprint, RemoteTransport, Setup};
use crate::sdp::words::{LeftOut, is_blank, printable};

/// Most candidates of an answer.
const MAX_CANDIDATES: usize = 100;
/// Most fingerprints of a transport.
const MAX_FINGERPRINTS: usize = 16;
/// Longest user fragment and password (RFC 8839, 5.4), in characters.
const MAX_CREDENTIAL: usize = 256;

/// A section of an answer that has a transport: one that was accepted, or one that lies idle.
pub(super) struct Member<'a> {
    /// Its place in the answer.
    pub(super) section: usize,
    /// The mid by which BUNDLE groups name it.
    pub(super) mid: &'a str,
}

/// Sections that take part and send nothing, in an answer without BUNDLE: each keeps a transport (RFC 9429, section 5.3.1),
/// so its candidates are nobody else's, even behind the same credentials. `answers` are those of the offer's sections.
pub(super) fn idle<'a>(
    description: &Description<'a>,
    answers: &[Option<usize>],
    accepted: &[Member<'_>],
) -> Vec<Member<'a>> {
    if description.session.all("group").any(words_start_with_bundle) {
        return Vec::new();
    }
    let is_accepted = |place: &usize| accepted.iter().any(|member| member.section == *place);
    let rest = answers.iter().flatten().copied().filter(|place| !is_accepted(place));
    rest.map(|section| (section, &description.sections[section]))
        .filter(|(_, found)| !found.is_rejected() && credential(&found.attributes, "ice-ufrag").is_some())
        .map(|(section, found)| Member { section, mid: found.mid().unwrap_or_default() })
        .collect()
}

/// The transports, and for each member the index of its own.
///
/// Sections of one BUNDLE group share a transport; so do sections with the same ICE credentials where there is a group at
/// all, and those without any are on the transport that has some. Without a group each section with credentials has a
/// transport: one that never comes up costs nothing.
///
/// # Errors
///
/// [`AnswerError::Missing`] when there are no ICE credentials or no usable fingerprint in the whole answer.
pub(super) fn read_transports(
    description: &Description<'_>,
    members: &[Member<'_>],
    left_out: &mut LeftOut,
) -> Result<(Vec<RemoteTransport>, Vec<usize>), AnswerError> {
    let reader = Reader { description, members };
    let groups = reader.groups(left_out);
    let mut transports = Vec::new();
    let mut of_member = vec![0; members.len()];
    let mut candidates = 0;
    for (index, group) in groups.iter().enumerate() {
        let is_alone = groups.len() == 1;
        transports.push(reader.transport(group, is_alone, &mut candidates, left_out)?);
        for &member in group {
            of_member[member] = index;
        }
    }
    Ok((transports, of_member))
}

struct Reader<'a> {
    description: &'a Description<'a>,
    members: &'a [Member<'a>],
}

type Ice<'a> = (&'a str, &'a str);

impl<'a> Reader<'a> {
    fn attributes(&self, member: usize) -> &'a Attributes<'a> {
        &self.description.sections[self.members[member].section].attributes
    }

    /// User fragment and password of a section, or of the session.
    fn ice(&self, attributes: &'a Attributes<'a>) -> Option<Ice<'a>> {
        let find =
            |name| credential(attributes, name).or_else(|| credential(&self.description.session, name));
        Some((find("ice-ufrag")?, find("ice-pwd")?))
    }

    /// Members by transport. The first of each is the one whose attributes count: the first that the BUNDLE group names
    /// (RFC 9143, 7.3.1) among those that are accepted and have ICE credentials.
    fn groups(&self, left_out: &mut LeftOut) -> Vec<Vec<usize>> {
        let bundles: Vec<Vec<&str>> = self.bundles();
        let place = |member: usize| {
            let mid = self.members[member].mid;
            bundles.iter().enumerate().find_map(|(bundle, mids)| {
                mids.iter().position(|named| *named == mid).map(|place| (bundle, place))
            })
        };
        let ice = |member: usize| self.ice(self.attributes(member));
        // The sections with credentials first: they make the transports, in the order of the answer.
        let (with, without): (Vec<usize>, Vec<usize>) =
            (0..self.members.len()).partition(|member| ice(*member).is_some());
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for member in with {
            let bundle = place(member).map(|(bundle, _)| bundle);
            let is_mine = |other: &usize| {
                bundle.is_some() && place(*other).map(|(bundle, _)| bundle) == bundle
                    // webrtcbin with bundle-policy none has no group, and transports of their own with the same credentials.
                    || !bundles.is_empty() && ice(*other) == ice(member)
            };
            match groups.iter_mut().find(|group| group.iter().any(is_mine)) {
                Some(group) => group.push(member),
                None => groups.push(vec![member]),
            }
        }
        for group in &mut groups {
            group.sort_by_key(|member| place(*member).unwrap_or((usize::MAX, *member)));
            if group.iter().any(|member| ice(*member) != ice(group[0])) {
                let mid = printable(self.members[group[0]].mid);
                left_out.say(format!("ICE credentials of sections bundled with {mid}"));
            }
        }
        for member in without {
            let bundle = place(member).map(|(bundle, _)| bundle);
            let mine = groups.iter().position(|group| {
                bundle.is_some()
                    && group.iter().any(|other| place(*other).map(|(bundle, _)| bundle) == bundle)
            });
            match (mine, groups.first_mut()) {
                (Some(mine), _) => groups[mine].push(member),
                (None, Some(first)) => first.push(member),
                (None, None) => groups.push(vec![member]),
            }
        }
        groups
    }

    fn bundles(&self) -> Vec<Vec<&'a str>> {
        let words = |value: &'a str| value.split(is_blank).filter(|word| !word.is_empty());
        let is_bundle = |value: &&str| words_start_with_bundle(value);
        self.description
            .session
            .all("group")
            .filter(is_bundle)
            .map(|value| words(value).skip(1).collect())
            .collect()
    }

    fn transport(
        &self,
        group: &[usize],
        is_alone: bool,
        count: &mut usize,
        left_out: &mut LeftOut,
    ) -> Result<RemoteTransport, AnswerError> {
        let session = &self.description.session;
        let of_group = || group.iter().map(|member| self.attributes(*member));
        // Where the sections of the group lack something, another section has it: a rejected one, at last.
        let others = || self.description.sections.iter().map(|section| &section.attributes);
        let (ice_ufrag, ice_pwd) = of_group()
            .chain(others())
            .find_map(|attributes| self.ice(attributes))
            .ok_or_else(|| AnswerError::Missing(self.missing_credentials().to_owned()))?;
        let mut fingerprints = Vec::new();
        of_group().for_each(|attributes| read_fingerprints(attributes, &mut fingerprints, left_out));
        for attributes in [session].into_iter().chain(others()) {
            if fingerprints.is_empty() {
                read_fingerprints(attributes, &mut fingerprints, left_out);
            }
        }
        if fingerprints.is_empty() {
            return Err(AnswerError::Missing(self.missing_fingerprint()));
        }
        let setup = read_setup(
            of_group().take(1).chain([session]).chain(of_group().skip(1)).flat_map(|all| all.all("setup")),
            left_out,
        );
        let mut candidates = Candidates { usable: Vec::new(), count, left_out };
        of_group().chain([session]).for_each(|attributes| candidates.read(attributes));
        if is_alone || candidates.usable.is_empty() {
            // Pion writes them into the first section of the answer, even when that one is rejected.
            let is_mine = |attributes: &&Attributes<'a>| {
                let own = credential(attributes, "ice-ufrag");
                own.is_none_or(|ufrag| ufrag == ice_ufrag)
            };
            self.unaccepted().filter(is_mine).for_each(|attributes| candidates.read(attributes));
        }
        let candidates = candidates.usable;
        Ok(RemoteTransport {
            ice_ufrag: ice_ufrag.to_owned(),
            ice_pwd: ice_pwd.to_owned(),
            ice_lite: of_group().chain([session]).any(|attributes| attributes.has("ice-lite")),
            fingerprints,
            setup,
            candidates,
        })
    }

    /// Sections that are rejected or were not offered.
    fn unaccepted(&self) -> impl Iterator<Item = &'a Attributes<'a>> {
        let is_accepted = |place: usize| self.members.iter().any(|member| member.section == place);
        let sections = self.description.sections.iter().enumerate();
        sections.filter(move |(place, _)| !is_accepted(*place)).map(|(_, section)| &section.attributes)
    }

    fn missing_credentials(&self) -> &'static str {
        let sections = self.description.sections.iter().map(|section| &section.attributes);
        let mut all = sections.chain([&self.description.session]);
        if all.any(|attributes| credential(attributes, "ice-ufrag").is_some()) {
            "ICE password (a=ice-pwd)"
        } else {
            "ICE user fragment (a=ice-ufrag)"
        }
    }

    fn missing_fingerprint(&self) -> String {
        let sections = self.description.sections.iter().map(|section| &section.attributes);
        let mut found: Vec<String> = Vec::new();
        for value in
            sections.chain([&self.description.session]).flat_map(|attributes| attributes.all("fingerprint"))
        {
            if let Err(what) = read_fingerprint(value)
                && found.len() < MAX_FINGERPRINTS
                && !found.contains(&what)
            {
                found.push(what);
            }
        }
        if found.is_empty() {
            "certificate fingerprint (a=fingerprint)".to_owned()
        } else {
            format!("certificate fingerprint (a=fingerprint), only a {}", found.join(", a "))
        }
    }
}

fn words_start_with_bundle(value: &str) -> bool {
    value.split(is_blank).next().is_some_and(|semantics| semantics.eq_ignore_ascii_case("BUNDLE"))
}

/// The first usable value: one word of visible ASCII.
fn credential<'a>(attributes: &Attributes<'a>, name: &str) -> Option<&'a str> {
    let mut words =
        attributes.all(name).filter_map(|value| value.split(is_blank).next()).filter(|word| !word.is_empty());
    words.find(|word| word.len() <= MAX_CREDENTIAL && word.bytes().all(|byte| byte.is_ascii_graphic()))
}

fn read_fingerprints(
    attributes: &Attributes<'_>,
    fingerprints: &mut Vec<Fingerprint>,
    left_out: &mut LeftOut,
) {
    for value in attributes.all("fingerprint") {
        match read_fingerprint(value) {
            Ok(fingerprint) if fingerprints.contains(&fingerprint) => {}
            Ok(_) if fingerprints.len() == MAX_FINGERPRINTS => {
                left_out.say(format!("fingerprints beyond {MAX_FINGERPRINTS}"));
            }
            Ok(fingerprint) => fingerprints.push(fingerprint),
            Err(why) => left_out.say(why),
        }
    }
}

/// The first that is `active` or `passive`. `actpass` and `holdconn` may not be in an answer, and browsers refuse both:
/// whoever writes them has not chosen, and RFC 5763, section 5, recommends `active` to answerers.
fn read_setup<'a>(values: impl Iterator<Item = &'a str>, left_out: &mut LeftOut) -> Setup {
    let mut found = None;
    for word in values.filter_map(|value| value.split(is_blank).next()).filter(|word| !word.is_empty()) {
        if word.eq_ignore_ascii_case("active") {
            return Setup::Active;
        }
        if word.eq_ignore_ascii_case("passive") {
            return Setup::Passive;
        }
        found = found.or(Some(word));
    }
    if let Some(word) = found {
        left_out.say(format!("setup:{}, taken for active", printable(word)));
    }
    Setup::Active
}

struct Candidates<'a> {
    usable: Vec<String>,
    /// Of the whole answer.
    count: &'a mut usize,
    left_out: &'a mut LeftOut,
}

impl Candidates<'_> {
    fn read(&mut self, attributes: &Attributes<'_>) {
        for text in attributes.all("candidate") {
            match usable_candidate(text) {
                Ok(candidate) if self.usable.iter().any(|known| is_same(known, &candidate)) => {}
                Ok(_) if *self.count == MAX_CANDIDATES => {
                    self.left_out.say(format!("candidates beyond {MAX_CANDIDATES}"));
                }
                Ok(candidate) => {
                    *self.count += 1;
                    self.usable.push(candidate);
                }
                Err(why) => self.left_out.say(why),
            }
        }
    }
}

/// Address, port and type are what a candidate is; the sections of one answer may number and rank it differently.
fn is_same(one: &str, other: &str) -> bool {
    what_it_is(one) == what_it_is(other)
}

fn what_it_is(candidate: &str) -> (Option<&str>, Option<&str>, Option<&str>) {
    let mut words = candidate.split(' ');
    (words.nth(4), words.next(), words.nth(1))
}
