//! What the fuzz targets reach that is nobody else's business: parsers behind sockets and files.

pub use crate::ice::fuzzing::turn;
pub use crate::playback::fuzzing::players;
