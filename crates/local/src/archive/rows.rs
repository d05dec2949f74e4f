//! [`Rows`]: rows of fragments into the index. Each commit syncs the disk, which takes its time however much is in it: those who
//! come while one runs share the next.

use std::{io, sync::Arc};

use parking_lot::Mutex;
use redb::TableDefinition;

use crate::index::Index;

/// Stream key and fragment number to JSON.
pub(super) const FRAGMENTS: TableDefinition<'_, (&str, &str), &[u8]> =
    TableDefinition::new("archive.fragments");

/// What became of a row; `None`: it waits.
type Outcome = Arc<Mutex<Option<Result<(), String>>>>;

/// A row that waits for its commit.
struct Row {
    stream: String,
    number: String,
    json: Vec<u8>,
    outcome: Outcome,
}

/// The rows that wait: at most one for each thread that stores.
#[derive(Default)]
pub(super) struct Rows {
    waiting: Mutex<Vec<Row>>,
    committing: Mutex<()>,
}

impl Rows {
    /// Writes a row. When this returns without an error it is synced.
    pub(super) fn insert(
        &self,
        index: &Index,
        stream: &str,
        number: &str,
        json: Vec<u8>,
    ) -> Result<(), redb::Error> {
        let outcome = Outcome::default();
        let (stream, number) = (stream.to_owned(), number.to_owned());
        self.waiting.lock().push(Row { stream, number, json, outcome: outcome.clone() });
        let _turn = self.committing.lock();
        let done = outcome.lock().take();
        match done {
            // whoever had the turn before took this row with its own
            Some(result) => result.map_err(|error| redb::Error::Io(io::Error::other(error))),
            None => {
                let rows = std::mem::take(&mut *self.waiting.lock());
                let written = index.write(|write| {
                    let mut table = write.open_table(FRAGMENTS)?;
                    for row in &rows {
                        table.insert((row.stream.as_str(), row.number.as_str()), row.json.as_slice())?;
                    }
                    Ok(())
                });
                for row in rows.iter().filter(|row| !Arc::ptr_eq(&row.outcome, &outcome)) {
                    let result = written.as_ref().map(|_| ()).map_err(ToString::to_string);
                    *row.outcome.lock() = Some(result);
                }
                written
            }
        }
    }
}
