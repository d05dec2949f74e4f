//! What is stored: fragments on disk, their index, and everything that reads them.

mod api;
mod index;
mod read;
mod select;
mod start;
mod store;
mod timeline;
mod trailer;

pub(crate) use self::api::routes;
pub use self::index::{FragmentInfo, SessionInfo};
pub use self::read::{part_body, parts};
pub use self::select::{Page, Position, Selector, TimestampKind, select};
pub use self::store::{Archive, StoreError, StreamSummary};
pub use self::timeline::{Span, Spans};
