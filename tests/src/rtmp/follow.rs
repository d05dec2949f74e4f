//! When each frame arrived at a server: its recording, read as it grows.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use tokio::time::sleep;

use super::flv::{self, Body};
use crate::nal::frame_number;

/// How exact a time of arrival is.
const POLL: Duration = Duration::from_millis(2);

/// Looks at the recording `file` until `end` is done: when each numbered frame was written.
///
/// # Errors
/// It cannot be read, or is not what [`flv::tags`] takes.
pub async fn arrivals(file: &Path, end: impl Future<Output = ()>) -> Result<BTreeMap<u64, SystemTime>> {
    let mut open = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    // The file header, and what is not yet a whole tag.
    let mut pending = Vec::new();
    let mut arrivals = BTreeMap::new();
    tokio::pin!(end);
    loop {
        let now = SystemTime::now();
        match open.read_to_end(&mut pending) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
        let whole = flv::whole(&pending)?;
        for tag in flv::tags(&pending[..whole])? {
            if let Body::Avc { units, .. } = tag.body
                && let Some(number) = frame_number(&units)
            {
                arrivals.entry(number).or_insert(now);
            }
        }
        pending.drain(flv::FILE_HEADER.min(whole)..whole);
        tokio::select! {
            () = &mut end => return Ok(arrivals),
            () = sleep(POLL) => {}
        }
    }
}
