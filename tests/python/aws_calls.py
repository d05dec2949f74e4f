"""Which AWS operations operator and agents call, read from the Rust code, as IAM actions."""

import re

from repository import ROOT, read


def sources(folder):
    """The Rust files of a crate, without the tests beside them."""
    files = [path for path in sorted((ROOT / folder).rglob("*.rs")) if path.name != "tests.rs"]
    # Their module is at the end; a single item of tests may be anywhere.
    return "\n".join(re.split(r"#\[cfg\(test\)\]\n(?:#\[.*\n)*mod ", path.read_text())[0] for path in files)


def action(method):
    """`describe_stream` of the SDK is `kinesisvideo:DescribeStream` in a policy."""
    return "kinesisvideo:" + "".join(word.capitalize() for word in method.split("_"))


def control_plane():
    """The actions that each method of `kvs::ControlPlane` needs, those of the methods it calls included."""
    bodies = {}
    code = sources("crates/kvs/src/control") + read("crates/kvs/src/archive.rs")
    for part in re.split(r"\n    (?:pub(?:\(crate\))? )?(?:async )?fn ", code)[1:]:
        bodies[re.match(r"\w+", part)[0]] = part.split("\n    }\n")[0]

    def needs(name):
        body = bodies[name]
        actions = {action(method) for method in re.findall(r"\bclient\s*\.(\w+)\(\)", body)}
        for called in re.findall(r"\b(?:self|archive)\s*\.(\w+)\(", body):
            actions |= needs(called)
        return actions

    return {name: needs(name) for name in bodies if name != "new"}


def by_control_plane(code):
    """The actions of the methods that some code calls on its `control`."""
    methods = control_plane()
    called = set(re.findall(r"\bcontrol\s*\.\s*(\w+)\s*\(", code)) & methods.keys()
    return set().union(*(methods[name] for name in called))


def operator():
    return by_control_plane(sources("operator/src"))


def agent():
    """An agent in a cluster, which creates nothing: the operator has resolved what it uses."""
    code = sources("agent/src")
    actions = by_control_plane(code)
    if re.search(r"\bkvs::ice_servers\(", code):
        actions |= {action(method) for method in re.findall(r"client\.(\w+)\(\)", read("crates/kvs/src/ice.rs"))}
    if re.search(r"\bArchive::open\(", code):
        archive = read("crates/kvs/src/archive.rs")
        actions |= {action(method) for method in re.findall(r"client\.(\w+)\(\)", archive)}
        actions |= control_plane()["data_endpoint"]
    # The two that no SDK knows: the WebSocket, and the endless request.
    if "SignalingRole::Viewer" in code:
        actions.add("kinesisvideo:ConnectAsViewer")
    if "SignalingRole::Master" in code:
        actions.add("kinesisvideo:ConnectAsMaster")
    if 'set_path("/putMedia")' in read("crates/putmedia/src/transport.rs"):
        actions.add("kinesisvideo:PutMedia")
    actions |= by_control_plane(sources("crates/gst-kvssink/src/kvssink"))
    if "stream-tags" not in code:
        # The sink tags a stream when it is told to.
        actions.discard("kinesisvideo:TagStream")
    resolved = read("agent/src/settings.rs").split("fn from_config")[1].split("\n    }\n")[0]
    assert "create_channel: false" in resolved and "StreamSettings::resolved" in resolved, resolved
    of_stream = read("agent/src/settings.rs").split("fn resolved(")[1].split("\n    }\n")[0]
    assert "create: None" in of_stream, of_stream
    return {name for name in actions if not name.startswith("kinesisvideo:Create")}
