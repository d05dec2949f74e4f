//! A fragment: one Matroska cluster with everything that is needed to send it, again if need be.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::{TrackFormat, TrackKind, matroska};

/// What a session's header is made from. Two fragments share a session when they share this.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) id: u64,
    /// Grows when time jumps backwards: what was before and what is after cannot share a session.
    pub(crate) epoch: u64,
    formats: [Option<Arc<TrackFormat>>; 2],
    /// Added to nothing and subtracted from timecodes when the session is sent with relative ones.
    pub(crate) base_ms: u64,
}

impl Header {
    pub(crate) fn new(id: u64, epoch: u64, formats: [Option<Arc<TrackFormat>>; 2], base_ms: u64) -> Self {
        Self { id, epoch, formats, base_ms }
    }

    pub(crate) fn matches(&self, epoch: u64, formats: &[Option<Arc<TrackFormat>>; 2]) -> bool {
        self.epoch == epoch && self.formats == *formats
    }

    pub(crate) fn encode(&self, segment_uid: &[u8; 16], timecode_scale_ms: u32) -> Bytes {
        matroska::session_header(segment_uid, timecode_scale_ms, self.formats.iter().flatten().map(|f| &**f))
    }

    fn has_video(&self) -> bool {
        self.formats[TrackKind::Video.index()].is_some()
    }

    /// Video is 1; audio is 2 beside it and 1 alone.
    fn track_number(&self, kind: TrackKind) -> u8 {
        if kind == TrackKind::Audio && self.has_video() { 2 } else { 1 }
    }
}

#[derive(Debug)]
struct Block {
    kind: TrackKind,
    /// Milliseconds after the fragment's start. Negative never: earlier frames are moved or dropped.
    offset_ms: u32,
    key: bool,
    data: Bytes,
}

/// How far the session that is open has come with a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    No,
    Partly,
    Whole,
}

#[derive(Debug)]
pub(crate) struct Fragment {
    pub(crate) id: u64,
    /// Decided when the set of tracks is: with the first frame of each expected track, or at the end.
    pub(crate) header: Option<Arc<Header>>,
    pub(crate) epoch: u64,
    pub(crate) formats: [Option<Arc<TrackFormat>>; 2],
    pub(crate) start_ms: u64,
    pub(crate) latest_ms: u64,
    tags: Vec<(String, String)>,
    blocks: Vec<Block>,
    pub(crate) frames: [u64; 2],
    /// Payload and bookkeeping, as counted against the storage bound.
    pub(crate) bytes: usize,
    pub(crate) closed: bool,
    pub(crate) sent: Sent,
    pub(crate) received: bool,
    /// Sent whole, then its payload was let go because memory was needed: it can be acknowledged, but not
    /// sent again.
    pub(crate) payload_released: bool,
    pub(crate) times_started: u32,
    /// Resend errors that named this fragment.
    pub(crate) failures: u32,
    pub(crate) last_frame_at: Instant,
}

/// Bookkeeping of a block, counted against the storage bound beside its payload.
const BLOCK_OVERHEAD: usize = 64;

impl Fragment {
    pub(crate) fn new(id: u64, epoch: u64, start_ms: u64, tags: Vec<(String, String)>, now: Instant) -> Self {
        Self {
            id,
            header: None,
            epoch,
            formats: [None, None],
            start_ms,
            latest_ms: start_ms,
            tags,
            blocks: Vec::new(),
            frames: [0; 2],
            bytes: 0,
            closed: false,
            sent: Sent::No,
            received: false,
            payload_released: false,
            times_started: 0,
            failures: 0,
            last_frame_at: now,
        }
    }

    pub(crate) fn has(&self, kind: TrackKind) -> bool {
        self.frames[kind.index()] > 0
    }

    /// Adds a frame; `at_ms` must not lie before the start.
    pub(crate) fn append(
        &mut self,
        kind: TrackKind,
        format: Arc<TrackFormat>,
        at_ms: u64,
        key: bool,
        data: Bytes,
        now: Instant,
    ) -> usize {
        let offset_ms = u32::try_from(at_ms.saturating_sub(self.start_ms)).unwrap_or(u32::MAX);
        let bytes = data.len() + BLOCK_OVERHEAD;
        self.formats[kind.index()] = Some(format);
        self.frames[kind.index()] += 1;
        self.latest_ms = self.latest_ms.max(at_ms);
        self.bytes += bytes;
        self.last_frame_at = now;
        self.blocks.push(Block { kind, offset_ms, key, data });
        bytes
    }

    /// The timecode that is written in its cluster and comes back in its acknowledgements.
    pub(crate) fn timecode(&self, relative: bool, scale_ms: u32) -> u64 {
        let base = match &self.header {
            Some(header) if relative => header.base_ms,
            _ => 0,
        };
        self.start_ms.saturating_sub(base) / u64::from(scale_ms)
    }

    /// Parts: the cluster's head, then one per frame.
    pub(crate) fn parts(&self) -> usize {
        1 + self.blocks.len()
    }

    /// Writes a part. Nothing is written while the header is undecided or for a part that is not there yet.
    pub(crate) fn write_part(&self, part: usize, relative: bool, scale_ms: u32, out: &mut BytesMut) {
        let Some(header) = &self.header else { return };
        let Some(index) = part.checked_sub(1) else {
            matroska::put_tags(out, &self.tags);
            matroska::put_cluster(out, self.timecode(relative, scale_ms));
            return;
        };
        let Some(block) = self.blocks.get(index) else { return };
        // Block times are relative to the cluster's timecode *as rounded* to the scale.
        let scale = u64::from(scale_ms);
        let cluster = self.timecode(relative, scale_ms);
        let base = self.start_ms.saturating_sub(if relative { header.base_ms } else { 0 });
        let at = (base + u64::from(block.offset_ms)) / scale;
        let offset = i16::try_from(at.saturating_sub(cluster)).unwrap_or(i16::MAX);
        // In a session with video only its random-access points carry the key flag; in one of audio alone
        // every block does.
        let key = if header.has_video() { block.kind == TrackKind::Video && block.key } else { true };
        matroska::put_block_head(out, header.track_number(block.kind), offset, key, block.data.len());
        out.extend_from_slice(&block.data);
    }

    /// Lets the payload go. Returns the bytes freed.
    pub(crate) fn release_payload(&mut self) -> usize {
        self.payload_released = true;
        self.blocks = Vec::new();
        std::mem::take(&mut self.bytes)
    }
}
