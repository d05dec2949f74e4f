//! The Helm chart, as it is rendered: what an administrator may rely on before anything is installed.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, Result};
use kvs_ingest_tests::agent::binary;
use kvs_ingest_tests::helm::{self, all, chart, documents, helm, render, render_as, root, run, values};
use serde_json::{Value, json};

fn file(path: &str) -> Result<Vec<Value>> {
    documents(&std::fs::read_to_string(root().join(path)).with_context(|| path.to_owned())?)
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    objects.iter().find(|object| object["kind"] == kind).unwrap()
}

/// Does this selector match these labels?
fn selects(selector: &Value, labels: &Value) -> bool {
    let wanted = selector["matchLabels"].as_object().unwrap();
    assert!(!wanted.is_empty() && selector.as_object().unwrap().len() == 1, "{selector}");
    wanted.iter().all(|(key, value)| labels[key] == *value)
}

/// An agent's pod template, as the operator's own tests have it.
fn agent() -> Result<Value> {
    Ok(file("operator/tests/golden/plain.yaml")?[0]["spec"]["template"].clone())
}

// Rights.

#[test]
fn the_rights_are_those_of_deploy_rbac_yaml() -> Result<()> {
    let deploy = file("deploy/rbac.yaml")?;
    let everywhere = &of_kind(&deploy, "ClusterRole")["rules"];
    let lease = &of_kind(&deploy, "Role")["rules"];

    let whole = render(&[])?;
    assert_eq!(&whole.one("ClusterRole")?["rules"], everywhere);
    assert_eq!(&whole.one("Role")?["rules"], lease);
    assert_eq!(whole.one("Role")?["metadata"]["namespace"], "kvs-ingest");
    for kind in ["ClusterRoleBinding", "ServiceAccount"] {
        let (ours, theirs) = (whole.one(kind)?, of_kind(&deploy, kind));
        assert_eq!(ours["metadata"]["name"], theirs["metadata"]["name"]);
        assert_eq!((&ours["subjects"], &ours["roleRef"]), (&theirs["subjects"], &theirs["roleRef"]));
    }
    Ok(())
}

#[test]
fn with_namespaces_there_is_no_right_outside_of_them() -> Result<()> {
    let deploy = file("deploy/rbac.yaml")?;
    let named = render(&["--values", &values("namespaced")])?;
    for kind in ["ClusterRole", "ClusterRoleBinding"] {
        assert!(named.all(kind).is_empty(), "{kind}");
    }
    let mut roles = BTreeMap::new();
    for role in named.all("Role") {
        let place =
            (role["metadata"]["namespace"].as_str().unwrap(), role["metadata"]["name"].as_str().unwrap());
        roles.insert(place, &role["rules"]);
    }
    // Less what is the cluster's: policies, and the labels of namespaces.
    let rules = of_kind(&deploy, "ClusterRole")["rules"].as_array().unwrap();
    let of_the_cluster = [json!(["kvsingestpolicies"]), json!(["namespaces"])];
    let within: Vec<_> = rules.iter().filter(|rule| !of_the_cluster.contains(&rule["resources"])).collect();
    assert_eq!(within.len() + of_the_cluster.len(), rules.len());
    let everywhere = &json!(within);
    let expected = [
        (("cameras", "kvs-ingest-operator"), everywhere),
        (("doors", "kvs-ingest-operator"), everywhere),
        (("kvs-ingest", "kvs-ingest-operator-leader"), &of_kind(&deploy, "Role")["rules"]),
    ];
    assert_eq!(roles, expected.into());
    // The rights of people are ClusterRoles, too.
    let people = render(&["--set", "watch.namespaces={cameras},rbac.aggregateToDefaultRoles=true"])?;
    assert!(people.all("ClusterRole").is_empty());
    Ok(())
}

#[test]
fn every_binding_is_of_a_role_that_is_there_and_of_the_operators_account() -> Result<()> {
    for (name, rendered) in all()? {
        let account = &rendered.one("Deployment")?["spec"]["template"]["spec"]["serviceAccountName"];
        let mut bound = BTreeSet::new();
        for binding in rendered.all("RoleBinding").into_iter().chain(rendered.all("ClusterRoleBinding")) {
            let subject = json!([{"kind": "ServiceAccount", "name": account, "namespace": "kvs-ingest"}]);
            assert_eq!(binding["subjects"], subject, "{name}");
            let role =
                (&binding["roleRef"]["kind"], &binding["metadata"]["namespace"], &binding["roleRef"]["name"]);
            assert!(bound.insert(role.0.to_string() + &role.1.to_string() + &role.2.to_string()));
            let there = rendered.0.iter().any(|object| {
                (&object["kind"], &object["metadata"]["namespace"], &object["metadata"]["name"]) == role
            });
            assert!(there, "{name}: {role:?}");
        }
        assert!(bound.len() >= 2, "{name}: {bound:?}");
    }
    let none = render(&["--set", "rbac.create=false,serviceAccount.create=false,serviceAccount.name=mine"])?;
    for kind in ["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "ServiceAccount"] {
        assert!(none.all(kind).is_empty(), "{kind}");
    }
    assert_eq!(none.one("Deployment")?["spec"]["template"]["spec"]["serviceAccountName"], "mine");
    Ok(())
}

#[test]
fn people_get_rights_only_when_asked() -> Result<()> {
    let people = render(&["--set", "rbac.aggregateToDefaultRoles=true"])?;
    let verbs = |who: &str| -> Result<Value> {
        Ok(people.named("ClusterRole", &format!("kvs-ingest-{who}"))?["rules"].clone())
    };
    let rule = |verbs: Value| json!([{"apiGroups": ["kvs-ingest.dev"], "resources": ["kvsingests"], "verbs": verbs}]);
    assert_eq!(verbs("view")?, rule(json!(["get", "list", "watch"])));
    assert_eq!(verbs("edit")?, rule(json!(["create", "update", "patch", "delete", "deletecollection"])));
    let aggregated = |who: &str| -> Result<Vec<String>> {
        let role = people.named("ClusterRole", &format!("kvs-ingest-{who}"))?;
        let labels = role["metadata"]["labels"].as_object().unwrap();
        let to =
            |label: &String| label.strip_prefix("rbac.authorization.k8s.io/aggregate-to-").map(str::to_owned);
        Ok(labels.keys().filter_map(to).collect())
    };
    assert_eq!(aggregated("view")?, ["admin", "edit", "view"]);
    assert_eq!(aggregated("edit")?, ["admin", "edit"]);
    Ok(())
}

// The operator's pods.

#[test]
fn the_operator_is_as_restricted_as_its_agents() -> Result<()> {
    let agent = agent()?["spec"].clone();
    for (name, rendered) in all()? {
        let mut pod = rendered.one("Deployment")?["spec"]["template"]["spec"]["securityContext"].clone();
        // What a user adds.
        pod.as_object_mut().unwrap().remove("supplementalGroups");
        let mut expected = agent["securityContext"].clone();
        if rendered.arguments()?.contains(&"--agent-assigned-ids".to_owned()) {
            for id in ["runAsUser", "runAsGroup", "fsGroup"] {
                assert!(expected.as_object_mut().unwrap().remove(id).is_some(), "{id}");
            }
        }
        assert_eq!(pod, expected, "{name}");
        let container = rendered.container()?;
        assert_eq!(container["securityContext"], agent["containers"][0]["securityContext"], "{name}");
    }
    Ok(())
}

#[test]
fn probes_and_ports_are_those_that_the_operator_serves() -> Result<()> {
    for (name, rendered) in all()? {
        let container = rendered.container()?;
        assert_eq!(container["ports"], json!([{"name": "http", "containerPort": 8080, "protocol": "TCP"}]));
        for (probe, path) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
            assert_eq!(container[probe]["httpGet"], json!({"path": path, "port": "http"}), "{name}");
        }
        let listen = rendered.arguments()?.into_iter().find(|argument| argument.starts_with("--listen="));
        assert!(listen.is_some_and(|listen| listen.ends_with(":8080")), "{name}");
        // The Lease is in the namespace where the Role for it is, and the pod's name is in it.
        for (variable, field) in [
            ("POD_NAME", "metadata.name"),
            ("POD_NAMESPACE", "metadata.namespace"),
            ("POD_SERVICE_ACCOUNT", "spec.serviceAccountName"),
        ] {
            let found =
                container["env"].as_array().unwrap().iter().find(|env| env["name"] == variable).unwrap();
            assert_eq!(found["valueFrom"]["fieldRef"]["fieldPath"], field, "{name}");
        }
    }
    Ok(())
}

#[test]
fn the_operator_understands_what_it_is_told_and_can_be_told_everything() -> Result<()> {
    let operator = binary("kvs-ingest-operator")?;
    let mut told = BTreeSet::new();
    for (name, rendered) in all()? {
        let arguments = rendered.arguments()?;
        // Arguments are read before the last one ends it.
        let help = run(Command::new(&operator).env_clear().args(&arguments).arg("--help"));
        assert!(help.is_ok(), "{name}: {help:?}");
        told.extend(arguments.iter().map(|argument| argument.split('=').next().unwrap().to_owned()));
    }
    // That it would have complained.
    let wrong =
        run(Command::new(&operator).env_clear().args(["--agent-image=a", "--concurrency=0", "--help"]));
    assert!(wrong.unwrap_err().to_string().contains("--concurrency"));

    let help = run(Command::new(&operator).env_clear().arg("--help"))?;
    let known: BTreeSet<_> = help
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("--"))
        .map(|flag| format!("--{}", flag.trim_end_matches(|c: char| !c.is_ascii_alphanumeric())))
        .collect();
    // By the environment, from the pod itself; the rest is clap's.
    let elsewhere =
        ["--lease-namespace", "--identity", "--service-account", "--help", "--version"].map(str::to_owned);
    let expected: BTreeSet<_> = known.into_iter().filter(|flag| !elsewhere.contains(flag)).collect();
    assert_eq!(told, expected);
    Ok(())
}

#[test]
fn what_is_set_arrives() -> Result<()> {
    let rendered = render(&["--values", &values("everything")])?;
    let expected = [
        "--agent-image=registry.test:5000/video/agent:v9@sha256:fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210",
        "--agent-image-pull-policy=Never",
        "--agent-image-pull-secrets=registry-test",
        "--agent-image-pull-secrets=other",
        "--agent-env=AWS_ENDPOINT_URL=https://kvs.test:8443/?a=1,2",
        "--agent-env=NUMBER=17",
        "--agent-seccomp-profile=kvs-ingest/agent.json",
        "--agent-env=HTTPS_PROXY=http://proxy.test:3128",
        "--agent-env=NO_PROXY=.test,10.0.0.0/8",
        "--agent-proxy-secret=proxy",
        "--agent-ca-bundle=roots/bundle.pem",
        "--agent-listen=0.0.0.0",
        "--cluster=garage: east",
        "--namespaces=cameras",
        "--selector=site in (east, west),kind!=door",
        "--allowed-names=${namespace}-*",
        "--allowed-names=shared.*",
        "--allowed-images=registry.test:5000/video/*",
        "--allowed-external-ids=kvs-ingest-of-*",
        "--listen=0.0.0.0:8080",
        "--concurrency=64",
        "--rollouts-per-minute=7.5",
        "--aws-resync-hours=0.5",
        "--regions=eu-central-1,eu-new-9",
        "--aws-quota-share=0.25",
        "--lease-name=east",
        "--log-format=text",
        "--log-level=info,kvs_ingest_operator=debug",
        "--otlp-endpoint=http://collector.monitoring:4318",
    ];
    assert_eq!(rendered.arguments()?, expected);
    let deployment = rendered.one("Deployment")?;
    assert_eq!(deployment["spec"]["replicas"], 3);
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(container["image"], "registry.test:5000/video/operator:v9");
    assert_eq!(container["imagePullPolicy"], "Always");
    assert_eq!(container["envFrom"], json!([{"secretRef": {"name": "aws"}}]));
    let env = |name: &str| {
        container["env"]
            .as_array()
            .unwrap()
            .iter()
            .find(|env| env["name"] == name)
            .cloned()
            .unwrap_or_default()
    };
    for name in ["POD_NAME", "POD_NAMESPACE", "POD_SERVICE_ACCOUNT", "AWS_ENDPOINT_URL", "SSL_CERT_DIR"] {
        assert!(env(name).is_object(), "{name}");
    }
    assert_eq!(env("HTTPS_PROXY")["value"], "http://proxy.test:3128");
    assert_eq!(env("NO_PROXY")["value"], ".test,10.0.0.0/8");
    let secret = json!({"secretKeyRef": {"name": "proxy", "key": "HTTP_PROXY", "optional": true}});
    assert_eq!(env("HTTP_PROXY")["valueFrom"], secret);
    let file = env("AWS_CA_BUNDLE")["value"].as_str().unwrap().to_owned();
    let roots = json!({"name": "kvs-ingest-ca", "mountPath": "/etc/kvs-ingest/ca", "readOnly": true});
    assert_eq!(container["volumeMounts"], json!([roots, {"name": "ca", "mountPath": "/etc/ca"}]));
    let items = json!([{"key": "bundle.pem", "path": "ca.crt"}]);
    assert_eq!(pod["volumes"][0]["configMap"], json!({"name": "roots", "items": items}));
    assert_eq!(file, "/etc/kvs-ingest/ca/ca.crt");
    assert_eq!(pod["volumes"][1], json!({"name": "ca", "configMap": {"name": "ca"}}));
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "registry-test"}]));
    assert_eq!(pod["terminationGracePeriodSeconds"], 60);
    assert_eq!(pod["priorityClassName"], "system-cluster-critical");
    assert_eq!(pod["nodeSelector"], json!({"kubernetes.io/os": "linux"}));
    assert_eq!(pod["tolerations"], json!([{"key": "video", "operator": "Exists"}]));
    assert!(pod["affinity"]["nodeAffinity"].is_object());
    let role = "arn:aws:iam::123456789012:role/kvs-ingest-operator";
    let account = rendered.one("ServiceAccount")?;
    assert_eq!(account["metadata"]["annotations"], json!({"eks.amazonaws.com/role-arn": role}));
    assert_eq!(rendered.one("PodDisruptionBudget")?["spec"]["maxUnavailable"], "50%");
    Ok(())
}

#[test]
fn images_are_named_by_registry_tag_and_digest() -> Result<()> {
    let digest = format!("sha256:{}", "0".repeat(64));
    let version = env!("CARGO_PKG_VERSION");
    let table = [
        ("", "", "", format!("kvs-ingest-operator:{version}")),
        ("", "v1", "", "kvs-ingest-operator:v1".to_owned()),
        ("r.test", "v1", "", "r.test/kvs-ingest-operator:v1".to_owned()),
        ("r.test:5000/a/", "", digest.as_str(), format!("r.test:5000/a/kvs-ingest-operator@{digest}")),
        ("r.test", "v1", digest.as_str(), format!("r.test/kvs-ingest-operator:v1@{digest}")),
    ];
    for (registry, tag, digest, expected) in table {
        let set = format!("imageRegistry={registry},image.tag={tag},image.digest={digest}");
        let rendered = render(&["--set", &set])?;
        assert_eq!(rendered.container()?["image"], expected, "{set}");
        // A digest is of one image.
        let agent = &rendered.arguments()?[0];
        assert!(agent.ends_with(&format!("kvs-ingest-agent:{version}")), "{agent}");
        assert!(agent.starts_with(&format!("--agent-image={}", registry.trim_end_matches('/'))), "{agent}");
    }
    Ok(())
}

/// What a workflow publishes names its images by digest, and who names another tag gets that one.
#[test]
fn a_published_chart_names_its_own_images_by_digest() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join("kvs-ingest");
    run(Command::new("cp").arg("-r").arg(chart()).arg(&copy))?;
    let digest = |of: char| format!("sha256:{}", String::from(of).repeat(64));
    let manifest = copy.join("Chart.yaml");
    let mut text = std::fs::read_to_string(&manifest)?;
    assert!(text.contains("\nannotations:\n"), "{text}");
    for (name, of) in [("kvs-ingest-operator", 'a'), ("kvs-ingest-agent", 'b')] {
        let line = format!("\nannotations:\n  kvs-ingest.dev/digest.{name}: {}\n", digest(of));
        text = text.replacen("\nannotations:\n", &line, 1);
    }
    std::fs::write(&manifest, text)?;
    let images = |set: &str| -> Result<(String, String)> {
        let path = copy.display().to_string();
        let text = run(&mut helm(&["template", "kvs-ingest", &path, "--set", set])?)?;
        let rendered = helm::Rendered(documents(&text)?);
        let agent = rendered.arguments()?[0].trim_start_matches("--agent-image=").to_owned();
        Ok((rendered.container()?["image"].as_str().unwrap().to_owned(), agent))
    };
    let version = env!("CARGO_PKG_VERSION");
    let (operator, agent) = images("imageRegistry=r.test")?;
    assert_eq!(operator, format!("r.test/kvs-ingest-operator:{version}@{}", digest('a')));
    assert_eq!(agent, format!("r.test/kvs-ingest-agent:{version}@{}", digest('b')));
    assert_eq!(
        images("image.tag=mine,agent.image.repository=mine")?,
        ("kvs-ingest-operator:mine".to_owned(), format!("mine:{version}"),)
    );
    assert_eq!(
        images(&format!("image.digest={}", digest('c')))?.0,
        format!("kvs-ingest-operator@{}", digest('c'))
    );
    Ok(())
}

#[test]
fn ids_are_left_to_openshift() -> Result<()> {
    let ids = |arguments: &[&str]| -> Result<(bool, bool)> {
        let rendered = render(arguments)?;
        let context = &rendered.one("Deployment")?["spec"]["template"]["spec"]["securityContext"];
        assert_eq!(context["runAsNonRoot"], true);
        let own = ["runAsUser", "runAsGroup", "fsGroup"].map(|id| context[id].is_number());
        assert!(own.iter().all(|there| *there == own[0]), "{context}");
        Ok((own[0], rendered.arguments()?.contains(&"--agent-assigned-ids".to_owned())))
    };
    assert_eq!(ids(&[])?, (true, false));
    let openshift = ["--api-versions", "security.openshift.io/v1"];
    assert_eq!(ids(&openshift)?, (false, true));
    assert_eq!(ids(&[&openshift[..], &["--set", "assignedIds=false"]].concat())?, (true, false));
    assert_eq!(ids(&["--set", "assignedIds=true"])?, (false, true));
    Ok(())
}

#[test]
fn pods_are_spread_and_selected_by_labels_of_their_own() -> Result<()> {
    for (name, rendered) in all()? {
        let deployment = rendered.one("Deployment")?;
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        let mut selectors = vec![&deployment["spec"]["selector"]];
        selectors
            .extend(rendered.all("PodDisruptionBudget").iter().map(|budget| &budget["spec"]["selector"]));
        let spread = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"].as_array();
        selectors.extend(spread.into_iter().flatten().map(|constraint| &constraint["labelSelector"]));
        for selector in selectors {
            assert!(selects(selector, labels), "{name}: {selector}");
            assert!(!selects(selector, &agent()?["metadata"]["labels"]), "{name}: {selector}");
        }
    }
    let (one, other) = (render_as("kvs-one", &[])?, render_as("kvs-two", &[])?);
    let labels = &other.one("Deployment")?["spec"]["template"]["metadata"]["labels"];
    assert!(!selects(&one.one("Deployment")?["spec"]["selector"], labels));
    Ok(())
}

#[test]
fn a_budget_for_disruptions_is_for_two_and_more() -> Result<()> {
    assert_eq!(render(&[])?.one("Deployment")?["spec"]["replicas"], 2);
    assert_eq!(render(&[])?.one("PodDisruptionBudget")?["spec"]["maxUnavailable"], 1);
    // One that may be unavailable, of one, is no budget.
    for set in ["replicaCount=1", "podDisruptionBudget.enabled=false"] {
        assert!(render(&["--set", set])?.all("PodDisruptionBudget").is_empty(), "{set}");
    }
    Ok(())
}

// What comes with it.

#[test]
fn monitors_are_off_and_find_what_they_are_for() -> Result<()> {
    let plain = render(&[])?;
    assert!(plain.all("ServiceMonitor").is_empty() && plain.all("PodMonitor").is_empty());

    let rendered = render(&["--values", &values("everything")])?;
    let service = rendered.one("Service")?;
    let monitor = rendered.one("ServiceMonitor")?;
    assert!(selects(&monitor["spec"]["selector"], &service["metadata"]["labels"]));
    let endpoint = &monitor["spec"]["endpoints"][0];
    assert_eq!(endpoint["port"], service["spec"]["ports"][0]["name"]);
    assert_eq!((&endpoint["interval"], &endpoint["scrapeTimeout"]), (&json!("30s"), &json!("10s")));
    let pod = &rendered.one("Deployment")?["spec"]["template"];
    assert!(selects(&json!({"matchLabels": service["spec"]["selector"]}), &pod["metadata"]["labels"]));
    assert_eq!(service["spec"]["ports"][0]["targetPort"], pod["spec"]["containers"][0]["ports"][0]["name"]);

    let agent = agent()?;
    let monitor = rendered.one("PodMonitor")?;
    assert!(selects(&monitor["spec"]["selector"], &agent["metadata"]["labels"]));
    let port = &agent["spec"]["containers"][0]["ports"][0]["name"];
    assert_eq!(&monitor["spec"]["podMetricsEndpoints"][0]["port"], port);
    for label in monitor["spec"]["podTargetLabels"].as_array().unwrap() {
        assert!(agent["metadata"]["labels"][label.as_str().unwrap()].is_string(), "{label}");
    }
    assert_eq!(monitor["spec"]["namespaceSelector"], json!({"matchNames": ["cameras"]}));
    let everywhere = render(&["--set", "metrics.podMonitor.enabled=true"])?;
    assert_eq!(everywhere.one("PodMonitor")?["spec"]["namespaceSelector"], json!({"any": true}));
    Ok(())
}

#[test]
fn network_policies_are_off_and_let_the_operator_ask_its_agents() -> Result<()> {
    assert!(render(&[])?.all("NetworkPolicy").is_empty());
    let rendered = render(&["--values", &values("namespaced")])?;
    let operator = rendered.named("NetworkPolicy", "kvs-ingest-operator")?;
    let template = &rendered.one("Deployment")?["spec"]["template"];
    let agent = agent()?;
    assert!(selects(&operator["spec"]["podSelector"], &template["metadata"]["labels"]));
    assert_eq!(operator["spec"]["policyTypes"], json!(["Ingress", "Egress"]));

    let port = &agent["spec"]["containers"][0]["ports"][0]["containerPort"];
    let to_agents = operator["spec"]["egress"].as_array().unwrap().iter().find(|rule| {
        rule["to"][0]["podSelector"].is_object()
            && selects(&rule["to"][0]["podSelector"], &agent["metadata"]["labels"])
    });
    assert_eq!(to_agents.unwrap()["ports"], json!([{"protocol": "TCP", "port": port}]));

    for (collector, port) in
        [("http://c.monitoring:4318/x", 4318), ("https://c.test", 443), ("http://c.test", 80)]
    {
        let set = format!("tracing.otlpEndpoint={collector}");
        let rendered = render(&["--set=networkPolicy.enabled=true", "--set", &set])?;
        let rules = rendered.named("NetworkPolicy", "kvs-ingest-operator")?["spec"]["egress"].clone();
        let rule = json!({"ports": [{"protocol": "TCP", "port": port}]});
        assert!(rules.as_array().unwrap().contains(&rule), "{collector}: {rules:#}");
    }

    let mut places = Vec::new();
    for policy in rendered.all("NetworkPolicy") {
        if policy["metadata"]["name"] != "kvs-ingest-agents" {
            continue;
        }
        places.push(policy["metadata"]["namespace"].as_str().unwrap());
        assert!(selects(&policy["spec"]["podSelector"], &agent["metadata"]["labels"]));
        let ingress = &policy["spec"]["ingress"][0];
        assert_eq!(ingress["ports"], json!([{"protocol": "TCP", "port": port}]));
        assert!(selects(&ingress["from"][0]["podSelector"], &template["metadata"]["labels"]));
        let namespace = json!({"kubernetes.io/metadata.name": "kvs-ingest"});
        assert_eq!(ingress["from"][0]["namespaceSelector"]["matchLabels"], namespace);
    }
    assert_eq!(places, ["cameras", "doors"]);
    Ok(())
}

/// The agents' policy: which ports of UDP come in and go out, and to which networks.
#[test]
fn what_agents_send_and_get_can_be_narrowed() -> Result<()> {
    let policy = |set: &str| -> Result<Value> {
        let set =
            format!("networkPolicy.agents.enabled=true,networkPolicy.agents.namespaces={{cameras}}{set}");
        Ok(render(&["--set", &set])?.named("NetworkPolicy", "kvs-ingest-agents")?["spec"].clone())
    };
    let udp = |rules: &Value| -> Vec<Value> {
        let rules = rules.as_array().unwrap().iter();
        rules
            .filter(|rule| rule["ports"][0]["protocol"] == "UDP" && rule["ports"][0]["port"] != 53)
            .cloned()
            .collect()
    };
    // Everything but the network of the node itself, whose metadata are the role of the node.
    let plain = policy("")?;
    let networks = |rule: &Value, of: &str| -> Vec<String> {
        let blocks = rule[of].as_array().into_iter().flatten();
        blocks
            .flat_map(|peer| peer["ipBlock"]["except"].as_array().unwrap().clone())
            .map(|cidr| cidr.as_str().unwrap().to_owned())
            .collect()
    };
    for (rules, of) in [(udp(&plain["egress"]), "to"), (udp(&plain["ingress"]), "from")] {
        assert_eq!(rules.len(), 1, "{plain:#}");
        assert_eq!(networks(&rules[0], of), ["169.254.0.0/16", "fe80::/10", "fd00:ec2::/32"]);
    }
    let text = plain.to_string();
    assert!(text.contains("169.254.170.23/32") && !text.contains("169.254.169.254"), "{plain:#}");
    assert!(policy(",networkPolicy.agents.imds=true")?.to_string().contains("169.254.169.254/32"));
    // By TURN servers alone.
    let relayed = policy(",networkPolicy.agents.relayOnly=true")?;
    assert!(udp(&relayed["ingress"]).is_empty(), "{relayed:#}");
    assert_eq!(udp(&relayed["egress"])[0]["ports"], json!([{"protocol": "UDP", "port": 443}]));
    // Where RTMP goes beside 443.
    let tcp = |policy: &Value, port: u16| {
        policy["egress"].to_string().contains(&format!(r#"{{"port":{port},"protocol":"TCP"}}"#))
    };
    assert!(!tcp(&plain, 1935), "{plain:#}");
    assert!(tcp(&policy(",networkPolicy.agents.outputPorts={1935}")?, 1935));
    // No network is left out: no peers at all, which is everywhere for every plugin.
    let open = policy(",networkPolicy.agents.except=null")?;
    assert_eq!(udp(&open["egress"]), [json!({"ports": [{"protocol": "UDP"}]})]);
    let vpc = policy(",networkPolicy.agents.except={10.0.0.0/8}")?;
    let rule = &udp(&vpc["egress"])[0];
    assert_eq!(networks(rule, "to"), ["10.0.0.0/8"]);
    assert_eq!(rule["to"][1]["ipBlock"]["cidr"], "::/0");
    // The way to the proxy.
    let proxied = policy(",proxy.https=http://proxy.test:3128")?;
    let rule = json!({"ports": [{"protocol": "TCP", "port": 3128}]});
    assert!(proxied["egress"].as_array().unwrap().contains(&rule), "{proxied:#}");
    Ok(())
}

#[test]
fn alerts_and_dashboard_come_when_asked_for() -> Result<()> {
    assert!(render(&[])?.all("PrometheusRule").is_empty() && render(&[])?.all("ConfigMap").is_empty());
    let rendered = render(&["--values", &values("everything")])?;
    let rule = rendered.one("PrometheusRule")?;
    assert_eq!(rule["metadata"]["labels"]["release"], "prometheus");
    // Those of the file, with the job that the ServiceMonitor of this release makes.
    let service = rendered.one("Service")?["metadata"]["name"].as_str().unwrap();
    let text = std::fs::read_to_string(chart().join("files/monitoring/alerts.yaml"))?;
    let text = text.replace("kvs-ingest-operator-metrics", service);
    assert!(
        text.contains(&format!("job=\"{service}\"")) && service.starts_with("kvs-ingest-other"),
        "{service}"
    );
    assert_eq!(rule["spec"], documents(&text)?[0]);
    let dashboard = rendered.one("ConfigMap")?;
    assert_eq!(dashboard["metadata"]["labels"]["grafana_dashboard"], "yes");
    assert_eq!(dashboard["metadata"]["annotations"], json!({"grafana_folder": "video"}));
    let original: Value =
        serde_json::from_slice(&std::fs::read(chart().join("files/monitoring/dashboard.json"))?)?;
    let shipped: Value = serde_json::from_str(dashboard["data"]["kvs-ingest.json"].as_str().unwrap())?;
    assert_eq!(shipped, original);
    Ok(())
}

/// Where two documents differ first. Helm writes 5 for 5.0.
fn difference(path: &str, one: &Value, other: &Value) -> Option<String> {
    match (one, other) {
        (Value::Object(a), Value::Object(b)) if a.len() == b.len() => a.iter().find_map(|(key, value)| {
            difference(&format!("{path}/{key}"), value, b.get(key).unwrap_or(&Value::Null))
        }),
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(i, (a, b))| difference(&format!("{path}/{i}"), a, b))
        }
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => None,
        (one, other) if one == other => None,
        (one, other) => Some(format!("{path}: {one} and {other}")),
    }
}

#[test]
fn the_definitions_are_those_of_crds_and_stay() -> Result<()> {
    let rendered = render(&[])?;
    assert_eq!(rendered.all("CustomResourceDefinition").len(), 2);
    for kind in ["kvsingests", "kvsingestpolicies"] {
        let original = file(&format!("crds/kvs-ingest.dev_{kind}.yaml"))?.remove(0);
        let name = format!("{kind}.kvs-ingest.dev");
        let mut found = rendered.named("CustomResourceDefinition", &name)?.clone();
        let keep = json!({"helm.sh/resource-policy": "keep"});
        assert_eq!(found["metadata"]["annotations"], keep);
        found["metadata"].as_object_mut().unwrap().remove("annotations");
        for (label, value) in original["metadata"]["labels"].as_object().unwrap() {
            assert_eq!(&found["metadata"]["labels"][label], value);
        }
        found["metadata"]["labels"] = original["metadata"]["labels"].clone();
        assert_eq!(difference("", &found, &original), None);

        let goes = render(&["--set", "crds.keep=false"])?;
        assert_eq!(goes.named("CustomResourceDefinition", &name)?["metadata"]["annotations"], Value::Null);
    }
    assert!(render(&["--set", "crds.install=false"])?.all("CustomResourceDefinition").is_empty());
    Ok(())
}

#[test]
fn admission_policies_are_those_of_a_release_for_the_whole_cluster() -> Result<()> {
    let names = |arguments: &[&str]| -> Result<Vec<String>> {
        let rendered = render(arguments)?;
        let bound: Vec<_> = rendered
            .all("ValidatingAdmissionPolicyBinding")
            .iter()
            .map(|it| it["spec"]["policyName"].clone())
            .collect();
        let policies = rendered.all("ValidatingAdmissionPolicy");
        assert_eq!(policies.iter().map(|it| it["metadata"]["name"].clone()).collect::<Vec<_>>(), bound);
        Ok(policies.iter().map(|it| it["metadata"]["name"].as_str().unwrap().to_owned()).collect())
    };
    assert_eq!(names(&[])?, ["kvs-ingest-release", "kvs-ingest-policies"]);
    // It would speak of the objects of other releases, too.
    assert_eq!(names(&["--set", "watch.selector=a=b"])?, ["kvs-ingest-policies"]);
    for none in ["watch.namespaces={cameras}", "tenancy.admission=false"] {
        assert!(names(&["--set", none])?.is_empty(), "{none}");
    }
    Ok(())
}

#[test]
fn every_object_has_its_place_its_name_and_its_labels() -> Result<()> {
    let cluster = [
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    ];
    let long = format!("a{}", "-b".repeat(26));
    let mut releases = all()?;
    releases.push(("a long name".to_owned(), render_as(&long, &["--values", &values("namespaced")])?));
    for (release, rendered) in releases {
        let mut seen = BTreeSet::new();
        for object in &rendered.0 {
            let (kind, metadata) = (object["kind"].as_str().unwrap(), &object["metadata"]);
            let name = metadata["name"].as_str().unwrap();
            assert!(name.len() <= 63, "{release}: {name}");
            assert_eq!(metadata["namespace"].is_null(), cluster.contains(&kind), "{release}: {kind} {name}");
            assert_eq!(
                metadata["labels"]["app.kubernetes.io/managed-by"], "Helm",
                "{release}: {kind} {name}"
            );
            assert!(
                seen.insert((kind, metadata["namespace"].to_string(), name)),
                "{release}: {kind} {name} twice"
            );
        }
    }
    let ours = render(&["--values", &values("everything")])?;
    assert_eq!(ours.one("Service")?["metadata"]["labels"]["team"], "video");
    assert_eq!(ours.one("Service")?["metadata"]["labels"]["app.kubernetes.io/name"], "kvs-ingest-operator");
    Ok(())
}

// Values.

#[test]
fn bad_values_are_refused_by_name() -> Result<()> {
    let table = [
        ("replicaCount=two", "at '/replicaCount': got string, want integer"),
        ("replicas=2", "additional properties 'replicas' not allowed"),
        ("image.tagg=v1", "at '/image': additional properties 'tagg' not allowed"),
        ("image.digest=sha256:1", "at '/image/digest': "),
        (
            "image.pullPolicy=Sometimes",
            "at '/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'",
        ),
        ("imageRegistry=https://r.test", "at '/imageRegistry': "),
        ("imagePullSecrets={secret}", "at '/imagePullSecrets/0': got string, want object"),
        ("agent.env.PORT=1", "at '/agent/env/PORT': got number, want string"),
        ("clusterName=", "at '/clusterName': "),
        ("watch.namespaces={Cameras}", "at '/watch/namespaces/0': 'Cameras' does not match pattern"),
        ("watch.namespaces=cameras", "at '/watch/namespaces': got string, want array"),
        ("tenancy.names={a|b}", "at '/tenancy/names/0': 'a|b' does not match pattern"),
        ("tenancy.images=x", "at '/tenancy/images': got string, want array"),
        ("concurrency=0", "at '/concurrency': minimum: got 0, want 1"),
        ("concurrency=257", "at '/concurrency': maximum: got 257, want 256"),
        ("rolloutsPerMinute=0", "at '/rolloutsPerMinute': exclusiveMinimum: got 0, want 0"),
        ("aws.quotaShare=-1", "at '/aws/quotaShare': "),
        ("aws.quotaShare=2000", "at '/aws/quotaShare': maximum: got 2"),
        ("log.level=inf", "at '/log/level': 'inf' does not match pattern"),
        ("log.level=", "at '/log/level': "),
        ("resources.limits.memory=foo", "at '/resources/limits/memory': 'foo' does not match pattern"),
        ("resources.requests.memory=128MB", "at '/resources/requests/memory': "),
        ("resources.requests.cpu=-1", "at '/resources/requests/cpu': minimum: got -1, want 0"),
        ("proxy.https=proxy.test:3128", "at '/proxy/https': "),
        ("proxy.https=http://me:hunter2@proxy.test:3128", "proxy.https holds a password"),
        ("proxy.https=http://a:1,agent.env.HTTPS_PROXY=b", "agent.env.HTTPS_PROXY and proxy are both set"),
        ("caBundle.key=a/b", "at '/caBundle/key': "),
        ("assignedIds=yes", "at '/assignedIds': "),
        ("listenAddress=127.0.0.1", "at '/listenAddress': "),
        ("networkPolicy.agents.except={10.0.0.0}", "at '/networkPolicy/agents/except/0': "),
        ("log.format=xml", "at '/log/format': value must be one of 'json', 'text'"),
        ("tracing.otlpEndpoint=collector:4318", "at '/tracing/otlpEndpoint': "),
        ("crds.keep=maybe", "at '/crds/keep': got string, want boolean"),
        ("podDisruptionBudget.maxUnavailable=0", "at '/podDisruptionBudget/maxUnavailable': "),
        ("listenAddress=localhost", "at '/listenAddress': "),
        ("extraEnv[0].value=x", "at '/extraEnv/0': missing property 'name'"),
        ("metrics.serviceMonitor.interval=30", "at '/metrics/serviceMonitor/interval': "),
        ("networkPolicy.apiServerPorts={0}", "at '/networkPolicy/apiServerPorts/0': minimum: got 0, want 1"),
        (
            "metrics.service.enabled=false,metrics.serviceMonitor.enabled=true",
            "metrics.serviceMonitor.enabled needs metrics.service.enabled",
        ),
        ("networkPolicy.agents.enabled=true", "networkPolicy.agents.namespaces is empty"),
    ];
    for (set, expected) in table {
        let error = render(&["--set", set]).err().with_context(|| format!("{set} is taken"))?.to_string();
        assert!(error.contains(expected), "{set}: {error}");
    }
    // That message may be in a log.
    let password = ["--set", "proxy.http=http://me:hunter2@proxy.test:3128"];
    let error = run(helm(&["template", "x", &chart().display().to_string()])?.args(password))
        .unwrap_err()
        .to_string();
    let told = error.split_once("error").context("no error")?.1;
    assert!(told.contains("proxy.http holds a password") && !told.contains("hunter2"), "{told}");
    Ok(())
}

/// The paths of all values; what is a map of the user's has none below it.
fn leaves(path: &str, value: &Value, into: &mut BTreeSet<String>) {
    match value.as_object() {
        Some(map) if !map.is_empty() => {
            for (key, value) in map {
                leaves(&format!("{path}/{key}"), value, into);
            }
        }
        _ => {
            into.insert(path.to_owned());
        }
    }
}

/// The paths of all properties of a schema.
fn properties(path: &str, schema: &Value, root: &Value, into: &mut BTreeSet<String>) {
    let schema = match schema["$ref"].as_str() {
        Some(name) => &root["definitions"][name.rsplit('/').next().unwrap()],
        None => schema,
    };
    match schema["properties"].as_object() {
        Some(map) => {
            for (key, value) in map {
                properties(&format!("{path}/{key}"), value, root, into);
            }
        }
        None => {
            into.insert(path.to_owned());
        }
    }
}

#[test]
fn the_schema_knows_the_values_that_there_are_and_no_others() -> Result<()> {
    let defaults = file("charts/kvs-ingest/values.yaml")?.remove(0);
    let schema: Value = serde_json::from_slice(&std::fs::read(chart().join("values.schema.json"))?)?;
    let (mut have, mut known) = (BTreeSet::new(), BTreeSet::new());
    leaves("", &defaults, &mut have);
    properties("", &schema, &schema, &mut known);
    // Kubernetes' own types and maps of the user, with a default.
    let typed = ["/podSecurityContext", "/securityContext", "/resources", "/metrics/dashboard/labels"];
    let shorten = |paths: BTreeSet<String>| -> BTreeSet<String> {
        paths
            .into_iter()
            .map(|path| {
                typed.iter().find(|typed| path.starts_with(*typed)).map_or(path.clone(), |t| (*t).to_owned())
            })
            .collect()
    };
    // Helm gives it to every chart that is a part of another.
    known.remove("/global");
    assert_eq!(shorten(have), shorten(known));
    Ok(())
}

#[test]
fn the_version_is_the_workspaces_and_old_clusters_are_told() -> Result<()> {
    let chart = file("charts/kvs-ingest/Chart.yaml")?.remove(0);
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    let error = render(&["--kube-version", "1.30.9"]).err().context("1.30 is taken")?.to_string();
    assert!(error.contains("kubeVersion: >=1.31.0-0"), "{error}");
    // As EKS writes it.
    render(&["--kube-version", "v1.31.13-eks-113cf36"])?;
    Ok(())
}

#[test]
fn the_package_has_what_it_needs_and_no_tests() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().display().to_string();
    run(&mut helm(&["package", &chart().display().to_string(), "--destination", &path])?)?;
    let package = folder.path().join(format!("kvs-ingest-{}.tgz", env!("CARGO_PKG_VERSION")));
    let list = run(Command::new("tar").arg("-tzf").arg(&package))?;
    for kind in ["kvsingests", "kvsingestpolicies"] {
        let path = format!("kvs-ingest/files/crds/kvs-ingest.dev_{kind}.yaml");
        assert!(list.lines().any(|file| file == path), "{list}");
    }
    assert!(!list.contains("/ci/"), "{list}");
    let packaged = run(&mut helm(&["template", "kvs-ingest", &package.display().to_string()])?)?;
    let rendered = helm::Rendered(documents(&packaged)?);
    assert_eq!(rendered.0.len(), render(&[])?.0.len());
    Ok(())
}

// The chart of kvs-local.

fn render_local(arguments: &[&str]) -> Result<Vec<Value>> {
    let folder = root().join("charts/kvs-local");
    documents(&run(helm(&["template", "kvs", "--namespace", "cameras"])?.arg(folder).args(arguments))?)
}

fn local_values(name: &str) -> String {
    root().join(format!("charts/kvs-local/ci/{name}-values.yaml")).display().to_string()
}

/// Each argument that it renders is an option of the program, and what it needs of a pod is what a restricted namespace allows.
#[test]
fn kvs_local_is_started_with_options_that_it_has() -> Result<()> {
    let options = run(Command::new(binary("kvs-local")?).arg("--help"))?;
    for arguments in [
        vec![],
        vec!["--values".to_owned(), local_values("everything")],
        vec!["--values".to_owned(), local_values("pod-address")],
    ] {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let objects = render_local(&arguments)?;
        let pod = &of_kind(&objects, "Deployment")["spec"]["template"];
        let container = &pod["spec"]["containers"][0];
        for argument in container["args"].as_array().unwrap() {
            let name = argument.as_str().unwrap().split('=').next().unwrap();
            assert!(
                options.contains(&format!("{name} ")) || options.contains(&format!("{name}\n")),
                "{name}"
            );
        }
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}));
        assert_eq!(pod["spec"]["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["spec"]["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        assert_eq!(pod["spec"]["automountServiceAccountToken"], false);
        for object in &objects {
            if object["kind"] == "Service" {
                assert!(selects(
                    &json!({"matchLabels": object["spec"]["selector"]}),
                    &pod["metadata"]["labels"]
                ));
            }
        }
        assert!(selects(&of_kind(&objects, "Deployment")["spec"]["selector"], &pod["metadata"]["labels"]));
    }
    Ok(())
}

/// What would lead nowhere is refused, and says what to do.
#[test]
fn kvs_local_with_a_turn_service_is_told_where_it_is() -> Result<()> {
    let service = "turn.service.enabled=true";
    for (values, words) in [
        (format!("{service},turn.relayPorts=49160-49167"), "turn.service.externalAddress"),
        (format!("{service},turn.service.externalAddress=203.0.113.7"), "turn.relayPorts"),
        (
            format!("{service},turn.service.externalAddress=203.0.113.7,turn.relayPorts=49167-49160"),
            "no range of ports",
        ),
        ("turn.portt=3478".to_owned(), "portt"),
    ] {
        let error = format!("{:#}", render_local(&["--set", &values]).unwrap_err());
        assert!(error.contains(words), "{values}: {error}");
    }
    let objects = render_local(&["--values", &local_values("everything")])?;
    let args =
        of_kind(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"].to_string();
    assert!(
        args.contains("--turn-advertise=203.0.113.7") && args.contains("--turn-relay-ports=49160-49167"),
        "{args}"
    );
    let turn = objects.iter().find(|object| object["metadata"]["name"] == "kvs-kvs-local-turn").unwrap();
    let ports = turn["spec"]["ports"].as_array().unwrap();
    assert_eq!(ports.iter().filter(|port| port["protocol"] == "UDP").count(), 9);
    assert!(objects.iter().all(|object| object["kind"] != "Secret"), "an existing Secret is taken as it is");
    Ok(())
}
