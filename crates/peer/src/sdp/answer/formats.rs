//! The formats of a section: payload types, codecs and their parameters.

use super::lines::Section;
use crate::sdp::words::{LeftOut, is_blank, printable};
use crate::sdp::{Codec, MediaKind, OfferedSection, PayloadFormat};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// With or without padding, as `sprop-parameter-sets` come.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// What H.264 is without a `profile-level-id`: baseline, level 1 (RFC 6184, 8.1).
const DEFAULT_PROFILE: &str = "420010";
/// Most codecs that a refusal names.
const MAX_NAMED: usize = 8;

const H264: &str = "H264";
const OPUS: &str = "opus";
const RTX: &str = "rtx";

impl Codec {
    /// As in an rtpmap.
    fn encoding_name(&self) -> &'static str {
        match self {
            Codec::H264 { .. } => H264,
            Codec::Opus { .. } => OPUS,
            Codec::Rtx { .. } => RTX,
        }
    }
}

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

    fn media_codec(&self, payload_type: u8, left_out: &mut LeftOut) -> Option<Codec> {
        let kind = self.offered.kind;
        let Some(name) = self.name(payload_type) else {
            let codec = &self.offered_format(payload_type)?.codec;
            if matches!(codec, Codec::Rtx { .. }) {
                return None;
            }
            left_out
                .say(format!("{} {payload_type} without rtpmap: taken for what was offered", kind.as_str()));
            // What the answer says about it is about this codec.
            return if self.parameters(payload_type).next().is_none() {
                Some(codec.clone())
            } else {
                match codec {
                    Codec::H264 { .. } => self.h264(payload_type, left_out),
                    _ => Some(self.opus(payload_type)),
                }
            };
        };
        match kind {
            MediaKind::Video if name.eq_ignore_ascii_case(H264) => self.h264(payload_type, left_out),
            MediaKind::Audio if name.eq_ignore_ascii_case(OPUS) => Some(self.opus(payload_type)),
            _ => None,
        }
    }

    fn h264(&self, payload_type: u8, left_out: &mut LeftOut) -> Option<Codec> {
        let packetization_mode = match self.parameter(payload_type, "packetization-mode") {
            None => 0,
            Some(mode) => match mode.parse() {
                Ok(mode @ (0 | 1)) => mode,
                Ok(2_u8) => {
                    left_out.say(format!("H264 {payload_type}: packetization-mode=2 (interleaved)"));
                    return None;
                }
                _ => {
                    left_out.say(format!("H264 {payload_type}: packetization-mode={}", printable(mode)));
                    0
                }
            },
        };
        let profile = self.parameter(payload_type, "profile-level-id").filter(|id| {
            let fits = id.len() == 6 && id.bytes().all(|digit| digit.is_ascii_hexdigit());
            if !fits {
                left_out.say(format!("H264 {payload_type}: profile-level-id={}", printable(id)));
            }
            fits
        });
        let sets = self.parameter(payload_type, "sprop-parameter-sets").unwrap_or_default();
        let parameter_sets = sets
            .split(',')
            .filter(|set| !set.is_empty())
            .filter_map(|set| {
                let unit = BASE64.decode(set.trim_matches(is_blank)).ok().filter(|unit| !unit.is_empty());
                if unit.is_none() {
                    left_out.say(format!("H264 {payload_type}: a parameter set that is not base64"));
                }
                unit
            })
            .collect();
        Some(Codec::H264 {
            profile_level_id: profile.unwrap_or(DEFAULT_PROFILE).to_ascii_lowercase(),
            packetization_mode,
            parameter_sets,
        })
    }

    fn opus(&self, payload_type: u8) -> Codec {
        Codec::Opus { stereo: self.parameter(payload_type, "sprop-stereo") == Some("1") }
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
        for format in formats.iter().filter(|format| !matches!(format.codec, Codec::Rtx { .. })) {
            let same_codec = |offered: &&PayloadFormat| {
                std::mem::discriminant(&offered.codec) == std::mem::discriminant(&format.codec)
            };
            let offered: Vec<&PayloadFormat> = self.offered.formats.iter().filter(same_codec).collect();
            if offered.iter().any(|offered| offered.payload_type == format.payload_type) {
                continue;
            }
            let same_profile = |offered: &&&PayloadFormat| profile(&offered.codec) == profile(&format.codec);
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
            let mode = self.parameter(payload_type, "packetization-mode");
            let name = match mode {
                Some("2") if name.eq_ignore_ascii_case(H264) => "H264 with packetization-mode=2".to_owned(),
                _ => printable(name),
            };
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

/// `profile_idc` and constraints, and the packetization mode.
fn profile(codec: &Codec) -> Option<(&str, u8)> {
    match codec {
        Codec::H264 { profile_level_id, packetization_mode, .. } => {
            Some((profile_level_id.get(..4)?, *packetization_mode))
        }
        _ => None,
    }
}
