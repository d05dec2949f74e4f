//! The controller: watches, caches, and the loop that reconciles what changed.

use std::collections::{HashMap, HashSet};
use std::future::ready;
use std::hash::{BuildHasher, Hash, RandomState};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use futures::{FutureExt, Stream, StreamExt, TryStreamExt};
use kube::runtime::controller::{Action, Config};
use kube::runtime::reflector::{ObjectRef, store};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{Controller, WatchStreamExt, reflector};
use kube::{Api, Resource, ResourceExt};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::context::{Caches, Context};
use crate::metrics::Metrics;
use crate::names;
use crate::reconcile::{ReconcileError, reconcile};
use crate::stored::StoredIngest;
use crate::watches::watches;
use crate::workload::DeploymentLite;

/// An object of an event, or all of a list, changed.
trait ModifyEach<K> {
    fn modify_each(self, change: impl FnOnce(K) -> K) -> Self;
}

impl<K> ModifyEach<K> for Event<K> {
    fn modify_each(self, change: impl FnOnce(K) -> K) -> Self {
        match self {
            Event::Apply(object) => Event::Apply(change(object)),
            Event::Delete(object) => Event::Delete(change(object)),
            Event::InitApply(object) => Event::InitApply(change(object)),
            other => other,
        }
    }
}

/// The objects of a watch behind a reflector; those of a list when it is complete, because the cache shows none of them
/// before. `deleted` ones too, or not.
fn shown<K>(
    events: impl Stream<Item = watcher::Result<Event<K>>> + Send,
    deleted: bool,
) -> impl Stream<Item = watcher::Result<K>> + Send
where
    K: Send,
{
    let mut listed = Vec::new();
    events
        .map_ok(move |event| {
            let objects = match event {
                Event::Init => {
                    listed.clear();
                    Vec::new()
                }
                Event::InitApply(object) => {
                    listed.push(object);
                    Vec::new()
                }
                Event::InitDone => std::mem::take(&mut listed),
                Event::Delete(_) if !deleted => Vec::new(),
                Event::Apply(object) | Event::Delete(object) => vec![object],
            };
            futures::stream::iter(objects.into_iter().map(Ok))
        })
        .try_flatten()
}

/// For the events that are still to be written at the end.
const LAST_EVENTS: Duration = Duration::from_secs(3);

/// What was last seen of each object, by hashes: a relist, or our own write, must not reconcile everything.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<HashMap<u64, u64>>);

impl Seen {
    fn is_news<K: Resource>(&self, object: &K, now: u64) -> bool {
        self.0.lock().insert(Self::key(object), now) != Some(now)
    }

    /// For objects of which any write is news.
    pub(crate) fn is_new_version<K: Resource>(&self, object: &K) -> bool {
        let meta = object.meta();
        self.is_news(object, hash(&(&meta.uid, &meta.resource_version)))
    }

    fn forget<K: Resource>(&self, object: &K) {
        self.0.lock().remove(&Self::key(object));
    }

    fn key<K: Resource>(object: &K) -> u64 {
        hash(&(&object.meta().namespace, &object.meta().name))
    }
}

fn hash(value: &impl Hash) -> u64 {
    // One for the process, so that nobody can choose names that collide.
    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    KEYS.hash_one(value)
}

/// Runs until `stop`. `namespaces` empty: the whole cluster.
pub async fn run(
    context: Arc<Context>,
    namespaces: Vec<String>,
    woken: mpsc::Receiver<ObjectRef<StoredIngest>>,
    stop: CancellationToken,
) {
    let scopes: Vec<Option<String>> =
        if namespaces.is_empty() { vec![None] } else { namespaces.into_iter().map(Some).collect() };
    // Each scope has caches and a loop of its own: a reflector that two watches fill would lose one's objects at the
    // relist of the other.
    let mut wakers = Vec::new();
    let mut loops = Vec::new();
    for scope in scopes {
        let (waker, woken) = mpsc::channel(1024);
        wakers.push((scope.clone(), waker));
        loops.push(one(context.clone(), scope, woken, stop.clone()));
    }
    let finish = CancellationToken::new();
    let events = tokio::spawn({
        let (context, finish) = (context.clone(), finish.clone());
        async move {
            // What is reconciled goes before what is told of it.
            let busy = || context.metrics.active_now() * 2 > i64::from(context.settings.concurrency);
            context.events.run(context.leading.clone(), busy, finish).await;
        }
    });
    let distribute = distribute(woken, wakers);
    let filled = filled(context.clone());
    tokio::select! {
        // In this order: the first poll of the loops makes the caches that `filled` waits for.
        biased;
        _ = futures::future::join_all(loops) => {}
        () = distribute => {}
        () = filled => {}
    }
    // What the last reconciles had to say.
    finish.cancel();
    let _ = tokio::time::timeout(LAST_EVENTS, events).await;
}

async fn distribute(
    mut woken: mpsc::Receiver<ObjectRef<StoredIngest>>,
    wakers: Vec<(Option<String>, mpsc::Sender<ObjectRef<StoredIngest>>)>,
) {
    while let Some(object) = woken.recv().await {
        let waker = wakers.iter().find(|(scope, _)| scope.is_none() || *scope == object.namespace);
        if let Some((_, waker)) = waker {
            // Full: it is found at its next requeue.
            let _ = waker.try_send(object);
        }
    }
    std::future::pending().await
}

/// Says when all caches have been filled once; then looks after the gauges.
async fn filled(context: Arc<Context>) {
    let caches: Vec<Caches> = context.caches.lock().values().cloned().collect();
    for cache in caches {
        if cache.objects.wait_until_ready().await.is_err()
            || cache.deployments.wait_until_ready().await.is_err()
        {
            return std::future::pending().await;
        }
    }
    // Before anybody decides who owns a stream, everybody who already has one says so.
    let caches: Vec<Caches> = context.caches.lock().values().cloned().collect();
    for object in caches.iter().flat_map(|cache| cache.objects.state()) {
        if let Ok(ingest) = object.read()
            && let Some(arn) = ingest.status.as_ref().and_then(|status| status.stream.as_ref()?.arn.clone())
        {
            context.owners.claim(&arn, crate::context::claim(&ingest));
        }
    }
    context.ready.send_replace(true);
    tracing::info!("caches filled");
    let mut leading = context.leading.clone();
    let mut gauges = tokio::time::interval(Duration::from_secs(10));
    loop {
        tokio::select! {
            _ = gauges.tick() => {
                context.backing_off();
                context.forget_statuses();
            }
            changed = leading.changed() => match changed {
                // What others write while they lead is in the caches, not in our memory.
                Ok(()) => context.memories.lock().clear(),
                Err(_) => return std::future::pending().await,
            },
        }
    }
}

async fn one(
    context: Arc<Context>,
    scope: Option<String>,
    woken: mpsc::Receiver<ObjectRef<StoredIngest>>,
    stop: CancellationToken,
) {
    let client = context.client.clone();
    let (objects_api, deployments_api): (Api<StoredIngest>, Api<DeploymentLite>) = match &scope {
        None => (Api::all(client.clone()), Api::all(client)),
        Some(namespace) => (Api::namespaced(client.clone(), namespace), Api::namespaced(client, namespace)),
    };
    let mut selected = watcher::Config::default();
    if let Some(labels) = &context.settings.label_selector {
        selected = selected.labels(labels);
    }
    let children =
        watcher::Config::default().labels(&format!("{}={}", names::MANAGED_BY.0, names::MANAGED_BY.1));

    let (objects, objects_writer) = store();
    let (deployments, deployments_writer) = store();
    let (changed, touched) = (Arc::new(Seen::default()), Arc::new(Seen::default()));
    let caches = Caches { objects: objects.clone(), deployments, touched: touched.clone() };
    context.caches.lock().insert(scope, caches);

    let (ctx, gone) = (context.clone(), changed.clone());
    let (mut known, mut listed) = (HashSet::new(), HashSet::new());
    let objects_stream = reflector(
        objects_writer,
        counted(watches(objects_api, selected), context.clone(), "KvsIngest").inspect_ok(move |event| {
            match event {
                Event::Init => listed.clear(),
                Event::InitApply(object) => listed.extend(object.uid()),
                Event::InitDone => {
                    let before = std::mem::replace(&mut known, std::mem::take(&mut listed));
                    // Nobody has told of their end.
                    for uid in before.difference(&known) {
                        ctx.forget_uid(uid);
                    }
                }
                Event::Apply(object) => known.extend(object.uid()),
                Event::Delete(object) => {
                    if let Some(uid) = object.uid() {
                        known.remove(&uid);
                    }
                    ctx.forget(object);
                    gone.forget(object);
                }
            }
        }),
    );
    let objects_stream =
        shown(objects_stream.map_ok(|event| event.modify_each(StoredIngest::without_text)), false)
            .try_filter(move |object| {
                let meta = object.meta();
                let leaving = meta.deletion_timestamp.is_some();
                let now = (&meta.uid, meta.generation, leaving, &meta.annotations, &meta.finalizers);
                ready(changed.is_news(object, hash(&now)))
            });
    let (ctx, gone) = (context.clone(), touched.clone());
    let deployments_stream = reflector(
        deployments_writer,
        counted(watches(deployments_api, children), context.clone(), "Deployment").inspect_ok(move |event| {
            match event {
                // It is not there any more, whatever we remember to have applied.
                Event::Delete(deployment) => {
                    gone.forget(deployment);
                    for owner in deployment.owner_references() {
                        ctx.remember(&owner.uid, |memory| memory.applied = None);
                    }
                }
                Event::InitDone => {
                    for memory in ctx.memories.lock().values_mut() {
                        memory.applied = None;
                    }
                }
                Event::Apply(_) | Event::Init | Event::InitApply(_) => {}
            }
        }),
    )
    .touched_objects()
    .try_filter(move |deployment| ready(touched.is_new_version(deployment)));

    let config =
        Config::default().concurrency(context.settings.concurrency).debounce(context.settings.debounce);
    Controller::for_stream(objects_stream, objects)
        .owns_stream(deployments_stream)
        .reconcile_on(ReceiverStream::new(woken))
        .with_config(config)
        .graceful_shutdown_on(async move { stop.cancelled().await })
        .run(caught, failed, context)
        .for_each(|result| async move {
            match result {
                Ok(_) => {}
                // Deleted between its event and its turn.
                Err(kube::runtime::controller::Error::ObjectNotFound(_)) => {}
                // Told by `failed`.
                Err(kube::runtime::controller::Error::ReconcilerFailed(..)) => {}
                // Told by `counted`, where the watch is made.
                Err(kube::runtime::controller::Error::QueueError(_)) => {}
                Err(error) => tracing::warn!(%error, "controller"),
            }
        })
        .await;
}

fn counted<K>(
    stream: impl Stream<Item = watcher::Result<Event<K>>> + Send,
    context: Arc<Context>,
    kind: &'static str,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send {
    stream
        .inspect_err(move |error| {
            context.metrics.watch_failed(kind);
            let hint = match error {
                watcher::Error::WatchStartFailed(kube::Error::Api(status))
                | watcher::Error::InitialListFailed(kube::Error::Api(status))
                    if status.code == 404 && kind == "KvsIngest" =>
                {
                    "; is the CustomResourceDefinition installed (kubectl apply --server-side -f crds/)?"
                }
                _ => "",
            };
            tracing::warn!(kind, "the watch failed and starts anew: {error}{hint}");
        })
        .default_backoff()
}

/// One reconcile, counted; a panic is an error of this object alone.
async fn caught(object: Arc<StoredIngest>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    counted_and_caught(&context.metrics, reconcile(&object, &context)).await
}

async fn counted_and_caught(
    metrics: &Metrics,
    work: impl Future<Output = Result<Action, ReconcileError>>,
) -> Result<Action, ReconcileError> {
    let started = Instant::now();
    metrics.active(1);
    let result = AssertUnwindSafe(work).catch_unwind().await;
    metrics.active(-1);
    let result = result.unwrap_or_else(|panic| {
        metrics.panicked();
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Err(ReconcileError::Panic(text.to_owned()))
    });
    let label = match &result {
        Ok(action) if *action == Action::await_change() => "success",
        Ok(_) => "requeue_after",
        Err(_) => "error",
    };
    metrics.reconciled(label, started.elapsed().as_secs_f64());
    result
}

fn failed(object: Arc<StoredIngest>, error: &ReconcileError, context: Arc<Context>) -> Action {
    if let ReconcileError::Apply(error) = error
        && error.is_gone()
    {
        return Action::await_change();
    }
    let uid = object.uid().unwrap_or_default();
    let delay = context.backoff.next(&uid, object.meta().generation, rand::random());
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    tracing::warn!(namespace, name, %error, again_in = ?delay, "reconcile failed");
    Action::requeue(delay)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_listed_is_told_when_the_cache_shows_it() {
        let events = [
            Event::Init,
            Event::InitApply(1),
            Event::Init,
            Event::InitApply(2),
            Event::InitApply(3),
            Event::InitDone,
            Event::Apply(4),
            Event::Delete(5),
        ];
        let told = |deleted, count| {
            let events = futures::stream::iter(events.clone().into_iter().take(count).map(Ok));
            shown(events, deleted).try_collect::<Vec<i32>>()
        };
        assert_eq!(told(false, 5).await.unwrap(), Vec::<i32>::new());
        assert_eq!(told(false, 8).await.unwrap(), [2, 3, 4]);
        assert_eq!(told(true, 8).await.unwrap(), [2, 3, 4, 5]);
    }

    /// kube ends the whole controller when a reconcile panics.
    #[tokio::test]
    async fn a_panic_is_an_error_of_one_object() {
        let metrics = Metrics::default();
        let error = counted_and_caught(&metrics, async { panic!("poison {}", 1) }).await.unwrap_err();
        assert_eq!(error.to_string(), "the reconcile panicked: poison 1");
        let text = metrics.encode();
        for line in [
            r#"controller_runtime_reconcile_panics_total{controller="kvsingest"} 1"#,
            r#"controller_runtime_reconcile_total{controller="kvsingest",result="error"} 1"#,
            r#"controller_runtime_reconcile_errors_total{controller="kvsingest"} 1"#,
            r#"controller_runtime_active_workers{controller="kvsingest"} 0"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
