//! npm's node-media-server, which writes what it receives into FLV files.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::process::{Child, Command};

use super::{Recorder, address};

/// A running one; killed when dropped.
pub struct NodeMediaServer {
    _child: Child,
    folder: PathBuf,
    address: SocketAddr,
}

impl NodeMediaServer {
    /// With its files in `folder`.
    pub async fn start(folder: &Path) -> Result<Self> {
        let program =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("rtmp/node_modules/node-media-server/bin/app.js");
        ensure!(program.exists(), "run `cargo xtask test rtmp`, or `npm ci` in tests/rtmp");
        fs::create_dir_all(folder)?;
        let address = address::free()?;
        let configuration = json!({
            "bind": address.ip(),
            "rtmp": {"port": address.port()},
            "record": {"auto": true, "path": folder.join("received")},
            "store": {"path": folder.join("store")},
            "webadmin": {"enable": false},
        });
        let file = folder.join("configuration.json");
        fs::write(&file, configuration.to_string())?;
        let log = File::create(folder.join("node.log"))?;
        let child = Command::new("node")
            .arg(program)
            .arg("--config")
            .arg(file)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start node")?;
        let mut server = Self { _child: child, folder: folder.to_owned(), address };
        address::listens(address, &mut server._child).await.with_context(|| server.log())?;
        Ok(server)
    }

    /// `rtmp://…/live`, without the stream key.
    pub fn url(&self) -> String {
        format!("rtmp://{}/live", self.address)
    }
}

impl Recorder for NodeMediaServer {
    fn received(&self) -> Result<Vec<PathBuf>> {
        let application = self.folder.join("received/live");
        let mut files = Vec::new();
        // A folder for each stream key.
        for stream in fs::read_dir(application).into_iter().flatten() {
            for file in fs::read_dir(stream?.path())? {
                files.push(file?.path());
            }
        }
        files.sort();
        Ok(files)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("node.log")).unwrap_or_default()
    }
}
