//! Children: each in a process group of its own, so that whatever it starts (Chromium starts a dozen) ends with it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::workspace::show;

/// How often a wait looks at its condition.
const POLL: Duration = Duration::from_millis(50);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From here on Ctrl-C, SIGTERM and SIGHUP are a wish to end that [`interrupted`] tells, not the end itself.
pub fn catch_interrupts() -> Result<()> {
    ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::SeqCst)).context("cannot catch Ctrl-C")
}

pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// A child whose group is killed when this is dropped.
pub struct Running {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts `command` with standard error (and standard output, unless `lines` is asked for) in the file `log`.
    pub fn start(name: &'static str, command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let copy = file.try_clone()?;
        Self::spawn(name, command.stdout(copy).stderr(file), log)
    }

    /// As [`Running::start`], and gives the first line of standard output; the rest goes to the log as well.
    pub fn start_and_read_line(
        name: &'static str,
        command: &mut Command,
        log: &Path,
        deadline: Duration,
    ) -> Result<(Self, String)> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut rest = file.try_clone()?;
        let mut running = Self::spawn(name, command.stdout(Stdio::piped()).stderr(file), log)?;
        let stdout = running.child.stdout.take().context("standard output is piped")?;
        let (send, receive) = mpsc::channel();
        thread::spawn(move || {
            let mut reader = BufReader::new(stdout);
            let mut line = String::new();
            if reader.read_line(&mut line).is_ok() && !line.is_empty() {
                let _ = send.send(line);
            }
            let _ = std::io::copy(&mut reader, &mut rest);
        });
        match receive.recv_timeout(deadline) {
            Ok(line) => Ok((running, line.trim_end().to_owned())),
            Err(_) => {
                running.stop(Duration::ZERO);
                bail!("{name} did not start:\n{}", running.log_tail())
            }
        }
    }

    fn spawn(name: &'static str, command: &mut Command, log: &Path) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name} ({})", command.get_program().display()))?;
        Ok(Self { name, child, log: log.to_owned() })
    }

    /// An error with the end of the log, when the child has ended although nobody asked it to.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended by itself with {status}:\n{}", self.name, self.log_tail()),
        }
    }

    /// SIGTERM to the child, up to `patience` for it to end, then SIGKILL to its whole group.
    pub fn stop(&mut self, patience: Duration) -> Option<ExitStatus> {
        let status = stop_group(&mut self.child, patience);
        if let Some(status) = status
            && !status.success()
            && patience > Duration::ZERO
        {
            crate::say!("{} ended with {status}; its log is {}", self.name, self.log.display());
        }
        status
    }

    /// The last lines of the log.
    pub fn log_tail(&self) -> String {
        tail(&self.log, 15)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

fn stop_group(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let group = Pid::from_raw(i32::try_from(child.id()).ok()?);
    let mut status = child.try_wait().ok().flatten();
    if status.is_none() {
        // Only the leader is asked: it knows the order in which its own children end best.
        let _ = nix::sys::signal::kill(group, Signal::SIGTERM);
        let deadline = Instant::now() + patience;
        while status.is_none() && Instant::now() < deadline {
            thread::sleep(POLL);
            status = child.try_wait().ok().flatten();
        }
    }
    let _ = killpg(group, Signal::SIGKILL);
    status.or_else(|| child.wait().ok())
}

/// Runs a tool to its end; its standard output, or an error with its standard error.
pub fn output(command: &mut Command) -> Result<String> {
    let command_line = show(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!("`{command_line}`: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The last `count` lines of a file, indented.
pub fn tail(path: &Path, count: usize) -> String {
    let mut text = String::new();
    if let Ok(mut file) = File::open(path) {
        let mut bytes = Vec::new();
        let _ = file.read_to_end(&mut bytes);
        text = String::from_utf8_lossy(&bytes).into_owned();
    }
    let lines: Vec<_> = text.lines().collect();
    let from = lines.len().saturating_sub(count);
    let mut out = format!("  (end of {})\n", path.display());
    for line in &lines[from..] {
        out.push_str("    ");
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// How a command run by [`run_within`] ended.
pub enum Outcome {
    Ended(ExitStatus),
    TimedOut,
    Interrupted,
}

/// Runs `command` for at most `budget`, every line of its standard output given to `line`; its group ends with it.
pub fn run_within(
    command: &mut Command,
    budget: Duration,
    mut line: impl FnMut(&str) + Send,
) -> Result<Outcome> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    let stdout = child.stdout.take().context("standard output is piped")?;
    let deadline = Instant::now() + budget;
    thread::scope(|scope| {
        scope.spawn(move || {
            for text in BufReader::new(stdout).lines().map_while(Result::ok) {
                line(&text);
            }
        });
        loop {
            if let Some(status) = child.try_wait()? {
                // What the child left behind would hold the pipe open.
                stop_group(&mut child, Duration::ZERO);
                return Ok(Outcome::Ended(status));
            }
            if interrupted() {
                stop_group(&mut child, Duration::from_secs(5));
                return Ok(Outcome::Interrupted);
            }
            if Instant::now() >= deadline {
                stop_group(&mut child, Duration::from_secs(5));
                return Ok(Outcome::TimedOut);
            }
            thread::sleep(POLL);
        }
    })
}
