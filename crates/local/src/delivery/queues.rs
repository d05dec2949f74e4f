//! [`Delivery`]: takes what was stored, and hands on what follows from it.

use std::{path::PathBuf, sync::Arc};

use serde_json::Value;
use tokio::sync::mpsc;

use super::figures::{Count, Figures};
use super::tags::Asked;
use super::topics::{Notification, Topics};
use crate::{archive::FragmentInfo, model::Stream};

/// Fragments whose images are still to be made. Full: there are no images of what comes, which is counted.
const IMAGES: usize = 64;
/// Notifications that are still to be posted. Full: what comes is not posted, which is counted; it is in the file.
const PUSHES: usize = 1_000;

/// A fragment that images are to be made of.
pub(crate) struct ImageJob {
    pub(super) stream: Stream,
    pub(super) info: Arc<FragmentInfo>,
    pub(super) asked: Asked,
}

/// Where stored fragments are told of.
pub(crate) struct Delivery {
    topics: Topics,
    images: mpsc::Sender<ImageJob>,
    /// `None`: nobody subscribes.
    pushes: Option<mpsc::Sender<Notification>>,
    pub(crate) figures: Figures,
}

/// What waits for images and posts, for the tasks that make them.
pub(crate) struct Waiting {
    pub(crate) images: mpsc::Receiver<ImageJob>,
    pub(crate) pushes: mpsc::Receiver<Notification>,
}

/// The configuration, if it is enabled, and the URI that it delivers to.
fn enabled(configuration: Option<&Value>) -> Option<(&Value, &str)> {
    let configuration = configuration.filter(|found| found["Status"] == "ENABLED")?;
    Some((configuration, configuration["DestinationConfig"]["Uri"].as_str()?))
}

impl Delivery {
    /// `topics`: the folder of the files that stand for topics. `subscribed`: whether they are posted as well.
    pub(crate) fn new(topics: PathBuf, subscribed: bool) -> (Self, Waiting) {
        let (images, images_waiting) = mpsc::channel(IMAGES);
        let (pushes, pushes_waiting) = mpsc::channel(PUSHES);
        let pushes = subscribed.then_some(pushes);
        let delivery = Self { topics: Topics::new(topics), images, pushes, figures: Figures::default() };
        (delivery, Waiting { images: images_waiting, pushes: pushes_waiting })
    }

    /// Takes a fragment that was stored, with its metadata. Blocks on the disk; what fails is logged and counted, and does the
    /// fragment no harm.
    pub(crate) fn persisted(&self, stream: &Stream, info: &FragmentInfo, tags: &[(String, String)]) {
        let asked = Asked::of(tags);
        if asked.notification
            && let Some((_, uri)) = enabled(stream.notifications.as_ref())
        {
            self.notify(Notification::persisted(uri, stream, info, &asked.more));
        }
        if asked.images && enabled(stream.images.as_ref()).is_some() {
            let job = ImageJob { stream: stream.clone(), info: Arc::new(info.clone()), asked };
            if self.images.try_send(job).is_err() {
                self.lost(&self.figures.images_dropped, "no images of a fragment: too many wait for theirs");
            }
        }
    }

    fn notify(&self, notification: Notification) {
        match self.topics.append(&notification) {
            Ok(()) => self.figures.notifications.one(),
            Err(error) => {
                self.figures.notifications_failed.one();
                tracing::error!(topic = notification.topic, %error, "a notification could not be written");
            }
        }
        if let Some(pushes) = &self.pushes
            && pushes.try_send(notification).is_err()
        {
            self.lost(&self.figures.pushes_failed, "a notification is not posted: too many wait for theirs");
        }
    }

    /// Counts, and says so the first time.
    fn lost(&self, count: &Count, what: &str) {
        if count.read() == 0 {
            tracing::warn!("{what}; further ones are counted in /metrics");
        }
        count.one();
    }
}
