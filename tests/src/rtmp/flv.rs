//! FLV as an RTMP server writes it down (Adobe Flash Video File Format Specification 10.1, annex E): the messages of the
//! broadcast with their times, and nothing made of them.

use anyhow::{Result, bail, ensure};

use crate::nal::split_avcc;

/// A message of the broadcast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag<'a> {
    /// Milliseconds. The decoding time of video.
    pub time_ms: u32,
    pub body: Body<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// An `AVCDecoderConfigurationRecord` (ISO/IEC 14496-15 section 5.3.3.1).
    AvcHeader(&'a [u8]),
    /// An access unit, as its NAL units.
    Avc {
        /// The tag calls it a key frame.
        key: bool,
        /// Milliseconds from the decoding time to when it is shown.
        composition_ms: i32,
        units: Vec<&'a [u8]>,
    },
    /// An `AudioSpecificConfig` (ISO/IEC 14496-3 section 1.6.2.1).
    AacHeader(&'a [u8]),
    /// A raw AAC frame.
    Aac(&'a [u8]),
    /// `onMetaData` and the like, and the end of a sequence.
    Other,
}

/// The kinds of [`Tag`], by their first byte.
const AUDIO: u8 = 8;
pub(super) const VIDEO: u8 = 9;
const SCRIPT: u8 = 18;
/// File header with the first `PreviousTagSize`, and the header of a tag.
pub(super) const FILE_HEADER: usize = 13;
const TAG_HEADER: usize = 11;

/// The tags of a file that may still be written: what is there of the last one, half of it, is left out.
///
/// # Errors
/// What is no FLV with H.264 and AAC, with the place in the file.
pub fn tags(file: &[u8]) -> Result<Vec<Tag<'_>>> {
    let mut tags = Vec::new();
    for (at, kind, time_ms, data) in raw(file)? {
        let body = match (kind, data) {
            // AAC, whatever the bits of rate, size and channels say.
            (AUDIO, [0xa0..=0xaf, 0, config @ ..]) => Body::AacHeader(config),
            (AUDIO, [0xa0..=0xaf, 1, frame @ ..]) => Body::Aac(frame),
            (VIDEO, [0x17, 0, _, _, _, record @ ..]) => {
                ensure!(
                    record.get(4).is_some_and(|byte| byte & 3 == 3),
                    "byte {at}: NAL lengths are not of four bytes"
                );
                Body::AvcHeader(record)
            }
            (VIDEO, [first @ (0x17 | 0x27), 1, a, b, c, unit @ ..]) => {
                // 24 bits with a sign.
                let composition_ms = i32::from_be_bytes([*a, *b, *c, 0]) >> 8;
                let Some(units) = split_avcc(unit) else { bail!("byte {at}: NAL lengths do not add up") };
                Body::Avc { key: *first == 0x17, composition_ms, units }
            }
            (VIDEO, [0x17 | 0x27, 2, ..]) | (SCRIPT, _) => Body::Other,
            _ => bail!(
                "byte {at}: neither H.264 nor AAC: a tag of type {kind}, {:?}",
                &data[..data.len().min(8)]
            ),
        };
        tags.push(Tag { time_ms, body });
    }
    Ok(tags)
}

/// How many access units of video are in it: cheap, for who waits for more of them.
pub fn pictures(file: &[u8]) -> usize {
    let tags = raw(file).unwrap_or_default();
    tags.iter().filter(|(_, kind, _, data)| *kind == VIDEO && data.get(1) == Some(&1)).count()
}

/// How much of it is whole tags.
///
/// # Errors
/// As [`tags`].
pub fn whole(file: &[u8]) -> Result<usize> {
    let last = raw(file)?.pop();
    Ok(last.map_or(FILE_HEADER.min(file.len()), |(at, _, _, data)| at + TAG_HEADER + data.len() + 4))
}

/// Place, type, time and data of a whole tag.
type Raw<'a> = (usize, u8, u32, &'a [u8]);

fn raw(file: &[u8]) -> Result<Vec<Raw<'_>>> {
    let mut tags = Vec::new();
    if file.len() < FILE_HEADER {
        return Ok(tags);
    }
    ensure!(file.starts_with(b"FLV\x01"), "this is no FLV file");
    let mut at = FILE_HEADER;
    while let Some(header) = file.get(at..at + TAG_HEADER) {
        let [kind, a, b, c, x, y, z, w, ..] = *header else { break };
        let size = u32::from_be_bytes([0, a, b, c]) as usize;
        let data = at + TAG_HEADER;
        // Behind it is its size once more.
        let Some(end) = file.get(data + size..data + size + 4) else { break };
        let behind = u32::from_be_bytes([end[0], end[1], end[2], end[3]]) as usize;
        ensure!(behind == TAG_HEADER + size, "byte {at}: a tag of {size} bytes that ends as one of {behind}");
        tags.push((at, kind, u32::from_be_bytes([w, x, y, z]), &file[data..data + size]));
        at = data + size + 4;
    }
    Ok(tags)
}

/// Makes files of a few short tags.
#[cfg(test)]
pub(super) mod made {
    pub fn tag(kind: u8, time: [u8; 4], data: &[u8]) -> Vec<u8> {
        let size = u8::try_from(data.len() + super::TAG_HEADER).expect("short");
        let header = [kind, 0, 0, data.len() as u8, time[1], time[2], time[3], time[0], 0, 0, 0];
        [&header[..], data, &[0, 0, 0, size]].concat()
    }

    pub fn file(tags: &[Vec<u8>]) -> Vec<u8> {
        [b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec(), tags.concat()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::made::{file, tag};
    use super::*;

    #[test]
    fn tags_come_back_and_half_of_one_is_left_out() {
        let header = tag(VIDEO, [0; 4], &[0x17, 0, 0, 0, 0, 1, 66, 0, 30, 0xff, 0xe1]);
        // 0x01000002 ms: the highest byte comes last. Shown a millisecond before it is decoded, as a sign shows.
        let frame = tag(VIDEO, [1, 0, 0, 2], &[0x27, 1, 0xff, 0xff, 0xff, 0, 0, 0, 2, 0x41, 7]);
        let sound = tag(AUDIO, [0, 0, 0, 9], &[0xaf, 1, 5, 6]);
        let file = file(&[header, frame, sound]);
        let whole = tags(&file).unwrap();
        assert_eq!(whole.iter().map(|tag| tag.time_ms).collect::<Vec<_>>(), [0, 0x0100_0002, 9]);
        assert_eq!(whole[1].body, Body::Avc { key: false, composition_ms: -1, units: vec![&[0x41, 7]] });
        assert_eq!(whole[2].body, Body::Aac(&[5, 6]));
        assert_eq!((pictures(&file), super::whole(&file).unwrap()), (1, file.len()));
        let half = &file[..file.len() - 1];
        assert_eq!(tags(half).unwrap(), whole[..2]);
        // The last one is of 19 bytes.
        assert_eq!(super::whole(half).unwrap(), file.len() - 19);
        assert_eq!(tags(&file[..5]).unwrap(), []);
    }

    #[test]
    fn what_is_damaged_is_told_with_its_place() {
        let short = tag(VIDEO, [0; 4], &[0x17, 1, 0, 0, 0, 0, 0, 0, 3, 0x65]);
        let mut liar = tag(AUDIO, [0; 4], &[0xaf, 1, 5]);
        *liar.last_mut().unwrap() += 1;
        let other = tag(VIDEO, [0; 4], &[0x12, 1, 0]);
        for (bad, words) in
            [(short, "do not add up"), (liar, "ends as one of"), (other, "neither H.264 nor AAC")]
        {
            let error = tags(&file(&[bad])).unwrap_err().to_string();
            assert!(error.starts_with("byte 13: ") && error.contains(words), "{error}");
        }
        assert!(tags(b"RIFF0123456789").is_err());
    }
}
