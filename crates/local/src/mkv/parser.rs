//! [`Parser`]: bytes in any pieces in, the parts of a PutMedia body out.

use bytes::{Buf, Bytes, BytesMut};

use super::element::{self, Head, MkvError};
use super::header::{self, Track};

/// The longest that everything before the first cluster may be.
const MAX_HEADER: u64 = 4 * 1024 * 1024;
/// The longest `Tags` element.
const MAX_TAGS: u64 = 64 * 1024;

/// A part of the body.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// Everything before the first cluster: EBML header, Segment head, Info, Tracks.
    Header {
        /// As it came, without tags.
        raw: Bytes,
        /// In the order of the header.
        tracks: Vec<Track>,
        /// Nanoseconds of one unit of timecodes.
        timecode_scale: u64,
    },
    /// A cluster has begun.
    Cluster {
        /// Its timecode as it came, in units of `TimecodeScale`: what acknowledgements name it by.
        timecode: u64,
        /// The same in milliseconds, rounded down.
        timecode_ms: u64,
    },
    /// A frame of the current cluster.
    Frame {
        /// `TrackNumber` of its track.
        track: u64,
        /// Its time in units of `TimecodeScale`: the cluster's plus its own.
        time: i64,
        /// The same in milliseconds, rounded down.
        time_ms: i64,
        /// Whether it is marked as a key frame.
        key: bool,
        /// The frame itself, without the head of its block. It shares memory with what came beside it.
        data: Bytes,
    },
    /// The current cluster is complete.
    ClusterEnd {
        /// As it came, head included.
        raw: Bytes,
        /// Whether its head says where it ends. If not, something that follows has ended it.
        sized: bool,
    },
    /// Metadata between clusters.
    Tags {
        /// As it came, head included.
        raw: Bytes,
        /// Names and values.
        tags: Vec<(String, String)>,
    },
}

impl Item {
    fn len(&self) -> usize {
        match self {
            Item::Header { raw, .. } | Item::ClusterEnd { raw, .. } | Item::Tags { raw, .. } => raw.len(),
            Item::Cluster { .. } | Item::Frame { .. } => 0,
        }
    }
}

/// Where the parser is.
#[derive(Debug)]
enum Place {
    /// Before the first cluster; what came so far is the header, and tags that stand in it.
    Header(BytesMut, Vec<Item>),
    /// In the Segment, between clusters.
    Segment,
    /// In a cluster.
    Cluster(Cluster),
}

#[derive(Debug)]
struct Cluster {
    raw: BytesMut,
    /// Bytes still to come, when its size is known.
    left: Option<u64>,
    timecode: Option<u64>,
}

/// Reads one PutMedia body incrementally. Holds the current header or cluster, and never more than one element ahead.
#[derive(Debug)]
pub struct Parser {
    place: Place,
    input: BytesMut,
    offset: u64,
    scale: u64,
    tracks: Vec<Track>,
    max_cluster: u64,
    /// Bytes of an element that nobody reads.
    skip: u64,
    /// The EBML header has come.
    seen_ebml: bool,
    /// The Segment has begun.
    seen_segment: bool,
    /// Bytes of the Segment still to come, when its size is known.
    segment_left: Option<u64>,
}

/// An error of the parser, or a cluster that is too long, which the service tells apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// No Matroska, or none that PutMedia takes.
    #[error(transparent)]
    Invalid(#[from] MkvError),
    /// The cluster is longer than allowed.
    #[error("byte {offset}: the fragment is longer than {limit} bytes")]
    TooLong {
        /// Offset in the body.
        offset: u64,
        /// The most bytes that a fragment may have.
        limit: u64,
    },
}

impl Parser {
    /// With clusters of at most `max_cluster` bytes.
    #[must_use]
    pub fn new(max_cluster: u64) -> Self {
        Self {
            place: Place::Header(BytesMut::new(), Vec::new()),
            input: BytesMut::new(),
            offset: 0,
            scale: 1_000_000,
            tracks: Vec::new(),
            max_cluster,
            skip: 0,
            seen_ebml: false,
            seen_segment: false,
            segment_left: None,
        }
    }

    /// Takes the next bytes and appends what they complete to `items`.
    ///
    /// # Errors
    /// [`ParseError`] with the byte's offset in the body; `items` holds what came before it.
    pub fn push(&mut self, data: &[u8], items: &mut Vec<Item>) -> Result<(), ParseError> {
        self.input.extend_from_slice(data);
        while self.step(items)? {}
        Ok(())
    }

    /// The body has ended. A cluster of unknown size ends with it.
    ///
    /// # Errors
    /// The body ended within an element.
    pub fn finish(&mut self, items: &mut Vec<Item>) -> Result<(), ParseError> {
        if !self.input.is_empty() || self.skip > 0 {
            return Err(self.error("the body ends within an element"));
        }
        if let Place::Cluster(cluster) = &self.place
            && cluster.left.is_some_and(|left| left > 0)
        {
            return Err(self.error("the body ends within a cluster"));
        }
        self.end_cluster(items)
    }

    fn error(&self, reason: impl Into<String>) -> ParseError {
        MkvError { offset: self.offset, reason: reason.into() }.into()
    }

    /// Moves `count` bytes from the input to what is kept of the current place.
    fn take(&mut self, count: usize) {
        let bytes = self.input.split_to(count);
        self.keep(&bytes);
    }

    /// Adds bytes that were split from the input to what is kept of the current place.
    fn keep(&mut self, bytes: &[u8]) {
        let count = bytes.len() as u64;
        self.offset += count;
        if let Some(left) = &mut self.segment_left {
            *left = left.saturating_sub(count);
        }
        match &mut self.place {
            Place::Header(raw, _) => raw.extend_from_slice(bytes),
            Place::Cluster(cluster) => {
                cluster.raw.extend_from_slice(bytes);
                if let Some(left) = &mut cluster.left {
                    *left = left.saturating_sub(count);
                }
            }
            Place::Segment => {}
        }
    }

    /// One element, or part of one that is skipped. False when more bytes are needed.
    fn step(&mut self, items: &mut Vec<Item>) -> Result<bool, ParseError> {
        if self.skip > 0 {
            let count = usize::try_from(self.skip).unwrap_or(usize::MAX).min(self.input.len());
            self.take(count);
            self.skip -= count as u64;
            return Ok(self.skip == 0 && !self.input.is_empty());
        }
        if let Place::Cluster(cluster) = &self.place {
            if cluster.raw.len() as u64 > self.max_cluster {
                return Err(ParseError::TooLong { offset: self.offset, limit: self.max_cluster });
            }
            if cluster.left == Some(0) {
                self.end_cluster(items)?;
            }
        }
        let Some(head) = element::head(&self.input).map_err(|reason| self.error(reason))? else {
            return Ok(false);
        };
        if let Some(left) = self.segment_left {
            if left == 0 {
                return Err(self.error("bytes behind the end of the Segment"));
            }
            if head.size.is_some_and(|size| size.saturating_add(head.length as u64) > left) {
                return Err(self.error(format!("element 0x{:X} reaches beyond the Segment", head.id)));
            }
        }
        let top = matches!(
            head.id,
            element::EBML
                | element::SEGMENT
                | element::SEEK_HEAD
                | element::INFO
                | element::TRACKS
                | element::CUES
                | element::CHAPTERS
                | element::ATTACHMENTS
                | element::TAGS
                | element::CLUSTER
        );
        if top && let Place::Cluster(Cluster { left: Some(left), .. }) = &self.place {
            return Err(
                self.error(format!("element 0x{:X} within a cluster that has {left} bytes left", head.id))
            );
        }
        match head.id {
            element::CLUSTER => {
                self.end_header(items)?;
                self.end_cluster(items)?;
                self.place = Place::Cluster(Cluster { raw: BytesMut::new(), left: None, timecode: None });
                self.take(head.length);
                if let Place::Cluster(cluster) = &mut self.place {
                    cluster.left = head.size;
                }
                Ok(true)
            }
            element::TAGS => self.tags(head, items),
            _ if top => self.header_element(head, items),
            _ if matches!(self.place, Place::Cluster(_)) => self.in_cluster(head, items),
            _ => self.skip_element(head),
        }
    }

    fn header_element(&mut self, head: Head, items: &mut Vec<Item>) -> Result<bool, ParseError> {
        let Place::Header(raw, _) = &self.place else {
            if matches!(head.id, element::CUES | element::SEEK_HEAD) {
                self.end_cluster(items)?;
                self.place = Place::Segment;
                return self.skip_element(head);
            }
            return Err(self.error(format!("element 0x{:X} behind the first cluster", head.id)));
        };
        let so_far = raw.len() as u64;
        match head.id {
            element::EBML if self.seen_ebml => return Err(self.error("a second EBML header")),
            element::SEGMENT if self.seen_segment => return Err(self.error("a second Segment")),
            id if id != element::EBML && !self.seen_ebml => return Err(self.error("no EBML header")),
            element::SEGMENT => {
                self.seen_segment = true;
                self.take(head.length);
                self.segment_left = head.size;
                return Ok(true);
            }
            id if id != element::EBML && !self.seen_segment => return Err(self.error("no Segment")),
            _ => {}
        }
        let Some(size) = head.size else {
            return Err(self.error(format!("element 0x{:X} of unknown size", head.id)));
        };
        if so_far.saturating_add(size) > MAX_HEADER {
            return Err(self.error(format!("a header of more than {MAX_HEADER} bytes")));
        }
        let total = head.length + size as usize;
        if self.input.len() < total {
            return Ok(false);
        }
        let content = &self.input[head.length..total];
        let read = match head.id {
            element::EBML => {
                self.seen_ebml = true;
                Ok(())
            }
            element::INFO => header::timecode_scale(content).map(|scale| self.scale = scale),
            element::TRACKS if !self.tracks.is_empty() => Err("a second Tracks".to_owned()),
            element::TRACKS => header::tracks(content).map(|tracks| self.tracks = tracks),
            _ => Ok(()),
        };
        read.map_err(|reason| self.error(reason))?;
        self.take(total);
        Ok(true)
    }

    /// The header is complete when the first cluster comes. Tags in it belong to that cluster.
    fn end_header(&mut self, items: &mut Vec<Item>) -> Result<(), ParseError> {
        if matches!(self.place, Place::Header(..)) && self.tracks.is_empty() {
            return Err(self.error("no Tracks before the first cluster"));
        }
        if let Place::Header(raw, tags) = &mut self.place {
            let (raw, tags) = (raw.split().freeze(), std::mem::take(tags));
            items.push(Item::Header { raw, tracks: self.tracks.clone(), timecode_scale: self.scale });
            items.extend(tags);
            self.place = Place::Segment;
        }
        Ok(())
    }

    fn end_cluster(&mut self, items: &mut Vec<Item>) -> Result<(), ParseError> {
        if let Place::Cluster(cluster) = &mut self.place {
            if cluster.timecode.is_none() {
                return Err(self.error("a cluster without Timecode"));
            }
            let sized = cluster.left.is_some();
            items.push(Item::ClusterEnd { raw: cluster.raw.split().freeze(), sized });
            self.place = Place::Segment;
        }
        Ok(())
    }

    fn tags(&mut self, head: Head, items: &mut Vec<Item>) -> Result<bool, ParseError> {
        if !self.seen_segment {
            return Err(self.error("no EBML header and Segment before Tags"));
        }
        let Some(size) = head.size.filter(|size| *size <= MAX_TAGS) else {
            return Err(self.error(format!("Tags of more than {MAX_TAGS} bytes")));
        };
        let total = head.length + size as usize;
        if self.input.len() < total {
            return Ok(false);
        }
        self.end_cluster(items)?;
        let tags =
            header::simple_tags(&self.input[head.length..total]).map_err(|reason| self.error(reason))?;
        if let Place::Header(raw, held) = &self.place {
            let so_far: usize = held.iter().map(Item::len).sum();
            if (raw.len() + so_far + total) as u64 > MAX_HEADER {
                return Err(self.error(format!("a header of more than {MAX_HEADER} bytes")));
            }
        }
        let raw = self.input.split_to(total).freeze();
        self.offset += total as u64;
        if let Some(left) = &mut self.segment_left {
            *left = left.saturating_sub(total as u64);
        }
        let item = Item::Tags { raw, tags };
        match &mut self.place {
            Place::Header(_, held) => held.push(item),
            _ => items.push(item),
        }
        Ok(true)
    }

    fn skip_element(&mut self, head: Head) -> Result<bool, ParseError> {
        let Some(size) = head.size else {
            return Err(self.error(format!("element 0x{:X} of unknown size", head.id)));
        };
        if !self.seen_ebml {
            return Err(self.error("no EBML header"));
        }
        if let Place::Header(raw, _) = &self.place
            && (raw.len() as u64).saturating_add(size) > MAX_HEADER
        {
            return Err(self.error(format!("a header of more than {MAX_HEADER} bytes")));
        }
        self.take(head.length);
        self.skip = size;
        Ok(true)
    }

    fn in_cluster(&mut self, head: Head, items: &mut Vec<Item>) -> Result<bool, ParseError> {
        let Place::Cluster(cluster) = &self.place else { return Ok(true) };
        let Some(size) = head.size else {
            return Err(self.error(format!("element 0x{:X} of unknown size in a cluster", head.id)));
        };
        let room = self.max_cluster.saturating_sub(cluster.raw.len() as u64);
        if cluster.left.is_some_and(|left| size.saturating_add(head.length as u64) > left) {
            return Err(self.error(format!("element 0x{:X} reaches beyond its cluster", head.id)));
        }
        if size > room {
            return Err(ParseError::TooLong { offset: self.offset, limit: self.max_cluster });
        }
        let timecode = cluster.timecode;
        match head.id {
            element::TIMECODE | element::SIMPLE_BLOCK | element::BLOCK_GROUP => {}
            _ => return self.skip_element(head),
        }
        let total = head.length + size as usize;
        if self.input.len() < total {
            return Ok(false);
        }
        let element = self.input.split_to(total).freeze();
        let content = element.slice(head.length..);
        let item = match (head.id, timecode) {
            (element::TIMECODE, None) => element::uint(&content).map(|timecode| {
                let ms = u128::from(timecode) * u128::from(self.scale) / 1_000_000;
                Item::Cluster { timecode, timecode_ms: u64::try_from(ms).unwrap_or(u64::MAX) }
            }),
            (element::TIMECODE, Some(_)) => Err("a second Timecode in a cluster".to_owned()),
            (_, None) => Err("a block before the cluster's Timecode".to_owned()),
            (element::SIMPLE_BLOCK, Some(cluster)) => self.block(content, cluster, None),
            (_, Some(cluster)) => self.block_group(&content, cluster),
        };
        let item = item.map_err(|reason| self.error(reason))?;
        self.keep(&element);
        if let (Item::Cluster { timecode, .. }, Place::Cluster(cluster)) = (&item, &mut self.place) {
            cluster.timecode = Some(*timecode);
        }
        items.push(item);
        Ok(true)
    }

    fn block_group(&self, content: &Bytes, cluster: u64) -> Result<Item, String> {
        let (mut block, mut key) = (None, true);
        for child in element::children(content) {
            match child? {
                (element::BLOCK, data) => block = Some(data),
                (element::REFERENCE_BLOCK, _) => key = false,
                _ => {}
            }
        }
        let block = block.ok_or("a BlockGroup without Block")?;
        self.block(content.slice_ref(block), cluster, Some(key))
    }

    /// A block: track, relative time, flags, frame (RFC 9559 section 10).
    fn block(&self, mut content: Bytes, cluster: u64, key: Option<bool>) -> Result<Item, String> {
        let (track, length) = element::track_number(&content)?;
        content.advance(length);
        if content.len() < 3 {
            return Err("a block without time and flags".to_owned());
        }
        let relative = content.get_i16();
        let flags = content.get_u8();
        if flags & 0x06 != 0 {
            return Err("a laced block".to_owned());
        }
        let time = i128::from(cluster) + i128::from(relative);
        let ms = time.saturating_mul(i128::from(self.scale)).div_euclid(1_000_000);
        Ok(Item::Frame {
            track,
            time: i64::try_from(time).unwrap_or(i64::MAX),
            time_ms: i64::try_from(ms).unwrap_or(i64::MAX),
            key: key.unwrap_or(flags & 0x80 != 0),
            data: content,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::TrackKind;
    use super::*;

    fn element(id: &[u8], content: &[u8]) -> Vec<u8> {
        let mut out = id.to_vec();
        out.push(0x01);
        out.extend(&(content.len() as u64).to_be_bytes()[1..]);
        out.extend(content);
        out
    }

    fn header() -> Vec<u8> {
        header_with_scale(1_000_000)
    }

    fn header_with_scale(scale: u32) -> Vec<u8> {
        let track = [
            element(&[0xD7], &[1]),
            element(&[0x83], &[1]),
            element(&[0x86], b"V_MPEG4/ISO/AVC"),
            element(&[0xE0], &[element(&[0xB0], &[2, 128]), element(&[0xBA], &[1, 104])].concat()),
        ]
        .concat();
        [
            element(&[0x1A, 0x45, 0xDF, 0xA3], &element(&[0x42, 0x82], b"matroska")),
            vec![0x18, 0x53, 0x80, 0x67, 0xFF],
            element(&[0x15, 0x49, 0xA9, 0x66], &element(&[0x2A, 0xD7, 0xB1], &scale.to_be_bytes())),
            element(&[0x16, 0x54, 0xAE, 0x6B], &element(&[0xAE], &track)),
        ]
        .concat()
    }

    /// A cluster with frames 0 and 33 ms behind its timecode.
    fn cluster(timecode: u64, known_size: bool) -> Vec<u8> {
        let children = [
            element(&[0xE7], &timecode.to_be_bytes()),
            element(&[0xA7], &[0]),
            element(&[0xA3], &[0x81, 0, 0, 0x80, 1, 2, 3]),
            element(&[0xA3], &[0x81, 0, 33, 0x00, 4, 5]),
        ]
        .concat();
        if known_size {
            element(&[0x1F, 0x43, 0xB6, 0x75], &children)
        } else {
            [vec![0x1F, 0x43, 0xB6, 0x75, 0xFF], children].concat()
        }
    }

    fn parse(pieces: &[&[u8]]) -> Result<Vec<Item>, ParseError> {
        let mut parser = Parser::new(1_000_000);
        let mut items = Vec::new();
        for piece in pieces {
            parser.push(piece, &mut items)?;
        }
        parser.finish(&mut items)?;
        Ok(items)
    }

    fn body(known_size: bool) -> Vec<u8> {
        [
            header(),
            cluster(1_000, known_size),
            super::super::tags(&[("color", "red")]).to_vec(),
            cluster(3_000, known_size),
        ]
        .concat()
    }

    #[test]
    fn a_body_is_header_clusters_and_tags() {
        for known_size in [false, true] {
            let items = parse(&[&body(known_size)]).unwrap();
            let Item::Header { raw, tracks, .. } = &items[0] else { panic!("{items:?}") };
            assert_eq!(raw, &header());
            assert_eq!((tracks[0].width, tracks[0].height, tracks[0].kind), (640, 360, TrackKind::Video));
            assert_eq!(items[1], Item::Cluster { timecode: 1_000, timecode_ms: 1_000 });
            assert_eq!(
                items[2],
                Item::Frame { track: 1, time: 1_000, time_ms: 1_000, key: true, data: vec![1, 2, 3].into() }
            );
            assert_eq!(
                items[3],
                Item::Frame { track: 1, time: 1_033, time_ms: 1_033, key: false, data: vec![4, 5].into() }
            );
            assert_eq!(
                items[4],
                Item::ClusterEnd { raw: cluster(1_000, known_size).into(), sized: known_size }
            );
            let Item::Tags { tags, .. } = &items[5] else { panic!("{items:?}") };
            assert_eq!(tags, &[("color".to_owned(), "red".to_owned())]);
            assert_eq!(items.len(), 10);
        }
    }

    #[test]
    fn times_are_in_the_units_of_the_header_and_in_milliseconds() {
        for (scale, timecode_ms, second_ms) in [
            (1_000_000, 1_007, 1_040),
            (10_000_000, 10_070, 10_400),
            (100_000, 100, 104),
            (1_000, 1, 1),
            (1_500_000, 1_510, 1_560),
        ] {
            let items = parse(&[&header_with_scale(scale), &cluster(1_007, false)]).unwrap();
            assert_eq!(items[1], Item::Cluster { timecode: 1_007, timecode_ms });
            assert_eq!(
                items[3],
                Item::Frame {
                    track: 1,
                    time: 1_040,
                    time_ms: second_ms,
                    key: false,
                    data: vec![4, 5].into()
                }
            );
        }
    }

    #[test]
    fn what_put_media_does_not_take_is_named_with_its_offset() {
        let (header, cluster) = (header(), cluster(1, false));
        let nested = element(&[0x1F, 0x43, 0xB6, 0x75], &element(&[0x1F, 0x43, 0xB6, 0x75], &[]));
        let closed = sized_segment(&header, &cluster);
        let laced = [
            &[0x1F, 0x43, 0xB6, 0x75, 0xFF][..],
            &element(&[0xE7], &[1]),
            &element(&[0xA3], &[0x81, 0, 0, 0x02, 1, 2]),
        ]
        .concat();
        for (pieces, words) in [
            (vec![&cluster[..]], "no Tracks"),
            (vec![&header, &cluster, &header], "behind the first cluster"),
            (vec![b"hello, this is no Matroska"], "no EBML"),
            (vec![&header, &cluster[..cluster.len() - 1]], "within an element"),
            (
                vec![&header, &[0x1F, 0x43, 0xB6, 0x75, 0xFF], &element(&[0xA3], &[0x81, 0, 0, 0x80])],
                "Timecode",
            ),
            (vec![&header, &[0x1F, 0x43, 0xB6, 0x75, 0xFF], &cluster], "without Timecode"),
            (vec![&header, &nested], "within a cluster"),
            (vec![&closed, &cluster], "behind the end of the Segment"),
            (vec![&header, &laced], "laced"),
            (vec![&[0x00; 8]], "starts no element"),
            (vec![&[0xFF; 8]], "reserved"),
        ] {
            let error = parse(&pieces).unwrap_err().to_string();
            assert!(error.contains(words) && error.starts_with("byte "), "{error:?} does not say {words:?}");
        }
    }

    /// The header, with a Segment that ends behind the cluster.
    fn sized_segment(header: &[u8], cluster: &[u8]) -> Vec<u8> {
        let at = header.windows(5).position(|window| window == [0x18, 0x53, 0x80, 0x67, 0xFF]).unwrap();
        let content = [&header[at + 5..], cluster].concat();
        [header[..at].to_vec(), element(&[0x18, 0x53, 0x80, 0x67], &content)].concat()
    }

    #[test]
    fn a_segment_may_have_a_size() {
        for known_size in [false, true] {
            let items = parse(&[&sized_segment(&header(), &cluster(1_000, known_size))]).unwrap();
            assert_eq!(
                items.last(),
                Some(&Item::ClusterEnd { raw: cluster(1_000, known_size).into(), sized: known_size })
            );
        }
    }

    #[test]
    fn tags_may_stand_anywhere_in_front_of_the_first_cluster() {
        let header = header();
        let at = header.windows(4).position(|window| window == [0x16, 0x54, 0xAE, 0x6B]).unwrap();
        let tags = super::super::tags(&[("color", "red")]);
        let items = parse(&[&header[..at], &tags, &header[at..], &cluster(5, false)]).unwrap();
        assert!(matches!(&items[0], Item::Header { raw, .. } if *raw == header));
        assert!(matches!(&items[1], Item::Tags { raw, .. } if *raw == tags));
    }

    #[test]
    fn block_groups_are_key_frames_without_reference() {
        let group = |extra: &[u8]| {
            element(&[0xA0], &[element(&[0xA1], &[0x81, 0, 10, 0, 9]), extra.to_vec()].concat())
        };
        let cluster = [
            vec![0x1F, 0x43, 0xB6, 0x75, 0xFF],
            element(&[0xE7], &[7]),
            group(&[]),
            group(&element(&[0xFB], &[1])),
        ];
        let items = parse(&[&header(), &cluster.concat()]).unwrap();
        assert_eq!(
            items[2],
            Item::Frame { track: 1, time: 17, time_ms: 17, key: true, data: vec![9].into() }
        );
        assert_eq!(
            items[3],
            Item::Frame { track: 1, time: 17, time_ms: 17, key: false, data: vec![9].into() }
        );
    }

    #[test]
    fn a_fragment_has_a_limit() {
        let mut parser = Parser::new(100);
        let mut items = Vec::new();
        parser.push(&header(), &mut items).unwrap();
        let block =
            [&[0x1F, 0x43, 0xB6, 0x75, 0xFF][..], &element(&[0xE7], &[1]), &[0xA3, 0x10, 0xFF, 0xFF, 0xFF]];
        let error = parser.push(&block.concat(), &mut items).unwrap_err();
        assert!(matches!(error, ParseError::TooLong { limit: 100, .. }), "{error}");
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_items(cuts in prop::collection::vec(0..400_usize, 0..20), known in any::<bool>()) {
            let body = body(known);
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
            cuts.push(body.len());
            cuts.sort_unstable();
            let mut from = 0;
            let pieces: Vec<_> = cuts.iter().map(|&to| { let piece = &body[from..to]; from = to; piece }).collect();
            prop_assert_eq!(parse(&pieces), parse(&[&body]));
        }

        #[test]
        fn no_bytes_make_it_panic(data in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&[&data]);
        }

        #[test]
        fn no_change_of_a_body_makes_it_panic(at in 0..400_usize, byte in any::<u8>()) {
            let mut body = body(false);
            let at = at % body.len();
            body[at] = byte;
            let _ = parse(&[&body]);
        }
    }
}
