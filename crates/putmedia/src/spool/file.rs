//! The files of a spool, as the producer knows them.

use std::fmt;

use super::record::SpooledHead;

/// The name of a spooled fragment. Names sort by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName {
    /// Number of the run that wrote it: each is higher than those before.
    pub run: u64,
    /// Its number in that run.
    pub number: u64,
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{:016x}", self.run, self.number)
    }
}

impl FileName {
    /// The name that this text is.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (run, number) = text.split_once('-')?;
        let hex = |text: &str| u64::from_str_radix(text, 16).ok();
        let name = Self { run: hex(run)?, number: hex(number)? };
        // Also keeps the number of the next run from overflowing.
        (name.to_string() == text && name.run < u64::from(u32::MAX)).then_some(name)
    }
}

/// A fragment that a spool has, or had at the start.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Where it is in the folder.
    pub file: FileName,
    /// What it is.
    pub head: SpooledHead,
    /// Bytes of the file.
    pub bytes: u64,
}

/// A fragment between a producer and its spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpoolKey {
    pub(crate) id: u64,
    pub(crate) file: FileName,
}

impl SpoolKey {
    /// The name of its file.
    #[must_use]
    pub fn file(self) -> FileName {
        self.file
    }
}
