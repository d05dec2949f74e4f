//! The thread that reads and writes the spool, so that neither a streaming thread nor the network waits for a disk.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::threads;
use kvs_putmedia::spool::{Directory, Found, Opened, SpoolError, SpoolKey, SpooledFragment};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// How often a spool that cannot be opened is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// The sink before this one, in this process or in one that is about to end, has so long to let go of the spool before
/// the upload begins without it.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) enum Command {
    Spill(SpoolKey, SpooledFragment),
    Load(SpoolKey),
    Delete(SpoolKey),
}

pub(super) enum Report {
    Opened {
        run: u64,
        found: Vec<Found>,
        damaged: Vec<String>,
    },
    /// Not now; there may still be an `Opened`.
    Unavailable(String),
    Spilled(SpoolKey, Result<(), String>),
    Loaded(SpoolKey, Result<SpooledFragment, String>),
    /// A file is still there.
    NotDeleted(String),
}

/// A running thread. It ends, after everything that it was told, when this is dropped.
pub(super) struct Spool {
    /// Not bounded here: the producer has few writes and reads under way, and a deletion is a few bytes.
    commands: Sender<Command>,
    reports: UnboundedReceiver<Report>,
}

impl Spool {
    /// Opens the spool of `stream` below `root` in the background. The receiver hears of nothing, and is disconnected
    /// when the thread has ended.
    pub(super) fn start(root: PathBuf, stream: String) -> std::io::Result<(Self, Receiver<()>)> {
        let (commands, received) = channel();
        let (reporter, reports) = unbounded_channel();
        let (alive, ended) = channel();
        threads::spawn("kvssink-spool", move || {
            let _alive: Sender<()> = alive;
            if let Some(directory) = open(&root, &stream, &received, &reporter) {
                serve(&directory, &received, &reporter);
            }
        })?;
        Ok((Self { commands, reports }, ended))
    }

    pub(super) fn send(&self, command: Command) {
        // It ends only when this does.
        let _ = self.commands.send(command);
    }

    /// The next report; `None` when the thread has died.
    pub(super) async fn report(&mut self) -> Option<Report> {
        self.reports.recv().await
    }
}

/// Tries for as long as anybody wants it.
fn open(
    root: &std::path::Path,
    stream: &str,
    commands: &Receiver<Command>,
    reports: &UnboundedSender<Report>,
) -> Option<Directory> {
    let started = Instant::now();
    let mut reported = false;
    loop {
        let error = match Directory::open(root, stream) {
            Ok(Opened { directory, found, damaged }) => {
                let damaged = damaged.iter().map(ToString::to_string).collect();
                let _ = reports.send(Report::Opened { run: directory.run(), found, damaged });
                return Some(directory);
            }
            Err(error) => error,
        };
        let soon = matches!(error, SpoolError::InUse(_)) && started.elapsed() < PATIENCE;
        if !soon && !std::mem::replace(&mut reported, true) {
            let _ = reports.send(Report::Unavailable(error.to_string()));
        }
        let pause = if soon { AGAIN / 10 } else { AGAIN };
        if let Err(RecvTimeoutError::Disconnected) = commands.recv_timeout(pause) {
            return None;
        }
    }
}

fn serve(directory: &Directory, commands: &Receiver<Command>, reports: &UnboundedSender<Report>) {
    for command in commands {
        let report = match command {
            Command::Spill(key, fragment) => {
                Report::Spilled(key, directory.write(key, &fragment).map_err(|error| error.to_string()))
            }
            Command::Load(key) => Report::Loaded(key, directory.read(key).map_err(|error| error.to_string())),
            Command::Delete(key) => match directory.delete(key) {
                Ok(()) => continue,
                Err(error) => Report::NotDeleted(error.to_string()),
            },
        };
        let _ = reports.send(report);
    }
}
