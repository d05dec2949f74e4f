//! [`Spans`]: what is stored, as coarse as whoever draws it wants it: a day of fragments in as many words as it has pixels.

use serde::Serialize;

use super::index::FragmentInfo;

/// Fragments of the same tracks and picture whose beginnings lie within one step of the resolution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Span {
    /// Producer's time of its first frame, milliseconds since 1970.
    pub from_ms: u64,
    /// Producer's time of its end, milliseconds since 1970.
    pub to_ms: u64,
    /// How much of that fragments cover.
    pub covered_ms: u64,
    /// How many they are.
    pub fragments: u64,
    /// The number of the one fragment, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    /// Bytes of all.
    pub bytes: u64,
    /// Video frames of all.
    pub video_frames: u64,
    /// Pixels of the picture.
    pub width: Option<u32>,
    /// Pixels of the picture.
    pub height: Option<u32>,
    /// Codecs of the tracks.
    pub codecs: Vec<String>,
    /// When the first fragment's PutMedia session began, milliseconds since 1970; 0 where that is not known.
    pub session_ms: u64,
}

/// Takes fragments in the order of their producer times. A stretch of time gives at most one span for each step of the
/// resolution, one more, and one for each change of tracks or picture: a player has to know where one is.
#[derive(Debug)]
pub struct Spans {
    resolution_ms: u64,
    done: Vec<Span>,
}

impl Spans {
    /// In steps of `resolution_ms`; with 0 each fragment is a span.
    #[must_use]
    pub fn new(resolution_ms: u64) -> Self {
        Self { resolution_ms, done: Vec::new() }
    }

    /// The next fragment.
    pub fn add(&mut self, info: &FragmentInfo) {
        let end_ms = info.end_ms();
        match self.done.last_mut() {
            Some(span)
                if info.producer_ms.saturating_sub(span.from_ms) < self.resolution_ms
                    && (span.width, span.height) == (info.session.width, info.session.height)
                    && span.codecs == info.session.codecs =>
            {
                let new_from = span.to_ms.max(info.producer_ms);
                span.covered_ms += end_ms.saturating_sub(new_from);
                span.to_ms = span.to_ms.max(end_ms);
                span.fragments += 1;
                span.number = None;
                span.bytes += info.size;
                span.video_frames += info.video_frames;
            }
            _ => self.done.push(Span {
                from_ms: info.producer_ms,
                to_ms: end_ms,
                covered_ms: info.duration_ms,
                fragments: 1,
                number: Some(info.number.clone()),
                bytes: info.size,
                video_frames: info.video_frames,
                width: info.session.width,
                height: info.session.height,
                codecs: info.session.codecs.clone(),
                session_ms: info.session.began_ms,
            }),
        }
    }

    /// All of them.
    #[must_use]
    pub fn finish(self) -> Vec<Span> {
        self.done
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::index::SessionInfo;
    use super::*;

    fn fragment(producer_ms: u64, duration_ms: u64) -> FragmentInfo {
        FragmentInfo {
            number: producer_ms.to_string(),
            producer_ms,
            server_ms: 0,
            persisted_ms: 0,
            duration_ms,
            size: 10,
            video_frames: 2,
            audio_frames: 0,
            header: String::new(),
            session: SessionInfo::default(),
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_stretch_has_more_than_its_steps(
            steps in proptest::collection::vec((1_u64..5_000, 0_u64..9_000), 1..200),
            resolution_ms in 0_u64..20_000,
        ) {
            let mut spans = Spans::new(resolution_ms);
            let mut at = 0;
            let mut last = 0;
            for (step, duration) in &steps {
                at += step;
                last = last.max(at + duration);
                spans.add(&fragment(at, *duration));
            }
            let spans = spans.finish();
            let count = steps.len() as u64;
            prop_assert_eq!(spans.iter().map(|span| span.fragments).sum::<u64>(), count);
            prop_assert_eq!(spans.iter().map(|span| span.bytes).sum::<u64>(), 10 * count);
            prop_assert_eq!(spans.iter().map(|span| span.video_frames).sum::<u64>(), 2 * count);
            prop_assert_eq!(spans.iter().map(|span| span.to_ms).max(), Some(last));
            let most = match resolution_ms {
                0 => count,
                step => (at - steps[0].0) / step + 1,
            };
            prop_assert!(spans.len() as u64 <= most, "{} spans", spans.len());
            for pair in spans.windows(2) {
                prop_assert!(pair[1].from_ms - pair[0].from_ms >= resolution_ms);
            }
            for span in &spans {
                prop_assert!(span.covered_ms <= span.to_ms - span.from_ms, "{span:?}");
                prop_assert_eq!(span.number.is_some(), span.fragments == 1);
            }
        }
    }

    #[test]
    fn a_change_of_tracks_or_picture_is_never_within_a_span() {
        let mut spans = Spans::new(60_000);
        for (at, width, codecs) in [
            (0, Some(640), &["H.264", "AAC"][..]),
            (1_000, Some(640), &["H.264", "AAC"]),
            (2_000, Some(1280), &["H.264", "AAC"]),
            (3_000, None, &["AAC"]),
        ] {
            let mut info = fragment(at, 1_000);
            info.session.width = width;
            info.session.codecs = codecs.iter().map(|&codec| codec.to_owned()).collect();
            spans.add(&info);
        }
        let found: Vec<_> =
            spans.finish().iter().map(|span| (span.from_ms, span.to_ms, span.width)).collect();
        assert_eq!(found, [(0, 2_000, Some(640)), (2_000, 3_000, Some(1280)), (3_000, 4_000, None)]);
    }

    #[test]
    fn a_gap_within_a_span_is_not_covered() {
        let mut spans = Spans::new(60_000);
        for at in [0, 2_000, 30_000, 31_000] {
            spans.add(&fragment(at, 2_000));
        }
        let [span] = &spans.finish()[..] else { panic!("not one span") };
        assert_eq!((span.from_ms, span.to_ms, span.covered_ms), (0, 33_000, 7_000));
    }
}
