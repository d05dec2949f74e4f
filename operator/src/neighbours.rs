//! The other objects of the cluster, as far as they matter to what one has in AWS.

use async_trait::async_trait;
use kube::Api;

use crate::apply::within;
use crate::aws::Neighbours;
use crate::cached::CachedIngest;
use crate::object::Object;

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

    fn uses(&self, arn: &str) -> Option<String> {
        let Object { context, uid, .. } = self.0;
        let user =
            context.owners.other_user(arn, uid).or_else(|| context.channel_users.other_user(arn, uid))?;
        Some(format!("{}/{}", user.namespace, user.name))
    }
}
