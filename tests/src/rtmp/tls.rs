//! TLS in front of a server that has none: stunnel, with a certificate of an authority that nobody else knows.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};
use tokio::process::Child;

use super::{address, tools};
use crate::certificate;

/// A running stunnel; killed when dropped.
pub struct Stunnel {
    _child: Child,
    address: SocketAddr,
    authority: PathBuf,
}

impl Stunnel {
    /// In front of `server`, with its files in `folder`. Its certificate is for `name`, or for its own address.
    pub async fn start(folder: &Path, server: SocketAddr, name: Option<&str>) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let address = address::free()?;
        let name = name.map_or_else(|| address.ip().to_string(), str::to_owned);
        let issued = certificate::issue(vec![name])?;
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).map(|()| path)
        };
        let authority = write("authority.pem", issued.authority)?;
        let certificate = write("certificate.pem", issued.certificate)?;
        let key = write("key.pem", issued.key)?;
        let settings = write(
            "stunnel.conf",
            format!(
                "foreground = yes\npid =\nsyslog = no\n[rtmps]\naccept = {address}\nconnect = {server}\ncert = {}\nkey = {}\n",
                certificate.display(),
                key.display()
            ),
        )?;
        let log = folder.join("stunnel.log");
        let mut child = tools::command(&tools::find("usr/bin/stunnel4")?)
            .arg(settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start stunnel")?;
        let listens = address::listens(address, &mut child).await;
        listens.with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
        Ok(Self { _child: child, address, authority })
    }

    /// `rtmps://…/live`, without the stream key.
    pub fn url(&self) -> String {
        format!("rtmps://{}/live", self.address)
    }

    /// PEM of who signed its certificate.
    pub fn authority(&self) -> &Path {
        &self.authority
    }
}
