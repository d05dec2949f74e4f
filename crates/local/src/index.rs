//! [`Index`]: the database in the data folder. Each module has its own tables in it.
//!
//! It survives a killed process and a lost power supply by itself. What it does not by itself is to go on after the disk
//! was full: it is opened again then. It knows the format of the folder, so that an older version of this program does not
//! take what a newer one wrote for rubbish.

use std::{
    fmt::Display,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use parking_lot::RwLock;
use redb::{Database, ReadTransaction, ReadableDatabase, TableDefinition, TableError, WriteTransaction};

use crate::private;

/// The format of the data folder: to be raised with every change that an older version would not understand, or lose.
/// 1: fragments carry their row, streams have configurations. 2: streams of several accounts may have the same name.
const FORMAT: u64 = 2;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const FORMAT_ROW: &str = "format";
/// It was made anew, and what the files have of fragments and streams is not in it yet.
const EMPTY_ROW: &str = "empty";

/// Why the index cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(
        "it was written by a newer kvs-local (format {0}; this one knows {FORMAT}). Start that one, or give this one \
         another folder with --data. Nothing was changed"
    )]
    Newer(u64),
    #[error(
        "it is broken ({0}). Bring it back from a copy; or move it away and start again, which finds the streams and \
         fragments in the folder archive, but no channels. Nothing was changed"
    )]
    Broken(String),
    #[error("{0}")]
    Other(String),
}

/// The database, and how to open it again.
pub(crate) struct Index {
    path: PathBuf,
    db: RwLock<Option<Database>>,
    /// Something went wrong with the disk: the database refuses everything until it is opened again.
    failed: AtomicBool,
}

impl Index {
    /// Opens the database, or makes it.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        // what is broken in the wrong place ends in a panic of redb
        let broken = |_| Err(OpenError::Broken("its contents contradict each other".to_owned()));
        catch_unwind(AssertUnwindSafe(|| Self::open_or_panic(path))).unwrap_or_else(broken)
    }

    fn open_or_panic(path: &Path) -> Result<Self, OpenError> {
        let other = |error: &dyn Display| OpenError::Other(error.to_string());
        // redb would make it for everyone to read, and takes an empty one for a new one
        private::file(path).map_err(|error| other(&error))?;
        let db = Database::create(path).map_err(|error| match error {
            redb::DatabaseError::DatabaseAlreadyOpen => other(&error),
            error => OpenError::Broken(error.to_string()),
        })?;
        let format = format(&db).map_err(|error| OpenError::Broken(error.to_string()))?;
        if let Some(format) = format.filter(|format| *format > FORMAT) {
            return Err(OpenError::Newer(format));
        }
        // An index of before formats has tables.
        let made =
            format.is_none() && has_no_tables(&db).map_err(|error| OpenError::Broken(error.to_string()))?;
        let index = Self { path: path.to_owned(), db: RwLock::new(Some(db)), failed: AtomicBool::new(false) };
        if format != Some(FORMAT) {
            let write = |write: &WriteTransaction| {
                let mut meta = write.open_table(META)?;
                meta.insert(FORMAT_ROW, FORMAT)?;
                if made {
                    meta.insert(EMPTY_ROW, 1)?;
                }
                Ok(())
            };
            index.write(write).map_err(|error| match error {
                redb::Error::Corrupted(why) => OpenError::Broken(why),
                error => other(&error),
            })?;
        }
        Ok(index)
    }

    /// Whether it was made anew, and nobody has said since that it has what the files have: [`Self::settle`]. Who is killed, or
    /// refused, in between begins again.
    ///
    /// # Errors
    /// The disk.
    pub(crate) fn is_new(&self) -> Result<bool, redb::Error> {
        self.read(|read| Ok(read.open_table(META)?.get(EMPTY_ROW)?.is_some()))
    }

    /// It has what the files have.
    ///
    /// # Errors
    /// The disk.
    pub(crate) fn settle(&self) -> Result<(), redb::Error> {
        if self.is_new()? {
            self.write(|write| {
                write.open_table(META)?.remove(EMPTY_ROW)?;
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Writes, all or nothing, and to the disk. After an error it is not known whether it was written.
    ///
    /// # Errors
    /// The disk; the next call opens the database again.
    pub(crate) fn write<T>(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        self.with(|db| {
            let write = db.begin_write()?;
            let result = change(&write)?;
            write.commit()?;
            Ok(result)
        })
    }

    /// Reads.
    ///
    /// # Errors
    /// The disk; the next call opens the database again.
    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        self.with(|db| read(&db.begin_read()?))
    }

    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, redb::Error> {
        if self.failed.load(Ordering::Acquire) {
            self.reopen()?;
        }
        let db = self.db.read();
        let result = db.as_ref().map_or(Err(redb::Error::PreviousIo), work);
        if result.is_err() {
            self.failed.store(true, Ordering::Release);
        }
        result
    }

    fn reopen(&self) -> Result<(), redb::Error> {
        let mut db = self.db.write();
        if self.failed.load(Ordering::Acquire) {
            // it holds a lock on its file
            *db = None;
            *db = Some(Database::open(&self.path)?);
            self.failed.store(false, Ordering::Release);
            tracing::info!("the index is open again");
        }
        Ok(())
    }
}

/// `None` of a new one, and of one from before formats were written down.
fn has_no_tables(db: &Database) -> Result<bool, redb::Error> {
    Ok(db.begin_read()?.list_tables()?.next().is_none())
}

fn format(db: &Database) -> Result<Option<u64>, redb::Error> {
    match db.begin_read()?.open_table(META) {
        Ok(table) => Ok(table.get(FORMAT_ROW)?.map(|format| format.value())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_newer_format_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.redb");
        let index = Index::open(&path).unwrap();
        assert!(index.is_new().unwrap());
        index.settle().unwrap();
        assert!(!index.is_new().unwrap());
        index
            .write(|write| {
                write.open_table(META)?.insert(FORMAT_ROW, FORMAT + 1)?;
                Ok(())
            })
            .unwrap();
        drop(index);
        for _ in 0..2 {
            let error = Index::open(&path).map(drop).unwrap_err().to_string();
            assert!(error.contains("newer") && error.contains("--data"), "{error}");
        }
    }

    /// Whatever part of it is lost or wrong, it is opened or refused, and never emptied.
    #[test]
    fn a_torn_index_is_whole_or_refused() {
        const ROWS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("rows");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.redb");
        let index = Index::open(&path).unwrap();
        index.settle().unwrap();
        for row in 0..20 {
            index
                .write(|write| {
                    write.open_table(ROWS)?.insert(row, &[7; 1000][..])?;
                    Ok(())
                })
                .unwrap();
        }
        drop(index);
        let whole = fs::read(&path).unwrap();
        let torn = folder.path().join("torn.redb");
        for part in 1..16 {
            let at = whole.len() * part / 16;
            let mut zeroed = whole.clone();
            let end = (at + 4096).min(whole.len());
            zeroed[at..end].fill(0);
            for bytes in [&whole[..at], &zeroed[..]] {
                fs::write(&torn, bytes).unwrap();
                match Index::open(&torn) {
                    Ok(index) => assert!(!index.is_new().unwrap(), "cut or zeroed at {at}"),
                    Err(OpenError::Broken(_)) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        }
    }
}
