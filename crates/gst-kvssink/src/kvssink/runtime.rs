//! The threads of the network, for all sinks of the process.

use std::io;
use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};

use super::{log, threads};

/// Threads that look up names and read credentials. More look-ups wait for one.
const MAX_BLOCKING_THREADS: usize = 16;

/// One small runtime. It is made when the first sink starts.
pub(super) static RUNTIME: LazyLock<Result<Runtime, io::Error>> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("kvssink")
        .max_blocking_threads(MAX_BLOCKING_THREADS)
        .on_thread_start(|| {
            threads::mask();
            log::bridge();
        })
        .enable_all()
        .build()
});

#[cfg(all(test, unix))]
mod tests {
    use nix::sys::signal::{SigSet, Signal};

    use super::*;

    #[allow(clippy::unwrap_used, reason = "a test")]
    fn blocks_pipe() -> bool {
        SigSet::thread_get_mask().unwrap().contains(Signal::SIGPIPE)
    }

    #[test]
    fn every_thread_of_the_element_blocks_the_signal_and_no_other_does() {
        let runtime = RUNTIME.as_ref().unwrap();
        let (sender, masks) = std::sync::mpsc::channel();
        let (worker, blocking, own) = (sender.clone(), sender.clone(), sender);
        runtime.spawn(async move { worker.send(blocks_pipe()) });
        runtime.spawn_blocking(move || blocking.send(blocks_pipe()));
        threads::spawn("kvssink-test", move || own.send(blocks_pipe()).unwrap()).unwrap();
        assert_eq!(masks.iter().collect::<Vec<_>>(), [true; 3]);
        assert!(!blocks_pipe(), "the host's own thread");
    }
}
