//! nginx with its RTMP module, which writes what it receives into FLV files.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::process::{Child, Command};

use super::{Recorder, address, tools};

const CONFIGURATION: &str = include_str!("../../rtmp/nginx.conf");

/// A server that takes broadcasts of one stream key; killed when dropped.
pub struct Nginx {
    /// When it is not away.
    child: Option<Child>,
    folder: PathBuf,
    address: SocketAddr,
}

impl Nginx {
    /// Starts one that keeps its files in `folder`, and takes broadcasts of this stream key alone.
    pub async fn start(folder: &Path, key: &str) -> Result<Self> {
        let address = address::free()?;
        let words = [
            ("module", tools::find("usr/lib/nginx/modules/ngx_rtmp_module.so")?.display().to_string()),
            ("folder", folder.display().to_string()),
            ("rtmp", address.to_string()),
            ("http", address::free()?.to_string()),
            ("key", key.to_owned()),
        ];
        let mut text = CONFIGURATION.to_owned();
        for (word, value) in words {
            text = text.replace(&format!("@{word}@"), &value);
        }
        for below in ["received", "temp"] {
            fs::create_dir_all(folder.join(below))?;
        }
        fs::write(folder.join("nginx.conf"), text)?;
        let mut nginx = Self { child: None, folder: folder.to_owned(), address };
        nginx.start_again().await?;
        Ok(nginx)
    }

    /// At the same address, after [`Self::kill`].
    pub async fn start_again(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "it runs");
        let log = File::options().create(true).append(true).open(self.log_file())?;
        let mut command = tools::command(&tools::find("usr/sbin/nginx")?);
        let child = command
            .arg("-p")
            .arg(&self.folder)
            .arg("-c")
            .arg(self.folder.join("nginx.conf"))
            // Where it complains until it has read its configuration.
            .args(["-e", "stderr"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start nginx")?;
        let child = self.child.insert(child);
        let listens = address::listens(self.address, child).await;
        listens.with_context(|| self.log())
    }

    /// SIGKILL: its connections end without a word.
    pub async fn kill(&mut self) -> Result<()> {
        self.child.take().context("it is away already")?.kill().await.context("cannot kill nginx")
    }

    /// It stops reading, and the kernel goes on taking what fits into its buffers.
    pub async fn freeze(&self) -> Result<()> {
        self.signal("-STOP").await
    }

    /// It reads again.
    pub async fn thaw(&self) -> Result<()> {
        self.signal("-CONT").await
    }

    async fn signal(&self, signal: &str) -> Result<()> {
        let id = self.child.as_ref().and_then(Child::id).context("nginx has ended")?;
        let sent = Command::new("kill").args([signal, &id.to_string()]).status().await?;
        ensure!(sent.success(), "cannot signal nginx");
        Ok(())
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `rtmp://…/live`, without the stream key.
    pub fn url(&self) -> String {
        format!("rtmp://{}/live", self.address)
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("nginx.log")
    }
}

impl Recorder for Nginx {
    fn received(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.folder.join("received"))? {
            files.push(entry?.path());
        }
        files.sort();
        Ok(files)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }
}
