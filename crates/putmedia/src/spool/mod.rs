//! Fragments on disk, for outages that last longer than memory does.
//!
//! The [`Producer`](crate::Producer) decides what is written ([`Output::Spill`](crate::Output)), read
//! (`Load`) and deleted (`Delete`); a [`SpooledFragment`] is what travels, and knows its form on disk. With the
//! feature `disk` there is a [`Directory`] that keeps such files for one stream.

#[cfg(feature = "disk")]
mod directory;
mod file;
mod record;

#[cfg(feature = "disk")]
pub use directory::{Directory, Opened, SpoolError};
pub use file::{FileName, Found, SpoolKey};
pub use record::{Damage, PREFIX, Prefix, SpooledFragment, SpooledHead};
