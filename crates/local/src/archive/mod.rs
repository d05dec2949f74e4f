//! What is stored: fragments on disk, their index, and everything that reads them.

mod index;
mod select;
mod store;

pub use self::index::{FragmentInfo, SessionInfo};
pub use self::select::{Page, SelectError, Selector, TimestampKind, select};
pub use self::store::{Archive, StoreError, StreamSummary};
