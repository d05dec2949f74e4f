//! The whole path in pods: the chart and the images on a real node, KVS in a pod, a synthetic master on this machine.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

use crate::kubernetes::{REGION, condition};
use crate::master::channel::Access;
use crate::master::{Master, Settings};
use crate::stored::{self, Stored};

/// Pods start, are probed and are taken down by a kubelet that shares two cores with all else.
pub const DEADLINE: Duration = Duration::from_secs(120);
/// Where the chart is installed.
pub const RELEASE: &str = "kvs-ingest";
const ACCESS_KEY: &str = "AKIDPODS";
const SECRET_KEY: &str = "pods-secret";

/// A cluster with a node, the chart installed and `kvs-local` in a pod. Set up once for all tests of a run.
pub struct Stage {
    info: Value,
    /// `http://ADDRESS:8440`, good on this machine and in pods alike.
    pub kvs: String,
}

impl Stage {
    pub async fn get() -> Result<&'static Self> {
        static STAGE: OnceCell<Stage> = OnceCell::const_new();
        STAGE.get_or_try_init(Self::prepare).await
    }

    async fn prepare() -> Result<Self> {
        let path = std::env::var("KVS_INGEST_TEST_CLUSTER")
            .context("KVS_INGEST_TEST_CLUSTER is not set: run `cargo xtask test pods`")?;
        let info = serde_json::from_slice(&std::fs::read(&path).with_context(|| path.clone())?)?;
        let mut stage = Self { info, kvs: String::new() };
        stage.kvs = stage.kvs_local().await?;
        stage.install(&[]).await?;
        Ok(stage)
    }

    fn text(&self, field: &str) -> &str {
        self.info[field].as_str().unwrap_or_default()
    }

    /// An address of this machine that pods reach.
    pub fn address(&self) -> Result<IpAddr> {
        let text = self.info["node"]["hostAddress"].as_str().context("the cluster has no node")?;
        Ok(text.parse()?)
    }

    /// kubectl as the administrator.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(self.text("kubectl"));
        command.arg(format!("--kubeconfig={}", self.text("kubeconfig"))).args(arguments);
        said(&mut command).await
    }

    /// Gives an image of the node another name.
    pub async fn tag(&self, from: &str, to: &str) -> Result<()> {
        let socket = self.info["node"]["containerd"].as_str().context("the cluster has no node")?;
        let mut ctr = Command::new("ctr");
        ctr.args(["--address", socket, "--namespace=k8s.io", "images", "tag", "--force", from, to]);
        said(&mut ctr).await.map(drop)
    }

    /// Ends the API server and starts it again.
    pub async fn restart_apiserver(&self) -> Result<()> {
        let xtask = std::env::var_os("KVS_INGEST_XTASK").context("KVS_INGEST_XTASK is not set")?;
        let mut command = Command::new(xtask);
        said(command.args(["cluster", "restart-apiserver", "--dir", self.text("dir")])).await.map(drop)
    }

    pub async fn apply(&self, manifest: &str) -> Result<String> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("manifest.yaml");
        std::fs::write(&path, manifest)?;
        self.kubectl(&["apply", "--server-side", "-f", &path.display().to_string()]).await
    }

    pub async fn helm(&self, arguments: &[&str]) -> Result<String> {
        let helm = std::env::var_os("KVS_INGEST_HELM").context("KVS_INGEST_HELM is not set")?;
        let mut command = Command::new(helm);
        command.arg(format!("--kubeconfig={}", self.text("kubeconfig"))).args(["--namespace", RELEASE]);
        said(command.args(arguments)).await
    }

    /// Installs or upgrades the release; `more` are further `--set` values.
    pub async fn install(&self, more: &[&str]) -> Result<()> {
        let namespace = format!(
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {RELEASE}\n  \
             labels: {{pod-security.kubernetes.io/enforce: restricted}}\n"
        );
        self.apply(&namespace).await?;
        let values = json!({
            "image": {"repository": "localhost/kvs-ingest-operator", "tag": "dev"},
            "agent": {
                "image": {"repository": "localhost/kvs-ingest-agent", "tag": "dev"},
                "env": {"AWS_ENDPOINT_URL": self.kvs},
            },
            "clusterName": "pods",
            "extraEnv": [
                {"name": "AWS_ENDPOINT_URL", "value": self.kvs},
                {"name": "AWS_ACCESS_KEY_ID", "value": ACCESS_KEY},
                {"name": "AWS_SECRET_ACCESS_KEY", "value": SECRET_KEY},
            ],
        });
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("values.yaml");
        std::fs::write(&file, serde_json::to_vec(&values)?)?;
        let chart = repository().join("charts/kvs-ingest").display().to_string();
        let values = file.display().to_string();
        let mut arguments =
            vec!["upgrade", "--install", RELEASE, &chart, "--values", &values, "--wait", "--timeout=3m"];
        for value in more {
            arguments.extend(["--set", value]);
        }
        match self.helm(&arguments).await {
            Ok(_) => Ok(()),
            Err(error) => bail!("{error:#}\n{}", self.look(RELEASE).await),
        }
    }

    /// `kvs-local` as `examples/kvs-local.yaml` has it, with keys of ours, and open for the tests, which read what it has stored
    /// from outside its pod.
    async fn kvs_local(&self) -> Result<String> {
        let manifest = std::fs::read_to_string(repository().join("examples/kvs-local.yaml"))?
            .replace("- --listen=0.0.0.0:8440", "- --listen=0.0.0.0:8440\n            - --console-public")
            .replace("AKIDLOCAL", ACCESS_KEY)
            .replace("local-secret", SECRET_KEY)
            .replace("ap-northeast-1", REGION);
        self.apply(&manifest).await?;
        let ready = self
            .kubectl(&["-n", "kvs-local", "rollout", "status", "deployment/kvs-local", "--timeout=120s"])
            .await;
        if let Err(error) = ready {
            bail!("{error:#}\n{}", self.look("kvs-local").await);
        }
        let address = self
            .kubectl(&["-n", "kvs-local", "get", "service", "kvs-local", "-o", "jsonpath={.spec.clusterIP}"])
            .await?;
        Ok(format!("http://{address}:8440"))
    }

    /// What a person would look at when something does not come up.
    pub async fn look(&self, namespace: &str) -> String {
        let mut text = String::new();
        for arguments in [
            &["get", "kvsingests,deployments,pods", "-o", "wide"][..],
            &["describe", "pods"],
            &["logs", "--all-containers", "--prefix", "--tail=60", "--selector=app.kubernetes.io/name"],
            &["get", "kvsingests", "-o", "yaml"],
        ] {
            let answer = self.kubectl(&[&["-n", namespace], arguments].concat()).await;
            text.push_str(&answer.unwrap_or_else(|error| format!("{error:#}")));
            text.push('\n');
        }
        if namespace != RELEASE {
            let log = self.kubectl(&[
                "-n",
                RELEASE,
                "logs",
                "--prefix",
                "--tail=80",
                "--selector=app.kubernetes.io/name=kvs-ingest-operator",
            ]);
            text.push_str(&log.await.unwrap_or_else(|error| format!("{error:#}")));
        }
        text
    }

    pub fn access(&self) -> Access {
        Access {
            endpoint: self.kvs.clone(),
            region: REGION.to_owned(),
            access_key: ACCESS_KEY.to_owned(),
            secret_key: SECRET_KEY.to_owned(),
        }
    }

    /// Waits for `condition` of what kubectl gets as JSON.
    pub async fn until(
        &self,
        namespace: &str,
        object: &[&str],
        what: &str,
        condition: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let until = Instant::now() + DEADLINE;
        loop {
            let arguments = [&["-n", namespace, "get"], object, &["-o", "json"]].concat();
            let found = match self.kubectl(&arguments).await {
                Ok(text) => serde_json::from_str(&text)?,
                Err(_) => Value::Null,
            };
            if condition(&found) {
                return Ok(found);
            }
            ensure!(
                Instant::now() < until,
                "waited for {what} of {object:?}; it is {found:#}\n{}",
                self.look(namespace).await
            );
            sleep(Duration::from_millis(300)).await;
        }
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/")).to_owned()
}

async fn said(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await?;
    let shown = command.as_std().get_args().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join(" ");
    ensure!(output.status.success(), "{shown}: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A namespace as strict as one can be, with the credentials of its agents in a Secret.
pub struct Room {
    pub stage: &'static Stage,
    pub namespace: String,
    pub folder: TempDir,
}

impl Room {
    pub async fn new(namespace: &str) -> Result<Self> {
        let _ = tracing_subscriber::fmt().with_env_filter("warn").with_test_writer().try_init();
        let stage = Stage::get().await?;
        let room = Self { stage, namespace: namespace.to_owned(), folder: tempfile::tempdir()? };
        stage
            .apply(&format!(
                "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {namespace}\n  \
                 labels: {{pod-security.kubernetes.io/enforce: restricted}}\n"
            ))
            .await?;
        room.credentials(SECRET_KEY).await?;
        Ok(room)
    }

    /// Writes the Secret `aws` with this secret key.
    pub async fn credentials(&self, secret_key: &str) -> Result<()> {
        let file =
            format!("[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {secret_key}\n");
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "aws", "namespace": self.namespace},
            "stringData": {"credentials": file},
        });
        self.stage.apply(&secret.to_string()).await.map(drop)
    }

    pub const fn right_key() -> &'static str {
        SECRET_KEY
    }

    /// A `KvsIngest` whose channel and stream are `NAMESPACE-NAME`; `more` is merged into its spec.
    pub async fn ingest(&self, name: &str, more: Value) -> Result<()> {
        let called = self.called(name);
        let mut object = json!({
            "apiVersion": "kvs-ingest.dev/v1alpha1",
            "kind": "KvsIngest",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "region": REGION,
                "channel": {"name": called, "createIfMissing": true},
                "stream": {"name": called, "createIfMissing": true, "retentionHours": 1},
                "credentialsSecretRef": {"name": "aws"},
            },
        });
        crate::kubernetes::merge(&mut object["spec"], more);
        self.stage.apply(&object.to_string()).await.map(drop)
    }

    /// Channel and stream of an object.
    pub fn called(&self, name: &str) -> String {
        format!("{}-{name}", self.namespace)
    }

    pub async fn patch(&self, name: &str, patch: Value) -> Result<()> {
        let patch = patch.to_string();
        let object = format!("kvsingest/{name}");
        self.stage
            .kubectl(&["-n", &self.namespace, "patch", &object, "--type=merge", "-p", &patch])
            .await
            .map(drop)
    }

    /// A master on the channel of an object, at an address that pods reach.
    pub async fn master(&self, name: &str) -> Result<Master> {
        let settings = Settings { address: self.stage.address()?, ..Settings::default() };
        Master::start(&self.stage.access(), &self.called(name), settings).await
    }

    /// Waits for a condition of an object.
    pub async fn says(&self, name: &str, kind: &str, status: &str, reason: &str) -> Result<Value> {
        self.stage
            .until(&self.namespace, &["kvsingest", name], &format!("{kind}={status}, {reason}"), |object| {
                condition(object, kind)
                    .is_some_and(|found| found["status"] == status && found["reason"] == reason)
            })
            .await
    }

    /// The pods of an object that are not on their way out.
    pub async fn pods(&self, name: &str) -> Result<Vec<Value>> {
        let selector = format!("--selector=kvs-ingest.dev/ingest={name}");
        let text =
            self.stage.kubectl(&["-n", &self.namespace, "get", "pods", &selector, "-o", "json"]).await?;
        let list: Value = serde_json::from_str(&text)?;
        let pods = list["items"].as_array().cloned().unwrap_or_default();
        Ok(pods.into_iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).collect())
    }

    /// The name of the one ready pod of an object, which is not `other`.
    pub async fn ready_pod(&self, name: &str, other: Option<&str>) -> Result<String> {
        let until = Instant::now() + DEADLINE;
        loop {
            let pods = self.pods(name).await.unwrap_or_default();
            let ready = pods.iter().find_map(|pod| {
                let name = pod["metadata"]["name"].as_str()?;
                (condition(pod, "Ready")?["status"] == "True" && Some(name) != other).then(|| name.to_owned())
            });
            if let Some(name) = ready {
                return Ok(name);
            }
            ensure!(
                Instant::now() < until,
                "no ready pod of {name}\n{}",
                self.stage.look(&self.namespace).await
            );
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until the stream of an object has so much.
    pub async fn persisted(&self, name: &str, duration: Duration) -> Result<()> {
        let until = Instant::now() + DEADLINE + duration;
        loop {
            let state = stored::state(&self.stage.kvs, &self.called(name)).await.unwrap_or_default();
            if state["durationMs"].as_u64().unwrap_or(0) >= duration.as_millis() as u64 {
                return Ok(());
            }
            ensure!(
                Instant::now() < until,
                "not enough persisted: {state}\n{}",
                self.stage.look(&self.namespace).await
            );
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Fragments in the order of the producer's times.
    pub async fn fragments(&self, name: &str) -> Result<Vec<Value>> {
        let url = format!("{}/_kvs/streams/{}/fragments", self.stage.kvs, self.called(name));
        let list = crate::http::get_json(&url).await?;
        list["fragments"].as_array().cloned().context("no list of fragments")
    }

    /// Deletes the object, waits until its pods are gone (their last fragment with them), and reads the stream.
    pub async fn finish(&self, name: &str) -> Result<Stored> {
        self.stage.kubectl(&["-n", &self.namespace, "delete", "kvsingest", name]).await?;
        let selector = format!("--selector=kvs-ingest.dev/ingest={name}");
        self.stage
            .until(&self.namespace, &["pods", &selector], "no pods", |list| {
                list["items"].as_array().is_some_and(Vec::is_empty)
            })
            .await?;
        stored::read(&self.stage.kvs, &self.called(name), self.folder.path()).await
    }

    pub async fn end(self) -> Result<()> {
        self.stage.kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]).await.map(drop)
    }
}
