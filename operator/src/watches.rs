//! Watches that begin in the cheapest way that the API server knows, and say nothing that the cache does not show yet.

use std::fmt::Debug;

use futures::{Stream, StreamExt, TryStreamExt, stream};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

/// Begins with a streaming list, or, where the API server refuses that (its feature gate `WatchList` is on by default in
/// Kubernetes 1.32 and from 1.34 on only), with a list in pages.
pub fn watches<K>(
    api: Api<K>,
    config: watcher::Config,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let streaming = watcher(api.clone(), config.clone().streaming_lists()).boxed();
    stream::unfold((streaming, Some((api, config))), |(mut events, mut pages)| async move {
        loop {
            let event = events.next().await?;
            if event.as_ref().err().is_some_and(refuses_streaming)
                && let Some((api, config)) = pages.take()
            {
                tracing::info!("this API server knows no streaming lists; lists come in pages");
                events = watcher(api, config).boxed();
                continue;
            }
            return Some((event, (events, pages)));
        }
    })
}

fn refuses_streaming(error: &watcher::Error) -> bool {
    // Invalid: no other parameter of ours can be.
    matches!(error, watcher::Error::WatchStartFailed(kube::Error::Api(status)) if status.code == 422)
}

/// The objects of a watch behind a reflector; those of a list when it is complete, because the cache shows none of them
/// before. `deleted` ones too, or not.
pub(crate) fn once_cached<K>(
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use http::{Request, Response};
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::Client;
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    /// What the stream says first, and the requests it made, of an API server that gives these answers.
    async fn first(answers: Vec<(u16, Value)>, count: usize) -> (Vec<String>, Vec<String>) {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (log, answers) = (requests.clone(), Arc::new(Mutex::new(answers.into_iter())));
        let service = tower::service_fn(move |request: Request<Body>| {
            log.lock().unwrap().push(request.uri().to_string());
            let (code, answer) = answers.lock().unwrap().next().expect("a request that is not in the script");
            let body = Body::from(format!("{answer}\n").into_bytes());
            async move { Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap()) }
        });
        let api: Api<ConfigMap> = Api::all(Client::new(service, "default"));
        let events = watches(api, watcher::Config::default()).take(count).map(|event| match event {
            Ok(Event::Init) => "init".to_owned(),
            Ok(Event::InitApply(object)) => object.metadata.name.unwrap(),
            Ok(Event::InitDone) => "done".to_owned(),
            Ok(other) => panic!("{other:?}"),
            Err(error) => error.to_string(),
        });
        let events = events.collect().await;
        let requests = requests.lock().unwrap().clone();
        (events, requests)
    }

    fn status(code: u16, reason: &str) -> (u16, Value) {
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
            "message": "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"});
        (code, status)
    }

    #[tokio::test]
    async fn where_lists_cannot_be_streamed_they_come_in_pages() {
        let list = json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"},
            "items": [{"metadata": {"name": "a"}}]});
        let (events, requests) = first(vec![status(422, "Invalid"), (200, list)], 3).await;
        assert_eq!(events, ["init", "a", "done"]);
        assert!(requests[0].contains("sendInitialEvents=true"), "{requests:?}");
        assert!(
            !requests[1].contains("sendInitialEvents") && !requests[1].contains("watch="),
            "{requests:?}"
        );
    }

    #[tokio::test]
    async fn other_errors_are_the_callers() {
        let (events, requests) = first(vec![status(403, "Forbidden")], 1).await;
        assert!(events[0].contains("sendInitialEvents: Forbidden"), "{events:?}");
        assert_eq!(requests.len(), 1);
    }

    #[tokio::test]
    async fn a_streaming_list_is_what_is_tried_first() {
        let added = json!({"type": "ADDED", "object": {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}}});
        let (events, requests) = first(vec![(200, added)], 2).await;
        assert_eq!(events, ["init", "a"]);
        assert_eq!(requests.len(), 1);
    }

    #[tokio::test]
    async fn what_is_listed_is_passed_on_when_the_cache_shows_it() {
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
        let passed = |deleted, count| {
            let events = futures::stream::iter(events.clone().into_iter().take(count).map(Ok));
            once_cached(events, deleted).try_collect::<Vec<i32>>()
        };
        assert_eq!(passed(false, 5).await.unwrap(), Vec::<i32>::new());
        assert_eq!(passed(false, 8).await.unwrap(), [2, 3, 4]);
        assert_eq!(passed(true, 8).await.unwrap(), [2, 3, 4, 5]);
    }
}
