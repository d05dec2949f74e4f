//! The Helm chart, rendered. `cargo xtask test chart` names Helm in `KVS_INGEST_TEST_HELM`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

/// The repository.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".."))
}

/// The chart's folder.
#[must_use]
pub fn chart() -> PathBuf {
    root().join("charts/kvs-ingest")
}

/// The files of values with which the chart is tested, besides its defaults.
pub fn value_files() -> Result<Vec<PathBuf>> {
    let folder = chart().join("ci");
    let mut files: Vec<_> =
        std::fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    ensure!(!files.is_empty(), "{} is empty", folder.display());
    Ok(files)
}

/// The path of one of them.
#[must_use]
pub fn values(name: &str) -> String {
    chart().join("ci").join(format!("{name}-values.yaml")).display().to_string()
}

/// Runs a command to its end: its standard output, or an error with its standard error.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{command:?} ended with {}: {}{text}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(text)
}

/// Helm without the settings of the person at the machine.
pub fn helm(arguments: &[&str]) -> Result<Command> {
    let program = std::env::var_os("KVS_INGEST_TEST_HELM")
        .context("KVS_INGEST_TEST_HELM is not set: run `cargo xtask test chart`")?;
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HELM_") {
            command.env_remove(name);
        }
    }
    command.env_remove("KUBECONFIG").args(arguments);
    Ok(command)
}

/// What a YAML file or answer holds, document by document.
pub fn documents(text: &str) -> Result<Vec<Value>> {
    let mut documents = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let value = Value::deserialize(document)?;
        if !value.is_null() {
            documents.push(value);
        }
    }
    Ok(documents)
}

/// The objects of a release.
pub struct Rendered(pub Vec<Value>);

/// Release `kvs-ingest` in namespace `kvs-ingest`, with these arguments of `helm template`.
pub fn render(arguments: &[&str]) -> Result<Rendered> {
    render_as("kvs-ingest", arguments)
}

/// The same with another name.
pub fn render_as(release: &str, arguments: &[&str]) -> Result<Rendered> {
    let folder = chart().display().to_string();
    let fixed = ["template", release, &folder, "--namespace", "kvs-ingest"];
    let text = run(helm(&fixed)?.args(arguments))?;
    Ok(Rendered(documents(&text)?))
}

/// The defaults, and each file of values, with the name for messages.
pub fn all() -> Result<Vec<(String, Rendered)>> {
    let mut all = vec![("the defaults".to_owned(), render(&[])?)];
    for file in value_files()? {
        let path = file.display().to_string();
        let rendered = render(&["--values", &path])?;
        all.push((path, rendered));
    }
    Ok(all)
}

impl Rendered {
    /// All of a kind.
    #[must_use]
    pub fn all(&self, kind: &str) -> Vec<&Value> {
        self.0.iter().filter(|object| object["kind"] == kind).collect()
    }

    /// The only one of a kind.
    pub fn one(&self, kind: &str) -> Result<&Value> {
        match self.all(kind)[..] {
            [one] => Ok(one),
            ref other => bail!("{} objects are of kind {kind}", other.len()),
        }
    }

    /// The one of this kind and name.
    pub fn named(&self, kind: &str, name: &str) -> Result<&Value> {
        self.all(kind)
            .into_iter()
            .find(|object| object["metadata"]["name"] == name)
            .with_context(|| format!("there is no {kind} {name}"))
    }

    /// The operator's container.
    pub fn container(&self) -> Result<&Value> {
        Ok(&self.one("Deployment")?["spec"]["template"]["spec"]["containers"][0])
    }

    /// What the operator is told.
    pub fn arguments(&self) -> Result<Vec<String>> {
        Ok(serde_json::from_value(self.container()?["args"].clone())?)
    }
}
