//! What the offer says: the codecs, their payload types and parameters, and the form that every
//! known master reads.

use rtc::peer_connection::configuration::media_engine::{
    MIME_TYPE_H264, MIME_TYPE_OPUS, MIME_TYPE_RTX, MediaEngine,
};
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpHeaderExtensionCapability, RtpCodecKind,
};
use rtc::shared::error::Result;

/// Payload type of Opus, the one every implementation uses.
const OPUS: u8 = 111;

/// H.264 payload types with their RTX and `profile-level-id`.
///
/// Constrained baseline comes last as well as first in merit: old C SDK masters take the last
/// H.264 of the offer on a tie, and browsers take the first that they can send, which is
/// constrained baseline for Chromium anyway.
const H264: [(u8, u8, &str); 3] = [(104, 105, "640032"), (106, 107, "4d001f"), (102, 103, "42e01f")];

/// Registers the codecs that are offered: never VP8 beside H.264, because Chromium as answerer
/// sends VP8 when it is there, whatever the answer says.
pub(super) fn register_codecs(engine: &mut MediaEngine, start_bitrate_kbps: Option<u32>) -> Result<()> {
    engine.register_codec(
        codec(MIME_TYPE_OPUS, 48_000, 2, "minptime=10;useinbandfec=1".to_owned(), OPUS, Vec::new()),
        RtpCodecKind::Audio,
    )?;
    let feedback = [("nack", ""), ("nack", "pli"), ("ccm", "fir")]
        .map(|(typ, parameter)| RTCPFeedback { typ: typ.to_owned(), parameter: parameter.to_owned() });
    for (payload_type, rtx, profile) in H264 {
        let mut parameters =
            format!("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile}");
        if let Some(kbps) = start_bitrate_kbps {
            parameters.push_str(&format!(";x-google-min-bitrate={kbps};x-google-start-bitrate={kbps}"));
        }
        engine.register_codec(
            codec(MIME_TYPE_H264, 90_000, 0, parameters, payload_type, feedback.to_vec()),
            RtpCodecKind::Video,
        )?;
        // Without RTX, Chromium's bandwidth probes are padding on the media SSRC, and a lost probe
        // can never be repaired.
        engine.register_codec(
            codec(MIME_TYPE_RTX, 90_000, 0, format!("apt={payload_type}"), rtx, Vec::new()),
            RtpCodecKind::Video,
        )?;
    }
    // Lets a stream be found whose SSRC the answer does not declare.
    for kind in [RtpCodecKind::Audio, RtpCodecKind::Video] {
        engine.register_header_extension(
            RTCRtpHeaderExtensionCapability { uri: "urn:ietf:params:rtp-hdrext:sdes:mid".to_owned() },
            kind,
            None,
        )?;
    }
    Ok(())
}

fn codec(
    mime_type: &str,
    clock_rate: u32,
    channels: u16,
    sdp_fmtp_line: String,
    payload_type: u8,
    rtcp_feedback: Vec<RTCPFeedback>,
) -> RTCRtpCodecParameters {
    RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: mime_type.to_owned(),
            clock_rate,
            channels,
            sdp_fmtp_line,
            rtcp_feedback,
        },
        payload_type,
    }
}

/// Brings the engine's offer into the form that every known master reads: `ice-options:trickle`
/// also in every media section (older C SDKs look only there), CRLF after every line.
pub(super) fn polish(sdp: &str) -> String {
    let mut out = String::with_capacity(sdp.len() + 128);
    let mut in_media = false;
    let mut has_trickle = sdp
        .lines()
        .take_while(|line| !line.starts_with("m="))
        .any(|line| line.trim_end() == "a=ice-options:trickle");
    for line in sdp.lines() {
        let line = line.trim_end();
        if line.is_empty() {
            continue;
        }
        if line.starts_with("m=") {
            if !in_media && !has_trickle {
                out.push_str("a=ice-options:trickle\r\n");
                has_trickle = true;
            }
            in_media = true;
        }
        out.push_str(line);
        out.push_str("\r\n");
        if in_media && line.starts_with("a=ice-pwd:") {
            out.push_str("a=ice-options:trickle\r\n");
        }
    }
    out
}
