//! The agent as a child process, as a user runs it: a manifest in, `/status` and logs out.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::http::get_json;

/// How often [`AgentProcess::wait_for`] looks.
const POLL: Duration = Duration::from_millis(100);

/// Where `cargo build` left the binaries: `KVS_INGEST_BIN_DIR`, else beside this test's own folder.
pub fn binary(name: &str) -> Result<PathBuf> {
    let folder = match std::env::var_os("KVS_INGEST_BIN_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => own_folder()?,
    };
    let path = folder.join(name);
    if !path.exists() {
        bail!(
            "{} is missing: run `cargo xtask test`, or `cargo build -p {name}` before this test",
            path.display()
        );
    }
    Ok(path)
}

/// Where cargo puts what belongs to this test.
fn own_folder() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    Ok(test.ancestors().nth(2).context("a test binary lies in target/PROFILE/deps")?.to_owned())
}

/// Cargo's target folder.
pub(crate) fn target() -> Result<PathBuf> {
    Ok(own_folder()?.parent().context("target/PROFILE")?.to_owned())
}

/// A command line that becomes `binary` under the seccomp profile of the agent's pods, where what that does not allow is
/// fatal.
fn confined(binary: &Path) -> Result<Command> {
    let mut command = Command::new(own_folder()?.join("kvs-ingest-confined"));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/seccomp/agent.json")).arg(binary);
    Ok(command)
}

/// What an agent is started with.
pub struct AgentSettings<'a> {
    /// The text of a `KvsIngest` manifest.
    pub manifest: &'a str,
    /// A folder for the manifest and the log.
    pub folder: &'a Path,
    /// Address of kvs-local: `http://127.0.0.1:PORT`.
    pub endpoint: &'a str,
    pub access_key: &'a str,
    pub secret_key: &'a str,
    pub arguments: &'a [&'a str],
    /// More environment.
    pub env: &'a [(&'a str, &'a str)],
}

/// A running agent; killed when dropped.
pub struct AgentProcess {
    child: Child,
    url: String,
    log: PathBuf,
}

/// The command line and environment of an agent that sees nothing of this machine's own AWS configuration and proxies.
pub fn command(settings: &AgentSettings<'_>) -> Result<(Command, PathBuf)> {
    complete(Command::new(binary("kvs-ingest-agent")?), settings)
}

/// As [`command`], from a command that starts the agent.
fn complete(mut command: Command, settings: &AgentSettings<'_>) -> Result<(Command, PathBuf)> {
    let manifest = manifest(settings)?;
    let log = settings.folder.join("agent.log");
    alone(&mut command, settings);
    command.arg("--ingest").arg(&manifest).arg("--listen=127.0.0.1:0").args(settings.arguments);
    Ok((command, log))
}

fn manifest(settings: &AgentSettings<'_>) -> Result<PathBuf> {
    let manifest = settings.folder.join("ingest.yaml");
    std::fs::write(&manifest, settings.manifest)?;
    Ok(manifest)
}

/// What `doctor` says of these settings: its exit code and what it printed. The arguments go behind its own.
pub async fn doctor(settings: &AgentSettings<'_>) -> Result<(i32, String)> {
    let mut command = confined(&binary("kvs-ingest-agent")?)?;
    alone(&mut command, settings);
    command.args(["doctor", "--ingest"]).arg(manifest(settings)?).args(settings.arguments);
    let output = timeout(Duration::from_secs(120), command.output()).await??;
    let text = String::from_utf8(output.stdout)?;
    let code = output.status.code().with_context(|| {
        format!("ended with {}: {text}{}", output.status, String::from_utf8_lossy(&output.stderr))
    })?;
    Ok((code, text))
}

/// With the credentials and endpoints of `settings`, and nothing of this machine's.
fn alone(command: &mut Command, settings: &AgentSettings<'_>) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("AWS_") || text.to_ascii_lowercase().ends_with("_proxy") {
            command.env_remove(name);
        }
    }
    command
        .env("AWS_ACCESS_KEY_ID", settings.access_key)
        .env("AWS_SECRET_ACCESS_KEY", settings.secret_key)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("AWS_ENDPOINT_URL_KINESIS_VIDEO", settings.endpoint)
        .env("AWS_ENDPOINT_URL_KINESIS_VIDEO_SIGNALING", settings.endpoint)
        .envs(settings.env.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true);
}

impl AgentProcess {
    /// Starts the agent, as confined as its pods may be, and waits for its first line, which holds the address of its HTTP
    /// server.
    pub async fn start(settings: &AgentSettings<'_>) -> Result<Self> {
        Self::start_command(confined(&binary("kvs-ingest-agent")?)?, settings).await
    }

    /// As [`Self::start`], of another build of the agent, which is not confined.
    pub async fn start_build(binary: &Path, settings: &AgentSettings<'_>) -> Result<Self> {
        Self::start_command(Command::new(binary), settings).await
    }

    async fn start_command(command: Command, settings: &AgentSettings<'_>) -> Result<Self> {
        let (mut command, log) = complete(command, settings)?;
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(File::options().create(true).append(true).open(&log)?)
            .spawn()
            .context("cannot start the agent")?;
        let stdout = child.stdout.take().context("standard output is piped")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = timeout(Duration::from_secs(20), lines.next_line()).await;
        let Ok(Ok(Some(line))) = line else {
            bail!("the agent did not start:\n{}", std::fs::read_to_string(&log)?);
        };
        let url = line
            .split_whitespace()
            .find(|word| word.starts_with("http://"))
            .with_context(|| format!("the agent's first line holds no address: {line:?}"))?
            .trim_end_matches('/')
            .to_owned();
        let mut rest = tokio::fs::File::options().append(true).open(&log).await?;
        tokio::spawn(async move {
            let _ = tokio::io::copy(&mut lines.into_inner(), &mut rest).await;
        });
        Ok(Self { child, url, log })
    }

    /// Its process, unless it has ended.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// The URL of one of its HTTP paths.
    pub fn address(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Its `/status` document.
    pub async fn status(&self) -> Result<Value> {
        get_json(&self.address("/status")).await
    }

    /// The body of one of its HTTP paths, with the status code.
    pub async fn get(&self, path: &str) -> Result<(u16, String)> {
        crate::http::get_text(&self.address(path)).await
    }

    /// Waits until `condition` holds for `/status`; the error shows the last status and the end of the log.
    pub async fn wait_for(
        &mut self,
        what: &str,
        deadline: Duration,
        condition: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let until = Instant::now() + deadline;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("waiting for {what}: the agent ended with {status}\n{}", self.log_tail());
            }
            let status = self.status().await;
            match &status {
                Ok(status) if condition(status) => return Ok(status.clone()),
                _ if Instant::now() >= until => {
                    bail!("waited {deadline:?} for {what}; last status: {status:?}\n{}", self.log_tail())
                }
                _ => sleep(POLL).await,
            }
        }
    }

    /// Waits until `/status` has this phase.
    pub async fn wait_for_phase(&mut self, phase: &str, deadline: Duration) -> Result<Value> {
        self.wait_for(&format!("phase {phase}"), deadline, |status| status["phase"] == phase).await
    }

    /// SIGTERM, and how it ended.
    pub async fn stop(mut self, deadline: Duration) -> Result<ExitStatus> {
        let id = self.child.id().context("the agent has ended already")?;
        let killed = Command::new("kill").args(["-TERM", &id.to_string()]).status().await?;
        if !killed.success() {
            bail!("cannot signal the agent");
        }
        match timeout(deadline, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => bail!("the agent did not end within {deadline:?} of SIGTERM\n{}", self.log_tail()),
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}
