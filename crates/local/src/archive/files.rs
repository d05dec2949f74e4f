//! Files that are there whole or not at all.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;

use super::error::StoreError;
use crate::private;

pub(super) fn create(folder: &Path) -> Result<(), StoreError> {
    private::folder(folder).map_err(|source| StoreError::File { path: folder.to_owned(), source })
}

pub(super) fn list(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let wrong = |source| StoreError::File { path: folder.to_owned(), source };
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path()).map_err(wrong)).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(wrong(error)),
    }
}

pub(super) fn remove_file(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(file = %path.display(), %error, "a file that no fragment needs could not be removed");
    }
}

/// Writes a file that is there whole or not at all. `owner` tells apart who writes the same file at the same time.
pub(super) fn write_synced(path: &Path, owner: &str, parts: &[&[u8]]) -> Result<(), StoreError> {
    let write = |folder: &Path| {
        if !folder.exists() {
            private::folder(folder)?;
            for parent in folder.ancestors().skip(1).take(2) {
                sync_folder(parent)?;
            }
        }
        let part = path.with_extension(format!("{owner}.part"));
        let written = private::empty_file(&part).and_then(|mut file| {
            parts.iter().try_for_each(|data| file.write_all(data))?;
            file.sync_data()?;
            fs::rename(&part, path)
        });
        // on a disk that is full, what was written of it is in the way
        written.inspect_err(|_| remove_file(&part))?;
        sync_folder(folder)
    };
    path.parent().map_or(Ok(()), write).map_err(|source| StoreError::File { path: path.to_owned(), source })
}

/// Without this the name of a file may be lost with the power, although its content is not.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

pub(super) fn read(path: &Path) -> Result<Bytes, StoreError> {
    fs::read(path).map(Bytes::from).map_err(|source| StoreError::File { path: path.to_owned(), source })
}
