//! [`Figures`]: what became of images and notifications.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counted since the start.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// Images that were written.
    pub(crate) images: Count,
    /// Images that could not be made or written.
    pub(crate) images_failed: Count,
    /// Fragments whose images were not made because others waited.
    pub(crate) images_dropped: Count,
    /// Notifications that were written.
    pub(crate) notifications: Count,
    /// Notifications that could not be written.
    pub(crate) notifications_failed: Count,
    /// Notifications that whoever subscribes by HTTP has not taken.
    pub(crate) pushes_failed: Count,
}

/// A number that only rises.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(super) fn one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
