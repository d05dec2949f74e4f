//! The folder of a cluster: claimed before anything starts in it, taken away when all has ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::node;
use super::processes::{end, processes_of};

/// Says what was started or noted in its folder.
pub const FILE: &str = "cluster.json";
/// What is in the file until the first part runs.
const CLAIM: &[u8] = b"{}\n";

/// Makes the folder of a new control plane. One that holds something else is refused: `down` would take it away.
pub fn claim(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let empty = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?.next().is_none();
    if !empty && !is_clusters(dir) {
        bail!("{} is not empty, and what is in it is no cluster's: name another folder", dir.display());
    }
    if empty {
        // What a crash leaves behind is recognized by it.
        fs::write(dir.join(FILE), CLAIM).with_context(|| format!("cannot write {}", dir.display()))?;
    }
    Ok(())
}

/// Ends whatever was started in this folder, the last started first, whether or not a file names it, and takes the
/// folder away. False: there was nothing.
pub fn clear(dir: &Path) -> Result<bool> {
    // Somebody may have removed it already.
    let dir = dir.canonicalize().or_else(|_| std::path::absolute(dir))?;
    // First, and an error ends it: what is mounted in the folder would be removed with it.
    let had_node = node::clear(&dir)?;
    let ours = processes_of(&dir)?;
    for id in ours.iter().rev() {
        end(*id, &dir, Duration::from_secs(3));
    }
    let found = had_node || !ours.is_empty() || is_clusters(&dir);
    if found && dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    Ok(found)
}

/// The field that every `cluster.json` has.
#[derive(Deserialize)]
struct Noted {
    dir: PathBuf,
}

/// Whether the folder was made by `claim`, or its file says that a cluster was started or noted there.
fn is_clusters(dir: &Path) -> bool {
    let named = fs::read(dir.join(FILE)).ok().and_then(|text| serde_json::from_slice::<Noted>(&text).ok());
    named.is_some_and(|noted| dir.canonicalize().is_ok_and(|dir| dir == noted.dir))
        || fs::read(dir.join(FILE)).is_ok_and(|text| text == CLAIM)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};
    use std::thread;
    use std::time::Instant;

    use super::super::ControlPlane;
    use super::super::processes::{FOLDER, is_ours};
    use super::*;

    fn sleeper(dir: &Path) -> Child {
        let mut command = Command::new("sleep");
        let child = command.arg("60").env(FOLDER, dir).process_group(0).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        // The kernel shows a new process's environment a moment after it has told us that it runs.
        while !is_ours(i32::try_from(child.id()).unwrap(), dir) {
            assert!(Instant::now() < deadline, "sleep shows no environment");
            thread::yield_now();
        }
        child
    }

    #[test]
    fn a_folder_of_something_else_is_neither_used_nor_removed() {
        let folder = tempfile::tempdir().unwrap();
        // A file of the same name makes no difference.
        for file in ["thesis.txt", FILE] {
            fs::write(folder.path().join(file), "{\"years\": 4}").unwrap();
            let error = claim(folder.path()).unwrap_err().to_string();
            assert!(error.contains(&folder.path().display().to_string()), "{error}");
            assert!(!clear(folder.path()).unwrap());
            assert!(folder.path().join(file).exists());
        }
    }

    #[test]
    fn a_claimed_folder_is_claimed_again_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("a/b");
        claim(&dir).unwrap();
        claim(&dir).unwrap();
        assert!(ControlPlane::read(&dir).is_none());
        assert!(clear(&dir).unwrap());
        assert!(!dir.exists() && folder.path().join("a").exists());
    }

    #[test]
    fn what_no_file_names_is_ended_and_the_neighbours_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let (dir, neighbour) = (folder.path().join("one"), folder.path().join("one-more"));
        claim(&dir).unwrap();
        claim(&neighbour).unwrap();
        let (mut ours, mut theirs) = (sleeper(&dir), sleeper(&neighbour));
        assert!(clear(&dir).unwrap());
        assert!(ours.wait().unwrap().code().is_none(), "ended by a signal");
        assert!(theirs.try_wait().unwrap().is_none(), "the neighbour still runs");
        assert!(clear(&neighbour).unwrap());
        theirs.wait().unwrap();
    }
}
