//! Whether another agent still writes to the stream, and how far it has come.
//!
//! When an agent is replaced, old and new record for some seconds side by side. The new one keeps what it has until the stream
//! says that the old one has ended, and begins where that ends. It asks the stream and not the old agent: that may hang, or be
//! in another cluster.

use gstkvssink::{Predecessor, Stored};
use kvs::{Archive, StoredFragment, StreamId};
use kvs_aws::{AwsContext, ErrorClass};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;

/// Between two looks at the stream: ListFragments may be called five times a second.
const EVERY: Duration = Duration::from_secs(1);

/// How far back fragments are looked at: several of the longest, which the service wants to be 20 s.
const WINDOW: Duration = Duration::from_secs(120);
const LONGEST: Duration = Duration::from_secs(20);

/// A fragment may be so long, whatever those before it were like: the agent asks for a key frame every two seconds.
const USUAL: Duration = Duration::from_secs(2);

/// From a fragment's last frame until the stream shows it.
const SHOWN_WITHIN: Duration = Duration::from_millis(1_500);

/// Fragments that are no further apart follow each other: a camera may send a frame in a second.
const FOLLOWS: Duration = Duration::from_secs(1);

/// So long the other one is waited for: then it hangs on, or is not being replaced at all.
const DEADLINE: Duration = Duration::from_secs(60);

/// So long an answer is waited for.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// Looks at the stream of `stream` from now on, until whoever wrote to it has ended.
pub(super) fn watch(context: AwsContext, stream: StreamId) -> watch::Receiver<Predecessor> {
    let (says, hears) = watch::channel(Predecessor::default());
    tokio::spawn(async move {
        let begun = Instant::now();
        if let Err(error) = follow(&context, stream, begun, &says).await {
            if matches!(error.class, ErrorClass::AccessDenied) {
                tracing::warn!(
                    %error,
                    "whether another agent still writes to the stream is not known, and what both record is stored twice: \
                     allow kinesisvideo:ListFragments"
                );
            } else {
                tracing::info!(%error, "whether another agent still writes to the stream is not known");
            }
        }
        says.send_modify(|predecessor| predecessor.over = true);
    });
    hears
}

async fn follow(
    context: &AwsContext,
    stream: StreamId,
    begun: Instant,
    says: &watch::Sender<Predecessor>,
) -> Result<(), kvs::Error> {
    let mut archive = None;
    let mut watching = Watching::new(begun);
    let mut answered = begun;
    loop {
        let wall = context.now();
        let looked = async {
            let archive = match &mut archive {
                Some(archive) => archive,
                none => none.insert(Archive::open(context, stream.clone()).await?),
            };
            archive.received(wall - WINDOW, wall + WINDOW).await
        };
        match looked.await {
            Ok(fragments) => {
                let now = Instant::now();
                answered = now;
                let (predecessor, first) = (watching.look(&fragments, now, wall), !watching.told);
                if !predecessor.over && first {
                    watching.told = true;
                    tracing::info!(
                        "another agent writes to the stream, or did just now: what is received waits until that has ended"
                    );
                }
                says.send_replace(predecessor);
                if predecessor.over {
                    if watching.told {
                        watching.report(now);
                    }
                    return Ok(());
                }
            }
            // It will not be better in a second.
            Err(error)
                if matches!(
                    error.class,
                    ErrorClass::AccessDenied | ErrorClass::NotFound | ErrorClass::InvalidRequest
                ) =>
            {
                return Err(error);
            }
            Err(error) if answered.elapsed() >= ANSWERED_WITHIN => return Err(error),
            Err(error) => tracing::debug!(%error, "the stream does not say what it holds"),
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// What was seen so far.
#[derive(Debug)]
struct Watching {
    begun: Instant,
    /// The fragment that came last, and when it was first seen.
    newest: Option<(String, Instant)>,
    /// It was told that another agent is waited for.
    told: bool,
}

impl Watching {
    fn new(begun: Instant) -> Self {
        Self { begun, newest: None, told: false }
    }

    /// The stream has these fragments of the last [`WINDOW`], sorted by capture. `wall` is AWS's time.
    fn look(&mut self, fragments: &[StoredFragment], now: Instant, wall: SystemTime) -> Predecessor {
        let stored = without_a_hole(fragments);
        let Some(newest) = fragments.iter().max_by_key(|fragment| (fragment.received, &fragment.number))
        else {
            return Predecessor { stored, over: true };
        };
        if self.newest.as_ref().is_none_or(|(number, _)| *number != newest.number) {
            self.newest = Some((newest.number.clone(), now));
        }
        let seen =
            self.newest.as_ref().map_or(Duration::ZERO, |(_, since)| now.saturating_duration_since(*since));
        // Of what ended before anybody looked AWS's clock tells; whether this is the begin of a fragment or its end, it is not
        // too much.
        let told = wall.duration_since(newest.received + newest.length).unwrap_or_default();
        let longest =
            fragments.iter().map(|fragment| fragment.length).max().unwrap_or_default().clamp(USUAL, LONGEST);
        // The next one may be half as long again.
        let over = seen.max(told) >= longest * 3 / 2 + SHOWN_WITHIN || self.is_late(now);
        Predecessor { stored, over }
    }

    fn is_late(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.begun) >= DEADLINE
    }

    fn report(&self, now: Instant) {
        let waited = now.saturating_duration_since(self.begun).as_secs_f64();
        if self.is_late(now) {
            tracing::warn!(
                waited,
                "another agent still writes to the stream and is not waited for any longer: what both record is stored twice"
            );
        } else {
            tracing::info!(waited, "the agent before has ended: the recording goes on where the stream ends");
        }
    }
}

/// The last fragments that follow each other. `None`: there are none.
fn without_a_hole(fragments: &[StoredFragment]) -> Option<Stored> {
    let end = |fragment: &StoredFragment| fragment.captured + fragment.length;
    let last = fragments.iter().max_by_key(|fragment| end(fragment))?;
    let mut from = last.captured;
    for fragment in fragments.iter().rev().filter(|fragment| fragment.captured <= last.captured) {
        if end(fragment) + FOLLOWS < from {
            break;
        }
        from = from.min(fragment.captured);
    }
    Some(Stored {
        from_ms: milliseconds(from),
        last_ms: milliseconds(last.captured),
        to_ms: milliseconds(end(last)),
    })
}

/// Since 1970.
fn milliseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn epoch() -> SystemTime {
        SystemTime::UNIX_EPOCH + 1_800_000_000 * SECOND
    }

    /// A stream to which somebody writes: fragments of these lengths, each shown so long after its end.
    struct Stream {
        fragments: Vec<(Duration, StoredFragment)>,
    }

    impl Stream {
        fn new(lengths: &[Duration], shown_after: Duration) -> Self {
            let mut begins = Duration::ZERO;
            let fragment = |(number, length): (usize, &Duration)| {
                let captured = epoch() + begins;
                begins += *length;
                let number = format!("{number:010}");
                let fragment = StoredFragment { number, captured, received: captured, length: *length };
                (begins + shown_after, fragment)
            };
            Self { fragments: lengths.iter().enumerate().map(fragment).collect() }
        }

        fn at(&self, now: Duration) -> Vec<StoredFragment> {
            let shown = self.fragments.iter().filter(|(shown, _)| *shown <= now);
            let recent = shown.filter(|(_, fragment)| fragment.received + WINDOW >= epoch() + now);
            recent.map(|(_, fragment)| fragment.clone()).collect()
        }

        /// Looks from then on, once a second: when it is over, and what is said then.
        fn watched(&self, from: Duration) -> (Duration, Predecessor) {
            let start = Instant::now();
            let mut watching = Watching::new(start + from);
            for look in 0..200 {
                let at = from + EVERY * look;
                let said = watching.look(&self.at(at), start + at, epoch() + at);
                if said.over {
                    return (at, said);
                }
            }
            panic!("it is waited for without an end");
        }
    }

    proptest! {
        /// Whatever its fragments are like: it is waited for until it has ended, and no longer than it must be.
        #[test]
        fn whoever_writes_is_waited_for_until_it_ends(
            lengths in proptest::collection::vec(1_000..3_000u64, 1..25), shown_after in 0..900u64, from in 0..20u64, last in 40..3_000u64,
        ) {
            let mut lengths: Vec<_> = lengths.into_iter().map(Duration::from_millis).collect();
            // The group of pictures that it was in when it was stopped.
            let longest = *lengths.iter().max().unwrap();
            lengths.push(Duration::from_millis(last).min(longest));
            let ended: Duration = lengths.iter().sum();
            let stream = Stream::new(&lengths, Duration::from_millis(shown_after));
            let from = Duration::from_secs(from);
            prop_assume!(!stream.at(from).is_empty());
            let (over, said) = stream.watched(from);
            prop_assert!(over >= ended.min(from + DEADLINE), "over at {over:?}, it ends at {ended:?}");
            prop_assert!(over <= from.max(ended + longest.max(USUAL) * 3 / 2 + SHOWN_WITHIN + 2 * SECOND).min(from + DEADLINE));
            if over < from + DEADLINE {
                let stored = said.stored.unwrap();
                prop_assert_eq!((stored.from_ms, stored.to_ms), (milliseconds(epoch()), milliseconds(epoch() + ended)));
                prop_assert_eq!(stored.last_ms, milliseconds(epoch() + ended - lengths.last().copied().unwrap()));
            }
        }
    }

    #[test]
    fn an_empty_stream_and_one_that_has_rested_keep_nobody_waiting() {
        let empty = Stream::new(&[], Duration::ZERO);
        assert_eq!(empty.watched(SECOND), (SECOND, Predecessor { stored: None, over: true }));
        let rested = Stream::new(&[2 * SECOND; 5], SECOND);
        assert_eq!(rested.watched(30 * SECOND).0, 30 * SECOND);
    }

    #[test]
    fn one_that_goes_on_for_ever_is_waited_for_a_minute() {
        let stream = Stream::new(&[2 * SECOND; 200], SECOND);
        let (over, said) = stream.watched(20 * SECOND);
        assert_eq!(over, 80 * SECOND);
        // What it has by then is not stored again all the same.
        assert_eq!(said.stored.unwrap().to_ms, milliseconds(epoch() + 78 * SECOND));
    }

    /// A camera with a key frame in twenty seconds.
    #[test]
    fn long_groups_are_waited_for() {
        let stream = Stream::new(&[18 * SECOND; 3], SECOND);
        let (over, _) = stream.watched(30 * SECOND);
        assert!((54 + 28..=54 + 31).contains(&over.as_secs()), "{over:?}");
    }

    #[test]
    fn what_lies_before_a_hole_is_not_said_to_be_there() {
        let fragment = |begins: u64, length: u64| StoredFragment {
            number: begins.to_string(),
            captured: epoch() + Duration::from_millis(begins),
            received: epoch(),
            length: Duration::from_millis(length),
        };
        let base = milliseconds(epoch());
        let is = |fragments: &[StoredFragment]| {
            without_a_hole(fragments)
                .map(|stored| (stored.from_ms - base, stored.last_ms - base, stored.to_ms - base))
        };
        assert_eq!(is(&[]), None);
        assert_eq!(is(&[fragment(0, 2_000), fragment(2_040, 2_000)]), Some((0, 2_040, 4_040)));
        // A group was lost.
        let lost = [fragment(0, 2_000), fragment(4_000, 2_000), fragment(6_000, 500)];
        assert_eq!(is(&lost), Some((4_000, 6_000, 6_500)));
        // Two wrote side by side.
        let both = [fragment(0, 2_000), fragment(500, 2_000), fragment(2_000, 2_000), fragment(2_500, 900)];
        assert_eq!(is(&both), Some((0, 2_000, 4_000)));
    }
}
