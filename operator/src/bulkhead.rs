//! Bulkheads: who waits for what does not answer leaves room for the others.
//!
//! Reconciles are few at a time. A region, or the objects of a namespace, may hold at most three times as many of them as
//! are still free then: 24 of 32 when nobody else is busy, and together never all. (The rule is that of shared buffers in
//! switches: Choudhury and Hahne, Dynamic Queue Length Thresholds, 1998.)

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// One may hold so many times what would be left.
const SHARE: usize = 3;
/// Where work goes on a place is free soon. Who waits longer goes, for he stands in the way of others himself.
const PATIENCE: Duration = Duration::from_millis(250);

/// Places for a number of holders, by name.
#[derive(Debug)]
pub(crate) struct Bulkhead {
    capacity: usize,
    held: Mutex<Held>,
    freed: Notify,
}

/// One entry for each name that holds a place: bounded by the capacity.
#[derive(Debug, Default)]
struct Held {
    by: HashMap<String, usize>,
    all: usize,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    bulkhead: &'a Bulkhead,
    name: String,
}

impl Bulkhead {
    /// Of so many places.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, held: Mutex::default(), freed: Notify::new() }
    }

    /// A place for `name`, after a short while perhaps. `None`: it holds its share already.
    pub(crate) async fn enter(&self, name: &str) -> Option<Place<'_>> {
        let place = async {
            loop {
                let mut freed = std::pin::pin!(self.freed.notified());
                // From before the look on, so that none is missed.
                freed.as_mut().enable();
                if let Some(place) = self.try_enter(name) {
                    return place;
                }
                freed.await;
            }
        };
        tokio::time::timeout(PATIENCE, place).await.ok()
    }

    fn try_enter(&self, name: &str) -> Option<Place<'_>> {
        let mut held = self.held.lock();
        let own = held.by.get(name).copied().unwrap_or(0);
        let left = self.capacity.saturating_sub(held.all + 1);
        // Everybody may have one.
        if own > 0 && own + 1 > SHARE * left {
            return None;
        }
        *held.by.entry(name.to_owned()).or_default() += 1;
        held.all += 1;
        Some(Place { bulkhead: self, name: name.to_owned() })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut held = self.bulkhead.held.lock();
        held.all -= 1;
        if let Some(own) = held.by.get_mut(&self.name) {
            *own -= 1;
            if *own == 0 {
                held.by.remove(&self.name);
            }
        }
        drop(held);
        self.bulkhead.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::*;

    /// As many places as `name` gets when it asks for all of them.
    async fn all<'a>(bulkhead: &'a Bulkhead, name: &str) -> Vec<Place<'a>> {
        let mut places = Vec::new();
        while let Some(place) = bulkhead.enter(name).await {
            places.push(place);
        }
        places
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_holds_everything() {
        let bulkhead = Bulkhead::new(32);
        let hog = all(&bulkhead, "a").await;
        assert_eq!(hog.len(), 24);
        let other = all(&bulkhead, "b").await;
        assert_eq!(other.len(), 6);
        assert!(bulkhead.enter("c").await.is_some(), "there is room yet");
        drop(hog);
        assert_eq!(all(&bulkhead, "b").await.len(), 24 - 6, "what is free is shared anew");
        drop(other);
        assert_eq!(bulkhead.held.lock().by.get("b"), None);
        assert_eq!(bulkhead.held.lock().all, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn even_where_there_are_few() {
        for (capacity, most) in [(1, 1), (2, 1), (3, 2), (4, 3), (8, 6), (256, 192)] {
            let bulkhead = Bulkhead::new(capacity);
            assert_eq!(all(&bulkhead, "a").await.len(), most, "of {capacity}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_to_wait_waits_for_a_moment_only() {
        let bulkhead = Bulkhead::new(4);
        let mut held = all(&bulkhead, "a").await;
        let asked = Instant::now();
        assert!(bulkhead.enter("a").await.is_none());
        assert_eq!(asked.elapsed(), PATIENCE);
        let place = held.pop().unwrap();
        let give_back = async {
            sleep(PATIENCE / 2).await;
            drop(place);
        };
        let (entered, ()) = tokio::join!(bulkhead.enter("a"), give_back);
        assert!(entered.is_some());
    }

    /// 100 objects of a region that does not answer, 32 reconcilers, and one object of another region a second: each is
    /// done within its second.
    #[tokio::test(start_paused = true)]
    async fn a_region_that_does_not_answer_stops_no_other() {
        const RECONCILERS: usize = 32;
        let bulkhead = Arc::new(Bulkhead::new(RECONCILERS));
        let reconcilers = Arc::new(tokio::sync::Semaphore::new(RECONCILERS));
        for _ in 0..100 {
            let (bulkhead, reconcilers) = (bulkhead.clone(), reconcilers.clone());
            tokio::spawn(async move {
                loop {
                    let slot = reconcilers.acquire().await.unwrap();
                    if let Some(_place) = bulkhead.enter("dead").await {
                        sleep(Duration::from_secs(60)).await;
                    }
                    drop(slot);
                    sleep(Duration::from_secs(2)).await;
                }
            });
        }
        for _ in 0..120 {
            sleep(Duration::from_secs(1)).await;
            let asked = Instant::now();
            let _slot = reconcilers.acquire().await.unwrap();
            let _place = bulkhead.enter("alive").await.unwrap();
            sleep(Duration::from_millis(50)).await;
            assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        }
    }
}
