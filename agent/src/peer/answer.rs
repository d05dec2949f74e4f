//! What a master agreed to, read from its SDP answer (RFC 8866, RFC 3264).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use thiserror::Error;

/// What the answer lets arrive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Negotiated {
    /// The `profile-level-id` of the answered H.264, lower case; empty when the answer has none.
    pub video: Option<String>,
    /// SPS and PPS of `sprop-parameter-sets` (RFC 6184 section 8.1), NAL units without start codes; those that are not
    /// base64 are left out.
    pub parameter_sets: Vec<Bytes>,
    /// Opus was accepted.
    pub audio: bool,
    /// What was offered and not taken, in words for a person.
    pub refused: Vec<String>,
}

/// Why an answer cannot lead to media.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum AnswerError {
    /// There is no SDP in it.
    #[error("the answer is not SDP: it has no media section")]
    NotSdp,
    /// Nothing that was offered was accepted.
    #[error(
        "no codec in common with the master: {0}. The agent receives H.264 \
         (packetization-mode=1) and Opus; make the master send one of them"
    )]
    CodecMismatch(String),
}

/// Reads `sdp`.
///
/// # Errors
///
/// [`AnswerError`] when no media can come of it: a master that has only VP8 rejects the video
/// section or answers it `inactive`.
pub fn read_answer(sdp: &str) -> Result<Negotiated, AnswerError> {
    let sections = sections(sdp);
    if sections.is_empty() {
        return Err(AnswerError::NotSdp);
    }
    let mut negotiated = Negotiated::default();
    for section in &sections {
        let (codec, name) = match section.kind {
            "video" => ("H264", "H.264 with packetization-mode=1 to send (VP8 and VP9 cannot be stored)"),
            "audio" => ("opus", "Opus to send"),
            _ => continue,
        };
        if section.port == "0" {
            negotiated.refused.push(format!("{} rejected: the master has no {name}", section.kind));
        } else if !section.sends {
            negotiated
                .refused
                .push(format!("{} is inactive: the master has none, or no {name}", section.kind));
        } else if let Some(payload_type) = section.payload_type(codec) {
            if section.kind == "video" {
                negotiated.video = Some(section.profile_level_id(payload_type));
                negotiated.parameter_sets.extend(section.parameter_sets(codec));
            } else {
                negotiated.audio = true;
            }
        } else {
            let names: Vec<_> = section.codecs.iter().map(|(_, name)| *name).collect();
            negotiated.refused.push(format!("{} answered with {} only", section.kind, names.join(", ")));
        }
    }
    if negotiated.video.is_none() && !negotiated.audio {
        return Err(AnswerError::CodecMismatch(negotiated.refused.join("; ")));
    }
    Ok(negotiated)
}

/// Removes what the C SDK writes and SDP parsers refuse: attribute lines without a name.
pub(super) fn sanitize(sdp: &str) -> String {
    let mut clean = String::with_capacity(sdp.len() + 2);
    for line in sdp.lines() {
        let line = line.trim_end();
        if line.is_empty() || line == "a=" {
            continue;
        }
        clean.push_str(line);
        clean.push_str("\r\n");
    }
    clean
}

struct Section<'a> {
    kind: &'a str,
    port: &'a str,
    sends: bool,
    codecs: Vec<(&'a str, &'a str)>,
    formats: Vec<(&'a str, &'a str)>,
}

impl Section<'_> {
    fn payload_type(&self, codec: &str) -> Option<&str> {
        self.codecs
            .iter()
            .find(|(_, name)| name.eq_ignore_ascii_case(codec))
            .map(|(payload_type, _)| *payload_type)
    }

    /// Of every payload type of this codec: which of them is sent, the first packet tells.
    fn parameter_sets(&self, codec: &str) -> Vec<Bytes> {
        let is_it = |format: &str| {
            self.codecs.iter().any(|(number, name)| *number == format && name.eq_ignore_ascii_case(codec))
        };
        self.formats
            .iter()
            .filter(|(format, _)| is_it(format))
            .flat_map(|(_, parameters)| parameters.split(';'))
            .filter_map(|parameter| parameter.trim().strip_prefix("sprop-parameter-sets="))
            .flat_map(|sets| sets.split(','))
            .filter_map(|set| STANDARD.decode(set.trim()).ok())
            .map(Bytes::from)
            .collect()
    }

    fn profile_level_id(&self, payload_type: &str) -> String {
        self.formats
            .iter()
            .filter(|(format, _)| *format == payload_type)
            .flat_map(|(_, parameters)| parameters.split(';'))
            .find_map(|parameter| parameter.trim().strip_prefix("profile-level-id="))
            .unwrap_or_default()
            .to_ascii_lowercase()
    }
}

fn sections(sdp: &str) -> Vec<Section<'_>> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    for line in sdp.lines() {
        let line = line.trim_end();
        if let Some(media) = line.strip_prefix("m=") {
            let mut words = media.split_ascii_whitespace();
            sections.push(Section {
                kind: words.next().unwrap_or_default(),
                port: words.next().unwrap_or_default(),
                sends: true,
                codecs: Vec::new(),
                formats: Vec::new(),
            });
            continue;
        }
        let Some(section) = sections.last_mut() else {
            continue;
        };
        match line {
            "a=inactive" | "a=recvonly" => section.sends = false,
            _ => {
                if let Some((payload_type, codec)) =
                    line.strip_prefix("a=rtpmap:").and_then(|value| value.split_once(' '))
                {
                    let name = codec.split('/').next().unwrap_or_default();
                    section.codecs.push((payload_type, name));
                } else if let Some(format) =
                    line.strip_prefix("a=fmtp:").and_then(|value| value.split_once(' '))
                {
                    section.formats.push(format);
                }
            }
        }
    }
    sections
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";

    fn answer(video: &str, audio: &str) -> String {
        format!("{HEAD}{video}{audio}")
    }

    const H264: &str = "m=video 9 UDP/TLS/RTP/SAVPF 102\r\na=sendonly\r\na=rtpmap:102 H264/90000\r\na=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42E01F\r\n";
    const OPUS: &str = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=sendonly\r\na=rtpmap:111 opus/48000/2\r\n";

    #[test]
    fn both_tracks() {
        let negotiated = read_answer(&answer(H264, OPUS)).unwrap();
        assert_eq!(negotiated.video.as_deref(), Some("42e01f"));
        assert!(negotiated.audio);
        assert!(negotiated.refused.is_empty());
    }

    #[test]
    fn parameter_sets_are_read_as_far_as_they_can_be() {
        assert!(read_answer(&answer(H264, OPUS)).unwrap().parameter_sets.is_empty());
        let told = H264.trim_end().to_owned()
            + "; sprop-parameter-sets=Z0LAHtkAtD1oAAADAAEAAAMAMg8WLqA=,aMuMsg==,%%\r\n";
        let found = read_answer(&answer(&told, OPUS)).unwrap().parameter_sets;
        assert_eq!(found.iter().map(|set| set[0] & 0x1f).collect::<Vec<_>>(), [7, 8]);
        let other = H264.trim_end().to_owned()
            + "\r\na=rtpmap:96 VP8/90000\r\na=fmtp:96 sprop-parameter-sets=aMuMsg==\r\n";
        assert!(read_answer(&answer(&other, OPUS)).unwrap().parameter_sets.is_empty());
    }

    #[test]
    fn one_track_is_enough() {
        let rejected = "m=video 0 UDP/TLS/RTP/SAVPF 102\r\na=inactive\r\n";
        let negotiated = read_answer(&answer(rejected, OPUS)).unwrap();
        assert_eq!(negotiated.video, None);
        assert!(negotiated.audio);
        assert_eq!(
            negotiated.refused,
            [
                "video rejected: the master has no H.264 with packetization-mode=1 to send (VP8 and VP9 cannot be stored)"
            ]
        );
        let negotiated = read_answer(&answer(H264, "")).unwrap();
        assert!(!negotiated.audio && negotiated.video.is_some());
    }

    #[test]
    fn vp8_alone_is_a_mismatch_that_names_it() {
        let vp8 = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=sendonly\r\na=rtpmap:96 VP8/90000\r\n";
        let error = read_answer(&answer(vp8, "")).unwrap_err();
        assert!(error.to_string().contains("video answered with VP8 only"), "{error}");
        // The C SDK's form of the same: inactive, with the first offered payload type.
        let inactive = "m=video 9 UDP/TLS/RTP/SAVPF 102\r\na=inactive\r\na=rtpmap:102 H264/90000\r\n";
        assert!(matches!(read_answer(&answer(inactive, "")), Err(AnswerError::CodecMismatch(_))));
    }

    #[test]
    fn nonsense_is_an_error() {
        for text in ["", "hello", "v=0\r\n", "a=sendonly"] {
            assert_eq!(read_answer(text), Err(AnswerError::NotSdp));
        }
    }

    #[test]
    fn sanitize_drops_nameless_attributes_and_ends_lines() {
        assert_eq!(sanitize("v=0\na=\r\ns=-"), "v=0\r\ns=-\r\n");
    }
}
