//! [`Headers`]: which headers are on disk, and for how long.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use parking_lot::Mutex;

use super::files::remove_file;

/// The headers that fragments need, those included that are just being stored.
#[derive(Default)]
pub(super) struct Headers(Mutex<HashMap<PathBuf, Header>>);

#[derive(Default)]
struct Header {
    /// How many fragments need it.
    fragments: usize,
    /// Whether this process has synced it, with its name: one that is just being written by another session is there, and may
    /// still be lost with the power.
    synced: bool,
}

impl Headers {
    /// One more fragment needs it. `false`: it has to be written.
    pub(super) fn take(&self, header: &Path) -> bool {
        let mut headers = self.0.lock();
        let header = headers.entry(header.to_owned()).or_default();
        header.fragments += 1;
        header.synced
    }

    pub(super) fn synced(&self, header: &Path) {
        self.0.lock().get_mut(header).into_iter().for_each(|header| header.synced = true);
    }

    /// One fragment less needs it; with the last one it goes. Under the lock, so that who takes it meanwhile writes it anew.
    pub(super) fn release(&self, header: &Path) {
        let mut headers = self.0.lock();
        let Some(found) = headers.get_mut(header) else { return };
        found.fragments = found.fragments.saturating_sub(1);
        if found.fragments == 0 {
            headers.remove(header);
            remove_file(header);
        }
    }

    /// Everything in this folder is gone.
    pub(super) fn forget(&self, folder: &Path) {
        self.0.lock().retain(|header, _| !header.starts_with(folder));
    }
}
