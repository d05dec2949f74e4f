//! The controller: watches, caches, and the loop that reconciles what changed.

use std::collections::HashSet;
use std::future::ready;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt, Stream, StreamExt, TryStreamExt};
use kube::runtime::controller::{Action, Config};
use kube::runtime::reflector::{ObjectRef, store};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{Controller, WatchStreamExt, reflector};
use kube::{Api, Resource, ResourceExt};
use kvs_ingest_api::KvsIngestPolicy;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, WatchStream};
use tokio_util::sync::CancellationToken;

use crate::cached::CachedIngest;
use crate::change_filter::ChangeFilter;
use crate::context::{Caches, Context};
use crate::metrics::Metrics;
use crate::names;
use crate::office::take_office;
use crate::reconcile::{ReconcileError, reconcile, tell_panic};
use crate::relieve::relieve_last;
use crate::tenancy::NamespaceLite;
use crate::watches::{once_cached, watches};
use crate::workload::DeploymentLite;

/// For the events that are still to be written at the end.
const LAST_EVENTS: Duration = Duration::from_secs(3);

/// Runs until `stop`. `namespaces` empty: the whole cluster.
pub async fn run(
    context: Arc<Context>,
    namespaces: Vec<String>,
    woken: mpsc::Receiver<ObjectRef<CachedIngest>>,
    stop: CancellationToken,
) {
    let scopes: Vec<Option<String>> =
        if namespaces.is_empty() { vec![None] } else { namespaces.into_iter().map(Some).collect() };
    let tenancy = watch_tenancy(context.clone(), scopes.contains(&None));
    // Each scope has caches and a loop of its own: a reflector that two watches fill would lose one's objects at the
    // relist of the other.
    let mut wakers = Vec::new();
    let mut loops = Vec::new();
    for scope in scopes {
        let (waker, woken) = mpsc::channel(1024);
        wakers.push((scope.clone(), waker));
        loops.push(run_scope(context.clone(), scope, woken, stop.clone()));
    }
    let finish = CancellationToken::new();
    let events = tokio::spawn({
        let (context, finish) = (context.clone(), finish.clone());
        async move {
            // What is reconciled goes before what is said of it.
            let busy = || context.metrics.active_now() * 2 > i64::from(context.settings.concurrency);
            context.events.run(busy, finish).await;
        }
    });
    let distribute = distribute(woken, wakers);
    let maintain = maintain(context.clone());
    tokio::select! {
        // In this order: the first poll of the loops makes the caches that `maintain` waits for.
        biased;
        _ = futures::future::join_all(loops) => {}
        () = distribute => {}
        () = maintain => {}
        () = tenancy => {}
    }
    // What the last reconciles had to say.
    finish.cancel();
    let _ = tokio::time::timeout(LAST_EVENTS, events).await;
}

/// Hands each object that is to be looked at to the loop of its scope.
async fn distribute(
    mut woken: mpsc::Receiver<ObjectRef<CachedIngest>>,
    wakers: Vec<(Option<String>, mpsc::Sender<ObjectRef<CachedIngest>>)>,
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

/// Says when all caches have been filled once; then looks after gauges and states.
async fn maintain(context: Arc<Context>) {
    let caches: Vec<Caches> = context.caches.lock().values().cloned().collect();
    for cache in caches {
        if cache.objects.wait_until_ready().await.is_err()
            || cache.deployments.wait_until_ready().await.is_err()
        {
            return std::future::pending().await;
        }
    }
    // Before anything is permitted, everything that forbids is known.
    context.policies.complete().await;
    context.ready.send_replace(true);
    tracing::info!("caches filled");
    let mut leading = context.leading.clone();
    // A term that has begun already is seen as a change, too.
    leading.mark_changed();
    let mut gauges = tokio::time::interval(Duration::from_secs(10));
    loop {
        tokio::select! {
            _ = gauges.tick() => {
                context.count_waiting();
                let now = Instant::now();
                context.states.for_each(|state| state.drop_stale_status(now));
            }
            changed = leading.changed() => match changed {
                // Before anybody decides who owns a stream, everybody who has one says so.
                Ok(()) if *leading.borrow_and_update() => take_office(&context),
                Ok(()) => {
                    context.in_office.send_replace(false);
                }
                Err(_) => return std::future::pending().await,
            },
        }
    }
}

/// What the administrator permits, and where: of the cluster, so only an operator of the whole cluster sees it.
async fn watch_tenancy(context: Arc<Context>, whole_cluster: bool) {
    if !whole_cluster {
        context.policies.are_not_watched();
        return std::future::pending().await;
    }
    let config = watcher::Config::default();
    let policies = watches(Api::<KvsIngestPolicy>::all(context.client.clone()), config.clone());
    let policies = count_failures(policies, context.clone(), "KvsIngestPolicy").for_each(|event| {
        match event {
            Ok(event) => context.policies.take_policy(event),
            Err(error) if is_unknown_kind(&error) => context.policies.do_not_exist(),
            Err(_) => {}
        }
        ready(())
    });
    let namespaces = watches(Api::<NamespaceLite>::all(context.client.clone()), config);
    let namespaces = count_failures(namespaces, context.clone(), "Namespace").for_each(|event| {
        if let Ok(event) = event {
            context.policies.take_namespace(event);
        }
        ready(())
    });
    futures::future::join(policies, namespaces).await;
}

/// The watches, caches and reconciles of a namespace, or of the whole cluster.
async fn run_scope(
    context: Arc<Context>,
    scope: Option<String>,
    woken: mpsc::Receiver<ObjectRef<CachedIngest>>,
    stop: CancellationToken,
) {
    let client = context.client.clone();
    let (objects_api, deployments_api): (Api<CachedIngest>, Api<DeploymentLite>) = match &scope {
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
    let (object_filter, deployment_filter) = (Arc::<ChangeFilter>::default(), Arc::<ChangeFilter>::default());
    let caches = Caches {
        objects: objects.clone(),
        deployments,
        deployment_filter: deployment_filter.clone(),
        places: Arc::default(),
    };
    context.caches.lock().insert(scope, caches.clone());

    let (ctx, filter) = (context.clone(), object_filter.clone());
    let (mut known, mut listed) = (HashSet::new(), HashSet::new());
    let objects_stream = reflector(
        objects_writer,
        count_failures(watches(objects_api, selected), context.clone(), "KvsIngest").inspect_ok(
            move |event| {
                caches.places.write().take(event);
                match event {
                    Event::Init => listed.clear(),
                    Event::InitApply(object) => listed.extend(object.uid()),
                    Event::InitDone => {
                        let before = std::mem::replace(&mut known, std::mem::take(&mut listed));
                        // Nobody has told of their end.
                        for uid in before.difference(&known) {
                            ctx.forget(uid);
                        }
                    }
                    Event::Apply(object) => known.extend(object.uid()),
                    Event::Delete(object) => {
                        if let Some(uid) = object.uid() {
                            known.remove(&uid);
                            ctx.forget(&uid);
                        }
                        filter.forget(object);
                        ctx.leave_place(&caches, object.meta());
                        relieve_agents_of(&ctx, &caches, object);
                    }
                }
            },
        ),
    );
    let objects_stream =
        once_cached(objects_stream.modify(CachedIngest::drop_body), false).try_filter(move |object| {
            let meta = object.meta();
            let deleted = meta.deletion_timestamp.is_some();
            let compared = (&meta.uid, meta.generation, deleted, &meta.annotations, &meta.finalizers);
            ready(object_filter.is_changed(object, &compared))
        });
    let (ctx, filter) = (context.clone(), deployment_filter.clone());
    let deployments_stream = reflector(
        deployments_writer,
        count_failures(watches(deployments_api, children), context.clone(), "Deployment").inspect_ok(
            move |event| {
                match event {
                    // It is not there any more, whatever we have applied.
                    Event::Delete(deployment) => {
                        filter.forget(deployment);
                        for owner in deployment.owner_references() {
                            if let Some(state) = ctx.states.find(&owner.uid) {
                                state.lock().applied = None;
                            }
                        }
                    }
                    Event::InitDone => ctx.states.for_each(|state| state.applied = None),
                    Event::Apply(_) | Event::Init | Event::InitApply(_) => {}
                }
            },
        ),
    )
    .touched_objects()
    .try_filter(move |deployment| ready(deployment_filter.is_new_version(deployment)));

    let config =
        Config::default().concurrency(context.settings.concurrency).debounce(context.settings.debounce);
    Controller::for_stream(objects_stream, objects)
        // Not by its owner: somebody may have taken that away.
        .watches_stream(deployments_stream, |deployment: DeploymentLite| {
            let name = deployment.name_any();
            let namespace = deployment.namespace().unwrap_or_default();
            names::ingest_of(&name).map(|ingest| ObjectRef::new(ingest).within(&namespace))
        })
        .reconcile_on(ReceiverStream::new(woken))
        .reconcile_all_on(WatchStream::from_changes(context.policies.changes()).map(|_| ()))
        .with_config(config)
        .graceful_shutdown_on(async move { stop.cancelled().await })
        .run(reconcile_isolated, requeue_failed, context)
        .for_each(|result| async move {
            match result {
                Ok(_) => {}
                // Deleted between its event and its turn.
                Err(kube::runtime::controller::Error::ObjectNotFound(_)) => {}
                // Logged by `requeue_failed`.
                Err(kube::runtime::controller::Error::ReconcilerFailed(..)) => {}
                // Logged by `count_failures`, where the watch is made.
                Err(kube::runtime::controller::Error::QueueError(_)) => {}
                Err(error) => tracing::warn!(%error, "controller"),
            }
        })
        .await;
}

/// Of an object that is gone, the agents end as the garbage collector comes to them: they need not wait for others.
fn relieve_agents_of(context: &Arc<Context>, caches: &Caches, object: &CachedIngest) {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let deployment = caches.deployment(&namespace, &names::deployment(&name));
    let owned = deployment.filter(|found| object.uid().is_some_and(|uid| found.belongs_to(&uid)));
    if let Some(uid) = owned.and_then(|found| found.metadata.uid.clone())
        && *context.leading.borrow()
    {
        tokio::spawn(relieve_last(context.clone(), namespace, name, uid));
    }
}

/// Counts and logs what a watch failed of; it begins anew after a while.
fn count_failures<K>(
    stream: impl Stream<Item = watcher::Result<Event<K>>> + Send,
    context: Arc<Context>,
    kind: &'static str,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send {
    stream
        .inspect_err(move |error| {
            context.metrics.watch_failed(kind);
            let hint = if is_unknown_kind(error) {
                "; is the CustomResourceDefinition installed (kubectl apply --server-side -f crds/)?"
            } else {
                ""
            };
            tracing::warn!(kind, "the watch failed and starts anew: {error}{hint}");
        })
        .default_backoff()
}

/// Has the API server no such kind?
fn is_unknown_kind(error: &watcher::Error) -> bool {
    matches!(
        error,
        watcher::Error::WatchStartFailed(kube::Error::Api(status))
            | watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 404
    )
}

async fn reconcile_isolated(
    object: Arc<CachedIngest>,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    // Boxed, as its long steps are: the layout of calls within calls is more than rustc computes at once.
    let result = isolate(&context.metrics, Box::pin(reconcile(&object, &context))).await;
    if let Err(ReconcileError::Panic(words)) = &result {
        let told = AssertUnwindSafe(Box::pin(tell_panic(&object, &context, words)));
        if told.catch_unwind().await.is_err() {
            tracing::error!("the status of an object whose reconcile panicked cannot be told");
        }
    }
    result
}

/// One reconcile, counted; a panic is an error of this object alone.
async fn isolate(
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

fn requeue_failed(object: Arc<CachedIngest>, error: &ReconcileError, context: Arc<Context>) -> Action {
    if error.is_gone() {
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

    /// kube ends the whole controller when a reconcile panics.
    #[tokio::test]
    async fn a_panic_is_an_error_of_one_object() {
        let metrics = Metrics::default();
        let error = isolate(&metrics, async { panic!("poison {}", 1) }).await.unwrap_err();
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
