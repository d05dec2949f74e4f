//! How the queue behaves.

use std::time::Duration;

/// How it behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveConfig {
    /// Send silence where there is no sound.
    pub silence: bool,
    /// Bytes that may wait.
    pub max_bytes: usize,
    /// Media that may wait, beside what one track waits longer for the other than `hold`. Beyond it whole groups of pictures are
    /// left out, and beyond twice as much the rest of one that was begun.
    pub max_delay: Duration,
    /// How long one track waits for the other, whatever is known of it.
    pub hold: Duration,
    /// How long one track waits for another that is known to come so late.
    pub max_hold: Duration,
    /// Between two requests for a key frame.
    pub key_frame_retry: Duration,
    /// A master that sends nothing for so long is gone, and the broadcast is over.
    pub idle: Duration,
}

impl Default for LiveConfig {
    fn default() -> Self {
        Self {
            silence: true,
            max_bytes: 16 << 20,
            max_delay: Duration::from_secs(3),
            hold: Duration::from_millis(500),
            // By more no capture time of ours is before an arrival (`SenderClock::BOUND` of kvs-media).
            max_hold: Duration::from_millis(2_500),
            key_frame_retry: Duration::from_secs(1),
            idle: Duration::from_secs(10),
        }
    }
}

/// Which tracks the pipeline has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tracks {
    /// Pictures.
    pub video: bool,
    /// Sound.
    pub audio: bool,
}
