//! What Amazon IVS asks of a broadcast, and what of it is not met. Pure.
//!
//! Sources: [IVS streaming configuration](https://docs.aws.amazon.com/ivs/latest/LowLatencyUserGuide/streaming-config.html) and
//! [service quotas](https://docs.aws.amazon.com/ivs/latest/LowLatencyUserGuide/service-quotas.html) (channel type STANDARD).

use crate::aac::AacConfig;
use crate::destination::Destination;
use crate::media::VideoParameters;

/// Ingest hosts: `ID.global-contribute.live-video.net`.
const DOMAIN: &str = ".live-video.net";

const PORT: u16 = 443;
const LONG_SIDE: u32 = 1920;
const SHORT_SIDE: u32 = 1080;
const FRAMES: f64 = 60.0;
const KEY_FRAME_SECONDS: f64 = 2.0;
const BITS: f64 = 8.5e6;
const RATES: [u32; 2] = [44_100, 48_000];
/// Baseline, main, high.
const PROFILES: [u8; 3] = [66, 77, 100];
/// 5.2 of H.264 is 4096 × 2304 at 60: what is in the limits above has no more.
const LEVEL: u8 = 52;
/// What is measured is not exact: a frame of ten seconds' worth, and a late key frame.
const TOLERANCE: f64 = 1.05;
const KEY_FRAME_TOLERANCE: f64 = 1.5;

/// What a master sends.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Of the newest key frame.
    pub parameters: Option<VideoParameters>,
    /// As measured over some seconds.
    pub frames_per_second: Option<f64>,
    /// The longest of the last seconds from one key frame to the next.
    pub key_frame_seconds: Option<f64>,
    /// Of the newest sound.
    pub audio: Option<AacConfig>,
    /// Both tracks, as measured over some seconds.
    pub bits_per_second: Option<f64>,
}

/// Whether what goes there goes to Amazon IVS.
#[must_use]
pub fn is_ivs(destination: &Destination) -> bool {
    let host = destination.host().trim_end_matches('.').to_ascii_lowercase();
    host.ends_with(DOMAIN)
}

/// What IVS asks for and does not get, each as a clause for a person; nothing if all is well or nothing is known.
#[must_use]
pub fn complaints(destination: &Destination, observed: &Observed, silence: bool) -> Vec<String> {
    let mut all = Vec::new();
    if !destination.is_secure() || destination.port() != PORT {
        all.push(format!("its ingest is rtmps:// on port {PORT}"));
    }
    let Observed { parameters, frames_per_second, key_frame_seconds, audio, bits_per_second } = observed;
    if let Some(parameters) = parameters {
        let (width, height) = (parameters.width, parameters.height);
        if width.max(height) > LONG_SIDE || width.min(height) > SHORT_SIDE {
            all.push(format!("the picture is {width}×{height}, and {LONG_SIDE}×{SHORT_SIDE} is the largest"));
        }
        if let Some((profile, level)) = parameters.profile_and_level() {
            if !PROFILES.contains(&profile) {
                all.push(format!(
                    "H.264 profile {profile} is neither baseline (66), main (77) nor high (100)"
                ));
            }
            if level > LEVEL {
                all.push(format!("H.264 level {}.{} is above 5.2", level / 10, level % 10));
            }
        }
    }
    if let Some(frames) = frames_per_second.filter(|frames| *frames > FRAMES * TOLERANCE) {
        all.push(format!("the master sends {frames:.0} frames a second, and {FRAMES} are the most"));
    }
    if let Some(seconds) = key_frame_seconds.filter(|it| *it > KEY_FRAME_SECONDS * KEY_FRAME_TOLERANCE) {
        all.push(format!(
            "key frames are up to {seconds:.1} s apart, and {KEY_FRAME_SECONDS} s are asked for (the master is asked for one \
             every 2 s, and does not send it)"
        ));
    }
    match audio {
        Some(config) if !RATES.contains(&config.rate()) => {
            all.push(format!("sound has {} Hz, and 44100 or 48000 are taken", config.rate()));
        }
        Some(_) if parameters.is_none() => all.push("there is sound alone, and no picture".to_owned()),
        None if !silence && parameters.is_some() => {
            all.push("there is no sound: set silence: true".to_owned());
        }
        _ => {}
    }
    if let Some(bits) = bits_per_second.filter(|bits| *bits > BITS * TOLERANCE) {
        all.push(format!("the master sends {:.1} Mbit/s, and 8.5 are the most", bits / 1e6));
    }
    all
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    fn destination(url: &str) -> Destination {
        Destination::parse(url, Some("sk")).unwrap()
    }

    fn good() -> Observed {
        let record = vec![1, 100, 0, 40].into();
        Observed {
            parameters: Some(VideoParameters { record, width: 1080, height: 1920 }),
            frames_per_second: Some(60.2),
            key_frame_seconds: Some(2.1),
            audio: Some(AacConfig::MONO),
            bits_per_second: Some(8.4e6),
        }
    }

    const IVS: &str = "rtmps://a1b2.global-contribute.live-video.net:443/app/";

    #[test]
    fn its_hosts_are_known() {
        assert!(is_ivs(&destination(IVS)));
        assert!(!is_ivs(&destination("rtmps://live-video.net.example.com/app")));
        assert!(!is_ivs(&destination("rtmps://notlive-video.net/app")));
    }

    #[test]
    fn what_it_takes_is_no_complaint_and_what_is_not_known_neither() {
        assert!(complaints(&destination(IVS), &good(), true).is_empty());
        assert!(complaints(&destination(IVS), &Observed::default(), true).is_empty());
    }

    #[test]
    fn each_thing_that_it_does_not_take_is_named() {
        let aac = |bytes| Some(AacConfig::parse(bytes).unwrap());
        let size = |width, height, profile, level| {
            Some(VideoParameters { record: vec![1, profile, 0, level].into(), width, height })
        };
        let (plain, port) = ("rtmp://x.live-video.net/app", "rtmps://x.live-video.net:1443/app");
        for (url, observed, words) in [
            (plain, good(), "rtmps:// on port 443"),
            (port, good(), "rtmps:// on port 443"),
            (IVS, Observed { parameters: size(2560, 1440, 100, 50), ..good() }, "2560×1440"),
            (IVS, Observed { parameters: size(1280, 720, 244, 31), ..good() }, "profile 244"),
            (IVS, Observed { parameters: size(1280, 720, 100, 61), ..good() }, "level 6.1"),
            (IVS, Observed { frames_per_second: Some(120.0), ..good() }, "120 frames"),
            (IVS, Observed { key_frame_seconds: Some(9.96), ..good() }, "10.0 s apart"),
            (IVS, Observed { audio: aac(&[0x14, 0x08]), ..good() }, "16000 Hz"),
            (IVS, Observed { audio: None, ..good() }, "no sound"),
            (IVS, Observed { parameters: None, ..good() }, "sound alone"),
            (IVS, Observed { bits_per_second: Some(12e6), ..good() }, "12.0 Mbit/s"),
        ] {
            let all = complaints(&destination(url), &observed, false);
            assert!(all.len() == 1 && all[0].contains(words), "{words}: {all:?}");
        }
    }
}
