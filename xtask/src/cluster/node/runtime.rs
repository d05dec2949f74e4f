//! containerd with a root, a state folder and a socket of its own: the system's, if there is one, does not notice.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::run_folder::run_folder;
use super::{Node, image, machine};
use crate::process::{interrupted, output};

/// The kubelet's images and containers.
const NAMESPACE: &str = "k8s.io";
const WITHIN: Duration = Duration::from_secs(30);

impl Node {
    /// The command that starts containerd, its configuration written.
    pub fn containerd_command(&self, dir: &Path) -> Result<Command> {
        let run = run_folder(dir);
        let config = run.join("containerd.toml");
        let plugins = machine::cni_plugins().context("the CNI plugins are gone")?;
        fs::create_dir_all(run.join("cni"))?;
        fs::write(run.join("cni/10-pods.conflist"), self.cni(&run).to_string())?;
        fs::write(&config, self.containerd_config(dir, &run, &plugins))
            .with_context(|| format!("cannot write {}", config.display()))?;
        let mut command = self.command(Path::new("containerd"));
        command.arg("--config").arg(&config);
        Ok(command)
    }

    fn containerd_config(&self, dir: &Path, run: &Path, plugins: &Path) -> String {
        let quoted = |path: &Path| json!(path.display().to_string()).to_string();
        format!(
            "version = 2\nroot = {root}\nstate = {state}\n\
             [grpc]\naddress = {socket}\n\
             [plugins.\"io.containerd.internal.v1.opt\"]\npath = {opt}\n\
             [plugins.\"io.containerd.grpc.v1.cri\"]\n\
             sandbox_image = \"{pause}\"\n\
             # Root without CAP_SYS_RESOURCE, as in many virtual machines, may not lower a process's score.\n\
             restrict_oom_score_adj = true\n\
             disable_apparmor = true\n\
             netns_mounts_under_state_dir = true\n\
             stream_server_address = \"127.0.0.1\"\n\
             [plugins.\"io.containerd.grpc.v1.cri\".containerd]\nsnapshotter = \"overlayfs\"\n\
             [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n\
             [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]\n\
             SystemdCgroup = false\nRoot = {runc}\n\
             [plugins.\"io.containerd.grpc.v1.cri\".cni]\nbin_dir = {plugins}\nconf_dir = {cni}\n",
            root = quoted(&dir.join("containerd")),
            state = quoted(&run.join("state")),
            socket = quoted(&self.containerd),
            opt = quoted(&run.join("opt")),
            pause = image::PAUSE_NAME,
            runc = quoted(&run.join("runc")),
            plugins = quoted(plugins),
            cni = quoted(&run.join("cni")),
        )
    }

    /// The bridge plugin makes the bridge with the first pod.
    fn cni(&self, run: &Path) -> serde_json::Value {
        json!({"cniVersion": "0.4.0", "name": self.id, "plugins": [{
            "type": "bridge",
            "bridge": "pods",
            "isGateway": true,
            "ipMasq": false,
            "hairpinMode": true,
            "ipam": {
                "type": "host-local",
                "dataDir": run.join("addresses"),
                "ranges": [[{"subnet": self.pod_network}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }]})
    }

    pub fn containerd_answers(&self) -> bool {
        self.ctr(&["version"]).is_ok()
    }

    fn ctr(&self, arguments: &[&str]) -> Result<String> {
        output(
            Command::new("ctr")
                .arg(format!("--address={}", self.containerd.display()))
                .args(["--namespace", NAMESPACE])
                .args(arguments),
        )
    }

    /// Compiles and loads what every pod begins with.
    pub fn load_pause(&self, dir: &Path) -> Result<()> {
        let archive = image::pause(&dir.join("pause"))?;
        self.load(&archive).map(drop)
    }

    /// Loads the images of an archive (docker-archive or OCI); their names, when pods can use them.
    pub fn load(&self, archive: &Path) -> Result<Vec<String>> {
        if !archive.is_file() {
            bail!(
                "{} is no file: an image archive is expected, as `buildah push NAME docker-archive:FILE:NAME` writes it",
                archive.display()
            );
        }
        let file = archive.display().to_string();
        let mut arguments = vec!["images", "import", &file];
        // Since containerd 2 it prints no names without this, which older ones do not know.
        if self.ctr(&["images", "import", "--help"])?.contains("--local") {
            arguments.insert(2, "--local");
        }
        let printed =
            self.ctr(&arguments).with_context(|| format!("{} cannot be loaded", archive.display()))?;
        let names = imported(&printed);
        if names.is_empty() {
            bail!(
                "{} holds no image with a name: write it with one (`buildah push NAME docker-archive:FILE:NAME`)",
                archive.display()
            );
        }
        self.wait_for_images(&names)?;
        Ok(names)
    }

    /// containerd tells its Kubernetes part about a new image a moment later.
    fn wait_for_images(&self, names: &[String]) -> Result<()> {
        let deadline = Instant::now() + WITHIN;
        loop {
            let known =
                self.ctr(&["images", "list", "--quiet", r#"labels."io.cri-containerd.image"==managed"#])?;
            let known: BTreeSet<_> = known.lines().map(str::trim).collect();
            let Some(missing) = names.iter().find(|name| !known.contains(name.as_str())) else {
                return Ok(());
            };
            if interrupted() {
                bail!("interrupted");
            }
            if Instant::now() >= deadline {
                bail!("containerd does not show the image {missing} to the kubelet");
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// `unpacking localhost/x:1 (sha256:…)...done`
fn imported(printed: &str) -> Vec<String> {
    printed
        .lines()
        .filter_map(|line| line.trim().strip_prefix("unpacking ")?.split_once(" (sha256:"))
        .map(|(name, _)| name.to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_what_ctr_prints() {
        let printed = "unpacking localhost/x:1 (sha256:0a)...done\nunpacking docker.io/library/y:2 (sha256:0b)...done\n";
        assert_eq!(imported(printed), ["localhost/x:1", "docker.io/library/y:2"]);
        assert_eq!(imported(""), Vec::<String>::new());
    }
}
