//! The Deployment of an object, as a file that a person can read. `KVS_INGEST_BLESS=1` writes it anew.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::Path;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kvs_ingest_api::pod::ImagePullPolicy;
use kvs_ingest_api::{AgentConfig, CONFIG_ENV, CaBundleRef, KvsIngest, StreamConfig};
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
        stream: Some(StreamConfig {
            name: "front-door".to_owned(),
            arn: format!("{ARN}:stream/front-door/2"),
        }),
    }
}

fn built(ingest: &KvsIngest, run: bool) -> Built {
    build(ingest, &resolved(), &AgentDefaults::new("default", "agent:1"), run).unwrap()
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

const OUTPUTS: &str = "  outputs:
  - name: ivs
    required: true
    rtmp: {url: 'rtmps://ingest.example/app/', streamKeySecretRef: {name: ivs, key: streamKey}}
  - name: own
    rtmp:
      urlSecretRef: {name: own, key: url}
      caBundleRef: {name: own-ca}
      silence: false
";

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
    let mut live = ingest(OUTPUTS);
    live.spec.stream = None;
    let names = ResolvedNames { stream: None, ..resolved() };
    let live = build(&live, &names, &AgentDefaults::new("default", "agent:1"), true).unwrap();
    golden("live.yaml", &live);
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

/// A file that it is told of is one that is mounted; what is missing of a live output does not keep the pod from its start.
#[test]
fn what_is_secret_of_an_output_is_a_file() {
    let template = built(&ingest(OUTPUTS), true).deployment.spec.unwrap().template;
    let pod = template.spec.unwrap();
    let config = AgentConfig::from_json(&variable(&pod, CONFIG_ENV).unwrap()).unwrap();
    let volume = pod.volumes.iter().flatten().find(|volume| volume.name == "outputs").unwrap();
    let mount =
        pod.containers[0].volume_mounts.iter().flatten().find(|mount| mount.name == "outputs").unwrap();
    assert_eq!(mount.read_only, Some(true));
    let mut mounted = Vec::new();
    for source in volume.projected.as_ref().unwrap().sources.iter().flatten() {
        let secret = source.secret.iter().map(|it| (&it.name, &it.items, it.optional));
        let map = source.config_map.iter().map(|it| (&it.name, &it.items, it.optional));
        for (name, items, optional) in secret.chain(map) {
            let item = &items.as_ref().unwrap()[0];
            let path = Path::new(&mount.mount_path).join(&item.path);
            mounted.push((path, format!("{name}/{}", item.key), optional));
        }
    }
    let find = |path: Option<&std::path::PathBuf>| {
        let found = mounted.iter().find(|(mounted, ..)| Some(mounted) == path).expect("it is mounted");
        (found.1.as_str(), found.2)
    };
    let [ivs, own] = &config.outputs[..] else { panic!("{config:?}") };
    assert_eq!(find(ivs.rtmp.stream_key_file.as_ref()), ("ivs/streamKey", Some(true)));
    assert_eq!(find(own.rtmp.url_file.as_ref()), ("own/url", Some(true)));
    assert_eq!(find(own.rtmp.ca_bundle.as_ref()), ("own-ca/ca.crt", Some(true)));
    assert_eq!((ivs.rtmp.url.as_deref(), mounted.len()), (Some("rtmps://ingest.example/app/"), 3));
    assert!(ivs.required && ivs.rtmp.silence && !own.required && !own.rtmp.silence);
    // One that has nothing secret mounts nothing.
    let plain = "  outputs: [{name: own, rtmp: {url: 'rtmp://media.example/live/door'}}]\n";
    assert_eq!(pod_of(plain, &AgentDefaults::new("default", "agent:1")).volumes, None);
}

/// It is of cluster and namespace, so that no author has another's.
#[test]
fn a_role_is_assumed_with_the_external_id_of_the_namespace() {
    let role = "  roleArn: arn:aws:iam::111122223333:role/cameras\n";
    let built = built(&ingest(role), true);
    let container = &built.deployment.spec.unwrap().template.spec.unwrap().containers[0];
    let env = container.env.clone().unwrap();
    let config = env.into_iter().find(|env| env.name == CONFIG_ENV).unwrap().value.unwrap();
    let role = AgentConfig::from_json(&config).unwrap().role.unwrap();
    assert_eq!(role.external_id.as_deref(), Some("kvs-ingest/default/cameras"));
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
    let mut defaults = AgentDefaults::new("default", "agent:1");
    assert_eq!(profile(&defaults), ("RuntimeDefault".to_owned(), None));
    let path = Some("kvs-ingest/agent.json".to_owned());
    defaults.seccomp_profile.clone_from(&path);
    assert_eq!(profile(&defaults), ("Localhost".to_owned(), path));
}

#[test]
fn how_an_image_is_pulled_is_the_objects_word_before_the_operators() {
    let mut defaults = AgentDefaults::new("default", "agent:1");
    defaults.image_pull_policy = Some(ImagePullPolicy::Never);
    defaults.image_pull_secrets = vec!["ours".to_owned()];
    let pulled = |spec: &str, defaults: &AgentDefaults| {
        let built = build(&ingest(spec), &resolved(), defaults, true).unwrap();
        let pod = built.deployment.spec.unwrap().template.spec.unwrap();
        let secrets: Vec<_> =
            pod.image_pull_secrets.into_iter().flatten().map(|secret| secret.name).collect();
        (pod.containers[0].image_pull_policy.clone(), secrets)
    };
    let plain = AgentDefaults::new("default", "agent:1");
    assert_eq!(pulled("", &plain), (None, vec![]));
    assert_eq!(pulled("", &defaults), (Some("Never".to_owned()), vec!["ours".to_owned()]));
    let own = pulled(EVERYTHING, &defaults);
    assert_eq!(own, (Some("Always".to_owned()), vec!["pull".to_owned()]));
}

#[test]
fn a_larger_buffer_has_a_larger_limit_unless_the_object_has_its_own() {
    let limit = |spec: &str, defaults: &AgentDefaults| {
        let built = build(&ingest(spec), &resolved(), defaults, true).unwrap();
        let pod = built.deployment.spec.unwrap().template.spec.unwrap();
        pod.containers[0].resources.clone().unwrap().limits.unwrap_or_default().get("memory").cloned()
    };
    let is = |text: &str| Some(Quantity(text.to_owned()));
    let mut defaults = AgentDefaults::new("default", "agent:1");
    assert_eq!(limit("", &defaults), is("256Mi"));
    assert_eq!(limit("  buffering: {memoryMiB: 128}\n", &defaults), is("256Mi"));
    assert_eq!(limit("  buffering: {memoryMiB: 129}\n", &defaults), is("257Mi"));
    assert_eq!(limit("  buffering: {memoryMiB: 10240}\n", &defaults), is("10368Mi"));
    assert_eq!(limit(&format!("{OUTPUTS}  buffering: {{memoryMiB: 128}}\n"), &defaults), is("288Mi"));
    let own = "  buffering: {memoryMiB: 512}\n  resources: {limits: {memory: 1Gi}}\n";
    assert_eq!(limit(own, &defaults), is("1Gi"));
    defaults.resources.limits = None;
    assert_eq!(limit("  buffering: {memoryMiB: 512}\n", &defaults), None, "the release has none");
}

fn pod_of(spec: &str, defaults: &AgentDefaults) -> k8s_openapi::api::core::v1::PodSpec {
    let built = build(&ingest(spec), &resolved(), defaults, true).unwrap();
    built.deployment.spec.unwrap().template.spec.unwrap()
}

/// The value of a variable, or the key of a Secret that it is taken from.
fn variable(pod: &k8s_openapi::api::core::v1::PodSpec, name: &str) -> Option<String> {
    let found = pod.containers[0].env.iter().flatten().filter(|env| env.name == name).collect::<Vec<_>>();
    assert!(found.len() <= 1, "{name} twice");
    let env = found.first()?;
    let secret = env.value_from.as_ref().and_then(|from| from.secret_key_ref.as_ref());
    env.value.clone().or_else(|| secret.map(|key| format!("{}/{}", key.name, key.key)))
}

#[test]
fn where_the_platform_gives_ids_a_pod_names_none() {
    let mut defaults = AgentDefaults::new("default", "agent:1");
    let ids = |defaults: &AgentDefaults| {
        let context = pod_of("", defaults).security_context.unwrap();
        assert_eq!(context.run_as_non_root, Some(true));
        (context.run_as_user, context.run_as_group, context.fs_group)
    };
    assert_eq!(ids(&defaults), (Some(65_532), Some(65_532), Some(65_532)));
    defaults.assigned_ids = true;
    assert_eq!(ids(&defaults), (None, None, None));
}

#[test]
fn agents_listen_where_the_operator_says() {
    let mut defaults = AgentDefaults::new("default", "agent:1");
    defaults.listen = "0.0.0.0".parse().unwrap();
    assert_eq!(pod_of("", &defaults).containers[0].args.as_ref().unwrap()[0], "--listen=0.0.0.0:8080");
}

#[test]
fn authorities_are_the_objects_then_its_environments_then_the_releases() {
    let mut defaults = AgentDefaults::new("default", "agent:1");
    let trusted = |spec: &str, defaults: &AgentDefaults| {
        let pod = pod_of(spec, defaults);
        let map = pod.volumes.iter().flatten().find_map(|volume| volume.config_map.clone());
        let path = variable(&pod, "AWS_CA_BUNDLE");
        let mounted = pod.containers[0].volume_mounts.iter().flatten().any(|mount| {
            path.as_ref().is_some_and(|path| path.strip_prefix(&mount.mount_path) == Some("/ca.crt"))
        });
        assert_eq!(map.is_some(), mounted, "the variable names the file that is mounted");
        let map = map.map(|map| format!("{}/{}", map.name, map.items.unwrap()[0].key));
        map.or(path)
    };
    assert_eq!(trusted("", &defaults), None);
    let own = "  caBundleRef: {name: mine}\n";
    let environment = "  pod: {env: [{name: AWS_CA_BUNDLE, value: /in/the/image.pem}]}\n";
    assert_eq!(trusted(own, &defaults).as_deref(), Some("mine/ca.crt"));
    defaults.ca_bundle = Some(CaBundleRef { name: "roots".to_owned(), key: "bundle.pem".to_owned() });
    assert_eq!(trusted("", &defaults).as_deref(), Some("roots/bundle.pem"));
    assert_eq!(trusted(own, &defaults).as_deref(), Some("mine/ca.crt"));
    assert_eq!(trusted(environment, &defaults).as_deref(), Some("/in/the/image.pem"));
}

#[test]
fn a_proxy_of_a_secret_is_not_written_down_and_an_objects_own_counts() {
    let mut defaults = AgentDefaults::new("default", "agent:1");
    assert_eq!(variable(&pod_of("", &defaults), "HTTPS_PROXY"), None);
    defaults.proxy_secret = Some("proxy".to_owned());
    let pod = pod_of("", &defaults);
    for name in ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"] {
        assert_eq!(variable(&pod, name), Some(format!("proxy/{name}")));
    }
    let pod = pod_of("  pod: {env: [{name: HTTPS_PROXY, value: 'http://mine:3128'}]}\n", &defaults);
    assert_eq!(variable(&pod, "HTTPS_PROXY").as_deref(), Some("http://mine:3128"));
    assert_eq!(variable(&pod, "NO_PROXY").as_deref(), Some("proxy/NO_PROXY"));
}

/// `kubectl drain` and the cluster autoscaler stop at an `emptyDir`.
#[test]
fn without_a_spool_nothing_keeps_a_node_and_a_spool_lets_it_go() {
    const SAFE: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";
    let defaults = AgentDefaults::new("default", "agent:1");
    assert!(pod_of("", &defaults).volumes.is_none());
    let local = |spec: &str| {
        let built = built(&ingest(spec), true);
        let template = built.deployment.spec.unwrap().template;
        let volumes = template.spec.unwrap().volumes.unwrap_or_default();
        let local: Vec<_> = volumes
            .iter()
            .filter(|volume| volume.empty_dir.is_some())
            .map(|volume| volume.name.clone())
            .collect();
        let annotations = template.metadata.unwrap().annotations.unwrap_or_default();
        (local, annotations.get(SAFE).cloned())
    };
    assert_eq!(local(""), (vec![], None));
    let spool = "  buffering: {spool: {sizeMiB: 512}}\n";
    assert_eq!(local(spool), (vec!["spool".to_owned()], Some("spool".to_owned())));
    let own = format!("{spool}  pod: {{annotations: {{{SAFE}: ''}}}}\n");
    assert_eq!(local(&own), (vec!["spool".to_owned()], Some(String::new())));
}
