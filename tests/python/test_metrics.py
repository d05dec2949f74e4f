"""The metrics that pages, alerts and the dashboard name exist, and the alerts fire when they should."""

import json
import os
import re
import subprocess
import unittest

import yaml

from repository import ROOT, read

NAME = r"\b(?:kvs_ingest|kvsingest|controller_runtime|leader_election)_[a-z_]*[a-z]\b"
# A label that Prometheus makes of a label of the pod.
NOT_METRICS = {"kvs_ingest_dev_ingest"}


SUFFIXES = {"Counter": ["_total"], "Gauge": [""], "Histogram": ["", "_bucket", "_sum", "_count"]}


def exported():
    """Names as Prometheus sees them."""
    kinds = {}
    operator = read("operator/src/metrics.rs").replace("{c}", "controller_runtime_")
    fields = dict(re.findall(r"^    (\w+): .*?(Counter|Gauge|Histogram)\b", operator, re.M))
    for name, value in re.findall(r'\.register\(\s*(?:format!\()?"([a-z_]+)".*?([a-z_]+)(?:\.clone\(\))?,?\s*\);', operator, re.S):
        kinds[name] = fields.get(value, "Gauge")
    events = read("agent/src/events.rs")
    for name in re.findall(r'\.register\(\s*"([a-z_]+)"', events):
        kinds[f"kvs_ingest_{name}"] = "Counter"
    for name in re.findall(r'\.register_with_unit\(\s*"([a-z_]+)",\s*"[^"]*",\s*Unit::Seconds', events):
        kinds[f"kvs_ingest_{name}_seconds"] = "Histogram"
    agent = read("agent/src/http/metrics.rs")
    for call, name in re.findall(r'\b(register|count)\(\s*"([a-z_]+)"', agent):
        kinds[f"kvs_ingest_{name}"] = "Counter" if call == "count" else "Gauge"
    for name, field in re.findall(r'\.register\("([a-z_]+)", \w+, ([a-z_]+)\.clone\(\)\)', agent):
        if re.search(rf"^    {field}: .*\bCounter\b", agent, re.M):
            kinds[f"kvs_ingest_{name}"] = "Counter"
    output = read("agent/src/outputs/kvssink/figures.rs")
    for name in re.findall(r'\bwrite\(\s*"([a-z_]+)"', output):
        kinds[f"kvs_ingest_{name}"] = "Gauge"
    # Counters by name, help and figure.
    for name in re.findall(r'\(\s*"([a-z_]+)",\s*"[^"]*",\s*self\.', output):
        kinds[f"kvs_ingest_{name}"] = "Counter"
    rtmp = read("agent/src/outputs/rtmp/metrics.rs")
    fields = {name: kind for name, kind in re.findall(r"^        let (\w+) = Family::<\w+, (Counter|Gauge)", rtmp, re.M)}
    for name, field in re.findall(r'\(\s*"([a-z_]+)",\s*"[^"]*",\s*&(?:self\.)?(\w+)', rtmp):
        kinds[f"kvs_ingest_output_{name}"] = fields.get(field, "Histogram")
    return {name + suffix for name, kind in kinds.items() for suffix in SUFFIXES[kind]}


MONITORING = "charts/kvs-ingest/files/monitoring"
RULES_TESTS = ROOT / "tests/monitoring/alerts.yaml"


def rules():
    groups = yaml.safe_load(read(f"{MONITORING}/alerts.yaml"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels():
    """Title, expressions and labels of each panel of the dashboard."""
    for panel in json.loads(read(f"{MONITORING}/dashboard.json"))["panels"]:
        if panel["type"] != "row":
            yield panel


def promtool(*arguments):
    tool = os.environ.get("KVS_INGEST_TEST_PROMTOOL")
    if not tool:
        raise AssertionError("KVS_INGEST_TEST_PROMTOOL is not set: run `cargo xtask test policies`")
    return subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True, check=False)


class Metrics(unittest.TestCase):
    def test_the_code_is_read(self):
        for name in "kvs_ingest_phase", "kvs_ingest_fragments_dropped_total", "controller_runtime_reconcile_total":
            self.assertIn(name, exported())

    def test_what_is_named_exists(self):
        pages = [path.relative_to(ROOT) for path in (ROOT / "docs").glob("*.md")]
        for page in [*pages, f"{MONITORING}/alerts.yaml", f"{MONITORING}/dashboard.json", RULES_TESTS.relative_to(ROOT)]:
            named = set(re.findall(NAME, read(page))) - NOT_METRICS
            self.assertEqual(named - exported(), set(), page)

    def test_a_rate_is_of_a_counter_and_nothing_else_is(self):
        expressions = [(rule["alert"], rule["expr"]) for rule in rules()]
        expressions += [(panel["title"], target["expr"]) for panel in panels() for target in panel["targets"]]
        for where, expression in expressions:
            rates = set(re.findall(r"(?:rate|increase)\(([a-z_]+)", expression))
            for name in re.findall(NAME, expression):
                if name not in NOT_METRICS:
                    self.assertEqual(name in rates, name.endswith(("_total", "_bucket")), where)

    def test_every_alert_is_explained_and_tried(self):
        tried = read("tests/monitoring/alerts.yaml")
        for rule in rules():
            self.assertTrue(f"`{rule['alert']}`" in read("docs/eks.md"), rule["alert"])
            self.assertIn(f"alertname: {rule['alert']}\n", tried)


class Alerts(unittest.TestCase):
    def test_prometheus_reads_them(self):
        checked = promtool("check", "rules", ROOT / MONITORING / "alerts.yaml")
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
        self.assertIn(f"SUCCESS: {len(rules())} rules found", checked.stdout)

    def test_they_fire_when_they_should_and_not_otherwise(self):
        tests = yaml.safe_load(RULES_TESTS.read_text())["tests"]
        expected = {rule["alert"]: set() for rule in rules()}
        for test in tests:
            for moment in test["alert_rule_test"]:
                expected[moment["alertname"]].add(bool(moment.get("exp_alerts")))
        for alert, outcomes in expected.items():
            self.assertEqual(outcomes, {True, False}, f"{alert}: one that fires, and one that does not")
        tried = promtool("test", "rules", RULES_TESTS)
        self.assertEqual(tried.returncode, 0, tried.stdout + tried.stderr)


class Dashboard(unittest.TestCase):
    def test_every_expression_is_promql(self):
        groups = {"groups": [{"name": "dashboard", "rules": []}]}
        for panel in panels():
            for target in panel["targets"]:
                # Grafana's variables, as it fills them in.
                expression = target["expr"].replace("$namespace", ".*").replace("$operator", "kvs-ingest-operator-metrics")
                self.assertNotIn("$", expression)
                record = f"panel:{panel['id']}:{target['refId']}"
                groups["groups"][0]["rules"].append({"record": record, "expr": expression})
        checked = subprocess.run(
            [os.environ["KVS_INGEST_TEST_PROMTOOL"], "check", "rules", "/dev/stdin"],
            input=json.dumps(groups), capture_output=True, text=True, check=False,
        )
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)

    def test_panels_do_not_cover_each_other(self):
        taken = {}
        for panel in panels():
            place = panel["gridPos"]
            self.assertLessEqual(place["x"] + place["w"], 24, panel["title"])
            for x in range(place["x"], place["x"] + place["w"]):
                for y in range(place["y"], place["y"] + place["h"]):
                    self.assertNotIn((x, y), taken, f"{panel['title']} on {taken.get((x, y))}")
                    taken[x, y] = panel["title"]
        ids = [panel["id"] for panel in panels()]
        self.assertEqual(len(ids), len(set(ids)))

    def test_every_panel_says_what_it_shows(self):
        for panel in panels():
            self.assertTrue(panel["title"] and panel["description"] and panel["targets"], panel["title"])
            for target in panel["targets"]:
                self.assertEqual(target["datasource"]["uid"], "${datasource}", panel["title"])


class KubeStateMetrics(unittest.TestCase):
    """What it is told to read is in the definition."""

    def setUp(self):
        values = yaml.safe_load(read("deploy/monitoring/kube-state-metrics.yaml"))
        self.rules = values["rbac"]["extraRules"]
        (self.resource,) = values["customResourceState"]["config"]["spec"]["resources"]
        self.definition = yaml.safe_load(read("crds/kvs-ingest.dev_kvsingests.yaml"))["spec"]

    def at(self, path, schema=None):
        if schema is None:
            (version,) = self.definition["versions"]
            if path[0] == "metadata":
                self.assertIn(path[1], {"name", "namespace", "creationTimestamp"})
                return {}
            schema = version["schema"]["openAPIV3Schema"]
        for step in path:
            schema = schema["properties"][step]
        return schema

    def test_it_reads_the_version_that_there_is(self):
        kind = {"group": self.definition["group"], "kind": self.definition["names"]["kind"]}
        kind["version"] = self.definition["versions"][0]["name"]
        self.assertEqual(self.resource["groupVersionKind"], kind)
        named = [resource for rule in self.rules for resource in rule["resources"]]
        self.assertIn(self.definition["names"]["plural"], named)

    def test_every_path_leads_somewhere(self):
        for path in self.resource["labelsFromPath"].values():
            self.at(path)
        names = set()
        for metric in self.resource["metrics"]:
            names.add(metric["name"])
            (what,) = set(metric["each"]) - {"type"}
            self.assertEqual(metric["each"]["type"].lower(), what)
            each = metric["each"][what]
            schema = self.at(each["path"]) if "path" in each else None
            if schema is not None and schema.get("type") == "array":
                schema = schema["items"]
            for path in each.get("labelsFromPath", {}).values():
                self.at(path, schema)
            if "valueFrom" in each:
                self.at(each["valueFrom"], schema)
        self.assertEqual(len(names), len(self.resource["metrics"]))
