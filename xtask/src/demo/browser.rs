//! Chromium with a synthetic camera and microphone, and a picture of what it shows.

use std::env;
use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process::{Running, interrupted};
use crate::workspace::{self, npm_ci, root};

/// For Chromium to say where its devtools are.
const DEVTOOLS: Duration = Duration::from_secs(20);

pub struct Browser {
    running: Running,
    profile: PathBuf,
}

impl Browser {
    /// On the page `url`, which starts by itself.
    pub fn start(url: &str, folder: &Path) -> Result<Self> {
        let profile = folder.join("chromium");
        let mut command = Command::new("chromium");
        command
            .arg("--headless=new")
            .arg("--use-fake-device-for-media-stream=fps=30")
            .args(["--use-fake-ui-for-media-stream", "--autoplay-policy=no-user-gesture-required"])
            .args(["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"])
            .args(["--disable-background-networking", "--disable-component-update"])
            // A free port on 127.0.0.1, which it writes into its profile.
            .arg("--remote-debugging-port=0")
            .arg(format!("--user-data-dir={}", profile.display()));
        if nix::unistd::geteuid().is_root() {
            // Chromium's sandbox refuses to run as root.
            command.arg("--no-sandbox");
        }
        let running = Running::start("chromium", command.arg(url), &folder.join("chromium.log"))?;
        Ok(Self { running, profile })
    }

    pub fn check(&mut self) -> Result<()> {
        self.running.check()
    }

    /// Writes a PNG of the page.
    pub fn picture(&self, file: &Path) -> Result<()> {
        let scripts = root().join("tests/browser");
        npm_ci(&scripts)?;
        workspace::run(
            Command::new("node")
                .arg(scripts.join("picture.mjs"))
                .arg(format!("http://127.0.0.1:{}", self.devtools()?))
                .arg(file),
        )
    }

    fn devtools(&self) -> Result<u16> {
        let file = self.profile.join("DevToolsActivePort");
        let deadline = Instant::now() + DEVTOOLS;
        loop {
            let port = fs::read_to_string(&file).ok().and_then(|text| text.lines().next()?.parse().ok());
            if let Some(port) = port {
                return Ok(port);
            }
            if Instant::now() >= deadline || interrupted() {
                bail!("Chromium did not say in {} where its devtools are", file.display());
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// The folder for what is recorded, which is made.
pub fn recorded(folder: &Path, name: &str) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder.join(name))
}

/// Opens the page where there is a desktop to open it on.
pub fn open_in_browser(url: &str) -> bool {
    let desktop = env::var_os("DISPLAY").is_some() || env::var_os("WAYLAND_DISPLAY").is_some();
    desktop
        && std::io::stdout().is_terminal()
        && Command::new("xdg-open")
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
}
