//! What suites build before their tests run.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::workspace::{build, run, target};

/// The binaries that the end-to-end suites start. All of them at once, whichever the suite needs: what is built together
/// shares the features of its dependencies, which cargo would otherwise compile again for each set.
pub fn binaries() -> Result<()> {
    build(&["kvs-local", "kvs-ingest-agent", "kvs-ingest-operator", "gst-plugin-kvssink"])
}

/// The Python of the virtual environment `name` with the packages of `requirements`, made when it is missing or older.
pub fn virtual_environment(name: &str, requirements: &Path) -> Result<PathBuf> {
    let folder = target().join(name);
    let stamp = folder.join("requirements.txt");
    let wanted =
        std::fs::read(requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    if std::fs::read(&stamp).ok().as_ref() != Some(&wanted) {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
        run(Command::new(folder.join("bin/pip"))
            .args(["install", "--quiet", "--requirement"])
            .arg(requirements))?;
        std::fs::write(&stamp, wanted)?;
    }
    Ok(folder.join("bin/python"))
}
