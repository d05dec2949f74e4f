//! The manifest of MPEG-DASH (ISO/IEC 23009-1). Pure: a session's view in, text out.

use std::fmt::Write;

use super::{
    media::{AudioCodec, Config},
    session::View,
    text::{date_time, seconds},
    timeline::Entry,
};

/// What a manifest says beside its fragments.
pub(super) struct Manifest<'a> {
    pub(super) tracks: &'a [Config],
    pub(super) token: &'a str,
    /// `kvs:ts` of each fragment.
    pub(super) timestamps: bool,
    /// `kvs:fn` of each fragment.
    pub(super) numbers: bool,
    pub(super) now_ms: u64,
}

/// The service's own attributes of fragments.
const NAMESPACE: &str = "xmlns:kvs=\"urn:aws:kinesisvideo:dash\"";

/// How often a player should ask again: the service recommends a second.
const UPDATE: &str = "PT1S";

impl Manifest<'_> {
    /// Static when nothing can follow, otherwise dynamic.
    pub(super) fn write(&self, view: &View) -> String {
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let longest = seconds(view.longest_ms.max(1));
        let _ = write!(
            out,
            "<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" {NAMESPACE} profiles=\"urn:mpeg:dash:profile:isoff-live:2011\" \
             minBufferTime=\"PT{longest}S\" maxSegmentDuration=\"PT{longest}S\""
        );
        let from = view.shown.first().map_or(0, Entry::at_ms);
        let to = view.shown.last().map_or(0, |last| last.at_ms() + last.info.duration_ms);
        if view.complete {
            let _ = writeln!(out, " type=\"static\" mediaPresentationDuration=\"PT{}S\">", seconds(to));
        } else {
            let _ = writeln!(
                out,
                " type=\"dynamic\" availabilityStartTime=\"{}\" publishTime=\"{}\" minimumUpdatePeriod=\"{UPDATE}\" \
                 timeShiftBufferDepth=\"PT{}S\" suggestedPresentationDelay=\"PT{}S\">",
                date_time(view.zero_ms),
                date_time(self.now_ms),
                seconds((to - from).max(1)),
                // up to three fragments behind the newest, which is a whole one behind the moment at its end
                seconds((3 * view.longest_ms).min(to - from)),
            );
        }
        for period in view.shown.chunk_by(|a, b| a.period.id == b.period.id) {
            self.period(&mut out, period);
        }
        if !view.complete {
            // The player's clock may be wrong; ours is the one that the manifest is written by.
            let _ = writeln!(
                out,
                "<UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:direct:2014\" value=\"{}\"/>",
                date_time(self.now_ms)
            );
        }
        out.push_str("</MPD>\n");
        out
    }

    fn period(&self, out: &mut String, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        let _ =
            writeln!(out, "<Period id=\"{}\" start=\"PT{}S\">", first.period.id, seconds(first.period.at_ms));
        let ms: u64 = entries.iter().map(|entry| entry.info.duration_ms).sum();
        let bytes: u64 = entries.iter().map(|entry| entry.info.size).sum();
        let bandwidth = (bytes.saturating_mul(8_000) / ms.max(1)).max(1);
        for (place, config) in self.tracks.iter().enumerate() {
            let number = place + 1;
            let kind = if matches!(config, Config::Video(_)) { "video" } else { "audio" };
            let _ = writeln!(
                out,
                "<AdaptationSet id=\"{number}\" contentType=\"{kind}\" mimeType=\"{kind}/mp4\" segmentAlignment=\"true\" \
                 startWithSAP=\"1\">"
            );
            let _ = write!(
                out,
                "<Representation id=\"{number}\" codecs=\"{}\" bandwidth=\"{bandwidth}\"",
                config.name()
            );
            match config {
                Config::Video(video) => {
                    if video.width > 0 && video.height > 0 {
                        let _ = write!(out, " width=\"{}\" height=\"{}\"", video.width, video.height);
                    }
                    out.push_str(">\n");
                }
                Config::Audio(audio) => {
                    let _ = writeln!(out, " audioSamplingRate=\"{}\">", audio.rate);
                    if matches!(audio.codec, AudioCodec::Aac { .. }) {
                        let _ = writeln!(
                            out,
                            "<AudioChannelConfiguration schemeIdUri=\"urn:mpeg:dash:23003:3:audio_channel_configuration:2011\" \
                             value=\"{}\"/>",
                            audio.channels
                        );
                    }
                }
            }
            self.template(out, number, first, entries);
            out.push_str("</Representation>\n</AdaptationSet>\n");
        }
        out.push_str("</Period>\n");
    }

    /// Times are in milliseconds since 1970, as those in the fragments are in units of their own.
    fn template(&self, out: &mut String, track: usize, first: &Entry, entries: &[Entry]) {
        let token = self.token;
        let _ = writeln!(
            out,
            "<SegmentTemplate timescale=\"1000\" presentationTimeOffset=\"{}\" startNumber=\"{}\" \
             initialization=\"getMP4InitFragment.mp4?SessionToken={token}&amp;TrackNumber={track}&amp;SequenceNumber=0\" \
             media=\"getMP4MediaFragment.mp4?FragmentNumber=$Number$&amp;SessionToken={token}&amp;TrackNumber={track}\">\n\
             <SegmentTimeline>",
            first.period.first_ms, first.sequence
        );
        for (index, entry) in entries.iter().enumerate() {
            // Without a gap up to the next one: overlaps and holes below 50 ms are those of rounding.
            let next = entries.get(index + 1).map(|next| next.start_ms.saturating_sub(entry.start_ms));
            let duration = next.filter(|next| *next > 0).unwrap_or(entry.info.duration_ms).max(1);
            let _ = write!(out, "<S t=\"{}\" d=\"{duration}\"", entry.start_ms);
            if self.timestamps {
                let _ = write!(out, " kvs:ts=\"{}\"", date_time(entry.start_ms));
            }
            if self.numbers {
                let _ = write!(out, " kvs:fn=\"{}\"", entry.info.number);
            }
            out.push_str("/>\n");
        }
        out.push_str("</SegmentTimeline>\n</SegmentTemplate>\n");
    }
}
