//! The beginning of a term: what others did while they led is in the caches, not in this operator's memory.

use kube::ResourceExt;

use crate::context::{Caches, Context};
use crate::names;
use crate::owners::Claim;
use crate::resolve::claims_of;

/// Forgets what is of an earlier term and lets everybody who has a stream say so, before anybody decides whose one is. Then
/// reconciles may begin.
pub(crate) fn take_office(context: &Context) {
    context.states.clear();
    let caches: Vec<Caches> = context.caches.lock().values().cloned().collect();
    let (mut streams, mut channels) = (Vec::new(), Vec::new());
    for cache in caches {
        for object in cache.objects.state() {
            let Ok(ingest) = object.read().or_else(|_| object.read_for_deletion()) else { continue };
            let (namespace, name) = (ingest.namespace().unwrap_or_default(), ingest.name_any());
            let deployment = cache.deployment(&namespace, &names::deployment(&name));
            let (channel, stream) = claims_of(&ingest, deployment.as_deref());
            let claim = Claim::of(&ingest);
            channels.extend(channel.map(|arn| (arn, claim.clone())));
            streams.extend(stream.map(|(arn, usage)| (arn, claim, usage)));
        }
    }
    context.owners.rebuild(channels, streams);
    context.in_office.send_replace(true);
}
