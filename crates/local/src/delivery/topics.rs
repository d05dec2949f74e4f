//! [`Topics`]: notifications as lines of files, one for each topic of SNS.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

use super::bucket::segment;
use crate::{archive::FragmentInfo, model::Stream, private};

/// Bytes of a topic's file. One that is longer becomes `…1.jsonl`, in the place of the one before it.
const LONGEST: u64 = 16 << 20;
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// What SNS would deliver: the document that it posts to those who subscribe by HTTP.
#[derive(Debug, Clone)]
pub(crate) struct Notification {
    pub(super) id: String,
    pub(super) topic: String,
    pub(super) document: String,
}

impl Notification {
    /// Of a fragment that was persisted, to the topic of this URI of the scheme `sns`.
    pub(super) fn persisted(
        uri: &str,
        stream: &Stream,
        info: &FragmentInfo,
        more: &[(String, String)],
    ) -> Self {
        let topic = uri.split_once(':').map_or(uri, |(_, rest)| rest);
        let topic = topic.strip_prefix("//").unwrap_or(topic).to_owned();
        let payload: Map<String, Value> =
            more.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        let message = json!({
            "StreamArn": stream.arn,
            "FragmentNumber": info.number,
            "FragmentStartProducerTimestamp": info.producer_ms,
            "FragmentStartServerTimestamp": info.server_ms,
            "NotificationType": "PERSISTED",
            "NotificationPayload": payload,
        });
        let id = uuid::Uuid::new_v4().to_string();
        let document = json!({
            "Type": "Notification",
            "MessageId": id,
            "TopicArn": topic,
            "Subject": "Kinesis Video Streams Notification",
            "Message": message.to_string(),
            "Timestamp": OffsetDateTime::now_utc().format(TIME).unwrap_or_default(),
        });
        Self { id, topic, document: document.to_string() }
    }
}

/// The files of all topics.
pub(super) struct Topics {
    folder: PathBuf,
    /// One line at a time.
    writing: Mutex<()>,
}

impl Topics {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, writing: Mutex::default() }
    }

    /// Appends a line. Blocks on the disk.
    pub(super) fn append(&self, notification: &Notification) -> io::Result<()> {
        let name = segment(&notification.topic);
        let path = self.folder.join(format!("{name}.jsonl"));
        let _turn = self.writing.lock();
        private::folder(&self.folder)?;
        if fs::metadata(&path).is_ok_and(|file| file.len() >= LONGEST) {
            fs::rename(&path, self.folder.join(format!("{name}.1.jsonl")))?;
        }
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        file.write_all(format!("{}\n", notification.document).as_bytes())
    }
}
