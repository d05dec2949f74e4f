//! etcd, kube-apiserver, kube-controller-manager and kube-scheduler on loopback ports, in the background; and the parts
//! of a node, when there is to be one.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::assets::Assets;
use super::existing::Existing;
use super::node::{self, Node};
use super::pki::Pki;
use crate::process::{interrupted, tail};

/// Each part answers within so long, on a machine that does much else.
const WITHIN: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(50);

/// A control plane that runs, as `cluster.json` in its folder describes it. `--json` prints the same.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ControlPlane {
    /// Its folder.
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

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Ports {
    etcd: u16,
    etcd_peer: u16,
    apiserver: u16,
    controller_manager: u16,
    scheduler: u16,
}

impl Ports {
    /// Free ones. All are held until all are known, so that none is given twice.
    fn free() -> Result<Self> {
        let mut listeners = Vec::new();
        for _ in 0..5 {
            listeners.push(TcpListener::bind("127.0.0.1:0").context("no free port")?);
        }
        let port = |index: usize| listeners[index].local_addr().map(|address| address.port());
        Ok(Self {
            etcd: port(0)?,
            etcd_peer: port(1)?,
            apiserver: port(2)?,
            controller_manager: port(3)?,
            scheduler: port(4)?,
        })
    }
}

pub const FILE: &str = "cluster.json";
const PARTS: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];
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
        let (gone, stay): (Vec<_>, Vec<_>) = self.processes.drain(..).partition(|(found, _)| found == name);
        self.processes = stay;
        for (_, id) in gone {
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

/// Names the cluster in the environment of its processes.
const FOLDER: &str = "KVS_INGEST_CLUSTER_DIR";

fn api_host(node: Option<&Node>) -> &str {
    node.map_or("127.0.0.1", |node| node.host_address.as_str())
}

/// Is the process a part of a control plane, not of a node?
pub fn is_part(id: i32) -> bool {
    // The kernel keeps 15 bytes of a name.
    fs::read_to_string(format!("/proc/{id}/comm"))
        .is_ok_and(|name| PARTS.iter().any(|part| part[..part.len().min(15)] == *name.trim_end()))
}

/// All processes that were started in this folder, the first started first.
pub fn processes_of(dir: &Path) -> Result<Vec<i32>> {
    let mut ours: Vec<i32> = fs::read_dir("/proc")
        .context("cannot read /proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|id| is_ours(*id, dir))
        .collect();
    ours.sort_unstable();
    Ok(ours)
}

fn is_alive(id: i32) -> bool {
    fs::read_to_string(format!("/proc/{id}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

/// A process id may be another's by now: ours has this folder in its environment.
fn is_ours(id: i32, dir: &Path) -> bool {
    let wanted = format!("{FOLDER}={}", dir.display());
    is_alive(id)
        && fs::read(format!("/proc/{id}/environ"))
            .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes()))
}

fn end(id: i32, dir: &Path, patience: Duration) {
    if !is_ours(id, dir) {
        return;
    }
    let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
    let deadline = Instant::now() + patience;
    while is_ours(id, dir) && Instant::now() < deadline {
        thread::sleep(POLL);
    }
    if is_ours(id, dir) {
        let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
    }
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

impl ControlPlane {
    /// The first part that does not run, with the end of its log.
    pub fn ended(&self) -> Option<String> {
        let runs =
            |name: &str| self.processes.iter().any(|(part, id)| part == name && is_ours(*id, &self.dir));
        let of_node = NODE_PARTS.into_iter().filter(|_| self.node.is_some());
        let name = PARTS.into_iter().chain(of_node).find(|name| !runs(name))?;
        Some(format!("{name} does not run:\n{}", tail(&self.log(name), 15)))
    }
}

/// What is in the file until the first part runs.
const CLAIM: &[u8] = b"{}\n";

/// Makes the folder of a new control plane. One that holds something else is refused: `down` would take it away.
pub fn claim(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let empty = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?.next().is_none();
    if !empty && !is_clusters(dir) {
        bail!("{} is not empty, and what is in it is no cluster's: name another folder", dir.display());
    }
    if empty {
        // What a crash leaves behind is recognized by it.
        fs::write(dir.join(FILE), CLAIM).with_context(|| format!("cannot write {}", dir.display()))?;
    }
    Ok(())
}

/// Ends whatever was started in this folder, the last started first, whether or not a file names it, and takes the
/// folder away. False: there was nothing.
pub fn clear(dir: &Path) -> Result<bool> {
    // Somebody may have removed it already.
    let dir = dir.canonicalize().or_else(|_| std::path::absolute(dir))?;
    // First, and an error ends it: what is mounted in the folder would be removed with it.
    let had_node = node::clear(&dir)?;
    let ours = processes_of(&dir)?;
    for id in ours.iter().rev() {
        end(*id, &dir, Duration::from_secs(3));
    }
    let found = had_node || !ours.is_empty() || is_clusters(&dir);
    if found && dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    Ok(found)
}

/// Was the folder made by `claim`, or does it say that a cluster was started or noted there?
fn is_clusters(dir: &Path) -> bool {
    let named =
        ControlPlane::read(dir).map(|plane| plane.dir).or_else(|| Existing::read(dir).map(|it| it.dir));
    named.is_some_and(|named| dir.canonicalize().is_ok_and(|dir| dir == named))
        || fs::read(dir.join(FILE)).is_ok_and(|text| text == CLAIM)
}

#[cfg(test)]
mod tests {
    use std::process::Child;

    use super::*;

    fn sleeper(dir: &Path) -> Child {
        let mut command = Command::new("sleep");
        let child = command.arg("60").env(FOLDER, dir).process_group(0).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        // The kernel shows a new process's environment a moment after it has told us that it runs.
        while !is_ours(i32::try_from(child.id()).unwrap(), dir) {
            assert!(Instant::now() < deadline, "sleep shows no environment");
            thread::yield_now();
        }
        child
    }

    #[test]
    fn a_folder_of_something_else_is_neither_used_nor_removed() {
        let folder = tempfile::tempdir().unwrap();
        // A file of the same name makes no difference.
        for file in ["thesis.txt", FILE] {
            fs::write(folder.path().join(file), "{\"years\": 4}").unwrap();
            let error = claim(folder.path()).unwrap_err().to_string();
            assert!(error.contains(&folder.path().display().to_string()), "{error}");
            assert!(!clear(folder.path()).unwrap());
            assert!(folder.path().join(file).exists());
        }
    }

    #[test]
    fn a_claimed_folder_is_claimed_again_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("a/b");
        claim(&dir).unwrap();
        claim(&dir).unwrap();
        assert!(ControlPlane::read(&dir).is_none());
        assert!(clear(&dir).unwrap());
        assert!(!dir.exists() && folder.path().join("a").exists());
    }

    #[test]
    fn what_no_file_names_is_ended_and_the_neighbours_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let (dir, neighbour) = (folder.path().join("one"), folder.path().join("one-more"));
        claim(&dir).unwrap();
        claim(&neighbour).unwrap();
        let (mut ours, mut theirs) = (sleeper(&dir), sleeper(&neighbour));
        assert!(clear(&dir).unwrap());
        assert!(ours.wait().unwrap().code().is_none(), "ended by a signal");
        assert!(theirs.try_wait().unwrap().is_none(), "the neighbour still runs");
        assert!(clear(&neighbour).unwrap());
        theirs.wait().unwrap();
    }

    #[test]
    fn ports_differ() {
        let Ports { etcd, etcd_peer, apiserver, controller_manager, scheduler } = Ports::free().unwrap();
        let mut ports = vec![etcd, etcd_peer, apiserver, controller_manager, scheduler];
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 5);
    }

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
