//! Playlists of HTTP Live Streaming (RFC 8216). Pure: a session's view in, text out.

use std::fmt::Write;

use super::{
    media::Config,
    session::{Container, View},
    text::{date_time, seconds},
    timeline::DiscontinuityMode,
};
use crate::archive::FragmentInfo;

/// What the master playlist says of the media.
pub(super) struct Master<'a> {
    pub(super) tracks: &'a [Config],
    pub(super) container: Container,
    pub(super) token: &'a str,
}

/// Bits a second, of the fragment that has most of them and on average, and frames a second.
fn rates<'a>(shown: impl Iterator<Item = &'a FragmentInfo>) -> (u64, u64, f64) {
    let (mut peak, mut bits, mut frames, mut ms) = (1, 0_u64, 0, 0_u64);
    for info in shown {
        peak = peak.max(info.size.saturating_mul(8_000) / info.duration_ms.max(1));
        bits = bits.saturating_add(info.size.saturating_mul(8));
        frames += info.video_frames;
        ms += info.duration_ms;
    }
    let ms = ms.max(1);
    (peak, (bits.saturating_mul(1_000) / ms).max(1), frames as f64 * 1_000.0 / ms as f64)
}

impl Master<'_> {
    /// RFC 8216 section 4.3.4.
    pub(super) fn write(&self, view: &View) -> String {
        let Self { tracks, container, token } = self;
        let (peak, average, frame_rate) = rates(view.shown.iter().map(|entry| &*entry.info));
        let codecs: Vec<_> = tracks.iter().map(Config::name).collect();
        let mut out = String::from("#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-INDEPENDENT-SEGMENTS\n");
        // In MPEG-TS one playlist has both tracks.
        let sound_apart = tracks.len() > 1 && *container == Container::FragmentedMp4;
        if sound_apart {
            let _ = writeln!(
                out,
                "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"audio\",DEFAULT=YES,AUTOSELECT=YES,URI=\"{}\"",
                media_playlist(token, 2, *container)
            );
        }
        let _ = write!(
            out,
            "#EXT-X-STREAM-INF:BANDWIDTH={peak},AVERAGE-BANDWIDTH={average},CODECS=\"{}\"",
            codecs.join(",")
        );
        if let Some(Config::Video(video)) = tracks.first() {
            if video.width > 0 && video.height > 0 {
                let _ = write!(out, ",RESOLUTION={}x{}", video.width, video.height);
            }
            let _ = write!(out, ",FRAME-RATE={frame_rate:.3}");
        }
        let audio = if sound_apart { ",AUDIO=\"audio\"" } else { "" };
        let _ = write!(out, "{audio}\n{}\n", media_playlist(token, 1, *container));
        out
    }
}

fn media_playlist(token: &str, track: usize, container: Container) -> String {
    match container {
        Container::FragmentedMp4 => {
            format!("getHLSMediaPlaylist.m3u8?SessionToken={token}&TrackNumber={track}")
        }
        Container::MpegTs => format!("getHLSMediaPlaylist.m3u8?SessionToken={token}"),
    }
}

/// What a media playlist says beside its fragments.
pub(super) struct Media<'a> {
    pub(super) container: Container,
    pub(super) discontinuities: DiscontinuityMode,
    /// `EXT-X-PROGRAM-DATE-TIME` for each fragment.
    pub(super) timestamps: bool,
    pub(super) track: usize,
    pub(super) token: &'a str,
    /// A playlist that never changes.
    pub(super) on_demand: bool,
}

impl Media<'_> {
    /// RFC 8216 section 4.3.3.
    pub(super) fn write(&self, view: &View) -> String {
        let Self { token, track, .. } = self;
        let version = if self.container == Container::FragmentedMp4 { 7 } else { 3 };
        // To the nearest second, as section 4.3.3.1 compares durations with it: players stay three of it behind the edge.
        let target = ((view.longest_ms + 500) / 1_000).max(1);
        let mut out = format!("#EXTM3U\n#EXT-X-VERSION:{version}\n#EXT-X-TARGETDURATION:{target}\n");
        if let Some(first) = view.shown.first() {
            let _ = writeln!(out, "#EXT-X-MEDIA-SEQUENCE:{}", first.sequence);
            if self.discontinuities != DiscontinuityMode::Never {
                let gone = first.discontinuities - u64::from(first.discontinuity);
                let _ = writeln!(out, "#EXT-X-DISCONTINUITY-SEQUENCE:{gone}");
            }
        }
        if self.on_demand {
            out.push_str("#EXT-X-PLAYLIST-TYPE:VOD\n");
        }
        out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
        let mut map = None;
        for entry in &view.shown {
            if entry.discontinuity {
                out.push_str("#EXT-X-DISCONTINUITY\n");
            }
            if self.container == Container::FragmentedMp4 && map.replace(entry.config) != Some(entry.config) {
                let config = entry.config;
                let _ = writeln!(
                    out,
                    "#EXT-X-MAP:URI=\"getMP4InitFragment.mp4?SessionToken={token}&TrackNumber={track}&SequenceNumber={config}\""
                );
            }
            if self.timestamps {
                let _ = writeln!(out, "#EXT-X-PROGRAM-DATE-TIME:{}", date_time(entry.start_ms));
            }
            let _ = writeln!(out, "#EXTINF:{},", seconds(entry.info.duration_ms));
            let sequence = entry.sequence;
            let _ = match self.container {
                Container::FragmentedMp4 => writeln!(
                    out,
                    "getMP4MediaFragment.mp4?FragmentNumber={sequence}&SessionToken={token}&TrackNumber={track}"
                ),
                Container::MpegTs => {
                    writeln!(out, "getTSFragment.ts?FragmentNumber={sequence}&SessionToken={token}")
                }
            };
        }
        if view.complete {
            out.push_str("#EXT-X-ENDLIST\n");
        }
        out
    }
}
