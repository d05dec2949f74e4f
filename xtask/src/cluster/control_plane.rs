//! etcd, kube-apiserver, kube-controller-manager and kube-scheduler on loopback ports, in the background; and the parts
//! of a node, when there is to be one.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::assets::Assets;
use super::node::{self, Node};
use super::pki::Pki;
use super::ports::Ports;
use super::processes::{CONTROL_PLANE, FOLDER, end, is_alive, is_ours};
use super::state_folder::{FILE, clear};
use crate::process::{interrupted, tail};

/// Each part answers within so long, on a machine that does much else.
const WITHIN: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(50);

/// A control plane that runs, as `cluster.json` in its folder describes it. `--json` prints the same.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ControlPlane {
    /// The cluster's folder, absolute.
    pub dir: PathBuf,
    /// For the administrator.
    pub kubeconfig: PathBuf,
    /// `https://127.0.0.1:PORT`; with a node, an address that its pods reach, too.
    pub server: String,
    /// Each part writes NAME.log there.
    pub logs: PathBuf,
    /// A line of JSON a request, when it was asked for.
    pub audit_log: Option<PathBuf>,
    /// kubectl of the same version.
    pub kubectl: PathBuf,
    ports: Ports,
    /// Name and process id.
    pub processes: Vec<(String, i32)>,
    /// Without one no pod runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Node>,
}

const NODE_PARTS: [&str; 3] = ["containerd", "kubelet", "kube-proxy"];

impl ControlPlane {
    /// The one of this folder, if one was started there.
    pub fn read(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(dir.join(FILE)).ok()?).ok()
    }

    /// Starts all parts and waits until Deployments work, with a node until pods run.
    pub fn start(dir: &Path, assets: &Assets, audit: bool, with_node: bool) -> Result<Self> {
        match Self::attempt(dir, assets, audit, with_node) {
            // A port that was free a moment ago may be taken by now: once more, with others.
            Err(error) if !interrupted() => {
                crate::say!("the control plane did not start, and is tried again: {error:#}");
                Self::attempt(dir, assets, audit, with_node)
            }
            result => result,
        }
    }

    fn attempt(dir: &Path, assets: &Assets, audit: bool, with_node: bool) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let dir = dir.canonicalize()?;
        let node = if with_node { Some(Self::prepare_node(&dir)?) } else { None };
        let logs = dir.join("logs");
        fs::create_dir_all(&logs)?;
        let ports = Ports::free()?;
        let pki = Pki::ensure(&dir.join("pki"), node.as_ref())?;
        let server = format!("https://{}:{}", api_host(node.as_ref()), ports.apiserver);
        let kubeconfig = pki.kubeconfig("admin", &server)?;
        pki.kubeconfig("scheduler", &server)?;
        if node.is_some() {
            pki.kubeconfig("kubelet", &server)?;
            pki.kubeconfig("kube-proxy", &server)?;
        }
        let mut plane = Self {
            kubeconfig,
            server,
            logs,
            audit_log: audit.then(|| dir.join("audit.log")),
            kubectl: assets.binary("kubectl"),
            ports,
            processes: Vec::new(),
            node,
            dir,
        };
        let started = plane.start_parts(assets, &pki);
        if started.is_err() {
            plane.stop();
        }
        started.map(|()| plane)
    }

    /// Half of it does not stay.
    fn prepare_node(dir: &Path) -> Result<Node> {
        Node::prepare(dir).inspect_err(|_| {
            if let Err(error) = node::clear(dir) {
                crate::say!("{error:#}");
            }
        })
    }

    fn start_parts(&mut self, assets: &Assets, pki: &Pki) -> Result<()> {
        self.start_etcd(assets)?;
        self.start_apiserver(assets, pki)?;
        let Ports { controller_manager, scheduler, .. } = self.ports;
        let file = |name: &str| pki.path(name).display().to_string();
        self.spawn(
            "kube-controller-manager",
            assets,
            &[
                format!("--kubeconfig={}", file("admin.kubeconfig")),
                "--bind-address=127.0.0.1".to_owned(),
                format!("--secure-port={controller_manager}"),
                "--leader-elect=false".to_owned(),
                "--use-service-account-credentials=false".to_owned(),
                format!("--service-account-private-key-file={}", file("sa.key")),
                format!("--root-ca-file={}", file("ca.crt")),
                "--kube-api-qps=300".to_owned(),
                "--kube-api-burst=300".to_owned(),
            ],
        )?;
        self.spawn(
            "kube-scheduler",
            assets,
            &[
                format!("--kubeconfig={}", file("scheduler.kubeconfig")),
                "--bind-address=127.0.0.1".to_owned(),
                format!("--secure-port={scheduler}"),
                "--leader-elect=false".to_owned(),
                "--authorization-always-allow-paths=/healthz,/readyz,/livez,/metrics".to_owned(),
            ],
        )?;
        // Without it no pod is admitted.
        self.wait("kube-controller-manager", "the default service account", |plane| {
            plane.kubectl(&["get", "serviceaccount", "default", "-n", "default"]).is_ok()
        })?;
        let address = format!("--server=https://127.0.0.1:{scheduler}");
        // Its certificate is one that it makes itself.
        let ready = [address.as_str(), "--insecure-skip-tls-verify", "get", "--raw=/readyz"];
        self.wait("kube-scheduler", "/readyz", |plane| plane.kubectl(&ready).is_ok())?;
        match self.node.clone() {
            Some(node) => self.start_node(&node, assets, pki),
            None => Ok(()),
        }
    }

    fn start_node(&mut self, node: &Node, assets: &Assets, pki: &Pki) -> Result<()> {
        let dir = self.dir.clone();
        self.spawn_command("containerd", node.containerd_command(&dir)?)?;
        self.spawn_command("kube-proxy", node.proxy_command(&dir, assets, pki)?)?;
        self.wait("containerd", "its socket", |_| node.containerd_answers())?;
        node.load_pause(&dir)?;
        self.spawn_command("kubelet", node.kubelet_command(&dir, assets, pki)?)?;
        // Ready, and the controller manager has seen it: no taint keeps pods away.
        let state = "-o=jsonpath={.status.conditions[?(@.type=='Ready')].status} {.spec.taints[*].key}";
        self.wait("kubelet", "the node to be Ready", |plane| {
            plane.kubectl(&["get", "node", &node.name, state]).is_ok_and(|text| text.trim() == "True")
        })?;
        self.wait("kube-proxy", "the API server's ClusterIP", |_| node.services_answer())
    }

    fn start_etcd(&mut self, assets: &Assets) -> Result<()> {
        let Ports { etcd, etcd_peer, .. } = self.ports;
        let data = self.dir.join("etcd");
        let (client, peer) = (format!("http://127.0.0.1:{etcd}"), format!("http://127.0.0.1:{etcd_peer}"));
        self.spawn(
            "etcd",
            assets,
            &[
                "--name=e".to_owned(),
                format!("--data-dir={}", data.display()),
                format!("--listen-client-urls={client}"),
                format!("--advertise-client-urls={client}"),
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--initial-cluster=e={peer}"),
                "--unsafe-no-fsync".to_owned(),
                "--heartbeat-interval=50".to_owned(),
                "--election-timeout=500".to_owned(),
                "--quota-backend-bytes=4294967296".to_owned(),
                "--log-level=info".to_owned(),
            ],
        )?;
        self.wait("etcd", "its health", move |_| http_ok(etcd, "/health"))
    }

    fn start_apiserver(&mut self, assets: &Assets, pki: &Pki) -> Result<()> {
        let Ports { etcd, apiserver, .. } = self.ports;
        let file = |name: &str| pki.path(name).display().to_string();
        let mut arguments = vec![
            format!("--etcd-servers=http://127.0.0.1:{etcd}"),
            format!("--bind-address={}", api_host(self.node.as_ref())),
            format!("--secure-port={apiserver}"),
            format!("--tls-cert-file={}", file("apiserver.crt")),
            format!("--tls-private-key-file={}", file("apiserver.key")),
            format!("--client-ca-file={}", file("ca.crt")),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", file("sa.pub")),
            format!("--service-account-signing-key-file={}", file("sa.key")),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            "--allow-privileged=true".to_owned(),
        ];
        arguments.extend(match &self.node {
            None => vec![
                "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
                // A loopback address cannot be an endpoint.
                "--endpoint-reconciler-type=none".to_owned(),
            ],
            Some(node) => vec![
                format!("--service-cluster-ip-range={}", node.service_network),
                format!("--kubelet-client-certificate={}", file("apiserver-kubelet-client.crt")),
                format!("--kubelet-client-key={}", file("apiserver-kubelet-client.key")),
                "--kubelet-preferred-address-types=InternalIP".to_owned(),
            ],
        });
        if let Some(log) = &self.audit_log {
            let policy = self.dir.join("audit-policy.yaml");
            fs::write(
                &policy,
                "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: Metadata}]\n",
            )?;
            arguments.push(format!("--audit-policy-file={}", policy.display()));
            arguments.push(format!("--audit-log-path={}", log.display()));
            // Megabytes; a log that is cut cannot be counted.
            arguments.push("--audit-log-maxsize=100000".to_owned());
        }
        self.spawn("kube-apiserver", assets, &arguments)?;
        self.wait("kube-apiserver", "/readyz", |plane| plane.kubectl(&["get", "--raw=/readyz"]).is_ok())
    }

    /// kube-apiserver ends and starts again, with its ports and data.
    pub fn restart_apiserver(&mut self, assets: &Assets) -> Result<()> {
        self.end("kube-apiserver");
        let pki = Pki::ensure(&self.dir.join("pki"), self.node.as_ref())?;
        self.start_apiserver(assets, &pki)
    }

    /// Ends one part. Data and ports stay.
    pub fn end(&mut self, name: &str) {
        let (ending, staying): (Vec<_>, Vec<_>) =
            self.processes.drain(..).partition(|(found, _)| found == name);
        self.processes = staying;
        for (_, id) in ending {
            // With clients that watch it takes ten seconds to end by itself; its data is etcd's.
            end(id, &self.dir, Duration::from_secs(3));
        }
        let _ = self.save();
    }

    fn spawn(&mut self, name: &str, assets: &Assets, arguments: &[String]) -> Result<()> {
        let mut command = Command::new(assets.binary(name));
        command.args(arguments);
        self.spawn_command(name, command)
    }

    fn spawn_command(&mut self, name: &str, mut command: Command) -> Result<()> {
        let log = self.log(name);
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            // Found again by its folder, which the environment names; what it starts inherits that.
            .process_group(0)
            .current_dir(&self.dir)
            .env(FOLDER, &self.dir)
            .spawn()
            .with_context(|| format!("cannot start {name} ({})", command.get_program().display()))?;
        let id = i32::try_from(child.id())?;
        self.processes.push((name.to_owned(), id));
        self.save()
    }

    fn save(&self) -> Result<()> {
        // Read by others at any time: never half of it.
        let (path, next) = (self.dir.join(FILE), self.dir.join("cluster.json.next"));
        fs::write(&next, serde_json::to_vec_pretty(self)?)
            .and_then(|()| fs::rename(&next, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    /// Waits until `ready`, as long as every part lives; says what it waited for, with the log of the part `name`.
    pub fn wait(&self, name: &str, what: &str, ready: impl Fn(&Self) -> bool) -> Result<()> {
        let deadline = Instant::now() + WITHIN;
        loop {
            if ready(self) {
                return Ok(());
            }
            for (part, id) in &self.processes {
                // Just started: its environment may still be ours, so only whether it lives is asked.
                if !is_alive(*id) {
                    bail!("{part} ended:\n{}", tail(&self.log(part), 15));
                }
            }
            if interrupted() {
                bail!("interrupted");
            }
            if Instant::now() >= deadline {
                bail!("waited {} s for {what} of {name}:\n{}", WITHIN.as_secs(), tail(&self.log(name), 15));
            }
            thread::sleep(POLL);
        }
    }

    /// kubectl as the administrator.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(&self.kubectl)
            .arg(format!("--kubeconfig={}", self.kubeconfig.display()))
            .arg("--request-timeout=10s")
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run {}", self.kubectl.display()))?;
        if !output.status.success() {
            bail!("kubectl {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Does every part run?
    pub fn is_running(&self) -> bool {
        !self.processes.is_empty() && self.processes.iter().all(|(_, id)| is_ours(*id, &self.dir))
    }

    /// The first part that does not run, with the end of its log.
    pub fn ended(&self) -> Option<String> {
        let runs =
            |name: &str| self.processes.iter().any(|(part, id)| part == name && is_ours(*id, &self.dir));
        let of_node = NODE_PARTS.into_iter().filter(|_| self.node.is_some());
        let name = CONTROL_PLANE.into_iter().chain(of_node).find(|name| !runs(name))?;
        Some(format!("{name} does not run:\n{}", tail(&self.log(name), 15)))
    }

    /// Ends all parts, the last started first; logs and data stay. Pods end at once.
    pub fn end_all(&mut self) {
        if let Err(error) = node::clear(&self.dir) {
            crate::say!("{error:#}");
        }
        // What a restart of the API server left in the file counts, too.
        if let Some(now) = Self::read(&self.dir) {
            self.processes = now.processes;
        }
        for (_, id) in self.processes.drain(..).rev() {
            end(id, &self.dir, Duration::from_secs(3));
        }
    }

    /// Ends all parts and takes the folder away.
    pub fn stop(&mut self) {
        self.end_all();
        if let Err(error) = clear(&self.dir) {
            crate::say!("{error:#}");
        }
    }
}

fn api_host(node: Option<&Node>) -> &str {
    node.map_or("127.0.0.1", |node| node.host_address.as_str())
}

fn http_ok(port: u16, path: &str) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_json_prints_has_the_documented_fields() {
        let path = PathBuf::from("/x");
        let plane = ControlPlane {
            dir: path.clone(),
            kubeconfig: path.clone(),
            server: "https://127.0.0.1:1".to_owned(),
            logs: path.clone(),
            audit_log: None,
            kubectl: path,
            ports: Ports { etcd: 1, etcd_peer: 2, apiserver: 3, controller_manager: 4, scheduler: 5 },
            processes: vec![("etcd".to_owned(), 7)],
            node: None,
        };
        let value = serde_json::to_value(&plane).unwrap();
        for field in ["dir", "kubeconfig", "server", "logs", "auditLog", "kubectl", "processes"] {
            assert!(value.get(field).is_some(), "{field}");
        }
        assert_eq!(value["processes"][0], serde_json::json!(["etcd", 7]));
        assert!(value.get("node").is_none());
    }
}
