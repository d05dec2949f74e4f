#![no_main]
//! Any bytes as the answer to an offer of Opus and H.264.

use kvs_peer::MediaKind;
use kvs_peer::sdp::{
    Codec, H264Parameters, HeaderExtension, OfferedSection, PayloadFormat, read_answer, usable_candidate,
};
use libfuzzer_sys::fuzz_target;

fn offer() -> [OfferedSection; 2] {
    let h264 = Codec::H264(H264Parameters {
        profile_level_id: "42e01f".to_owned(),
        packetization_mode: 1,
        parameter_sets: Vec::new(),
    });
    let formats = |formats: &[(u8, &Codec)]| {
        let format = |(payload_type, codec): &(u8, &Codec)| PayloadFormat {
            payload_type: *payload_type,
            codec: (*codec).clone(),
        };
        formats.iter().map(format).collect()
    };
    let section = |kind, mid: &str, formats| OfferedSection {
        kind,
        mid: mid.to_owned(),
        formats,
        extensions: vec![HeaderExtension { id: 1, uri: "urn:ietf:params:rtp-hdrext:sdes:mid".to_owned() }],
    };
    [
        section(MediaKind::Audio, "0", formats(&[(111, &Codec::Opus { stereo: false })])),
        section(MediaKind::Video, "1", formats(&[(102, &h264), (103, &Codec::Rtx { apt: 102 })])),
    ]
}

fuzz_target!(|data: &[u8]| {
    let sdp = String::from_utf8_lossy(data);
    let data = sdp.len().is_multiple_of(2).then_some("2");
    let Ok(answer) = read_answer(&offer(), data, &sdp) else { return };
    let more = usize::from(data.is_some());
    assert!(answer.data.is_none_or(|data| data.transport < answer.transports.len() && data.sctp_port > 0));
    assert!(answer.left_out.len() <= 21 && answer.refused.len() < 2 + more);
    assert!((1..=answer.sections.len() + more).contains(&answer.transports.len()));
    for section in &answer.sections {
        assert!(section.transport < answer.transports.len());
        assert!(section.formats.iter().any(|format| !matches!(format.codec, Codec::Rtx { .. })));
        let mut numbers: Vec<u8> = section.formats.iter().map(|format| format.payload_type).collect();
        numbers.sort_unstable();
        assert!(
            numbers.windows(2).all(|pair| pair[0] < pair[1]) && numbers.iter().all(|number| *number < 128)
        );
    }
    for transport in &answer.transports {
        assert!(!transport.fingerprints.is_empty() && !transport.ice_ufrag.is_empty());
        let said = answer.left_out.iter().chain(&answer.refused);
        let is_secret = transport.ice_pwd.len() >= 22;
        assert!(!is_secret || said.into_iter().all(|entry| !entry.contains(&transport.ice_pwd)));
        for candidate in &transport.candidates {
            assert_eq!(usable_candidate(candidate).as_ref(), Ok(candidate));
        }
    }
});
