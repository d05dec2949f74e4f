"""Drives kvs-local's control plane with AWS's own client for Python.

    AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=... boto3_control.py http://127.0.0.1:PORT [REGION]

Prints what it checked, one line each, and ends with 0; the first wrong answer ends it with 1.
"""

import base64
import sys
import uuid

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError


def check(what, condition, seen=None):
    if not condition:
        print(f"FAILED: {what}" + (f": {seen!r}" if seen is not None else ""))
        sys.exit(1)
    print(f"ok: {what}")


def refused(what, code, status, call, **members):
    try:
        answer = call(**members)
    except ClientError as error:
        seen = (error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"])
        check(f"{what} is refused with {code}", seen == (code, status), seen)
        return error.response["Error"]["Message"]
    check(f"{what} is refused with {code}", False, answer)


def channels(kv, options):
    name = f"boto3-{uuid.uuid4().hex[:8]}"
    arn = kv.create_signaling_channel(
        ChannelName=name,
        SingleMasterConfiguration={"MessageTtlSeconds": 30},
        Tags=[{"Key": "made-by", "Value": "boto3"}],
    )["ChannelARN"]
    check("CreateSignalingChannel", arn.split(":")[5].startswith(f"channel/{name}/"), arn)
    info = kv.describe_signaling_channel(ChannelName=name)["ChannelInfo"]
    check("DescribeSignalingChannel by name", info["ChannelARN"] == arn and info["ChannelStatus"] == "ACTIVE", info)
    check("CreationTime is a time", info["CreationTime"].year >= 2024, info["CreationTime"])
    check("MessageTtlSeconds", info["SingleMasterConfiguration"]["MessageTtlSeconds"] == 30, info)
    refused("a second channel of the name", "ResourceInUseException", 400, kv.create_signaling_channel, ChannelName=name)
    refused("a missing channel", "ResourceNotFoundException", 404, kv.describe_signaling_channel, ChannelName="no-such")
    message = refused(
        "a TTL of 121 s", "InvalidArgumentException", 400, kv.create_signaling_channel,
        ChannelName="x", SingleMasterConfiguration={"MessageTtlSeconds": 121},
    )
    check("the message names the member", "MessageTtlSeconds" in message, message)

    kv.update_signaling_channel(
        ChannelARN=arn, CurrentVersion=info["Version"], SingleMasterConfiguration={"MessageTtlSeconds": 90}
    )
    refused(
        "an old version", "VersionMismatchException", 400, kv.update_signaling_channel,
        ChannelARN=arn, CurrentVersion=info["Version"], SingleMasterConfiguration={"MessageTtlSeconds": 91},
    )
    again = kv.describe_signaling_channel(ChannelARN=arn)["ChannelInfo"]
    check("UpdateSignalingChannel", again["SingleMasterConfiguration"]["MessageTtlSeconds"] == 90, again)

    check("ListTagsForResource", kv.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"made-by": "boto3"})
    kv.tag_resource(ResourceARN=arn, Tags=[{"Key": "b", "Value": "2"}])
    kv.untag_resource(ResourceARN=arn, TagKeyList=["made-by"])
    check("TagResource, UntagResource", kv.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"b": "2"})

    endpoints = kv.get_signaling_channel_endpoint(
        ChannelARN=arn, SingleMasterChannelEndpointConfiguration={"Protocols": ["WSS", "HTTPS"], "Role": "VIEWER"}
    )["ResourceEndpointList"]
    endpoints = {endpoint["Protocol"]: endpoint["ResourceEndpoint"] for endpoint in endpoints}
    check("GetSignalingChannelEndpoint", set(endpoints) == {"WSS", "HTTPS"}, endpoints)
    signaling = boto3.client("kinesis-video-signaling", endpoint_url=endpoints["HTTPS"], **options)
    servers = signaling.get_ice_server_config(ChannelARN=arn, ClientId="boto3", Service="TURN")["IceServerList"]
    check("GetIceServerConfig", len(servers) == 1 and servers[0]["Uris"][0].startswith("turn:"), servers)
    owner = base64.b64decode(servers[0]["Username"].split(":")[1]).decode()
    check("the TURN user is the channel's", owner == f"v1:{arn}", owner)
    check("Ttl", 30 <= servers[0]["Ttl"] <= 86400, servers[0]["Ttl"])
    return name, arn


def streams(kv, channel_arn):
    name = f"boto3-{uuid.uuid4().hex[:8]}"
    arn = kv.create_stream(StreamName=name, MediaType="video/h264", Tags={"k": "v"})["StreamARN"]
    info = kv.describe_stream(StreamName=name)["StreamInfo"]
    check("CreateStream, DescribeStream", info["StreamARN"] == arn and info["DataRetentionInHours"] == 0, info)
    refused("a missing stream", "ResourceNotFoundException", 404, kv.describe_stream, StreamName="no-such")
    storage = {"StreamARN": arn, "Status": "ENABLED"}
    refused(
        "storage in a stream that keeps nothing", "NoDataRetentionException", 400,
        kv.update_media_storage_configuration, ChannelARN=channel_arn, MediaStorageConfiguration=storage,
    )
    kv.update_data_retention(
        StreamARN=arn, CurrentVersion=info["Version"],
        Operation="INCREASE_DATA_RETENTION", DataRetentionChangeInHours=2,
    )
    info = kv.describe_stream(StreamARN=arn)["StreamInfo"]
    check("UpdateDataRetention", info["DataRetentionInHours"] == 2, info)
    kv.update_stream(StreamARN=arn, CurrentVersion=info["Version"], DeviceName="camera")
    check("UpdateStream", kv.describe_stream(StreamARN=arn)["StreamInfo"]["DeviceName"] == "camera")

    kv.update_media_storage_configuration(ChannelARN=channel_arn, MediaStorageConfiguration=storage)
    now = kv.describe_media_storage_configuration(ChannelARN=channel_arn)["MediaStorageConfiguration"]
    check("UpdateMediaStorageConfiguration", now == storage, now)
    mapped = kv.describe_mapped_resource_configuration(StreamARN=arn)["MappedResourceConfigurationList"]
    check("DescribeMappedResourceConfiguration", mapped[0]["ARN"] == channel_arn, mapped)
    kv.update_media_storage_configuration(
        ChannelARN=channel_arn, MediaStorageConfiguration={"Status": "DISABLED"}
    )
    now = kv.describe_media_storage_configuration(ChannelARN=channel_arn)["MediaStorageConfiguration"]
    check("media storage can be switched off", now["Status"] == "DISABLED", now)

    kv.tag_stream(StreamName=name, Tags={"x": "y"})
    kv.untag_stream(StreamName=name, TagKeyList=["k"])
    check("TagStream, UntagStream", kv.list_tags_for_stream(StreamName=name)["Tags"] == {"x": "y"})
    for api in ["PUT_MEDIA", "GET_MEDIA", "LIST_FRAGMENTS"]:
        endpoint = kv.get_data_endpoint(StreamName=name, APIName=api)["DataEndpoint"]
        check(f"GetDataEndpoint {api}", endpoint.startswith("http") and endpoint.count("/") == 2, endpoint)
    return name, arn


def main():
    url = sys.argv[1]
    options = {
        "region_name": sys.argv[2] if len(sys.argv) > 2 else "us-east-1",
        "config": Config(retries={"max_attempts": 1}),
    }
    kv = boto3.client("kinesisvideo", endpoint_url=url, **options)
    channel_name, channel_arn = channels(kv, options)
    stream_name, stream_arn = streams(kv, channel_arn)

    pages = kv.get_paginator("list_signaling_channels").paginate(PaginationConfig={"PageSize": 1})
    names = [info["ChannelName"] for page in pages for info in page["ChannelInfoList"]]
    check("ListSignalingChannels, page by page", channel_name in names and len(names) == len(set(names)), names)
    condition = {"ComparisonOperator": "BEGINS_WITH", "ComparisonValue": stream_name}
    found = kv.list_streams(StreamNameCondition=condition)["StreamInfoList"]
    check("ListStreams with a condition", [info["StreamARN"] for info in found] == [stream_arn], found)

    archive = boto3.client("kinesis-video-archived-media", endpoint_url=url, **options)
    check("ListFragments of an empty stream", archive.list_fragments(StreamName=stream_name)["Fragments"] == [])

    wrong = boto3.client(
        "kinesisvideo", endpoint_url=url, aws_access_key_id="AKIAWRONG", aws_secret_access_key="wrong", **options
    )
    refused("an unknown key", "UnrecognizedClientException", 403, wrong.list_streams)

    version = kv.describe_signaling_channel(ChannelARN=channel_arn)["ChannelInfo"]["Version"]
    kv.delete_signaling_channel(ChannelARN=channel_arn, CurrentVersion=version)
    refused("a deleted channel", "ResourceNotFoundException", 404, kv.describe_signaling_channel, ChannelARN=channel_arn)
    kv.delete_stream(StreamARN=stream_arn)
    refused("a deleted stream", "ResourceNotFoundException", 404, kv.describe_stream, StreamARN=stream_arn)


if __name__ == "__main__":
    main()
