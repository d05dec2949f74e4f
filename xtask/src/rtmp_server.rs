//! nginx with its RTMP module, for the demo and the suite `rtmp`.
//!
//! It is not installed: Debian's package would start a web server on port 80 of this machine. Its files are unpacked under the
//! target folder, which takes no root either; where the package is installed already, that one does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::say;
use crate::workspace::{run, target};

/// Debian's packages: the server, TLS in front of it for the suite, and the one library of theirs that not every machine has.
const PACKAGES: [&str; 4] = ["nginx", "libnginx-mod-rtmp", "stunnel4", "libwrap0"];

/// What is used of them, below the root of a system.
const SERVER: &str = "usr/sbin/nginx";
const MODULE: &str = "usr/lib/nginx/modules/ngx_rtmp_module.so";
const TLS: &str = "usr/bin/stunnel4";

/// The server and its module.
pub struct Files {
    pub server: PathBuf,
    pub module: PathBuf,
}

/// Why this machine cannot have them, if it cannot.
pub fn missing() -> Option<String> {
    let here = find(&unpacked()).is_some() || find(Path::new("/")).is_some();
    let can = Path::new("/usr/bin/apt-get").exists();
    (!here && !can)
        .then(|| format!("this machine has no nginx with its RTMP module (Debian: {})", PACKAGES.join(", ")))
}

/// Unpacks what is missing.
pub fn ensure() -> Result<Files> {
    if let Some(files) = find(Path::new("/")).or_else(|| find(&unpacked())) {
        return Ok(files);
    }
    if let Some(reason) = missing() {
        bail!("{reason}");
    }
    say!("Fetching {}", PACKAGES.join(", "));
    // Renamed when it is whole.
    let part = unpacked().with_extension("part");
    if part.exists() {
        fs::remove_dir_all(&part).with_context(|| format!("cannot empty {}", part.display()))?;
    }
    fs::create_dir_all(&part).with_context(|| format!("cannot make {}", part.display()))?;
    let script = "set -eu; apt-get download -qq -o APT::Sandbox::User=root \"$@\"; \
                  for package in *.deb; do dpkg-deb --extract \"$package\" .; rm \"$package\"; done";
    run(Command::new("sh").args(["-c", script, "sh"]).args(PACKAGES).current_dir(&part))
        .context("fetching packages: `apt-get update` may help, or installing them")?;
    fs::rename(&part, unpacked()).with_context(|| format!("cannot rename {}", part.display()))?;
    find(&unpacked()).with_context(|| format!("the packages {} hold something else", PACKAGES.join(", ")))
}

/// Where the tests find them, too.
fn unpacked() -> PathBuf {
    target().join("tools/rtmp")
}

fn find(root: &Path) -> Option<Files> {
    let [server, module, tls] = [SERVER, MODULE, TLS].map(|file| root.join(file));
    (server.exists() && module.exists() && tls.exists()).then_some(Files { server, module })
}
