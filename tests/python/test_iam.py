"""The policies: valid, the same everywhere, as narrow as Kinesis Video Streams allows, and enough for the code."""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import cfnlint
import yaml

import aws_calls
from repository import ROOT, read

TEMPLATE = "deploy/aws/iam.yaml"
# What AWS asks for beside the call itself: a customer's key. (A create that carries tags asks for the right to tag, which
# adopting takes as well.) And, of who joins a storage session, the right to store in the stream.
ASKED_BESIDE = {"kms:DescribeKey", "kms:GenerateDataKey", "kinesisvideo:PutMedia"}
# Of the agent: the key, and spec.roleArn, which the AWS SDK assumes.
ASKED_BESIDE_AGENT = {"kms:GenerateDataKey", "sts:AssumeRole", "sts:TagSession"}


class Loader(yaml.SafeLoader):
    """YAML of CloudFormation: `!Sub x` is {"Sub": x}."""


def intrinsic(loader, name, node):
    build = {
        yaml.ScalarNode: loader.construct_scalar,
        yaml.SequenceNode: lambda node: loader.construct_sequence(node, deep=True),
        yaml.MappingNode: lambda node: loader.construct_mapping(node, deep=True),
    }
    return {name: build[type(node)](node)}


Loader.add_multi_constructor("!", intrinsic)


def template():
    return yaml.load(read(TEMPLATE), Loader)


def statements(role):
    """Every statement of a role of the template, whatever the parameters say."""
    found = []
    for policy in template()["Resources"][role]["Properties"]["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            found.append(statement["If"][1] if "If" in statement else statement)
    return found


def listed(value):
    return value if isinstance(value, list) else [value]


def actions(statements):
    return {action for statement in statements for action in listed(statement["Action"])}


def documented(page, of):
    """The actions of the JSON policies of a page whose statements' Sids begin so; without Sids, all."""
    found = set()
    for block in re.findall(r"```json\n(.*?)```", read(page), re.S):
        document = json.loads(block)
        for statement in document.get("Statement", []):
            if "Resource" in statement and statement.get("Sid", of).startswith(of):
                found |= actions([statement])
    return found


def lint(path):
    linter = pathlib.Path(sys.executable).with_name("cfn-lint")
    command = [linter, "--include-checks", "I", "--template", path]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


class Template(unittest.TestCase):
    def test_cfn_lint_has_nothing_to_say(self):
        done = lint(TEMPLATE)
        self.assertEqual((done.returncode, done.stdout), (0, ""), done.stdout + done.stderr)

    def test_cfn_lint_would_say_something(self):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as wrong:
            wrong.write(read(TEMPLATE).replace("kinesisvideo:PutMedia", "kinesisvideo:PutMedium"))
            wrong.flush()
            self.assertIn("putmedium", lint(wrong.name).stdout)

    def test_a_trust_policy_in_a_string_is_json(self):
        values = {
            "AWS::Partition": "aws",
            "AWS::AccountId": "111122223333",
            "OidcIssuer": "oidc.eks.eu-central-1.amazonaws.com/id/ABC",
        }
        for role, who in ("OperatorRole", "Operator"), ("AgentRole", "Agent"):
            text = template()["Resources"][role]["Properties"]["AssumeRolePolicyDocument"]["If"][1]["Sub"]
            filled = re.sub(r"\$\{([^}]+)\}", lambda match: values.get(match[1], match[1]), text)
            statement = json.loads(filled)["Statement"][0]
            self.assertEqual(statement["Action"], "sts:AssumeRoleWithWebIdentity")
            conditions = {key: value for test in statement["Condition"].values() for key, value in test.items()}
            self.assertEqual(conditions, {
                f"{values['OidcIssuer']}:aud": "sts.amazonaws.com",
                f"{values['OidcIssuer']}:sub": f"system:serviceaccount:{who}Namespace:{who}ServiceAccount",
            })

    def test_every_statement_names_the_kind_of_resource_of_its_actions(self):
        known = json.loads((pathlib.Path(cfnlint.__file__).parent / "data/AdditionalSpecs/Policies.json").read_text())
        known = known["kinesisvideo"]["Actions"]
        for statement in statements("OperatorRole") + statements("AgentRole"):
            for action in listed(statement["Action"]):
                service, name = action.split(":")
                if service != "kinesisvideo":
                    continue
                pattern, names = statement["Resource"]["Sub"]
                resource = re.fullmatch(r"arn:.*:(\w+)/\$\{(\w+)s\}/\*", pattern)
                self.assertIn(resource[1], known[name.lower()]["Resources"], action)
                self.assertEqual(resource[1], resource[2].lower(), action)
                self.assertEqual(list(names), [resource[2] + "s"], action)

    def test_names_begin_with_the_namespace_by_default(self):
        for kind in "Channel", "Stream":
            self.assertEqual(template()["Parameters"][f"{kind}Names"]["Default"], "")
        own = {"Sub": "${AgentNamespace}-*"}
        of_session = {"If": ["PodIdentity", "${aws:PrincipalTag/kubernetes-namespace}-*", own]}
        for role, default in ("OperatorRole", own), ("AgentRole", of_session):
            for statement in statements(role):
                if not listed(statement["Action"])[0].startswith("kinesisvideo:"):
                    continue
                [(kind, names)] = statement["Resource"]["Sub"][1].items()
                self.assertEqual(names["If"], [f"{kind}Named", {"Ref": f"{kind[:-1]}Names"}, default], statement["Sid"])

    def test_every_namespace_takes_names(self):
        rule = template()["Rules"]["EveryNamespace"]
        self.assertEqual(rule["RuleCondition"], {"Equals": [{"Ref": "AgentNamespace"}, "*"]})
        said = [assertion["Assert"] for assertion in rule["Assertions"]]
        self.assertEqual(said, [{"Not": [{"Equals": [{"Ref": f"{kind}Names"}, ""]}]} for kind in ("Channel", "Stream")])
        # What else holds a star begins with what confines it.
        allowed = re.compile(template()["Parameters"]["AgentNamespace"]["AllowedPattern"])
        for namespace, is_allowed in ("cameras", True), ("*", True), ("team-*", True), ("**", False), ("*-cameras", False):
            self.assertEqual(bool(allowed.fullmatch(namespace)), is_allowed, namespace)

    def test_agents_touch_what_bears_their_namespace(self):
        tag = re.search(r'TAG_NAMESPACE: &str = "(.+)"', read("operator/src/names.rs"))[1]
        equal = {"StringEquals": {f"aws:ResourceTag/{tag}": "${aws:PrincipalTag/kubernetes-namespace}"}}
        for statement in statements("AgentRole"):
            if listed(statement["Action"])[0].startswith("kinesisvideo:"):
                self.assertEqual(statement["Condition"]["If"], ["Tagged", equal, {"Ref": "AWS::NoValue"}], statement["Sid"])
        self.assertEqual(template()["Parameters"]["ByNamespace"]["Default"], "true")
        # IRSA gives a session no tags.
        self.assertIn({"Condition": "PodIdentity"}, template()["Conditions"]["Tagged"]["And"])

    def test_what_is_created_and_deleted_bears_the_mark(self):
        for statement in statements("OperatorRole"):
            for action in listed(statement["Action"]):
                tag = {"Create": "Request", "Tag": "Request", "Delete": "Resource", "UpdateDataRetention": "Resource"}
                of = next((of for verb, of in tag.items() if action.startswith(f"kinesisvideo:{verb}")), None)
                expected = of and {"StringEquals": {f"aws:{of}Tag/kvs-ingest.dev/cluster": {"Ref": "Mark"}}}
                self.assertEqual(statement.get("Condition"), expected, action)
        self.assertIn('TAG_CLUSTER: &str = "kvs-ingest.dev/cluster"', read("operator/src/names.rs"))


class Actions(unittest.TestCase):
    def test_the_operators_are_those_of_its_code(self):
        self.assertEqual(actions(statements("OperatorRole")) - ASKED_BESIDE, aws_calls.operator())
        self.assertLessEqual(ASKED_BESIDE, actions(statements("OperatorRole")))

    def test_the_agents_are_those_of_its_code(self):
        self.assertEqual(actions(statements("AgentRole")) - ASKED_BESIDE_AGENT, aws_calls.agent())
        self.assertLessEqual(ASKED_BESIDE_AGENT, actions(statements("AgentRole")))

    def test_the_pages_say_the_same(self):
        kvs = lambda found: {action for action in found if action.startswith("kinesisvideo:")}
        operator, agent = kvs(actions(statements("OperatorRole"))), kvs(actions(statements("AgentRole")))
        self.assertEqual(documented("docs/operator.md", "Operator"), operator)
        self.assertEqual(kvs(documented("docs/eks.md", "Operator")), operator)
        self.assertEqual(kvs(documented("docs/eks.md", "Agent")), agent)
