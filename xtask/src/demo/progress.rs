//! The demo's progress: one line that is rewritten in a terminal, a line per change when piped.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use super::state::{Ingest, Stored};
use crate::say;

/// A piped demo prints what is stored at most this often.
const PIPED_INTERVAL: Duration = Duration::from_secs(5);

pub struct Progress {
    terminal: bool,
    ingest: Option<Ingest>,
    fragments: u64,
    printed: Option<Instant>,
}

impl Progress {
    pub fn new() -> Self {
        Self { terminal: std::io::stdout().is_terminal(), ingest: None, fragments: 0, printed: None }
    }

    pub fn show(&mut self, ingest: &Ingest, stored: &Stored) {
        let stored_line = line(stored);
        if self.terminal {
            let outputs = ingest.outputs.iter().map(|output| format!("  {}: {}", output.name, output.state));
            let text = format!("{:<16} {stored_line}{}", ingest.phase, outputs.collect::<String>());
            let _ = write!(std::io::stdout(), "\r\x1b[2K{text}");
            let _ = std::io::stdout().flush();
            return;
        }
        if self.ingest.as_ref() != Some(ingest) {
            say!("agent: {} ({}) {}", ingest.phase, ingest.reason, ingest.message);
            for output in &ingest.outputs {
                say!("output {}: {} {}", output.name, output.state, output.message);
            }
            self.ingest = Some(ingest.clone());
        }
        let due = self.printed.is_none_or(|printed| printed.elapsed() >= PIPED_INTERVAL);
        if stored.fragments != self.fragments && due {
            say!("stored: {stored_line}");
            self.fragments = stored.fragments;
            self.printed = Some(Instant::now());
        }
    }

    /// Leaves the terminal on a line of its own.
    pub fn end(&self) {
        if self.terminal {
            say!("");
        }
    }
}

fn line(stored: &Stored) -> String {
    if stored.fragments == 0 {
        return "nothing stored yet".to_owned();
    }
    let mut text = format!(
        "{} fragments  {} frames  {:.1} s  {}  {}",
        stored.fragments,
        stored.frames,
        stored.duration().as_secs_f64(),
        stored.resolution(),
        stored.codecs()
    );
    if let Some(lag) = stored.lag {
        text.push_str(&format!("  lag {:.1} s", lag.first_frame.as_secs_f64()));
    }
    text
}
