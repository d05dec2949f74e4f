"""What actionlint does not ask of the workflows."""

import re
import unittest

import yaml

from repository import ROOT, read


def workflows():
    for path in sorted((ROOT / ".github/workflows").glob("*.yml")):
        yield path.name, yaml.safe_load(path.read_text())


def steps():
    for name, workflow in workflows():
        for job in workflow["jobs"].values():
            for step in job["steps"]:
                yield name, step


class Workflows(unittest.TestCase):
    def test_nobody_has_more_rights_than_a_job_says(self):
        for name, workflow in workflows():
            self.assertEqual(workflow["permissions"], {}, name)
            self.assertIn("group", workflow["concurrency"], name)
            for job in workflow["jobs"].values():
                self.assertIn("timeout-minutes", job, name)
                # A pull request runs the code of somebody else.
                writes = "write" in job.get("permissions", {}).values()
                if writes and "pull_request" in workflow[True] and "if" not in job:
                    pushes = [step for step in job["steps"] if "login-action" in step.get("uses", "")]
                    self.assertTrue(pushes and all("pull_request" in step["if"] for step in pushes), name)

    def test_every_action_is_pinned(self):
        for name, step in steps():
            if "uses" in step:
                self.assertRegex(step["uses"], r"^[\w.-]+/[\w./-]+@(v\d+(\.\d+)*|[0-9a-f]{40})$", name)
            if "checkout" in step.get("uses", ""):
                self.assertIs(step["with"]["persist-credentials"], False, name)

    def test_the_images_are_those_that_the_chart_asks_for(self):
        matrix = yaml.safe_load(read(".github/workflows/images.yml"))["jobs"]["build"]["strategy"]["matrix"]
        values = yaml.safe_load(read("charts/kvs-ingest/values.yaml"))
        asked = {values["image"]["repository"], values["agent"]["image"]["repository"]}
        self.assertEqual(asked, set(matrix["name"]) - {"kvs-local"})
        built = {entry["file"] for entry in matrix["include"] if "file" in entry}
        there = {path.name.removesuffix(".Dockerfile") for path in (ROOT / "deploy/images").glob("*.Dockerfile")}
        self.assertEqual(there, built)

    def test_what_the_example_installs_is_what_is_published(self):
        chart = read(".github/workflows/chart.yml")
        source = next(yaml.safe_load_all(read("examples/argocd/application.yaml")))["spec"]["source"]
        self.assertRegex(chart, re.escape("REPOSITORY: ${{ needs.package.outputs.registry }}/charts"))
        self.assertRegex(source["repoURL"], r"^ghcr\.io/[a-z0-9-]+/charts$")
