//! What a demo says at its end.

use std::path::Path;

use super::options::STREAM;
use super::state::Stored;
use crate::say;

pub fn summarize(stored: &Stored, data: &Path) {
    say!("");
    say!("Stored in stream {STREAM}:");
    say!("  fragments   {}", stored.fragments);
    say!("  frames      {}", stored.frames);
    say!("  duration    {:.1} s", stored.duration().as_secs_f64());
    say!("  resolution  {}", stored.resolution());
    say!("  codecs      {}", stored.codecs());
    match stored.lag {
        Some(lag) => say!(
            "  lag         {:.1} s from the capture of a fragment's first frame to its being persisted, {} ms from its last",
            lag.first_frame.as_secs_f64(),
            lag.last_frame.as_millis()
        ),
        None => say!("  lag         unknown"),
    }
    say!("  data        {}", data.display());
}
