//! The little Matroska that this side writes: tags of GetMedia.

use bytes::{BufMut, BytesMut};

/// A `Tags` element with one `Tag` that holds these names and values, sizes in four bytes as the service writes them.
#[must_use]
pub fn tags(pairs: &[(&str, &str)]) -> BytesMut {
    let mut simple = BytesMut::new();
    for (name, value) in pairs {
        let mut content = element(&[0x45, 0xA3], name.as_bytes());
        content.extend_from_slice(&element(&[0x44, 0x87], value.as_bytes()));
        simple.extend_from_slice(&element(&[0x67, 0xC8], &content));
    }
    element(&[0x12, 0x54, 0xC3, 0x67], &element(&[0x73, 0x73], &simple))
}

fn element(id: &[u8], content: &[u8]) -> BytesMut {
    let mut out = BytesMut::with_capacity(id.len() + 4 + content.len());
    out.put_slice(id);
    // Tags are far below the 2^28 that four bytes hold.
    out.put_u32(0x1000_0000 | (content.len() as u32 & 0x0FFF_FFFF));
    out.put_slice(content);
    out
}
