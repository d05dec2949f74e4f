//! Messages of data channels on their way to the metadata of fragments: which are stored, under which name, and with which
//! fragment.

mod rules;
mod waiting;

pub use rules::{NotStored, Rules, Tag};
pub use waiting::{Metadata, MetadataFigures};
