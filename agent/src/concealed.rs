//! Which of the sound in a pipeline was not received: told by an event that runs in front of it, through decoder and encoder.
//!
//! A recording stores it like any other. A live output has to know, because such sound comes early or late for other reasons
//! than sound does, and is in the way of sound that comes after all.

use std::collections::VecDeque;
use std::time::Duration;

const NAME: &str = "kvs-ingest-concealed";
const FROM: &str = "from";
const TO: &str = "to";

/// Gaps that may be known at a time: the encoder is behind by less than two frames. When there are more, the oldest goes, and
/// what conceals it counts as received.
const MAX_GAPS: usize = 64;

/// The event. `at` is nanoseconds since 1970.
pub(crate) fn event(at: gst::ClockTime, duration: gst::ClockTime) -> gst::Event {
    let structure = gst::Structure::builder(NAME)
        .field(FROM, at.nseconds())
        .field(TO, at.nseconds().saturating_add(duration.nseconds()))
        .build();
    gst::event::CustomDownstream::new(structure)
}

/// The gaps that a sink was told of.
#[derive(Debug, Default)]
pub(crate) struct Concealed {
    /// In the order of time.
    gaps: VecDeque<(u64, u64)>,
}

impl Concealed {
    /// An event has come, of this kind or another.
    pub(crate) fn note(&mut self, event: &gst::EventRef) {
        let gap = event
            .structure()
            .filter(|structure| structure.name() == NAME)
            .and_then(|structure| Some((structure.get(FROM).ok()?, structure.get(TO).ok()?)));
        self.gaps.extend(gap);
        while self.gaps.len() > MAX_GAPS {
            self.gaps.pop_front();
        }
    }

    /// Whether most of the sound that begins at `at` nanoseconds since 1970 conceals a gap. What is behind it is not asked for
    /// any more.
    pub(crate) fn covers(&mut self, at: u64, duration: Duration) -> bool {
        let middle = at.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX) / 2);
        while self.gaps.front().is_some_and(|(_, to)| *to <= at) {
            self.gaps.pop_front();
        }
        self.gaps.iter().any(|(from, to)| (*from..*to).contains(&middle))
    }
}
