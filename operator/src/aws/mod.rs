//! Channel and stream as AWS has them: found, created, adopted and deleted. Every call within the account's quotas.

mod control;
mod ownership;
mod region;
mod regions;
mod resource;
mod storage;

#[cfg(test)]
use std::sync::Arc;

use async_trait::async_trait;
use kvs::Tags;
use kvs_aws::ErrorClass;
use kvs_ingest_api::{ResolvedChannel, ResolvedStream};

#[cfg(test)]
pub(crate) use self::control::Control;
use self::ownership::Owner;
use self::region::{Quota, Region};
pub use self::regions::Regions;
use self::resource::Resource;
pub use self::resource::Subject;
pub(crate) use self::storage::{Evidence, Mapped, Pair, Recorder};
use crate::conditions::{ConditionStatus, ConditionUpdate};
use crate::names;
use crate::reason::Reason;

/// AWS for all regions. What is changed there is changed by the leader only.
pub struct Aws {
    regions: Regions,
    cluster: String,
}

/// A channel or stream, as far as it is known, and what is to be said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution<T> {
    pub resource: T,
    pub condition: ConditionUpdate,
}

/// What need not be asked.
pub(crate) struct Known {
    pub(crate) channel: Option<Resolution<ResolvedChannel>>,
    pub(crate) stream: Option<Resolution<ResolvedStream>>,
}

/// The other objects of the cluster.
#[async_trait]
pub(crate) trait Neighbours: Send + Sync {
    /// Does an object of this name live that has this uid?
    ///
    /// # Errors
    /// Why that cannot be told.
    async fn lives(&self, namespace: &str, name: &str, uid: &str) -> Result<bool, String>;

    /// Another object that uses the channel or stream of this ARN: one that stays, if there is one.
    fn uses(&self, arn: &str) -> Option<User>;
}

/// Who uses a channel or stream beside its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// `NAMESPACE/NAME`
    pub(crate) name: String,
    /// It is being deleted, and leaves it soon.
    pub(crate) ends: bool,
}

/// What became of a channel or stream when its object was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    /// There is none that is this object's own.
    Gone,
    /// There is none. AWS may not know yet of what was created a moment ago, also in the place of one that was lost.
    Unseen,
    /// It was this object's own, and was deleted just now.
    Deleted,
    /// It is this object's own, and stays: this other object uses it.
    Kept(String),
    /// It is this object's own, and goes when this other object, which is being deleted, uses it no more.
    Used(String),
    /// AWS is at it.
    Going(String),
    Blocked(ConditionUpdate),
}

/// A channel or stream that was looked for.
enum Found<R: Resource> {
    Settled(Resolution<R>),
    /// It is not there, and is to be created under this name.
    Missing(R, R::Name),
}

impl<R: Resource> Found<R> {
    /// It is there, or on its way, or can be made.
    fn is_hopeful(&self) -> bool {
        match self {
            Self::Settled(resolution) => is_hopeful(&resolution.condition),
            Self::Missing(..) => true,
        }
    }
}

fn is_hopeful(condition: &ConditionUpdate) -> bool {
    condition.is_met() || condition.reason == Reason::Creating
}

/// What a look came to, before it is put into a [`Resolution`].
enum Unmet<N> {
    Missing(N),
    Condition(ConditionUpdate),
}

impl<N> From<ConditionUpdate> for Unmet<N> {
    fn from(condition: ConditionUpdate) -> Self {
        Self::Condition(condition)
    }
}

impl Aws {
    /// `cluster` marks what is created.
    pub fn new(cluster: impl Into<String>, regions: Regions) -> Self {
        Self { regions, cluster: cluster.into() }
    }

    /// With something else in the place of AWS in this region.
    #[cfg(test)]
    pub(crate) fn stand_in(&self, region: &str, control: Arc<dyn Control>) {
        self.regions.stand_in(region, control);
    }

    /// Channel and stream of an object, as they are `known` or found; created or adopted as it says. Neither is created
    /// while the other is not there and cannot be made. No stream where the object names none.
    pub(crate) async fn resolve(
        &self,
        subject: Subject<'_>,
        known: Known,
        neighbours: &dyn Neighbours,
    ) -> (Resolution<ResolvedChannel>, Option<Resolution<ResolvedStream>>) {
        let channel: Found<ResolvedChannel> = match known.channel {
            Some(channel) => Found::Settled(channel),
            None => Box::pin(self.find(subject, neighbours)).await,
        };
        let stream: Option<Found<ResolvedStream>> = match (known.stream, &subject.spec.stream) {
            (_, None) => None,
            (Some(stream), _) => Some(Found::Settled(stream)),
            (None, _) => Some(Box::pin(self.find(subject, neighbours)).await),
        };
        let with_stream = stream.as_ref().is_none_or(Found::is_hopeful);
        let channel = Box::pin(self.create(channel, with_stream, subject, neighbours)).await;
        let with_channel = is_hopeful(&channel.condition);
        let stream = match stream {
            Some(stream) => Some(Box::pin(self.create(stream, with_channel, subject, neighbours)).await),
            None => None,
        };
        (channel, stream)
    }

    async fn find<R: Resource>(&self, subject: Subject<'_>, neighbours: &dyn Neighbours) -> Found<R> {
        let mut resource = R::default();
        let condition = match self.look(&mut resource, subject, neighbours).await {
            Ok(condition) | Err(Unmet::Condition(condition)) => condition,
            Err(Unmet::Missing(name)) => return Found::Missing(resource, name),
        };
        Found::Settled(Resolution { resource, condition })
    }

    /// Fills `resource` with what is known, however far that goes; to its condition when all is well.
    async fn look<R: Resource>(
        &self,
        resource: &mut R,
        subject: Subject<'_>,
        neighbours: &dyn Neighbours,
    ) -> Result<ConditionUpdate, Unmet<R::Name>> {
        let id = resource
            .declare(subject.spec)
            .map_err(|error| ConditionUpdate::stalled(Reason::InvalidSpec, error.to_string()))?;
        let create_if_missing = R::declared(subject.spec).create_if_missing;
        let region = self.regions.enter(&subject.spec.region).await?;
        let described = region.call(Quota::Describe, R::DESCRIBE, R::describe(&*region.control, &id)).await;
        let info = match (described, R::name(&id)) {
            (Ok(info), _) => info,
            (Err(error), Some(name)) if error.class == ErrorClass::NotFound && create_if_missing => {
                if error.being_deleted {
                    let message = format!("the {} is being deleted, and created again after that", R::KIND);
                    return Err(ConditionUpdate::waiting(Reason::Creating, message).into());
                }
                return Err(Unmet::Missing(name.clone()));
            }
            (Err(error), _) => return Err(R::failed(&error, subject, create_if_missing).into()),
        };
        let tags = region.call(Quota::Change, R::LIST_TAGS, R::tags(&*region.control, &info)).await;
        let tags = match tags {
            Ok(tags) => Some(tags),
            Err(error) if error.class == ErrorClass::AccessDenied => None,
            Err(error) => {
                resource.describe_as(&info);
                return Err(R::failed(&error, subject, true).into());
            }
        };
        Ok(self.settle(&region, resource, info, tags, subject, neighbours).await?)
    }

    /// What is missing is created, if the other half of the object is there or can be made.
    async fn create<R: Resource>(
        &self,
        found: Found<R>,
        with_other: bool,
        subject: Subject<'_>,
        neighbours: &dyn Neighbours,
    ) -> Resolution<R> {
        let (mut resource, name) = match found {
            Found::Settled(resolution) => return resolution,
            Found::Missing(resource, name) => (resource, name),
        };
        let condition = if with_other {
            let begun = self.begin(&mut resource, &name, subject, neighbours).await;
            begun.unwrap_or_else(|condition| condition)
        } else {
            let message = format!(
                "the {} does not exist, and is not created before the {} is found",
                R::KIND,
                R::OTHER_KIND
            );
            ConditionUpdate::waiting(R::WAITING_FOR_OTHER, message)
        };
        Resolution { resource, condition }
    }

    async fn begin<R: Resource>(
        &self,
        resource: &mut R,
        name: &R::Name,
        subject: Subject<'_>,
        neighbours: &dyn Neighbours,
    ) -> Result<ConditionUpdate, ConditionUpdate> {
        let region = self.regions.enter(&subject.spec.region).await?;
        let control = &*region.control;
        let tags = R::tags_to_create(subject.spec, self.tags(subject));
        let create = R::create(control, name, subject.spec, &tags);
        let created = region.change(R::CREATE, create).await;
        let created = created.map_err(|error| R::failed(&error, subject, false))?;
        // From here on there is something to delete, whatever comes next.
        resource.set_created(created);
        let id = resource
            .declare(subject.spec)
            .map_err(|error| ConditionUpdate::stalled(Reason::InvalidSpec, error.to_string()))?;
        let info = match region.call(Quota::Describe, R::DESCRIBE, R::describe(control, &id)).await {
            Ok(info) => info,
            // AWS does not know of it everywhere yet.
            Err(error) if error.class == ErrorClass::NotFound => return Err(being_created::<R>()),
            Err(error) => return Err(R::failed(&error, subject, true)),
        };
        let tags = if created {
            Some(tags)
        } else {
            // Somebody was faster.
            match region.call(Quota::Change, R::LIST_TAGS, R::tags(control, &info)).await {
                Ok(tags) => Some(tags),
                Err(error) if error.class == ErrorClass::AccessDenied => None,
                Err(error) => return Err(R::failed(&error, subject, true)),
            }
        };
        self.settle(&region, resource, info, tags, subject, neighbours).await
    }

    /// What is to be said of one that is there; adopted, if that was asked for.
    async fn settle<R: Resource>(
        &self,
        region: &Region,
        resource: &mut R,
        mut info: R::Info,
        mut tags: Option<Tags>,
        subject: Subject<'_>,
        neighbours: &dyn Neighbours,
    ) -> Result<ConditionUpdate, ConditionUpdate> {
        resource.describe_as(&info);
        let mut owner = Owner::of(tags.as_ref(), &self.cluster, subject);
        if owner == Owner::Unreadable && subject.status.and_then(R::known).is_some_and(R::is_created) {
            // Until the tags can be looked at again.
            owner = Owner::This { adopted: false };
        }
        let mut refused = None;
        if R::declared(subject.spec).adopt && !owner.is_this() {
            refused = self.adopt::<R>(region, &info, &owner, subject, neighbours).await?;
            if refused.is_none() {
                owner = Owner::This { adopted: true };
                tags.get_or_insert_default().extend(self.tags(subject));
                resource.set_created(true);
                // Its tags are part of its version.
                let described = region
                    .call(Quota::Describe, R::DESCRIBE, R::describe(&*region.control, &R::id(&info)))
                    .await;
                info = described.map_err(|error| R::failed(&error, subject, true))?;
            }
        }
        // Also what an operator made that stopped before it could write it down.
        resource.set_created(owner.is_this());
        if !R::is_active(&info) {
            return Err(being_created::<R>());
        }
        let mut notes = Vec::new();
        let incomplete = tags.as_ref().is_some_and(|tags| !tags.contains_key(names::TAG_NAMESPACE));
        if owner.is_this() && incomplete {
            match self.tag_namespace::<R>(region, &info, subject).await? {
                None => {
                    let described = region
                        .call(Quota::Describe, R::DESCRIBE, R::describe(&*region.control, &R::id(&info)))
                        .await;
                    info = described.map_err(|error| R::failed(&error, subject, true))?;
                }
                refused => notes.extend(refused),
            }
        }
        let arn = R::arn(&info);
        let mut message = match &owner {
            Owner::This { adopted: false } => format!("the operator created {arn}"),
            Owner::This { adopted: true } => format!("the operator adopted {arn}"),
            _ => arn.clone(),
        };
        let field = R::FIELD;
        match &owner {
            Owner::OtherCluster { cluster, ingest, same_uid: false } if R::ONE_WRITER => {
                let message = format!(
                    "{arn} is of KvsIngest {ingest} of cluster {cluster:?}, by its tags. If nothing there writes to it any \
                     more, take them away: {}",
                    R::untag(&info)
                );
                return Err(ConditionUpdate::stalled(Reason::StreamInUse, message));
            }
            Owner::OtherCluster { cluster, .. } => notes.push(format!(
                "its tags name the cluster {cluster:?}, so this one never deletes it and changes nothing of it"
            )),
            Owner::Predecessor => notes.push(format!(
                "it was made for an earlier KvsIngest of this name, and is this one's own with {field}.adopt: true"
            )),
            Owner::This { .. } | Owner::Other { .. } | Owner::Nobody | Owner::Unreadable => {}
        }
        notes.extend(resource.check(region, info, tags.as_ref(), subject).await?);
        let is_refused = refused.is_some();
        for note in refused.into_iter().chain(notes) {
            message.push_str("; ");
            message.push_str(&note);
        }
        let reason = match owner {
            Owner::This { adopted: false } => Reason::Created,
            Owner::This { adopted: true } => Reason::Adopted,
            // It is found all the same, and may be written.
            _ if is_refused => Reason::AdoptionRefused,
            _ => Reason::Found,
        };
        Ok(ConditionUpdate::met(reason, message))
    }

    /// What an earlier release made is told from what others have by its namespace, too, to which IAM may hold its agent: to
    /// why not, if AWS refuses that. The agent has done without so far.
    async fn tag_namespace<R: Resource>(
        &self,
        region: &Region,
        info: &R::Info,
        subject: Subject<'_>,
    ) -> Result<Option<String>, ConditionUpdate> {
        // All of them: policies of IAM look for the cluster's in the request.
        let tags = self.tags(subject);
        let Err(error) = region.change(R::TAG, R::tag(&*region.control, info, &tags)).await else {
            return Ok(None);
        };
        let failed = R::failed(&error, subject, true);
        if failed.status == ConditionStatus::Unknown {
            return Err(failed);
        }
        Ok(Some(format!("its tag {} cannot be written: {}", names::TAG_NAMESPACE, error.message)))
    }

    /// Tags it as this object's, unless it is somebody's who lives, or may: then to why not.
    async fn adopt<R: Resource>(
        &self,
        region: &Region,
        info: &R::Info,
        owner: &Owner,
        subject: Subject<'_>,
        neighbours: &dyn Neighbours,
    ) -> Result<Option<String>, ConditionUpdate> {
        let field = R::FIELD;
        let refused = |why: String| Ok(Some(format!("{field}.adopt is refused: {why}")));
        match owner {
            Owner::This { .. } => return Ok(None),
            Owner::Nobody | Owner::Predecessor => {}
            Owner::Other { namespace, name, uid } => match neighbours.lives(namespace, name, uid).await {
                Ok(false) => {}
                Ok(true) => {
                    return refused(format!(
                        "it is of KvsIngest {namespace}/{name}, which lives; delete that first, or take {field}.adopt away"
                    ));
                }
                Err(why) => {
                    return refused(format!(
                        "it is of KvsIngest {namespace}/{name}, and whether that lives cannot be told: {why}"
                    ));
                }
            },
            Owner::OtherCluster { cluster, ingest, .. } => {
                return refused(format!(
                    "it is of KvsIngest {ingest} of cluster {cluster:?}, by its tags; if that is over, take them away: {}",
                    R::untag(info)
                ));
            }
            Owner::Unreadable => {
                return refused(format!("the operator may not call {} on it", R::LIST_TAGS));
            }
        }
        let mut tags = self.tags(subject);
        tags.insert(names::TAG_ADOPTED.to_owned(), "true".to_owned());
        let tag = region.change(R::TAG, R::tag(&*region.control, info, &tags)).await;
        match tag {
            Ok(()) => Ok(None),
            Err(error) if error.class == ErrorClass::AccessDenied => {
                refused(format!("the operator may not call {} on it: {}", R::TAG, error.message))
            }
            Err(error) => Err(R::failed(&error, subject, true)),
        }
    }

    /// Deletes what is this object's own, and nothing else: looked up as the object names it, and decided by AWS's tags.
    /// What another object uses stays.
    pub(crate) async fn delete_own(&self, subject: Subject<'_>, neighbours: &dyn Neighbours) -> [Removal; 2] {
        let region = match self.regions.enter_any(&subject.spec.region).await {
            Ok(region) => region,
            // Nobody was ever let in there: a name that is mistyped must not hold the object.
            Err(condition) if condition.reason == Reason::RegionUnknown && !was_there(subject) => {
                return [Removal::Gone, Removal::Gone];
            }
            Err(condition) => return [Removal::Blocked(condition), Removal::Gone],
        };
        let channel = Box::pin(self.delete::<ResolvedChannel>(&region, subject, neighbours)).await;
        let stream = Box::pin(self.delete::<ResolvedStream>(&region, subject, neighbours)).await;
        [channel, stream]
    }

    async fn delete<R: Resource>(
        &self,
        region: &Region,
        subject: Subject<'_>,
        neighbours: &dyn Neighbours,
    ) -> Removal {
        self.try_delete::<R>(region, subject, neighbours).await.unwrap_or_else(Removal::Blocked)
    }

    async fn try_delete<R: Resource>(
        &self,
        region: &Region,
        subject: Subject<'_>,
        neighbours: &dyn Neighbours,
    ) -> Result<Removal, ConditionUpdate> {
        let known = subject.status.and_then(R::known);
        let declared = R::declared(subject.spec);
        // What cannot be named was never found.
        let Ok(id) = R::default().declare(subject.spec) else { return Ok(Removal::Gone) };
        let created = known.is_some_and(R::is_created);
        let may_be_own = declared.create_if_missing || declared.adopt || created;
        if declared.arn.is_some() && !may_be_own {
            return Ok(Removal::Gone);
        }
        let control = &*region.control;
        let describe = || region.call(Quota::Describe, R::DESCRIBE, R::describe(control, &id));
        let failed = |error: kvs::Error| R::failed(&error, subject, true);
        // Neither made nor taken, as far as anybody knows, and not to be looked at: another account's, say, which its agent
        // alone can see. What it asked to adopt there it never had.
        let not_its_own = |error: &kvs::Error| {
            error.class == ErrorClass::AccessDenied
                && (!may_be_own || !created && R::failed(error, subject, true).is_met())
        };
        let going = |words: &str| Removal::Going(format!("the {} is being deleted{words}", R::KIND));
        let info = match describe().await {
            Ok(info) => info,
            Err(error) if error.being_deleted => return Ok(going("")),
            Err(error) if error.class == ErrorClass::NotFound => {
                return Ok(if declared.create_if_missing { Removal::Unseen } else { Removal::Gone });
            }
            Err(error) if not_its_own(&error) => return Ok(Removal::Gone),
            Err(error) => return Err(failed(error)),
        };
        let tags = match region.call(Quota::Change, R::LIST_TAGS, R::tags(control, &info)).await {
            Err(error) if not_its_own(&error) => return Ok(Removal::Gone),
            tags => tags.map_err(failed)?,
        };
        if !Owner::of(Some(&tags), &self.cluster, subject).is_this() {
            return Ok(Removal::Gone);
        }
        match neighbours.uses(&R::arn(&info)) {
            None => {}
            Some(User { name, ends: false }) => return Ok(Removal::Kept(name)),
            // That one does not delete what is not its own: who owns it stays until then.
            Some(User { name, ends: true }) => {
                let message =
                    format!("the {} is deleted once {name}, which is being deleted, has ended", R::KIND);
                return Ok(Removal::Used(message));
            }
        }
        match region.change(R::DELETE, R::delete(control, &info)).await {
            Ok(()) => {}
            // It was changed meanwhile, or is not ready to be deleted: being created, say.
            Err(error) if error.class == ErrorClass::Conflict => {
                return Ok(going(&format!(", and AWS says: {}", error.message)));
            }
            Err(error) => return Err(failed(error)),
        }
        Ok(match describe().await {
            Err(error) if error.class == ErrorClass::NotFound && !error.being_deleted => Removal::Deleted,
            _ => going(""),
        })
    }

    fn tags(&self, subject: Subject<'_>) -> Tags {
        Tags::from([
            (names::TAG_CLUSTER.to_owned(), self.cluster.clone()),
            (names::TAG_UID.to_owned(), subject.uid.to_owned()),
            (names::TAG_INGEST.to_owned(), format!("{}/{}", subject.namespace, subject.name)),
            (names::TAG_NAMESPACE.to_owned(), subject.namespace.to_owned()),
        ])
    }
}

/// Has AWS told of channel or stream, or did the operator make or take one? An ARN that is declared is known without AWS.
fn was_there(subject: Subject<'_>) -> bool {
    fn of<R: Resource>(subject: Subject<'_>) -> bool {
        let declared = R::declared(subject.spec).arn.is_some();
        let known = subject.status.and_then(R::known);
        known.is_some_and(|known| known.is_created() || known.was_seen() && !declared)
    }
    of::<ResolvedChannel>(subject) || of::<ResolvedStream>(subject)
}

fn being_created<R: Resource>() -> ConditionUpdate {
    ConditionUpdate::waiting(Reason::Creating, format!("the {} is being created", R::KIND))
}

#[cfg(test)]
mod tests;
