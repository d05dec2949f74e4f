//! EBML elements (RFC 8794): variable-length numbers, headers, and a walk over complete ones.

/// Why bytes are no Matroska that PutMedia takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: {reason}")]
pub struct MkvError {
    /// Offset in the body.
    pub offset: u64,
    /// What is wrong there.
    pub reason: String,
}

pub(super) const EBML: u32 = 0x1A45_DFA3;
pub(super) const SEGMENT: u32 = 0x1853_8067;
pub(super) const SEEK_HEAD: u32 = 0x114D_9B74;
pub(super) const INFO: u32 = 0x1549_A966;
pub(super) const TRACKS: u32 = 0x1654_AE6B;
pub(super) const CUES: u32 = 0x1C53_BB6B;
pub(super) const CHAPTERS: u32 = 0x1043_A770;
pub(super) const ATTACHMENTS: u32 = 0x1941_A469;
pub(super) const TAGS: u32 = 0x1254_C367;
pub(super) const CLUSTER: u32 = 0x1F43_B675;
pub(super) const TIMECODE: u32 = 0xE7;
pub(super) const SIMPLE_BLOCK: u32 = 0xA3;
pub(super) const BLOCK_GROUP: u32 = 0xA0;
pub(super) const BLOCK: u32 = 0xA1;
pub(super) const REFERENCE_BLOCK: u32 = 0xFB;

/// The head of an element. `size` is `None` when it is unknown (RFC 8794 section 6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) id: u32,
    pub(super) size: Option<u64>,
    /// Bytes of id and size.
    pub(super) length: usize,
}

/// Reads a head. `Ok(None)` when more bytes are needed.
pub(super) fn head(data: &[u8]) -> Result<Option<Head>, String> {
    let Some(&first) = data.first() else { return Ok(None) };
    let id_length = first.leading_zeros() as usize + 1;
    if id_length > 4 {
        return Err(format!("0x{first:02X} starts no element id"));
    }
    if data.len() <= id_length {
        return Ok(None);
    }
    // All value bits set or clear are reserved (RFC 8794 section 5).
    let mask = (1_u64 << (7 * id_length)) - 1;
    let bits = data[..id_length].iter().fold(0_u64, |id, byte| id << 8 | u64::from(*byte)) & mask;
    if bits == 0 || bits == mask {
        return Err(format!("0x{first:02X} starts a reserved element id"));
    }
    let id = data[..id_length].iter().fold(0_u32, |id, byte| id << 8 | u32::from(*byte));
    let Some((size, size_length)) = number(&data[id_length..])? else { return Ok(None) };
    Ok(Some(Head { id, size, length: id_length + size_length }))
}

/// A variable-length number and its length; all ones is `None`.
fn number(data: &[u8]) -> Result<Option<(Option<u64>, usize)>, String> {
    let Some(&first) = data.first() else { return Ok(None) };
    let length = first.leading_zeros() as usize + 1;
    if length > 8 {
        return Err("a size of more than 8 bytes".to_owned());
    }
    if data.len() < length {
        return Ok(None);
    }
    let mask = 1_u64 << (7 * length);
    let value = data[..length].iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte)) & (mask - 1);
    Ok(Some((Some(value).filter(|value| *value != mask - 1), length)))
}

/// The complete children of `data`: id and content.
pub(super) fn children(data: &[u8]) -> impl Iterator<Item = Result<(u32, &[u8]), String>> {
    let mut rest = data;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let child = match head(rest) {
            Ok(Some(found)) => {
                let size = found.size.and_then(|size| usize::try_from(size).ok());
                match size
                    .and_then(|size| Some((size, rest.get(found.length..found.length.checked_add(size)?)?)))
                {
                    Some((size, content)) => {
                        rest = &rest[found.length + size..];
                        return Some(Ok((found.id, content)));
                    }
                    None => Err(format!("element 0x{:X} reaches beyond its parent", found.id)),
                }
            }
            Ok(None) => Err("an element is cut off by the end of its parent".to_owned()),
            Err(reason) => Err(reason),
        };
        rest = &[];
        Some(child)
    })
}

/// An unsigned integer of up to 8 bytes.
pub(super) fn uint(data: &[u8]) -> Result<u64, String> {
    if data.len() > 8 {
        return Err(format!("an integer of {} bytes", data.len()));
    }
    Ok(data.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// A float of 0, 4 or 8 bytes.
pub(super) fn float(data: &[u8]) -> Result<f64, String> {
    match data.len() {
        0 => Ok(0.0),
        4 => Ok(f64::from(f32::from_bits(uint(data)? as u32))),
        8 => Ok(f64::from_bits(uint(data)?)),
        length => Err(format!("a float of {length} bytes")),
    }
}

/// The number of a track in a block, and its length.
pub(super) fn track_number(data: &[u8]) -> Result<(u64, usize), String> {
    match number(data)? {
        Some((Some(track), length)) => Ok((track, length)),
        _ => Err("a block without track number".to_owned()),
    }
}
