//! Compiles what the suites run: everything by one command where all suites run, else what a suite asks for.
//!
//! Packages that are built together share the features of their dependencies; cargo compiles these again for every other
//! set of packages. And clippy-driver, in rustc's place, lints the code that it compiles: no second pass is needed for that.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::workspace::{build, cargo};

/// The package of the end-to-end suites.
pub const TESTS: &str = "kvs-ingest-tests";

/// The name of their library.
pub const LIBRARY: &str = "kvs_ingest_tests";

/// xtask runs while the others are compiled, and a program that runs must not be replaced.
pub const XTASK: &str = "xtask";

/// A test executable of this workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// The package's folder.
    pub folder: PathBuf,
    /// The name of the library, binary or integration test.
    pub name: String,
    pub executable: PathBuf,
}

impl Test {
    /// Runs it as `cargo test` does.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.executable);
        command.current_dir(&self.folder).env("CARGO_MANIFEST_DIR", &self.folder);
        command
    }
}

/// The binaries that the end-to-end suites start. All of them at once, whichever the suite needs: what is built together
/// shares the features of its dependencies.
pub fn binaries() -> Result<()> {
    build(&["kvs-local", "kvs-ingest-agent", "kvs-ingest-operator", "gst-plugin-kvssink"])
}

/// `cargo build` of all packages and targets, with lints; warnings are errors.
pub fn whole() -> Result<Command> {
    let mut command = linted(cargo())?;
    command.args(["build", "--locked", "--workspace", "--exclude", XTASK, "--all-targets"]);
    command.arg(MESSAGES);
    Ok(command)
}

/// The examples in the documentation of what [`whole`] compiled.
pub fn documentation() -> Result<Command> {
    let mut command = linted(cargo())?;
    command.args(["test", "--locked", "--workspace", "--exclude", XTASK, "--doc"]);
    Ok(command)
}

/// `cargo test --no-run` of some.
pub fn some<S: AsRef<OsStr>>(selection: impl IntoIterator<Item = S>) -> Command {
    let mut command = cargo();
    command.args(["test", "--locked", "--no-run", MESSAGES]).args(selection);
    command
}

/// The messages of the compiler as text on standard error, what was made as JSON on standard output.
const MESSAGES: &str = "--message-format=json-render-diagnostics";

/// As `cargo clippy` does it, but for `cargo build`, too.
fn linted(mut cargo: Command) -> Result<Command> {
    let sysroot = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--print", "sysroot"])
        .output()
        .context("cannot run rustc")?;
    let sysroot = String::from_utf8(sysroot.stdout).context("the path of Rust is not UTF-8")?;
    cargo
        .env("RUSTC_WORKSPACE_WRAPPER", Path::new(sysroot.trim_end()).join("bin/clippy-driver"))
        .env("CLIPPY_ARGS", "-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__");
    Ok(cargo)
}

/// The test executable that a line of cargo's is about, if it is about one.
pub fn test(line: &str) -> Option<Test> {
    #[derive(Deserialize)]
    struct Artifact {
        manifest_path: PathBuf,
        target: Target,
        profile: Profile,
        executable: Option<PathBuf>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
        kind: Vec<String>,
    }
    #[derive(Deserialize)]
    struct Profile {
        test: bool,
    }
    let artifact: Artifact = serde_json::from_str(line).ok()?;
    let runs =
        |kind: &String| matches!(kind.as_str(), "lib" | "rlib" | "cdylib" | "proc-macro" | "bin" | "test");
    let is_test = artifact.profile.test && artifact.target.kind.iter().any(runs);
    let executable = artifact.executable.filter(|_| is_test)?;
    let folder = artifact.manifest_path.parent()?.to_owned();
    Some(Test { folder, name: artifact.target.name, executable })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(kind: &str, test: bool, executable: &str) -> String {
        format!(
            r#"{{"reason":"compiler-artifact","package_id":"path+file:///w/agent#0.1.0","manifest_path":"/w/agent/Cargo.toml",
            "target":{{"kind":["{kind}"],"crate_types":["bin"],"name":"goodbye","src_path":"/w/agent/g.rs"}},
            "profile":{{"opt_level":"0","debuginfo":1,"test":{test}}},"features":[],"filenames":[],"executable":{executable},
            "fresh":true}}"#
        )
    }

    #[test]
    fn tests_are_found_among_what_cargo_made() {
        let found = test(&line("test", true, "\"/w/target/debug/deps/goodbye-1\"")).unwrap();
        assert_eq!(
            (found.folder.as_path(), found.name.as_str(), found.executable.as_path()),
            (Path::new("/w/agent"), "goodbye", Path::new("/w/target/debug/deps/goodbye-1"))
        );
        for other in [
            line("bin", false, "\"/w/target/debug/agent\""),
            line("bench", true, "\"/w/target/debug/deps/agent-1\""),
            line("test", true, "null"),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
            "running 3 tests".to_owned(),
        ] {
            assert_eq!(test(&other), None, "{other}");
        }
    }
}
