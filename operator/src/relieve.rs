//! Agents that end hear from the operator whether they have to wait for another one (`POST /finish`): one whose pod is evicted
//! goes on recording until its successor is ready, or until it hears that none will come. One that hears nothing waits as long
//! as its grace period permits.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::context::Context;
use crate::endings::{Found, Memory, Seen};
use crate::object::{Object, Tick};
use crate::workload::pods_that_end;

/// Between looks for the agents of an object that is gone, and for how long: until the garbage collector has come to its pods.
const EVERY: Duration = Duration::from_secs(1);
const WITHIN: Duration = Duration::from_secs(15);

/// Looks for agents of the object that end, if it is time, and tells them. When to look again, if nothing changes before.
///
/// It never stands in the way of anything: an agent that hears nothing ends by itself.
pub(crate) async fn relieve(object: &Object<'_>, tick: Tick) -> Option<std::time::Instant> {
    let deployment = object.deployment.as_deref().filter(|found| found.is_of(&object.uid));
    let Some((deployment, uid)) = deployment.and_then(|found| Some((found, found.metadata.uid.as_deref()?)))
    else {
        object.state.lock().endings.nothing();
        return None;
    };
    let (seen, grace) = (Seen::of(deployment), object.ingest.spec.termination_grace_period());
    let memory = object.state.lock().endings.look(seen, grace, tick.now);
    let mut memory = match memory {
        Some(memory) => memory,
        None => return object.state.lock().endings.next(),
    };
    let place = (object.namespace.as_str(), object.name.as_str(), uid);
    let found = tell(object.context, place, seen.is_wanted(), &mut memory).await;
    object.state.lock().endings.looked(found, memory, tick.now)
}

/// The same for an object that is gone, and whose Deployment, of this uid, goes with it: none of its agents has to wait.
pub(crate) async fn relieve_last(
    context: Arc<Context>,
    namespace: String,
    name: String,
    deployment_uid: String,
) {
    let until = Instant::now() + WITHIN;
    let mut memory = Memory::default();
    while Instant::now() < until {
        let place = (namespace.as_str(), name.as_str(), deployment_uid.as_str());
        let found = tell(&context, place, false, &mut memory).await;
        match found {
            Found::Nothing => return,
            Found::Nobody if !memory.told.is_empty() => return,
            Found::Nobody | Found::Awaits | Found::Untold => {}
        }
        sleep(EVERY).await;
    }
}

/// Tells those of a Deployment who end that they need not wait, if nobody is `wanted` or another one is ready. Of which namespace,
/// object and uid the Deployment is, is its `place`.
async fn tell(
    context: &Context,
    (namespace, name, deployment_uid): (&str, &str, &str),
    wanted: bool,
    memory: &mut Memory,
) -> Found {
    let pods = pods_that_end(&context.client, namespace, name, deployment_uid, &mut memory.sets).await;
    let pods = match pods {
        Ok(pods) => pods,
        Err(error) => {
            tracing::debug!(namespace, name, %error, "whether an agent ends is not known");
            return Found::Untold;
        }
    };
    let mut found = if pods.any { Found::Nobody } else { Found::Nothing };
    for pod in pods.ending {
        let Some(address) = pod.address.filter(|_| !memory.told.contains(&pod.uid)) else { continue };
        if wanted && !pods.ready && !pod.hurries {
            found = Found::Awaits;
            continue;
        }
        match context.agents.finish(address).await {
            Ok(()) => {
                tracing::debug!(namespace, name, pod.uid, wanted, "the agent that ends need not wait");
                context.metrics.relieved("ok");
                memory.told.insert(pod.uid);
            }
            Err(error) => {
                tracing::debug!(namespace, name, pod.uid, %error, "the agent that ends was not told");
                context.metrics.relieved("error");
                found = Found::Untold;
            }
        }
    }
    found
}
