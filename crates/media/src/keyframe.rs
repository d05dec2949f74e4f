//! When to ask the sender for a key frame, and whether access units may pass.

use std::time::{Duration, Instant};

use crate::codec::{StartKind, UntimedAccessUnit};

/// Why a key frame is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyFrameReason {
    /// None came yet.
    First,
    /// Something was lost for good, and nothing can be decoded until the next.
    Loss,
    /// The last is older than [`KeyFrameConfig::interval`].
    Age,
}

/// How often key frames are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFrameConfig {
    /// Between two requests until the first came; never shorter than the round trip.
    pub first: Duration,
    /// Between two requests afterwards.
    pub retry: Duration,
    /// How old a key frame may become before the next is asked for: a fragment in a KVS stream reaches from one key
    /// frame to the next. `None`: only the sender decides.
    pub interval: Option<Duration>,
}

impl Default for KeyFrameConfig {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(200),
            retry: Duration::from_secs(1),
            interval: Some(Duration::from_secs(2)),
        }
    }
}

/// A sender that has been silent for so long is not asked: whoever watches over the connection acts then.
const SILENCE: Duration = Duration::from_secs(5);
/// A key frame that was seen to begin is underway while packets come, none later than this behind the one before: asking
/// for another would have it sent twice over a link that is slow already.
const UNDERWAY: Duration = Duration::from_millis(200);
/// But no longer than this.
const LONGEST: Duration = Duration::from_secs(3);
/// So long nothing came of which the stream says that decoding can start there, and nothing passes: a picture that refers to no
/// other is better than none. Encoders that keep to a group of pictures send a key frame in less.
const LAST_RESORT: Duration = Duration::from_secs(10);
/// The same while all passes: a longer fragment is cut anyway, since KVS takes none of more than 20 s.
const LONGEST_GROUP: Duration = Duration::from_secs(20);
/// What is presented so long before the picture that it follows, in units of 90 kHz, is no reordering but a clock that jumped.
const FARTHEST: u64 = 5 * 90_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    /// Nothing passed yet.
    First,
    Open,
    /// Since a loss.
    Closed,
}

/// What becomes of an access unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    /// It passes, and decoding can start with it.
    Starts,
    /// It passes behind others.
    Follows,
    /// It does not pass. `owed`: something had passed before it.
    Withheld { owed: bool },
}

/// The picture at which decoding begins, up to the next at which it can.
#[derive(Clone, Copy, Debug)]
struct Beginning {
    kind: StartKind,
    timestamp: u64,
    /// Something had passed before it.
    owed: bool,
}

/// Lets access units pass from one at which decoding can start until the next loss.
#[derive(Debug)]
pub(crate) struct KeyFrameGate {
    config: KeyFrameConfig,
    gate: Gate,
    /// When what makes the next request due began: the first packet, the loss, the last key frame.
    since: Option<Instant>,
    asked: Option<Instant>,
    beginning: Option<Beginning>,
    /// Pictures that refer to no other are taken for what the stream does not have.
    guesses: bool,
    /// When a key frame began, and its newest packet.
    underway: Option<(Instant, Instant)>,
    /// A key frame came, and not whole.
    damaged: bool,
    packet: Option<Instant>,
    rtt: Duration,
}

impl KeyFrameGate {
    pub(crate) fn new(config: KeyFrameConfig) -> Self {
        Self {
            config,
            gate: Gate::First,
            since: None,
            asked: None,
            beginning: None,
            guesses: false,
            underway: None,
            damaged: false,
            packet: None,
            rtt: Duration::ZERO,
        }
    }

    pub(crate) fn set_rtt(&mut self, rtt: Duration) {
        self.rtt = rtt;
    }

    /// A packet arrived; `key` when a key frame begins in it.
    pub(crate) fn packet(&mut self, key: bool, now: Instant) {
        self.since.get_or_insert(now);
        self.packet = Some(now);
        if let Some((_, newest)) = &mut self.underway {
            *newest = now;
        }
        if key {
            // It may begin in several packets.
            let begun = self.underway.map(|(begun, _)| begun);
            let begun = begun.filter(|begun| now.saturating_duration_since(*begun) < LONGEST);
            self.underway = Some((begun.unwrap_or(now), now));
        }
    }

    /// Whether a complete access unit may pass.
    pub(crate) fn passage(&mut self, unit: &UntimedAccessUnit, now: Instant) -> Passage {
        if let Some(kind) = unit.start.as_ref().map(|start| start.kind)
            && self.starts(kind, now)
        {
            let begins = self.gate != Gate::Open || unit.is_behind_gap;
            let owed = !self.is_first();
            self.beginning = begins.then_some(Beginning { kind, timestamp: unit.timestamp, owed });
            self.gate = Gate::Open;
            self.since = Some(now);
            self.underway = None;
            return Passage::Starts;
        }
        if self.gate != Gate::Open {
            return Passage::Withheld { owed: !self.is_first() };
        }
        match self.beginning {
            Some(beginning) if beginning.is_led_by(unit) => Passage::Withheld { owed: beginning.owed },
            _ => Passage::Follows,
        }
    }

    fn starts(&mut self, kind: StartKind, now: Instant) -> bool {
        self.guesses = match kind {
            StartKind::KeyFrame | StartKind::RecoveryPoint => false,
            StartKind::Intra(_) => {
                let patience = if self.gate == Gate::Open { LONGEST_GROUP } else { LAST_RESORT };
                let is_due = |since| now.saturating_duration_since(since) >= patience;
                if !self.guesses && !self.since.is_some_and(is_due) {
                    return false;
                }
                true
            }
        };
        true
    }

    /// An access unit cannot be decoded, nor those behind it. True when units passed until now.
    pub(crate) fn close(&mut self, now: Instant) -> bool {
        // Of a key frame that did not come whole the next is not better for coming soon.
        self.damaged |= self.underway.take().is_some();
        if self.gate != Gate::Open {
            return false;
        }
        self.gate = Gate::Closed;
        self.since = Some(now);
        true
    }

    /// True when no key frame ever passed.
    pub(crate) fn is_first(&self) -> bool {
        self.gate == Gate::First
    }

    fn due(&self) -> Option<(Instant, KeyFrameReason)> {
        let (since, packet) = self.since.zip(self.packet)?;
        let (from, pause, reason) = match self.gate {
            Gate::First if self.damaged => (since, self.config.retry, KeyFrameReason::First),
            Gate::First => (since, self.config.first.max(self.rtt), KeyFrameReason::First),
            Gate::Closed => (since, self.config.retry, KeyFrameReason::Loss),
            Gate::Open => (since + self.config.interval?, self.config.retry, KeyFrameReason::Age),
        };
        let paused = self.asked.map_or(from, |asked| asked + pause);
        let underway = self.underway.map_or(from, |(begun, newest)| (newest + UNDERWAY).min(begun + LONGEST));
        let at = from.max(paused).max(underway);
        (at <= packet + SILENCE).then_some((at, reason))
    }

    /// The request to send now.
    pub(crate) fn request(&mut self, now: Instant) -> Option<KeyFrameReason> {
        let (_, reason) = self.due().filter(|(at, _)| *at <= now)?;
        if self.packet.is_some_and(|packet| now.saturating_duration_since(packet) > SILENCE) {
            // Until it is heard again; what is due stays due.
            self.packet = None;
            return None;
        }
        self.asked = Some(now);
        Some(reason)
    }

    /// When the next request is due, unless something happens before.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        self.due().map(|(at, _)| at)
    }
}

impl Beginning {
    /// The unit may refer to what lies in front of this picture, which nobody has who begins here.
    fn is_led_by(&self, unit: &UntimedAccessUnit) -> bool {
        let is_earlier = (1..FARTHEST).contains(&self.timestamp.saturating_sub(unit.timestamp));
        unit.is_skipped_at_start || (is_earlier && self.kind != StartKind::KeyFrame)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::codec::Start;
    use crate::testing::parameters;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn unit(kind: Option<StartKind>, timestamp: u64) -> UntimedAccessUnit {
        UntimedAccessUnit {
            data: Bytes::from_static(b"picture"),
            timestamp,
            start: kind.map(|kind| Start { kind, parameters: parameters() }),
            is_behind_gap: false,
            is_skipped_at_start: false,
        }
    }

    fn passes(gate: &mut KeyFrameGate, key: bool, now: Instant) -> bool {
        let unit = unit(key.then_some(StartKind::KeyFrame), 0);
        !matches!(gate.passage(&unit, now), Passage::Withheld { .. })
    }

    /// Lets packets come every 10 ms for `length`, and gives the times of the requests in ms.
    fn requests(gate: &mut KeyFrameGate, from: Instant, length: u64) -> Vec<(u64, KeyFrameReason)> {
        let mut out = Vec::new();
        for at in (0..length).step_by(10) {
            gate.packet(false, from + ms(at));
            out.extend(gate.request(from + ms(at)).map(|reason| (at, reason)));
        }
        out
    }

    #[test]
    fn asks_every_200_ms_until_the_first() {
        let mut gate = KeyFrameGate::new(KeyFrameConfig::default());
        let now = Instant::now();
        assert_eq!(gate.request(now), None, "nobody is there");
        let times = requests(&mut gate, now, 1000);
        assert_eq!(times.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 200, 400, 600, 800]);
        assert!(times.iter().all(|(_, reason)| *reason == KeyFrameReason::First));
        assert!(
            !passes(&mut gate, false, now) && passes(&mut gate, true, now) && passes(&mut gate, false, now)
        );
    }

    #[test]
    fn does_not_ask_while_a_key_frame_arrives_nor_faster_than_the_round_trip() {
        let mut gate = KeyFrameGate::new(KeyFrameConfig::default());
        gate.set_rtt(ms(300));
        let now = Instant::now();
        gate.packet(true, now);
        let times = requests(&mut gate, now, 4000);
        assert_eq!(times.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [3000, 3300, 3600, 3900]);
    }

    #[test]
    fn asks_at_most_once_a_second_after_a_loss() {
        let mut gate = KeyFrameGate::new(KeyFrameConfig { interval: None, ..KeyFrameConfig::default() });
        let now = Instant::now();
        assert!(passes(&mut gate, true, now));
        assert_eq!(requests(&mut gate, now, 5000), [], "no interval");
        assert!(gate.close(now + ms(5000)) && !gate.close(now + ms(5000)));
        assert!(!passes(&mut gate, false, now + ms(5000)));
        let times = requests(&mut gate, now + ms(5000), 2500);
        assert_eq!(times.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 1000, 2000]);
        assert!(times.iter().all(|(_, reason)| *reason == KeyFrameReason::Loss));
    }

    #[test]
    fn asks_when_the_last_is_old_but_not_a_silent_sender() {
        let mut gate = KeyFrameGate::new(KeyFrameConfig::default());
        let now = Instant::now();
        gate.packet(true, now);
        assert!(passes(&mut gate, true, now));
        gate.packet(true, now);
        assert!(passes(&mut gate, true, now));
        assert_eq!(requests(&mut gate, now, 3500), [2000, 3000].map(|at| (at, KeyFrameReason::Age)));
        assert!(passes(&mut gate, true, now + ms(3500)));
        assert_eq!(gate.timeout(), Some(now + ms(5500)));
        let later = now + ms(3490 + 5001);
        assert_eq!((gate.request(later), gate.timeout()), (None, None), "silent");
        gate.packet(false, later);
        assert_eq!(gate.request(later), Some(KeyFrameReason::Age));
    }

    #[test]
    fn what_is_presented_before_the_picture_at_which_decoding_begins_is_left_out() {
        let now = Instant::now();
        for (kind, earlier) in [
            (StartKind::KeyFrame, Passage::Follows),
            (StartKind::RecoveryPoint, Passage::Withheld { owed: false }),
        ] {
            let mut gate = KeyFrameGate::new(KeyFrameConfig::default());
            assert_eq!(gate.passage(&unit(None, 0), now), Passage::Withheld { owed: false });
            assert_eq!(gate.passage(&unit(Some(kind), 900_000), now), Passage::Starts);
            assert_eq!(gate.passage(&unit(None, 894_000), now), earlier, "{kind:?}");
            assert_eq!(gate.passage(&unit(None, 903_000), now), Passage::Follows);
            // The sender's clock went back.
            assert_eq!(gate.passage(&unit(None, 300_000), now), Passage::Follows);
            let skipped = UntimedAccessUnit { is_skipped_at_start: true, ..unit(None, 897_000) };
            assert_eq!(gate.passage(&skipped, now), Passage::Withheld { owed: false });
            // The next has in front of it all that may be referred to.
            assert_eq!(gate.passage(&unit(Some(kind), 990_000), now), Passage::Starts);
            assert_eq!(gate.passage(&unit(None, 987_000), now), Passage::Follows);
            assert_eq!(gate.passage(&skipped, now), Passage::Follows);
            // Unless packets were lost there.
            let behind_gap = UntimedAccessUnit { is_behind_gap: true, ..unit(Some(kind), 990_000) };
            assert_eq!(gate.passage(&behind_gap, now), Passage::Starts);
            assert_eq!(gate.passage(&skipped, now), Passage::Withheld { owed: true });
        }
    }

    #[test]
    fn a_picture_that_refers_to_none_is_taken_when_nothing_better_comes_for_long() {
        let mut gate = KeyFrameGate::new(KeyFrameConfig::default());
        let now = Instant::now();
        let intra = unit(Some(StartKind::Intra(&[6])), 0);
        gate.packet(false, now);
        assert_eq!(gate.passage(&intra, now + ms(9_990)), Passage::Withheld { owed: false });
        assert_eq!(gate.passage(&intra, now + ms(10_000)), Passage::Starts);
        assert_eq!(gate.passage(&intra, now + ms(11_000)), Passage::Starts, "and from then on every one");
        assert!(passes(&mut gate, true, now + ms(12_000)));
        assert_eq!(gate.passage(&intra, now + ms(31_990)), Passage::Follows, "it did come");
        assert_eq!(gate.passage(&intra, now + ms(32_000)), Passage::Starts);
        assert!(gate.close(now + ms(33_000)));
        assert_eq!(gate.passage(&intra, now + ms(33_100)), Passage::Starts);
        assert!(passes(&mut gate, true, now + ms(34_000)) && gate.close(now + ms(35_000)));
        assert_eq!(gate.passage(&intra, now + ms(44_990)), Passage::Withheld { owed: true });
        assert_eq!(gate.passage(&intra, now + ms(45_000)), Passage::Starts);
    }
}
