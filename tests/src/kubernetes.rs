//! A real API server with etcd, controller manager and scheduler, the operator as a child process under its own service
//! account, and what stands in for a kubelet.
//!
//! `cargo xtask test operator` starts the control plane and names its `cluster.json` in `KVS_INGEST_TEST_CLUSTER`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use kvs_local::{AccessKey, Server};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

use crate::agent::binary;
use crate::tripwire::Tripwire;
use crate::usage::Usage;

const DEADLINE: Duration = Duration::from_secs(45);
const OPERATOR: &str = "system:serviceaccount:kvs-ingest:kvs-ingest-operator";

/// What `cargo xtask cluster up --json` says.
#[derive(Clone, Debug)]
pub struct Cluster {
    info: Value,
}

impl Cluster {
    /// The one of this run, with the CustomResourceDefinition and the operator's rights as they are shipped.
    pub async fn get() -> Result<&'static Self> {
        static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
        CLUSTER.get_or_try_init(Self::prepare).await
    }

    async fn prepare() -> Result<Self> {
        let path = std::env::var("KVS_INGEST_TEST_CLUSTER")
            .context("KVS_INGEST_TEST_CLUSTER is not set: run `cargo xtask test operator`")?;
        let info = serde_json::from_slice(&std::fs::read(&path).with_context(|| path.clone())?)?;
        let cluster = Self { info };
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the repository")?;
        for folder in ["crds", "deploy"] {
            let folder = root.join(folder);
            cluster
                .kubectl(&[
                    "apply",
                    "--server-side",
                    "--force-conflicts",
                    "-f",
                    &folder.display().to_string(),
                ])
                .await?;
        }
        let definition = "crd/kvsingests.kvs-ingest.dev";
        cluster.kubectl(&["wait", "--for=condition=established", "--timeout=30s", definition]).await?;
        Ok(cluster)
    }

    fn text(&self, field: &str) -> &str {
        self.info[field].as_str().unwrap_or_default()
    }

    /// Process id of a part of the control plane.
    pub fn process(&self, name: &str) -> Result<i64> {
        let parts = self.info["processes"].as_array().into_iter().flatten();
        let id = parts.filter(|part| part[0] == name).find_map(|part| part[1].as_i64());
        id.with_context(|| format!("the cluster has no {name}"))
    }

    /// kubectl as the administrator.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(self.text("kubectl"))
            .arg(format!("--kubeconfig={}", self.text("kubeconfig")))
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .await?;
        ensure!(
            output.status.success(),
            "kubectl {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A client of the administrator. Each test has a runtime of its own, and so needs a client of its own.
    pub async fn client(&self) -> Result<Client> {
        client(Path::new(self.text("kubeconfig"))).await
    }

    /// Ends the API server and starts it again.
    pub async fn restart_apiserver(&self) -> Result<()> {
        let output =
            Command::new(std::env::var_os("KVS_INGEST_XTASK").context("KVS_INGEST_XTASK is not set")?)
                .args(["cluster", "restart-apiserver", "--dir", self.text("dir")])
                .output()
                .await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Requests of the operator in a namespace so far, as verb, resource and status code. From the audit log.
    pub fn requests(&self, namespace: &str) -> Result<Vec<(String, String, u64)>> {
        let log = std::fs::read_to_string(self.text("auditLog"))?;
        let mut found = Vec::new();
        for event in log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let object = &event["objectRef"];
            if event["user"]["username"] != OPERATOR || object["namespace"] != namespace {
                continue;
            }
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let resource = match text(&object["subresource"]) {
                part if part.is_empty() => text(&object["resource"]),
                part => format!("{}/{part}", text(&object["resource"])),
            };
            found.push((
                text(&event["verb"]),
                resource,
                event["responseStatus"]["code"].as_u64().unwrap_or(0),
            ));
        }
        Ok(found)
    }

    /// The kubeconfig of the operator's service account.
    async fn operators_kubeconfig(&self, folder: &Path) -> Result<PathBuf> {
        let token = self
            .kubectl(&["create", "token", "kvs-ingest-operator", "-n", "kvs-ingest", "--duration=2h"])
            .await?;
        let mut config: Value = serde_yaml_ng::from_str(&std::fs::read_to_string(self.text("kubeconfig"))?)?;
        config["users"][0]["user"] = json!({"token": token.trim()});
        let path = folder.join("operator.kubeconfig");
        std::fs::write(&path, serde_json::to_vec(&config)?)?;
        Ok(path)
    }
}

async fn client(kubeconfig: &Path) -> Result<Client> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// A namespace with its own operator and its own KVS.
pub struct World {
    pub cluster: &'static Cluster,
    pub client: Client,
    pub namespace: String,
    pub local: Server,
    pub folder: TempDir,
    /// Of the operator's service account.
    kubeconfig: PathBuf,
    /// Between its operators and what they write to.
    tripwire: Option<Tripwire>,
}

/// Region of all objects.
pub const REGION: &str = "eu-central-1";

impl World {
    pub async fn new(name: &str) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let cluster = Cluster::get().await?;
        let client = cluster.client().await?;
        let namespace = format!("{name}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        // As strict as a namespace can be: the agents have to pass.
        cluster.kubectl(&["create", "namespace", &namespace]).await?;
        let label = "pod-security.kubernetes.io/enforce=restricted";
        cluster.kubectl(&["label", "namespace", &namespace, label]).await?;
        let folder = tempfile::tempdir()?;
        let mut config = kvs_local::Config::new(folder.path().join("kvs"));
        config.access_keys = vec![AccessKey::new("AKIDTEST", "secret")];
        config.region = REGION.to_owned();
        let local = Server::start(config).await?;
        let kubeconfig = cluster.operators_kubeconfig(folder.path()).await?;
        // The rights that are shipped are on the one lease of a release; each of these worlds is another release.
        let role = format!("--role={namespace}");
        let (lease, other) =
            (format!("--resource-name={namespace}"), format!("--resource-name={namespace}-other"));
        let of_lease = ["--verb=get,update", "--resource=leases.coordination.k8s.io", &lease, &other];
        let in_release = ["-n", "kvs-ingest", namespace.as_str()];
        cluster.kubectl(&[&["create", "role"], &in_release[..], &of_lease[..]].concat()).await?;
        let account = "--serviceaccount=kvs-ingest:kvs-ingest-operator";
        cluster
            .kubectl(&[&["create", "rolebinding"], &in_release[..], &[role.as_str(), account]].concat())
            .await?;
        Ok(Self { cluster, client, namespace, local, folder, kubeconfig, tripwire: None })
    }

    /// From now on operators of this world can be stopped at a write.
    pub async fn tripwire(&mut self) -> Result<()> {
        let wire = Tripwire::new(self.operators_client().await?, &self.local.url()).await?;
        self.kubeconfig = wire.kubeconfig(&self.kubeconfig, self.folder.path())?;
        self.tripwire = Some(wire);
        Ok(())
    }

    /// See [`World::tripwire`].
    pub fn wire(&self) -> Result<&Tripwire> {
        self.tripwire.as_ref().context("there is no tripwire")
    }

    /// The operator has ended without giving its lease back: nobody waits until it runs out.
    pub async fn drop_lease(&self) -> Result<()> {
        let lease = &self.namespace;
        self.cluster.kubectl(&["delete", "lease", "-n", "kvs-ingest", lease, "--ignore-not-found"]).await?;
        Ok(())
    }

    /// An operator for this namespace, under its service account, that looks at its agents often. `name` tells its log
    /// and its identity.
    pub async fn operator(&self, name: &str, arguments: &[&str]) -> Result<Operator> {
        let often = ["--ask-shortest=1", "--ask-longest=3", "--log-level=info,kvs_ingest_operator=debug"];
        self.operator_with(name, &[&often, arguments].concat()).await
    }

    /// An operator with these arguments and no others of a test's.
    pub async fn operator_with(&self, name: &str, arguments: &[&str]) -> Result<Operator> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = self.folder.path().join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        let mut command = Command::new(binary("kvs-ingest-operator")?);
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("AWS_") {
                command.env_remove(variable);
            }
        }
        let child = command
            .arg("--agent-image=test.local/agent:1")
            .arg(format!("--agent-env=AWS_ENDPOINT_URL_KINESIS_VIDEO={}", self.local.url()))
            .arg(format!("--listen=127.0.0.1:{port}"))
            .args(if arguments.iter().any(|argument| argument.starts_with("--lease-name")) {
                vec![]
            } else {
                vec![format!("--lease-name={}", self.namespace)]
            })
            .args(["--lease-namespace=kvs-ingest", "--log-format=text", "--cluster=test"])
            .arg(format!("--identity={name}"))
            .args(if arguments.iter().any(|argument| argument.starts_with("--selector")) {
                vec![]
            } else {
                vec![format!("--namespaces={}", self.namespace)]
            })
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("AWS_ACCESS_KEY_ID", "AKIDTEST")
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .env(
                "AWS_ENDPOINT_URL_KINESIS_VIDEO",
                self.tripwire.as_ref().map_or_else(|| self.local.url(), Tripwire::kvs),
            )
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .kill_on_drop(true)
            .spawn()?;
        let mut operator = Operator { child, log, url: format!("http://127.0.0.1:{port}") };
        let until = Instant::now() + DEADLINE;
        loop {
            if let Ok((200, _)) = crate::http::get_text(&format!("{}/readyz", operator.url)).await {
                return Ok(operator);
            }
            if let Some(status) = operator.child.try_wait()? {
                bail!("the operator ended with {status}:\n{}", operator.log());
            }
            ensure!(Instant::now() < until, "the operator does not become ready:\n{}", operator.log());
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// A client with the rights of the operator, no more.
    pub async fn operators_client(&self) -> Result<Client> {
        client(&self.kubeconfig).await
    }

    fn api(&self, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
        self.api_of(&self.client, group, version, kind)
    }

    fn api_of(&self, client: &Client, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(client.clone(), &self.namespace, &resource)
    }

    pub fn ingests_of(&self, client: &Client) -> Api<DynamicObject> {
        self.api_of(client, "kvs-ingest.dev", "v1alpha1", "KvsIngest")
    }

    pub fn deployments_of(&self, client: &Client) -> Api<DynamicObject> {
        self.api_of(client, "apps", "v1", "Deployment")
    }

    pub fn ingests(&self) -> Api<DynamicObject> {
        self.ingests_of(&self.client)
    }

    pub fn configmaps(&self) -> Api<DynamicObject> {
        self.api("", "v1", "ConfigMap")
    }

    pub fn deployments(&self) -> Api<DynamicObject> {
        self.deployments_of(&self.client)
    }

    pub fn replicasets(&self) -> Api<DynamicObject> {
        self.api("apps", "v1", "ReplicaSet")
    }

    pub fn events(&self) -> Api<DynamicObject> {
        self.api("", "v1", "Event")
    }

    pub fn pods(&self) -> Api<DynamicObject> {
        self.api("", "v1", "Pod")
    }

    /// A `KvsIngest` whose channel and stream have its name, both created; `more` is merged into its spec.
    pub fn manifest(&self, name: &str, more: Value) -> Value {
        let mut object = json!({
            "apiVersion": "kvs-ingest.dev/v1alpha1",
            "kind": "KvsIngest",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "region": REGION,
                "channel": {"name": name, "createIfMissing": true},
                "stream": {"name": name, "createIfMissing": true},
            },
        });
        merge(&mut object["spec"], more);
        object
    }

    /// Creates it; the error is the API server's.
    pub async fn create(&self, manifest: Value) -> Result<DynamicObject, kube::Error> {
        let object = serde_json::from_value(manifest).map_err(kube::Error::SerdeError)?;
        self.ingests().create(&PostParams::default(), &object).await
    }

    /// A merge patch.
    pub async fn patch(&self, name: &str, patch: Value) -> Result<DynamicObject, kube::Error> {
        self.ingests().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await
    }

    /// Waits until `condition` holds for an object; `Null` when there is none.
    pub async fn until(
        &self,
        api: &Api<DynamicObject>,
        name: &str,
        what: &str,
        condition: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let until = Instant::now() + DEADLINE;
        loop {
            let found = match api.get_opt(name).await {
                Ok(found) => serde_json::to_value(found)?,
                // The API server is on its way.
                Err(kube::Error::Service(_) | kube::Error::HyperError(_)) => json!({"unreachable": true}),
                Err(error) => return Err(error.into()),
            };
            if condition(&found) {
                return Ok(found);
            }
            if Instant::now() >= until {
                let logs = std::fs::read_dir(self.folder.path())?
                    .filter_map(|entry| {
                        Some(entry.ok()?.path())
                            .filter(|path| path.extension().is_some_and(|end| end == "log"))
                    })
                    .map(|path| {
                        format!("{}:\n{}", path.display(), std::fs::read_to_string(&path).unwrap_or_default())
                    })
                    .collect::<String>();
                bail!("waited for {what} of {name}; found {found:#}\n{logs}");
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until a condition has this status and reason.
    pub async fn says(&self, name: &str, kind: &str, status: &str, reason: &str) -> Result<Value> {
        let what = format!("{kind}={status} {reason}");
        self.until(&self.ingests(), name, &what, |found| says(found, kind, status, reason)).await
    }

    /// Stands in for the kubelet: the newest pod of the object's Deployment gets this status, merged.
    pub async fn pod_status(&self, ingest: &str, status: Value) -> Result<()> {
        let until = Instant::now() + DEADLINE;
        let selector = format!("kvs-ingest.dev/ingest={ingest}");
        loop {
            let mut pods = self.pods().list(&ListParams::default().labels(&selector)).await?.items;
            pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
            pods.sort_by_key(|pod| pod.metadata.creation_timestamp.clone());
            if let Some(pod) = pods.last() {
                let name = pod.metadata.name.clone().unwrap_or_default();
                let patch = Patch::Merge(json!({"status": status}));
                self.pods().patch_status(&name, &PatchParams::default(), &patch).await?;
                return Ok(());
            }
            ensure!(Instant::now() < until, "no pod of {ingest}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// The pod runs and is ready, at this address.
    pub async fn pod_runs(&self, ingest: &str, address: &str) -> Result<()> {
        let ready = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        self.pod_status(
            ingest,
            json!({
                "phase": "Running",
                "podIP": address,
                "podIPs": [{"ip": address}],
                "conditions": [ready("Ready"), ready("ContainersReady"), ready("PodScheduled")],
                "containerStatuses": [{"name": "agent", "image": "test.local/agent:1", "imageID": "x", "ready": true,
                    "restartCount": 0, "started": true, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}],
            }),
        )
        .await
    }

    /// Takes the namespace away; no request of the operator may have been forbidden.
    pub async fn end(self) -> Result<()> {
        let requests = self.cluster.requests(&self.namespace)?;
        // What was allowed at another time was refused by an API server that had not read the rights yet: it says 403 to
        // everybody while it starts. And what is created in a namespace on its way out is forbidden by Kubernetes itself.
        let allowed = |verb: &str, resource: &str| {
            requests
                .iter()
                .any(|found| found.0 == verb && found.1 == resource && (200..300).contains(&found.2))
        };
        let forbidden: Vec<_> = requests
            .iter()
            .filter(|(verb, resource, code)| *code == 403 && verb != "create" && !allowed(verb, resource))
            .collect();
        ensure!(forbidden.is_empty(), "deploy/rbac.yaml forbids {forbidden:?}");
        self.cluster.kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]).await?;
        self.local.shutdown().await;
        Ok(())
    }
}

/// Has the object this condition?
#[must_use]
pub fn says(object: &Value, kind: &str, status: &str, reason: &str) -> bool {
    condition(object, kind).is_some_and(|found| found["status"] == status && found["reason"] == reason)
}

/// A condition of an object.
#[must_use]
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|found| found["type"] == kind)
}

pub fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                if value.is_null() {
                    into.remove(&key);
                } else {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (into, more) => *into = more,
    }
}

/// A running operator; killed when dropped.
pub struct Operator {
    child: Child,
    log: PathBuf,
    url: String,
}

impl Operator {
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What it has used so far.
    pub fn usage(&self) -> Result<Usage> {
        Usage::of(self.child.id().context("the operator has ended")?)
    }

    /// The value of a metric, by its name with labels; 0 when it is not there yet.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let (_, text) = crate::http::get_text(&format!("{}/metrics", self.url)).await?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        Ok(value.unwrap_or(0.0))
    }

    /// SIGTERM, and how it ended.
    pub async fn stop(mut self) -> Result<()> {
        let id = self.child.id().context("the operator has ended already")?;
        Command::new("kill").args(["-TERM", &id.to_string()]).status().await?;
        let status = tokio::time::timeout(Duration::from_secs(20), self.child.wait()).await??;
        ensure!(status.success(), "the operator ended with {status}:\n{}", self.log());
        Ok(())
    }

    /// SIGKILL.
    pub async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }
}
