//! Objects, AWS, and one operator after the other, in virtual time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::runtime::reflector::{ObjectRef, store};
use kube::runtime::watcher::Event;
use parking_lot::RwLock;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, advance};

use super::api_server::{ApiServer, NAMESPACE};
use super::chaos::Chaos;
use super::cloud::{Cloud, Kind};
use crate::cached::CachedIngest;
use crate::context::{Caches, Context, Settings};
use crate::names;
use crate::office::take_office;
use crate::reconcile::reconcile_once;
use crate::tenancy::Places;
use crate::workload::DeploymentLite;

pub(super) const CLUSTER: &str = "test";
pub(super) const REGION: &str = "eu-central-1";

/// The memory of one process.
struct Operator {
    context: Context,
    woken: mpsc::Receiver<ObjectRef<CachedIngest>>,
    /// When each object is due, and what of it was seen last.
    due: BTreeMap<String, (Option<Instant>, String)>,
    uids: BTreeMap<String, String>,
    /// The API server's version that all were looked at.
    version: u64,
    _leading: watch::Sender<bool>,
}

pub(super) struct World {
    seed: u64,
    pub(super) chaos: Chaos,
    pub(super) api_server: ApiServer,
    pub(super) cloud: Cloud,
    operator: Option<Operator>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let chaos = Chaos::new(seed);
        let (api_server, cloud) = (ApiServer::new(chaos.clone()), Cloud::new(chaos.clone()));
        Self { seed, chaos, api_server, cloud, operator: None }
    }

    /// The operator ends, without a chance to do anything about it.
    pub(super) fn kill(&mut self) {
        self.operator = None;
    }

    async fn start(&mut self) {
        let leading = watch::Sender::new(true);
        let settings = Settings::new(CLUSTER, "agent:1");
        let (context, woken) =
            Context::new(self.api_server.client(), settings, Arc::default(), leading.subscribe());
        *context.chance.lock() = StdRng::seed_from_u64(self.chaos.pick(&[1, 2, 3, 4, 5]));
        context.aws.stand_in(REGION, Arc::new(self.cloud.clone()));
        context.caches.lock().insert(None, self.caches());
        take_office(&context);
        let (due, uids) = (BTreeMap::new(), BTreeMap::new());
        self.operator = Some(Operator { context, woken, due, uids, version: 0, _leading: leading });
    }

    fn caches(&self) -> Caches {
        let (objects, mut writer) = store();
        let mut places = Places::default();
        let listed = self.api_server.ingests().into_iter();
        let listed = listed.map(|object| Event::InitApply(serde_json::from_value(object).unwrap()));
        for event in [Event::Init].into_iter().chain(listed).chain([Event::InitDone]) {
            writer.apply_watcher_event(&event);
            places.take(&event);
        }
        let places = Arc::new(RwLock::new(places));
        let (deployments, mut deployments_writer) = store();
        for deployment in self.api_server.deployments() {
            let lite: DeploymentLite = serde_json::from_value(deployment).unwrap();
            deployments_writer.apply_watcher_event(&Event::Apply(lite));
        }
        Caches { objects, deployments, deployment_filter: Arc::default(), places }
    }

    /// Everything that is due now, once. A new operator where there is none.
    pub(super) async fn step(&mut self) {
        if self.operator.is_none() {
            self.start().await;
        }
        let version = self.api_server.version();
        if let Some(operator) = &mut self.operator {
            let due = operator.due.values().any(|(due, _)| due.is_some_and(|due| due <= Instant::now()));
            if operator.version == version && !due && operator.woken.is_empty() {
                return;
            }
            operator.version = version;
        }
        // As of the beginning of the step: what it changes is seen in the next.
        let (caches, deployments) = (self.caches(), self.api_server.deployments());
        if let Some(operator) = &mut self.operator {
            operator.context.caches.lock().insert(None, caches);
        }
        for object in self.api_server.ingests() {
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            let seen = seen(&object, &deployments);
            let Some(operator) = &mut self.operator else { return };
            let now = Instant::now();
            // As the watches would tell.
            if operator
                .context
                .caches(NAMESPACE)
                .unwrap()
                .deployment(NAMESPACE, &names::deployment(&name))
                .is_none()
                && let Some(state) = operator.context.states.find(object["metadata"]["uid"].as_str().unwrap())
            {
                state.lock().applied = None;
            }
            let uid = object["metadata"]["uid"].as_str().unwrap().to_owned();
            if let Some(before) =
                operator.uids.insert(name.clone(), uid.clone()).filter(|before| *before != uid)
            {
                operator.context.forget(&before);
            }
            while let Ok(woken) = operator.woken.try_recv() {
                if let Some((due, _)) = operator.due.get_mut(&woken.name) {
                    *due = Some(now);
                }
            }
            let (due, before) = operator.due.entry(name.clone()).or_insert((None, String::new()));
            if *before == seen && due.is_none_or(|due| due > now) {
                continue;
            }
            (*due, *before) = (None, seen);
            let cached: CachedIngest = serde_json::from_value(object).unwrap();
            let result = tokio::select! {
                biased;
                () = self.chaos.killed() => None,
                result = reconcile_once(&cached, &operator.context) => Some(result),
            };
            let again = match result {
                None => return self.kill(),
                Some(Ok(again)) => again,
                Some(Err(error)) if error.is_gone() => None,
                Some(Err(_)) => Some(operator.context.backoff.next(&uid, None, 1.0)),
            };
            operator.due.get_mut(&name).unwrap().0 = again.map(|again| now + again);
        }
        let left = self.api_server.ingests();
        if let Some(operator) = &mut self.operator {
            let context = &operator.context;
            operator.uids.retain(|name, uid| {
                let lives = left.iter().any(|found| found["metadata"]["name"] == **name);
                if !lives {
                    context.forget(uid);
                }
                lives
            });
            operator.due.retain(|name, _| left.iter().any(|found| found["metadata"]["name"] == **name));
        }
    }

    /// No object's agent runs while AWS records for it.
    fn check_that_one_records(&self) {
        for object in self.api_server.ingests() {
            if object["status"]["mediaStorage"]["enabledByOperator"] != true {
                continue;
            }
            let name = object["metadata"]["name"].as_str().unwrap();
            let channel = object["spec"]["channel"]["name"].as_str().unwrap_or_default();
            let stream = object["spec"]["stream"]["name"].as_str().unwrap_or_default();
            let deployments = self.api_server.deployments();
            let agent = deployments.iter().find(|found| found["metadata"]["name"] == names::deployment(name));
            let runs = agent.is_some_and(|found| {
                let owner = &found["metadata"]["ownerReferences"][0]["uid"];
                found["spec"]["replicas"] == 1 && *owner == object["metadata"]["uid"]
            });
            let (channel, stream) =
                (self.cloud.get(Kind::Channel, channel), self.cloud.get(Kind::Stream, stream));
            let (Some(channel), Some(stream)) = (channel, stream) else { continue };
            let records = channel.is_recorded() && channel.stored_in.as_ref() == Some(&stream.arn);
            assert!(
                !(runs && records),
                "{}: {name} is recorded twice: {:#?}",
                self.seed,
                self.chaos.writes()
            );
        }
    }

    /// Lets so much time pass.
    pub(super) async fn pass(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.step().await;
            self.check_that_one_records();
            advance(Duration::from_millis(500)).await;
        }
    }

    /// Lets time pass until nothing is written for so long; at most an hour.
    pub(super) async fn rest(&mut self, quiet: Duration) {
        let (mut writes, mut since) = (self.chaos.writes().len(), Instant::now());
        let until = Instant::now() + Duration::from_secs(3600);
        while since.elapsed() < quiet {
            assert!(
                Instant::now() < until,
                "{}: it does not come to rest: {:#?}",
                self.seed,
                self.chaos.writes()
            );
            self.step().await;
            self.check_that_one_records();
            advance(Duration::from_secs(1)).await;
            if self.chaos.writes().len() != writes {
                (writes, since) = (self.chaos.writes().len(), Instant::now());
            }
        }
    }
}

/// What wakes the operator up when it changes: as `controller.rs` compares.
fn seen(object: &Value, deployments: &[Value]) -> String {
    let meta = &object["metadata"];
    let name = names::deployment(meta["name"].as_str().unwrap());
    let deployment = deployments.iter().find(|found| found["metadata"]["name"] == name);
    let fields = ["uid", "generation", "deletionTimestamp", "annotations", "finalizers"];
    let fields: Vec<_> = fields.iter().map(|field| meta[*field].to_string()).collect();
    format!("{fields:?} {:?}", deployment.map(|found| &found["metadata"]["resourceVersion"]))
}

/// A spec whose channel and stream have these names.
pub(super) fn spec(channel: &str, stream: &str, policy: &str) -> Value {
    json!({"region": REGION, "deletionPolicy": policy,
        "channel": {"name": channel, "createIfMissing": true},
        "stream": {"name": stream, "createIfMissing": true}})
}

/// A spec without a stream: media goes to an output alone.
pub(super) fn without_stream(channel: &str, policy: &str) -> Value {
    let mut spec = spec(channel, "", policy);
    spec.as_object_mut().unwrap().remove("stream");
    spec["outputs"] = json!([{"name": "live", "rtmp": {"url": "rtmp://media.test/live/door"}}]);
    spec
}

/// A spec of which AWS records by itself.
pub(super) fn managed(channel: &str, stream: &str, policy: &str) -> Value {
    let mut spec = spec(channel, stream, policy);
    spec["mode"] = json!("ManagedStorage");
    spec
}

/// Reason and status of a condition of an object.
pub(super) fn says(object: &Value, kind: &str) -> String {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|found| found["type"] == kind);
    found.map_or_else(String::new, |found| {
        format!("{} {}", found["status"].as_str().unwrap(), found["reason"].as_str().unwrap())
    })
}

pub(super) fn tags(uid: &str, ingest: &str) -> kvs::Tags {
    let ingest = format!("{NAMESPACE}/{ingest}");
    [(names::TAG_CLUSTER, CLUSTER), (names::TAG_UID, uid), (names::TAG_INGEST, &*ingest)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}
