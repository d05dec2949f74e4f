//! Somebody else changes a Deployment back, again and again: another release of this operator, an autoscaler, a policy
//! engine. It is seen, and the fight is slowed. Pure: the time and a random number come from outside.

use std::time::{Duration, Instant};

/// What is undone so often in a row is fought about; a person is not so fast.
const FIGHT: u32 = 4;
/// In a row: no longer apart than this, beyond the time that we waited ourselves.
const IN_A_ROW: Duration = Duration::from_secs(120);
/// Between two of our attempts in a fight.
const SHORTEST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(300);

/// What was undone of one Deployment.
#[derive(Debug)]
pub(crate) struct Rivalry {
    times: u32,
    /// The Deployment's generation that was counted last.
    generation: Option<i64>,
    /// When we may apply again.
    next: Instant,
    /// We did, since it was counted last: what the rival does until then undoes nothing, however often he does it.
    answered: bool,
    delays: kvs_aws::Backoff,
    /// Who is in the way, as far as the Deployment tells.
    rival: Option<String>,
}

impl Rivalry {
    /// What we applied was undone: the Deployment has this generation now. `before`: what was undone until then. `random`
    /// is from 0 to 1.
    pub(crate) fn undone(before: Option<Self>, generation: Option<i64>, now: Instant, random: f64) -> Self {
        let mut rivalry = before.filter(|before| !before.is_over(now)).unwrap_or_else(|| Self {
            times: 0,
            generation: None,
            next: now,
            answered: true,
            delays: kvs_aws::Backoff::new(SHORTEST, LONGEST),
            rival: None,
        });
        if !rivalry.answered || rivalry.generation == generation && rivalry.times > 0 {
            // It is looked at again.
            return rivalry;
        }
        rivalry.answered = false;
        rivalry.times = rivalry.times.saturating_add(1);
        rivalry.generation = generation;
        rivalry.next = now;
        if rivalry.is_fight() {
            rivalry.next += rivalry.delays.next_delay(0.5 + 0.5 * random.clamp(0.0, 1.0));
        }
        rivalry
    }

    /// We apply again what was undone.
    pub(crate) fn answer(&mut self) {
        self.answered = true;
    }

    pub(crate) fn is_fight(&self) -> bool {
        self.times >= FIGHT
    }

    /// Nothing was undone for a while.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        now > self.next + IN_A_ROW
    }

    /// Until when the rival is left alone.
    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    /// When it is over, if nothing more is undone.
    pub(crate) fn end(&self) -> Instant {
        self.next + IN_A_ROW + Duration::from_millis(1)
    }

    pub(crate) fn rival(&self) -> Option<&str> {
        self.rival.as_deref()
    }

    pub(crate) fn set_rival(&mut self, rival: String) {
        self.rival = Some(rival);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn what_is_undone_once_in_a_while_is_no_fight() {
        let start = Instant::now();
        let mut rivalry = None;
        for number in 0..20 {
            let now = at(start, number * 121);
            let mut undone = Rivalry::undone(rivalry, Some(number.try_into().unwrap()), now, 0.5);
            assert!(!undone.is_fight() && undone.next() == now, "it is repaired at once");
            undone.answer();
            rivalry = Some(undone);
        }
    }

    #[test]
    fn a_fight_is_slowed_and_ends() {
        let start = Instant::now();
        let (mut rivalry, mut now, mut attempts) = (None, start, 0);
        // The other side answers within a second, for an hour.
        while now < at(start, 3600) {
            attempts += 1;
            let mut undone = Rivalry::undone(rivalry, Some(attempts), now, 1.0);
            assert_eq!(undone.is_fight(), attempts >= 4);
            now = undone.next() + Duration::from_secs(1);
            undone.answer();
            rivalry = Some(undone);
        }
        assert!((14..30).contains(&attempts), "{attempts} in an hour");
        let mut rivalry = rivalry.unwrap();
        rivalry.set_rival("it".to_owned());
        let end = rivalry.end();
        assert!(rivalry.is_over(end) && !rivalry.is_over(rivalry.next()));
        let anew = Rivalry::undone(Some(rivalry), Some(1000), end, 1.0);
        assert!(!anew.is_fight() && anew.rival().is_none());
    }

    /// Who never rests keeps nobody from his turn.
    #[test]
    fn what_is_changed_before_it_is_answered_undoes_nothing() {
        let (start, mut rivalry, mut answers) = (Instant::now(), None, 0);
        for second in 0..3600 {
            let mut undone = Rivalry::undone(rivalry, i64::try_from(second).ok(), at(start, second), 1.0);
            if at(start, second) >= undone.next() {
                undone.answer();
                answers += 1;
            }
            rivalry = Some(undone);
        }
        assert!((14..30).contains(&answers), "{answers} in an hour");
    }

    #[test]
    fn a_look_is_no_undoing() {
        let start = Instant::now();
        let mut rivalry = Rivalry::undone(None, Some(7), start, 0.5);
        for second in 1..10 {
            rivalry = Rivalry::undone(Some(rivalry), Some(7), at(start, second), 0.5);
        }
        assert!(!rivalry.is_fight());
    }
}
