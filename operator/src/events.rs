//! Kubernetes events, of which the same one within minutes is counted and not written anew.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use kvs_ingest_api::{API_VERSION, KIND, KvsIngest};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::lease::Leadership;
use crate::lz4::{compress, decompress};
use crate::names::MANAGER;
use crate::pace::Bucket;
use crate::reason::Reason;

/// The same again within so long is a series.
const SERIES: Duration = Duration::from_secs(6 * 60);
/// So many events are remembered: a series is one of those that repeat often.
const MOST_RECENT: usize = 256;

/// So many wait at most: one for each object of an account, when all of them have something to say at once.
const WAITING: usize = 16 * 1024;
const PER_SECOND: f64 = 20.0;
const BURST: f64 = 100.0;
/// They are for people: 10,000 of them must not stand in the way of what is reconciled. While much is, one waits so long,
/// and then for its turn by the pace.
const YIELD: Duration = Duration::from_secs(1);
/// How often it looks whether much still is.
const YIELD_CHECK: Duration = Duration::from_millis(100);
/// For one of them.
const WITHIN: Duration = Duration::from_secs(10);

/// `type` of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    Normal,
    Warning,
}

/// What happened to an object, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub kind: EventType,
    pub reason: Reason,
    /// Cut at the 1,024 bytes that Kubernetes takes.
    pub message: String,
}

/// Writes events of objects, while this operator leads.
pub struct Events {
    client: Client,
    leading: Leadership,
    recent: Mutex<VecDeque<Recent>>,
    /// [`WAITING`] of them; when it is full, what comes is logged and not written.
    queue: mpsc::Sender<Queued>,
    inbox: Mutex<Option<mpsc::Receiver<Queued>>>,
}

/// As small as it can be: 10,000 of them may wait.
struct Queued {
    /// A [`Message`].
    compressed: Box<[u8]>,
    at: Timestamp,
}

/// A [`Notice`] and the `KvsIngest` that it is about.
#[derive(Deserialize, Serialize)]
struct Message {
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<String>,
    version: Option<String>,
    normal: bool,
    reason: String,
    note: String,
}

impl Message {
    fn about(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some(API_VERSION.to_owned()),
            kind: Some(KIND.to_owned()),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            resource_version: self.version.clone(),
            field_path: None,
        }
    }
}

struct Recent {
    uid: String,
    reason: String,
    /// The event's own name.
    name: String,
    count: i32,
    at: Instant,
}

struct Repeated {
    name: String,
    count: i32,
}

impl Events {
    #[must_use]
    pub fn new(client: Client, leading: Leadership) -> Self {
        let (queue, inbox) = mpsc::channel(WAITING);
        Self { client, leading, recent: Mutex::default(), queue, inbox: Mutex::new(Some(inbox)) }
    }

    /// Queues what happened to an object: [`Events::run`] writes it. That it cannot be written is logged, and no more.
    pub fn record(&self, about: &KvsIngest, notice: &Notice) {
        if !*self.leading.borrow() {
            return;
        }
        let ObjectMeta { namespace, name, uid, resource_version, .. } = about.metadata.clone();
        let Notice { kind, reason, message } = notice;
        let queued = compress(&Message {
            namespace,
            name,
            uid,
            version: resource_version,
            normal: *kind == EventType::Normal,
            reason: reason.to_string(),
            note: message.clone(),
        });
        let compressed = match queued {
            Ok(compressed) => compressed,
            Err(error) => return tracing::warn!(%error, %reason, "event not written"),
        };
        if self.queue.try_send(Queued { compressed, at: Timestamp::now() }).is_err() {
            tracing::warn!(%reason, note = message, "event not written: {WAITING} wait already");
        }
    }

    /// Writes what is queued, at a pace, and slower while `busy`, until `finish`; then what is left, as fast as it goes.
    pub async fn run(&self, busy: impl Fn() -> bool, finish: CancellationToken) {
        let Some(mut inbox) = self.inbox.lock().take() else { return };
        let mut bucket = Bucket::new(PER_SECOND, BURST, Instant::now());
        loop {
            let queued = tokio::select! {
                queued = inbox.recv() => queued,
                () = finish.cancelled() => {
                    inbox.close();
                    inbox.recv().await
                }
            };
            let Some(queued) = queued else { return };
            let turn = async {
                let asked = tokio::time::Instant::now();
                while busy() && asked.elapsed() < YIELD {
                    tokio::time::sleep(YIELD_CHECK).await;
                }
                let wait = bucket.reserve(Instant::now());
                tokio::time::sleep(wait).await;
            };
            tokio::select! {
                () = turn => {}
                () = finish.cancelled() => {}
            }
            if !*self.leading.borrow() {
                continue;
            }
            let message: Message = match decompress(&queued.compressed) {
                Ok(message) => message,
                Err(error) => {
                    tracing::warn!(error, "event not written");
                    continue;
                }
            };
            let Message { normal, reason, note, .. } = &message;
            let kind = if *normal { EventType::Normal } else { EventType::Warning };
            let written = self.write(message.about(), kind, reason, note, MicroTime(queued.at));
            match tokio::time::timeout(WITHIN, written).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, reason, "event not written"),
                Err(_) => tracing::warn!(reason, "event not written in time"),
            }
        }
    }

    /// Writes an event, or counts the one that it repeats.
    async fn write(
        &self,
        about: ObjectReference,
        kind: EventType,
        reason: &str,
        note: &str,
        at: MicroTime,
    ) -> Result<(), kube::Error> {
        let api: Api<Event> =
            Api::namespaced(self.client.clone(), about.namespace.as_deref().unwrap_or("default"));
        let uid = about.uid.clone().unwrap_or_default();
        if let Some(repeated) = self.repeated(&uid, reason) {
            let series = json!({"series": {"count": repeated.count, "lastObservedTime": at}});
            match api.patch(&repeated.name, &PatchParams::default(), &Patch::Merge(&series)).await {
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                other => return other.map(drop),
            }
        }
        let name =
            format!("{}.{:x}", about.name.as_deref().unwrap_or(MANAGER), Timestamp::now().as_nanosecond());
        let event = Event {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: about.namespace.clone(),
                ..ObjectMeta::default()
            },
            action: Some("Reconcile".to_owned()),
            event_time: Some(at),
            note: Some(cut(note).to_owned()),
            reason: Some(reason.to_owned()),
            regarding: Some(about),
            reporting_controller: Some(MANAGER.to_owned()),
            reporting_instance: Some(MANAGER.to_owned()),
            type_: Some(
                match kind {
                    EventType::Normal => "Normal",
                    EventType::Warning => "Warning",
                }
                .to_owned(),
            ),
            ..Event::default()
        };
        api.create(&PostParams::default(), &event).await?;
        self.add_recent(Recent { uid, reason: reason.to_owned(), name, count: 1, at: Instant::now() });
        Ok(())
    }

    /// The event that this one repeats, with this one counted.
    fn repeated(&self, uid: &str, reason: &str) -> Option<Repeated> {
        let mut recent = self.recent.lock();
        let found = recent.iter_mut().find(|found| found.uid == uid && found.reason == reason)?;
        if found.at.elapsed() >= SERIES {
            return None;
        }
        found.count += 1;
        found.at = Instant::now();
        Some(Repeated { name: found.name.clone(), count: found.count })
    }

    fn add_recent(&self, event: Recent) {
        let mut recent = self.recent.lock();
        recent.retain(|found| !(found.uid == event.uid && found.reason == event.reason));
        if recent.len() >= MOST_RECENT {
            recent.pop_front();
        }
        recent.push_back(event);
    }
}

fn cut(note: &str) -> &str {
    &note[..note.floor_char_boundary(1024)]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::{Request, Response};
    use http_body_util::BodyExt;
    use kube::client::Body;
    use serde_json::Value;

    use super::*;

    fn leads() -> Leadership {
        tokio::sync::watch::channel(true).1
    }

    fn notice(reason: Reason) -> Notice {
        Notice { kind: EventType::Normal, reason, message: "note".to_owned() }
    }

    fn ingest() -> KvsIngest {
        serde_json::from_value(json!({
            "metadata": {"name": "door", "namespace": "n", "uid": "u"},
            "spec": {"region": "eu-central-1", "channel": {"name": "c"}, "stream": {"name": "s"}},
        }))
        .unwrap()
    }

    #[tokio::test]
    async fn who_does_not_lead_has_nothing_to_say() {
        let service = tower::service_fn(|_: Request<Body>| async {
            Err::<Response<Body>, _>(std::io::Error::other("nobody asks"))
        });
        let leading = tokio::sync::watch::Sender::new(false);
        let events = Events::new(Client::new(service, "default"), leading.subscribe());
        events.record(&ingest(), &notice(Reason::Found));
        assert_eq!(events.queue.capacity(), WAITING);
        leading.send_replace(true);
        events.record(&ingest(), &notice(Reason::Found));
        assert_eq!(events.queue.capacity(), WAITING - 1);
    }

    /// Method and body.
    type Requests = Arc<Mutex<Vec<(String, Value)>>>;

    /// Events, and the requests that they make.
    fn events() -> (Events, Requests) {
        let requests = Requests::default();
        let log = requests.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let log = log.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
                log.lock().push((parts.method.to_string(), body));
                Ok::<_, std::convert::Infallible>(Response::new(Body::from(b"{\"metadata\":{}}".to_vec())))
            }
        });
        (Events::new(Client::new(service, "default"), leads()), requests)
    }

    async fn write(events: &Events, uid: &str, kind: EventType, reason: &str, note: &str) {
        let about = ObjectReference {
            name: Some("door".to_owned()),
            namespace: Some("n".to_owned()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        };
        events.write(about, kind, reason, note, MicroTime(Timestamp::now())).await.unwrap();
    }

    #[tokio::test]
    async fn an_event_is_about_its_object_and_no_longer_than_allowed() {
        let (events, requests) = events();
        write(&events, "u", EventType::Warning, "AccessDenied", &"ä".repeat(1000)).await;
        let (method, body) = requests.lock()[0].clone();
        assert_eq!(method, "POST");
        assert_eq!(body["note"].as_str().unwrap().len(), 1024);
        assert_eq!((&body["type"], &body["regarding"]["uid"]), (&json!("Warning"), &json!("u")));
    }

    #[tokio::test]
    async fn the_same_again_is_counted() {
        let (events, requests) = events();
        write(&events, "u", EventType::Warning, "AccessDenied", "first").await;
        write(&events, "u", EventType::Warning, "AccessDenied", "again").await;
        write(&events, "u", EventType::Normal, "Streaming", "media flows").await;
        let requests = requests.lock();
        let methods: Vec<_> = requests.iter().map(|(method, _)| method.as_str()).collect();
        assert_eq!(methods, ["POST", "PATCH", "POST"]);
        assert_eq!(requests[1].1["series"]["count"], 2);
    }

    #[tokio::test]
    async fn what_is_recent_is_bounded() {
        let (events, requests) = events();
        write(&events, "u", EventType::Warning, "AccessDenied", "first").await;
        for number in 0..MOST_RECENT {
            write(&events, &number.to_string(), EventType::Normal, "Streaming", "x").await;
        }
        // Forgotten by now.
        write(&events, "u", EventType::Warning, "AccessDenied", "new").await;
        assert_eq!(requests.lock().last().unwrap().0, "POST");
        assert_eq!(events.recent.lock().len(), MOST_RECENT);
    }

    #[tokio::test(start_paused = true)]
    async fn they_wait_a_little_for_what_is_reconciled() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let log = written.clone();
        let service = tower::service_fn(move |_: Request<Body>| {
            log.lock().push(tokio::time::Instant::now());
            async {
                Ok::<_, std::convert::Infallible>(Response::new(Body::from(b"{\"metadata\":{}}".to_vec())))
            }
        });
        let events = Events::new(Client::new(service, "default"), leads());
        for reason in [Reason::Found, Reason::Created, Reason::Suspended] {
            events.record(&ingest(), &notice(reason));
        }
        let start = tokio::time::Instant::now();
        // Much is reconciled for one and a half seconds.
        let busy = || start.elapsed() < Duration::from_millis(1500);
        let run = events.run(busy, CancellationToken::new());
        assert!(
            tokio::time::timeout(Duration::from_secs(60), run).await.is_err(),
            "it runs until it is stopped"
        );
        let after: Vec<_> = written.lock().iter().map(|at| at.duration_since(start).as_millis()).collect();
        assert_eq!(after.len(), 3);
        assert!((1000..1200).contains(&after[0]), "{after:?}");
        assert!((1500..1700).contains(&after[1]), "{after:?}");
        assert!(after[2] - after[1] < 100, "{after:?}");
    }
}
