"""Drives the configurations of kvs-local's streams, and Alexa's offers, with AWS's own client for Python.

    AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=... boto3_configurations.py http://127.0.0.1:PORT [REGION]

Also holds docs/kvs-local.md, and the errors that are answered, to what botocore knows of the services. Prints what it checked, one line
each, and ends with 0; the first wrong answer ends it with 1.
"""

import re
import sys
import uuid
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from boto3_control import check, refused

SERVICES = ["kinesisvideo", "kinesis-video-media", "kinesis-video-archived-media", "kinesis-video-signaling", "kinesis-video-webrtc-storage"]
# botocore cannot stream a body, so it has no PutMedia
WITHOUT_MODEL = {"PutMedia"}


def documented():
    """What docs/kvs-local.md says of each operation."""
    page = (Path(__file__).parents[3] / "docs/kvs-local.md").read_text()
    section = page.split("## Every operation")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", section, re.MULTILINE))


def operations(options):
    """Every operation of the five services has a row, and each answers to an empty call as its model allows."""
    rows = documented()
    known = set()
    for service in SERVICES:
        client = boto3.client(service, **options)
        model = client.meta.service_model
        known |= set(model.operation_names)
        for name in model.operation_names:
            if rows.get(name, "Not there").startswith("Not there"):
                continue
            method = next(method for method, operation in client.meta.method_to_api_mapping.items() if operation == name)
            try:
                getattr(client, method)()
            except ClientError as error:
                code = error.response["Error"]["Code"]
                allowed = {shape.name for shape in model.operation_model(name).error_shapes}
                check(f"{name} without members is refused with an error of its model", code in allowed, (code, sorted(allowed)))
    check("docs/kvs-local.md has a row for each operation and for no other", set(rows) - WITHOUT_MODEL == known, set(rows) ^ known)


def invalid(what, member, call, **members):
    message = refused(what, "InvalidArgumentException", 400, call, **members)
    check(f"{what}: the message names {member}", message.startswith(f"{member}: "), message)


def put(base, path, value):
    """A copy of `base` with one member, named by its path, changed or (with None) left out."""
    head, _, rest = path.partition(".")
    copy = dict(base)
    if rest:
        copy[head] = put(copy[head], rest, value)
    elif value is None:
        del copy[head]
    else:
        copy[head] = value
    return copy


def wrong_members(what, prefix, base, cases, call):
    for path, value in cases:
        invalid(f"{what}: {path} {str(value)[:40]!r}", f"{prefix}.{path}", lambda **members: call(members["wanted"]), wanted=put(base, path, value))


def images(kv, loose, stream, empty):
    wanted = {
        "Status": "ENABLED",
        "ImageSelectorType": "PRODUCER_TIMESTAMP",
        "DestinationConfig": {"Uri": "s3://bucket/prefix", "DestinationRegion": "us-east-1"},
        "SamplingInterval": 3000,
        "Format": "JPEG",
        "FormatConfig": {"JPEGQuality": "80"},
        "WidthPixels": 320,
        "HeightPixels": 240,
    }
    name = "ImageGenerationConfiguration"
    check(f"no {name} at first", name not in kv.describe_image_generation_configuration(StreamName=stream))
    kv.update_image_generation_configuration(StreamName=stream, **{name: wanted})
    check(f"{name} is kept and told", kv.describe_image_generation_configuration(StreamName=stream)[name] == wanted)
    plain = {key: wanted[key] for key in ["Status", "ImageSelectorType", "DestinationConfig", "SamplingInterval"]} | {"Format": "PNG"}
    kv.update_image_generation_configuration(StreamName=stream, **{name: plain})
    check("another takes its place whole", kv.describe_image_generation_configuration(StreamName=stream)[name] == plain)
    cases = [
        ("Status", None), ("Status", "ON"), ("ImageSelectorType", "NOW"), ("SamplingInterval", None), ("SamplingInterval", 199),
        ("SamplingInterval", "3000"), ("Format", "GIF"), ("WidthPixels", 0), ("WidthPixels", 3841), ("HeightPixels", 2161),
        ("FormatConfig", {"Quality": "80"}), ("FormatConfig", {"JPEGQuality": "101"}), ("FormatConfig", {}),
        ("DestinationConfig", None), ("DestinationConfig.Uri", None), ("DestinationConfig.Uri", "bucket"),
        ("DestinationConfig.Uri", "sns://topic"), ("DestinationConfig.Uri", "s3://a*b"), ("DestinationConfig.Uri", "s3://" + "b" * 251),
        ("DestinationConfig.DestinationRegion", None), ("DestinationConfig.DestinationRegion", "europe"),
    ]
    wrong_members(name, name, wanted, cases, lambda body: loose.update_image_generation_configuration(StreamName=stream, **{name: body}))
    refused("images of a stream that keeps nothing", "NoDataRetentionException", 400,
            kv.update_image_generation_configuration, StreamName=empty, **{name: wanted})
    kv.update_image_generation_configuration(StreamName=empty, **{name: wanted | {"Status": "DISABLED"}})
    kv.update_image_generation_configuration(StreamName=stream)
    check(f"without one it is deleted", name not in kv.describe_image_generation_configuration(StreamName=stream))


def notifications(kv, loose, stream, empty):
    name = "NotificationConfiguration"
    wanted = {"Status": "ENABLED", "DestinationConfig": {"Uri": "sns://arn:aws:sns:us-east-1:123456789012:topic"}}
    check(f"no {name} at first", name not in kv.describe_notification_configuration(StreamName=stream))
    kv.update_notification_configuration(StreamName=stream, **{name: wanted})
    check(f"{name} is kept and told", kv.describe_notification_configuration(StreamName=stream)[name] == wanted)
    cases = [("Status", None), ("Status", "on"), ("DestinationConfig", None), ("DestinationConfig.Uri", None),
             ("DestinationConfig.Uri", "s3://bucket"), ("DestinationConfig.Uri", "")]
    wrong_members(name, name, wanted, cases, lambda body: loose.update_notification_configuration(StreamName=stream, **{name: body}))
    refused("notifications of a stream that keeps nothing", "NoDataRetentionException", 400,
            kv.update_notification_configuration, StreamName=empty, **{name: wanted})
    kv.update_notification_configuration(StreamName=stream)
    check("without one it is deleted", name not in kv.describe_notification_configuration(StreamName=stream))


def edge(kv, loose, streams, empty):
    hub = f"arn:aws:iot:us-east-1:123456789012:thing/hub-{uuid.uuid4().hex[:8]}"
    schedule = {"ScheduleExpression": "0 0 9 ? * * *", "DurationInSeconds": 3600}
    source = {"MediaUriSecretArn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:camera-AbCdEf", "MediaUriType": "RTSP_URI"}
    wanted = {
        "HubDeviceArn": hub,
        "RecorderConfig": {"MediaSourceConfig": source, "ScheduleConfig": schedule},
        "UploaderConfig": {"ScheduleConfig": schedule},
        "DeletionConfig": {
            "EdgeRetentionInHours": 24,
            "LocalSizeConfig": {"MaxLocalMediaSizeInMB": 1024, "StrategyOnFullSize": "DENY_NEW_MEDIA"},
            "DeleteAfterUpload": True,
        },
    }
    stream = streams[0]
    refused("no edge configuration at first", "StreamEdgeConfigurationNotFoundException", 404, kv.describe_edge_configuration, StreamName=stream)
    refused("nor one to delete", "StreamEdgeConfigurationNotFoundException", 404, kv.delete_edge_configuration, StreamName=stream)
    started = kv.start_edge_configuration_update(StreamName=stream, EdgeConfig=wanted)
    check("StartEdgeConfigurationUpdate", (started["SyncStatus"], started["EdgeConfig"]) == ("SYNCING", wanted), started)
    told = kv.describe_edge_configuration(StreamARN=started["StreamARN"])
    check("DescribeEdgeConfiguration", told["EdgeConfig"] == wanted and told["CreationTime"] == started["CreationTime"], told)
    least = {"HubDeviceArn": hub, "RecorderConfig": {"MediaSourceConfig": source}}
    again = kv.start_edge_configuration_update(StreamName=stream, EdgeConfig=least)
    check("an update keeps the time of the first", again["CreationTime"] == started["CreationTime"] and again["EdgeConfig"] == least, again)
    cases = [
        ("HubDeviceArn", None), ("HubDeviceArn", "hub"), ("HubDeviceArn", hub.replace("thing", "group")),
        ("RecorderConfig", None), ("RecorderConfig.MediaSourceConfig", None),
        ("RecorderConfig.MediaSourceConfig.MediaUriSecretArn", "rtsp://user:pw@camera"),
        ("RecorderConfig.MediaSourceConfig.MediaUriType", "HTTP_URI"),
        ("RecorderConfig.ScheduleConfig.ScheduleExpression", "daily"), ("RecorderConfig.ScheduleConfig.DurationInSeconds", 59),
        ("UploaderConfig.ScheduleConfig", None), ("UploaderConfig.ScheduleConfig.DurationInSeconds", None),
        ("DeletionConfig.EdgeRetentionInHours", 721), ("DeletionConfig.DeleteAfterUpload", "yes"),
        ("DeletionConfig.LocalSizeConfig.MaxLocalMediaSizeInMB", 63), ("DeletionConfig.LocalSizeConfig.StrategyOnFullSize", "STOP"),
    ]
    wrong_members("EdgeConfig", "EdgeConfig", wanted, cases, lambda body: loose.start_edge_configuration_update(StreamName=stream, EdgeConfig=body))
    refused("an edge configuration of a stream that keeps nothing", "NoDataRetentionException", 400,
            kv.start_edge_configuration_update, StreamName=empty, EdgeConfig=least)
    for other in streams[1:]:
        kv.start_edge_configuration_update(StreamName=other, EdgeConfig=least)
    pages = kv.get_paginator("list_edge_agent_configurations").paginate(HubDeviceArn=hub, PaginationConfig={"PageSize": 1})
    found = [config["StreamName"] for page in pages for config in page["EdgeConfigs"]]
    check("ListEdgeAgentConfigurations, page by page", sorted(found) == sorted(streams), found)
    check("another hub has none", kv.list_edge_agent_configurations(HubDeviceArn=hub + "x")["EdgeConfigs"] == [])
    invalid("eleven at once", "MaxResults", loose.list_edge_agent_configurations, HubDeviceArn=hub, MaxResults=11)
    kv.delete_edge_configuration(StreamName=stream)
    refused("a deleted edge configuration", "StreamEdgeConfigurationNotFoundException", 404, kv.describe_edge_configuration, StreamName=stream)


def tiers(kv, loose, stream):
    info = kv.describe_stream(StreamName=stream)["StreamInfo"]
    told = kv.describe_stream_storage_configuration(StreamName=stream)
    check("streams are HOT at first", told["StreamStorageConfiguration"] == {"DefaultStorageTier": "HOT"} and told["StreamARN"] == info["StreamARN"], told)
    warm = {"DefaultStorageTier": "WARM"}
    kv.update_stream_storage_configuration(StreamName=stream, CurrentVersion=info["Version"], StreamStorageConfiguration=warm)
    check("UpdateStreamStorageConfiguration", kv.describe_stream_storage_configuration(StreamARN=info["StreamARN"])["StreamStorageConfiguration"] == warm)
    refused("an old version", "VersionMismatchException", 400, kv.update_stream_storage_configuration,
            StreamName=stream, CurrentVersion=info["Version"], StreamStorageConfiguration=warm)
    version = kv.describe_stream(StreamName=stream)["StreamInfo"]["Version"]
    invalid("a tier that is none", "StreamStorageConfiguration.DefaultStorageTier", loose.update_stream_storage_configuration,
            StreamName=stream, CurrentVersion=version, StreamStorageConfiguration={"DefaultStorageTier": "COLD"})
    invalid("no version", "CurrentVersion", loose.update_stream_storage_configuration, StreamName=stream, StreamStorageConfiguration=warm)


def alexa(kv, options):
    arn = kv.create_signaling_channel(ChannelName=f"alexa-{uuid.uuid4().hex[:8]}", SingleMasterConfiguration={"MessageTtlSeconds": 5})["ChannelARN"]
    signaling = boto3.client("kinesis-video-signaling", **options | {"config": Config(retries={"max_attempts": 1}, parameter_validation=False)})
    answer = signaling.send_alexa_offer_to_master(ChannelARN=arn, SenderClientId="echo", MessagePayload="e30=")
    check("SendAlexaOfferToMaster ends without an answer when no master comes", "Answer" not in answer, answer)
    for member, value in [("SenderClientId", "a b"), ("SenderClientId", None), ("MessagePayload", "{}"), ("MessagePayload", "A" * 10_001)]:
        members = {"ChannelARN": arn, "SenderClientId": "echo", "MessagePayload": "e30="} | {member: value}
        invalid(f"{member} {str(value)[:20]!r}", member, signaling.send_alexa_offer_to_master, **{k: v for k, v in members.items() if v is not None})
    refused("a channel that is not there", "ResourceNotFoundException", 404, signaling.send_alexa_offer_to_master,
            ChannelARN=arn.replace("alexa-", "other-"), SenderClientId="echo", MessagePayload="e30=")
    kv.delete_signaling_channel(ChannelARN=arn)


def main():
    region = sys.argv[2] if len(sys.argv) > 2 else "us-east-1"
    options = {"endpoint_url": sys.argv[1], "region_name": region}
    kv = boto3.client("kinesisvideo", config=Config(retries={"max_attempts": 1}), **options)
    loose = boto3.client("kinesisvideo", config=Config(retries={"max_attempts": 1}, parameter_validation=False), **options)
    operations(options | {"config": Config(retries={"max_attempts": 1}, parameter_validation=False)})
    streams = [f"configured-{uuid.uuid4().hex[:8]}" for _ in range(3)]
    arns = [kv.create_stream(StreamName=name, DataRetentionInHours=1)["StreamARN"] for name in streams]
    empty = f"empty-{uuid.uuid4().hex[:8]}"
    arns.append(kv.create_stream(StreamName=empty)["StreamARN"])
    images(kv, loose, streams[0], empty)
    notifications(kv, loose, streams[0], empty)
    edge(kv, loose, streams, empty)
    tiers(kv, loose, streams[0])
    alexa(kv, options)
    for call in [kv.describe_image_generation_configuration, kv.describe_notification_configuration, kv.describe_edge_configuration,
                 kv.describe_stream_storage_configuration]:
        refused("a stream that is not there", "ResourceNotFoundException", 404, call, StreamName="no-such")
    for arn in arns:
        kv.delete_stream(StreamARN=arn)


if __name__ == "__main__":
    main()
