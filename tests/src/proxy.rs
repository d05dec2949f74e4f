//! A proxy that nobody here wrote (tinyproxy), which knows a name that this machine does not.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// The name of this machine, to the proxy alone.
pub const NAME: &str = "kvs.test";
/// User and password that it asks for.
pub const USER: &str = "camera:p-ss";

/// A running tinyproxy; killed when dropped.
pub struct Proxy {
    _child: Child,
    port: u16,
    log: PathBuf,
}

impl Proxy {
    /// Starts one that keeps its files in `folder`. `None` where a process may not have mounts of its own, which is how the
    /// name is kept from everybody else.
    pub async fn start(folder: &Path) -> Result<Option<Self>> {
        let may_mount = Command::new("unshare").args(["-Urm", "true"]).output().await;
        if !may_mount.is_ok_and(|output| output.status.success()) {
            return Ok(None);
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let (user, password) = USER.split_once(':').context("a user has a password")?;
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).map(|()| path)
        };
        let hosts = write("hosts", format!("127.0.0.1 {NAME}\n"))?;
        let settings = write(
            "tinyproxy.conf",
            format!("Port {port}\nListen 127.0.0.1\nLogLevel Connect\nBasicAuth {user} {password}\n"),
        )?;
        let log = folder.join("tinyproxy.log");
        let output = std::fs::File::create(&log)?;
        let child = Command::new("unshare")
            .args(["-Urm", "sh", "-c", "mount --bind \"$1\" /etc/hosts && exec tinyproxy -d -c \"$2\"", "sh"])
            .args([&hosts, &settings])
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start unshare")?;
        let proxy = Self { _child: child, port, log };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if Instant::now() > deadline {
                bail!("tinyproxy does not listen:\n{}", proxy.log());
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(Some(proxy))
    }

    /// For `HTTPS_PROXY`: with user and password, or without.
    pub fn url(&self, user: Option<&str>) -> String {
        let user = user.map(|user| format!("{user}@")).unwrap_or_default();
        format!("http://{user}127.0.0.1:{}", self.port)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}
