//! What suites make before their tests run, beside what cargo compiles.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::images;
use crate::packages::on_path;
use crate::process::Running;
use crate::workspace::{root, run, target};

/// The Python of the virtual environment `name` with the packages of `requirements`, made when it is missing or older.
pub fn virtual_environment(name: &str, requirements: &Path) -> Result<PathBuf> {
    let folder = target().join(name);
    let stamp = folder.join("requirements.txt");
    let wanted = fs::read(requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    if fs::read(&stamp).ok().as_ref() != Some(&wanted) {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
        run(Command::new(folder.join("bin/pip"))
            .args(["install", "--quiet", "--requirement"])
            .arg(requirements))?;
        fs::write(&stamp, wanted)?;
    }
    Ok(folder.join("bin/python"))
}

/// Prometheus' own tool for rules: the machine's, or the one in Debian's package, without the server that this package would
/// start.
pub fn promtool() -> Result<PathBuf> {
    if on_path("promtool") {
        return Ok(PathBuf::from("promtool"));
    }
    let tool = target().join("tools/usr/bin/promtool");
    if !tool.exists() {
        let folder = target().join("tools");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let script = "set -eu; apt-get download -qq -o APT::Sandbox::User=root prometheus; \
                      dpkg-deb --fsys-tarfile prometheus_*.deb | tar --extract ./usr/bin/promtool; rm prometheus_*.deb";
        run(Command::new("sh").args(["-c", script]).current_dir(folder))?;
    }
    Ok(tool)
}

/// The images of the tests, made by a process that gives way to all others.
pub fn images_in_background() -> Result<Running> {
    let folder = target().join("suites");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut command = Command::new("nice");
    command.args(["-n", "19"]).arg(env::current_exe()?).args(["images", "--profile", images::QUICK]);
    Running::start("images", command.current_dir(root()), &folder.join("images.log"))
}
