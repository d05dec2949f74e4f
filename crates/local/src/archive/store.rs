//! [`Archive`]: fragments as files, found through a table of the index.
//!
//! `archive/STREAM/headers/HASH.mkv` holds each header once, `archive/STREAM/fragments/NUMBER.mkv` a fragment as it
//! came. To store is, in this order: write a file under a name of its own, sync it, rename it, sync its folder, commit
//! its row (which syncs the index). A fragment counts from there on, and survives a killed process and a lost power
//! supply. A file without a row (the process was killed in between) is never read and goes at the next start; with a row
//! that this version cannot read there is no start, because the row's file would seem to have none.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::{self, File},
    io::{self, Write},
    ops::Bound,
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use parking_lot::Mutex;
use redb::{Database, ReadableTable, TableDefinition};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::{
    index::FragmentInfo,
    select::{Selector, TimestampKind},
};
use crate::{clock::now_ms, model::Fragment, private};

/// Stream key and fragment number to JSON.
const FRAGMENTS: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("archive.fragments");

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
    /// The index cannot be read or written.
    #[error("the index: {0}")]
    Index(#[from] redb::Error),
}

macro_rules! from_redb {
    ($($kind:ident),*) => {$(
        impl From<redb::$kind> for StoreError {
            fn from(error: redb::$kind) -> Self {
                Self::Index(error.into())
            }
        }
    )*};
}
from_redb!(TransactionError, TableError, StorageError, CommitError);

/// Figures of one stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StreamSummary {
    /// Distinct fragments; one that was sent again counts once.
    pub fragments: u64,
    /// Fragments whose producer time was there already.
    pub duplicates: u64,
    /// Video frames of the distinct fragments.
    pub video_frames: u64,
    /// Audio frames of the distinct fragments.
    pub audio_frames: u64,
    /// Bytes of the distinct fragments as they came.
    pub bytes: u64,
    /// Sum of the distinct fragments' durations.
    pub duration_ms: u64,
    /// The newest by producer time.
    pub last: Option<FragmentInfo>,
}

#[derive(Default)]
struct StreamState {
    /// By number, which is the order of arrival.
    fragments: BTreeMap<String, Arc<FragmentInfo>>,
    /// By producer time, the one that came last.
    by_producer: BTreeMap<u64, Arc<FragmentInfo>>,
    /// Sums over `by_producer`.
    totals: Totals,
    last_number: u128,
}

#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    video_frames: u64,
    audio_frames: u64,
    bytes: u64,
    duration_ms: u64,
}

impl Totals {
    fn change(&mut self, info: &FragmentInfo, change: fn(u64, u64) -> u64) {
        self.video_frames = change(self.video_frames, info.video_frames);
        self.audio_frames = change(self.audio_frames, info.audio_frames);
        self.bytes = change(self.bytes, info.size);
        self.duration_ms = change(self.duration_ms, info.duration_ms);
    }
}

impl StreamState {
    fn insert(&mut self, info: FragmentInfo) {
        let info = Arc::new(info);
        // Sessions may finish in another order than they began in; the larger number wins.
        let replaced = self.by_producer.get(&info.producer_ms);
        if replaced.is_none_or(|replaced| replaced.number < info.number) {
            self.totals.change(&info, u64::saturating_add);
            if let Some(replaced) = self.by_producer.insert(info.producer_ms, info.clone()) {
                self.totals.change(&replaced, u64::saturating_sub);
            }
        }
        self.fragments.insert(info.number.clone(), info);
    }

    fn remove(&mut self, number: &str) -> Option<Arc<FragmentInfo>> {
        let info = self.fragments.remove(number)?;
        if self.by_producer.get(&info.producer_ms).is_some_and(|kept| kept.number == number) {
            self.by_producer.remove(&info.producer_ms);
            self.totals.change(&info, u64::saturating_sub);
        }
        Some(info)
    }
}

/// All stored fragments. Every call that writes blocks on the disk: keep it off the async threads.
pub struct Archive {
    folder: PathBuf,
    db: Arc<Database>,
    streams: Mutex<HashMap<String, StreamState>>,
    /// Headers that this process has synced, with their names: one that is just being written by another session is there,
    /// and may still be lost with the power.
    headers: Mutex<HashSet<PathBuf>>,
    changed: watch::Sender<u64>,
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// The first digits of every fragment number of the real service.
const NUMBER_PREFIX: &str = "91343852333";

impl Archive {
    /// Opens the archive in the data folder and removes files that no row names.
    ///
    /// # Errors
    /// The disk or the index.
    pub fn open(data: &Path, db: Arc<Database>) -> Result<Self, StoreError> {
        let folder = data.join("archive");
        create(&folder)?;
        let mut streams: HashMap<String, StreamState> = HashMap::new();
        let write = db.begin_write()?;
        {
            let table = write.open_table(FRAGMENTS)?;
            for row in table.iter()? {
                let (key, value) = row?;
                let (stream, number) = key.value();
                let info: FragmentInfo =
                    serde_json::from_slice(value.value()).map_err(|error| StoreError::Row {
                        stream: stream.to_owned(),
                        number: number.to_owned(),
                        reason: error.to_string(),
                    })?;
                streams.entry(stream.to_owned()).or_default().insert(info);
            }
        }
        write.commit()?;
        for state in streams.values_mut() {
            let number =
                state.fragments.last_key_value().and_then(|(number, _)| number.get(NUMBER_PREFIX.len()..));
            state.last_number = number.and_then(|digits| digits.parse().ok()).unwrap_or(0);
        }
        let archive = Self {
            folder,
            db,
            streams: Mutex::new(streams),
            headers: Mutex::default(),
            changed: watch::channel(0).0,
        };
        archive.remove_strays()?;
        Ok(archive)
    }

    fn remove_strays(&self) -> Result<(), StoreError> {
        let streams = self.streams.lock();
        for entry in list(&self.folder)? {
            let name = entry.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            let mut known: HashSet<PathBuf> = HashSet::new();
            for info in streams.get(&name).into_iter().flat_map(|state| state.fragments.values()) {
                known.insert(self.fragment_path(&name, &info.number));
                known.insert(self.header_path(&name, &info.header));
            }
            for file in list(&entry.join("fragments"))?.into_iter().chain(list(&entry.join("headers"))?) {
                if !known.contains(&file) {
                    tracing::info!(file = %file.display(), "removing a file that no fragment needs");
                    fs::remove_file(&file).map_err(|source| StoreError::File { path: file, source })?;
                }
            }
        }
        Ok(())
    }

    /// Changes whenever a fragment is stored or removed.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The next fragment number of a stream: 47 digits, rising, of this moment where the clock allows.
    #[must_use]
    pub fn next_number(&self, stream: &str) -> String {
        let mut streams = self.streams.lock();
        let state = streams.entry(stream.to_owned()).or_default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        state.last_number = now.max(state.last_number + 1);
        format!("{NUMBER_PREFIX}{:036}", state.last_number)
    }

    /// Stores a fragment. When this returns it is on disk and in the index.
    ///
    /// # Errors
    /// The disk or the index; nothing is stored then.
    pub fn store(
        &self,
        stream: &str,
        number: &str,
        producer_ms: u64,
        server_ms: u64,
        fragment: &Fragment,
    ) -> Result<FragmentInfo, StoreError> {
        let header = format!("{}.mkv", hex::encode(&Sha256::digest(&fragment.header)[..16]));
        let header_path = self.header_path(stream, &header);
        let synced = self.headers.lock().contains(&header_path);
        if !synced {
            write_synced(&header_path, number, &fragment.header)?;
            self.headers.lock().insert(header_path);
        }
        write_synced(&self.fragment_path(stream, number), number, &fragment.raw)?;
        let mut info = FragmentInfo::of(fragment, number.to_owned(), producer_ms, server_ms, header);
        info.persisted_ms = now_ms();
        let write = self.db.begin_write()?;
        {
            let json = serde_json::to_vec(&info).unwrap_or_default();
            write.open_table(FRAGMENTS)?.insert((stream, number), json.as_slice())?;
        }
        write.commit()?;
        self.streams.lock().entry(stream.to_owned()).or_default().insert(info.clone());
        self.changed.send_modify(|count| *count += 1);
        Ok(info)
    }

    /// All of a stream's fragments in the order of their producer times; those with the same time in that of their
    /// numbers.
    #[must_use]
    pub fn all_fragments(&self, stream: &str) -> Vec<Arc<FragmentInfo>> {
        let mut all: Vec<_> = {
            let streams = self.streams.lock();
            streams.get(stream).map(|state| state.fragments.values().cloned().collect()).unwrap_or_default()
        };
        all.sort_by_key(|info: &Arc<FragmentInfo>| info.producer_ms);
        all
    }

    /// What a player is given: a stream's fragments in the order of their producer times; of those with the same time
    /// the one with the largest number.
    #[must_use]
    pub fn fragments(&self, stream: &str) -> Vec<Arc<FragmentInfo>> {
        let streams = self.streams.lock();
        streams.get(stream).map(|state| state.by_producer.values().cloned().collect()).unwrap_or_default()
    }

    /// The fragment that came next after the one with this number, or the first.
    #[must_use]
    pub fn next_after(&self, stream: &str, number: Option<&str>) -> Option<Arc<FragmentInfo>> {
        let streams = self.streams.lock();
        let fragments = &streams.get(stream)?.fragments;
        match number {
            None => fragments.values().next().cloned(),
            Some(number) => {
                let after = (Bound::Excluded(number.to_owned()), Bound::Unbounded);
                fragments.range(after).next().map(|(_, info)| info.clone())
            }
        }
    }

    /// In the order of arrival: the number before the first fragment that is wanted, or the last if none is.
    #[must_use]
    pub fn number_before(&self, stream: &str, wanted: impl Fn(&FragmentInfo) -> bool) -> Option<String> {
        let streams = self.streams.lock();
        let fragments = &streams.get(stream)?.fragments;
        fragments.values().take_while(|info| !wanted(info)).last().map(|info| info.number.clone())
    }

    /// What a player is given of a selection: at most `most` fragments that come after `after`. By the producer's time each
    /// time is there once, with its largest number; by the server's, all are there in the order of arrival.
    #[must_use]
    pub fn selected(
        &self,
        stream: &str,
        selector: Selector,
        after: Option<&FragmentInfo>,
        most: usize,
    ) -> Vec<Arc<FragmentInfo>> {
        let streams = self.streams.lock();
        let Some(state) = streams.get(stream) else { return Vec::new() };
        match selector.kind {
            TimestampKind::Producer => {
                let from = after.map_or(0, |after| after.producer_ms.saturating_add(1)).max(selector.from_ms);
                if from > selector.to_ms {
                    return Vec::new();
                }
                state
                    .by_producer
                    .range(from..=selector.to_ms)
                    .map(|(_, info)| info.clone())
                    .take(most)
                    .collect()
            }
            TimestampKind::Server => {
                let after = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.number.clone()));
                let rest = state.fragments.range((after, Bound::Unbounded)).map(|(_, info)| info);
                rest.filter(|info| selector.takes(info)).take(most).cloned().collect()
            }
        }
    }

    /// The newest fragments by arrival, at most `most`, in that order. One whose time is not before that of those that came
    /// after it is left out: it was sent again, or late.
    #[must_use]
    pub fn newest(&self, stream: &str, kind: TimestampKind, most: usize) -> Vec<Arc<FragmentInfo>> {
        let streams = self.streams.lock();
        let Some(state) = streams.get(stream) else { return Vec::new() };
        let (mut found, mut before) = (Vec::new(), u64::MAX);
        for info in state.fragments.values().rev() {
            if found.len() == most {
                break;
            }
            if kind.of(info) < before {
                before = kind.of(info);
                found.push(info.clone());
            }
        }
        found.reverse();
        found
    }

    /// One fragment by its number, replaced ones included.
    #[must_use]
    pub fn fragment(&self, stream: &str, number: &str) -> Option<Arc<FragmentInfo>> {
        self.streams.lock().get(stream)?.fragments.get(number).cloned()
    }

    /// Header and content of a fragment, as they came.
    ///
    /// # Errors
    /// The disk.
    pub fn read(&self, stream: &str, info: &FragmentInfo) -> Result<(Bytes, Bytes), StoreError> {
        Ok((self.read_header(stream, info)?, read(&self.fragment_path(stream, &info.number))?))
    }

    /// Header of a fragment's session, as it came.
    ///
    /// # Errors
    /// The disk.
    pub fn read_header(&self, stream: &str, info: &FragmentInfo) -> Result<Bytes, StoreError> {
        read(&self.header_path(stream, &info.header))
    }

    /// Figures of a stream.
    #[must_use]
    pub fn summary(&self, stream: &str) -> StreamSummary {
        let streams = self.streams.lock();
        let Some(state) = streams.get(stream) else { return StreamSummary::default() };
        StreamSummary {
            fragments: state.by_producer.len() as u64,
            duplicates: (state.fragments.len() - state.by_producer.len()) as u64,
            last: state.by_producer.last_key_value().map(|(_, info)| (**info).clone()),
            video_frames: state.totals.video_frames,
            audio_frames: state.totals.audio_frames,
            bytes: state.totals.bytes,
            duration_ms: state.totals.duration_ms,
        }
    }

    /// Removes what was persisted before `before_ms`.
    ///
    /// # Errors
    /// The disk or the index.
    pub fn expire(&self, stream: &str, before_ms: u64) -> Result<usize, StoreError> {
        let old: Vec<String> = {
            let streams = self.streams.lock();
            let Some(state) = streams.get(stream) else { return Ok(0) };
            state
                .fragments
                .values()
                .filter(|info| info.server_ms < before_ms)
                .map(|info| info.number.clone())
                .collect()
        };
        if old.is_empty() {
            return Ok(0);
        }
        let write = self.db.begin_write()?;
        {
            let mut table = write.open_table(FRAGMENTS)?;
            for number in &old {
                table.remove((stream, number.as_str()))?;
            }
        }
        write.commit()?;
        for number in &old {
            self.streams.lock().get_mut(stream).and_then(|state| state.remove(number));
            let path = self.fragment_path(stream, number);
            fs::remove_file(&path).map_err(|source| StoreError::File { path, source })?;
        }
        self.changed.send_modify(|count| *count += 1);
        Ok(old.len())
    }

    /// Streams that have fragments, or had some in this process.
    #[must_use]
    pub fn streams(&self) -> Vec<String> {
        self.streams.lock().keys().cloned().collect()
    }

    /// Removes all of a stream.
    ///
    /// # Errors
    /// The disk or the index.
    pub fn remove(&self, stream: &str) -> Result<(), StoreError> {
        self.expire(stream, u64::MAX)?;
        self.streams.lock().remove(stream);
        let path = self.folder.join(stream);
        self.headers.lock().retain(|header| !header.starts_with(&path));
        match fs::remove_dir_all(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(StoreError::File { path, source }),
            _ => {
                self.changed.send_modify(|count| *count += 1);
                Ok(())
            }
        }
    }

    fn header_path(&self, stream: &str, header: &str) -> PathBuf {
        self.folder.join(stream).join("headers").join(header)
    }

    fn fragment_path(&self, stream: &str, number: &str) -> PathBuf {
        self.folder.join(stream).join("fragments").join(format!("{number}.mkv"))
    }
}

fn create(folder: &Path) -> Result<(), StoreError> {
    private::folder(folder).map_err(|source| StoreError::File { path: folder.to_owned(), source })
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let wrong = |source| StoreError::File { path: folder.to_owned(), source };
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path()).map_err(wrong)).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(wrong(error)),
    }
}

fn read(path: &Path) -> Result<Bytes, StoreError> {
    fs::read(path).map(Bytes::from).map_err(|source| StoreError::File { path: path.to_owned(), source })
}

/// Writes a file that is there whole or not at all. `owner` tells apart who writes the same file at the same time.
fn write_synced(path: &Path, owner: &str, data: &[u8]) -> Result<(), StoreError> {
    let write = |folder: &Path| {
        if !folder.exists() {
            private::folder(folder)?;
            for parent in folder.ancestors().skip(1).take(2) {
                sync_folder(parent)?;
            }
        }
        let part = path.with_extension(format!("{owner}.part"));
        let mut file = private::empty_file(&part)?;
        file.write_all(data)?;
        file.sync_data()?;
        fs::rename(&part, path)?;
        sync_folder(folder)
    };
    path.parent().map_or(Ok(()), write).map_err(|source| StoreError::File { path: path.to_owned(), source })
}

/// Without this the name of a file may be lost with the power, although its content is not.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(timecode_ms: u64) -> Fragment {
        Fragment {
            timecode: timecode_ms,
            timecode_ms,
            duration_ms: 2_000,
            header: Bytes::from_static(b"header"),
            raw: Bytes::from(format!("fragment {timecode_ms}")),
            tags: Vec::new(),
            video_frames: 60,
            audio_frames: 94,
            tracks: Vec::new(),
            timecode_scale: 1_000_000,
        }
    }

    fn open(folder: &Path) -> Archive {
        let db = Arc::new(Database::create(folder.join("index.redb")).unwrap());
        Archive::open(folder, db).unwrap()
    }

    fn put(archive: &Archive, timecode: u64) -> FragmentInfo {
        let number = archive.next_number("s");
        archive.store("s", &number, timecode, 5, &fragment(timecode)).unwrap()
    }

    #[test]
    fn what_was_stored_is_there_after_a_restart_and_strays_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let first = {
            let archive = open(folder.path());
            let first = put(&archive, 1_000);
            put(&archive, 3_000);
            first
        };
        assert_eq!(first.number.len(), 47);
        let stray = folder.path().join("archive/s/fragments/1.mkv");
        fs::write(&stray, "half a frag").unwrap();
        let archive = open(folder.path());
        assert!(!stray.exists());
        let all = archive.fragments("s");
        assert_eq!(all.iter().map(|info| info.producer_ms).collect::<Vec<_>>(), [1_000, 3_000]);
        assert_eq!(
            archive.read("s", &all[0]).unwrap(),
            (Bytes::from_static(b"header"), Bytes::from_static(b"fragment 1000"))
        );
        assert!(archive.next_number("s") > all[1].number);
    }

    /// Downgrading must not cost what was recorded meanwhile.
    #[test]
    fn a_row_of_another_version_keeps_everything_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let info = put(&open(folder.path()), 1_000);
        let db = Arc::new(Database::create(folder.path().join("index.redb")).unwrap());
        let write = db.begin_write().unwrap();
        write
            .open_table(FRAGMENTS)
            .unwrap()
            .insert(("s", info.number.as_str()), &br#"{"version":2}"#[..])
            .unwrap();
        write.commit().unwrap();
        let error = Archive::open(folder.path(), db).unwrap_err().to_string();
        assert!(error.contains(&info.number) && error.contains("--data"), "{error}");
        assert!(folder.path().join(format!("archive/s/fragments/{}.mkv", info.number)).exists());
    }

    #[test]
    fn what_is_stored_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let info = put(&open(folder.path()), 1_000);
        let mode = |path: &str| fs::metadata(folder.path().join(path)).unwrap().permissions().mode() & 0o777;
        for path in ["archive", "archive/s", "archive/s/fragments", "archive/s/headers"] {
            assert_eq!(mode(path), 0o700, "{path}");
        }
        assert_eq!(mode(&format!("archive/s/fragments/{}.mkv", info.number)), 0o600);
        assert_eq!(mode(&format!("archive/s/headers/{}", info.header)), 0o600);
    }

    #[test]
    fn a_fragment_that_was_sent_again_counts_once() {
        let folder = tempfile::tempdir().unwrap();
        let archive = open(folder.path());
        put(&archive, 1_000);
        let again = put(&archive, 1_000);
        let summary = archive.summary("s");
        assert_eq!((summary.fragments, summary.duplicates, summary.video_frames), (1, 1, 60));
        assert_eq!(archive.fragments("s")[0].number, again.number);
    }

    #[test]
    fn sessions_with_the_same_header_store_at_the_same_time() {
        let folder = tempfile::tempdir().unwrap();
        let archive = open(folder.path());
        std::thread::scope(|scope| {
            for session in 0..8 {
                let archive = &archive;
                scope.spawn(move || put(archive, session * 1_000));
            }
        });
        assert_eq!(archive.fragments("s").len(), 8);
        assert_eq!(list(&folder.path().join("archive/s/headers")).unwrap().len(), 1);
    }

    #[test]
    fn the_larger_number_wins_whichever_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let archive = open(folder.path());
        let (older, newer) = (archive.next_number("s"), archive.next_number("s"));
        archive.store("s", &newer, 1_000, 5, &fragment(1_000)).unwrap();
        archive.store("s", &older, 1_000, 5, &fragment(1_000)).unwrap();
        assert_eq!(archive.fragments("s")[0].number, newer);
        assert_eq!((archive.summary("s").fragments, archive.summary("s").duplicates), (1, 1));
    }

    #[test]
    fn fragments_are_read_in_the_order_of_arrival() {
        let folder = tempfile::tempdir().unwrap();
        let archive = open(folder.path());
        let [second, first] = [put(&archive, 3_000), put(&archive, 1_000)].map(|info| info.number);
        let before = |wanted: &dyn Fn(&FragmentInfo) -> bool| archive.number_before("s", wanted);
        assert_eq!(before(&|_| true), None);
        assert_eq!(before(&|info| info.producer_ms == 1_000), Some(second));
        assert_eq!(before(&|_| false), Some(first), "the newest is the one that came last");
        assert_eq!(archive.number_before("other", |_| false), None);
    }

    #[test]
    fn a_removed_stream_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let archive = open(folder.path());
        put(&archive, 1_000);
        archive.remove("s").unwrap();
        assert!(list(&folder.path().join("archive")).unwrap().is_empty());
        assert_eq!(archive.summary("s"), StreamSummary::default());
        archive.remove("s").unwrap();
    }

    #[test]
    fn expired_fragments_are_gone_from_disk_and_index() {
        let folder = tempfile::tempdir().unwrap();
        let archive = open(folder.path());
        put(&archive, 1_000);
        let number = archive.next_number("s");
        archive.store("s", &number, 3_000, 50, &fragment(3_000)).unwrap();
        assert_eq!(archive.expire("s", 10).unwrap(), 1);
        assert_eq!(archive.fragments("s").len(), 1);
        assert_eq!(list(&folder.path().join("archive/s/fragments")).unwrap().len(), 1);
        drop(archive);
        assert_eq!(open(folder.path()).fragments("s").len(), 1);
    }
}
