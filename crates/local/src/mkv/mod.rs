//! Matroska as PutMedia carries it, read while it arrives. This is not the code that writes it in `kvs-putmedia`:
//! the emulator checks the producer, so the two share nothing.

mod element;
mod header;
mod parser;
mod writer;

pub use self::element::MkvError;
pub use self::header::{Track, TrackKind};
pub use self::parser::{Item, ParseError, Parser};
pub use self::writer::tags;
pub(crate) use self::writer::{Block, Form, NewTrack, cluster, header};
