//! Which section of the answer answers which section of the offer.

use std::collections::HashSet;

use super::lines::Section;
use crate::sdp::section::OfferedSection;
use crate::sdp::words::{LeftOut, printable};

/// For each offered section the index of the one that answers it.
///
/// By mid when every mid in the answer is one of the offer, of a section of that kind, and none is there twice; sections
/// without a mid then go by their place. Otherwise all go by their place (RFC 3264, 6: an answer has the sections of the
/// offer in their order). What has no place, because sections before it are missing, goes to the first section of its
/// kind that is free. `of_data` is the one that answers the section for data channels.
pub(super) fn match_sections(
    offered: &[OfferedSection],
    sections: &[Section<'_>],
    of_data: Option<usize>,
    left_out: &mut LeftOut,
) -> Vec<Option<usize>> {
    let agrees = |offer: usize, section: usize| {
        sections[section].media.eq_ignore_ascii_case(offered[offer].kind.as_str())
    };
    let mut answers: Vec<Option<usize>> = vec![None; offered.len()];
    let mut free: Vec<usize> = (0..sections.len()).filter(|section| Some(*section) != of_data).collect();
    if let Some(by_mid) = by_mid(offered, sections, of_data, &agrees) {
        for (section, offer) in by_mid {
            answers[offer] = Some(section);
        }
        free.retain(|section| !answers.contains(&Some(*section)));
    }
    free.retain(|&section| {
        let fits = section < offered.len() && answers[section].is_none() && agrees(section, section);
        if fits {
            answers[section] = Some(section);
        }
        !fits
    });
    for section in free {
        let place = (0..offered.len()).find(|&offer| answers[offer].is_none() && agrees(offer, section));
        match place {
            Some(offer) => answers[offer] = Some(section),
            None => {
                left_out.say(format!(
                    "section {} ({}): not offered",
                    section + 1,
                    printable(sections[section].media)
                ));
            }
        }
    }
    answers
}

/// Pairs of section and offered section; `None` when the mids are not those of the offer.
fn by_mid(
    offered: &[OfferedSection],
    sections: &[Section<'_>],
    of_data: Option<usize>,
    agrees: &impl Fn(usize, usize) -> bool,
) -> Option<Vec<(usize, usize)>> {
    let mut seen = HashSet::new();
    let with_mid = sections.iter().enumerate().filter_map(|(index, section)| Some((index, section.mid()?)));
    let with_mid = with_mid.filter(|(section, _)| Some(*section) != of_data);
    with_mid
        .map(|(section, mid)| {
            let offer = offered.iter().position(|offered| offered.mid == mid)?;
            (seen.insert(mid) && agrees(offer, section)).then_some((section, offer))
        })
        .collect()
}
