//! Channel and stream as AWS has them, found or created, and deleted. Every call within the account's quotas.

mod region;
mod regions;
mod resource;

use kvs::Tags;
use kvs_aws::ErrorClass;
use kvs_ingest_api::{ResolvedChannel, ResolvedStream};

use self::region::{Quota, Region};
pub use self::regions::Regions;
use self::resource::Resource;
pub use self::resource::Subject;
use crate::conditions::ConditionUpdate;
use crate::names;
use crate::reason::Reason;

/// AWS for all regions.
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

impl Aws {
    /// `cluster` marks what is created.
    pub fn new(cluster: impl Into<String>, regions: Regions) -> Self {
        Self { regions, cluster: cluster.into() }
    }

    /// The channel; created when the object says so and `may_create` is true.
    pub async fn channel(&self, subject: Subject<'_>, may_create: bool) -> Resolution<ResolvedChannel> {
        self.resolve(subject, may_create).await
    }

    /// The stream; created when the object says so and `may_create` is true, its retention raised as declared.
    pub async fn stream(&self, subject: Subject<'_>, may_create: bool) -> Resolution<ResolvedStream> {
        self.resolve(subject, may_create).await
    }

    /// Deletes what the operator created for this object, and nothing else: AWS's own tags have the last word.
    ///
    /// # Errors
    /// What has to be tried again, or healed by a person.
    pub async fn delete_created(
        &self,
        subject: Subject<'_>,
        channel: Option<&ResolvedChannel>,
        stream: Option<&ResolvedStream>,
    ) -> Result<(), ConditionUpdate> {
        let region = self.regions.enter_any(&subject.spec.region).await?;
        if let Some(channel) = channel {
            self.delete(&region, subject, channel).await?;
        }
        if let Some(stream) = stream {
            self.delete(&region, subject, stream).await?;
        }
        Ok(())
    }

    async fn resolve<R: Resource>(&self, subject: Subject<'_>, may_create: bool) -> Resolution<R> {
        let mut resource = R::default();
        let done = self.find_or_create(&mut resource, subject, may_create).await;
        let condition = match done {
            Ok(arn) if resource.is_created() => {
                ConditionUpdate::met(Reason::Created, format!("the operator created {arn}"))
            }
            Ok(arn) => ConditionUpdate::met(Reason::Found, arn),
            Err(condition) => condition,
        };
        Resolution { resource, condition }
    }

    /// Fills `resource` with what is known, however far that goes; to its ARN when all is well.
    async fn find_or_create<R: Resource>(
        &self,
        resource: &mut R,
        subject: Subject<'_>,
        may_create: bool,
    ) -> Result<String, ConditionUpdate> {
        let id = resource
            .declare(subject.spec)
            .map_err(|error| ConditionUpdate::stalled(Reason::InvalidSpec, error.to_string()))?;
        let create_if_missing = R::declared(subject.spec).create_if_missing;
        let being_created =
            || ConditionUpdate::waiting(Reason::Creating, format!("the {} is being created", R::KIND));
        let region = self.regions.enter(&subject.spec.region).await?;
        let control = &region.control;
        let describe = || region.call(Quota::Describe, R::DESCRIBE, R::describe(control, &id));

        let (info, created) = match (describe().await, R::name(&id)) {
            (Ok(info), _) => (info, false),
            (Err(error), Some(name)) if error.class == ErrorClass::NotFound && create_if_missing => {
                if !may_create {
                    let message = format!("the {} is about to be created", R::KIND);
                    return Err(ConditionUpdate::waiting(Reason::Creating, message));
                }
                let create = R::create(control, name, subject.spec, self.tags(subject));
                let created = region.call(Quota::Change, R::CREATE, create).await;
                let created = created.map_err(|error| R::failed(&error, subject, false))?;
                match describe().await {
                    Ok(info) => (info, created),
                    Err(error) if error.class == ErrorClass::NotFound => return Err(being_created()),
                    Err(error) => return Err(R::failed(&error, subject, false)),
                }
            }
            (Err(error), _) => return Err(R::failed(&error, subject, create_if_missing)),
        };
        resource.describe_as(&info);
        if !R::is_active(&info) {
            return Err(being_created());
        }
        // Also what an operator made that stopped before it could write it down.
        let created =
            created || create_if_missing && self.is_tagged_ours::<R>(&region, &info, subject).await?;
        resource.set_created(created);
        resource.check(&region, info, subject).await
    }

    /// Do its tags say that it was created for this object? Who may not look at them has not written them.
    async fn is_tagged_ours<R: Resource>(
        &self,
        region: &Region,
        info: &R::Info,
        subject: Subject<'_>,
    ) -> Result<bool, ConditionUpdate> {
        let tags = R::tags(&region.control, info);
        match region.call(Quota::Change, R::LIST_TAGS, tags).await {
            Ok(tags) => Ok(self.are_ours(&tags, subject)),
            Err(error) if error.class == ErrorClass::AccessDenied => Ok(false),
            Err(error) => Err(R::failed(&error, subject, true)),
        }
    }

    async fn delete<R: Resource>(
        &self,
        region: &Region,
        subject: Subject<'_>,
        resource: &R,
    ) -> Result<(), ConditionUpdate> {
        let Some(id) = resource.created_id() else { return Ok(()) };
        let control = &region.control;
        let failed = |error: kvs::Error| R::failed(&error, subject, true);
        let info = match region.call(Quota::Describe, R::DESCRIBE, R::describe(control, &id)).await {
            Err(error) if error.class == ErrorClass::NotFound => return Ok(()),
            info => info.map_err(failed)?,
        };
        let tags = region.call(Quota::Change, R::LIST_TAGS, R::tags(control, &info)).await;
        if self.are_ours(&tags.map_err(failed)?, subject) {
            let delete = region.call(Quota::Change, R::DELETE, R::delete(control, &info));
            delete.await.map_err(failed)?;
        }
        Ok(())
    }

    fn tags(&self, subject: Subject<'_>) -> Tags {
        Tags::from([
            (names::TAG_CLUSTER.to_owned(), self.cluster.clone()),
            (names::TAG_UID.to_owned(), subject.uid.to_owned()),
            (names::TAG_INGEST.to_owned(), format!("{}/{}", subject.namespace, subject.name)),
            (names::TAG_NAMESPACE.to_owned(), subject.namespace.to_owned()),
        ])
    }

    fn are_ours(&self, tags: &Tags, subject: Subject<'_>) -> bool {
        tags.get(names::TAG_UID).is_some_and(|uid| uid == subject.uid)
            && tags.get(names::TAG_CLUSTER).is_some_and(|cluster| *cluster == self.cluster)
    }
}

#[cfg(test)]
mod tests;
