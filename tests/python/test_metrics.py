"""The metrics that pages and alerts name exist."""

import re
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
    for name in re.findall(r'\.register\(\s*"([a-z_]+)"', read("agent/src/events.rs")):
        kinds[f"kvs_ingest_{name}"] = "Counter"
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
    return {name + suffix for name, kind in kinds.items() for suffix in SUFFIXES[kind]}


class Metrics(unittest.TestCase):
    def test_the_code_is_read(self):
        for name in "kvs_ingest_phase", "kvs_ingest_fragments_dropped_total", "controller_runtime_reconcile_total":
            self.assertIn(name, exported())

    def test_pages_and_alerts_name_what_exists(self):
        pages = [path.relative_to(ROOT) for path in (ROOT / "docs").glob("*.md")]
        for page in [*pages, "examples/monitoring/rules.yaml"]:
            named = set(re.findall(NAME, read(page))) - NOT_METRICS
            self.assertEqual(named - exported(), set(), page)

    def test_a_rate_is_of_a_counter_and_nothing_else_is(self):
        groups = yaml.safe_load(read("examples/monitoring/rules.yaml"))["spec"]["groups"]
        for rule in (rule for group in groups for rule in group["rules"]):
            rates = set(re.findall(r"(?:rate|increase)\(([a-z_]+)", rule["expr"]))
            for name in re.findall(NAME, rule["expr"]):
                if name not in NOT_METRICS:
                    self.assertEqual(name in rates, name.endswith("_total"), rule["alert"])

    def test_every_alert_is_explained(self):
        groups = yaml.safe_load(read("examples/monitoring/rules.yaml"))["spec"]["groups"]
        for rule in (rule for group in groups for rule in group["rules"]):
            self.assertTrue(f"`{rule['alert']}`" in read("docs/eks.md"), rule["alert"])
