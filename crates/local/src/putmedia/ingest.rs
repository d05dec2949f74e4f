//! [`Ingest`]: one PutMedia session, from body bytes to fragments and refusals. Sans-IO.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use crate::{
    FragmentLimits,
    mkv::{Item, ParseError, Parser, Track, TrackKind},
    model::{ErrorId, Fragment},
};

/// The tag that completes a fragment before the next cluster comes.
const END_OF_FRAGMENT: &str = "AWS_KINESISVIDEO_END_OF_FRAGMENT";

/// Bytes of all `Tags` in front of a cluster, for elements may also be there without any tag in them. Ten tags, the most that
/// a fragment may have, take 4 KB.
const MAX_TAGS_RAW: usize = 64 * 1024;

/// The last millisecond of the year 9999. A timecode behind it is no time.
const LAST_MS: u64 = 253_402_300_799_999;

/// What became of bytes. `timecode` is that of the cluster as it came.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the fields say it all")]
pub enum Output {
    /// A fragment has begun.
    Begun { timecode: u64 },
    /// It is complete.
    Complete(Box<Fragment>),
    /// The session is refused, because of the fragment with this timecode if one had begun. The last output.
    Refused { timecode: Option<u64>, id: ErrorId, reason: String },
}

#[derive(Debug, Clone, Default)]
struct Open {
    timecode: u64,
    timecode_ms: u64,
    // Number of frames, earliest and latest milliseconds of each track.
    tracks: BTreeMap<u64, (u64, i64, i64)>,
    // Latest frame, in units of `timecode_scale`.
    latest: Option<i64>,
}

/// What is known of a session: its header, the open fragment, and what the next one must not undercut.
#[derive(Debug)]
pub struct Ingest {
    parser: Parser,
    limits: FragmentLimits,
    header: Bytes,
    tracks: Vec<Track>,
    tags: Vec<(String, String)>,
    tags_raw: BytesMut,
    timecode_scale: u64,
    open: Option<Open>,
    /// A fragment whose cluster was ended by what follows it. Tags that follow are the next one's, unless they go on to
    /// `AWS_KINESISVIDEO_END_OF_FRAGMENT`: then they are its own.
    ended: Option<Box<Fragment>>,
    /// Milliseconds between frames of each track, as the fragments before had them.
    spacing: BTreeMap<u64, f64>,
    /// Latest frame of the fragments before, in units of `timecode_scale`.
    latest: Option<i64>,
    refused: bool,
}

impl Ingest {
    /// A session that starts with its first byte.
    #[must_use]
    pub fn new(limits: FragmentLimits) -> Self {
        Self {
            parser: Parser::new(limits.fragment_bytes),
            limits,
            header: Bytes::new(),
            tracks: Vec::new(),
            tags: Vec::new(),
            tags_raw: BytesMut::new(),
            timecode_scale: 1_000_000,
            open: None,
            ended: None,
            spacing: BTreeMap::new(),
            latest: None,
            refused: false,
        }
    }

    /// Takes bytes in any pieces.
    pub fn push(&mut self, data: &[u8]) -> Vec<Output> {
        self.run(|parser, items| parser.push(data, items))
    }

    /// The producer has ended its body. (One that was cut is just dropped: its open fragment never was.)
    pub fn finish(&mut self) -> Vec<Output> {
        let mut outputs = self.run(Parser::finish);
        self.flush(&mut outputs);
        outputs
    }

    /// Timecode of the fragment that is open, as it came.
    #[must_use]
    pub fn open_timecode(&self) -> Option<u64> {
        self.open.as_ref().map(|open| open.timecode)
    }

    fn run(
        &mut self,
        parse: impl FnOnce(&mut Parser, &mut Vec<Item>) -> Result<(), ParseError>,
    ) -> Vec<Output> {
        let mut outputs = Vec::new();
        if self.refused {
            return outputs;
        }
        let mut items = Vec::new();
        let parsed = parse(&mut self.parser, &mut items);
        for item in items {
            if let Err((id, reason)) = self.item(item, &mut outputs) {
                self.refuse(id, reason, &mut outputs);
                return outputs;
            }
        }
        match parsed {
            Ok(()) => {}
            Err(error @ ParseError::TooLong { .. }) => {
                self.refuse(ErrorId::MaxFragmentSizeReached, error.to_string(), &mut outputs);
            }
            Err(error @ ParseError::Invalid(_)) => {
                self.refuse(ErrorId::InvalidMkvData, error.to_string(), &mut outputs);
            }
        }
        outputs
    }

    /// Lets go of the fragment whose cluster has ended.
    fn flush(&mut self, outputs: &mut Vec<Output>) {
        outputs.extend(self.ended.take().map(Output::Complete));
    }

    /// What has come since the cluster's end is metadata of its fragment ("The tags belong to the Cluster before it", says the
    /// developer guide of producers that send this).
    fn end_of_fragment(&mut self, outputs: &mut Vec<Output>) -> Result<(), (ErrorId, String)> {
        let Some(ended) = &mut self.ended else { return Ok(()) };
        ended.tags.append(&mut self.tags);
        let raw = self.tags_raw.split();
        if !raw.is_empty() {
            ended.raw = Bytes::from([&ended.raw[..], &raw].concat());
        }
        let (count, most) = (ended.tags.len(), self.limits.tags);
        if count > most {
            return Err((
                ErrorId::FragmentMetadataLimitReached,
                format!("{count} tags, and {most} are allowed"),
            ));
        }
        self.flush(outputs);
        Ok(())
    }

    fn refuse(&mut self, id: ErrorId, reason: String, outputs: &mut Vec<Output>) {
        self.flush(outputs);
        self.refused = true;
        outputs.push(Output::Refused { timecode: self.open_timecode(), id, reason });
    }

    fn item(&mut self, item: Item, outputs: &mut Vec<Output>) -> Result<(), (ErrorId, String)> {
        match item {
            Item::Header { raw, tracks, timecode_scale } => {
                self.timecode_scale = timecode_scale;
                if tracks.len() > self.limits.tracks {
                    let reason = format!("{} tracks, and {} are allowed", tracks.len(), self.limits.tracks);
                    return Err((ErrorId::MoreThanAllowedTracksFound, reason));
                }
                self.header = raw;
                self.tracks = tracks;
            }
            Item::Tags { raw, tags } => {
                // It completes the cluster before it, whose metadata precedes it then; it is none itself.
                if tags.iter().any(|(name, _)| name == END_OF_FRAGMENT) {
                    return self.end_of_fragment(outputs);
                }
                for (name, value) in &tags {
                    if name.len() > self.limits.tag_name || value.len() > self.limits.tag_value {
                        let reason = format!(
                            "the tag {:.40?} is longer than {} bytes of name or {} of value",
                            name, self.limits.tag_name, self.limits.tag_value
                        );
                        return Err((ErrorId::FragmentMetadataLimitReached, reason));
                    }
                }
                self.tags.extend(tags);
                self.tags_raw.extend_from_slice(&raw);
                if self.tags_raw.len() > MAX_TAGS_RAW {
                    let reason = format!("more than {MAX_TAGS_RAW} bytes of Tags before a cluster");
                    return Err((ErrorId::FragmentMetadataLimitReached, reason));
                }
                if self.tags.len() > self.limits.tags {
                    let reason = format!("{} tags, and {} are allowed", self.tags.len(), self.limits.tags);
                    return Err((ErrorId::FragmentMetadataLimitReached, reason));
                }
            }
            Item::Cluster { timecode, timecode_ms } => {
                if timecode_ms > LAST_MS {
                    let reason = format!("a timecode of {timecode_ms} ms is no time before the year 10000");
                    return Err((ErrorId::InvalidProducerTimestamp, reason));
                }
                self.flush(outputs);
                self.open = Some(Open { timecode, timecode_ms, ..Open::default() });
                outputs.push(Output::Begun { timecode });
            }
            Item::Frame { track, time, time_ms, .. } => self.frame(track, time, time_ms)?,
            Item::ClusterEnd { raw, sized } => {
                // A cluster without Timecode never opened a fragment.
                if self.open.is_some() {
                    self.ended = Some(Box::new(self.complete(raw)?));
                    self.open = None;
                    if sized {
                        self.flush(outputs);
                    }
                }
            }
        }
        Ok(())
    }

    fn frame(&mut self, track: u64, time: i64, time_ms: i64) -> Result<(), (ErrorId, String)> {
        if !self.tracks.iter().any(|known| known.number == track) {
            return Err((
                ErrorId::TrackNumberMismatch,
                format!("a frame of track {track}, which is not declared"),
            ));
        }
        if let Some(latest) = self.latest.filter(|latest| time <= *latest) {
            let reason = format!(
                "a frame at {time_ms} ms (timecode {time}), not later than the last of the fragment before (timecode \
                 {latest})"
            );
            return Err((ErrorId::FragmentTimecodeLesserThanPrevious, reason));
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        open.latest = open.latest.max(Some(time));
        let entry = open.tracks.entry(track).or_insert((0, time_ms, time_ms));
        *entry = (entry.0 + 1, entry.1.min(time_ms), entry.2.max(time_ms));
        let first = open.tracks.values().map(|(_, first, _)| *first).min().unwrap_or(time_ms);
        if time_ms.abs_diff(first) > self.limits.fragment_ms {
            let reason = format!("a fragment of more than {} ms", self.limits.fragment_ms);
            return Err((ErrorId::MaxFragmentDurationReached, reason));
        }
        Ok(())
    }

    /// When the last frame of a track ends. It lasts as long as its header says, as the frames before it did on average,
    /// or as those of the fragment before did.
    fn end_of(&mut self, number: u64, (count, first, last): (u64, i64, i64)) -> i64 {
        let stated = self.tracks.iter().find(|track| track.number == number).and_then(Track::frame_ms);
        let measured = (count > 1).then(|| (last - first) as f64 / (count - 1) as f64);
        if let Some(measured) = measured {
            self.spacing.insert(number, measured);
        }
        let frame = stated.or(measured).or_else(|| self.spacing.get(&number).copied()).unwrap_or(0.0);
        last.saturating_add(frame.round() as i64)
    }

    fn complete(&mut self, raw: Bytes) -> Result<Fragment, (ErrorId, String)> {
        let Open { timecode, timecode_ms, tracks: seen, latest } = self.open.clone().unwrap_or_default();
        if let Some(missing) = self.tracks.iter().find(|track| !seen.contains_key(&track.number)) {
            let reason = format!("no frame of track {} ({})", missing.number, missing.codec);
            return Err((ErrorId::FramesMissingForTrack, reason));
        }
        let first = seen.values().map(|(_, first, _)| *first).min().unwrap_or_default();
        let last = seen.values().map(|(_, _, last)| *last).max().unwrap_or_default();
        let end = seen.iter().map(|(number, span)| self.end_of(*number, *span)).max().unwrap_or(last);
        self.latest = latest;
        let frames = |kind: TrackKind| {
            self.tracks
                .iter()
                .filter(|track| track.kind == kind)
                .filter_map(|track| seen.get(&track.number))
                .map(|(count, _, _)| *count)
                .sum()
        };
        let mut bytes = self.tags_raw.split();
        bytes.extend_from_slice(&raw);
        Ok(Fragment {
            timecode,
            timecode_ms,
            duration_ms: end.abs_diff(first),
            header: self.header.clone(),
            raw: bytes.freeze(),
            tags: std::mem::take(&mut self.tags),
            video_frames: frames(TrackKind::Video),
            audio_frames: frames(TrackKind::Audio),
            tracks: self.tracks.clone(),
            timecode_scale: self.timecode_scale,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mkv;

    fn element(id: &[u8], content: &[u8]) -> Vec<u8> {
        let mut out = id.to_vec();
        out.push(0x01);
        out.extend(&(content.len() as u64).to_be_bytes()[1..]);
        out.extend(content);
        out
    }

    /// Video is track 1, audio track 2.
    fn header(tracks: u8) -> Vec<u8> {
        let entries: Vec<u8> = (1..=tracks)
            .flat_map(|number| {
                let entry = [element(&[0xD7], &[number]), element(&[0x83], &[number.min(2)])].concat();
                element(&[0xAE], &entry)
            })
            .collect();
        [
            element(&[0x1A, 0x45, 0xDF, 0xA3], &[]),
            vec![0x18, 0x53, 0x80, 0x67, 0xFF],
            element(&[0x16, 0x54, 0xAE, 0x6B], &entries),
        ]
        .concat()
    }

    fn cluster(timecode: u64, frames: &[(u8, i16)]) -> Vec<u8> {
        let mut out = vec![0x1F, 0x43, 0xB6, 0x75, 0xFF];
        out.extend(element(&[0xE7], &timecode.to_be_bytes()));
        for (track, time) in frames {
            let [high, low] = time.to_be_bytes();
            out.extend(element(&[0xA3], &[0x80 | track, high, low, 0x80, 1, 2]));
        }
        out
    }

    fn session(parts: &[Vec<u8>]) -> Vec<Output> {
        let mut ingest = Ingest::new(FragmentLimits::default());
        let mut outputs: Vec<_> = parts.iter().flat_map(|part| ingest.push(part)).collect();
        outputs.extend(ingest.finish());
        outputs
    }

    fn refusal(parts: &[Vec<u8>]) -> ErrorId {
        match session(parts).pop() {
            Some(Output::Refused { id, .. }) => id,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn fragments_are_complete_at_the_next_cluster_a_tag_or_the_end() {
        let end = mkv::tags(&[(END_OF_FRAGMENT, "")]).to_vec();
        let color = mkv::tags(&[("color", "red")]).to_vec();
        let outputs = session(&[
            header(2),
            cluster(1_000, &[(1, 0), (2, 5), (1, 33)]),
            color.clone(),
            cluster(2_000, &[(1, 0), (2, 10)]),
            end,
            cluster(3_000, &[(1, 0), (2, 10)]),
        ]);
        let fragments: Vec<_> = outputs
            .iter()
            .filter_map(|output| match output {
                Output::Complete(fragment) => {
                    Some((fragment.timecode_ms, fragment.video_frames, fragment.audio_frames))
                }
                _ => None,
            })
            .collect();
        assert_eq!(fragments, [(1_000, 2, 1), (2_000, 1, 1), (3_000, 1, 1)]);
        let Output::Complete(second) = &outputs[3] else { panic!("{outputs:?}") };
        assert_eq!(second.tags, [("color".to_owned(), "red".to_owned())]);
        assert!(second.raw.starts_with(&color));
    }

    /// As the producer SDKs send it where an application ends its fragments itself, however the body is cut.
    #[test]
    fn tags_before_the_end_of_a_fragment_are_its_own() {
        let tag = |name: &str| mkv::tags(&[(name, "x")]).to_vec();
        let body = [
            header(1),
            tag("first"),
            cluster(1_000, &[(1, 0)]),
            tag("also the first"),
            tag(END_OF_FRAGMENT),
            cluster(2_000, &[(1, 0)]),
            tag("third"),
            cluster(3_000, &[(1, 0)]),
            tag("of none"),
        ]
        .concat();
        for cut in [1, 7, body.len()] {
            let parts: Vec<Vec<u8>> = body.chunks(cut).map(<[u8]>::to_vec).collect();
            let tags: Vec<Vec<String>> = session(&parts)
                .into_iter()
                .filter_map(|output| match output {
                    Output::Complete(fragment) => {
                        Some(fragment.tags.into_iter().map(|(name, _)| name).collect())
                    }
                    _ => None,
                })
                .collect();
            assert_eq!(tags, [vec!["first", "also the first"], vec![], vec!["third"]]);
        }
    }

    #[test]
    fn a_cut_body_leaves_no_fragment() {
        let mut ingest = Ingest::new(FragmentLimits::default());
        let mut outputs = ingest.push(&header(1));
        outputs.extend(ingest.push(&cluster(1_000, &[(1, 0), (1, 33)])));
        assert_eq!(outputs, [Output::Begun { timecode: 1_000 }]);
        assert_eq!(ingest.open_timecode(), Some(1_000));
    }

    #[test]
    fn the_services_checks() {
        let good = cluster(1_000, &[(1, 0), (2, 5)]);
        assert_eq!(refusal(&[header(4), cluster(1, &[(1, 0)])]), ErrorId::MoreThanAllowedTracksFound);
        assert_eq!(refusal(&[header(2), cluster(1, &[(1, 0), (3, 0)])]), ErrorId::TrackNumberMismatch);
        assert_eq!(refusal(&[header(2), cluster(1, &[(1, 0)])]), ErrorId::FramesMissingForTrack);
        assert_eq!(
            refusal(&[header(2), good.clone(), cluster(1_005, &[(1, 0), (2, 1)])]),
            ErrorId::FragmentTimecodeLesserThanPrevious
        );
        assert_eq!(
            refusal(&[header(2), cluster(1, &[(1, 0), (2, 0), (1, 20_001)])]),
            ErrorId::MaxFragmentDurationReached
        );
        assert_eq!(refusal(&[header(1), cluster(u64::MAX, &[(1, 0)])]), ErrorId::InvalidProducerTimestamp);
        let long = mkv::tags(&[("a", &"b".repeat(257))]).to_vec();
        assert_eq!(
            refusal(&[header(2), good.clone(), long, good.clone()]),
            ErrorId::FragmentMetadataLimitReached
        );
        assert_eq!(refusal(&[b"no matroska at all".to_vec()]), ErrorId::InvalidMkvData);
        let hollow = element(&[0x12, 0x54, 0xC3, 0x67], &element(&[0xEC], &[0; 40_000]));
        assert_eq!(
            refusal(&[header(2), good.clone(), hollow.clone(), hollow]),
            ErrorId::FragmentMetadataLimitReached
        );
        let tags: Vec<_> = (0..11).map(|_| mkv::tags(&[("a", "b")]).to_vec()).collect();
        assert_eq!(refusal(&[vec![header(2), good], tags].concat()), ErrorId::FragmentMetadataLimitReached);
    }

    fn lengths(parts: &[Vec<u8>]) -> Vec<u64> {
        let length = |output: Output| match output {
            Output::Complete(fragment) => Some(fragment.duration_ms),
            _ => None,
        };
        session(parts).into_iter().filter_map(length).collect()
    }

    #[test]
    fn the_last_frame_counts_as_long_as_the_others() {
        let parts = [header(1), cluster(0, &[(1, 0), (1, 40), (1, 80)]), cluster(120, &[(1, 0)])];
        assert_eq!(
            lengths(&parts),
            [120, 40],
            "a single frame lasts as long as those of the fragment before"
        );
    }

    #[test]
    fn tags_of_a_muxer_are_no_metadata() {
        let about_a_track = element(
            &[0x12, 0x54, 0xC3, 0x67],
            &element(
                &[0x73, 0x73],
                &[
                    element(&[0x63, 0xC0], &element(&[0x63, 0xC5], &[1])),
                    element(&[0x67, 0xC8], &element(&[0x45, 0xA3], b"ENCODER")),
                ]
                .concat(),
            ),
        );
        let outputs = session(&[header(1), about_a_track, cluster(5, &[(1, 0)])]);
        let Some(Output::Complete(fragment)) = outputs.last() else { panic!("{outputs:?}") };
        assert!(fragment.tags.is_empty());
    }

    #[test]
    fn nothing_comes_after_a_refusal() {
        let mut ingest = Ingest::new(FragmentLimits::default());
        assert_eq!(ingest.push(b"nonsense nonsense").len(), 1);
        assert!(ingest.push(&header(1)).is_empty());
        assert!(ingest.finish().is_empty());
    }
}
