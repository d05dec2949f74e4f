//! ffmpeg as a process of its own, for what a stranger recorded or sends can bring down that one alone: it has a share of
//! memory and of the processor.

use std::process::Stdio;

use tokio::process::Command;

use crate::error::{ErrorKind, ServiceError};

/// What `sh` ends with when there is no such program.
pub(crate) const NOT_FOUND: i32 = 127;

/// A process to be given arguments, with a pipe at each end. It may write to so many MiB of memory and take so many seconds of
/// a processor, and when memory ends it is the first to go.
pub(crate) fn limited(memory_mib: u64, seconds: u64) -> Command {
    let mut command = Command::new("sh");
    // Of the memory what it writes to counts (RLIMIT_DATA): the libraries that it maps are half a gigabyte of addresses.
    // A limit that cannot be set is one that the machine has set lower.
    let limits = format!(
        "ulimit -d {}; ulimit -t {seconds}; echo 1000 2>/dev/null >/proc/self/oom_score_adj; exec \"$@\"",
        memory_mib * 1024
    );
    command.args(["-c", &limits, "sh", "ffmpeg"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// What the caller is told of an operation that needs it, where it is not there.
pub(crate) fn missing(what: &str) -> ServiceError {
    ServiceError::new(
        ErrorKind::UnknownOperation,
        format!(
            "{what} with ffmpeg, which is not found on the PATH of kvs-local. Install it (Debian's package is ffmpeg) and \
             call again; no restart is needed."
        ),
    )
}

/// Whether it is on the PATH.
pub(crate) fn is_there() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join("ffmpeg").is_file())
}
