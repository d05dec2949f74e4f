//! Threads of the element in somebody else's process.
//!
//! A write to a connection that the peer has reset raises SIGPIPE, which ends a process that has not asked for anything
//! else: every C or C++ host, and `gst-launch-1.0`. (`send` can be told not to; what writes several pieces at once,
//! `writev`, cannot, and TLS writes like that.) How the process handles signals is the host's to say. So each thread of
//! the element blocks this signal for itself, and a write that fails is an error like any other. Threads that it starts
//! in turn inherit that; what GStreamer's or the host's own threads do is left alone, and none of those writes to a socket
//! of the element.

use std::io;
use std::thread::{Builder, JoinHandle};

/// To be called first on each thread of the element.
pub(super) fn mask() {
    #[cfg(unix)]
    {
        use nix::sys::signal::{SigSet, Signal};
        let pipe: SigSet = [Signal::SIGPIPE].into_iter().collect();
        if let Err(error) = pipe.thread_block() {
            gst::error!(
                super::category::CAT,
                "SIGPIPE cannot be blocked, a reset may end the process: {error}"
            );
        }
    }
}

/// Starts a thread of the element. The system cuts a name after 15 bytes.
pub(super) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name.to_owned()).spawn(move || {
        mask();
        run();
    })
}
