//! The regions that are asked, each with its context: those that there are, or that the release allows, the least recently
//! used of which are given up.

use std::ops::Deref;
use std::sync::Arc;

use kvs::ControlPlane;
use kvs_aws::AwsContext;
use parking_lot::Mutex;
use tokio::sync::OnceCell;

#[cfg(test)]
use super::control::Control;
use super::region::Region;
use crate::bulkhead::{Bulkhead, Place};
use crate::conditions::ConditionUpdate;
use crate::lease::Leadership;
use crate::metrics::Metrics;
use crate::reason::Reason;

/// So many are remembered: more than AWS has. Behind an endpoint of one's own any name may be used.
const MOST: usize = 64;

/// All regions of all partitions, as in the endpoint rules of the AWS SDK for Rust (aws-sdk-kinesisvideo 1.122). A newer
/// one is named by `--regions`.
const KNOWN: &[&str] = &[
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "ca-central-1",
    "ca-west-1",
    "cn-north-1",
    "cn-northwest-1",
    "eu-central-1",
    "eu-central-2",
    "eu-isoe-west-1",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eusc-de-east-1",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-gov-east-1",
    "us-gov-west-1",
    "us-iso-east-1",
    "us-iso-west-1",
    "us-isob-east-1",
    "us-isob-west-1",
    "us-isof-east-1",
    "us-isof-south-1",
    "us-west-1",
    "us-west-2",
];

/// The regions of AWS, for those who ask at once.
pub struct Regions {
    /// What the release names; empty: all that AWS has.
    allowed: Vec<String>,
    /// The first that was made. Others share what is large of it: roots, HTTP client.
    first: OnceCell<AwsContext>,
    used: Mutex<Recent<Arc<OnceCell<Arc<Region>>>>>,
    bulkhead: Bulkhead,
    quota_share: f64,
    leading: Leadership,
    metrics: Arc<Metrics>,
}

/// A region, and a place among those that ask AWS at once.
pub(super) struct Entered<'a> {
    region: Arc<Region>,
    _place: Place<'a>,
}

impl Deref for Entered<'_> {
    type Target = Region;

    fn deref(&self) -> &Region {
        &self.region
    }
}

impl Regions {
    /// `concurrency`: reconciles at the same time, of which those that wait for one region leave some to others.
    #[must_use]
    pub fn new(
        allowed: Vec<String>,
        concurrency: usize,
        quota_share: f64,
        leading: Leadership,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (first, used, bulkhead) = (OnceCell::new(), Mutex::default(), Bulkhead::new(concurrency));
        Self { allowed, first, used, bulkhead, quota_share, leading, metrics }
    }

    /// Something else in the place of AWS in this region.
    #[cfg(test)]
    pub(super) fn stand_in(&self, name: &str, control: Arc<dyn Control>) {
        let region = Region::new(control, self.quota_share, self.leading.clone(), self.metrics.clone());
        assert!(self.used.lock().get(name).set(Arc::new(region)).is_ok(), "{name} is in use");
    }

    /// The region, for one who may be declared there by this release.
    pub(super) async fn enter(&self, name: &str) -> Result<Entered<'_>, ConditionUpdate> {
        if !self.allowed.is_empty() && !self.allowed.iter().any(|allowed| allowed == name) {
            return Err(unknown_region(
                name,
                self.allowed.iter().map(String::as_str),
                "is not among the operator's --regions",
            ));
        }
        self.enter_any(name).await
    }

    /// The region, for what may have been made there while it was allowed.
    pub(super) async fn enter_any(&self, name: &str) -> Result<Entered<'_>, ConditionUpdate> {
        let used = self.used.lock().find(name);
        let region = match used.as_ref().and_then(|used| used.get()) {
            Some(region) => region.clone(),
            None => self.connect(name).await?,
        };
        match self.bulkhead.enter(name).await {
            Some(place) => Ok(Entered { region, _place: place }),
            None if region.is_silent() => Err(ConditionUpdate::unknown(
                Reason::AwsUnavailable,
                format!("AWS does not answer in {name}; the calls before this one wait, too"),
            )),
            None => {
                self.metrics.put_off("region");
                Err(ConditionUpdate::unknown(Reason::AwsBusy, format!("many objects ask AWS in {name}")))
            }
        }
    }

    /// To a region that was not used for a while.
    async fn connect(&self, name: &str) -> Result<Arc<Region>, ConditionUpdate> {
        let not_configured = |error: kvs_aws::ContextError| {
            ConditionUpdate::unknown(Reason::AwsNotConfigured, format!("the operator's AWS access: {error}"))
        };
        let known = KNOWN.contains(&name) || self.allowed.iter().any(|allowed| allowed == name);
        let first = || AwsContext::builder().region(name).build();
        let first = self.first.get_or_try_init(first).await.map_err(not_configured)?;
        if !known && !first.has_custom_endpoint() {
            return Err(unknown_region(name, KNOWN.iter().copied(), "is no region of AWS"));
        }
        let cell = self.used.lock().get(name);
        let make = || async {
            let context = if first.region() == name {
                first.clone()
            } else {
                AwsContext::builder().region(name).sharing(first).build().await?
            };
            let control = Arc::new(ControlPlane::new(&context));
            let (leading, metrics) = (self.leading.clone(), self.metrics.clone());
            Ok(Arc::new(Region::new(control, self.quota_share, leading, metrics)))
        };
        Ok(cell.get_or_try_init(make).await.map_err(not_configured)?.clone())
    }
}

fn unknown_region<'a>(name: &str, all: impl Iterator<Item = &'a str>, why: &str) -> ConditionUpdate {
    let nearest = all.map(|other| (strsim::osa_distance(name, other), other)).min();
    let hint = nearest
        .filter(|(distance, _)| *distance <= 2)
        .map_or_else(|| ".".to_owned(), |(_, other)| format!("; did you mean {other}?"));
    ConditionUpdate::stalled(
        Reason::RegionUnknown,
        format!(
            "spec.region: {name} {why}{hint} It cannot be changed: delete the object and create it anew. Where the region \
             is right, the operator needs it in --regions (aws.regions of the chart)"
        ),
    )
}

/// What was used last, by name: [`MOST`] of them.
#[derive(Debug)]
struct Recent<T>(Vec<(String, T)>);

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Clone + Default> Recent<T> {
    /// That of this name, a new one perhaps.
    fn get(&mut self, name: &str) -> T {
        if let Some(value) = self.find(name) {
            return value;
        }
        if self.0.len() >= MOST {
            // Who uses it still goes on with it.
            self.0.remove(0);
        }
        let value = T::default();
        self.0.push((name.to_owned(), value.clone()));
        value
    }

    /// That of this name, if it is remembered.
    fn find(&mut self, name: &str) -> Option<T> {
        let index = self.0.iter().position(|(used, _)| used == name)?;
        let entry = self.0.remove(index);
        let value = entry.1.clone();
        self.0.push(entry);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regions(allowed: &[&str]) -> Regions {
        Regions::new(
            allowed.iter().map(|name| (*name).to_owned()).collect(),
            8,
            1.0,
            tokio::sync::watch::channel(true).1,
            Arc::default(),
        )
    }

    async fn refusal(regions: &Regions, name: &str) -> String {
        let update = regions.enter(name).await.err().unwrap_or_else(|| panic!("{name} is taken"));
        assert_eq!(update.reason, Reason::RegionUnknown, "{}", update.message);
        update.message
    }

    #[tokio::test]
    async fn what_aws_does_not_have_is_refused_by_name() {
        let all = regions(&[]);
        let message = refusal(&all, "eu-centrl-1").await;
        assert!(message.contains("eu-centrl-1 is no region of AWS; did you mean eu-central-1?"), "{message}");
        assert!(message.contains("--regions"), "{message}");
        assert!(!refusal(&all, "atlantis-deep-7").await.contains("did you mean"));
        for there in ["eu-central-1", "us-gov-west-1", "cn-north-1"] {
            assert!(all.enter(there).await.is_ok(), "{there}");
        }
        assert_eq!(all.used.lock().0.len(), 3, "nothing is kept of what was refused");
    }

    #[tokio::test]
    async fn a_release_may_name_its_regions() {
        // One that is newer than this program.
        let some = regions(&["eu-west-1", "eu-new-9"]);
        for there in ["eu-west-1", "eu-new-9"] {
            assert!(some.enter(there).await.is_ok(), "{there}");
        }
        assert!(refusal(&some, "eu-west-2").await.contains("is not among the operator's --regions"));
        // What was made before it was narrowed can still be deleted.
        assert!(some.enter_any("eu-west-2").await.is_ok());
        assert!(some.enter_any("eu-west-77").await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_region_is_made_once_and_leaves_room_for_others() {
        let all = regions(&[]);
        let mut held = Vec::new();
        let refused = loop {
            match all.enter("eu-west-1").await {
                Ok(entered) => held.push(entered),
                Err(update) => break update,
            }
        };
        assert_eq!((held.len(), refused.reason), (6, Reason::AwsBusy), "{}", refused.message);
        assert!(held.iter().all(|entered| Arc::ptr_eq(&entered.region, &held[0].region)));
        assert!(all.enter("eu-west-2").await.is_ok());
    }

    #[test]
    fn the_least_recently_used_goes() {
        let mut recent = Recent::<Arc<()>>::default();
        let first = recent.get("0");
        for number in 1..MOST {
            recent.get(&number.to_string());
        }
        assert!(Arc::ptr_eq(&recent.get("0"), &first));
        recent.get("one more");
        assert_eq!(recent.0.len(), MOST);
        assert!(Arc::ptr_eq(&recent.get("0"), &first), "it was used");
        assert!(!recent.0.iter().any(|(name, _)| name == "1"));
    }
}
