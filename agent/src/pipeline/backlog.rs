//! What happens when GStreamer does not keep up: whole groups of pictures are dropped.

/// Decides per access unit whether it goes into the pipeline.
///
/// A dropped frame spoils every frame up to the next IDR, so those are dropped, too: the stored
/// video has a gap, never a broken picture.
#[derive(Debug)]
pub(super) struct Backlog {
    limit: u64,
    dropping: bool,
}

impl Backlog {
    /// `limit`: bytes that may wait in front of the pipeline.
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, dropping: false }
    }

    /// Whether an access unit of `size` bytes is admitted while `queued` bytes wait.
    pub(super) fn admit(&mut self, idr: bool, size: u64, queued: u64) -> bool {
        let fits = queued.saturating_add(size) <= self.limit;
        if self.dropping && idr && fits {
            self.dropping = false;
        } else if !fits {
            self.dropping = true;
        }
        !self.dropping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_lasts_until_an_idr_that_fits() {
        let mut backlog = Backlog::new(100);
        assert!(backlog.admit(true, 50, 0));
        assert!(backlog.admit(false, 50, 50));
        assert!(!backlog.admit(false, 50, 100));
        assert!(!backlog.admit(false, 10, 0), "its reference is gone");
        assert!(!backlog.admit(true, 60, 60), "an IDR that does not fit is no rescue");
        assert!(backlog.admit(true, 60, 0));
        assert!(backlog.admit(false, 10, 60));
    }
}
