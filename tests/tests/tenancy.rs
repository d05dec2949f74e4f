//! What a tenant gains from an operator of the whole cluster, where no admission policy stands before it. (Where one does:
//! `chart_install.rs`.)
#![allow(clippy::unwrap_used, reason = "a test")]

use kube::Api;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
};
use kvs_ingest_tests::kubernetes::{World, condition, says};
use kvs_ingest_tests::tenancy;
use serde_json::{Value, json};

fn policies(world: &World) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("kvs-ingest.dev", "v1alpha1", "KvsIngestPolicy");
    let resource = ApiResource::from_gvk_with_plural(&kind, "kvsingestpolicies");
    Api::all_with(world.client.clone(), &resource)
}

async fn create_policy(world: &World, policy: Value) {
    let policy = serde_json::from_value(policy).unwrap();
    policies(world).create(&PostParams::default(), &policy).await.unwrap();
}

async fn patch_policy(world: &World, name: &str, spec: Value) {
    let patch = Patch::Merge(json!({"spec": spec}));
    policies(world).patch(name, &PatchParams::default(), &patch).await.unwrap();
}

/// An object that this world's operator looks after.
async fn create(world: &World, name: &str, more: Value) {
    let mut object = tenancy::object(name, &world.namespace, more);
    object["metadata"]["labels"] = json!({"shard": world.namespace});
    world.create(object).await.unwrap();
}

fn message(object: &Value) -> &str {
    condition(object, "Ready").unwrap()["message"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_permitted_gets_nothing_and_stops() {
    let world = World::new("tenant").await.unwrap();
    let namespace = world.namespace.clone();
    let policy = format!("tenants-{namespace}");
    let label = format!("kvs-ingest.dev/tenant={namespace}");
    world.cluster.kubectl(&["label", "namespace", &namespace, &label]).await.unwrap();
    let selector = json!({"namespaceSelector": {"matchLabels": {"kvs-ingest.dev/tenant": namespace}}});
    create_policy(&world, tenancy::policy(&policy, &selector)).await;
    let abuses = tenancy::abuses(&namespace);
    for (index, (_, more)) in abuses.iter().enumerate() {
        create(&world, &format!("abuse-{index}"), more.clone()).await;
    }
    let _operator = world.operator("one", &[&format!("--selector=shard={namespace}")]).await.unwrap();
    for (index, (field, more)) in abuses.iter().enumerate() {
        let found = world.says(&format!("abuse-{index}"), "Ready", "False", "NotPermitted").await.unwrap();
        assert!(message(&found).contains(&format!("{field}: ")), "{more}: {found:#}");
        assert!(says(&found, "Stalled", "True", "NotPermitted"), "{more}: {found:#}");
        assert!(says(&found, "ChannelResolved", "Unknown", "NotPermitted"), "{more}: {found:#}");
        assert!(found["status"]["stream"].is_null(), "{more}: {found:#}");
    }
    assert!(world.deployments().list(&ListParams::default()).await.unwrap().items.is_empty());

    // One that is permitted, when its channel and stream may be created.
    patch_policy(&world, &policy, json!({"create": null})).await;
    let name = format!("{namespace}-front");
    let made = json!({"name": name, "createIfMissing": true});
    let new = json!({"channel": made, "stream": made});
    create(&world, "door", new).await;
    let found = world.says("door", "StreamResolved", "True", "Created").await.unwrap();
    world.until(&world.deployments(), "door-agent", "a Deployment", Value::is_object).await.unwrap();
    assert_eq!(found["status"]["stream"]["name"], name);

    // What was permitted and is not any more stops; that it is paused is its author's wish.
    world
        .patch("door", json!({"metadata": {"annotations": {"kvs-ingest.dev/paused": "true"}}}))
        .await
        .unwrap();
    world.says("door", "Paused", "True", "PausedByAnnotation").await.unwrap();
    patch_policy(&world, &policy, json!({"regions": []})).await;
    let found = world.says("door", "Ready", "False", "NotPermitted").await.unwrap();
    assert!(
        message(&found).contains(&format!("regions of KvsIngestPolicy {policy} permits none")),
        "{found:#}"
    );
    assert!(says(&found, "AgentAvailable", "False", "NotPermitted"), "{found:#}");
    world.until(&world.deployments(), "door-agent", "its end", Value::is_null).await.unwrap();
    assert!(
        found["status"]["stream"]["created"].as_bool().unwrap(),
        "it stays known what was made: {found:#}"
    );

    // The namespace is no tenant's any more.
    world.patch("door", json!({"metadata": {"annotations": {"kvs-ingest.dev/paused": null}}})).await.unwrap();
    world.cluster.kubectl(&["label", "namespace", &namespace, "kvs-ingest.dev/tenant-"]).await.unwrap();
    world.until(&world.deployments(), "door-agent", "a Deployment again", Value::is_object).await.unwrap();
    world.says("door", "StreamResolved", "True", "Created").await.unwrap();
    // Without a policy an image is still the release's.
    let image = abuses.iter().position(|(field, _)| *field == "spec.image").unwrap();
    let found = world.says(&format!("abuse-{image}"), "Ready", "False", "NotPermitted").await.unwrap();
    assert!(message(&found).contains("--allowed-images"), "{found:#}");

    // So many, the oldest first: what is not gone yet is older than `door`.
    for index in 0..abuses.len() {
        world.ingests().delete(&format!("abuse-{index}"), &DeleteParams::default()).await.unwrap();
    }
    for index in 0..abuses.len() {
        let name = format!("abuse-{index}");
        world.until(&world.ingests(), &name, "its end", Value::is_null).await.unwrap();
    }
    let few = format!("few-{namespace}");
    let limit = json!({"namespaces": [namespace], "maxObjects": 1});
    create_policy(
        &world,
        json!({"apiVersion": "kvs-ingest.dev/v1alpha1", "kind": "KvsIngestPolicy",
        "metadata": {"name": few}, "spec": limit}),
    )
    .await;
    create(
        &world,
        "second",
        json!({"channel": {"name": format!("{namespace}-second"), "createIfMissing": true},
        "stream": {"name": format!("{namespace}-second"), "createIfMissing": true}}),
    )
    .await;
    let found = world.says("second", "Ready", "False", "NotPermitted").await.unwrap();
    assert!(message(&found).contains("maxObjects"), "{found:#}");
    // The operator may be told of the policy before it is told of those that are gone: then `door` is permitted again.
    world
        .until(&world.deployments(), "door-agent", "the agent of the oldest", Value::is_object)
        .await
        .unwrap();
    world.says("door", "StreamResolved", "True", "Created").await.unwrap();
    world.ingests().delete("door", &DeleteParams::default()).await.unwrap();
    world.says("second", "StreamResolved", "True", "Created").await.unwrap();
    for name in [policy, few] {
        policies(&world).delete(&name, &DeleteParams::default()).await.unwrap();
    }
    world.end().await.unwrap();
}
