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
            for step in job.get("steps", []):
                yield name, step


def triggers(workflow):
    # YAML 1.1 takes `on` for true.
    on = workflow[True]
    return set(on if isinstance(on, (dict, list)) else [on])


def writes(job):
    return {what for what, right in job.get("permissions", {}).items() if right == "write"}


class Workflows(unittest.TestCase):
    def test_nobody_has_more_rights_than_a_job_says(self):
        for name, workflow in workflows():
            self.assertEqual(workflow["permissions"], {}, name)
            self.assertIn("group", workflow["concurrency"], name)
            for job in workflow["jobs"].values():
                # Who calls another workflow gives it rights; how long it takes is said there.
                self.assertIn("timeout-minutes" if "steps" in job else "uses", job, name)
                # A pull request runs the code of somebody else.
                if writes(job) and "pull_request" in triggers(workflow) and job.get("if") != "inputs.publish":
                    pushes = [step for step in job["steps"] if "login-action" in step.get("uses", "")]
                    self.assertTrue(pushes and all(step["if"] == "inputs.publish" for step in pushes), name)

    def test_nothing_is_published_that_the_suites_have_not_passed(self):
        files = dict(workflows())

        def after_tests(jobs, name):
            job = jobs[name]
            needs = job.get("needs", [])
            needs = [needs] if isinstance(needs, str) else needs
            return job.get("uses") == "./.github/workflows/test.yml" or any(after_tests(jobs, need) for need in needs)

        publish = {name for name, file in files.items() if any(writes(job) for job in file["jobs"].values())}
        self.assertEqual(publish, {"images.yml", "chart.yml", "release.yml", "rebuild.yml"})
        for name in publish:
            jobs = files[name]["jobs"]
            if "workflow_call" in triggers(files[name]):
                # By itself it publishes nothing: `publish` is an input that only a caller has.
                self.assertEqual(triggers(files[name]), {"pull_request", "workflow_dispatch", "workflow_call"}, name)
                self.assertIs(files[name][True]["workflow_call"]["inputs"]["publish"]["default"], False)
                self.assertIsNone(files[name][True]["workflow_dispatch"], name)
                continue
            for job, what in jobs.items():
                if writes(what):
                    self.assertTrue(after_tests(jobs, job), f"{name}: {job}")
                    # An `if` of its own would run it after a failure, too, where it says always().
                    self.assertNotIn("if", what, f"{name}: {job}")

    def test_who_is_called_gets_the_rights_that_it_needs_and_no_others(self):
        files = dict(workflows())
        for name, workflow in files.items():
            for job, what in workflow["jobs"].items():
                if "uses" not in what:
                    continue
                called = files[what["uses"].rsplit("/", 1)[1]]
                needed = set()
                for inner in called["jobs"].values():
                    needed |= set(inner.get("permissions", {}).items())
                strongest = {right: "write" if (right, "write") in needed else "read" for right, _ in needed}
                self.assertEqual(what["permissions"], strongest, f"{name}: {job}")

    def test_every_action_is_a_commit(self):
        for path in sorted((ROOT / ".github/workflows").glob("*.yml")):
            text = path.read_text()
            uses = re.findall(r"^ *(?:- )?uses: (.*)$", text, re.M)
            self.assertTrue(uses, path.name)
            for use in uses:
                # With the version that a person and Renovate read; a workflow of this repository is of the same commit.
                pinned = r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+"
                self.assertRegex(use, rf"^(\./\.github/workflows/\w+\.yml|{pinned})$", path.name)
        versions = {}
        for name, step in steps():
            if "uses" in step:
                action, commit = step["uses"].split("@")
                self.assertEqual(versions.setdefault(action, commit), commit, f"{name}: two commits of {action}")
            if "checkout" in step.get("uses", ""):
                self.assertIs(step["with"]["persist-credentials"], False, name)

    def test_what_is_published_is_of_the_commit_that_was_tested(self):
        for file in "images.yml", "test.yml":
            for name, step in steps():
                if name == file and "checkout" in step.get("uses", ""):
                    self.assertEqual(step["with"]["ref"], "${{ inputs.ref }}", name)
        for file in "release.yml", "rebuild.yml":
            jobs = yaml.safe_load(read(f".github/workflows/{file}"))["jobs"]
            self.assertEqual(jobs["test"]["with"]["ref"], jobs["images"]["with"]["ref"], file)

    def test_images_are_labelled_with_what_they_were_built_of(self):
        labels = [step["with"] for _, step in steps() if "metadata-action" in step.get("uses", "")]
        self.assertEqual(len(labels), 2)
        # Those of the build go into the image, those of the other job are its tags.
        self.assertEqual(labels[0], labels[1])
        self.assertEqual(labels[0]["context"], "git")
        self.assertTrue(all("value=${{ inputs.version }}" in tag for tag in labels[0]["tags"].splitlines()))

    def test_images_are_built_on_what_has_a_digest(self):
        images = read(".github/workflows/images.yml")
        arguments = set()
        for path in sorted((ROOT / "deploy/images").glob("*.Dockerfile")):
            text = path.read_text()
            bases = dict(re.findall(r"^ARG (\w+)=(.*)$", text, re.M))
            for base in re.findall(r"^FROM (\S+)", text, re.M):
                argument = re.fullmatch(r"\$\{(\w+)\}", base)[1]
                if bases[argument] != "scratch":
                    arguments.add((argument, bases[argument]))
        # One of each: the workflow asks for its digest once.
        self.assertEqual({argument for argument, _ in arguments}, {"BUILDER", "NODE"})
        self.assertEqual(len(arguments), 2, arguments)
        for argument, _ in arguments:
            self.assertIn(f"pin {argument}\n", images)
            self.assertIn(f"{argument}=${{{{ needs.names.outputs.{argument.lower()} }}}}", images)

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
        # The chart's helpers read the digests that the workflow writes.
        self.assertIn("kvs-ingest.dev/digest.$name", chart)
        self.assertIn('"kvs-ingest.dev/digest.%s"', read("charts/kvs-ingest/templates/_helpers.tpl"))
        source = next(yaml.safe_load_all(read("examples/argocd/application.yaml")))["spec"]["source"]
        self.assertRegex(chart, re.escape("REPOSITORY: ${{ needs.package.outputs.registry }}/charts"))
        self.assertRegex(source["repoURL"], r"^ghcr\.io/[a-z0-9-]+/charts$")
