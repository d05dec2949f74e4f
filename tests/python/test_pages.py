"""The reasons that docs/eks.md explains are those that a user can see."""

import re
import unittest

from aws_calls import sources
from repository import read


def explained():
    """What the first column of the table of symptoms names."""
    table = read("docs/eks.md").split("## When something is wrong")[1]
    rows = re.findall(r"^\| (.*?) \|", table, re.M)
    return {word for row in rows for word in re.findall(r"`([A-Za-z]+)`", row)}


def summaries(reason):
    """How `Ready` may say a reason of the channel or the stream."""
    if reason.startswith(("Channel", "Stream", "Media", "Aws")):
        return {reason}
    return {reason, f"Channel{reason}", f"Stream{reason}"}


class Reasons(unittest.TestCase):
    def test_every_reason_that_is_explained_exists(self):
        code = sources("operator/src") + sources("agent/src")
        found = re.findall(r'"([A-Z][A-Za-z]+)"|\bReason::([A-Z][A-Za-z]+)', code)
        words = {summary for pair in found for summary in summaries(pair[0] or pair[1])}
        self.assertEqual(explained() - words, set())

    def test_every_reason_of_an_alert_exists(self):
        alerts = read("charts/kvs-ingest/files/monitoring/alerts.yaml")
        named = set()
        for reasons in re.findall(r'kvsingest_objects\{[^}]*reason!?=~"([A-Za-z|]+)"', alerts):
            named |= set(reasons.split("|"))
        self.assertGreater(len(named), 8)
        code = sources("operator/src")
        there = set(re.findall(r'"([A-Z][A-Za-z]+)"|\bReason::([A-Z][A-Za-z]+)', code))
        self.assertEqual(named - {word for pair in there for word in pair}, set())

    def test_every_reason_that_takes_a_person_is_explained(self):
        code = sources("operator/src")
        stalled = set(re.findall(r"ConditionUpdate::stalled\(\s*Reason::([A-Z]\w+)", code)) | {"RolloutStuck"}
        kinds = read("agent/src/session/failure.rs")
        words = dict(re.findall(r'Self::(\w+) => "(\w+)"', kinds))
        persons = kinds.split("fn needs_a_person")[1].split("\n    }\n")[0]
        stalled |= {words[kind] for kind in re.findall(r"Self::(\w+)", persons)}
        self.assertGreater(len(stalled), 12)
        self.assertEqual({reason for reason in stalled if not summaries(reason) & explained()}, set())


class Versions(unittest.TestCase):
    """What docs/upgrading.md says was tried is what the suites take."""

    def row(self, what):
        (row,) = re.findall(rf"^\| {what} \| (.*) \|$", read("docs/upgrading.md"), re.M)
        return row.split(" | ")

    def test_kubernetes(self):
        tried, promised = self.row("Kubernetes")
        self.assertTrue(tried.startswith(re.search(r'KUBERNETES: &str = "(\d+\.\d+)\.', read("xtask/src/cluster/assets.rs"))[1]))
        oldest = re.search(r'kubeVersion: ">=(\d+\.\d+)\.0-0"', read("charts/kvs-ingest/Chart.yaml"))[1]
        self.assertTrue(promised.startswith(f"{oldest} and newer"), promised)

    def test_helm(self):
        tried, promised = self.row("Helm")
        built = re.search(r"helm\.sh/helm/v3 v(\d+\.\d+)\.", read("xtask/helm/go.mod"))[1]
        self.assertEqual(tried, built)
        self.assertIn(f"Helm {promised.split()[0]} or newer", read("docs/install.md"))
        # What packages the chart of a release is what the suites have tried.
        for version in re.findall(r"version: v(\d+\.\d+)\.\d+$", read(".github/workflows/chart.yml"), re.M):
            self.assertEqual(version, built)
