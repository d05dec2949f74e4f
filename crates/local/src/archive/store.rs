//! [`Archive`]: fragments as files, found through a table of the index.
//!
//! `archive/STREAM/headers/HASH.mkv` holds each header once, `archive/STREAM/fragments/NUMBER.mkv` a fragment as it
//! came, with its row behind it. To store is, in this order: write a file under a name of its own, sync it, rename it, sync
//! its folder, commit its row (which syncs the index). A fragment counts from there on, and survives a killed process and a
//! lost power supply. A file without a row (the process was killed in between) is never read and goes at the next start;
//! with a row that this version cannot read there is no start, because the row's file would seem to have none. To expire
//! is the other way round: the rows go first, so that a file that is left over is one without a row.
//!
//! An index that is empty beside an archive that is not was lost. The rows are then taken from the files.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs, io,
    ops::Bound,
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use parking_lot::Mutex;
use redb::ReadableTable;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::{
    error::StoreError,
    files::{create, list, read, remove_file, write_synced},
    headers::Headers,
    index::FragmentInfo,
    rows::{FRAGMENTS, Rows},
    select::{Page, Position, Selector, Start, TimestampKind},
    state::{StreamState, given, range},
    trailer,
};
use crate::{
    clock::now_ms,
    index::Index,
    model::{Fragment, Stream},
};

/// What a stream is, in its folder.
const DESCRIPTION: &str = "stream.json";

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
    /// Producer's time of the oldest, milliseconds since 1970.
    pub first_ms: Option<u64>,
}

/// All stored fragments. Every call that writes blocks on the disk: keep it off the async threads.
pub struct Archive {
    folder: PathBuf,
    index: Arc<Index>,
    streams: Mutex<HashMap<String, StreamState>>,
    /// What is written of streams beside their fragments: by their keys, the versions that this process has written.
    described: Mutex<HashMap<String, String>>,
    /// Fragments whose row may have been written or not, because the disk failed meanwhile, and their headers. None of them
    /// was acknowledged.
    unsettled: Mutex<Vec<(String, String, PathBuf)>>,
    headers: Headers,
    rows: Rows,
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
    /// Opens the archive in the data folder and removes files that no row names. With an index that was lost, it takes rows
    /// from the files; the streams that they are of are in the second part.
    ///
    /// # Errors
    /// The disk or the index; or a lost index that cannot be made anew.
    pub(crate) fn open(data: &Path, index: Arc<Index>) -> Result<(Self, Vec<Stream>), StoreError> {
        let folder = data.join("archive");
        create(&folder)?;
        let (found, infos) = if index.is_new()? { recover(&folder)? } else { Default::default() };
        index.write(|write| {
            let mut table = write.open_table(FRAGMENTS)?;
            for (stream, info) in &infos {
                let json = serde_json::to_vec(info).unwrap_or_default();
                table.insert((stream.as_str(), info.number.as_str()), json.as_slice())?;
            }
            Ok(())
        })?;
        let rows = index.read(|read| {
            let table = read.open_table(FRAGMENTS)?;
            let rows = table.iter()?.map(|row| {
                let (key, value) = row?;
                let (stream, number) = key.value();
                Ok((stream.to_owned(), number.to_owned(), serde_json::from_slice(value.value())))
            });
            rows.collect::<Result<Vec<(String, String, serde_json::Result<FragmentInfo>)>, redb::Error>>()
        })?;
        let mut streams: HashMap<String, StreamState> = HashMap::new();
        for (stream, number, info) in rows {
            let info = info.map_err(|error| StoreError::Row {
                stream: stream.clone(),
                number,
                reason: error.to_string(),
            })?;
            streams.entry(stream).or_default().insert(info);
        }
        for state in streams.values_mut() {
            let number =
                state.fragments.last_key_value().and_then(|(number, _)| number.get(NUMBER_PREFIX.len()..));
            state.last_number = number.and_then(|digits| digits.parse().ok()).unwrap_or(0);
        }
        let archive = Self {
            folder,
            index,
            streams: Mutex::new(streams),
            described: Mutex::default(),
            unsettled: Mutex::default(),
            headers: Headers::default(),
            rows: Rows::default(),
            changed: watch::channel(0).0,
        };
        for (stream, state) in &*archive.streams.lock() {
            for info in state.fragments.values() {
                archive.headers.take(&archive.header_path(stream, &info.header));
            }
        }
        archive.remove_strays()?;
        Ok((archive, found))
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

    /// Writes down what a stream is beside its fragments, unless this version of it is there: without it they could not be
    /// found again when the index is lost. `number`: of the fragment that is about to be stored, which no other has.
    ///
    /// # Errors
    /// The disk.
    pub fn describe(&self, stream: &Stream, number: &str) -> Result<(), StoreError> {
        let key = stream.folder();
        if self.described.lock().get(&key) == Some(&stream.version) {
            return Ok(());
        }
        let json = serde_json::to_vec(stream).unwrap_or_default();
        write_synced(&self.folder.join(&key).join(DESCRIPTION), number, &[&json])?;
        self.described.lock().insert(key, stream.version.clone());
        Ok(())
    }

    /// Stores a fragment of a session that began at `began_ms`. When this returns it is on disk and in the index.
    ///
    /// # Errors
    /// The disk or the index; nothing is stored then.
    pub fn store(
        &self,
        stream: &str,
        number: &str,
        producer_ms: u64,
        server_ms: u64,
        began_ms: u64,
        fragment: &Fragment,
    ) -> Result<FragmentInfo, StoreError> {
        let header = format!("{}.mkv", hex::encode(&Sha256::digest(&fragment.header)[..16]));
        let header_path = self.header_path(stream, &header);
        let synced = self.headers.take(&header_path);
        let mut info =
            FragmentInfo::of(fragment, number.to_owned(), producer_ms, server_ms, began_ms, header);
        info.persisted_ms = now_ms();
        let files = || {
            if !synced {
                write_synced(&header_path, number, &[&fragment.header])?;
                self.headers.synced(&header_path);
            }
            let path = self.fragment_path(stream, number);
            write_synced(&path, number, &[&fragment.raw, &trailer::of(&info)])
        };
        files().inspect_err(|_| self.headers.release(&header_path))?;
        let json = serde_json::to_vec(&info).unwrap_or_default();
        let written = self.rows.insert(&self.index, stream, number, json);
        if let Err(error) = written {
            self.unsettled.lock().push((stream.to_owned(), number.to_owned(), header_path));
            self.settle();
            return Err(error.into());
        }
        self.streams.lock().entry(stream.to_owned()).or_default().insert(info.clone());
        self.changed.send_modify(|count| *count += 1);
        Ok(info)
    }

    /// Takes what was not acknowledged out again, row first, as soon as the disk allows.
    fn settle(&self) {
        let mut unsettled = self.unsettled.lock();
        if unsettled.is_empty() {
            return;
        }
        let removed = self.index.write(|write| {
            let mut table = write.open_table(FRAGMENTS)?;
            for (stream, number, _) in unsettled.iter() {
                table.remove((stream.as_str(), number.as_str()))?;
            }
            Ok(())
        });
        if removed.is_ok() {
            for (stream, number, header) in unsettled.drain(..) {
                remove_file(&self.fragment_path(&stream, &number));
                self.headers.release(&header);
            }
        }
    }

    /// A page of at most `most` of a stream's fragments that come after `after`, replaced ones included, in the order of
    /// their producer times and numbers.
    #[must_use]
    pub fn page(
        &self,
        stream: &str,
        selector: Option<Selector>,
        most: usize,
        after: Option<&Position>,
    ) -> Page {
        let streams = self.streams.lock();
        let state = streams.get(stream);
        let after = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.clone()));
        let by_server = selector.filter(|selector| selector.kind == TimestampKind::Server);
        let sorted: BTreeMap<Position, &Arc<FragmentInfo>>;
        match (state, by_server) {
            (None, _) => Page::default(),
            (Some(state), None) => {
                let (from_ms, to_ms) =
                    selector.map_or((0, u64::MAX), |selector| (selector.from_ms, selector.to_ms));
                let begun = (from_ms, String::new());
                let from = match after {
                    Bound::Excluded(after) if after >= begun => Bound::Excluded(after),
                    _ => Bound::Included(begun),
                };
                let rest = state.by_producer.range((from, Bound::Unbounded));
                Page::cut(rest.map(|(_, info)| info).take_while(|info| info.producer_ms <= to_ms), most)
            }
            (Some(state), Some(Selector { from_ms, to_ms, .. })) => {
                let found = range(from_ms, to_ms).map(|range| state.by_server.range(range));
                let found = found.into_iter().flatten();
                sorted =
                    found.map(|((_, number), info)| ((info.producer_ms, number.clone()), info)).collect();
                Page::cut(sorted.range((after, Bound::Unbounded)).map(|(_, info)| *info), most)
            }
        }
    }

    /// What a player is given: a stream's fragments in the order of their producer times; of those with the same time
    /// the one with the largest number.
    #[must_use]
    pub fn fragments(&self, stream: &str) -> Vec<Arc<FragmentInfo>> {
        let streams = self.streams.lock();
        let state = streams.get(stream);
        state.map(|state| given(state.by_producer.values()).cloned().collect()).unwrap_or_default()
    }

    /// Shows what a player is given of the time from `from_ms` to `to_ms` (not included), in order, beginning with the
    /// fragment before it if that reaches into it.
    pub fn visit(&self, stream: &str, from_ms: u64, to_ms: u64, mut each: impl FnMut(&FragmentInfo)) {
        let streams = self.streams.lock();
        let Some((state, last_ms)) = streams.get(stream).zip(to_ms.checked_sub(1)) else { return };
        let Some(range) = range(from_ms, last_ms) else { return };
        let before = state.by_producer.range(..(from_ms, String::new())).next_back().map(|(_, info)| info);
        let within = given(state.by_producer.range(range).map(|(_, info)| info));
        before.filter(|info| info.end_ms() > from_ms).into_iter().chain(within).for_each(|info| each(info));
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

    /// In the order of arrival: the number before the fragment from which on a reader begins, or the last number.
    #[must_use]
    pub fn number_before(&self, stream: &str, start: Start) -> Option<String> {
        let streams = self.streams.lock();
        let state = streams.get(stream)?;
        let first = match start {
            Start::Now => None,
            Start::Server(at_ms) => {
                let rest = range(at_ms, u64::MAX).map(|range| state.by_server.range(range));
                rest.into_iter().flatten().next().map(|(_, info)| info.clone())
            }
            // Sound reaches over the end of the pictures into the fragment that follows: of two that contain the time it
            // is the one that began last.
            Start::Producer(at_ms) => {
                let begun = range(0, at_ms).and_then(|range| state.by_producer.range(range).next_back());
                let holds = begun.map(|(_, info)| info.clone()).filter(|info| info.end_ms() > at_ms);
                let next = || {
                    let rest = state.by_producer.range(range(at_ms.checked_add(1)?, u64::MAX)?);
                    given(rest.map(|(_, info)| info)).next().cloned()
                };
                holds.or_else(next)
            }
        };
        let end = first.map_or(Bound::Unbounded, |info| Bound::Excluded(info.number.clone()));
        state.fragments.range((Bound::Unbounded, end)).next_back().map(|(number, _)| number.clone())
    }

    /// What a player is given of a selection, in its order: at most `most` fragments that come after `after`. By the producer's
    /// time each time is there once, with its largest number; by the server's all are there.
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
        let Selector { kind, from_ms, to_ms } = selector;
        match kind {
            TimestampKind::Producer => {
                let after_ms = after.map_or(0, |after| after.producer_ms.saturating_add(1));
                let found = range(from_ms.max(after_ms), to_ms).map(|range| state.by_producer.range(range));
                let found = found.into_iter().flatten().map(|(_, info)| info);
                given(found).take(most).cloned().collect()
            }
            TimestampKind::Server => {
                let after = after.map(|after| (after.server_ms, after.number.clone()));
                let from_ms = after.as_ref().map_or(0, |(ms, _)| *ms).max(from_ms);
                let found = range(from_ms, to_ms).map(|range| state.by_server.range(range));
                let found = found.into_iter().flatten();
                let found =
                    found.filter(|(position, _)| after.as_ref().is_none_or(|after| *position > after));
                found.take(most).map(|(_, info)| info.clone()).collect()
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
        let mut fragment = read(&self.fragment_path(stream, &info.number))?;
        fragment.truncate(usize::try_from(info.size).unwrap_or(usize::MAX));
        Ok((self.read_header(stream, info)?, fragment))
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
            fragments: state.totals.fragments,
            duplicates: (state.fragments.len() as u64).saturating_sub(state.totals.fragments),
            last: state.by_producer.last_key_value().map(|(_, info)| (**info).clone()),
            first_ms: state.by_producer.first_key_value().map(|((ms, _), _)| *ms),
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
        self.settle();
        let old: Vec<String> = {
            let streams = self.streams.lock();
            let Some(state) = streams.get(stream) else { return Ok(0) };
            state
                .by_server
                .range(..(before_ms, String::new()))
                .map(|((_, number), _)| number.clone())
                .collect()
        };
        if old.is_empty() {
            return Ok(0);
        }
        self.index.write(|write| {
            let mut table = write.open_table(FRAGMENTS)?;
            for number in &old {
                table.remove((stream, number.as_str()))?;
            }
            Ok(())
        })?;
        for number in &old {
            let removed = self.streams.lock().get_mut(stream).and_then(|state| state.remove(number));
            // one that cannot be removed has no row, and goes at the next start
            remove_file(&self.fragment_path(stream, number));
            removed.iter().for_each(|info| self.headers.release(&self.header_path(stream, &info.header)));
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
        self.headers.forget(&path);
        self.described.lock().remove(stream);
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

/// Streams' keys, and rows of theirs.
type Found = Vec<(String, FragmentInfo)>;

/// Reads what streams and fragments say of themselves, and changes nothing.
fn recover(folder: &Path) -> Result<(Vec<Stream>, Found), StoreError> {
    let (mut streams, mut infos) = (Vec::new(), Vec::new());
    for entry in list(folder)? {
        let fragments = list(&entry.join("fragments"))?;
        let whole = |file: &&PathBuf| file.extension().is_some_and(|extension| extension == "mkv");
        let mut fragments = fragments.iter().filter(whole).peekable();
        if fragments.peek().is_none() {
            continue;
        }
        let description = entry.join(DESCRIPTION);
        let stream =
            fs::read(&description).ok().and_then(|json| serde_json::from_slice::<Stream>(&json).ok());
        let stream = stream.ok_or_else(|| StoreError::Unknown(entry.clone()))?;
        for file in fragments {
            let info = trailer::read(&read(file)?).ok_or_else(|| StoreError::Unknown(file.clone()))?;
            infos.push((stream.folder(), info));
        }
        streams.push(stream);
    }
    if !streams.is_empty() {
        let (streams, fragments) = (streams.len(), infos.len());
        tracing::warn!(
            streams,
            fragments,
            "the index was lost, and is made anew of what is in the archive; channels are lost"
        );
    }
    Ok((streams, infos))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    fn index(folder: &Path) -> Arc<Index> {
        Arc::new(Index::open(&folder.join("index.redb")).unwrap())
    }

    fn open(folder: &Path) -> Archive {
        let index = index(folder);
        let archive = Archive::open(folder, index.clone()).unwrap().0;
        index.settle().unwrap();
        archive
    }

    fn put(archive: &Archive, timecode: u64) -> FragmentInfo {
        let number = archive.next_number("s");
        archive.store("s", &number, timecode, 5, 4, &fragment(timecode)).unwrap()
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
        let index = index(folder.path());
        index
            .write(|write| {
                let row = &br#"{"version":2}"#[..];
                write.open_table(FRAGMENTS)?.insert(("s", info.number.as_str()), row)?;
                Ok(())
            })
            .unwrap();
        let error = Archive::open(folder.path(), index).unwrap_err().to_string();
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
    fn sessions_describe_their_stream_at_the_same_time() {
        let folder = tempfile::tempdir().unwrap();
        let (archive, stream) = (open(folder.path()), described());
        std::thread::scope(|scope| {
            for number in 0..8 {
                let (archive, stream) = (&archive, &stream);
                scope.spawn(move || archive.describe(stream, &number.to_string()).unwrap());
            }
        });
        assert_eq!(list(&folder.path().join("archive").join(stream.folder())).unwrap().len(), 1);
    }

    #[test]
    fn the_larger_number_wins_whichever_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let archive = open(folder.path());
        let (older, newer) = (archive.next_number("s"), archive.next_number("s"));
        archive.store("s", &newer, 1_000, 5, 4, &fragment(1_000)).unwrap();
        archive.store("s", &older, 1_000, 5, 4, &fragment(1_000)).unwrap();
        assert_eq!(archive.fragments("s")[0].number, newer);
        assert_eq!((archive.summary("s").fragments, archive.summary("s").duplicates), (1, 1));
    }

    #[test]
    fn fragments_are_read_in_the_order_of_arrival() {
        let folder = tempfile::tempdir().unwrap();
        let archive = open(folder.path());
        let [second, first] = [put(&archive, 3_000), put(&archive, 1_000)].map(|info| info.number);
        let before = |start| archive.number_before("s", start);
        assert_eq!(before(Start::Server(0)), None);
        assert_eq!(before(Start::Producer(2_999)), Some(second));
        assert_eq!(before(Start::Producer(3_000)), None, "what came after it is late");
        assert_eq!(before(Start::Producer(5_000)), Some(first.clone()), "nothing is there yet");
        assert_eq!(before(Start::Server(6)), Some(first.clone()));
        assert_eq!(before(Start::Now), Some(first), "the newest is the one that came last");
        assert_eq!(archive.number_before("other", Start::Now), None);
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
        archive.store("s", &number, 3_000, 50, 4, &fragment(3_000)).unwrap();
        assert_eq!(archive.expire("s", 10).unwrap(), 1);
        assert_eq!(archive.fragments("s").len(), 1);
        assert_eq!(list(&folder.path().join("archive/s/fragments")).unwrap().len(), 1);
        drop(archive);
        assert_eq!(open(folder.path()).fragments("s").len(), 1);
    }

    /// A fragment of any header.
    fn with_header(timecode: u64, header: &'static str) -> Fragment {
        Fragment { header: Bytes::from_static(header.as_bytes()), ..fragment(timecode) }
    }

    #[test]
    fn a_header_goes_with_the_last_fragment_that_needs_it() {
        let folder = tempfile::tempdir().unwrap();
        let headers = || list(&folder.path().join("archive/s/headers")).unwrap().len();
        let put = |archive: &Archive, at: u64, header| {
            let number = archive.next_number("s");
            archive.store("s", &number, at, at, at, &with_header(at, header)).unwrap()
        };
        let archive = open(folder.path());
        for (at, header) in [(1, "old"), (2, "both"), (3, "both"), (4, "new")] {
            put(&archive, at, header);
        }
        archive.expire("s", 3).unwrap();
        assert_eq!(headers(), 2);
        // what is counted is what is on disk
        drop(archive);
        let archive = open(folder.path());
        archive.expire("s", 4).unwrap();
        assert_eq!(headers(), 1);
        let again = put(&archive, 5, "old");
        assert_eq!(archive.read_header("s", &again).unwrap(), "old");
        archive.expire("s", 6).unwrap();
        assert_eq!(headers(), 0);
    }

    /// Whoever stores while others expire has a header.
    #[test]
    fn what_is_stored_while_its_header_goes_can_be_read() {
        const KEPT: u64 = 1_000_000;
        let folder = tempfile::tempdir().unwrap();
        let archive = open(folder.path());
        std::thread::scope(|scope| {
            for session in 0..3_u64 {
                let archive = &archive;
                scope.spawn(move || {
                    for n in 0..8 {
                        let at = 1 + session + 10 * n;
                        let store = |server_ms| {
                            let number = archive.next_number("s");
                            // each other time all that need the header may be gone
                            let header = if n % 2 == 0 { "even" } else { "odd" };
                            archive.store("s", &number, at, server_ms, at, &with_header(at, header)).unwrap()
                        };
                        store(at);
                        let kept = (n > 4).then(|| store(KEPT));
                        archive.expire("s", KEPT).unwrap();
                        assert!(kept.is_none_or(|kept| archive.read("s", &kept).is_ok()));
                    }
                });
            }
        });
        archive.expire("s", KEPT + 1).unwrap();
        assert_eq!(list(&folder.path().join("archive/s/headers")).unwrap().len(), 0);
    }

    /// Each way to ask finds what looking at every fragment would find.
    #[test]
    fn every_order_holds_the_same_fragments() {
        let folder = tempfile::tempdir().unwrap();
        let archive = open(folder.path());
        proptest!(|(
            times in prop::collection::vec((0..12_u64, 0..12_u64, 0..4_u64), 0..24),
            gone in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
            (from_ms, to_ms, at) in (0..12_u64, 0..14_u64, 0..16_u64), most in 1..5_usize,
        )| {
            archive.streams.lock().clear();
            let mut all: Vec<FragmentInfo> = Vec::new();
            for (number, (producer_ms, server_ms, duration_ms)) in (0_u64..).zip(&times) {
                let of = fragment(*producer_ms);
                let number = format!("{number:047}");
                let mut info = FragmentInfo::of(&of, number, *producer_ms, *server_ms, 0, String::new());
                info.duration_ms = *duration_ms;
                archive.streams.lock().entry("s".to_owned()).or_default().insert(info.clone());
                all.push(info);
            }
            for index in gone.iter().filter(|_| !times.is_empty()) {
                let number = format!("{:047}", index.index(times.len()));
                archive.streams.lock().get_mut("s").unwrap().remove(&number);
                all.retain(|info| info.number != number);
            }
            let replaced = |info: &FragmentInfo| {
                all.iter().any(|other| other.producer_ms == info.producer_ms && other.number > info.number)
            };
            let numbers = |found: &[Arc<FragmentInfo>]| {
                found.iter().map(|info| info.number.clone()).collect::<Vec<_>>()
            };
            let sorted = |wanted: &dyn Fn(&FragmentInfo) -> bool, key: fn(&FragmentInfo) -> u64| {
                let mut found: Vec<&FragmentInfo> = all.iter().filter(|info| wanted(info)).collect();
                found.sort_by_key(|info| (key(info), info.number.clone()));
                found.iter().map(|info| info.number.clone()).collect::<Vec<_>>()
            };
            let given = sorted(&|info| !replaced(info), |info| info.producer_ms);
            prop_assert_eq!(numbers(&archive.fragments("s")), &given[..]);
            let summary = archive.summary("s");
            prop_assert_eq!(summary.fragments as usize, given.len());
            prop_assert_eq!(summary.duplicates as usize, all.len() - given.len());
            for kind in [TimestampKind::Producer, TimestampKind::Server] {
                let selector = Selector { kind, from_ms, to_ms };
                let within = |info: &FragmentInfo| (from_ms..=to_ms).contains(&kind.of(info));
                let wanted = match kind {
                    TimestampKind::Producer => {
                        sorted(&|info| within(info) && !replaced(info), |info| info.producer_ms)
                    }
                    TimestampKind::Server => sorted(&within, |info| info.server_ms),
                };
                let (mut found, mut last) = (Vec::new(), None);
                loop {
                    let page = archive.selected("s", selector, last.as_deref(), most);
                    prop_assert!(page.len() <= most);
                    let Some(end) = page.last().cloned() else { break };
                    last = Some(end);
                    found.extend(numbers(&page));
                }
                prop_assert_eq!(found, wanted);
                for selector in [None, Some(selector)] {
                    let wanted =
                        sorted(&|info| selector.is_none() || within(info), |info| info.producer_ms);
                    let (mut found, mut after) = (Vec::new(), None);
                    loop {
                        let page = archive.page("s", selector, most, after.as_ref());
                        found.extend(numbers(&page.fragments));
                        after = page.next;
                        if after.is_none() {
                            break;
                        }
                        prop_assert_eq!(page.fragments.len(), most);
                    }
                    prop_assert_eq!(found, wanted);
                }
            }
            let holds = |info: &&FragmentInfo| info.producer_ms <= at && at < info.end_ms();
            let by_time = given.iter().filter_map(|number| all.iter().find(|info| info.number == *number));
            let begun = by_time.clone().take_while(|info| info.producer_ms <= at).last();
            let next = by_time.clone().find(|info| info.producer_ms > at);
            let producer = begun.filter(holds).or(next);
            let server = all.iter().min_by_key(|info| match info.server_ms >= at {
                true => (false, info.server_ms, info.number.clone()),
                false => (true, 0, String::new()),
            });
            let server = server.filter(|info| info.server_ms >= at);
            let starts = [(Start::Now, None), (Start::Producer(at), producer), (Start::Server(at), server)];
            for (start, first) in starts {
                let before = all.iter().filter(|info| first.is_none_or(|first| info.number < first.number));
                let wanted = before.map(|info| info.number.clone()).next_back();
                prop_assert_eq!(archive.number_before("s", start), wanted, "{:?}", start);
            }
        });
    }

    fn described() -> Stream {
        Stream {
            arn: "arn:aws:kinesisvideo:r-1:000000000000:stream/s/1".to_owned(),
            name: "s".to_owned(),
            region: "r-1".to_owned(),
            device_name: None,
            media_type: None,
            kms_key_id: "k".to_owned(),
            retention_hours: 1,
            storage_tier: "HOT".to_owned(),
            version: "v1".to_owned(),
            created_ms: 1,
            tags: BTreeMap::new(),
            images: None,
            notifications: None,
            edge: None,
            transition: None,
        }
    }

    /// The index is lost or emptied: everything that was stored is there again, and nothing else is.
    #[test]
    fn a_lost_index_is_made_anew_of_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let stream = described();
        let stored: Vec<_> = {
            let archive = open(folder.path());
            archive.describe(&stream, "1").unwrap();
            let store = |timecode| {
                let number = archive.next_number(&stream.folder());
                archive.store(&stream.folder(), &number, timecode, 5, 4, &fragment(timecode)).unwrap()
            };
            [1_000, 3_000].map(store).into()
        };
        let half = folder.path().join("archive").join(stream.folder()).join("fragments/9.x.part");
        fs::write(&half, "half a frag").unwrap();
        for lose in [|path: &Path| fs::remove_file(path).unwrap(), |path: &Path| fs::write(path, "").unwrap()]
        {
            lose(&folder.path().join("index.redb"));
            // who is killed before the streams are in the index finds them again
            drop(Archive::open(folder.path(), index(folder.path())).unwrap());
            let (archive, streams) = Archive::open(folder.path(), index(folder.path())).unwrap();
            assert_eq!(streams.iter().map(|found| &found.arn).collect::<Vec<_>>(), [&stream.arn]);
            let found: Vec<_> =
                archive.fragments(&stream.folder()).iter().map(|info| (**info).clone()).collect();
            assert_eq!(found, stored);
            assert_eq!(archive.read(&stream.folder(), &found[1]).unwrap().1, "fragment 3000");
            assert!(!half.exists());
        }
        // what an older version wrote cannot be found again, and is not thrown away
        fs::remove_file(folder.path().join("index.redb")).unwrap();
        fs::remove_file(folder.path().join("archive").join(stream.folder()).join(DESCRIPTION)).unwrap();
        // however often it is tried
        for _ in 0..3 {
            let error = Archive::open(folder.path(), index(folder.path())).unwrap_err();
            assert!(matches!(error, StoreError::Unknown(_)), "{error}");
        }
        assert_eq!(
            list(&folder.path().join("archive").join(stream.folder()).join("fragments")).unwrap().len(),
            2
        );
    }

    /// The process ends between the rows and the files of what has expired.
    #[test]
    fn what_is_left_of_an_end_in_the_middle_goes_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let (kept, expired) = {
            let archive = open(folder.path());
            (put(&archive, 1_000), put(&archive, 3_000))
        };
        index(folder.path())
            .write(|write| {
                write.open_table(FRAGMENTS)?.remove(("s", expired.number.as_str()))?;
                Ok(())
            })
            .unwrap();
        let archive = open(folder.path());
        assert_eq!(
            archive.fragments("s").iter().map(|info| &info.number).collect::<Vec<_>>(),
            [&kept.number]
        );
        assert_eq!(list(&folder.path().join("archive/s/fragments")).unwrap().len(), 1);
    }
}
