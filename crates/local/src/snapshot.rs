//! [`Snapshot`]: the state as text, made once for all who watch.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// A text that all listeners share while it is fresh: with many of them, and many changes, it is still made ten times a second
/// at most.
#[derive(Debug, Default)]
pub(crate) struct Snapshot(Mutex<Option<(Instant, Arc<str>)>>);

impl Snapshot {
    /// How long a text is fresh. A change is shown when it has been there for this long, together with what came meanwhile.
    pub(crate) const FRESH: Duration = Duration::from_millis(100);

    /// The text, made anew if it is not fresh. Others wait for it meanwhile.
    pub(crate) fn get(&self, now: Instant, make: impl FnOnce() -> String) -> Arc<str> {
        let mut kept = self.0.lock();
        match &*kept {
            Some((since, text)) if now.saturating_duration_since(*since) < Self::FRESH => text.clone(),
            _ => {
                let text: Arc<str> = make().into();
                *kept = Some((now, text.clone()));
                text
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_made_once_for_all_who_ask_while_it_is_fresh() {
        let (snapshot, start) = (Snapshot::default(), Instant::now());
        let mut made = 0;
        let mut ask = |after: Duration| {
            snapshot.get(start + after, || {
                made += 1;
                made.to_string()
            })
        };
        let half = Snapshot::FRESH / 2;
        let texts = [Duration::ZERO, half, half, Snapshot::FRESH, Snapshot::FRESH + half].map(&mut ask);
        assert_eq!(texts.map(|text| text.to_string()), ["1", "1", "1", "2", "2"]);
    }
}
