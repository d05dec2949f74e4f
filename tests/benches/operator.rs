//! `cargo xtask bench operator`: N objects on a real API server, the operator beside a bare client that writes the same.
//!
//! The controller manager is held: what is measured is the operator, the API server and etcd. When all Deployments are
//! there, agents come up: each has a ReplicaSet, a pod with an address of its own on loopback, and a `/status`.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a benchmark")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt};
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kvs::ControlPlane;
use kvs_aws::AwsContext;
use kvs_ingest_tests::kubernetes::{Operator, REGION, World, says};
use kvs_ingest_tests::usage::Usage;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::sleep;

/// As many as the operator reconciles at once.
const CONCURRENCY: usize = 32;
const FLAGS: [&str; 3] = ["--aws-quota-share=1000", "--concurrency=32", "--log-level=warn"];
/// How often the operator's state is looked at.
const LOOK: Duration = Duration::from_millis(200);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let count: usize = std::env::var("KVS_INGEST_BENCH_OBJECTS").map_or(10_000, |text| text.parse().unwrap());
    let world = World::new("bench").await.unwrap();
    hold_controllers(&world);
    let _agents = tokio::spawn(agents(TcpListener::bind("0.0.0.0:8080").await.unwrap()));
    println!("objects                         {count}");
    let sample = sample().await;
    channels(&world, count).await;
    create(&world, count).await;

    let first = bare(&sample, "bare-before", count / 2).await;

    let used = used(&world);
    let started = Instant::now();
    let operator = world.operator_with("cold", &FLAGS).await.unwrap();
    let ours = settled(&world, count, &operator).await - started;
    println!("creation: time to converge      {:.1} s", ours.as_secs_f64());
    println!("creation: CPU of the operator   {:.1} s", operator.usage().unwrap().cpu);
    show_used("creation", &world, &used);
    let creation = verbs(&world);
    show("creation", &creation, count);
    println!("creation: peak RSS              {:.0} MiB", mib(operator.usage().unwrap().peak));

    let started = Instant::now();
    come_up(&world).await;
    until_streaming(&world, count).await;
    println!("agents up: time until all flow  {:.1} s", started.elapsed().as_secs_f64());
    let up = verbs(&world);
    show("agents up", &difference(&up, &creation), count);
    println!("agents up: peak RSS             {:.0} MiB", mib(operator.usage().unwrap().peak));

    let minute = Duration::from_secs((count as u64 / 100).clamp(10, 60));
    sleep(minute).await;
    let before = verbs(&world);
    let cpu = operator.usage().unwrap().cpu;
    sleep(2 * minute).await;
    let steady = difference(&verbs(&world), &before);
    println!("steady: requests a minute       {:.1}  {steady:?}", steady.values().sum::<u64>() as f64 / 2.0);
    println!(
        "steady: CPU                     {:.0} m",
        (operator.usage().unwrap().cpu - cpu) / (2 * minute).as_secs_f64() * 1000.0
    );
    println!("steady: RSS                     {:.0} MiB", mib(operator.usage().unwrap().resident));
    operator.stop().await.unwrap();

    let before = verbs(&world);
    let started = Instant::now();
    let operator = world.operator_with("warm", &FLAGS).await.unwrap();
    while reconciles(&operator).await < count as f64 {
        sleep(LOOK).await;
    }
    println!("restart: everything looked at   {:.1} s", started.elapsed().as_secs_f64());
    // What somebody might have forgotten to be sure of would be written now.
    sleep(Duration::from_secs(15)).await;
    let after = difference(&verbs(&world), &before);
    println!("restart: writes                 {}", writes(&after));
    println!("restart: requests               {after:?}");
    println!("restart: peak RSS               {:.0} MiB", mib(operator.usage().unwrap().peak));
    operator.stop().await.unwrap();

    // Half of them before and half after: a machine that does other things, too, is not always as fast.
    let theirs = first + bare(&sample, "bare-after", count - count / 2).await;
    println!("bare client: the same writes    {:.1} s", theirs.as_secs_f64());
    println!("ratio                           {:.2}", ours.as_secs_f64() / theirs.as_secs_f64());
}

/// What the operator writes for the first object: its Deployment and its status, as a bare client would apply them.
async fn sample() -> (Value, Value) {
    let sample = World::new("sample").await.unwrap();
    channels(&sample, 1).await;
    create(&sample, 1).await;
    let operator = sample.operator_with("sample", &FLAGS).await.unwrap();
    settled(&sample, 1, &operator).await;
    operator.stop().await.unwrap();
    let deployment = sample.deployments().get(&format!("{}-agent", name(0))).await.unwrap();
    let ingest = sample.ingests().get(&name(0)).await.unwrap();
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": deployment.metadata.name, "labels": deployment.metadata.labels,
            "annotations": deployment.metadata.annotations},
        "spec": deployment.data["spec"]});
    let status = json!({"apiVersion": "kvs-ingest.dev/v1alpha1", "kind": "KvsIngest",
        "metadata": {"name": name(0)}, "status": ingest.data["status"]});
    (deployment, status)
}

/// So many objects by a client that knows what to write: how long it takes.
async fn bare(sample: &(Value, Value), kind: &str, count: usize) -> Duration {
    let world = World::new(kind).await.unwrap();
    create(&world, count).await;
    let client = world.operators_client().await.unwrap();
    let (deployments, ingests) = (world.deployments_of(&client), world.ingests_of(&client));
    let (deployment, status) = (sample.0.to_string(), sample.1.to_string());
    let of =
        |text: &str, index| -> Value { serde_json::from_str(&text.replace(&name(0), &name(index))).unwrap() };
    let used = used(&world);
    let started = Instant::now();
    stream::iter(0..count)
        .for_each_concurrent(CONCURRENCY, |index| {
            let (deployment, status) = (of(&deployment, index), of(&status, index));
            let (deployments, ingests) = (&deployments, &ingests);
            async move {
                let apply = PatchParams::apply("bare").force();
                let agent = format!("{}-agent", name(index));
                deployments.patch(&agent, &apply, &Patch::Apply(&deployment)).await.unwrap();
                ingests.patch_status(&name(index), &apply, &Patch::Apply(&status)).await.unwrap();
            }
        })
        .await;
    let time = started.elapsed();
    println!("{:31} {:.1} s for {count}", format!("{kind}: the same writes"), time.as_secs_f64());
    show_used(kind, &world, &used);
    time
}

/// The controller manager and the scheduler would take both cores.
fn hold_controllers(world: &World) {
    for name in ["kube-controller-manager", "kube-scheduler"] {
        let id = world.cluster.process(name).unwrap();
        let status = std::process::Command::new("kill").args(["-STOP", &id.to_string()]).status();
        assert!(status.unwrap().success(), "{name}");
    }
}

/// The channels are the cameras' own.
async fn channels(world: &World, count: usize) {
    let context = AwsContext::builder()
        .region(REGION)
        .static_credentials("AKIDTEST", "secret", None)
        .endpoint_url(world.local.url())
        .build()
        .await
        .unwrap();
    let aws = ControlPlane::new(&context);
    stream::iter(0..count)
        .for_each_concurrent(CONCURRENCY, |index| {
            let aws = &aws;
            async move {
                let tags = kvs::Tags::default();
                aws.begin_channel(&name(index).parse().unwrap(), &tags).await.unwrap();
            }
        })
        .await;
}

fn mib(bytes: f64) -> f64 {
    bytes / 1024.0 / 1024.0
}

fn name(index: usize) -> String {
    format!("camera-{index:05}")
}

/// An agent's address, by which the server below knows who is asked for.
fn address(index: usize) -> Ipv4Addr {
    let [_, high, middle, low] = u32::try_from(index).unwrap().to_be_bytes();
    Ipv4Addr::new(127, 64 + high, middle, low)
}

/// All agents at once: `GET /status`, one request a connection.
async fn agents(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let Ok(SocketAddr::V4(here)) = stream.local_addr() else { return };
            let [_, high, middle, low] = here.ip().octets();
            let index = u32::from_be_bytes([0, high - 64, middle, low]);
            let status = json!({"phase": "Streaming", "reason": "Streaming", "message": "media flows",
                "stream": name(index as usize)});
            let body = status.to_string();
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = stream.write_all((head + &body).as_bytes()).await;
        });
    }
}

/// What controllers and kubelets would have done.
async fn come_up(world: &World) {
    let found = all(&world.deployments()).await;
    stream::iter(found)
        .for_each_concurrent(CONCURRENCY, |deployment| async move {
            come_up_one(world, deployment).await;
        })
        .await;
}

async fn come_up_one(world: &World, deployment: DynamicObject) {
    let create = PostParams::default();
    let name = deployment.metadata.name.clone().unwrap();
    let index: usize = name.trim_start_matches("camera-").trim_end_matches("-agent").parse().unwrap();
    let owner = |kind: &str, name: &str, uid: &str| json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true}]);
    let spec = &deployment.data["spec"];
    let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": name, "ownerReferences": owner("Deployment", &name, deployment.metadata.uid.as_ref().unwrap())},
        "spec": {"replicas": 1, "selector": spec["selector"], "template": spec["template"]}});
    let set = world.replicasets().create(&create, &serde_json::from_value(set).unwrap()).await.unwrap();
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": spec["template"]["metadata"]["labels"],
            "ownerReferences": owner("ReplicaSet", &name, set.metadata.uid.as_ref().unwrap())},
        "spec": spec["template"]["spec"]});
    world.pods().create(&create, &serde_json::from_value(pod).unwrap()).await.unwrap();
    let merge = PatchParams::default();
    let running = json!({"status": {"phase": "Running", "podIP": address(index).to_string()}});
    world.pods().patch_status(&name, &merge, &Patch::Merge(running)).await.unwrap();
    let available = json!({"status": {"observedGeneration": deployment.metadata.generation, "replicas": 1,
        "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}});
    world.deployments().patch_status(&name, &merge, &Patch::Merge(available)).await.unwrap();
}

async fn until_streaming(world: &World, count: usize) {
    loop {
        let objects = all(&world.ingests()).await;
        let flow =
            objects.iter().filter(|object| says(&object.data, "MediaFlowing", "True", "Streaming")).count();
        if flow >= count {
            return;
        }
        sleep(5 * LOOK).await;
    }
}

/// CPU seconds of the others so far: of the API server, of etcd, and of this process, which is also KVS.
fn used(world: &World) -> [(&'static str, f64); 3] {
    let cpu = |id: u32| Usage::of(id).unwrap().cpu;
    let part = |name| cpu(world.cluster.process(name).unwrap().try_into().unwrap());
    [("API server", part("kube-apiserver")), ("etcd", part("etcd")), ("this", cpu(std::process::id()))]
}

fn show_used(step: &str, world: &World, before: &[(&str, f64); 3]) {
    for ((name, after), (_, before)) in used(world).iter().zip(before) {
        println!("{:31} {:.1} s", format!("{step}: CPU of {name}"), after - before);
    }
}

fn show(step: &str, requests: &BTreeMap<String, u64>, count: usize) {
    for (verb, times) in requests {
        println!("{:31} {:.2} an object", format!("{step}: {verb}"), *times as f64 / count as f64);
    }
    println!("{:31} {:.2} an object", format!("{step}: writes"), writes(requests) as f64 / count as f64);
}

fn writes(requests: &BTreeMap<String, u64>) -> u64 {
    requests.iter().filter(|(verb, _)| is_write(verb)).map(|(_, times)| times).sum()
}

fn is_write(verb: &str) -> bool {
    !["get ", "list ", "watch "].iter().any(|read| verb.starts_with(read))
}

async fn create(world: &World, count: usize) {
    stream::iter(0..count)
        .for_each_concurrent(CONCURRENCY, |index| async move {
            let own = json!({"channel": {"createIfMissing": false}});
            world.create(world.manifest(&name(index), own)).await.unwrap();
        })
        .await;
}

/// Waits until every object has its Deployment and a status that says so; since when.
async fn settled(world: &World, count: usize, operator: &Operator) -> Instant {
    loop {
        let mut all_written = true;
        for what in ["apply", "status_update"] {
            let name = format!("kvsingest_{what}_total{{outcome=\"changed\"}}");
            all_written &= operator.metric(&name).await.unwrap() >= count as f64;
        }
        if all_written {
            let since = Instant::now();
            let objects = all(&world.ingests()).await;
            let told = |object: &DynamicObject| object.data["status"]["deploymentGeneration"].is_number();
            if objects.iter().filter(|object| told(object)).count() >= count {
                return since;
            }
        }
        sleep(LOOK).await;
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

/// Requests of the operator in the namespace by verb and resource.
fn verbs(world: &World) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for (verb, resource, _) in world.cluster.requests(&world.namespace).unwrap() {
        *counts.entry(format!("{verb} {resource}")).or_default() += 1;
    }
    counts
}

fn difference(after: &BTreeMap<String, u64>, before: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let less = after.iter().map(|(verb, times)| (verb.clone(), times - before.get(verb).unwrap_or(&0)));
    less.filter(|(_, times)| *times > 0).collect()
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
