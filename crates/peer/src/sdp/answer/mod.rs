//! Reads an answer against our own offer.
//!
//! What RFC 8829, 9143, 8839 and 8122 allow to be left out is completed, from the session, from other sections, or from
//! the offer; a line that cannot be read costs itself, and is said.

mod data;
mod fingerprint;
mod formats;
mod lines;
mod matching;
mod transport;

use self::data::{match_data, sctp_port};
use self::formats::{payload_type_of, read_formats};
use self::lines::{Attributes, Description, Section};
use self::matching::match_sections;
use self::transport::{Member, idle, read_transports};
use super::codec::PayloadFormat;
use super::outcome::{AcceptedData, Answer, AnswerError, MAX_ANSWER};
use super::section::{AcceptedSection, HeaderExtension, OfferedSection};
use super::words::{LeftOut, Secrets, is_blank, printable};
use kvs_media::MediaKind;

/// Most SSRCs of a section.
const MAX_SSRCS: usize = 64;

/// Reads `sdp`, the answer to an offer of these sections, with one for data channels behind them where `data` names its mid.
///
/// Sections are found by mid, else by their place. One that is rejected, sends nothing, or has no codec that was offered
/// is in [`Answer::refused`] and takes nothing else with it. Passed-over lines are in [`Answer::left_out`].
///
/// # Errors
///
/// [`AnswerError`] when no media can come of it.
pub fn read_answer(offered: &[OfferedSection], data: Option<&str>, sdp: &str) -> Result<Answer, AnswerError> {
    if sdp.len() > MAX_ANSWER {
        return Err(AnswerError::TooLong(sdp.len()));
    }
    let secrets = Secrets::new(lines::passwords(sdp));
    let mut left_out = LeftOut::default();
    let mut description = lines::read_lines(sdp, &mut left_out);
    if description.sections.is_empty() {
        return Err(AnswerError::NotSdp);
    }
    let mids: Vec<&str> = offered.iter().map(|section| section.mid.as_str()).chain(data).collect();
    lines::cut_where_media_lines_are_missing(&mut description, &mids, &mut left_out);
    let description = &description;

    let (mut sections, mut members, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    let data = data.map(|mid| (mid, match_data(mid, &description.sections)));
    let of_data = data.and_then(|(_, section)| section);
    let mut matched: Vec<_> = match_sections(offered, &description.sections, of_data, &mut left_out);
    for (offer, answer) in offered.iter().zip(matched.iter().copied()) {
        let kind = offer.kind.as_str();
        let Some(index) = answer else {
            refused.push(format!("{kind}: the answer has no section for it"));
            continue;
        };
        let section = &description.sections[index];
        match read_section(description, section, offer, &mut left_out) {
            Ok(accepted) => {
                sections.push(accepted);
                members.push(Member { section: index, mid: section.mid().unwrap_or(&offer.mid) });
            }
            Err(why) => refused.push(secrets.without(why)),
        }
    }
    if sections.is_empty() {
        let codecs: Vec<_> = MediaKind::ALL.into_iter().flat_map(|kind| codecs(offered, kind)).collect();
        return Err(AnswerError::CodecMismatch {
            refused: refused.join("; "),
            offered: codecs.join(" and "),
        });
    }
    let data_member = data.and_then(|(mid, answer)| {
        let section = answer.filter(|section| !description.sections[*section].is_rejected());
        if section.is_none() {
            refused.push("data channels rejected: the master has none to open".to_owned());
        }
        matched.push(answer);
        section.map(|section| Member { section, mid: description.sections[section].mid().unwrap_or(mid) })
    });
    let data_section = data_member.as_ref().map(|member| member.section);
    members.extend(data_member);
    members.extend(idle(description, &matched, &members));
    let (transports, of_members) =
        read_transports(description, &members, &mut left_out).map_err(|error| match error {
            AnswerError::Missing(what) => AnswerError::Missing(secrets.without(what)),
            error => error,
        })?;
    for (section, transport) in sections.iter_mut().zip(&of_members) {
        section.transport = *transport;
    }
    let transport_of = |section: usize| {
        let member = members.iter().position(|member| member.section == section)?;
        of_members.get(member).copied()
    };
    let data = data_section.and_then(|section| {
        let sctp_port = sctp_port(&description.sections[section]);
        Some(AcceptedData { transport: transport_of(section)?, sctp_port })
    });
    let by_section = matched.iter().map(|answer| answer.and_then(transport_of)).collect();
    Ok(Answer { transports, by_section, sections, data, refused, left_out: left_out.finish(&secrets) })
}

/// The codecs of one kind that were offered, as people call them.
fn codecs(offered: &[OfferedSection], kind: MediaKind) -> Vec<String> {
    let sections = offered.iter().filter(|section| section.kind == kind);
    let mut names: Vec<String> = Vec::new();
    for name in sections.flat_map(|section| &section.formats).filter_map(|format| format.codec.name()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// # Errors
///
/// Why nothing will come of it, in words for a person.
fn read_section(
    description: &Description<'_>,
    section: &Section<'_>,
    offer: &OfferedSection,
    left_out: &mut LeftOut,
) -> Result<AcceptedSection, String> {
    let kind = offer.kind.as_str();
    let codecs = codecs(std::slice::from_ref(offer), offer.kind).join(" or ");
    let wanted = match offer.kind {
        MediaKind::Video => format!("{codecs} to send (VP8 and VP9 cannot be stored)"),
        MediaKind::Audio => format!("{codecs} to send"),
    };
    let (session, attributes) = (&description.session, &section.attributes);
    if section.is_rejected() {
        return Err(format!("{kind} rejected: the master has no {wanted}"));
    }
    if let Some(direction) = silence(attributes).unwrap_or_else(|| silence(session).flatten()) {
        return Err(format!("{kind} is {direction}: the master has none, or no {wanted}"));
    }
    let formats = read_formats(section, offer, left_out).map_err(|found| {
        if found.is_empty() {
            format!("{kind} answered without a codec: the master has no {wanted}")
        } else {
            format!("{kind} answered with {} only", found.join(", "))
        }
    })?;
    if !attributes.has("rtcp-mux") && !session.has("rtcp-mux") {
        left_out.say(format!("{kind} without rtcp-mux: RTCP is read from the port of RTP"));
    }
    let (ssrcs, rtx_ssrcs) = read_ssrcs(attributes);
    let feedback = Feedback { attributes, formats: &formats };
    Ok(AcceptedSection {
        kind: offer.kind,
        mid: offer.mid.clone(),
        answered_mid: section.mid().filter(|mid| *mid != offer.mid).map(str::to_owned),
        transport: 0,
        extensions: read_extensions(session, attributes, &offer.extensions, left_out),
        ssrcs,
        rtx_ssrcs,
        nack: feedback.has("nack"),
        transport_cc: feedback.has("transport-cc"),
        remb: feedback.has("goog-remb"),
        formats,
    })
}

/// The direction by which nothing is sent; `Some(None)` when something is. Without any direction `None`: that of the
/// session counts (RFC 8866, 6.7), and without one there `sendrecv`. Of several that contradict each other, one that
/// sends counts.
fn silence(attributes: &Attributes<'_>) -> Option<Option<&'static str>> {
    if attributes.has("sendrecv") || attributes.has("sendonly") {
        return Some(None);
    }
    ["inactive", "recvonly"].into_iter().find(|direction| attributes.has(direction)).map(Some)
}

/// SSRCs, without those of retransmissions, and pairs of both.
fn read_ssrcs(attributes: &Attributes<'_>) -> (Vec<u32>, Vec<(u32, u32)>) {
    fn words(value: &str) -> impl Iterator<Item = &str> {
        value.split(is_blank).filter(|word| !word.is_empty())
    }
    let mut pairs: Vec<(u32, u32)> = Vec::new();
    for value in attributes.all("ssrc-group") {
        let mut words = words(value);
        if !words.next().is_some_and(|semantics| semantics.eq_ignore_ascii_case("FID")) {
            continue;
        }
        let numbers: Vec<u32> = words.map_while(|word| word.parse().ok()).collect();
        if let [media, retransmissions] = numbers[..]
            && media != retransmissions
            && !pairs.contains(&(media, retransmissions))
            && pairs.len() < MAX_SSRCS
        {
            pairs.push((media, retransmissions));
        }
    }
    let mut ssrcs: Vec<u32> = Vec::new();
    for ssrc in attributes.all("ssrc").filter_map(|value| words(value).next()?.parse().ok()) {
        let is_rtx = pairs.iter().any(|(_, retransmissions)| *retransmissions == ssrc);
        if !is_rtx && !ssrcs.contains(&ssrc) && ssrcs.len() < MAX_SSRCS {
            ssrcs.push(ssrc);
        }
    }
    (ssrcs, pairs)
}

/// The extensions that were offered, under the ids of the answer; behind them under those of the offer, where the answer
/// has none for it (the C SDK) or others (RFC 8285, 6, asks for the same), and no use for that id.
fn read_extensions(
    session: &Attributes<'_>,
    attributes: &Attributes<'_>,
    offered: &[HeaderExtension],
    left_out: &mut LeftOut,
) -> Vec<HeaderExtension> {
    let mut written: Vec<(u8, &str)> = Vec::new();
    for value in attributes.all("extmap").chain(session.all("extmap")) {
        let mut words = value.split(is_blank).filter(|word| !word.is_empty());
        // A direction may follow: `1/recvonly`.
        let id = words.next().and_then(|word| word.split('/').next()).and_then(|id| id.parse::<u8>().ok());
        match (id.filter(|id| *id > 0), words.next()) {
            (Some(id), Some(uri)) => written.push((id, uri)),
            _ => left_out.say(format!("extmap:{}", printable(value))),
        }
    }
    // An id that is given twice is what the offer says it is, else what it was given to first.
    let is_as_offered =
        |(id, uri): &(u8, &str)| offered.iter().any(|offered| offered.id == *id && offered.uri == *uri);
    written.sort_by_key(|extension| !is_as_offered(extension));
    let mut used: Vec<u8> = Vec::new();
    let mut extensions: Vec<HeaderExtension> = Vec::new();
    for (id, uri) in written {
        if used.contains(&id) {
            continue;
        }
        used.push(id);
        if offered.iter().any(|offered| offered.uri == uri)
            && extensions.iter().all(|extension| extension.uri != uri)
        {
            extensions.push(HeaderExtension { id, uri: uri.to_owned() });
        }
    }
    extensions.extend(offered.iter().filter(|offered| !used.contains(&offered.id)).cloned());
    extensions
}

struct Feedback<'a> {
    attributes: &'a Attributes<'a>,
    formats: &'a [PayloadFormat],
}

impl Feedback<'_> {
    /// `a=rtcp-fb` of this type without a parameter, for a media format or all of them (RFC 4585, 4.2).
    fn has(&self, wanted: &str) -> bool {
        self.attributes.all("rtcp-fb").any(|value| {
            let mut words = value.split(is_blank).filter(|word| !word.is_empty());
            let (Some(number), Some(typ), None) = (words.next(), words.next(), words.next()) else {
                return false;
            };
            let is_ours = number == "*"
                || payload_type_of(number).is_some_and(|number| {
                    self.formats.iter().any(|format| format.payload_type == number && !format.codec.is_rtx())
                });
            is_ours && typ.eq_ignore_ascii_case(wanted)
        })
    }
}
