//! MP4: segments for players, and whole files. Of the muxers of crates.io those that are kept write no G.711, or write the
//! decoder's configuration anew instead of as it came; `mp4-atom` reads in the tests what is written here.

mod boxes;
mod clip;
mod entry;
mod fragmented;
mod movie;
#[cfg(test)]
mod tests;

pub(super) use self::clip::{Clip, ClipTrack};
pub(super) use self::fragmented::{init_segment, media_segment};
