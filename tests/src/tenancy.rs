//! What a tenant who may write `KvsIngest` objects, and nothing else, may try: one table for the API server with the chart's
//! admission policies, and for the operator without them.

use serde_json::{Value, json};

use crate::kubernetes::merge;

/// The release's image in these tests.
pub const AGENT: &str = "test.local/agent:1";

/// What an administrator permits the namespaces that `selector` selects.
#[must_use]
pub fn policy(name: &str, selector: &Value) -> Value {
    let mut spec = json!({
        "regions": ["eu-central-1"],
        "accounts": ["111122223333"],
        "channels": ["${namespace}-*"],
        "streams": ["${namespace}-*", "shared.*"],
        "modes": ["Agent"],
        "create": false,
        "adopt": false,
        "maxRetentionHours": 48,
        "kmsKeys": ["alias/${namespace}-*"],
        "streamTags": ["team"],
        "roleArns": ["arn:aws:iam::111122223333:role/kvs-${namespace}-*"],
        "serviceAccounts": ["kvs-ingest-agent"],
        "credentialsSecrets": ["kvs-*"],
        "caBundles": ["kvs-*"],
        "outputs": ["rtmps://*.live-video.test:443", "rtmp://media.test:1935"],
        "outputSecrets": ["live-*"],
        "images": [],
        "imagePullSecrets": ["pull"],
        "priorityClasses": [],
        "tolerations": ["video"],
        "nodeSelection": false,
        "podLabels": ["team"],
        "podAnnotations": ["example.test/*"],
        "environment": ["HTTPS_PROXY"],
    });
    merge(&mut spec, selector.clone());
    json!({"apiVersion": "kvs-ingest.dev/v1alpha1", "kind": "KvsIngestPolicy", "metadata": {"name": name}, "spec": spec})
}

/// The spec of an object that asks for nothing that is not its namespace's.
#[must_use]
pub fn permitted(namespace: &str) -> Value {
    json!({
        "region": "eu-central-1",
        "serviceAccountName": "kvs-ingest-agent",
        "channel": {"name": format!("{namespace}-door")},
        "stream": {"name": format!("{namespace}-door"), "retentionHours": 48},
    })
}

/// What more may be asked for: each is merged into [`permitted`].
#[must_use]
pub fn also_permitted(namespace: &str) -> Vec<Value> {
    let arn =
        |kind: &str, name: String| format!("arn:aws:kinesisvideo:eu-central-1:111122223333:{kind}/{name}/1");
    vec![
        json!({}),
        json!({"channel": {"name": null, "arn": arn("channel", format!("{namespace}-door"))}}),
        json!({"stream": {"name": null, "arn": arn("stream", "shared.door".to_owned())}}),
        json!({"stream": {"kmsKeyId": format!("alias/{namespace}-key"), "tags": {"team": "doors"}}}),
        json!({"roleArn": format!("arn:aws:iam::111122223333:role/kvs-{namespace}-reader")}),
        json!({
            "roleArn": format!("arn:aws:iam::111122223333:role/kvs-{namespace}-reader"),
            "externalId": format!("kvs-ingest/test/{namespace}"),
        }),
        json!({"credentialsSecretRef": {"name": "kvs-aws"}, "imagePullSecrets": [{"name": "pull"}]}),
        json!({"caBundleRef": {"name": "kvs-ca"}}),
        output(
            json!({"url": "rtmps://a1.live-video.test/app/", "streamKeySecretRef": secret("live-key"), "caBundleRef": {"name": "kvs-ca"}}),
        ),
        json!({"stream": null, "outputs": [{"name": "live", "rtmp": {"url": "rtmp://Media.test/live/door"}}]}),
        json!({"pod": {
            "labels": {"team": "doors"},
            "annotations": {"example.test/a": "b"},
            "tolerations": [{"key": "video", "operator": "Exists"}],
            "env": [{"name": "HTTPS_PROXY", "value": "http://proxy.test:3128"}],
        }}),
    ]
}

/// What is not: the field that the refusal has to name, and what is merged into [`permitted`].
#[must_use]
pub fn abuses(namespace: &str) -> Vec<(&'static str, Value)> {
    let arn = |kind: &str, account: &str, name: &str| {
        format!("arn:aws:kinesisvideo:eu-central-1:{account}:{kind}/{name}/1")
    };
    let own = format!("{namespace}-door");
    let role = format!("arn:aws:iam::111122223333:role/kvs-{namespace}-reader");
    vec![
        // Another's camera, and another's stream, by name and by ARN, in this account and in another; names that only nearly
        // match, and one in which a dot of a pattern could be any letter.
        ("spec.channel", json!({"channel": {"name": "victims-camera"}})),
        ("spec.channel", json!({"channel": {"name": format!("x{own}")}})),
        ("spec.channel", json!({"channel": {"name": namespace}})),
        (
            "spec.channel",
            json!({"channel": {"name": null, "arn": arn("channel", "111122223333", "victims-camera")}}),
        ),
        ("spec.channel", json!({"channel": {"name": null, "arn": arn("channel", "444455556666", &own)}})),
        ("spec.stream", json!({"stream": {"name": "victims-stream"}})),
        ("spec.stream", json!({"stream": {"name": "sharedXdoor"}})),
        (
            "spec.stream",
            json!({"stream": {"name": null, "arn": arn("stream", "111122223333", "victims-stream")}}),
        ),
        ("spec.stream", json!({"stream": {"name": null, "arn": arn("stream", "444455556666", &own)}})),
        // One that is suspended would have the name for itself all the same.
        ("spec.stream", json!({"suspend": true, "stream": {"name": "victims-stream"}})),
        ("spec.region", json!({"region": "us-east-1"})),
        // With the operator's rights: a channel whose viewers get no media peer to peer any more.
        ("spec.mode", json!({"mode": "ManagedStorage", "serviceAccountName": null})),
        // With the operator's rights: ten years of storage, resources without limit, keys, tags that other policies go by.
        ("spec.stream.retentionHours", json!({"stream": {"retentionHours": 87_600}})),
        ("spec.channel.createIfMissing", json!({"channel": {"createIfMissing": true}})),
        ("spec.stream.createIfMissing", json!({"stream": {"createIfMissing": true}})),
        ("spec.channel.adopt", json!({"channel": {"adopt": true}})),
        ("spec.stream.adopt", json!({"stream": {"adopt": true}, "deletionPolicy": "Delete"})),
        ("spec.stream.kmsKeyId", json!({"stream": {"kmsKeyId": "alias/payments"}})),
        ("spec.stream.tags", json!({"stream": {"tags": {"access-project": "payments"}}})),
        // With the agent's: another's role, or its own with the external id of another namespace or cluster.
        ("spec.roleArn", json!({"roleArn": "arn:aws:iam::111122223333:role/admin"})),
        ("spec.roleArn", json!({"roleArn": role.replace("111122223333", "444455556666")})),
        ("spec.externalId", json!({"roleArn": role, "externalId": "kvs-ingest/test/victims"})),
        ("spec.externalId", json!({"roleArn": role, "externalId": format!("kvs-ingest/other/{namespace}")})),
        // The pod: any image, service account, Secret; the node's.
        ("spec.image", json!({"image": "attacker.example/agent:1"})),
        ("spec.image", json!({"image": "test.local/agent.evil:1"})),
        ("spec.serviceAccountName", json!({"serviceAccountName": "payments"})),
        ("spec.serviceAccountName", json!({"serviceAccountName": null})),
        (
            "spec.credentialsSecretRef.name",
            json!({"credentialsSecretRef": {"name": "db-prod", "key": "password"}}),
        ),
        // With a proxy of his own choice it would let somebody in between.
        ("spec.caBundleRef.name", json!({"caBundleRef": {"name": "own-ca"}})),
        // Media to a host of his own choice, also by text that only looks like one that is permitted, or by a URL that nobody sees;
        // and a Secret that would go there as a stream key.
        ("spec.outputs.rtmp.url", output(json!({"url": "rtmps://evil.example/app/x"}))),
        ("spec.outputs.rtmp.url", output(json!({"url": "rtmps://evil.example/a/x.live-video.test:443"}))),
        ("spec.outputs.rtmp.url", output(json!({"url": "rtmps://evil.example/a/x?.live-video.test:443"}))),
        ("spec.outputs.rtmp.url", output(json!({"url": "rtmps://a1.live-video.test:8443/app/x"}))),
        ("spec.outputs.rtmp.url", output(json!({"url": "rtmp://a1.live-video.test/app/x"}))),
        ("spec.outputs.rtmp.url", output(json!({"url": "rtmp://[fd00::1]/app/x"}))),
        ("spec.outputs.rtmp.url", output(json!({"urlSecretRef": secret("live-url")}))),
        (
            "spec.outputs.rtmp.streamKeySecretRef.name",
            output(
                json!({"url": "rtmps://a1.live-video.test/app/", "streamKeySecretRef": secret("db-prod")}),
            ),
        ),
        // Whatever stands beside it.
        (
            "spec.outputs.rtmp.streamKeySecretRef.name",
            json!({"outputs": [
                {"name": "a", "rtmp": {"url": "rtmps://a1.live-video.test/app/x", "streamKeySecretRef": null, "urlSecretRef": null}},
                {"name": "b", "rtmp": {"url": "rtmps://a1.live-video.test/app/", "streamKeySecretRef": secret("db-prod")}},
            ]}),
        ),
        // Which is a Secret of credentials, and none of outputs.
        (
            "spec.outputs.rtmp.streamKeySecretRef.name",
            output(
                json!({"url": "rtmps://a1.live-video.test/app/", "streamKeySecretRef": secret("kvs-aws")}),
            ),
        ),
        (
            "spec.outputs.rtmp.caBundleRef.name",
            output(json!({"url": "rtmps://a1.live-video.test/app/x", "caBundleRef": {"name": "own-ca"}})),
        ),
        ("spec.imagePullSecrets", json!({"imagePullSecrets": [{"name": "pull"}, {"name": "others"}]})),
        ("spec.pod.priorityClassName", json!({"pod": {"priorityClassName": "system-cluster-critical"}})),
        ("spec.pod.tolerations", json!({"pod": {"tolerations": [{"operator": "Exists"}]}})),
        (
            "spec.pod.tolerations",
            json!({"pod": {"tolerations": [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}]}}),
        ),
        (
            "spec.pod.nodeSelector",
            json!({"pod": {"nodeSelector": {"node-role.kubernetes.io/control-plane": ""}}}),
        ),
        ("spec.pod.affinity", json!({"pod": {"affinity": {"nodeAffinity": {}}}})),
        ("spec.pod.labels", json!({"pod": {"labels": {"team": "doors", "app": "victim"}}})),
        ("spec.pod.annotations", json!({"pod": {"annotations": {"iam.amazonaws.com/role": "admin"}}})),
        (
            "spec.pod.env",
            json!({"pod": {"env": [{"name": "AWS_ENDPOINT_URL", "value": "https://evil.example"}]}}),
        ),
    ]
}

/// An output by RTMP.
fn output(rtmp: Value) -> Value {
    json!({"outputs": [{"name": "live", "rtmp": rtmp}]})
}

fn secret(name: &str) -> Value {
    json!({"name": name, "key": "key"})
}

/// A KvsIngest of [`permitted`] with `more`.
#[must_use]
pub fn object(name: &str, namespace: &str, more: Value) -> Value {
    let mut spec = permitted(namespace);
    merge(&mut spec, more);
    json!({
        "apiVersion": "kvs-ingest.dev/v1alpha1",
        "kind": "KvsIngest",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    })
}
