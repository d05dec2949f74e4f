"""Argo CD's health check, with the status documents that the operator's own test writes down."""

import json
import subprocess
import unittest

import yaml

from repository import ROOT, read

SCRIPT = "deploy/argocd/health.lua"
# What Argo CD opens for a check of argocd-cm: the base functions and `table`; strings have no methods.
# https://github.com/argoproj/argo-cd/blob/master/util/lua/lua.go
SANDBOX = """
local path = ...
debug.setmetatable("", nil)
local given = { table = table }
for _, name in ipairs({
  "assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget", "rawset", "select",
  "setmetatable", "tonumber", "tostring", "type", "unpack", "xpcall",
}) do
  given[name] = _G[name]
end
for _, obj in ipairs(objects) do
  local health = setfenv(assert(loadfile(path)), setmetatable({ obj = obj }, {
    __index = given,
    __newindex = function(_, name) error("it sets the global " .. name) end,
  }))()
  print(health.status)
  print(health.message)
end
"""


def lua(value):
    """A value of JSON as Lua writes it."""
    if isinstance(value, dict):
        return "{" + ",".join(f"[{lua(key)}]={lua(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "{" + ",".join(map(lua, value)) + "}"
    if isinstance(value, str):
        return '"' + "".join(f"\\{byte:03}" for byte in value.encode()) + '"'
    return {None: "nil", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else str(value)


def healths(objects):
    """Status and message that the check gives to each object."""
    text = f"objects = {lua(objects)}\n{SANDBOX}"
    done = subprocess.run(["lua5.1", "-", ROOT / SCRIPT], input=text, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    return list(zip(lines[::2], lines[1::2], strict=True))


class Health(unittest.TestCase):
    def setUp(self):
        self.cases = json.loads(read("operator/tests/golden/argocd.json"))

    def test_every_status_that_the_operator_writes(self):
        found = healths([case["object"] for case in self.cases])
        for case, (health, message) in zip(self.cases, found, strict=True):
            with self.subTest(case["what"]):
                self.assertEqual(health, case["health"])
                self.assertTrue(message.startswith(case["message"]), f"{message!r} is not {case['message']!r} …")

    def test_every_health_occurs(self):
        expected = {"Healthy", "Progressing", "Degraded", "Suspended"}
        self.assertEqual({case["health"] for case in self.cases}, expected)

    def test_what_no_operator_writes_is_progressing(self):
        meta = {"generation": 1}
        odd = [
            {"metadata": meta, "status": {}},
            {"metadata": meta, "status": {"observedGeneration": 1}},
            {"metadata": meta, "status": {"observedGeneration": 1, "conditions": []}},
            {"metadata": meta, "status": {"observedGeneration": 1, "conditions": [
                {"type": "Ready", "status": "False", "reason": "Odd"}]}},
        ]
        self.assertEqual({health for health, _ in healths(odd)}, {"Progressing"})
        self.assertEqual(healths(odd)[-1][1], "Odd")


class Application(unittest.TestCase):
    def test_it_installs_this_chart(self):
        operator, cameras = yaml.safe_load_all(read("examples/argocd/application.yaml"))
        chart, values = yaml.safe_load(read("charts/kvs-ingest/Chart.yaml")), read("charts/kvs-ingest/values.yaml")
        source = operator["spec"]["source"]
        self.assertEqual((source["chart"], source["targetRevision"]), (chart["name"], chart["version"]))
        # The chart refuses a value that it does not know.
        self.assertLessEqual(source["helm"]["valuesObject"].keys(), yaml.safe_load(values).keys())
        for application in operator, cameras:
            self.assertIn("ServerSideApply=true", application["spec"]["syncPolicy"]["syncOptions"])
        self.assertIn("SkipDryRunOnMissingResource=true", cameras["spec"]["syncPolicy"]["syncOptions"])
        waves = [application["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"] for application in (operator, cameras)]
        self.assertLess(*map(int, waves))
