//! How an output stands, as `/status` and the log say it. Pure.

use super::failure::Failure;
use kvs_ingest_api::OutputState;
use kvs_rtmp::Track;
use std::time::{Duration, Instant};

/// What failed in the same way is logged again after so long.
const LOG_AGAIN: Duration = Duration::from_secs(300);

/// What happened last.
#[derive(Debug, Default)]
pub(super) struct Standing {
    now: Now,
    /// What comes of each track and cannot be sent, whatever the server does.
    unfit: [Option<Failure>; 2],
    /// Of the newest failure: its word, and when it was logged.
    logged: Option<(&'static str, Instant)>,
}

#[derive(Debug, Default)]
enum Now {
    #[default]
    New,
    Receiving,
    /// The broadcast was ended from here.
    Ended,
    Failed(Failure),
}

/// What `/status` says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) state: OutputState,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Standing {
    /// It receives media.
    pub(super) fn receives(&mut self) {
        (self.now, self.logged) = (Now::Receiving, None);
    }

    /// The master has left.
    pub(super) fn ended(&mut self) {
        self.now = Now::Ended;
    }

    /// An attempt failed. True: this is news for the log.
    pub(super) fn failed(&mut self, failure: Failure, now: Instant) -> bool {
        let is_news = self.is_news(&failure, now);
        self.now = Now::Failed(failure);
        is_news
    }

    /// What comes of this track cannot be sent. True: this is news for the log.
    pub(super) fn set_unfit(&mut self, track: Track, failure: Failure, now: Instant) -> bool {
        let is_news = self.is_news(&failure, now);
        self.unfit[track as usize] = Some(failure);
        is_news
    }

    /// What comes of this track can be sent.
    pub(super) fn set_fit(&mut self, track: Track) {
        self.unfit[track as usize] = None;
    }

    fn is_news(&mut self, failure: &Failure, now: Instant) -> bool {
        let known = self.logged.is_some_and(|(reason, at)| {
            reason == failure.reason && now.saturating_duration_since(at) < LOG_AGAIN
        });
        if !known {
            self.logged = Some((failure.reason, now));
        }
        !known
    }

    pub(super) fn is_receiving(&self) -> bool {
        matches!(self.now, Now::Receiving)
    }

    /// In words. `media`: there is some to send; `target`: where to, without the key; `notes`: what is not as it should be
    /// although it receives, each with its reason, of which the first counts.
    pub(super) fn words(&self, media: bool, target: &str, notes: &[(&'static str, String)]) -> Words {
        if let Some(failure) = self.unfit.iter().flatten().next().filter(|_| media) {
            let message = format!("{target}: {}", failure.message);
            return Words { state: OutputState::Failed, reason: failure.reason, message };
        }
        let (state, reason, message) = match (&self.now, media) {
            (Now::Receiving, _) => match notes {
                [(reason, _), ..] => {
                    let all: Vec<_> = notes.iter().map(|(_, note)| note.as_str()).collect();
                    (OutputState::Receiving, *reason, format!("{target} receives: {}", all.join("; ")))
                }
                [] => (OutputState::Receiving, "Receiving", format!("{target} receives")),
            },
            (Now::Failed(failure), true) => {
                let state =
                    if failure.needs_a_person { OutputState::Failed } else { OutputState::Interrupted };
                (state, failure.reason, format!("{target}: {}", failure.message))
            }
            (Now::Failed(failure), false) => {
                let message = format!("there is no media to send; before, {target}: {}", failure.message);
                (OutputState::Waiting, "WaitingForMedia", message)
            }
            (Now::New | Now::Ended, false) => {
                (OutputState::Waiting, "WaitingForMedia", "there is no media to send".to_owned())
            }
            (Now::New | Now::Ended, true) => {
                (OutputState::Connecting, "Connecting", format!("connecting to {target}"))
            }
        };
        Words { state, reason, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(reason: &'static str, needs_a_person: bool) -> Failure {
        Failure { reason, needs_a_person, message: "it broke".to_owned() }
    }

    #[test]
    fn each_state_has_its_words() {
        let mut standing = Standing::default();
        let said = |standing: &Standing, media| {
            let Words { state, reason, message } = standing.words(media, "rtmp://h:1/a/…", &[]);
            (state, reason, message)
        };
        assert_eq!(said(&standing, false).0, OutputState::Waiting);
        assert_eq!(said(&standing, true).0, OutputState::Connecting);
        standing.failed(failure("PublishRefused", true), Instant::now());
        let expected = (OutputState::Failed, "PublishRefused", "rtmp://h:1/a/…: it broke".to_owned());
        assert_eq!(said(&standing, true), expected);
        assert_eq!(said(&standing, false).0, OutputState::Waiting);
        standing.receives();
        assert_eq!(said(&standing, true).1, "Receiving");
        standing.failed(failure("ConnectionLost", false), Instant::now());
        assert_eq!(said(&standing, true).0, OutputState::Interrupted);
        standing.ended();
        assert_eq!(said(&standing, false).1, "WaitingForMedia");
    }

    #[test]
    fn what_cannot_be_sent_is_said_for_as_long_as_it_comes() {
        let mut standing = Standing::default();
        let said = |standing: &Standing, media| {
            let Words { state, reason, .. } = standing.words(media, "rtmp://h:1/a/…", &[]);
            (state, reason)
        };
        standing.receives();
        assert!(standing.set_unfit(Track::Video, failure("CodecNotSupported", true), Instant::now()));
        standing.set_fit(Track::Audio);
        assert_eq!(said(&standing, true), (OutputState::Failed, "CodecNotSupported"));
        assert!(standing.is_receiving(), "its sound goes on");
        standing.set_fit(Track::Video);
        assert_eq!(said(&standing, true), (OutputState::Receiving, "Receiving"));
        standing.set_unfit(Track::Video, failure("CodecNotSupported", true), Instant::now());
        standing.ended();
        assert_eq!(said(&standing, false), (OutputState::Waiting, "WaitingForMedia"));
    }

    #[test]
    fn what_fails_again_and_again_is_logged_now_and_then() {
        let (mut standing, start) = (Standing::default(), Instant::now());
        let mut fails =
            |reason, seconds| standing.failed(failure(reason, false), start + Duration::from_secs(seconds));
        assert!(fails("A", 0) && !fails("A", 1) && fails("B", 2) && !fails("B", 100) && fails("B", 400));
    }
}
