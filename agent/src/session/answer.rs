//! Tells one answer from another.

use std::collections::BTreeSet;

/// Candidates taken from the answers to one offer. A master has a handful; more are not handed on.
const MAX_CANDIDATES: usize = 100;

/// The answer in force.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    sdp: String,
    ufrags: BTreeSet<String>,
    fingerprints: BTreeSet<String>,
    candidates: BTreeSet<String>,
    /// Another one was ignored, and that was reported.
    pub(super) other_reported: bool,
}

/// What a further answer to the same offer is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Further {
    /// From the same transport. These candidates are new.
    Same(Vec<String>),
    /// From another transport: another connection, or another master.
    Other,
}

impl Answer {
    pub(super) fn new(sdp: String) -> Self {
        let values = |name: &str| -> BTreeSet<String> {
            sdp.lines()
                .filter_map(|line| line.trim_end().strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'))
                .map(str::to_owned)
                .collect()
        };
        Self {
            ufrags: values("ice-ufrag"),
            // Hash names and hex digits are written in either case (RFC 8122 section 5).
            fingerprints: values("fingerprint").iter().map(|text| text.to_ascii_lowercase()).collect(),
            candidates: values("candidate").iter().map(|text| format!("candidate:{text}")).collect(),
            sdp,
            other_reported: false,
        }
    }

    /// Compares with another answer to the same offer, and takes its candidates if it is the same.
    pub(super) fn further(&mut self, sdp: String) -> Further {
        if sdp == self.sdp {
            return Further::Same(Vec::new());
        }
        let other = Self::new(sdp);
        if self.ufrags.is_disjoint(&other.ufrags) || !self.same_certificate(&other) {
            return Further::Other;
        }
        let room = MAX_CANDIDATES.saturating_sub(self.candidates.len());
        let new: Vec<_> = other.candidates.difference(&self.candidates).take(room).cloned().collect();
        self.candidates.extend(new.iter().cloned());
        Further::Same(new)
    }

    /// Whether both were given with the same certificate. A connection keeps its own.
    pub(super) fn same_certificate(&self, other: &Self) -> bool {
        self.fingerprints.is_empty() && other.fingerprints.is_empty()
            || !self.fingerprints.is_disjoint(&other.fingerprints)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sdp(ufrag: &str, fingerprint: &str, candidates: &[&str]) -> String {
        let mut text = format!(
            "v=0\r\nm=video 9 X 102\r\na=ice-ufrag:{ufrag}\r\na=fingerprint:sha-256 {fingerprint}\r\n"
        );
        for candidate in candidates {
            text.push_str(&format!("a=candidate:{candidate}\r\n"));
        }
        text
    }

    #[test]
    fn an_answer_with_more_candidates_is_the_same_answer() {
        let mut answer = Answer::new(sdp("u", "AA:BB", &["1"]));
        assert_eq!(answer.further(sdp("u", "AA:BB", &["1"])), Further::Same(Vec::new()));
        let more = vec!["candidate:2".to_owned(), "candidate:3".to_owned()];
        assert_eq!(answer.further(sdp("u", "aa:bb", &["1", "3", "2"])), Further::Same(more));
        assert_eq!(answer.further(sdp("u", "AA:BB", &["2"])), Further::Same(Vec::new()));
        assert_eq!(answer.further(sdp("w", "AA:BB", &[])), Further::Other);
        assert_eq!(answer.further(sdp("u", "CC", &[])), Further::Other);
    }

    #[test]
    fn candidates_are_bounded() {
        let mut answer = Answer::new(sdp("u", "AA", &[]));
        let many: Vec<_> = (0..1000).map(|number| number.to_string()).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let Further::Same(new) = answer.further(sdp("u", "AA", &many)) else { panic!("the same") };
        assert_eq!(new.len(), MAX_CANDIDATES);
    }
}
