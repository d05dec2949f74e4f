//! The folders of nodes: one for each cluster, with what has to be cleaned up.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Machine-wide, on a file system that a restart of the machine empties.
pub const RUN: &str = "/run/kvs-ingest";

pub fn run_folder(dir: &Path) -> PathBuf {
    Path::new(RUN).join(id(dir))
}

/// The folders of all clusters with a node on this machine, running or left by a crash.
pub fn folders() -> Vec<PathBuf> {
    let mut folders: Vec<_> = fs::read_dir(RUN)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| fs::read(entry.path().join("dir")).ok())
        .map(|bytes| PathBuf::from(OsString::from_vec(bytes)))
        .collect();
    folders.sort();
    folders
}

/// Whether this machine has a node of ours, of whichever folder.
pub fn any_node() -> bool {
    fs::read_dir(RUN).is_ok_and(|entries| entries.flatten().any(|entry| entry.path().is_dir()))
}

/// From the folder alone (FNV-1a), so that what a crash left is found without any file. A link's name has 15 bytes.
pub fn id(dir: &Path) -> String {
    let hash = dir
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    format!("kvsi-{hash:08x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folders_id_is_always_the_same_and_fits_a_links_name() {
        assert_eq!(id(Path::new("/a")), "kvsi-70d2182d");
        assert_ne!(id(Path::new("/a")), id(Path::new("/b")));
        assert!(id(Path::new("/a/very/long/one")).len() <= 15);
    }
}
