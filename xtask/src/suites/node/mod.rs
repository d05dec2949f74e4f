//! Real pods on a node of our own, and nothing left of it: neither after `down` nor after a crash.

mod leaks;

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use self::leaks::{Snapshot, processes};
use super::run::Run;
use crate::cluster::{self, ControlPlane, Image};
use crate::process::interrupted;
use crate::say;
use crate::workspace::target;

const IMAGE: &str = "kvs-ingest.test/busybox:1";
const NAMESPACE: &str = "smoke";

pub fn run(suite: &mut Run<'_>) -> Result<()> {
    let folder = target().join("suites/node");
    // What an earlier run left would be taken for the machine's own.
    down(&folder)?;
    let path = folder.display().to_string();
    let before = Snapshot::take(&[&path])?;
    let mut cluster = cluster::fresh_with_node(&folder)?;
    let id = cluster.node.as_ref().context("it has a node")?.id.clone();
    let words = [path.as_str(), id.as_str()];
    let result = pods(&cluster).and_then(|()| {
        ensure!(before.compare_at_once(&words, "").is_err(), "of a cluster that runs nothing is found");
        Ok(())
    });
    if result.is_err() {
        say!("the logs are in {}", cluster.logs.display());
        cluster.end_all();
        return result;
    }
    cluster.stop();
    before.compare(&words, "after down")?;
    say!("down leaves nothing");
    suite.passed += 1;

    for until in ["containerd", "kubelet"] {
        let mut up = start(&folder)?;
        let started = part(&folder, until, suite.deadline);
        // Everything at once: what starts, and what it has started.
        up.kill()?;
        up.wait()?;
        for process in processes(&[&path]) {
            // Those whose environment names the folder: containers are left to `down`.
            let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
        }
        down(&folder)?;
        started?;
        before.compare(&words, &format!("after a crash when {until} had started"))?;
        say!("a crash when {until} has started leaves nothing after down");
        suite.passed += 1;
    }
    down(&folder)
}

fn xtask(folder: &Path, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.arg("cluster").args(arguments).arg("--dir").arg(folder).stdin(Stdio::null());
    Ok(command)
}

fn start(folder: &Path) -> Result<Child> {
    xtask(folder, &["up"])?.stdout(Stdio::null()).spawn().context("cannot run cluster up")
}

fn down(folder: &Path) -> Result<()> {
    let status = xtask(folder, &["down"])?.stdout(Stdio::null()).status()?;
    ensure!(status.success(), "cluster down ended with {status}");
    Ok(())
}

/// Waits until `cluster.json` names a process of this part.
fn part(folder: &Path, name: &str, deadline: Instant) -> Result<()> {
    loop {
        if ControlPlane::read(folder)
            .is_some_and(|plane| plane.processes.iter().any(|(found, _)| found == name))
        {
            return Ok(());
        }
        if interrupted() || Instant::now() >= deadline {
            bail!("{name} was not started within the suite's budget");
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn pods(cluster: &ControlPlane) -> Result<()> {
    let node = cluster.node.as_ref().context("it has a node")?;
    let image = Image {
        name: IMAGE,
        program: Path::new("/bin/busybox"),
        links: &["bin/sh", "bin/httpd", "bin/wget", "bin/id", "bin/touch", "bin/grep"],
        entrypoint: &["/bin/sh"],
    };
    ensure!(node.load(&image.pack(&cluster.dir.join("busybox"))?)? == [IMAGE]);
    let manifest = cluster.dir.join("smoke.yaml");
    fs::write(&manifest, include_str!("smoke.yaml"))?;
    cluster.kubectl(&["apply", "-f", &manifest.display().to_string()])?;
    ready(cluster, &[])?;
    say!("two pods are Ready by their HTTP probe");

    let names = names(cluster)?;
    let first = names.first().context("there are pods")?;
    let inside = |script: &str| cluster.kubectl(&["exec", "-n", NAMESPACE, first, "--", "sh", "-c", script]);
    ensure!(inside("id -u")?.trim() == "65532", "the pod runs as {}", inside("id")?);
    ensure!(inside("grep Seccomp: /proc/self/status")?.contains('2'), "no seccomp filter in the pod");
    ensure!(inside("touch /x && echo written || echo refused")?.trim() == "refused", "/ can be written");

    let service = ["get", "service", "web", "-n", NAMESPACE, "-o=jsonpath={.spec.clusterIP}"];
    let url = format!("http://{}/", cluster.kubectl(&service)?.trim());
    // From a pod it may lead back to itself, or to the other one; from here it is routed.
    for _ in 0..4 {
        ensure!(inside(&format!("wget -q -O- {url}"))?.trim() == "hello", "the ClusterIP from a pod");
    }
    ensure!(
        ureq::get(&url).call()?.body_mut().read_to_string()?.trim() == "hello",
        "the ClusterIP from here"
    );
    let version = "wget -q -O- https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT/version";
    ensure!(inside(version)?.contains("gitVersion"), "the API server from a pod");
    let host = answer_once(&node.host_address)?;
    ensure!(inside(&format!("wget -q -O- {host}"))?.trim() == "here", "the machine from a pod");
    let log = cluster.kubectl(&["logs", "-n", NAMESPACE, first])?;
    ensure!(log.contains("started"), "the pod's log is {log:?}");
    say!("pods reach a ClusterIP, the API server and this machine, confined");

    // Without --delete-emptydir-data and --force; the daemons of a node are none of ours.
    cluster.kubectl(&["drain", &node.name, "--pod-selector=app=web", "--dry-run=server"])?;
    say!("what writes to /dev/shm alone can be drained");

    cluster.kubectl(&["delete", "pod", "-n", NAMESPACE, first, "--wait=false"])?;
    ready(cluster, &[first])?;
    say!("a deleted pod is replaced");
    Ok(())
}

/// Waits until two pods are Ready and those of `deleted` are not among them.
fn ready(cluster: &ControlPlane, deleted: &[&String]) -> Result<()> {
    let state = "-o=jsonpath={.status.readyReplicas} {.status.updatedReplicas} {.status.replicas}";
    cluster.wait("kubelet", "two pods to be Ready", |cluster| {
        cluster
            .kubectl(&["get", "deployment", "web", "-n", NAMESPACE, state])
            .is_ok_and(|text| text.trim() == "2 2 2")
            && names(cluster)
                .is_ok_and(|names| names.len() == 2 && !deleted.iter().any(|name| names.contains(name)))
    })
}

fn names(cluster: &ControlPlane) -> Result<Vec<String>> {
    let text = cluster.kubectl(&["get", "pods", "-n", NAMESPACE, "-o=jsonpath={.items[*].metadata.name}"])?;
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

/// A server that answers one request with `here`.
fn answer_once(address: &str) -> Result<String> {
    let listener = TcpListener::bind((address, 0))?;
    let url = format!("http://{}/", listener.local_addr()?);
    thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        // One read takes all of a request as short as that.
        BufReader::new(&stream).read_line(&mut String::new())?;
        stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhere\n")
    });
    Ok(url)
}
