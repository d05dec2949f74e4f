//! The formats of a section: payload types, codecs and their parameters.

use super::lines::Section;
use crate::sdp::codec::{self, Codec, PayloadFormat, RTX};
use crate::sdp::section::OfferedSection;
use crate::sdp::words::{LeftOut, is_blank};

/// Most codecs that a refusal names.
const MAX_NAMED: usize = 8;

/// What a section says about its payload types.
struct Written<'a> {
    section: &'a Section<'a>,
    offered: &'a OfferedSection,
    /// Payload type and encoding name; of several names for one the offer's, else the first.
    names: Vec<(u8, &'a str)>,
}

/// The formats that may arrive, in the order of the answer, behind them the payload types of the offer for the same
/// codecs: an answerer that has numbers of its own should send with those of the offer (RFC 3264, 6.1), and many send
/// with what they wrote.
///
/// # Errors
///
/// The names of the codecs that are there, when none of them can be read.
pub(super) fn read_formats(
    section: &Section<'_>,
    offered: &OfferedSection,
    left_out: &mut LeftOut,
) -> Result<Vec<PayloadFormat>, Vec<String>> {
    let mut names: Vec<(u8, &str)> = Vec::new();
    for value in section.attributes.all("rtpmap") {
        let Some((payload_type, encoding)) = value.split_once(is_blank) else { continue };
        let name = encoding.trim_start_matches(is_blank).split(['/', ' ']).next().unwrap_or_default();
        let Some(payload_type) = payload_type_of(payload_type).filter(|_| !name.is_empty()) else { continue };
        match names.iter_mut().find(|(other, _)| *other == payload_type) {
            None => names.push((payload_type, name)),
            Some((_, other)) => {
                let of_offer = offered.formats.iter().find(|format| format.payload_type == payload_type);
                if of_offer.is_some_and(|format| format.codec.encoding_name().eq_ignore_ascii_case(name)) {
                    *other = name;
                }
            }
        }
    }
    let written = Written { section, offered, names };
    let mut listed: Vec<u8> = Vec::new();
    for payload_type in section.formats.iter().filter_map(|format| payload_type_of(format)) {
        if !listed.contains(&payload_type) {
            listed.push(payload_type);
        }
    }
    let mut formats = written.formats_of(&listed, left_out);
    if formats.is_empty() {
        // The list in the m= line is damaged.
        let mapped: Vec<u8> = written.names.iter().map(|(payload_type, _)| *payload_type).collect();
        formats = written.formats_of(&mapped, left_out);
        if !formats.is_empty() {
            left_out.say(format!("the payload types of the m={} line", offered.kind.as_str()));
        }
    }
    if formats.is_empty() {
        return Err(written.found(&listed));
    }
    written.add_offered_numbers(&listed, &mut formats);
    Ok(formats)
}

/// A payload type, 0 to 127.
pub(super) fn payload_type_of(text: &str) -> Option<u8> {
    text.parse().ok().filter(|payload_type| *payload_type < 128)
}

impl Written<'_> {
    fn formats_of(&self, payload_types: &[u8], left_out: &mut LeftOut) -> Vec<PayloadFormat> {
        let media: Vec<PayloadFormat> = payload_types
            .iter()
            .filter_map(|&payload_type| {
                Some(PayloadFormat { payload_type, codec: self.media_codec(payload_type, left_out)? })
            })
            .collect();
        // In the order of the answer, retransmissions among the rest.
        payload_types
            .iter()
            .filter_map(|&payload_type| {
                let is_media = media.iter().find(|format| format.payload_type == payload_type);
                is_media.cloned().or_else(|| self.retransmission(payload_type, &media))
            })
            .collect()
    }

    /// Of a codec that was offered, whatever the payload type; of any other nothing is received.
    fn media_codec(&self, payload_type: u8, left_out: &mut LeftOut) -> Option<Codec> {
        let parameter = |name: &str| self.parameter(payload_type, name);
        if let Some(name) = self.name(payload_type) {
            let is_it = |format: &&PayloadFormat| format.codec.encoding_name().eq_ignore_ascii_case(name);
            let offered = self.offered.formats.iter().find(is_it)?;
            return offered.codec.answered(payload_type, parameter, left_out);
        }
        let codec = &self.offered_format(payload_type)?.codec;
        if codec.is_rtx() {
            return None;
        }
        let kind = self.offered.kind.as_str();
        left_out.say(format!("{kind} {payload_type} without rtpmap: taken for what was offered"));
        // What the answer says about it is about this codec.
        if self.parameters(payload_type).next().is_none() {
            Some(codec.clone())
        } else {
            codec.answered(payload_type, parameter, left_out)
        }
    }

    /// RTX of a payload type among `media`; where the answer does not say of which, the offer does.
    fn retransmission(&self, payload_type: u8, media: &[PayloadFormat]) -> Option<PayloadFormat> {
        let offered = self.offered_format(payload_type).map(|format| &format.codec);
        let offered_apt = match offered {
            Some(Codec::Rtx { apt }) => Some(*apt),
            _ => None,
        };
        match self.name(payload_type) {
            Some(name) if name.eq_ignore_ascii_case(RTX) => {}
            None if offered_apt.is_some() => {}
            _ => return None,
        }
        let apt = self.parameter(payload_type, "apt").and_then(payload_type_of).or(offered_apt)?;
        media
            .iter()
            .any(|format| format.payload_type == apt)
            .then_some(PayloadFormat { payload_type, codec: Codec::Rtx { apt } })
    }

    /// Adds the numbers that the offer has for these codecs, where the answer has others and no use for those.
    fn add_offered_numbers(&self, listed: &[u8], formats: &mut Vec<PayloadFormat>) {
        let mut added: Vec<PayloadFormat> = Vec::new();
        for format in formats.iter().filter(|format| !format.codec.is_rtx()) {
            let same_codec = |offered: &&PayloadFormat| {
                std::mem::discriminant(&offered.codec) == std::mem::discriminant(&format.codec)
            };
            let offered: Vec<&PayloadFormat> = self.offered.formats.iter().filter(same_codec).collect();
            if offered.iter().any(|offered| offered.payload_type == format.payload_type) {
                continue;
            }
            let same_profile = |offered: &&&PayloadFormat| offered.codec.profile() == format.codec.profile();
            let closest: Vec<&PayloadFormat> = if offered.iter().any(|format| same_profile(&format)) {
                offered.iter().filter(same_profile).copied().collect()
            } else {
                offered
            };
            added.extend(closest.into_iter().cloned());
        }
        let retransmissions = self.offered.formats.iter().filter(|format| match format.codec {
            Codec::Rtx { apt } => added.iter().any(|format| format.payload_type == apt),
            _ => false,
        });
        added.extend(retransmissions.cloned().collect::<Vec<_>>());
        for format in added {
            let number = format.payload_type;
            let is_used = listed.contains(&number)
                || self.name(number).is_some()
                || formats.iter().any(|format| format.payload_type == number);
            let is_bound = match format.codec {
                Codec::Rtx { apt } => formats.iter().any(|format| format.payload_type == apt),
                _ => true,
            };
            if !is_used && is_bound {
                formats.push(format);
            }
        }
    }

    /// The codecs that the section lists, for a refusal.
    fn found(&self, listed: &[u8]) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        let mut name_one = |payload_type: u8, name: &str| {
            let name = codec::in_words(name, |parameter| self.parameter(payload_type, parameter));
            if names.len() < MAX_NAMED && !names.contains(&name) {
                names.push(name);
            }
        };
        for &payload_type in listed {
            match self.name(payload_type) {
                Some(name) => name_one(payload_type, name),
                None => name_one(payload_type, &format!("payload type {payload_type}")),
            }
        }
        for (payload_type, name) in &self.names {
            name_one(*payload_type, name);
        }
        // Retransmissions are no codec by themselves.
        if names.iter().any(|name| !name.eq_ignore_ascii_case(RTX)) {
            names.retain(|name| !name.eq_ignore_ascii_case(RTX));
        }
        names
    }

    fn name(&self, payload_type: u8) -> Option<&str> {
        let mapped = self.names.iter().find(|(number, _)| *number == payload_type).map(|(_, name)| *name);
        // RFC 3551, 6: these need no rtpmap.
        mapped.or(match payload_type {
            0 => Some("PCMU"),
            3 => Some("GSM"),
            8 => Some("PCMA"),
            9 => Some("G722"),
            13 => Some("CN"),
            18 => Some("G729"),
            26 => Some("JPEG"),
            34 => Some("H263"),
            _ => None,
        })
    }

    fn offered_format(&self, payload_type: u8) -> Option<&PayloadFormat> {
        self.offered.formats.iter().find(|format| format.payload_type == payload_type)
    }

    fn parameter(&self, payload_type: u8, name: &str) -> Option<&str> {
        self.parameters(payload_type)
            .filter_map(|parameter| parameter.split_once('='))
            .find(|(found, _)| found.trim_matches(is_blank).eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim_matches(is_blank))
    }

    fn parameters(&self, payload_type: u8) -> impl Iterator<Item = &str> {
        let lines = self.section.attributes.all("fmtp").filter_map(|value| value.split_once(is_blank));
        lines
            .filter(move |(number, _)| payload_type_of(number) == Some(payload_type))
            .flat_map(|(_, parameters)| parameters.split(';'))
    }
}
