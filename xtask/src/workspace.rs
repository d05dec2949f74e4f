//! Where things are in the repository, and how its parts are built.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::say;

/// The repository's root folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(1).unwrap_or(Path::new(".")).to_owned()
}

/// The folders of the workspace's members, as its Cargo.toml lists them.
pub fn members() -> Result<Vec<String>> {
    let path = root().join("Cargo.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let list = text.split_once("members = [").and_then(|(_, rest)| rest.split_once(']'));
    let (list, _) = list.with_context(|| format!("no members in {}", path.display()))?;
    Ok(list.split('"').skip(1).step_by(2).map(str::to_owned).collect())
}

/// Cargo's target folder.
pub fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// A binary of this workspace, as `cargo build` leaves it.
pub fn binary(name: &str) -> PathBuf {
    target().join("debug").join(name)
}

pub fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// `cargo build --package …` for each of `packages`, its progress shown.
pub fn build(packages: &[&str]) -> Result<()> {
    let mut command = cargo();
    command.args(["build", "--locked"]);
    for package in packages {
        command.args(["--package", package]);
    }
    run(&mut command)
}

/// The folder of the page that `kvs-local` serves, built by npm when its sources are newer than the last build.
pub fn build_page() -> Result<PathBuf> {
    let source = root().join("crates/local/web");
    let out = target().join("web");
    let stamp = out.join("index.html");
    let built = modified(&stamp);
    if built.is_some() && newest(&source)? <= built {
        return Ok(out);
    }
    say!("Building the page");
    npm_ci(&source)?;
    run(Command::new("npm")
        .args(["run", "--silent", "build", "--", "--outdir"])
        .arg(&out)
        .current_dir(&source))?;
    if !stamp.exists() {
        bail!("`npm run build` in crates/local/web left no {}", stamp.display());
    }
    Ok(out)
}

/// `npm ci` in `folder`, unless the installed modules are those of its lock file.
pub fn npm_ci(folder: &Path) -> Result<()> {
    let installed = modified(&folder.join("node_modules/.package-lock.json"));
    if installed.is_some() && modified(&folder.join("package-lock.json")) <= installed {
        return Ok(());
    }
    run(Command::new("npm")
        .args(["ci", "--no-audit", "--no-fund", "--loglevel=error"])
        .stdout(Stdio::null())
        .current_dir(folder))
}

pub fn modified(path: &Path) -> Option<std::time::SystemTime> {
    fs::metadata(path).and_then(|data| data.modified()).ok()
}

/// When the youngest file under `folder` was changed; `node_modules` and `dist` do not count.
pub fn newest(folder: &Path) -> Result<Option<std::time::SystemTime>> {
    let mut newest = None;
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let time = match path.file_name().and_then(|name| name.to_str()) {
            Some("node_modules" | "dist") => None,
            _ if path.is_dir() => self::newest(&path)?,
            _ => modified(&path),
        };
        newest = newest.max(time);
    }
    Ok(newest)
}

/// Runs a command to its end and fails with its name when it fails.
pub fn run(command: &mut Command) -> Result<()> {
    let command_line = show(command);
    let status =
        command.stdin(Stdio::null()).status().with_context(|| format!("cannot run `{command_line}`"))?;
    if !status.success() {
        bail!("`{command_line}` ended with {status}");
    }
    Ok(())
}

/// A command as a person would type it.
pub fn show(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let mut text = program.to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_folders_with_a_manifest() {
        let members = members().unwrap();
        assert!(members.len() > 10 && members.contains(&"xtask".to_owned()), "{members:?}");
        for member in members {
            assert!(root().join(&member).join("Cargo.toml").is_file(), "{member}");
        }
    }
}
