//! `cargo xtask demo --cluster`: the same path in pods. A Kubernetes on this machine, `kvs-local` in a pod, the operator
//! by Helm, one `KvsIngest`, a browser as master.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use super::browser::{Browser, open_in_browser, recorded};
use super::local_kvs::{fresh_folder, get};
use super::options::{CHANNEL, FIRST_FRAGMENT, Options, PORT, STREAM};
use super::progress::Progress;
use super::state::{Ingest, Stored};
use super::summary::summarize;
use crate::cluster::{self, ControlPlane, helm};
use crate::packages::{self, Group};
use crate::process::{Running, interrupted, output};
use crate::workspace::{root, show, target};
use crate::{images, say};

/// Name and namespace of the release.
const RELEASE: &str = "kvs-ingest";
/// Pods start within so long, on a machine that does much else.
const PODS: &str = "--timeout=180s";
/// The object says so within this long after media is stored.
const CONDITIONS: Duration = Duration::from_secs(60);
/// kubectl is asked this often: it costs more than what it tells.
const ASK: Duration = Duration::from_secs(2);

pub fn run(options: &Options) -> Result<ExitCode> {
    let mut groups = vec![Group::Build, Group::Web, Group::Cluster, Group::Node, Group::Images];
    if options.headless {
        groups.push(Group::Browser);
    }
    packages::ensure(&groups)?;
    let folder = fresh_folder(&target().join("demo"))?;
    let helm = helm::ensure()?;
    let images = images::ensure(&images::ALL, images::QUICK)?;
    say!("Starting Kubernetes");
    let place = target().join("demo-cluster");
    let plane = cluster::fresh_with_node(&place)?;
    let demo = Demo { plane, helm, folder };
    let result = demo.load(&images).and_then(|()| demo.show(options));
    if result.is_err() && !interrupted() {
        demo.save_diagnostics();
    }
    say!("Taking Kubernetes down");
    cluster::down(&place)?;
    result
}

struct Demo {
    plane: ControlPlane,
    helm: PathBuf,
    /// Logs, and what is downloaded.
    folder: PathBuf,
}

impl Demo {
    fn load(&self, images: &[images::Image]) -> Result<()> {
        let node = self.plane.node.as_ref().context("the cluster has no node")?;
        for image in images {
            node.load(&image.archive)?;
        }
        Ok(())
    }

    fn kubectl(&self, arguments: &[&str]) -> Command {
        let mut kubectl = Command::new(&self.plane.kubectl);
        kubectl.arg("--kubeconfig").arg(&self.plane.kubeconfig).args(arguments);
        kubectl
    }

    fn show(&self, options: &Options) -> Result<ExitCode> {
        say!("kubectl apply -f examples/kvs-local.yaml");
        output(self.kubectl(&["apply", "-f"]).arg(root().join("examples/kvs-local.yaml")))?;
        let rollout = ["-n", "kvs-local", "rollout", "status", "deployment/kvs-local", PODS];
        output(&mut self.kubectl(&rollout))?;
        let address = ["-n", "kvs-local", "get", "service", "kvs-local", "-o", "jsonpath={.spec.clusterIP}"];
        let address = output(&mut self.kubectl(&address))?;
        self.install(&format!("http://{address}:8440"))?;
        let manifest = root().join(&options.ingest);
        say!("kubectl apply -f {}", options.ingest.display());
        output(self.kubectl(&["apply", "-f"]).arg(&manifest))?;

        let (mut forward, url) = self.forward(options)?;
        let page = format!("{url}/?channel={CHANNEL}");
        let mut browser = if options.headless {
            Some(Browser::start(&format!("{page}&start=1"), &self.folder)?)
        } else {
            None
        };
        self.introduce(options, &page);

        let stored = self.watch(options, &url, &mut forward, browser.as_mut())?;
        if stored.fragments == 0 {
            bail!("nothing was persisted");
        }
        if options.headless {
            self.until_it_says_so()?;
        }
        let wide = output(&mut self.kubectl(&["get", "kvsi", "-o", "wide"]))?;
        let table = format!("$ kubectl get kvsi -o wide\n{}", wide.trim_end());
        say!("");
        say!("{table}");
        if let Some(record) = &options.record {
            fs::write(recorded(record, "kubectl.txt")?, format!("{table}\n"))?;
            if let Some(browser) = &browser {
                browser.picture(&recorded(record, "page.png")?)?;
            }
        }
        self.list(&url)?;
        let file = self.folder.join(format!("{STREAM}.mkv"));
        download(&format!("{url}/_kvs/streams/{STREAM}/media.mkv"), &file)?;
        // It grows all the time: as it was downloaded.
        let mut now = Stored::read_at(&url, STREAM)?;
        now.lag = stored.lag;
        summarize(&now, &file);
        drop(browser);
        drop(forward);
        Ok(ExitCode::SUCCESS)
    }

    fn install(&self, kvs: &str) -> Result<()> {
        say!("helm install {RELEASE} charts/kvs-ingest");
        let key = |name: &str| {
            let template = format!("go-template={{{{.data.{name} | base64decode}}}}");
            output(&mut self.kubectl(&["-n", "kvs-local", "get", "secret", "kvs-local", "-o", &template]))
        };
        let (id, value) = (key("AWS_ACCESS_KEY_ID")?, key("AWS_SECRET_ACCESS_KEY")?);
        // On EKS this is IRSA or Pod Identity, and there is no endpoint to name.
        let values = json!({
            "image": {"repository": "localhost/kvs-ingest-operator", "tag": "dev"},
            "agent": {
                "image": {"repository": "localhost/kvs-ingest-agent", "tag": "dev"},
                "env": {"AWS_ENDPOINT_URL": kvs, "AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": value},
            },
            "extraEnv": [
                {"name": "AWS_ENDPOINT_URL", "value": kvs},
                {"name": "AWS_ACCESS_KEY_ID", "value": id},
                {"name": "AWS_SECRET_ACCESS_KEY", "value": value},
            ],
        });
        let file = self.written("values.yaml", &serde_json::to_string_pretty(&values)?)?;
        output(
            Command::new(&self.helm)
                .arg("--kubeconfig")
                .arg(&self.plane.kubeconfig)
                .args(["install", RELEASE])
                .arg(root().join("charts/kvs-ingest"))
                .args(["--namespace", RELEASE, "--create-namespace", "--wait", PODS, "--values"])
                .arg(file),
        )
        .map(drop)
    }

    fn written(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// The page on 127.0.0.1: browsers give a camera to no other plain address.
    fn forward(&self, options: &Options) -> Result<(Running, String)> {
        let wanted = options.port.unwrap_or(PORT);
        let port = match TcpListener::bind(("127.0.0.1", wanted)) {
            Ok(listener) => listener.local_addr()?.port(),
            // Nobody asked for this one: any other will do.
            Err(_) if options.port.is_none() => {
                TcpListener::bind(("127.0.0.1", 0)).context("no free port")?.local_addr()?.port()
            }
            Err(error) => return Err(error).with_context(|| format!("port {wanted}")),
        };
        let mut command = self.kubectl(&["-n", "kvs-local", "port-forward", "service/kvs-local"]);
        command.arg(format!("{port}:8440"));
        let log = self.folder.join("port-forward.log");
        let (running, _) = Running::start_and_read_line(
            "kubectl port-forward",
            &mut command,
            &log,
            Duration::from_secs(20),
        )?;
        Ok((running, format!("http://127.0.0.1:{port}")))
    }

    fn introduce(&self, options: &Options, page: &str) {
        say!("");
        say!("  page       {page}");
        say!("  cluster    export KUBECONFIG={}", self.plane.kubeconfig.display());
        say!("             {} get kvsi,pods -A", self.plane.kubectl.display());
        say!("  logs       {}", self.folder.display());
        say!("");
        if options.headless {
            say!("Headless Chromium is the master, with a synthetic camera and microphone.");
        } else if open_in_browser(page) {
            say!(
                "The page is open in your browser: click Go live and share your camera. Ctrl-C ends the demo."
            );
        } else {
            say!("Open the page, click Go live and share your camera. Ctrl-C ends the demo.");
        }
        say!("");
    }

    /// Until enough is stored, or Ctrl-C.
    fn watch(
        &self,
        options: &Options,
        url: &str,
        forward: &mut Running,
        mut browser: Option<&mut Browser>,
    ) -> Result<Stored> {
        let mut progress = Progress::new();
        let started = Instant::now();
        let stored = loop {
            thread::sleep(ASK);
            forward.check()?;
            if let Some(browser) = &mut browser {
                browser.check()?;
            }
            let stored = Stored::read_at(url, STREAM)?;
            progress.show(&self.ingest(), &stored);
            let enough =
                options.seconds.is_some_and(|seconds| stored.duration() >= Duration::from_secs(seconds));
            let hopeless =
                options.headless && stored.fragments == 0 && started.elapsed() > 2 * FIRST_FRAGMENT;
            let overdue = options.headless
                && options
                    .seconds
                    .is_some_and(|s| started.elapsed() > 2 * FIRST_FRAGMENT + Duration::from_secs(3 * s));
            if enough || hopeless || overdue || interrupted() {
                break stored;
            }
        };
        progress.end();
        Ok(stored)
    }

    fn object(&self) -> Result<Value> {
        let text = output(&mut self.kubectl(&["get", "kvsi", STREAM, "-o", "json"]))?;
        Ok(serde_json::from_str(&text)?)
    }

    /// What the object says of itself.
    fn ingest(&self) -> Ingest {
        let object = self.object().unwrap_or_default();
        let ready = condition(&object, "Ready");
        let text = |member: &str| ready[member].as_str().unwrap_or_default().to_owned();
        Ingest {
            phase: format!("Ready={}", text("status")),
            reason: text("reason"),
            message: text("message"),
            outputs: Vec::new(),
        }
    }

    fn until_it_says_so(&self) -> Result<()> {
        let deadline = Instant::now() + CONDITIONS;
        loop {
            let object = self.object()?;
            if ["Ready", "MediaFlowing"].iter().all(|kind| condition(&object, kind)["status"] == "True") {
                return Ok(());
            }
            if Instant::now() >= deadline || interrupted() {
                bail!("media is stored, but the object says {:#}", object["status"]["conditions"]);
            }
            thread::sleep(ASK);
        }
    }

    fn list(&self, url: &str) -> Result<()> {
        #[derive(Deserialize)]
        struct List {
            fragments: Vec<Fragment>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Fragment {
            number: String,
            producer_ms: u64,
            duration_ms: u64,
            bytes: u64,
            video_frames: u64,
        }
        const SHOWN: usize = 5;
        let List { fragments } = get(&format!("{url}/_kvs/streams/{STREAM}/fragments"))?;
        say!("");
        say!("The last of {} fragments of stream {STREAM}:", fragments.len());
        let first = fragments.first().map_or(0, |fragment| fragment.producer_ms);
        for fragment in &fragments[fragments.len().saturating_sub(SHOWN)..] {
            say!(
                "  {}  +{:>6.1} s  {:>4.1} s  {:>4} frames  {:>4} kB",
                fragment.number,
                fragment.producer_ms.saturating_sub(first) as f64 / 1000.0,
                fragment.duration_ms as f64 / 1000.0,
                fragment.video_frames,
                fragment.bytes / 1000
            );
        }
        Ok(())
    }

    /// Keeps what a person needs to see what went wrong: the cluster goes.
    fn save_diagnostics(&self) {
        let path = self.folder.join("cluster.log");
        let mut text = String::new();
        for arguments in [
            &["get", "kvsi", "-A", "-o", "yaml"][..],
            &["get", "pods,deployments", "-A", "-o", "wide"],
            &["describe", "pods", "-A"],
            &["logs", "-n", RELEASE, "--prefix", "--tail=200", "-l", "app.kubernetes.io/name"],
            &["logs", "-n", "default", "--prefix", "--tail=200", "-l", "app.kubernetes.io/name"],
            &["logs", "-n", "kvs-local", "--prefix", "--tail=200", "-l", "app.kubernetes.io/name"],
        ] {
            let mut command = self.kubectl(arguments);
            text.push_str(&format!("$ {}\n", show(&command)));
            text.push_str(&output(&mut command).unwrap_or_else(|error| format!("{error:#}\n")));
        }
        if fs::write(&path, text).is_ok() {
            say!("What the cluster looked like is in {}", path.display());
        }
    }
}

fn condition(object: &Value, kind: &str) -> Value {
    object["status"]["conditions"]
        .as_array()
        .and_then(|list| list.iter().find(|condition| condition["type"] == kind))
        .cloned()
        .unwrap_or_default()
}

fn download(url: &str, file: &Path) -> Result<()> {
    let agent: ureq::Agent = ureq::Agent::config_builder().proxy(None).build().into();
    let mut answer = agent.get(url).call().with_context(|| format!("GET {url}"))?;
    let mut out = fs::File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
    io::copy(&mut answer.body_mut().as_reader(), &mut out).with_context(|| format!("GET {url}"))?;
    Ok(())
}
