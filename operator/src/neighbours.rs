//! The other objects of the cluster, as far as they matter to what one has in AWS.

use async_trait::async_trait;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Resource};

use crate::apply::within;
use crate::aws::{Neighbours, User};
use crate::cached::CachedIngest;
use crate::context::Context;
use crate::object::Object;
use crate::owners::Claim;
use crate::validate::is_paused;

/// Of this object.
pub(crate) struct NeighboursOf<'a>(pub(crate) &'a Object<'a>);

#[async_trait]
impl Neighbours for NeighboursOf<'_> {
    /// Asks the API server: an object that another operator looks after is in no cache.
    async fn lives(&self, namespace: &str, name: &str, uid: &str) -> Result<bool, String> {
        // They come from tags, which anybody may have written.
        let plain = |text: &str| {
            !text.is_empty()
                && text.len() <= 253
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte))
                && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        };
        if !plain(namespace) || !plain(name) {
            return Ok(false);
        }
        let api: Api<CachedIngest> = Api::namespaced(self.0.context.client.clone(), namespace);
        let found = within("get KvsIngest", api.get_metadata_opt(name)).await;
        let found = found.map_err(|error| error.to_string())?;
        Ok(found.is_some_and(|found| found.metadata.uid.as_deref() == Some(uid)))
    }

    fn uses(&self, arn: &str) -> Option<User> {
        let Object { context, uid, .. } = self.0;
        let users = context.owners.other_users(arn, uid);
        let users = users.iter().filter_map(|claim| user(context, claim));
        // Who stays goes before who ends.
        users.min_by_key(|user| user.ends)
    }
}

/// `None`: it is gone, which this operator has not been told yet.
fn user(context: &Context, claim: &Claim) -> Option<User> {
    let Claim { namespace, name, uid, .. } = claim;
    let caches = context.caches(namespace)?;
    let found = caches.objects.get(&ObjectRef::new(name).within(namespace))?;
    let meta = found.meta();
    // One that is paused stays, for nobody knows how long.
    let ends = meta.deletion_timestamp.is_some() && !is_paused(meta);
    (meta.uid.as_deref() == Some(&**uid)).then(|| User { name: format!("{namespace}/{name}"), ends })
}
