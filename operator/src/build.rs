//! Build: the Deployment of a `KvsIngest`, a pure function of the object, what AWS says, and the operator's settings.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar,
    EnvVarSource, HTTPGetAction, KeyToPath, LocalObjectReference, PodSecurityContext, PodSpec,
    PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile, SecretKeySelector, SecretVolumeSource,
    SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{Resource, ResourceExt};
use kvs_ingest_api::pod::ImagePullPolicy;
use kvs_ingest_api::{
    AgentConfig, CONFIG_ENV, CaBundleRef, CredentialsSecretRef, DeletionPolicy, KvsIngest, KvsIngestSpec,
    Mode, RoleConfig, StreamConfig, annotations,
};
use sha2::{Digest, Sha256};

use crate::{names, output_files};

/// The user and group of the agent's image.
const NON_ROOT: i64 = 65_532;
/// What a spool takes beside its fragments: damaged files that were set aside, folders.
const SPOOL_MARGIN_MIB: u32 = 64;
/// Where the Secret of `credentialsSecretRef` is mounted.
const CREDENTIALS: &str = "/var/run/secrets/kvs-ingest.dev/aws";
/// Where the ConfigMap of `caBundleRef` is mounted.
const CA_BUNDLE: &str = "/etc/kvs-ingest/ca";
/// What the agent writes besides its spool: GStreamer's list of plugins, and the credentials file of the C++ `kvssink`. Every
/// runtime gives a pod this folder, in memory; an `emptyDir` would make `kubectl drain` ask for --delete-emptydir-data.
const SCRATCH: &str = "/dev/shm";
/// Names of `emptyDir`s that do not keep the cluster autoscaler from taking a node away.
const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";
/// A PEM file of roots beside the system's, as kvs-aws reads it.
const CA_BUNDLE_ENV: &str = "AWS_CA_BUNDLE";
/// The keys of [`AgentDefaults::proxy_secret`], each the variable of its name.
const PROXY: [&str; 3] = ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"];

/// What the operator decides for all agents.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentDefaults {
    /// The cluster's name in AWS: a part of the external id of roles that agents assume.
    pub cluster: String,
    /// The image of this release.
    pub image: String,
    /// For objects that do not say when theirs is pulled.
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Names of Secrets in the object's namespace, for objects that name none.
    pub image_pull_secrets: Vec<String>,
    /// For objects that say nothing of resources.
    pub resources: ResourceRequirements,
    /// Environment of every agent: endpoints, proxies.
    pub env: BTreeMap<String, String>,
    /// Where agents serve `/status` and their probes. An address that every pod has: `::` or `0.0.0.0`.
    pub listen: IpAddr,
    /// The platform gives uid, gid and fsGroup (OpenShift): pods must not name their own.
    pub assigned_ids: bool,
    /// In the namespace of each object that names none.
    pub ca_bundle: Option<CaBundleRef>,
    /// A Secret in the namespace of each object, whose keys `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` the agent gets.
    pub proxy_secret: Option<String>,
    /// Seccomp profile on the nodes, relative to the folder of their kubelets; `None`: that of the runtime.
    pub seccomp_profile: Option<String>,
}

impl AgentDefaults {
    /// What an agent with one 720p camera needs, and room.
    #[must_use]
    pub fn new(cluster: impl Into<String>, image: impl Into<String>) -> Self {
        let list = |entries: &[(&str, &str)]| {
            Some(
                entries
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), Quantity((*value).to_owned())))
                    .collect(),
            )
        };
        Self {
            cluster: cluster.into(),
            image: image.into(),
            image_pull_policy: None,
            image_pull_secrets: Vec::new(),
            resources: ResourceRequirements {
                requests: list(&[("cpu", "50m"), ("memory", "128Mi")]),
                limits: list(&[("memory", "256Mi")]),
                ..ResourceRequirements::default()
            },
            env: BTreeMap::new(),
            listen: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            assigned_ids: false,
            ca_bundle: None,
            proxy_secret: None,
            seccomp_profile: None,
        }
    }
}

/// Channel and stream as AWS has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedNames {
    pub channel_arn: String,
    /// `None`: the object names none.
    pub stream: Option<StreamConfig>,
}

/// A Deployment to apply.
#[derive(Clone, Debug, PartialEq)]
pub struct Built {
    /// With its hash in an annotation.
    pub deployment: Deployment,
    /// Of everything else in it.
    pub hash: String,
    pub image: String,
}

/// An object that no Deployment can be built from: the API server never gives such a one.
#[derive(Debug, thiserror::Error)]
#[error("metadata.{0} is missing")]
pub struct NoIdentity(&'static str);

/// The Deployment; with no replica when `run` is false.
///
/// # Errors
/// [`NoIdentity`].
pub fn build(
    ingest: &KvsIngest,
    resolved: &ResolvedNames,
    defaults: &AgentDefaults,
    run: bool,
) -> Result<Built, NoIdentity> {
    let name = ingest.metadata.name.clone().ok_or(NoIdentity("name"))?;
    let namespace = ingest.metadata.namespace.clone().ok_or(NoIdentity("namespace"))?;
    let owner = ingest.controller_owner_ref(&()).ok_or(NoIdentity("uid"))?;
    let labels = labels(&name);
    let template = template(ingest, resolved, defaults, &labels, &name);
    let image = ingest.spec.image.clone().unwrap_or_else(|| defaults.image.clone());
    let mut deployment = Deployment {
        metadata: ObjectMeta {
            name: Some(names::deployment(&name)),
            namespace: Some(namespace),
            labels: Some(labels),
            owner_references: Some(vec![OwnerReference { block_owner_deletion: Some(true), ..owner }]),
            ..ObjectMeta::default()
        },
        spec: Some(DeploymentSpec {
            replicas: Some(i32::from(run)),
            revision_history_limit: Some(1),
            selector: LabelSelector {
                match_labels: Some(names::selector(&name)),
                ..LabelSelector::default()
            },
            // The new pod becomes ready while the old one still writes.
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            template,
            ..DeploymentSpec::default()
        }),
        status: None,
    };
    // Also here: the cached Deployments have no template, and who restarts an agent does not ask the rollout budget.
    if let Some(at) = ingest.annotations().get(annotations::RESTARTED_AT) {
        deployment.annotations_mut().insert(annotations::RESTARTED_AT.to_owned(), at.clone());
    }
    let hash = hash(&deployment);
    deployment.annotations_mut().insert(names::HASH.to_owned(), hash.clone());
    Ok(Built { deployment, hash, image })
}

/// Of what is sent, not of what the API server makes of it: that has defaults and other spellings in it.
fn hash(deployment: &Deployment) -> String {
    // Maps are ordered, so equal Deployments give equal bytes; strings and numbers cannot fail.
    let json = serde_json::to_vec(deployment).unwrap_or_default();
    hex::encode(&Sha256::digest(&json)[..16])
}

fn labels(name: &str) -> BTreeMap<String, String> {
    let mut labels = names::selector(name);
    labels.insert(names::MANAGED_BY.0.to_owned(), names::MANAGED_BY.1.to_owned());
    labels.insert("app.kubernetes.io/part-of".to_owned(), "kvs-ingest".to_owned());
    labels
}

fn template(
    ingest: &KvsIngest,
    resolved: &ResolvedNames,
    defaults: &AgentDefaults,
    labels: &BTreeMap<String, String>,
    name: &str,
) -> PodTemplateSpec {
    // Without `..`: a new field must not be forgotten here. What is not used here is the agent's (in its
    // configuration), AWS's, or decided by the caller.
    let KvsIngestSpec {
        region,
        channel: _,
        stream: _,
        outputs,
        // There is no Deployment in the other.
        mode: Mode::Agent | Mode::ManagedStorage,
        deletion_policy: DeletionPolicy::Retain | DeletionPolicy::Delete,
        media: _,
        ice: _,
        buffering,
        suspend: _,
        service_account_name,
        credentials_secret_ref,
        ca_bundle_ref,
        role_arn: _,
        external_id: _,
        image,
        image_pull_policy,
        image_pull_secrets,
        resources,
        log_level: _,
        termination_grace_period_seconds,
        pod,
    } = &ingest.spec;
    let kvs_ingest_api::pod::PodSpec {
        labels: more_labels,
        annotations: more_annotations,
        node_selector,
        tolerations,
        affinity,
        topology_spread_constraints,
        priority_class_name,
        env: more_env,
    } = pod;

    let mut pod_labels = more_labels.clone();
    pod_labels.extend(labels.clone());
    let mut pod_annotations = more_annotations.clone();
    if let Some(at) = ingest.annotations().get(annotations::RESTARTED_AT) {
        pod_annotations.insert(annotations::RESTARTED_AT.to_owned(), at.clone());
    }

    let mut env = defaults.env.clone();
    env.extend(more_env.iter().map(|env| (env.name.clone(), env.value.clone())));
    env.insert("AWS_REGION".to_owned(), region.clone());
    // The root file system cannot be written.
    env.insert("HOME".to_owned(), SCRATCH.to_owned());
    env.insert("TMPDIR".to_owned(), SCRATCH.to_owned());
    env.insert("GST_REGISTRY_1_0".to_owned(), format!("{SCRATCH}/gstreamer-registry.bin"));
    env.insert(CONFIG_ENV.to_owned(), agent_config(ingest, resolved, defaults, name).to_json());
    let (mut volumes, mut mounts) = (Vec::new(), Vec::new());
    if let Some(spool) = &buffering.spool {
        // The agent keeps to its size. The kubelet, which ends a pod that does not, also counts folders and what is being
        // written.
        let limit = spool.size_mib.saturating_add(SPOOL_MARGIN_MIB);
        // What is in it the agent sends before it ends. Who would rather keep the node says safe-to-evict: "false".
        pod_annotations.entry(SAFE_TO_EVICT.to_owned()).or_insert_with(|| "spool".to_owned());
        volumes.push(Volume {
            name: "spool".to_owned(),
            empty_dir: Some(EmptyDirVolumeSource {
                size_limit: Some(Quantity(format!("{limit}Mi"))),
                ..EmptyDirVolumeSource::default()
            }),
            ..Volume::default()
        });
        mounts.push(VolumeMount {
            name: "spool".to_owned(),
            mount_path: names::SPOOL_DIR.to_owned(),
            ..VolumeMount::default()
        });
    }
    if let Some(CredentialsSecretRef { name, key }) = credentials_secret_ref {
        // Files, not environment: a Secret that changes changes them.
        volumes.push(Volume {
            name: "aws".to_owned(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(name.clone()),
                items: Some(vec![KeyToPath { key: key.clone(), path: "credentials".to_owned(), mode: None }]),
                default_mode: Some(0o440),
                optional: None,
            }),
            ..Volume::default()
        });
        mounts.push(VolumeMount {
            name: "aws".to_owned(),
            mount_path: CREDENTIALS.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        });
        env.insert("AWS_SHARED_CREDENTIALS_FILE".to_owned(), format!("{CREDENTIALS}/credentials"));
    }

    // The object's own word, its environment's, then the release's.
    let release_bundle = defaults.ca_bundle.as_ref().filter(|_| !env.contains_key(CA_BUNDLE_ENV));
    if let Some(CaBundleRef { name, key }) = ca_bundle_ref.as_ref().or(release_bundle) {
        volumes.push(Volume {
            name: "ca".to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: name.clone(),
                items: Some(vec![KeyToPath { key: key.clone(), path: "ca.crt".to_owned(), mode: None }]),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        });
        mounts.push(VolumeMount {
            name: "ca".to_owned(),
            mount_path: CA_BUNDLE.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        });
        env.insert(CA_BUNDLE_ENV.to_owned(), format!("{CA_BUNDLE}/ca.crt"));
    }
    if let Some((volume, mount)) = output_files::volume(outputs) {
        volumes.push(volume);
        mounts.push(mount);
    }
    let from_secret = |secret: &String| {
        let absent = PROXY.iter().filter(|name| !env.contains_key(**name));
        absent.map(|name| secret_variable(name, secret)).collect::<Vec<_>>()
    };
    let from_secret = defaults.proxy_secret.as_ref().map(from_secret).unwrap_or_default();

    let listen = SocketAddr::new(defaults.listen, names::PORT);
    let own_id = (!defaults.assigned_ids).then_some(NON_ROOT);
    let container = Container {
        name: names::CONTAINER.to_owned(),
        image: Some(image.clone().unwrap_or_else(|| defaults.image.clone())),
        image_pull_policy: image_pull_policy
            .or(defaults.image_pull_policy)
            .map(|policy| policy.as_str().to_owned()),
        args: Some(vec![format!("--listen={listen}"), "--log-format=json".to_owned()]),
        env: Some(
            env.into_iter()
                .map(|(name, value)| EnvVar { name, value: Some(value), value_from: None })
                .chain(from_secret)
                .collect(),
        ),
        ports: Some(vec![ContainerPort {
            name: Some(names::PORT_NAME.to_owned()),
            container_port: i32::from(names::PORT),
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        resources: Some(resources.clone().unwrap_or_else(|| with_room(&defaults.resources, &ingest.spec))),
        liveness_probe: Some(Probe { failure_threshold: Some(3), ..probe("/livez", 10) }),
        readiness_probe: Some(Probe { failure_threshold: Some(2), ..probe("/readyz", 5) }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            ..SecurityContext::default()
        }),
        volume_mounts: (!mounts.is_empty()).then_some(mounts),
        ..Container::default()
    };
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(pod_labels),
            annotations: (!pod_annotations.is_empty()).then_some(pod_annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            affinity: affinity.clone(),
            automount_service_account_token: Some(false),
            containers: vec![container],
            enable_service_links: Some(false),
            image_pull_secrets: pull_secrets(image_pull_secrets, defaults),
            node_selector: (!node_selector.is_empty()).then(|| node_selector.clone()),
            priority_class_name: priority_class_name.clone(),
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                run_as_user: own_id,
                run_as_group: own_id,
                fs_group: own_id,
                seccomp_profile: Some(seccomp_profile(defaults)),
                ..PodSecurityContext::default()
            }),
            service_account_name: service_account_name.clone(),
            termination_grace_period_seconds: Some(i64::from(
                termination_grace_period_seconds.unwrap_or(KvsIngestSpec::TERMINATION_GRACE_PERIOD_SECONDS),
            )),
            tolerations: (!tolerations.is_empty()).then(|| tolerations.clone()),
            topology_spread_constraints: (!topology_spread_constraints.is_empty()).then(|| {
                let mut constraints = topology_spread_constraints.clone();
                for constraint in &mut constraints {
                    // One pod an object: to spread, they have to be counted together.
                    constraint.label_selector.get_or_insert_with(|| LabelSelector {
                        match_labels: Some(
                            [("app.kubernetes.io/name".to_owned(), names::AGENT.to_owned())].into(),
                        ),
                        ..LabelSelector::default()
                    });
                }
                constraints
            }),
            volumes: (!volumes.is_empty()).then_some(volumes),
            ..PodSpec::default()
        }),
    }
}

fn seccomp_profile(defaults: &AgentDefaults) -> SeccompProfile {
    let type_ = if defaults.seccomp_profile.is_some() { "Localhost" } else { "RuntimeDefault" };
    SeccompProfile { type_: type_.to_owned(), localhost_profile: defaults.seccomp_profile.clone() }
}

/// The release's resources, with a memory limit that holds the buffers which the object asks for.
fn with_room(resources: &ResourceRequirements, spec: &KvsIngestSpec) -> ResourceRequirements {
    let mut resources = resources.clone();
    if let Some(limit) = resources.limits.as_mut().and_then(|limits| limits.get_mut("memory"))
        && !spec.fits(&limit.0)
    {
        *limit = Quantity(format!("{}Mi", spec.needed_mib()));
    }
    resources
}

/// A variable that a Secret may have: one with a proxy's address alone has no `NO_PROXY`.
fn secret_variable(name: &str, secret: &str) -> EnvVar {
    let key = SecretKeySelector { key: name.to_owned(), name: secret.to_owned(), optional: Some(true) };
    let value_from = EnvVarSource { secret_key_ref: Some(key), ..EnvVarSource::default() };
    EnvVar { name: name.to_owned(), value: None, value_from: Some(value_from) }
}

fn pull_secrets(own: &[LocalObjectReference], defaults: &AgentDefaults) -> Option<Vec<LocalObjectReference>> {
    let secrets: Vec<_> = if own.is_empty() {
        let names = defaults.image_pull_secrets.iter();
        names.map(|name| LocalObjectReference { name: name.clone() }).collect()
    } else {
        own.to_vec()
    };
    (!secrets.is_empty()).then_some(secrets)
}

/// What the agent is told. A field that is the operator's own is not in it, so that its change restarts nothing.
fn agent_config(
    ingest: &KvsIngest,
    resolved: &ResolvedNames,
    defaults: &AgentDefaults,
    name: &str,
) -> AgentConfig {
    let spec = &ingest.spec;
    // The operator's, not the author's: a trust policy that asks for it trusts this namespace and no other. One that stands
    // in the spec is permitted by the administrator (`permit`).
    let own = || names::external_id(&defaults.cluster, &ingest.namespace().unwrap_or_default());
    let external_id = || Some(spec.external_id.clone().unwrap_or_else(own));
    AgentConfig {
        name: name.to_owned(),
        region: spec.region.clone(),
        channel_arn: resolved.channel_arn.clone(),
        stream: resolved.stream.clone(),
        outputs: output_files::configs(&spec.outputs),
        media: spec.media.clone(),
        ice: spec.ice.clone(),
        buffering: spec.buffering.clone(),
        spool_dir: spec.buffering.spool.as_ref().map(|_| names::SPOOL_DIR.to_owned()),
        role: spec.role_arn.clone().map(|arn| RoleConfig { arn, external_id: external_id() }),
        log_level: spec.log_level,
        termination_grace_period_seconds: spec.termination_grace_period_seconds,
    }
}

fn probe(path: &str, period: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(names::PORT_NAME.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(3),
        ..Probe::default()
    }
}
