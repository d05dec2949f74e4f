//! Whether what arrives of a track is handed on, and why not: nothing that is received is held back in silence.

use std::time::{Duration, Instant};

/// So long packets may come of which nothing is handed on before that has a name. A sender that keeps to its group of
/// pictures sends the first key frame within a few seconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// A track that has been silent for so long has stopped, unless its pauses are as long. With discontinuous transmission
/// Opus sends a packet every 400 ms.
const SILENT: Duration = Duration::from_secs(5);
/// Longer pauses teach no more than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Why packets or pictures are not handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Withheld {
    /// A key frame refers to an SPS or a PPS that came neither with the stream nor from [`crate::VideoConfig::payload_types`].
    NoParameterSets,
    /// A picture that is complete, and nothing was in front of it at which decoding can begin; or it refers to what lies in front
    /// of that.
    NoKeyFrame,
    /// Packets of a picture are missing, or are not what they should be: after a loss, until the next IDR.
    Incomplete,
    /// A packet that is not of the codec that was negotiated, although its payload type says so.
    NotTheCodec,
    /// A packet whose payload type is none of those that were negotiated.
    PayloadType,
}

impl Withheld {
    /// That which comes nearest to a picture first.
    pub const ALL: [Self; 5] =
        [Self::NoParameterSets, Self::NoKeyFrame, Self::Incomplete, Self::NotTheCodec, Self::PayloadType];
}

/// How often each was the reason: pictures ([`Withheld::NoParameterSets`], [`Withheld::NoKeyFrame`],
/// [`Withheld::Incomplete`]) or packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WithheldCounts([u64; Withheld::ALL.len()]);

impl WithheldCounts {
    /// How often this was the reason.
    pub fn get(&self, reason: Withheld) -> u64 {
        self.0[reason as usize]
    }

    /// Over all reasons.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Adds those of another connection.
    pub fn add(&mut self, other: &Self) {
        for (sum, count) in self.0.iter_mut().zip(other.0) {
            *sum += count;
        }
    }

    fn count(&mut self, reason: Withheld) {
        self.0[reason as usize] += 1;
    }
}

/// How a track stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// No packet has come.
    Nothing,
    /// Packets come; it is too early to say more.
    Waiting,
    /// It is handed on.
    Flowing,
    /// Packets have come for five seconds, and nothing has been handed on meanwhile.
    Withheld(Withheld),
    /// Packets came, and none has for five seconds, or for half as long again as the longest pause before.
    Stopped,
}

/// Watches over one track.
#[derive(Debug, Default)]
pub(crate) struct FlowWatch {
    /// The last packet with a payload.
    packet: Option<Instant>,
    /// The first one since something was handed on.
    since: Option<Instant>,
    handed_on: bool,
    /// An IDR began since something was handed on.
    key: bool,
    /// The longest pause that ended with a packet, at most [`LONGEST_PAUSE`].
    paused: Duration,
    /// Since something was handed on.
    recent: WithheldCounts,
    pub(crate) withheld: WithheldCounts,
}

impl FlowWatch {
    /// A packet with a payload.
    pub(crate) fn packet(&mut self, now: Instant) {
        // What was said of a track that had stopped is no news of one that is back.
        if let Some(last) = self.packet {
            let pause = now.saturating_duration_since(last);
            if pause >= self.silent() {
                (self.since, self.key, self.recent) = (None, false, WithheldCounts::default());
            }
            self.paused = self.paused.max(pause.min(LONGEST_PAUSE));
        }
        self.packet = Some(now);
        self.since.get_or_insert(now);
    }

    /// Longer without a packet: it has stopped.
    fn silent(&self) -> Duration {
        SILENT.max(self.paused + self.paused / 2)
    }

    /// The first packet of an IDR.
    pub(crate) fn key(&mut self) {
        self.key = true;
    }

    /// A packet or a picture goes no further.
    pub(crate) fn withhold(&mut self, reason: Withheld) {
        self.withheld.count(reason);
        self.recent.count(reason);
    }

    /// A packet or a picture goes on.
    pub(crate) fn hand_on(&mut self) {
        (self.since, self.key, self.recent) = (None, false, WithheldCounts::default());
        self.handed_on = true;
    }

    pub(crate) fn flow(&self, now: Instant) -> Flow {
        let Some(packet) = self.packet else { return Flow::Nothing };
        if now.saturating_duration_since(packet) >= self.silent() {
            return Flow::Stopped;
        }
        // A single packet of a slow stream is no time in which nothing came of the packets.
        let long = self.since.is_some_and(|since| packet.saturating_duration_since(since) >= PATIENCE);
        match (long, self.handed_on) {
            (true, _) => Flow::Withheld(self.reason()),
            (false, true) => Flow::Flowing,
            (false, false) => Flow::Waiting,
        }
    }

    /// That which comes nearest to a picture.
    fn reason(&self) -> Withheld {
        let some = |reason| self.recent.get(reason) > 0;
        // Key frames do come, and none arrives whole.
        if self.key && some(Withheld::Incomplete) && !some(Withheld::NoParameterSets) {
            return Withheld::Incomplete;
        }
        let is_picture = |reason: &Withheld| !matches!(reason, Withheld::NotTheCodec | Withheld::PayloadType);
        let pictures =
            Withheld::ALL.into_iter().filter(is_picture).find(|reason| self.recent.get(*reason) > 0);
        let only_foreign =
            self.recent.get(Withheld::NotTheCodec) == 0 && self.recent.get(Withheld::PayloadType) > 0;
        // Packets of which nothing comes, not even a complaint, hold no pictures.
        pictures.unwrap_or(if only_foreign { Withheld::PayloadType } else { Withheld::NotTheCodec })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::ms;

    #[test]
    fn a_track_waits_then_has_a_reason_and_is_well_again_with_the_first_that_goes_on() {
        let start = Instant::now();
        let mut watch = FlowWatch::default();
        assert_eq!(watch.flow(start), Flow::Nothing);
        for at in (0..6_000).step_by(20) {
            watch.packet(start + ms(at));
            watch.withhold(Withheld::NoKeyFrame);
            let expected = if at < 5_000 { Flow::Waiting } else { Flow::Withheld(Withheld::NoKeyFrame) };
            assert_eq!(watch.flow(start + ms(at)), expected);
        }
        watch.hand_on();
        assert_eq!(watch.flow(start + ms(6_000)), Flow::Flowing);
        assert_eq!((watch.withheld.total(), watch.withheld.get(Withheld::NoKeyFrame)), (300, 300));
        assert_eq!(watch.flow(start + ms(10_979)), Flow::Flowing);
        assert_eq!(watch.flow(start + ms(10_980)), Flow::Stopped);
        // It comes back and is not what it was.
        for at in (60_000..66_000).step_by(20) {
            watch.packet(start + ms(at));
            let expected = if at < 65_000 { Flow::Flowing } else { Flow::Withheld(Withheld::NotTheCodec) };
            assert_eq!(watch.flow(start + ms(at)), expected, "{at}");
        }
    }

    #[test]
    fn pauses_of_a_slow_camera_are_learnt() {
        for every in [6, 8, 20, 55] {
            let (start, mut watch) = (Instant::now(), FlowWatch::default());
            for picture in 0..10 {
                let at = start + ms(picture * every * 1_000);
                watch.packet(at);
                watch.hand_on();
                let before_next = watch.flow(at + ms(every * 1_000 - 1));
                let expected = if picture == 0 { Flow::Stopped } else { Flow::Flowing };
                assert_eq!(before_next, expected, "picture {picture}, one in {every} s");
            }
            let last = start + ms(9 * every * 1_000);
            assert_eq!(watch.flow(last + ms(every * 1_500)), Flow::Stopped);
        }
        // Whatever the pause was.
        let (start, mut watch) = (Instant::now(), FlowWatch::default());
        watch.packet(start);
        watch.packet(start + ms(3_600_000));
        assert_eq!(watch.flow(start + ms(3_600_000 + 90_000)), Flow::Stopped);
    }

    #[test]
    fn a_packet_that_waits_for_the_next_is_not_withheld() {
        let (start, mut watch) = (Instant::now(), FlowWatch::default());
        for picture in 0..10 {
            // Without marker bits the next packet ends the picture.
            let at = start + ms(picture * 8_000);
            watch.packet(at);
            if picture > 0 {
                watch.hand_on();
            }
            watch.packet(at + ms(1));
            let flow = watch.flow(at + ms(7_999));
            assert!(!matches!(flow, Flow::Withheld(_)), "{picture}: {flow:?}");
        }
    }

    #[test]
    fn key_frames_that_never_arrive_whole_are_not_called_missing() {
        let mut watch = FlowWatch::default();
        watch.withhold(Withheld::NoKeyFrame);
        watch.withhold(Withheld::Incomplete);
        assert_eq!(watch.reason(), Withheld::NoKeyFrame);
        watch.key();
        assert_eq!(watch.reason(), Withheld::Incomplete);
        watch.withhold(Withheld::NoParameterSets);
        assert_eq!(watch.reason(), Withheld::NoParameterSets);
        watch.hand_on();
        watch.withhold(Withheld::NoKeyFrame);
        watch.withhold(Withheld::Incomplete);
        assert_eq!(watch.reason(), Withheld::NoKeyFrame);
    }

    #[test]
    fn what_comes_nearest_to_a_picture_is_the_reason() {
        let mut watch = FlowWatch::default();
        for reason in Withheld::ALL.into_iter().rev() {
            watch.withhold(reason);
            assert_eq!(watch.reason(), reason);
        }
    }
}
