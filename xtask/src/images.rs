//! `cargo xtask images`: the images of `deploy/images`, built by buildah from the same Dockerfiles that everybody uses.
//! Only the builder image differs: Debian made by mmdebstrap, with this machine's Rust mounted into it.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;

use crate::cluster::assets;
use crate::packages::{self, Group, on_path};
use crate::say;
use crate::workspace::{self, cargo, root, run, show, target};

/// What the images are built on; that of the Dockerfiles' own default.
const SUITE: &str = "trixie";
/// Where Debian is when this machine's apt does not say.
const DEBIAN: &str = "http://deb.debian.org/debian";

/// Cargo's profile for images that are only tried out.
pub const QUICK: &str = "quick";

pub const OPERATOR: &str = "operator";
pub const AGENT: &str = "agent";
pub const KVS_LOCAL: &str = "kvs-local";
pub const ALL: [&str; 3] = [OPERATOR, AGENT, KVS_LOCAL];

/// The user of all images.
const NONROOT: &str = "65532:65532";

/// What an image may have at most, in bytes uncompressed.
fn limit(name: &str) -> u64 {
    match name {
        AGENT => 60_000_000,
        _ => 30_000_000,
    }
}

#[derive(Args)]
pub struct Options {
    /// operator, agent or kvs-local; all of them when none is named
    #[arg(value_name = "IMAGE", value_parser = clap::builder::PossibleValuesParser::new(ALL))]
    only: Vec<String>,
    /// Cargo's profile: `release`, or `quick`, which the tests take
    #[arg(long, default_value = "release")]
    profile: String,
    /// Print one line of JSON: name, reference, archive, bytes of each
    #[arg(long)]
    json: bool,
    /// Fail when one is too large, runs as root or does not start
    #[arg(long)]
    check: bool,
}

/// An image in an archive that `ctr images import` and `docker load` read.
#[derive(Clone, Debug, Serialize)]
pub struct Image {
    pub name: String,
    /// `localhost/kvs-ingest-NAME:dev`
    pub reference: String,
    pub archive: PathBuf,
    /// Of its layers, uncompressed.
    pub bytes: u64,
}

pub fn run_command(options: &Options) -> Result<ExitCode> {
    let names: Vec<_> = if options.only.is_empty() {
        ALL.to_vec()
    } else {
        options.only.iter().map(String::as_str).collect()
    };
    let images = ensure(&names, &options.profile)?;
    if options.check {
        let _lock = assets::lock("images.lock")?;
        let store = Store::open()?;
        for image in &images {
            store.check(image).with_context(|| image.reference.clone())?;
        }
    }
    if options.json {
        say!("{}", serde_json::to_string(&images)?);
    } else {
        for image in &images {
            say!("{:<35} {:>5.1} MB  {}", image.reference, megabytes(image.bytes), image.archive.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Why this machine cannot build them, if it cannot. The tools themselves are installed when they are missing.
pub fn missing() -> Option<String> {
    if !cfg!(target_os = "linux") {
        return Some("images are built on Linux".to_owned());
    }
    if !nix::unistd::geteuid().is_root() {
        return Some(
            "building images here needs root (elsewhere: docker build -f deploy/images/…)".to_owned(),
        );
    }
    let lacking: Vec<_> = ["buildah", "mmdebstrap"].into_iter().filter(|tool| !on_path(tool)).collect();
    (!lacking.is_empty()).then(|| format!("there is no {}", lacking.join(" and no ")))
}

/// Builds the images `names`. What did not change is compiled only once.
pub fn ensure(names: &[&str], profile: &str) -> Result<Vec<Image>> {
    packages::ensure(&[Group::Images])?;
    if let Some(missing) = missing() {
        bail!(missing);
    }
    let _lock = assets::lock("images.lock")?;
    let store = Store::open()?;
    let builder = store.builder()?;
    let page = if names.contains(&KVS_LOCAL) {
        packages::ensure(&[Group::Web])?;
        Some(workspace::build_page()?)
    } else {
        None
    };
    // In the container cargo finds everything in this machine's registry.
    run(cargo().args(["fetch", "--locked", "--quiet"]))?;
    names.iter().map(|name| store.build(name, profile, &builder, page.as_deref())).collect()
}

/// The images of buildah, in a folder of our own beside the control plane's binaries.
struct Store {
    folder: PathBuf,
}

impl Store {
    fn open() -> Result<Self> {
        let folder = assets::cache_root().join("images");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let store = Self { folder };
        // What a run left behind that was killed.
        run_silently(store.buildah().args(["rm", "--all"]))?;
        Ok(store)
    }

    fn buildah(&self) -> Command {
        let mut buildah = Command::new("buildah");
        buildah
            .arg("--root")
            .arg(self.folder.join("storage"))
            .arg("--runroot")
            .arg(self.folder.join("run"))
            .args(["--storage-driver", "overlay"])
            .stdin(Stdio::null())
            .current_dir(root());
        buildah
    }

    fn has(&self, reference: &str) -> bool {
        self.buildah()
            .args(["inspect", "--type", "image", "--format", "{{.FromImageID}}", reference])
            .output()
            .is_ok_and(|output| output.status.success())
    }

    /// Debian with what it takes to compile all images, made once.
    fn builder(&self) -> Result<String> {
        let list = root().join("xtask/packages.txt");
        let script = root().join("deploy/images/packages.sh");
        let mut hasher = DefaultHasher::new();
        (SUITE, fs::read(&list)?, fs::read(&script)?).hash(&mut hasher);
        let reference = format!("localhost/kvs-ingest-builder:{:016x}", hasher.finish());
        if self.has(&reference) {
            return Ok(reference);
        }
        say!("Making a Debian {SUITE} that compiles, once: some 300 MB of packages");
        // Those of other versions of the list.
        run_silently(self.buildah().args(["rmi", "--all", "--force"]))?;
        let archive = self.folder.join("builder.tar");
        // The folder has the repository's files at the places that the script expects.
        let prepare = format!(
            "set -e; mkdir -p \"$1/src/xtask\" \"$1/src/deploy/images\"; cp '{}' \"$1/src/xtask/\"; \
             cp '{}' \"$1/src/deploy/images/\"; chroot \"$1\" /src/deploy/images/packages.sh agent >&2; \
             chroot \"$1\" /src/deploy/images/packages.sh kvs-local >&2; rm -r \"$1/src\"",
            list.display(),
            script.display()
        );
        let log = target().join("images/builder.log");
        fs::create_dir_all(log.parent().unwrap_or(Path::new(".")))?;
        let output = fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let status = Command::new("mmdebstrap")
            .args(["--variant=apt", "--include=ca-certificates"])
            .arg(format!("--customize-hook={prepare}"))
            .args([SUITE.as_ref(), archive.as_os_str()])
            .arg(format!("deb {} {SUITE} main", debian()))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .status()
            .context("cannot run mmdebstrap")?;
        if !status.success() {
            bail!("mmdebstrap ended with {status}\n{}", crate::process::tail(&log, 15));
        }
        let container = printed(self.buildah().args(["from", "scratch"]))?;
        run_silently(self.buildah().arg("add").arg(&container).arg(&archive).arg("/"))?;
        let paths = "/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        run_silently(
            self.buildah()
                .args(["config", "--env", &format!("PATH={paths}"), "--env", "CARGO_HOME=/usr/local/cargo"])
                .args(["--env", "CARGO_NET_OFFLINE=true", &container]),
        )?;
        run_silently(self.buildah().args(["commit", "--quiet", "--rm", &container, &reference]))?;
        fs::remove_file(&archive)?;
        Ok(reference)
    }

    fn build(&self, name: &str, profile: &str, builder: &str, page: Option<&Path>) -> Result<Image> {
        let reference = format!("localhost/kvs-ingest-{name}:dev");
        let folder = target().join("images").join(profile);
        fs::create_dir_all(&folder)?;
        let archive = folder.join(format!("{name}.tar"));
        if is_fresh(&archive)? {
            let bytes = fs::metadata(&archive)?.len();
            return Ok(Image { name: name.to_owned(), reference, archive, bytes });
        }
        say!("Building {reference}");
        let compiled = target().join("images/target");
        fs::create_dir_all(&compiled)?;
        let sysroot = printed(cargo_rustc().args(["--print", "sysroot"]))?;
        let mut build = self.buildah();
        build
            .args(["build", "--quiet", "--isolation", "chroot", "--pull-never", "--format", "docker"])
            .args(["--build-arg", &format!("BUILDER={builder}"), "--build-arg", &format!("NODE={builder}")])
            .args(["--build-arg", &format!("PROFILE={profile}")])
            .args(["--volume", &format!("{sysroot}:/usr/local/rust:ro")])
            .args(["--volume", &format!("{}:/usr/local/cargo/registry", registry()?.display())])
            .args(["--volume", &format!("{}:/target", compiled.display())]);
        if let Some(page) = page {
            build.args(["--volume", &format!("{}:/page:ro", page.display())]);
        }
        build.args(["--file", &format!("deploy/images/{name}.Dockerfile"), "--tag", &reference, "."]);
        run(&mut build)?;
        // It does not write over one that is there.
        if archive.exists() {
            fs::remove_file(&archive)?;
        }
        run(self
            .buildah()
            .args(["push", "--quiet", &reference])
            .arg(format!("docker-archive:{}:{reference}", archive.display())))?;
        let bytes = fs::metadata(&archive)?.len();
        Ok(Image { name: name.to_owned(), reference, archive, bytes })
    }

    fn check(&self, image: &Image) -> Result<()> {
        let most = limit(&image.name);
        if image.bytes > most {
            bail!("{:.1} MB uncompressed, at most {:.0} MB", megabytes(image.bytes), megabytes(most));
        }
        let text = printed(self.buildah().args(["inspect", "--type", "image", &image.reference]))?;
        let mut inspected: serde_json::Value = serde_json::from_str(&text)?;
        let config = inspected["Docker"]["config"].take();
        if config["User"] != NONROOT {
            bail!("its user is {}, not {NONROOT}", config["User"]);
        }
        // Whatever it loads is there.
        let program = config["Entrypoint"][0].as_str().context("it has no entry point")?.to_owned();
        let container = printed(self.buildah().args(["from", "--pull-never", &image.reference]))?;
        let answer =
            printed(self.buildah().args(["run", "--isolation", "chroot", &container, &program, "--version"]));
        let packages = printed(self.buildah().args(["mount", &container]))
            .and_then(|folder| bill_of_materials(&image.name, Path::new(&folder)));
        run_silently(self.buildah().args(["rm", &container]))?;
        let answer = answer?;
        packages.context("what scanners read of its packages")?;
        if !answer.ends_with(env!("CARGO_PKG_VERSION")) {
            bail!("`{program} --version` says {answer:?}");
        }
        Ok(())
    }
}

/// Debian's packages of which there are files, by name; those that every image, or this one, certainly has.
fn expected_packages(name: &str) -> Vec<&'static str> {
    let mut packages = vec!["ca-certificates", "libc6"];
    if name == AGENT {
        packages.extend(["gstreamer1.0-plugins-bad", "libgstreamer1.0-0", "libvo-aacenc0"]);
    }
    packages
}

/// An image says which packages of which distribution it has, as Syft, Grype and Trivy look for them where there is no dpkg.
fn bill_of_materials(name: &str, image: &Path) -> Result<()> {
    let distribution = fs::read_to_string(image.join("etc/os-release")).context("etc/os-release")?;
    if !distribution.lines().any(|line| line == "ID=debian") {
        bail!("etc/os-release is not of Debian");
    }
    let folder = image.join("var/lib/dpkg/status.d");
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).context("var/lib/dpkg/status.d")? {
        let package = entry?.file_name().to_string_lossy().into_owned();
        let stanza = fs::read_to_string(folder.join(&package))?;
        let field =
            |field: &str| stanza.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(": "));
        if field("Package") != Some(&package) || field("Version").is_none() || field("Architecture").is_none()
        {
            bail!("var/lib/dpkg/status.d/{package} has no Package, Version or Architecture");
        }
        found.push(package);
    }
    let absent: Vec<_> =
        expected_packages(name).into_iter().filter(|name| !found.iter().any(|found| found == name)).collect();
    if absent.is_empty() { Ok(()) } else { bail!("{} are not among {found:?}", absent.join(", ")) }
}

/// Is this archive younger than everything that an image is made of?
fn is_fresh(archive: &Path) -> Result<bool> {
    let Some(packed) = workspace::modified(archive) else { return Ok(false) };
    for part in ["Cargo.lock", "Cargo.toml", "xtask/packages.txt"] {
        if workspace::modified(&root().join(part)) >= Some(packed) {
            return Ok(false);
        }
    }
    for folder in ["agent", "crates", "deploy/images", "operator"] {
        if workspace::newest(&root().join(folder))? >= Some(packed) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn cargo_rustc() -> Command {
    Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

/// Where cargo keeps the sources of crates.
fn registry() -> Result<PathBuf> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))
        .context("neither CARGO_HOME nor HOME is set")?;
    Ok(home.join("registry"))
}

/// Where this machine's apt has Debian from, so that a mirror that it uses is used here.
fn debian() -> String {
    let known = Command::new("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI) $(ORIGIN) $(COMPONENT) $(LABEL)"])
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    let uri = known.lines().find_map(|line| {
        let (uri, rest) = line.split_once(' ')?;
        (rest == "Debian main Debian").then(|| uri.trim_end_matches('/').to_owned())
    });
    uri.unwrap_or_else(|| DEBIAN.to_owned())
}

/// The one line that a command prints.
fn printed(command: &mut Command) -> Result<String> {
    let command_line = show(command);
    let output = command.output().with_context(|| format!("cannot run `{command_line}`"))?;
    if !output.status.success() {
        bail!(
            "`{command_line}` ended with {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// A command whose output matters only when it fails.
fn run_silently(command: &mut Command) -> Result<()> {
    printed(command).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_read_as_scanners_do() {
        let image = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = image.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let check = || bill_of_materials(OPERATOR, image.path()).map_err(|error| format!("{error:#}"));
        assert!(check().unwrap_err().contains("os-release"));
        write("etc/os-release", "NAME=x\nID=debian\n");
        let stanza = |name: &str| format!("Package: {name}\nVersion: 1-2\nArchitecture: amd64\n");
        write("var/lib/dpkg/status.d/libc6", &stanza("libc6"));
        assert!(check().unwrap_err().contains("ca-certificates are not among"));
        write("var/lib/dpkg/status.d/ca-certificates", "Package: ca-certificates\n");
        assert!(check().unwrap_err().contains("ca-certificates has no"));
        write("var/lib/dpkg/status.d/ca-certificates", &stanza("ca-certificates"));
        assert_eq!(check(), Ok(()));
        assert!(bill_of_materials(AGENT, image.path()).is_err());
    }
}
