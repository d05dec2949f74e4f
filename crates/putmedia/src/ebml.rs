//! Writing EBML (RFC 8794): ids are given with their marker bits, sizes in the width that the layout asks for.

use bytes::{BufMut, BytesMut};

/// How many bytes a size field takes.
#[derive(Clone, Copy)]
pub(crate) enum SizeWidth {
    /// The shortest that holds it.
    Shortest,
    /// Exactly this many bytes (1 to 8).
    Fixed(usize),
}

fn put_id(out: &mut BytesMut, id: u32) {
    let skip = (id.leading_zeros() / 8) as usize;
    out.put_slice(&id.to_be_bytes()[skip..]);
}

pub(crate) fn put_size(out: &mut BytesMut, size: u64, width: SizeWidth) {
    let bytes = match width {
        SizeWidth::Fixed(bytes) => bytes,
        // All value bits set means "unknown" (RFC 8794, 6.2), so that value needs the next width.
        SizeWidth::Shortest => (1..8).find(|n| size < (1 << (7 * n)) - 1).unwrap_or(8),
    };
    let marked = size | 1u64 << (7 * bytes);
    out.put_slice(&marked.to_be_bytes()[8 - bytes..]);
}

/// The head of an element of unknown size, in its one-byte form.
pub(crate) fn put_unknown(out: &mut BytesMut, id: u32) {
    put_id(out, id);
    out.put_u8(0xff);
}

pub(crate) fn put_head(out: &mut BytesMut, id: u32, size: u64, width: SizeWidth) {
    put_id(out, id);
    put_size(out, size, width);
}

pub(crate) fn put_bytes(out: &mut BytesMut, id: u32, value: &[u8]) {
    put_head(out, id, value.len() as u64, SizeWidth::Shortest);
    out.put_slice(value);
}

/// An unsigned integer in exactly `bytes` bytes.
pub(crate) fn put_uint(out: &mut BytesMut, id: u32, value: u64, bytes: usize) {
    put_head(out, id, bytes as u64, SizeWidth::Shortest);
    out.put_slice(&value.to_be_bytes()[8 - bytes..]);
}

pub(crate) fn put_float(out: &mut BytesMut, id: u32, value: f64) {
    put_head(out, id, 8, SizeWidth::Shortest);
    out.put_f64(value);
}

/// A master element: its children are built first, so that its size is known.
pub(crate) fn put_master(
    out: &mut BytesMut,
    id: u32,
    width: SizeWidth,
    children: impl FnOnce(&mut BytesMut),
) {
    let mut body = BytesMut::new();
    children(&mut body);
    put_head(out, id, body.len() as u64, width);
    out.put_slice(&body);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let mut out = BytesMut::new();
        put_size(&mut out, 35, SizeWidth::Shortest);
        put_size(&mut out, 126, SizeWidth::Shortest);
        put_size(&mut out, 127, SizeWidth::Shortest);
        put_size(&mut out, 1, SizeWidth::Fixed(8));
        assert_eq!(&out[..], [0xa3, 0xfe, 0x40, 0x7f, 0x01, 0, 0, 0, 0, 0, 0, 1]);
    }
}
