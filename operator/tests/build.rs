//! The Deployment of an object, as a file that a person can read. `KVS_INGEST_BLESS=1` writes it anew.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::Path;

use kvs_ingest_api::pod::ImagePullPolicy;
use kvs_ingest_api::{AgentConfig, CONFIG_ENV, KvsIngest};
use kvs_ingest_operator::build::{AgentDefaults, Built, ResolvedNames, build};

const ARN: &str = "arn:aws:kinesisvideo:eu-central-1:111122223333";

fn ingest(spec: &str) -> KvsIngest {
    let text = format!(
        "apiVersion: kvs-ingest.dev/v1alpha1
kind: KvsIngest
metadata: {{name: front-door, namespace: cameras, uid: 0000-1111, annotations: {{kvs-ingest.dev/restarted-at: now}}}}
spec:
  region: eu-central-1
  channel: {{name: front-door-camera}}
  stream: {{name: front-door}}
{spec}"
    );
    serde_yaml_ng::from_str(&text).unwrap()
}

fn resolved() -> ResolvedNames {
    ResolvedNames {
        channel_arn: format!("{ARN}:channel/front-door-camera/1"),
        stream_name: "front-door".to_owned(),
        stream_arn: format!("{ARN}:stream/front-door/2"),
    }
}

fn built(ingest: &KvsIngest, run: bool) -> Built {
    build(ingest, &resolved(), &AgentDefaults::new("agent:1"), run).unwrap()
}

fn golden(name: &str, built: &Built) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let found = serde_yaml_ng::to_string(&built.deployment).unwrap();
    if std::env::var_os("KVS_INGEST_BLESS").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert_eq!(found, expected, "{name}: KVS_INGEST_BLESS=1 writes it anew");
}

const EVERYTHING: &str = "  deletionPolicy: Delete
  media: {video: {startBitrateKbps: 2000}, audio: {enabled: false}}
  ice: {transportPolicy: Relay}
  buffering: {spool: {sizeMiB: 512}}
  serviceAccountName: cameras
  credentialsSecretRef: {name: aws}
  roleArn: arn:aws:iam::111122223333:role/cameras
  externalId: ours
  image: registry.example/agent:2
  imagePullPolicy: Always
  imagePullSecrets: [{name: pull}]
  resources: {limits: {memory: 1Gi}}
  logLevel: debug
  terminationGracePeriodSeconds: 60
  pod:
    labels: {team: doors, app.kubernetes.io/name: other}
    annotations: {note: a}
    nodeSelector: {disk: fast}
    tolerations: [{key: cameras, operator: Exists}]
    affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: []}}}
    topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}]
    priorityClassName: high
    env: [{name: HTTPS_PROXY, value: 'http://proxy:3128'}, {name: KVS_INGEST_CONFIG, value: mine}]
";

#[test]
fn the_deployments() {
    golden("plain.yaml", &built(&ingest(""), true));
    golden("everything.yaml", &built(&ingest(EVERYTHING), true));
}

/// An agent that is started by what the operator writes must be able to read it.
#[test]
fn the_agent_reads_its_configuration() {
    let built = built(&ingest(EVERYTHING), true);
    let container = &built.deployment.spec.unwrap().template.spec.unwrap().containers[0];
    let env = container.env.clone().unwrap();
    let config = env.iter().find(|env| env.name == CONFIG_ENV).unwrap().value.clone().unwrap();
    let config = AgentConfig::from_json(&config).unwrap();
    assert_eq!(config.name, "front-door");
    let mounts = container.volume_mounts.as_ref().unwrap();
    assert!(mounts.iter().any(|mount| Some(&mount.mount_path) == config.spool_dir.as_ref()), "{mounts:?}");
    assert_eq!(config.role.unwrap().external_id.as_deref(), Some("ours"));
}

#[test]
fn only_what_the_agent_uses_changes_the_pod() {
    let template = |spec: &str| built(&ingest(spec), true).deployment.spec.unwrap().template;
    let plain = template("");
    for operators_own in ["  deletionPolicy: Delete\n", "  suspend: true\n"] {
        assert_eq!(template(operators_own), plain, "{operators_own}");
    }
    for agents in ["  logLevel: debug\n", "  media: {audio: {enabled: false}}\n", "  image: other\n"] {
        assert_ne!(template(agents), plain, "{agents}");
    }
    assert_ne!(built(&ingest(""), true).hash, built(&ingest(""), false).hash);
    assert_eq!(built(&ingest(""), false).deployment.spec.unwrap().replicas, Some(0));
}

#[test]
fn a_profile_of_the_nodes_takes_the_place_of_the_runtimes() {
    let profile = |defaults: &AgentDefaults| {
        let built = build(&ingest(""), &resolved(), defaults, true).unwrap();
        let pod = built.deployment.spec.unwrap().template.spec.unwrap();
        let profile = pod.security_context.unwrap().seccomp_profile.unwrap();
        (profile.type_, profile.localhost_profile)
    };
    let mut defaults = AgentDefaults::new("agent:1");
    assert_eq!(profile(&defaults), ("RuntimeDefault".to_owned(), None));
    let path = Some("kvs-ingest/agent.json".to_owned());
    defaults.seccomp_profile.clone_from(&path);
    assert_eq!(profile(&defaults), ("Localhost".to_owned(), path));
}

#[test]
fn how_an_image_is_pulled_is_the_objects_word_before_the_operators() {
    let mut defaults = AgentDefaults::new("agent:1");
    defaults.image_pull_policy = Some(ImagePullPolicy::Never);
    defaults.image_pull_secrets = vec!["ours".to_owned()];
    let pulled = |spec: &str, defaults: &AgentDefaults| {
        let built = build(&ingest(spec), &resolved(), defaults, true).unwrap();
        let pod = built.deployment.spec.unwrap().template.spec.unwrap();
        let secrets: Vec<_> =
            pod.image_pull_secrets.into_iter().flatten().map(|secret| secret.name).collect();
        (pod.containers[0].image_pull_policy.clone(), secrets)
    };
    let plain = AgentDefaults::new("agent:1");
    assert_eq!(pulled("", &plain), (None, vec![]));
    assert_eq!(pulled("", &defaults), (Some("Never".to_owned()), vec!["ours".to_owned()]));
    let own = pulled(EVERYTHING, &defaults);
    assert_eq!(own, (Some("Always".to_owned()), vec!["pull".to_owned()]));
}
