//! One stream's folder of spooled fragments. All of this blocks; it is for a thread of its own.
//!
//! ```text
//! SPOOL/front-door-5a1c…/         one folder per stream: its name and a hash of region and name
//!     lock                        held while a process uses the folder; says which stream it is
//!     00000003-0000000100000007   a fragment: number of the run that wrote it, number in that run
//!     ….tmp                       one that is being written; deleted at the next start
//!     ….damaged                   one that cannot be read, for whoever wants to look at it
//! ```
//!
//! A file has its name only when all of it is on the disk (`fdatasync`, `rename`, `fsync` of the folder), so that it
//! outlives not only the process but also the power.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::file::{FileName, Found, SpoolKey};
use super::record::{Damage, PREFIX, Prefix, SpooledFragment};

/// Damaged files that are kept; of more, the oldest go.
const MAX_DAMAGED: usize = 8;

const DAMAGED: &str = ".damaged";

/// Why the spool cannot be used, or a fragment in it.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Somebody else has it.
    #[error("the spool {0} is in use by another sink or process")]
    InUse(PathBuf),
    /// A hash collision, or somebody moved folders.
    #[error("the spool {folder} belongs to the stream {found:?}")]
    OtherStream {
        /// The folder that was to be opened.
        folder: PathBuf,
        /// The stream that its files belong to.
        found: String,
    },
    /// The operating system says no.
    #[error("spool {path}: {error}")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What it says.
        error: io::Error,
    },
    /// Another version of this program wrote it, and may read it.
    #[error("the spooled fragment {path} is left where it is: {damage}")]
    OtherVersion {
        /// Where it is.
        path: PathBuf,
        /// Which version wrote it.
        damage: Damage,
    },
    /// A file is not what was written.
    #[error("the spooled fragment {path} is damaged and was set aside: {damage}")]
    Damaged {
        /// Where it was.
        path: PathBuf,
        /// What is wrong with it.
        damage: Damage,
    },
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> SpoolError + '_ {
    move |error| SpoolError::Io { path: path.to_owned(), error }
}

/// A folder that was opened, with what was in it.
#[derive(Debug)]
pub struct Opened {
    /// Open, and locked for this process.
    pub directory: Directory,
    /// Fragments, oldest first.
    pub found: Vec<Found>,
    /// What was wrong with files that were set aside, or are another version's.
    pub damaged: Vec<SpoolError>,
}

/// The folder of a stream. It is locked as long as this lives.
#[derive(Debug)]
pub struct Directory {
    folder: PathBuf,
    run: u64,
    /// The damaged files that are kept, at most [`MAX_DAMAGED`]: where a whole spool is damaged, nobody looks for them in the
    /// folder once for each.
    aside: RefCell<BTreeSet<FileName>>,
    _lock: File,
}

impl Directory {
    /// Opens the folder of `stream` (region and name) below `root`, and makes it when it is missing.
    ///
    /// # Errors
    /// [`SpoolError::InUse`] while somebody else has it; others when it cannot be read or written.
    pub fn open(root: &Path, stream: &str) -> Result<Opened, SpoolError> {
        let folder = root.join(folder_name(stream));
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        // What is in a folder outlives the power only when its own name does.
        let missing = |path: &Path| !fs::exists(path).unwrap_or(true);
        let unsynced = [missing(root).then(|| root.parent()).flatten(), missing(&folder).then_some(root)];
        builder.create(&folder).map_err(at(&folder))?;
        for parent in unsynced.into_iter().flatten().filter(|parent| !parent.as_os_str().is_empty()) {
            match sync(parent) {
                // A folder that one may write to and not read.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                result => result.map_err(at(parent))?,
            }
        }
        let lock = lock(&folder, stream)?;
        let (mut names, mut aside) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&folder).map_err(at(&folder))? {
            let entry = entry.map_err(at(&folder))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".tmp") {
                // Its fragment was never said to be there.
                let _ = fs::remove_file(entry.path());
            } else if let Some(name) = name.strip_suffix(DAMAGED) {
                aside.extend(FileName::parse(name));
            } else if let Some(name) = FileName::parse(&name) {
                names.push(name);
            }
        }
        names.sort_unstable();
        // Higher than all before, so that what is written from now on sorts behind.
        let run = names.iter().chain(&aside).map(|name| name.run).max().map_or(1, |last| last + 1);
        let directory = Self { folder, run, aside: RefCell::default(), _lock: lock };
        for name in aside {
            directory.keep_aside(name);
        }
        let (mut found, mut damaged) = (Vec::new(), Vec::new());
        for file in names {
            match directory.look(file) {
                Ok(entry) => found.push(entry),
                Err(error) => damaged.push(error),
            }
        }
        Ok(Opened { directory, found, damaged })
    }

    /// Number of this run: part of the names of what it writes.
    #[must_use]
    pub fn run(&self) -> u64 {
        self.run
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, file: FileName) -> PathBuf {
        self.folder.join(file.to_string())
    }

    /// Reads the head of a file.
    fn look(&self, file: FileName) -> Result<Found, SpoolError> {
        let path = self.path(file);
        let mut input = File::open(&path).map_err(at(&path))?;
        let length = input.metadata().map_err(at(&path))?.len();
        let mut read = || -> io::Result<Result<_, Damage>> {
            let mut prefix = [0; PREFIX];
            input.read_exact(&mut prefix)?;
            Ok(match Prefix::parse(&prefix) {
                Ok(prefix) if prefix.file_len() == length => {
                    let mut head = vec![0; prefix.head_len()];
                    input.read_exact(&mut head)?;
                    prefix.parse_head(&head)
                }
                Ok(prefix) => Err(Damage::Length { found: length, said: prefix.file_len() }),
                Err(damage) => Err(damage),
            })
        };
        match read() {
            Ok(Ok(head)) => Ok(Found { file, head, bytes: length }),
            Ok(Err(damage)) => Err(self.set_aside(file, damage)),
            // Not even a prefix.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.set_aside(file, Damage::NotOne))
            }
            Err(error) => Err(at(&path)(error)),
        }
    }

    fn set_aside(&self, file: FileName, damage: Damage) -> SpoolError {
        let path = self.path(file);
        if let Damage::Version(_) = damage {
            return SpoolError::OtherVersion { path, damage };
        }
        match fs::rename(&path, self.path_aside(file)) {
            Ok(()) => {
                self.keep_aside(file);
                SpoolError::Damaged { path, damage }
            }
            Err(error) => at(&path)(error),
        }
    }

    fn path_aside(&self, file: FileName) -> PathBuf {
        self.folder.join(format!("{file}{DAMAGED}"))
    }

    /// Of too many damaged files the oldest go: they take room that nobody counts.
    fn keep_aside(&self, file: FileName) {
        let mut aside = self.aside.borrow_mut();
        aside.insert(file);
        while aside.len() > MAX_DAMAGED
            && let Some(oldest) = aside.pop_first()
        {
            let _ = fs::remove_file(self.path_aside(oldest));
        }
    }

    /// Writes a fragment. It is there, all of it and for good, or it is not.
    ///
    /// # Errors
    /// When the disk is full, for one.
    pub fn write(&self, key: SpoolKey, fragment: &SpooledFragment) -> Result<(), SpoolError> {
        let path = self.path(key.file());
        let part = path.with_extension("tmp");
        let result = write_part(&part, fragment)
            .and_then(|()| fs::rename(&part, &path))
            .and_then(|()| sync(&self.folder));
        result.map_err(|error| {
            let _ = fs::remove_file(&part);
            let _ = fs::remove_file(&path);
            at(&path)(error)
        })
    }

    /// Reads a fragment.
    ///
    /// # Errors
    /// When it cannot be read, or is not what was written; then it is set aside.
    pub fn read(&self, key: SpoolKey) -> Result<SpooledFragment, SpoolError> {
        let path = self.path(key.file());
        let bytes = Bytes::from(fs::read(&path).map_err(at(&path))?);
        SpooledFragment::parse(&bytes).map_err(|damage| self.set_aside(key.file(), damage))
    }

    /// Deletes a fragment. Without `fsync`: one that comes back after a power failure is only sent twice.
    ///
    /// # Errors
    /// When it is there and cannot be deleted.
    pub fn delete(&self, key: SpoolKey) -> Result<(), SpoolError> {
        let path = self.path(key.file());
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&path)(error)),
            _ => Ok(()),
        }
    }
}

/// Has the names in a folder outlive the power.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn write_part(part: &Path, fragment: &SpooledFragment) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut out = BufWriter::with_capacity(64 << 10, options.open(part)?);
    fragment.write(&mut out)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_data()
}

/// Holds the folder. The lock goes with the process, however it ends.
fn lock(folder: &Path, stream: &str) -> Result<File, SpoolError> {
    let path = folder.join("lock");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = options.open(&path).map_err(at(&path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(SpoolError::InUse(folder.to_owned())),
        Err(TryLockError::Error(error)) => return Err(at(&path)(error)),
    }
    let mut found = String::new();
    file.read_to_string(&mut found).map_err(at(&path))?;
    match found.trim() {
        // New, or its disk was full.
        "" => writeln!(file, "{stream}").map_err(at(&path))?,
        found if found == stream => {}
        found => {
            return Err(SpoolError::OtherStream { folder: folder.to_owned(), found: found.to_owned() });
        }
    }
    Ok(file)
}

/// A name that any file system takes, different for different streams.
fn folder_name(stream: &str) -> String {
    let name = stream.rsplit('/').next().unwrap_or_default();
    let safe = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '_' };
    let name: String = name.chars().take(100).map(safe).collect();
    // FNV-1a: the same on every machine and in every version, which the standard library's hashes are not.
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = stream.bytes().fold(0xcbf2_9ce4_8422_2325, fnv);
    format!("{name}-{hash:016x}")
}
