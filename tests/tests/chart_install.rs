//! The Helm chart, installed on a real API server with controllers and without a node.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kvs_ingest_tests::helm::{chart, documents, helm, root, run, values};
use kvs_ingest_tests::tenancy;
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(60);
const DEFINITION: &str = "customresourcedefinition.apiextensions.k8s.io/kvsingests.kvs-ingest.dev";

/// The cluster of this run.
struct Cluster {
    kubectl: String,
    kubeconfig: String,
}

impl Cluster {
    fn get() -> Result<Self> {
        let path = std::env::var("KVS_INGEST_TEST_CLUSTER")
            .context("KVS_INGEST_TEST_CLUSTER is not set: run `cargo xtask test chart`")?;
        let info: Value = serde_json::from_slice(&std::fs::read(&path).with_context(|| path.clone())?)?;
        let text = |field: &str| info[field].as_str().unwrap_or_default().to_owned();
        Ok(Self { kubectl: text("kubectl"), kubeconfig: text("kubeconfig") })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.arg(format!("--kubeconfig={}", self.kubeconfig)).args(arguments);
        command
    }

    fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        run(&mut self.command(arguments))
    }

    /// kubectl with this on its standard input.
    fn pipe(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        child.stdin.take().context("its standard input")?.write_all(input.as_bytes())?;
        let output = child.wait_with_output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kubectl {arguments:?}: {errors}\n{input}");
        Ok(String::from_utf8(output.stdout)?)
    }

    fn json(&self, arguments: &[&str]) -> Result<Value> {
        Ok(serde_json::from_str(&self.kubectl(&[arguments, &["--output=json"]].concat())?)?)
    }

    /// Helm in this cluster and namespace.
    fn helm(&self, namespace: &str, arguments: &[&str]) -> Result<String> {
        let more = ["--kubeconfig", &self.kubeconfig, "--namespace", namespace];
        run(helm(arguments)?.args(more))
    }

    /// Helm's end of a release. Where the definitions go with it, they have been served before, as an operator's watch has seen
    /// to: for one whose objects nobody has asked for yet the API server may answer its own cleanup "storage is
    /// (re)initializing", and comes back to it after five minutes.
    fn uninstall(&self, namespace: &str, release: &str) -> Result<()> {
        self.definitions_are_served()?;
        self.helm(namespace, &["uninstall", release, "--wait", "--timeout=180s"])?;
        Ok(())
    }

    fn definitions_are_served(&self) -> Result<()> {
        for definition in self.kubectl(&["get", "crds", "--output=name"])?.lines() {
            let kind = definition.rsplit_once('/').context("customresourcedefinition…/name")?.1;
            if kind.ends_with(".kvs-ingest.dev") {
                self.until(kind, || Ok(self.kubectl(&["get", kind, "--all-namespaces"]).is_ok()))?;
            }
        }
        Ok(())
    }

    /// A namespace as strict as one can be.
    fn namespace(&self, name: &str) -> Result<()> {
        self.kubectl(&["create", "namespace", name])?;
        self.kubectl(&["label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted"])?;
        // Pods that come before it are refused.
        self.until("the default service account", || {
            Ok(self.kubectl(&["-n", name, "get", "serviceaccount", "default"]).is_ok())
        })
    }

    fn until(&self, what: &str, condition: impl Fn() -> Result<bool>) -> Result<()> {
        let until = Instant::now() + DEADLINE;
        while !condition()? {
            if Instant::now() >= until {
                let events = self.kubectl(&["get", "events", "--all-namespaces"]).unwrap_or_default();
                bail!("waited for {what}\n{events}");
            }
            sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// The controllers have made the pods of a Deployment, and nothing is to be said against them. There is no node.
    fn pods_wait_for_a_node(&self, namespace: &str, deployment: &str, pods: usize) -> Result<()> {
        self.until(&format!("{pods} pods of {deployment}"), || {
            let found = self.json(&["-n", namespace, "get", "deployment", deployment])?;
            let failure = found["status"]["conditions"]
                .as_array()
                .into_iter()
                .flatten()
                .find(|condition| condition["type"] == "ReplicaFailure" && condition["status"] == "True");
            // Asked again by the controller; an account that was made a moment ago may not be known yet.
            ensure!(
                !failure.is_some_and(|failure| failure["message"].to_string().contains("PodSecurity")),
                "{failure:?}"
            );
            let current = found["status"]["observedGeneration"] == found["metadata"]["generation"];
            let labels = found["spec"]["selector"]["matchLabels"].as_object().unwrap();
            let selector: Vec<_> =
                labels.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap())).collect();
            let list = self.json(&["-n", namespace, "get", "pods", "-l", &selector.join(",")])?;
            let items = list["items"].as_array().unwrap();
            let updated = found["status"]["updatedReplicas"].as_u64() == Some(pods as u64);
            Ok(current
                && updated
                && items.len() >= pods
                && items.iter().all(|pod| pod["status"]["phase"] == "Pending"))
        })
    }

    /// Everything there is, by kind, namespace and name, save what the control plane itself comes and goes with.
    fn everything(&self) -> Result<BTreeSet<String>> {
        let kinds = self.kubectl(&["api-resources", "--verbs=list", "--output=name"])?;
        let kinds: Vec<_> = kinds
            .lines()
            .filter(|kind| !kind.starts_with("events") && !kind.starts_with("componentstatuses"))
            .collect();
        let template = "{range .items[*]}{.kind}/{.metadata.namespace}/{.metadata.name}{\"\\n\"}{end}";
        let list = self.kubectl(&[
            "get",
            &kinds.join(","),
            "--all-namespaces",
            "--ignore-not-found",
            &format!("--output=jsonpath={template}"),
        ])?;
        Ok(list.lines().map(str::to_owned).collect())
    }

    /// May the operator's account do this?
    fn may(&self, account: &str, arguments: &[&str]) -> Result<bool> {
        let who = format!("--as=system:serviceaccount:{account}");
        let output =
            self.command(&[&["auth", "can-i"], arguments, &[&who]].concat()).stdin(Stdio::null()).output()?;
        match String::from_utf8_lossy(&output.stdout).trim() {
            "yes" => Ok(true),
            "no" => Ok(false),
            other => bail!("{other}{}", String::from_utf8_lossy(&output.stderr)),
        }
    }
}

/// The objects of a release, as the API server has them.
fn objects(cluster: &Cluster, namespace: &str, release: &str) -> Result<Vec<Value>> {
    let manifest = cluster.helm(namespace, &["get", "manifest", release])?;
    let list: Value = serde_json::from_str(
        &cluster.pipe(&["-n", namespace, "get", "--filename=-", "--output=json"], &manifest)?,
    )?;
    Ok(list["items"].as_array().context("a list")?.clone())
}

/// The manifest that NOTES.txt shows.
fn first_ingest(notes: &str) -> Result<String> {
    let lines = notes.lines().skip_while(|line| !line.ends_with("<<'EOF'")).skip(1);
    let manifest: Vec<_> =
        lines.take_while(|line| line.trim() != "EOF").map(|line| line.get(3..).unwrap_or("")).collect();
    ensure!(!manifest.is_empty(), "no manifest in {notes}");
    Ok(manifest.join("\n"))
}

#[test]
fn it_is_installed_upgraded_and_uninstalled() -> Result<()> {
    let cluster = Cluster::get()?;
    let folder = chart().display().to_string();
    let (release, namespace, operator) = ("kvs-ingest", "kvs-ingest", "kvs-ingest-operator");
    cluster.namespace(namespace)?;
    cluster.namespace("cameras")?;
    let before = cluster.everything()?;

    cluster.helm(namespace, &["install", release, &folder, "--set", "imageRegistry=registry.test/video"])?;
    cluster.kubectl(&["wait", "--for=condition=established", "--timeout=180s", DEFINITION])?;
    cluster.pods_wait_for_a_node(namespace, operator, 2)?;

    // What the notes say to do next can be done. Server-side: a field that is unknown is refused. The API server may take a
    // moment to see the kind that its new admission policy goes by, and refuses everything until then.
    let notes = cluster.helm(namespace, &["get", "notes", release])?;
    let ingest = first_ingest(&notes)?;
    let apply = ["-n", "cameras", "apply", "--server-side", "--filename=-"];
    cluster.until("an object that is permitted", || Ok(cluster.pipe(&apply, &ingest).is_ok()))?;
    assert_eq!(documents(&ingest)?.len(), 1);

    // Nothing is written by an upgrade that changes nothing; by one that is for the agents the Deployment, and the admission
    // policy that names their image.
    let settled = || -> Result<Vec<Value>> {
        let mut objects = objects(&cluster, namespace, release)?;
        for object in &mut objects {
            object.as_object_mut().unwrap().remove("status");
            // Of these, controllers write the status.
            let kinds = [
                "Deployment",
                "PodDisruptionBudget",
                "CustomResourceDefinition",
                "ValidatingAdmissionPolicy",
            ];
            let moves = kinds.contains(&object["kind"].as_str().unwrap());
            let metadata = object["metadata"].as_object_mut().unwrap();
            metadata.remove("managedFields");
            if moves {
                metadata.remove("resourceVersion");
            }
        }
        Ok(objects)
    };
    let installed = settled()?;
    assert_eq!(installed.len(), 14, "{installed:#?}");
    let upgrade = ["upgrade", release, &folder, "--reset-then-reuse-values"];
    cluster.helm(namespace, &upgrade)?;
    assert_eq!(settled()?, installed);

    cluster.helm(namespace, &[&upgrade[..], &["--set", "agent.image.tag=next"]].concat())?;
    let mut expected = installed.clone();
    let deployment = expected.iter_mut().find(|object| object["kind"] == "Deployment").unwrap();
    let generation = deployment["metadata"]["generation"].as_u64().unwrap();
    deployment["metadata"]["generation"] = json!(generation + 1);
    let argument = &mut deployment["spec"]["template"]["spec"]["containers"][0]["args"][0];
    assert!(argument.as_str().unwrap().starts_with("--agent-image=registry.test/video/kvs-ingest-agent:"));
    *argument = json!("--agent-image=registry.test/video/kvs-ingest-agent:next");
    // The policies stay as they are: an object may name any tag of the release's image.
    let mut upgraded = settled()?;
    for objects in [&mut expected, &mut upgraded] {
        for object in objects {
            // The controller counts the revisions.
            if let Some(metadata) = object["metadata"]["annotations"].as_object_mut() {
                metadata.remove("deployment.kubernetes.io/revision");
            }
        }
    }
    assert_eq!(upgraded, expected);
    cluster.kubectl(&[
        "-n",
        namespace,
        "rollout",
        "history",
        &format!("deployment/{operator}"),
        "--revision=2",
    ])?;

    // Of everything that came, the definition and the user's object stay.
    cluster.uninstall(namespace, release)?;
    let left =
        || -> Result<BTreeSet<String>> { Ok(cluster.everything()?.difference(&before).cloned().collect()) };
    let expected = [
        // The API server's own answer to a definition.
        "APIService//v1alpha1.kvs-ingest.dev".to_owned(),
        "CustomResourceDefinition//kvsingestpolicies.kvs-ingest.dev".to_owned(),
        "CustomResourceDefinition//kvsingests.kvs-ingest.dev".to_owned(),
        "KvsIngest/cameras/front-door".to_owned(),
    ];
    cluster
        .until("the end of the release", || Ok(left()? == expected.clone().into()))
        .with_context(|| format!("left: {:?}", left()))?;
    assert_eq!(before.difference(&cluster.everything()?).count(), 0);

    // It can be had again, and then for good.
    cluster.helm(namespace, &["install", release, &folder, "--set", "crds.keep=false"])?;
    cluster.kubectl(&["-n", "cameras", "get", "kvsi", "front-door"])?;
    cluster.uninstall(namespace, release)?;
    cluster
        .until("the end of the definition", || Ok(left()?.is_empty()))
        .with_context(|| format!("{:?}", left()))?;
    cluster.kubectl(&["delete", "namespace", namespace, "cameras", "--timeout=180s"])?;
    Ok(())
}

#[test]
fn a_definition_of_kubectls_is_taken_over_when_asked() -> Result<()> {
    let cluster = Cluster::get()?;
    let folder = chart().display().to_string();
    let namespace = "taken-over";
    cluster.namespace(namespace)?;
    cluster.kubectl(&["apply", "--server-side", "--filename", &root().join("crds").display().to_string()])?;
    let error = cluster.helm(namespace, &["install", "kvs", &folder]).unwrap_err().to_string();
    // Whichever comes first.
    assert!(
        error.contains("CustomResourceDefinition \"kvsingest") && error.contains("cannot be imported"),
        "{error}"
    );
    cluster.helm(namespace, &["install", "kvs", &folder, "--take-ownership", "--set", "crds.keep=false"])?;
    cluster.pods_wait_for_a_node(namespace, "kvs-kvs-ingest-operator", 2)?;
    cluster.uninstall(namespace, "kvs")?;
    assert_eq!(cluster.kubectl(&["get", DEFINITION, "--ignore-not-found"])?, "");
    cluster.kubectl(&["delete", "namespace", namespace, "--timeout=180s"])?;
    Ok(())
}

/// As a release publishes them: nothing has to be there before, and nothing has to be replaced in them.
#[test]
fn plain_manifests_install_as_they_are() -> Result<()> {
    let cluster = Cluster::get()?;
    let mut manifests = Command::new(root().join("deploy/manifests.sh"));
    manifests.env("HELM", helm(&[])?.get_program()).args(["--set", "imageRegistry=registry.test/video"]);
    let text = run(&mut manifests)?;
    cluster.pipe(&["apply", "--server-side", "--filename=-"], &text)?;
    cluster.pods_wait_for_a_node("kvs-ingest", "kvs-ingest-operator", 2)?;
    cluster.kubectl(&["wait", "--for=condition=established", "--timeout=180s", DEFINITION])?;
    assert!(cluster.may(
        "kvs-ingest:kvs-ingest-operator",
        &["watch", "kvsingests.kvs-ingest.dev", "--all-namespaces"]
    )?);
    // Once more changes nothing, and what they brought they take away.
    let again = cluster.pipe(&["apply", "--server-side", "--filename=-"], &text)?;
    assert!(again.lines().all(|line| line.ends_with(" serverside-applied")), "{again}");
    cluster.definitions_are_served()?;
    cluster.pipe(&["delete", "--wait", "--timeout=120s", "--filename=-"], &text)?;
    assert_eq!(cluster.kubectl(&["get", DEFINITION, "--ignore-not-found"])?, "");
    Ok(())
}

#[test]
fn with_namespaces_the_operator_may_work_there_and_nowhere_else() -> Result<()> {
    let cluster = Cluster::get()?;
    let folder = chart().display().to_string();
    let namespace = "kvs-named";
    for name in [namespace, "cameras", "doors", "others"] {
        cluster.namespace(name)?;
    }
    // Which brings none.
    let definition = root().join("crds").display().to_string();
    cluster.kubectl(&["apply", "--server-side", "--filename", &definition])?;
    cluster.kubectl(&["wait", "--for=condition=established", "--timeout=180s", DEFINITION])?;
    let named = ["--values", &values("namespaced")];
    cluster.helm(namespace, &[&["install", "kvs-ingest", &folder][..], &named].concat())?;
    cluster.pods_wait_for_a_node(namespace, "kvs-ingest-operator", 2)?;

    let account = format!("{namespace}:kvs-ingest-operator");
    let may = |namespace: &str, verb: &str, what: &str| {
        cluster.may(&account, &[verb, what, "--namespace", namespace])
    };
    for place in ["cameras", "doors"] {
        assert!(may(place, "watch", "kvsingests.kvs-ingest.dev")?);
        assert!(may(place, "patch", "kvsingests.kvs-ingest.dev/status")?);
        assert!(may(place, "create", "deployments.apps")?);
        assert!(may(place, "list", "pods")?);
        assert!(
            !may(place, "create", "pods")?
                && !may(place, "get", "secrets")?
                && !may(place, "update", "leases.coordination.k8s.io")?
        );
    }
    for place in ["others", namespace, "kube-system"] {
        assert!(
            !may(place, "watch", "kvsingests.kvs-ingest.dev")? && !may(place, "create", "deployments.apps")?
        );
    }
    assert!(!cluster.may(&account, &["watch", "deployments.apps", "--all-namespaces"])?);
    // Of leases its own alone; one that is to be made has no name yet.
    assert!(may(namespace, "update", "leases.coordination.k8s.io/kvs-ingest-operator")?);
    assert!(may(namespace, "create", "leases.coordination.k8s.io")?);
    assert!(!may(namespace, "update", "leases.coordination.k8s.io/others")?);
    cluster.uninstall(namespace, "kvs-ingest")?;
    cluster.kubectl(&["delete", "--filename", &definition, "--timeout=180s"])?;
    cluster.kubectl(&["delete", "namespace", namespace, "cameras", "doors", "others", "--timeout=180s"])?;
    Ok(())
}

/// What a person of a namespace gets who may write KvsIngests there, and nothing else.
#[test]
fn a_tenant_gets_what_the_administrator_permits() -> Result<()> {
    const LABEL: &str = "kvs-ingest.dev/tenant=true";
    let cluster = Cluster::get()?;
    let folder = chart().display().to_string();
    let (namespace, tenants, others) = ("kvs-tenancy", "cameras", "free");
    for name in [namespace, tenants, others] {
        cluster.namespace(name)?;
    }
    let values = "imageRegistry=test.local,agent.image.repository=agent,clusterName=test,crds.keep=false,\
                  rbac.aggregateToDefaultRoles=true,fullnameOverride=kvs";
    cluster.helm(
        namespace,
        &["install", "kvs", &folder, "--set", values, "--set-string", "agent.image.tag=1"],
    )?;
    for place in [namespace, tenants, others] {
        for role in ["kvs-edit", "kvs-view"] {
            let role_flag = format!("--clusterrole={role}");
            cluster.kubectl(&["-n", place, "create", "rolebinding", role, &role_flag, "--user=tenant"])?;
        }
    }
    let as_tenant = |arguments: &[&str], object: &Value| {
        cluster.pipe(&[arguments, &["--as=tenant", "--filename=-"]].concat(), &object.to_string())
    };
    let dry = |object: &Value| as_tenant(&["create", "--dry-run=server"], object);
    // A List, because kubectl goes on after an object that is refused, and a process for each takes its time.
    let list = |objects: Vec<Value>| json!({"apiVersion": "v1", "kind": "List", "items": objects});
    let refusal = |all: &str, name: &str| -> Result<String> {
        let named = format!("\"{name}\" is forbidden");
        Ok(all
            .lines()
            .find(|line| line.contains(&named))
            .with_context(|| format!("{name} is permitted:\n{all}"))?
            .to_owned())
    };

    // What the release forbids in every namespace, without any policy.
    cluster.until("the kinds", || Ok(dry(&tenancy::object("door", others, json!({}))).is_ok()))?;
    let role = "arn:aws:iam::111122223333:role/r";
    let by_release = [
        ("image", others, json!({"image": "attacker.example/agent:1"}), "spec.image: "),
        ("path", others, json!({"image": "test.local/agent/evil:1"}), "spec.image: "),
        (
            "id",
            others,
            json!({"roleArn": role, "externalId": "kvs-ingest/test/cameras"}),
            "spec.externalId: ",
        ),
        ("account", namespace, json!({"serviceAccountName": "kvs-operator"}), "spec.serviceAccountName: "),
    ];
    let objects =
        by_release.iter().map(|(name, place, more, _)| tenancy::object(name, place, more.clone())).collect();
    let all = dry(&list(objects)).unwrap_err().to_string();
    for (name, _, _, words) in &by_release {
        let refused = refusal(&all, name)?;
        assert!(refused.contains("'kvs-release'") && refused.contains(words), "{refused}");
    }
    let fine = [
        tenancy::object("image", others, json!({"image": tenancy::AGENT})),
        tenancy::object("tag", others, json!({"image": "test.local/agent:0.9@sha256:0123"})),
        tenancy::object("id", others, json!({"roleArn": role, "externalId": "kvs-ingest/test/free"})),
        tenancy::object("account", others, json!({"serviceAccountName": "kvs-operator"})),
    ];
    dry(&list(fine.into()))?;

    // An object that was there before the policy.
    let old = tenancy::object(
        "old",
        tenants,
        json!({
            "channel": {"name": "old"},
            "pod": {"labels": {"app": "x"}, "nodeSelector": {"disk": "ssd"}},
        }),
    );
    as_tenant(&["create"], &old)?;
    let selector = json!({"namespaceSelector": {"matchExpressions": [
        {"key": "kvs-ingest.dev/tenant", "operator": "In", "values": ["true"]},
        {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [others]},
        {"key": "kubernetes.io/metadata.name", "operator": "Exists"},
        {"key": "nobody/has", "operator": "DoesNotExist"},
    ]}});
    let policy = tenancy::policy("tenants", &selector).to_string();
    cluster.pipe(&["create", "--filename=-"], &policy)?;
    cluster.kubectl(&["label", "namespace", tenants, others, LABEL])?;
    let abuses = tenancy::abuses(tenants);
    let name = |index: usize| format!("abuse-{index}");
    let one = tenancy::object(&name(0), tenants, abuses[0].1.clone());
    cluster.until("the policy", || Ok(dry(&one).is_err()))?;
    let permitted = |place: &str| {
        let all = tenancy::also_permitted(place).into_iter().enumerate();
        list(all.map(|(index, more)| tenancy::object(&format!("door-{index}"), place, more)).collect())
    };
    dry(&permitted(tenants))?;
    let objects = abuses
        .iter()
        .enumerate()
        .map(|(index, (_, more))| tenancy::object(&name(index), tenants, more.clone()));
    let all = dry(&list(objects.collect())).unwrap_err().to_string();
    for (index, (field, more)) in abuses.iter().enumerate() {
        let refused = refusal(&all, &name(index)).with_context(|| more.to_string())?;
        assert!(refused.contains(&format!(" denied request: {field}: ")), "{more}: {refused}");
        // Field, value, and what would do.
        let policy = refused.contains("'kvs-policies'") && refused.contains("KvsIngestPolicy tenants");
        assert!(policy || refused.contains("'kvs-release'"), "{more}: {refused}");
    }
    // Of a namespace that the policy does not select nothing of that is refused, but what the release forbids.
    let elsewhere = abuses
        .iter()
        .enumerate()
        .filter(|(_, (field, _))| !["spec.image", "spec.externalId"].contains(field));
    dry(&list(
        elsewhere.map(|(index, (_, more))| tenancy::object(&name(index), others, more.clone())).collect(),
    ))?;

    // What was there before stays, and may be stopped; nothing is added that is not permitted.
    let patch = |patch: Value| {
        let patch = patch.to_string();
        cluster.kubectl(&[
            "-n",
            tenants,
            "patch",
            "kvsi",
            "old",
            "--type=merge",
            "--as=tenant",
            "--patch",
            &patch,
        ])
    };
    patch(json!({"spec": {"suspend": true}}))?;
    patch(json!({"metadata": {"annotations": {"kvs-ingest.dev/restarted-at": "now"}}}))?;
    let error = patch(json!({"spec": {"pod": {"labels": {"other": "x"}}}})).unwrap_err().to_string();
    assert!(error.contains("spec.pod.labels: \"other\" is not permitted"), "{error}");
    let error = patch(json!({"spec": {"image": "attacker.example/agent:1"}})).unwrap_err().to_string();
    assert!(error.contains("spec.image: "), "{error}");
    let error = patch(json!({"spec": {"pod": {"nodeSelector": {"disk": null, "role": "x"}}}}))
        .unwrap_err()
        .to_string();
    assert!(error.contains("spec.pod.nodeSelector: "), "{error}");
    // One of two is mended.
    patch(json!({"spec": {"pod": {"labels": null}}}))?;

    // He writes no policy, no label that chooses one, and no status.
    let may = |arguments: &[&str]| -> Result<bool> {
        let output = cluster.command(&[&["auth", "can-i", "--as=tenant"], arguments].concat()).output()?;
        Ok(output.status.success())
    };
    assert!(may(&["create", "kvsingests.kvs-ingest.dev", "-n", tenants])?);
    for forbidden in [
        &["create", "kvsingestpolicies.kvs-ingest.dev"][..],
        &["get", "kvsingestpolicies.kvs-ingest.dev"],
        &["delete", "kvsingestpolicies.kvs-ingest.dev"],
        &["patch", "namespaces"],
        &["patch", "kvsingests.kvs-ingest.dev", "--subresource=status", "-n", tenants],
        &["get", "secrets", "-n", tenants],
        &["create", "pods", "-n", tenants],
        &["create", "deployments.apps", "-n", tenants],
    ] {
        assert!(!may(forbidden)?, "{forbidden:?}");
    }

    // What the API server itself says against the expressions, having compared them with the kinds.
    for policy in ["kvs-release", "kvs-policies"] {
        cluster.until("a look at the expressions", || {
            let policy = cluster.json(&["get", "validatingadmissionpolicy", policy])?;
            Ok(policy["status"]["observedGeneration"] == policy["metadata"]["generation"])
        })?;
        let found = cluster.json(&["get", "validatingadmissionpolicy", policy])?;
        assert_eq!(found["status"]["typeChecking"]["expressionWarnings"], Value::Null, "{found:#}");
    }

    // A policy that selects by nobody knows what, or whose patterns mean something else in a regular expression, is none.
    for (wrong, words) in [
        (json!({"channels": ["a|b"]}), "spec.channels[0]"),
        (json!({"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Gt"}]}}), "operator"),
        (json!({"chanels": []}), "chanels"),
    ] {
        let policy = json!({"apiVersion": "kvs-ingest.dev/v1alpha1", "kind": "KvsIngestPolicy",
            "metadata": {"name": "wrong"}, "spec": wrong});
        let error =
            cluster.pipe(&["create", "--validate=strict", "--filename=-"], &policy.to_string()).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    cluster.uninstall(namespace, "kvs")?;
    cluster.kubectl(&["delete", "namespace", namespace, tenants, others, "--timeout=180s"])?;
    Ok(())
}

#[test]
fn every_value_is_accepted_by_the_api_server() -> Result<()> {
    let cluster = Cluster::get()?;
    let folder = chart().display().to_string();
    let namespace = "kvs-everything";
    for name in [namespace, "cameras", "doors"] {
        cluster.namespace(name)?;
    }
    for (file, pods, deployment, account) in
        [("everything", 3, "all-other-operator", "operator"), ("single", 1, "kvs-east-operator", "video")]
    {
        if file == "single" {
            cluster.kubectl(&["-n", namespace, "create", "serviceaccount", account])?;
        }
        // The definitions of the monitors are the Prometheus operator's.
        let off = "metrics.serviceMonitor.enabled=false,metrics.podMonitor.enabled=false,\
                   metrics.prometheusRule.enabled=false,crds.keep=false";
        let values = values(file);
        cluster.helm(namespace, &["install", "all", &folder, "--values", &values, "--set", off])?;
        cluster.pods_wait_for_a_node(namespace, deployment, pods)?;
        let pods = cluster.json(&["-n", namespace, "get", "pods"])?;
        assert_eq!(pods["items"][0]["spec"]["serviceAccountName"], account);
        cluster.uninstall(namespace, "all")?;
    }
    cluster.kubectl(&["delete", "namespace", namespace, "cameras", "doors", "--timeout=180s"])?;
    Ok(())
}
