//! A fragment: one Matroska cluster with everything that is needed to send it, again if need be.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::block::{BLOCK_OVERHEAD, Block};
use crate::outgoing::Outgoing;
use crate::spool::{FileName, Found, SpooledFragment, SpooledHead};
use crate::{HostClock, TrackFormat, TrackKind, matroska};

/// The service accepts 50 MB per fragment.
pub(crate) const MAX_FRAGMENT_BYTES: usize = 48_000_000;

/// Longest fragment of audio alone, which can be cut anywhere. The service's pages give 10 s and 20 s as what it
/// accepts; only video without key frames has a reason to go beyond the lower one.
pub(crate) const MAX_AUDIO: Duration = Duration::from_secs(10);

/// What a session's header is made from. Two fragments share a session when they share this.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) id: u64,
    /// Grows when time jumps backwards: what was before and what is after cannot share a session.
    pub(crate) epoch: u64,
    /// The id that it had when it was spooled.
    was: Option<u64>,
    formats: [Option<Arc<TrackFormat>>; 2],
    /// Added to nothing and subtracted from timecodes when the session is sent with relative ones.
    pub(crate) base_ms: u64,
}

impl Header {
    pub(crate) fn new(id: u64, epoch: u64, formats: [Option<Arc<TrackFormat>>; 2], base_ms: u64) -> Self {
        Self { id, epoch, was: None, formats, base_ms }
    }

    /// The same at another time, in another epoch.
    pub(crate) fn moved(&self, id: u64, epoch: u64, delta_ms: i64, scale_ms: u64) -> Self {
        let base = self.base_ms.saturating_add_signed(delta_ms);
        Self::new(id, epoch, self.formats.clone(), base - base % scale_ms)
    }

    /// The header of fragments that a spool has had since before.
    pub(crate) fn restored(
        id: u64,
        epoch: u64,
        was: u64,
        formats: [Option<Arc<TrackFormat>>; 2],
        base_ms: u64,
    ) -> Self {
        Self { id, epoch, was: Some(was), formats, base_ms }
    }

    /// Whether it is the one that was spooled like this.
    pub(crate) fn was(&self, id: u64, base_ms: u64) -> bool {
        self.was == Some(id) && self.base_ms == base_ms
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

/// How far the session that is open has come with a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    No,
    Partly,
    Whole,
}

/// Whether the spool has a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spooled {
    No,
    /// It is being written, as so many bytes.
    Writing(u64),
    /// It has it, as so many bytes.
    Yes(u64),
}

impl Spooled {
    /// Bytes of the spool that it takes.
    pub(crate) fn bytes(self) -> u64 {
        match self {
            Spooled::No => 0,
            Spooled::Writing(bytes) | Spooled::Yes(bytes) => bytes,
        }
    }
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
    /// From its last frame to the fragment that follows it: how long that frame lasts.
    gap_ms: u64,
    tags: Vec<(String, String)>,
    /// Empty unless `resident`.
    blocks: Vec<Block>,
    pub(crate) frames: [u64; 2],
    /// Payload and bookkeeping, as counted against the storage bound. 0 unless `resident`.
    pub(crate) bytes: usize,
    /// Payload, wherever it is.
    pub(crate) payload: u64,
    /// The payload is in memory.
    pub(crate) resident: bool,
    pub(crate) spooled: Spooled,
    /// Its file, once the spool has had it.
    pub(crate) file: Option<FileName>,
    /// It was recorded by a process before this one.
    pub(crate) restored: bool,
    /// Then: by this clock, which nobody had confirmed.
    pub(crate) clock: Option<HostClock>,
    /// It was asked for from the spool.
    pub(crate) loading: bool,
    pub(crate) closed: bool,
    pub(crate) sent: Sent,
    /// RECEIVED was said, at this time.
    pub(crate) received: Option<Instant>,
    pub(crate) times_started: u32,
    /// Resend errors that named this fragment, and when the first came.
    pub(crate) failures: u32,
    pub(crate) first_failure: Option<Instant>,
    /// It was refused for what it is.
    pub(crate) refused: bool,
    pub(crate) last_frame_at: Instant,
}

/// A frame that lasts longer counts for nothing: the service accepts fragments of 20 s.
const MAX_GAP_MS: u64 = 20_000;

impl Fragment {
    pub(crate) fn new(id: u64, epoch: u64, start_ms: u64, tags: Vec<(String, String)>, now: Instant) -> Self {
        Self {
            id,
            header: None,
            epoch,
            formats: [None, None],
            start_ms,
            latest_ms: start_ms,
            gap_ms: 0,
            tags,
            blocks: Vec::new(),
            frames: [0; 2],
            bytes: 0,
            payload: 0,
            resident: true,
            spooled: Spooled::No,
            file: None,
            restored: false,
            clock: None,
            loading: false,
            closed: false,
            sent: Sent::No,
            received: None,
            times_started: 0,
            failures: 0,
            first_failure: None,
            refused: false,
            last_frame_at: now,
        }
    }

    /// One that a spool has had since before this producer.
    pub(crate) fn restored(id: u64, epoch: u64, header: Arc<Header>, found: Found, now: Instant) -> Self {
        let Found { file, head, bytes } = found;
        let SpooledHead { start_ms, latest_ms, frames, formats, tags, clock, .. } = head;
        Self {
            header: Some(header),
            formats,
            latest_ms,
            frames,
            // All but the media is little.
            payload: bytes,
            resident: false,
            spooled: Spooled::Yes(bytes),
            file: Some(file),
            restored: true,
            clock,
            closed: true,
            ..Self::new(id, epoch, start_ms, tags, now)
        }
    }

    /// What the spool is to keep beside the media; `None` while its header is undecided. `clock` is the one of this process,
    /// while nobody has confirmed it.
    fn spool_head(&self, segment_uid: [u8; 16], clock: Option<HostClock>) -> Option<SpooledHead> {
        let header = self.header.as_ref()?;
        Some(SpooledHead {
            segment_uid,
            header_id: header.id,
            epoch: self.epoch,
            // The start of a session's first fragment may have been lowered since.
            base_ms: header.base_ms.min(self.start_ms),
            start_ms: self.start_ms,
            latest_ms: self.latest_ms,
            frames: self.frames,
            formats: header.formats.clone(),
            tags: self.tags.clone(),
            clock: if self.restored { self.clock } else { clock },
        })
    }

    /// Bytes of its file in the spool.
    pub(crate) fn spool_len(&self) -> Option<u64> {
        Some(self.spool_head([0; 16], None)?.file_len(self.payload))
    }

    /// What the spool is to keep.
    pub(crate) fn to_spool(
        &self,
        segment_uid: [u8; 16],
        clock: Option<HostClock>,
    ) -> Option<SpooledFragment> {
        Some(SpooledFragment { head: self.spool_head(segment_uid, clock)?, blocks: self.blocks.clone() })
    }

    /// Media time from its first frame to the end of its last, as far as that is known.
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_millis(self.latest_ms.saturating_sub(self.start_ms) + self.gap_ms)
    }

    /// Another one begins. What is further away does not follow it: a clock was set, or nothing came.
    pub(crate) fn followed_by(&mut self, next: &Self) {
        let gap = next.start_ms.saturating_sub(self.latest_ms);
        if next.epoch == self.epoch && gap <= MAX_GAP_MS {
            self.gap_ms = gap;
        }
    }

    /// Its timecode has been on a connection: it stays as it is.
    pub(crate) fn was_started(&self) -> bool {
        self.times_started > 0
    }

    /// Decoding can begin with it. Not known of one whose payload is not in memory.
    pub(crate) fn begins_with_key(&self) -> bool {
        let has_video = self.has(TrackKind::Video);
        let mut blocks = self.blocks.iter().filter(|block| !has_video || block.kind == TrackKind::Video);
        blocks.next().is_some_and(|block| !has_video || block.key)
    }

    /// Lets it begin earlier; every frame keeps its time.
    pub(crate) fn lower(&mut self, start_ms: u64) {
        let by = u32::try_from(self.start_ms.saturating_sub(start_ms)).unwrap_or(u32::MAX);
        for block in &mut self.blocks {
            block.offset_ms = block.offset_ms.saturating_add(by);
        }
        self.start_ms = self.start_ms.min(start_ms);
    }

    /// Moves it to another time, and with it all its frames.
    pub(crate) fn shift_time(&mut self, delta_ms: i64) {
        let duration = self.latest_ms.saturating_sub(self.start_ms);
        self.start_ms = self.start_ms.saturating_add_signed(delta_ms);
        self.latest_ms = self.start_ms.saturating_add(duration);
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
        self.payload += data.len() as u64;
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
    pub(crate) fn write_part(&self, part: usize, relative: bool, scale_ms: u32, out: &mut Outgoing) {
        let Some(header) = &self.header else { return };
        let Some(index) = part.checked_sub(1) else {
            matroska::put_tags(out.end(), &self.tags);
            matroska::put_cluster(out.end(), self.timecode(relative, scale_ms));
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
        matroska::put_block_head(out.end(), header.track_number(block.kind), offset, key, block.data.len());
        out.push(&block.data);
    }

    /// Nothing has the payload any more: it can be acknowledged, but not sent again.
    pub(crate) fn is_released(&self) -> bool {
        !self.resident && !matches!(self.spooled, Spooled::Yes(_))
    }

    /// How many tags it has.
    pub(crate) fn tag_count(&self) -> u64 {
        self.tags.len() as u64
    }

    /// The service says that there are too many tags: the frames matter more. Returns how many there were.
    pub(crate) fn drop_tags(&mut self) -> u64 {
        std::mem::take(&mut self.tags).len() as u64
    }

    /// Lets the payload go. Returns the bytes freed.
    pub(crate) fn release_payload(&mut self) -> usize {
        self.resident = false;
        self.blocks = Vec::new();
        std::mem::take(&mut self.bytes)
    }

    /// The payload is in memory again. Returns its bytes.
    pub(crate) fn put_back(&mut self, blocks: Vec<Block>) -> usize {
        self.resident = true;
        self.bytes = blocks.iter().map(|block| block.data.len() + BLOCK_OVERHEAD).sum();
        self.blocks = blocks;
        self.bytes
    }
}
