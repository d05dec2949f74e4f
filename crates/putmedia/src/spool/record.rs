//! The form of a spooled fragment: a prefix of fixed size, a head with everything but the media, the media.
//!
//! ```text
//! prefix  magic "KVSSPOOL", u32 version, u32 length of the head, u64 length of the media,
//!         u32 CRC of the media, u32 CRC of the prefix up to here and the head
//! head    16 bytes SegmentUID, u64 header id, u64 epoch, u64 base, u64 start, u64 latest (all times in ms),
//!         u64 video frames, u64 audio frames,
//!         u8 tracks, each: u8 codec, u32 × 2 details, u8 bit depth, text name, bytes CodecPrivate
//!         u8 tags, each: text name, text value
//!         since version 2: u8 whether times are those of a host's clock that was not confirmed, 16 bytes which start of
//!         the machine, i64 when that was by this clock (ms)
//! media   per frame: u8 track (0 video, 1 audio), u8 key, u32 ms after the start, bytes payload
//! ```
//!
//! Numbers are little-endian; texts and bytes have a u32 length before them. The CRC is CRC-32 (IEEE).

use std::io::{self, Write};
use std::sync::Arc;

use bytes::{Buf, Bytes};

use crate::block::Block;
use crate::{Codec, HostClock, TrackDetails, TrackFormat, TrackKind};

/// Bytes of the prefix.
pub const PREFIX: usize = 32;
const MAGIC: &[u8; 8] = b"KVSSPOOL";
const VERSION: u32 = 2;
/// The oldest that can be read.
const OLDEST: u32 = 1;
/// No head is longer: CodecPrivate is at most a megabyte, as in the service's SDK.
const MAX_HEAD: u64 = 4 << 20;
/// No media is longer: the service takes 50 MB.
const MAX_MEDIA: u64 = 64 << 20;
/// No clock says more: 35,000 years.
const MAX_TIME_MS: u64 = 1 << 50;
/// Of a frame, beside its payload.
const BLOCK_HEAD: usize = 10;

/// Why bytes are no spooled fragment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It does not begin as one.
    #[error("it is no spooled fragment")]
    NotOne,
    /// Written by another version of this program.
    #[error("its format is version {0}, and this program reads versions {OLDEST} to {VERSION}")]
    Version(u32),
    /// It ends before its end, or goes on after it.
    #[error("it is {found} bytes long, and says that it is {said}")]
    Length {
        /// As it is.
        found: u64,
        /// As it says.
        said: u64,
    },
    /// Its bytes have changed.
    #[error("the checksum of its {0} is wrong")]
    Checksum(&'static str),
    /// The checksum is right, and it makes no sense all the same.
    #[error("it makes no sense: {0}")]
    Content(&'static str),
}

/// Everything about a spooled fragment but its media.
#[derive(Clone, Debug, PartialEq)]
pub struct SpooledHead {
    /// Together with `header_id`: fragments that share both share a session's header.
    pub(crate) segment_uid: [u8; 16],
    pub(crate) header_id: u64,
    pub(crate) epoch: u64,
    pub(crate) base_ms: u64,
    pub(crate) start_ms: u64,
    pub(crate) latest_ms: u64,
    pub(crate) frames: [u64; 2],
    pub(crate) formats: [Option<Arc<TrackFormat>>; 2],
    pub(crate) tags: Vec<(String, String)>,
    /// Its times are this clock's, which was not confirmed.
    pub(crate) clock: Option<HostClock>,
}

/// A fragment on its way to the spool or back.
#[derive(Clone, Debug, PartialEq)]
pub struct SpooledFragment {
    pub(crate) head: SpooledHead,
    pub(crate) blocks: Vec<Block>,
}

/// The first bytes of a spooled fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    version: u32,
    head: u32,
    media: u64,
    media_crc: u32,
    head_crc: u32,
}

impl Prefix {
    /// Reads the first bytes of a file.
    ///
    /// # Errors
    /// [`Damage`] when this is no spooled fragment, or not one of this version.
    pub fn parse(bytes: &[u8; PREFIX]) -> Result<Self, Damage> {
        let Some(mut rest) = bytes.strip_prefix(MAGIC) else { return Err(Damage::NotOne) };
        let version = rest.get_u32_le();
        if !(OLDEST..=VERSION).contains(&version) {
            return Err(Damage::Version(version));
        }
        let prefix = Self {
            version,
            head: rest.get_u32_le(),
            media: rest.get_u64_le(),
            media_crc: rest.get_u32_le(),
            head_crc: rest.get_u32_le(),
        };
        if u64::from(prefix.head) > MAX_HEAD || prefix.media > MAX_MEDIA {
            return Err(Damage::Content("it says that it is too long"));
        }
        Ok(prefix)
    }

    /// Length of the head that follows.
    #[must_use]
    pub fn head_len(&self) -> usize {
        self.head as usize
    }

    /// Length of the whole.
    #[must_use]
    pub fn file_len(&self) -> u64 {
        PREFIX as u64 + u64::from(self.head) + self.media
    }

    fn bytes(&self) -> [u8; PREFIX] {
        let mut out = [0; PREFIX];
        let mut rest = &mut out[..];
        // Cannot fail: the lengths add up to PREFIX.
        for field in [
            &MAGIC[..],
            &self.version.to_le_bytes(),
            &self.head.to_le_bytes(),
            &self.media.to_le_bytes(),
            &self.media_crc.to_le_bytes(),
            &self.head_crc.to_le_bytes(),
        ] {
            let _ = rest.write_all(field);
        }
        out
    }

    /// Reads the head that follows `prefix`.
    ///
    /// # Errors
    /// [`Damage`] when it has changed.
    pub fn parse_head(&self, head: &[u8]) -> Result<SpooledHead, Damage> {
        if head.len() != self.head_len() {
            return Err(Damage::Length { found: head.len() as u64, said: u64::from(self.head) });
        }
        let mut crc = crc32fast::Hasher::new();
        crc.update(&self.bytes()[..PREFIX - 4]);
        crc.update(head);
        if crc.finalize() != self.head_crc {
            return Err(Damage::Checksum("head"));
        }
        let mut input = Input(head);
        let parsed = SpooledHead::read(&mut input, self.version)?;
        if input.0.is_empty() { Ok(parsed) } else { Err(Damage::Content("its head goes on")) }
    }
}

/// What is left to read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Damage> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Damage::Content("its head ends early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, Damage> {
        Ok(self.take(1)?.get_u8())
    }

    fn u32(&mut self) -> Result<u32, Damage> {
        Ok(self.take(4)?.get_u32_le())
    }

    fn u64(&mut self) -> Result<u64, Damage> {
        Ok(self.take(8)?.get_u64_le())
    }

    fn i64(&mut self) -> Result<i64, Damage> {
        Ok(self.take(8)?.get_i64_le())
    }

    fn bytes(&mut self) -> Result<&'a [u8], Damage> {
        let length = self.u32()?;
        self.take(length as usize)
    }

    fn text(&mut self) -> Result<String, Damage> {
        let text = str::from_utf8(self.bytes()?).map_err(|_| Damage::Content("a text is not UTF-8"))?;
        Ok(text.to_owned())
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(bytes);
}

const CODECS: [Codec; 5] = [Codec::H264, Codec::H265, Codec::Aac, Codec::Alaw, Codec::Mulaw];

impl SpooledHead {
    /// Frames: video, audio.
    #[must_use]
    pub fn frames(&self) -> [u64; 2] {
        self.frames
    }

    /// Timecode in milliseconds since the epoch.
    #[must_use]
    pub fn start_ms(&self) -> u64 {
        self.start_ms
    }

    /// Bytes of the file, with so many bytes of payload.
    pub(crate) fn file_len(&self, payload: u64) -> u64 {
        let frames: u64 = self.frames.iter().sum();
        (PREFIX + self.write().len()) as u64 + frames * BLOCK_HEAD as u64 + payload
    }

    fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(&self.segment_uid);
        let times = [self.header_id, self.epoch, self.base_ms, self.start_ms, self.latest_ms];
        for number in times.into_iter().chain(self.frames) {
            out.extend(number.to_le_bytes());
        }
        let tracks: Vec<_> = self.formats.iter().flatten().collect();
        out.push(tracks.len() as u8);
        for track in tracks {
            let TrackFormat { codec, name, codec_private, details } = &**track;
            let codec = CODECS.iter().position(|known| known == codec).unwrap_or_default();
            out.push(codec as u8);
            let (a, b, depth) = match *details {
                TrackDetails::Video { width, height } => (width, height, 0),
                TrackDetails::Audio { sample_rate, channels, bit_depth } => {
                    (sample_rate, channels, bit_depth.unwrap_or(0))
                }
            };
            out.extend(a.to_le_bytes());
            out.extend(b.to_le_bytes());
            out.push(depth);
            put_bytes(&mut out, name.as_bytes());
            put_bytes(&mut out, codec_private);
        }
        out.push(self.tags.len() as u8);
        for (name, value) in &self.tags {
            put_bytes(&mut out, name.as_bytes());
            put_bytes(&mut out, value.as_bytes());
        }
        let HostClock { boot, booted_ms } = self.clock.unwrap_or(HostClock { boot: [0; 16], booted_ms: 0 });
        out.push(u8::from(self.clock.is_some()));
        out.extend_from_slice(&boot);
        out.extend(booted_ms.to_le_bytes());
        out
    }

    fn read(input: &mut Input<'_>, version: u32) -> Result<Self, Damage> {
        let mut segment_uid = [0; 16];
        segment_uid.copy_from_slice(input.take(16)?);
        let mut head = Self {
            segment_uid,
            header_id: input.u64()?,
            epoch: input.u64()?,
            base_ms: input.u64()?,
            start_ms: input.u64()?,
            latest_ms: input.u64()?,
            frames: [input.u64()?, input.u64()?],
            formats: [None, None],
            tags: Vec::new(),
            clock: None,
        };
        for _ in 0..input.u8()? {
            let codec = input.u8()?;
            let codec = *CODECS.get(usize::from(codec)).ok_or(Damage::Content("an unknown codec"))?;
            let (a, b, depth) = (input.u32()?, input.u32()?, input.u8()?);
            let details = match codec {
                Codec::H264 | Codec::H265 => TrackDetails::Video { width: a, height: b },
                Codec::Aac | Codec::Alaw | Codec::Mulaw => TrackDetails::Audio {
                    sample_rate: a,
                    channels: b,
                    bit_depth: (depth > 0).then_some(depth),
                },
            };
            let name = input.text()?;
            let codec_private = Bytes::copy_from_slice(input.bytes()?);
            let format = TrackFormat { codec, name, codec_private, details };
            let slot = &mut head.formats[format.kind().index()];
            if slot.replace(Arc::new(format)).is_some() {
                return Err(Damage::Content("two tracks of one kind"));
            }
        }
        for _ in 0..input.u8()? {
            head.tags.push((input.text()?, input.text()?));
        }
        if version >= 2 {
            let unconfirmed = input.u8()? != 0;
            let mut boot = [0; 16];
            boot.copy_from_slice(input.take(16)?);
            let booted_ms = input.i64()?;
            head.clock = unconfirmed.then_some(HostClock { boot, booted_ms });
            // Also keeps sums of times from overflowing when they are put right.
            if unconfirmed && (booted_ms.unsigned_abs() > MAX_TIME_MS || head.start_ms > MAX_TIME_MS) {
                return Err(Damage::Content("its clock"));
            }
        }
        for kind in TrackKind::ALL {
            if (head.frames[kind.index()] > 0) != head.formats[kind.index()].is_some() {
                return Err(Damage::Content("a track without frames, or frames without a track"));
            }
        }
        // Also keeps sums of times from overflowing.
        let until = head.start_ms.checked_add(u64::from(u32::MAX)).ok_or(Damage::Content("its time"))?;
        if head.frames == [0, 0]
            || head.base_ms > head.start_ms
            || !(head.start_ms..=until).contains(&head.latest_ms)
        {
            return Err(Damage::Content("its frames or times"));
        }
        Ok(head)
    }
}

impl SpooledFragment {
    /// All but the blocks.
    #[must_use]
    pub fn head(&self) -> &SpooledHead {
        &self.head
    }

    /// Bytes that [`write`](Self::write) writes.
    #[must_use]
    pub fn file_len(&self) -> u64 {
        self.head.file_len(self.blocks.iter().map(|block| block.data.len() as u64).sum())
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let head = self.head.write();
        let mut media_crc = crc32fast::Hasher::new();
        for block in &self.blocks {
            media_crc.update(&block_head(block));
            media_crc.update(&block.data);
        }
        let mut prefix = Prefix {
            version: VERSION,
            head: u32::try_from(head.len()).map_err(io::Error::other)?,
            media: self.blocks.iter().map(|block| (BLOCK_HEAD + block.data.len()) as u64).sum(),
            media_crc: media_crc.finalize(),
            head_crc: 0,
        };
        let mut head_crc = crc32fast::Hasher::new();
        head_crc.update(&prefix.bytes()[..PREFIX - 4]);
        head_crc.update(&head);
        prefix.head_crc = head_crc.finalize();
        out.write_all(&prefix.bytes())?;
        out.write_all(&head)?;
        for block in &self.blocks {
            out.write_all(&block_head(block))?;
            out.write_all(&block.data)?;
        }
        Ok(())
    }

    /// Reads all of it.
    ///
    /// # Errors
    /// [`Damage`] when it is not what was written.
    pub fn parse(file: &Bytes) -> Result<Self, Damage> {
        let prefix: &[u8; PREFIX] = file.first_chunk().ok_or(Damage::NotOne)?;
        let prefix = Prefix::parse(prefix)?;
        if prefix.file_len() != file.len() as u64 {
            return Err(Damage::Length { found: file.len() as u64, said: prefix.file_len() });
        }
        let (from, to) = (PREFIX, PREFIX + prefix.head_len());
        let head = prefix.parse_head(&file[from..to])?;
        let mut media = file.slice(to..);
        if crc32fast::hash(&media) != prefix.media_crc {
            return Err(Damage::Checksum("media"));
        }
        let mut blocks = Vec::new();
        let mut frames = [0; 2];
        while !media.is_empty() {
            if media.len() < BLOCK_HEAD {
                return Err(Damage::Content("half a frame"));
            }
            let kind = match media.get_u8() {
                0 => TrackKind::Video,
                1 => TrackKind::Audio,
                _ => return Err(Damage::Content("a frame of no track")),
            };
            let (key, offset_ms, length) =
                (media.get_u8() != 0, media.get_u32_le(), media.get_u32_le() as usize);
            if length > media.len() {
                return Err(Damage::Content("half a frame"));
            }
            frames[kind.index()] += 1;
            blocks.push(Block { kind, offset_ms, key, data: media.split_to(length) });
        }
        if frames != head.frames {
            return Err(Damage::Content("not as many frames as its head says"));
        }
        Ok(Self { head, blocks })
    }
}

fn block_head(block: &Block) -> [u8; BLOCK_HEAD] {
    let mut head = [0; BLOCK_HEAD];
    head[0] = block.kind.index() as u8;
    head[1] = u8::from(block.key);
    head[2..6].copy_from_slice(&block.offset_ms.to_le_bytes());
    head[6..].copy_from_slice(&u32::try_from(block.data.len()).unwrap_or(u32::MAX).to_le_bytes());
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(payloads: &[usize]) -> SpooledFragment {
        let video = TrackFormat::h264(Bytes::from_static(&[1, 0x42, 0, 0x1e, 0xff]), 640, 360);
        let audio = TrackFormat::g711(Codec::Alaw, 8000, 1);
        let block = |(index, length): (usize, &usize)| Block {
            kind: if index % 3 == 2 { TrackKind::Audio } else { TrackKind::Video },
            offset_ms: index as u32 * 40,
            key: index == 0,
            data: vec![index as u8; *length].into(),
        };
        let blocks: Vec<_> = payloads.iter().enumerate().map(block).collect();
        let count = |kind| blocks.iter().filter(|block| block.kind == kind).count() as u64;
        let frames = TrackKind::ALL.map(count);
        let head = SpooledHead {
            segment_uid: *b"0123456789abcdef",
            header_id: 7,
            epoch: 1,
            base_ms: 1_795_000_000_000,
            start_ms: 1_795_000_000_123,
            latest_ms: 1_795_000_004_000,
            frames,
            formats: [(frames[0] > 0).then(|| Arc::new(video)), (frames[1] > 0).then(|| Arc::new(audio))],
            tags: vec![("colour".to_owned(), "röd".to_owned())],
            clock: Some(HostClock { boot: [7; 16], booted_ms: -5 }),
        };
        SpooledFragment { head, blocks }
    }

    fn written(fragment: &SpooledFragment) -> Vec<u8> {
        let mut file = Vec::new();
        fragment.write(&mut file).unwrap();
        file
    }

    #[test]
    fn another_version_is_named() {
        let mut file = written(&sample(&[10, 10]));
        file[8] = 9;
        let error = SpooledFragment::parse(&file.into()).unwrap_err();
        assert_eq!(error.to_string(), "its format is version 9, and this program reads versions 1 to 2");
    }

    #[test]
    fn what_the_first_version_wrote_is_read() {
        let fragment = sample(&[10, 10, 10]);
        let file = written(&fragment);
        let prefix = Prefix::parse(file.first_chunk().unwrap()).unwrap();
        let (head, media) = file[PREFIX..].split_at(prefix.head_len());
        // It knew nothing of clocks.
        let head = &head[..head.len() - 25];
        let mut old = Prefix { version: 1, head: head.len() as u32, head_crc: 0, ..prefix };
        let mut crc = crc32fast::Hasher::new();
        crc.update(&old.bytes()[..PREFIX - 4]);
        crc.update(head);
        old.head_crc = crc.finalize();
        let read = SpooledFragment::parse(&[&old.bytes()[..], head, media].concat().into()).unwrap();
        let expected = SpooledHead { clock: None, ..fragment.head };
        assert_eq!((read.head, read.blocks), (expected, fragment.blocks));
    }

    proptest! {
        #[test]
        fn it_comes_back_as_it_went(payloads in prop::collection::vec(0..3000_usize, 1..20)) {
            let fragment = sample(&payloads);
            let file = written(&fragment);
            prop_assert_eq!(file.len() as u64, fragment.file_len());
            let prefix = Prefix::parse(file.first_chunk().unwrap()).unwrap();
            prop_assert_eq!(&prefix.parse_head(&file[PREFIX..PREFIX + prefix.head_len()]).unwrap(), fragment.head());
            prop_assert_eq!(SpooledFragment::parse(&file.into()).unwrap(), fragment);
        }

        #[test]
        fn one_wrong_bit_anywhere_is_seen(at in 0..2000_usize, bit in 0..8_u8) {
            let mut file = written(&sample(&[300, 300, 300]));
            let at = at % file.len();
            file[at] ^= 1 << bit;
            prop_assert!(SpooledFragment::parse(&file.into()).is_err());
        }

        #[test]
        fn half_a_file_is_seen(length in 0..2000_usize) {
            let mut file = written(&sample(&[300, 300, 300]));
            file.truncate(length % file.len());
            prop_assert!(SpooledFragment::parse(&file.into()).is_err());
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = SpooledFragment::parse(&bytes.into());
        }
    }
}
