//! [`StartError`]: why the server did not start.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another process has the data folder.
    #[error("the data folder {0} is in use by another kvs-local; end that one or choose another with --data")]
    DataInUse(PathBuf),
    /// The data folder cannot be made or read.
    #[error("the data folder {0}: {1}")]
    Data(PathBuf, io::Error),
    /// The index in the data folder cannot be opened.
    #[error("the index {0}: {1}")]
    Index(PathBuf, String),
    /// An address cannot be listened on.
    #[error("{flag} {address}: {}", describe_bind(error))]
    Listen {
        /// The option of the command line.
        flag: &'static str,
        /// The address asked for.
        address: SocketAddr,
        /// What the operating system says.
        error: io::Error,
    },
    /// The certificates cannot be made or read.
    #[error("TLS certificates in {0}: {1}")]
    Tls(PathBuf, String),
    /// What clients would be told of the TURN server leads nowhere.
    #[error("--turn-advertise {advertise} with --turn-listen {listen}: {why}")]
    TurnAdvertise {
        /// The address to be told.
        advertise: IpAddr,
        /// The address that is listened on.
        listen: SocketAddr,
        /// What is wrong.
        why: &'static str,
    },
    /// The TURN server does not start.
    #[error("TURN server on {0}: {1}")]
    Turn(SocketAddr, String),
}

fn describe_bind(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "the port is already in use; choose another, or 0 for any free port".to_owned()
        }
        _ => error.to_string(),
    }
}
