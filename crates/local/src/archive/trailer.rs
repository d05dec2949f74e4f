//! What stands behind a fragment in its file: its row of the index, once more. An index that was lost is made anew of them.

use super::index::FragmentInfo;

/// The ID of an EBML Void (RFC 8794 section 11.3.2), which players pass over.
const VOID: u8 = 0xEC;
/// A size of seven bytes.
const SIZE: u8 = 0x01;
const HEAD: usize = 8;
/// The last bytes of a file that has a trailer, after the length of its JSON.
const MARK: [u8; 4] = *b"kvsl";
const TAIL: usize = 8;

/// What is written behind a fragment.
pub(super) fn of(info: &FragmentInfo) -> Vec<u8> {
    let json = serde_json::to_vec(info).unwrap_or_default();
    let mut trailer = vec![VOID];
    let content = (json.len() + TAIL) as u64;
    trailer.extend_from_slice(&(content | u64::from(SIZE) << 56).to_be_bytes());
    trailer.extend_from_slice(&json);
    trailer.extend_from_slice(&u32::try_from(json.len()).unwrap_or_default().to_be_bytes());
    trailer.extend_from_slice(&MARK);
    trailer
}

/// The row of a fragment from its file; `None`: it has none, or is not whole.
pub(super) fn read(file: &[u8]) -> Option<FragmentInfo> {
    let (rest, mark) = file.split_last_chunk()?;
    let (rest, length) = rest.split_last_chunk()?;
    if *mark != MARK {
        return None;
    }
    let json = rest.len().checked_sub(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    let info: FragmentInfo = serde_json::from_slice(rest.get(json..)?).ok()?;
    let raw = json.checked_sub(HEAD + 1)?;
    (info.size == raw as u64).then_some(info)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(size: u64) -> FragmentInfo {
        FragmentInfo {
            number: "7".repeat(47),
            producer_ms: 1,
            server_ms: 2,
            persisted_ms: 3,
            duration_ms: 4,
            size,
            video_frames: 5,
            audio_frames: 6,
            header: "h.mkv".to_owned(),
            session: Default::default(),
        }
    }

    #[test]
    fn a_file_says_what_it_holds_unless_it_is_cut() {
        let file = [b"fragment".to_vec(), of(&info(8))].concat();
        assert_eq!(read(&file), Some(info(8)));
        for length in 0..file.len() {
            assert_eq!(read(&file[..length]), None, "{length}");
        }
        assert_eq!(read(&file[1..]), None, "its front is missing");
        let size = u64::from_be_bytes(file[9..17].try_into().unwrap()) & 0x00FF_FFFF_FFFF_FFFF;
        assert_eq!(
            (file[8], size as usize),
            (VOID, file.len() - 17),
            "what a player passes over is all of it"
        );
    }
}
