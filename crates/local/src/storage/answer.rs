//! What must be in an answer before anything is made of it: codecs and directions (API reference, JoinStorageSession and
//! JoinStorageSessionAsViewer).

/// Whose answer it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sends {
    /// Video and sound, both.
    Everything,
    /// Sound or nothing, never video.
    SoundAtMost,
}

/// Looks at an answer.
///
/// # Errors
/// What is wrong with it, for its sender.
pub(super) fn check(sdp: &str, sends: Sends) -> Result<(), String> {
    let mut found = Vec::new();
    for section in sections(sdp) {
        let kind = section.first().and_then(|line| line.strip_prefix("m=")?.split_whitespace().next());
        match kind {
            Some(kind @ ("video" | "audio")) => {
                look(kind, &section, sends)?;
                found.push(kind);
            }
            Some("application") if port(&section) != Some(0) => {
                return Err("A storage session has no data channel.".to_owned());
            }
            _ => {}
        }
    }
    match ["video", "audio"].into_iter().find(|kind| !found.contains(kind)) {
        Some(missing) => Err(format!("The answer has no section for {missing}, which the offer has.")),
        None => Ok(()),
    }
}

fn look(kind: &str, section: &[&str], sends: Sends) -> Result<(), String> {
    let taken = port(section) != Some(0);
    let direction = section.iter().find_map(|line| match *line {
        "a=sendrecv" | "a=sendonly" => Some((true, *line)),
        "a=recvonly" | "a=inactive" => Some((false, *line)),
        _ => None,
    });
    let (sending, direction) = direction.unwrap_or((true, "a=sendrecv"));
    match sends {
        Sends::Everything if !taken => {
            return Err(format!("The answer refuses {kind}: a master must send both tracks."));
        }
        Sends::Everything if !sending => {
            return Err(format!("The answer sends no {kind} ({direction}): a master must send both tracks."));
        }
        Sends::SoundAtMost if taken && sending && kind == "video" => {
            return Err("A viewer cannot send video to a storage session.".to_owned());
        }
        _ => {}
    }
    let codec = if kind == "video" { "H264" } else { "opus" };
    let named = section
        .iter()
        .filter_map(|line| line.strip_prefix("a=rtpmap:")?.split_once(' '))
        .any(|(_, format)| format.split('/').next().is_some_and(|name| name.eq_ignore_ascii_case(codec)));
    if taken && !named {
        return Err(format!(
            "The answer has no {codec} for {kind}, which is all that a storage session takes."
        ));
    }
    Ok(())
}

fn port(section: &[&str]) -> Option<u16> {
    section.first()?.split_whitespace().nth(1)?.parse().ok()
}

/// The lines of each section.
fn sections(sdp: &str) -> Vec<Vec<&str>> {
    let mut sections: Vec<Vec<&str>> = Vec::new();
    for line in sdp.lines().map(str::trim) {
        if line.starts_with("m=") {
            sections.push(Vec::new());
        }
        if let Some(section) = sections.last_mut() {
            section.push(line);
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIDEO: &str = "m=video 9 UDP/TLS/RTP/SAVPF 125\na=rtpmap:125 H264/90000\na=sendonly\n";
    const AUDIO: &str = "m=audio 9 UDP/TLS/RTP/SAVPF 111\na=rtpmap:111 OPUS/48000/2\n";

    #[test]
    fn a_master_sends_h264_and_opus() {
        let both = format!("v=0\n{VIDEO}{AUDIO}");
        assert_eq!(check(&both, Sends::Everything), Ok(()));
        assert_eq!(check(&both.replace('\n', "\r\n"), Sends::Everything), Ok(()));
        for (edit, words) in [
            (both.replace("H264", "VP8"), "no H264"),
            (both.replace("OPUS", "PCMU"), "no opus"),
            (both.replace("video 9", "video 0"), "refuses video"),
            (both.replace("audio 9", "audio 0"), "refuses audio"),
            (both.replace("sendonly", "recvonly"), "sends no video"),
            (both.replace("sendonly", "inactive"), "sends no video"),
            (format!("v=0\n{VIDEO}"), "no section for audio"),
            (format!("v=0\n{AUDIO}"), "no section for video"),
            (format!("{both}m=application 9 UDP/DTLS/SCTP webrtc-datachannel\n"), "data channel"),
            (String::new(), "no section"),
        ] {
            let refused = check(&edit, Sends::Everything);
            assert!(refused.as_ref().is_err_and(|why| why.contains(words)), "{words}: {refused:?}");
        }
    }

    #[test]
    fn a_viewer_sends_no_video() {
        let both = format!("v=0\n{VIDEO}{AUDIO}");
        assert!(check(&both, Sends::SoundAtMost).is_err_and(|why| why.contains("cannot send video")));
        let watching = both.replace("sendonly", "recvonly");
        assert_eq!(check(&watching, Sends::SoundAtMost), Ok(()));
        assert_eq!(check(&watching.replace("audio 9", "audio 0"), Sends::SoundAtMost), Ok(()));
        assert!(check(&watching.replace("H264", "VP8"), Sends::SoundAtMost).is_err());
    }
}
