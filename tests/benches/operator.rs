//! `cargo xtask bench operator`: N objects on a real API server, the operator beside a bare client that writes the same.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a benchmark")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt};
use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use kvs_ingest_tests::kubernetes::{Operator, World};
use serde_json::{Value, json};
use tokio::time::sleep;

/// As many as the operator reconciles at once.
const CONCURRENCY: usize = 32;
const FLAGS: [&str; 3] = ["--aws-quota-share=1000", "--concurrency=32", "--log-level=warn"];

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let count: usize = std::env::var("KVS_INGEST_BENCH_OBJECTS").map_or(10_000, |text| text.parse().unwrap());
    let world = World::new("bench").await.unwrap();
    create(&world, count).await;

    let started = Instant::now();
    let operator = world.operator_with("cold", &FLAGS).await.unwrap();
    let statuses = settled(&world, count, &operator).await;
    let ours = started.elapsed();
    sleep(Duration::from_secs(30)).await;
    println!("objects                         {count}");
    println!("operator: time to converge      {:.1} s", ours.as_secs_f64());
    let requests = verbs(&world, &BTreeMap::new());
    for (verb, times) in &requests {
        println!("operator: {verb:30} {:.2} an object", *times as f64 / count as f64);
    }
    let written: u64 = requests.iter().filter(|(verb, _)| is_write(verb)).map(|(_, times)| times).sum();
    println!("operator: writes                {:.2} an object", written as f64 / count as f64);
    println!("operator: peak RSS              {:.0} MiB", operator.peak_rss_mib().unwrap());
    let minute = since(&world, &requests, Duration::from_secs(60)).await;
    println!("operator: steady state          {minute:?} in a minute");
    operator.stop().await.unwrap();

    let before = verbs(&world, &BTreeMap::new());
    let started = Instant::now();
    let operator = world.operator_with("warm", &FLAGS).await.unwrap();
    while reconciles(&operator).await < count as f64 {
        sleep(Duration::from_millis(100)).await;
    }
    println!("restart: everything looked at   {:.1} s", started.elapsed().as_secs_f64());
    let after = verbs(&world, &before);
    let written: u64 = after.iter().filter(|(verb, _)| is_write(verb)).map(|(_, times)| times).sum();
    println!("restart: writes                 {written}  (leases are in another namespace)");
    println!("restart: peak RSS               {:.0} MiB", operator.peak_rss_mib().unwrap());
    operator.stop().await.unwrap();

    let bare = World::new("bare").await.unwrap();
    create(&bare, count).await;
    let deployments = templates(&world).await;
    let started = Instant::now();
    stream::iter(deployments.into_iter().zip(statuses))
        .for_each_concurrent(CONCURRENCY, |(mut deployment, (name, status))| {
            let (bare, deployments) = (&bare, bare.deployments());
            async move {
                deployment["metadata"]["name"] = json!(format!("{name}-agent"));
                let apply = PatchParams::apply("bare").force();
                deployments
                    .patch(&format!("{name}-agent"), &apply, &Patch::Apply(&deployment))
                    .await
                    .unwrap();
                let status = json!({"apiVersion": "kvs-ingest.dev/v1alpha1", "kind": "KvsIngest",
                    "metadata": {"name": name}, "status": status});
                bare.ingests().patch_status(&name, &apply, &Patch::Apply(&status)).await.unwrap();
            }
        })
        .await;
    let theirs = started.elapsed();
    println!("bare client: the same writes    {:.1} s", theirs.as_secs_f64());
    println!("ratio                           {:.2}", ours.as_secs_f64() / theirs.as_secs_f64());
}

fn is_write(verb: &str) -> bool {
    !["get ", "list ", "watch "].iter().any(|read| verb.starts_with(read))
}

async fn create(world: &World, count: usize) {
    stream::iter(0..count)
        .for_each_concurrent(CONCURRENCY, |index| async move {
            world.create(world.manifest(&format!("camera-{index:05}"), json!({}))).await.unwrap();
        })
        .await;
}

/// Waits until every object has its Deployment and a status that says so; the statuses by name.
async fn settled(world: &World, count: usize, operator: &Operator) -> Vec<(String, Value)> {
    loop {
        if operator.metric("kvsingest_apply_total{outcome=\"changed\"}").await.unwrap() >= count as f64 {
            let objects = all(&world.ingests()).await;
            let done: Vec<_> = objects
                .into_iter()
                .filter(|object| object.data["status"]["deploymentGeneration"].is_number())
                .map(|object| (object.metadata.name.unwrap(), object.data["status"].clone()))
                .collect();
            if done.len() >= count {
                return done;
            }
        }
        sleep(Duration::from_millis(200)).await;
    }
}

async fn all(api: &kube::Api<DynamicObject>) -> Vec<DynamicObject> {
    let (mut found, mut next) = (Vec::new(), None);
    loop {
        let mut params = ListParams::default().limit(1000);
        params.continue_token = next;
        let page = api.list(&params).await.unwrap();
        found.extend(page.items);
        next = page.metadata.continue_.filter(|token| !token.is_empty());
        if next.is_none() {
            return found;
        }
    }
}

/// What the operator applied, as a bare client would apply it.
async fn templates(world: &World) -> Vec<Value> {
    all(&world.deployments())
        .await
        .into_iter()
        .map(|found| {
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"labels": found.metadata.labels},
                "spec": found.data["spec"]})
        })
        .collect()
}

/// Requests of the operator in the namespace by verb and resource, without those of `before`.
fn verbs(world: &World, before: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for (verb, resource, _) in world.cluster.requests(&world.namespace).unwrap() {
        *counts.entry(format!("{verb} {resource}")).or_default() += 1;
    }
    for (verb, times) in before {
        if let Some(count) = counts.get_mut(verb) {
            *count -= times;
        }
    }
    counts.retain(|_, times| *times > 0);
    counts
}

async fn since(world: &World, _before: &BTreeMap<String, u64>, time: Duration) -> BTreeMap<String, u64> {
    let before = verbs(world, &BTreeMap::new());
    sleep(time).await;
    verbs(world, &before)
}

async fn reconciles(operator: &Operator) -> f64 {
    let mut sum = 0.0;
    for result in ["success", "requeue_after"] {
        let name =
            format!("controller_runtime_reconcile_total{{controller=\"kvsingest\",result=\"{result}\"}}");
        sum += operator.metric(&name).await.unwrap();
    }
    sum
}
