//! What is stored: fragments on disk, their index, and everything that reads them.

mod api;
mod error;
mod files;
mod headers;
mod index;
mod read;
mod rows;
mod select;
mod start;
mod state;
mod store;
mod timeline;
mod trailer;

pub(crate) use self::api::routes;
pub use self::error::StoreError;
pub use self::index::{FragmentInfo, SessionInfo};
pub use self::read::{part_body, parts};
pub use self::select::{Page, Position, Selector, Start, TimestampKind};
pub use self::store::{Archive, StreamSummary};
pub use self::timeline::{Span, Spans};
