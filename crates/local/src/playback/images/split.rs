//! Cuts pictures apart that stand one behind the other, as a decoder writes them into a pipe.

use bytes::Bytes;

/// `Format` of GetImages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Jpeg,
    Png,
}

impl Format {
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
        }
    }

    /// Of a file's name.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
        }
    }
}

/// The whole pictures in the output. What is cut off, or is no picture, ends the list.
pub(super) fn pictures(mut output: Bytes, format: Format) -> Vec<Bytes> {
    let mut pictures = Vec::new();
    while let Some(length) = match format {
        Format::Jpeg => jpeg(&output),
        Format::Png => png(&output),
    } {
        pictures.push(output.split_to(length));
    }
    pictures
}

/// Length of the PNG at the start: chunks up to IEND (ISO/IEC 15948 section 5).
fn png(data: &[u8]) -> Option<usize> {
    data.strip_prefix(b"\x89PNG\r\n\x1a\n")?;
    let mut at = 8;
    loop {
        let head = data.get(at..at + 8)?;
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let end = at.checked_add(usize::try_from(length).ok()?)?.checked_add(12)?;
        let whole = end <= data.len();
        if !whole || &head[4..] == b"IEND" {
            return whole.then_some(end);
        }
        at = end;
    }
}

/// Length of the JPEG at the start: segments up to the scan, and then up to EOI, which the scan cannot hold (ITU-T T.81
/// annex B).
fn jpeg(data: &[u8]) -> Option<usize> {
    data.strip_prefix(&[0xFF, 0xD8])?;
    let mut at = 2;
    loop {
        let head = data.get(at..at + 4).filter(|head| head[0] == 0xFF)?;
        at = at.checked_add(2 + usize::from(u16::from_be_bytes([head[2], head[3]])))?;
        if head[1] == 0xDA {
            break;
        }
    }
    let end = data.get(at..)?.windows(2).position(|pair| pair == [0xFF, 0xD9])?;
    Some(at + end + 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const JPEG: [u8; 16] = [0xFF, 0xD8, 0xFF, 0xE0, 0, 4, 0xFF, 0xD9, 0xFF, 0xDA, 0, 2, 1, 2, 0xFF, 0xD9];

    fn tiny_png() -> Vec<u8> {
        let chunk = |name: &[u8; 4], data: &[u8]| {
            [&(data.len() as u32).to_be_bytes()[..], name, data, &[0; 4]].concat()
        };
        [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(b"IHDR", &[1; 13]), chunk(b"IEND", &[])].concat()
    }

    #[test]
    fn pictures_are_cut_apart() {
        let two = |picture: &[u8], more: &[u8]| Bytes::from([picture, picture, more].concat());
        let found = pictures(two(&JPEG, &JPEG[..9]), Format::Jpeg);
        assert_eq!(found, [&JPEG[..], &JPEG[..]]);
        let png = tiny_png();
        assert_eq!(pictures(two(&png, &png[..20]), Format::Png), [&png[..], &png[..]]);
        assert!(pictures(two(&JPEG, &[]), Format::Png).is_empty());
    }

    proptest! {
        #[test]
        fn no_output_makes_it_panic(data in prop::collection::vec(any::<u8>(), 0..64), cut in 0..16_usize) {
            for start in [&JPEG[..cut], &tiny_png()[..cut], &[]] {
                let output = Bytes::from([start, &data].concat());
                let _ = (pictures(output.clone(), Format::Jpeg), pictures(output, Format::Png));
            }
        }
    }
}
