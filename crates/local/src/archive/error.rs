//! [`StoreError`].

use std::{io, path::PathBuf};

/// Why something could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refuses.
    #[error("{path}: {source}")]
    File {
        /// The file or folder that was written or read.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A row of a newer version, or a broken one.
    #[error(
        "its row of fragment {number} of {stream} cannot be read ({reason}); if a newer kvs-local wrote it, start that one, \
         or give this one another folder with --data. Nothing was changed"
    )]
    Row {
        /// Key of the stream.
        stream: String,
        /// Number of the fragment.
        number: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The index was lost, and a file does not say what it is.
    #[error(
        "it is empty and the archive is not, and {0} does not say what it belongs to: an older kvs-local wrote it. Bring \
         index.redb back from a copy, or move the folder archive away. Nothing was changed"
    )]
    Unknown(PathBuf),
    /// The index cannot be read or written.
    #[error("the index: {0}")]
    Index(#[from] redb::Error),
}
