"""Drives the storage sessions of kvs-local with AWS's own client for Python; their media are other tests'.

    AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=... boto3_storage.py http://127.0.0.1:PORT [REGION]

Prints what it checked, one line each, and ends with 0; the first wrong answer ends it with 1.
"""

import sys
import uuid

import boto3
from botocore.config import Config

from boto3_control import check, refused


def main():
    endpoint = sys.argv[1]
    options = {
        "endpoint_url": endpoint,
        "region_name": sys.argv[2] if len(sys.argv) > 2 else "us-east-1",
        "config": Config(retries={"max_attempts": 1}, parameter_validation=False),
    }
    kv = boto3.client("kinesisvideo", **options)
    name = f"boto3-{uuid.uuid4().hex[:8]}"
    arn = kv.create_signaling_channel(ChannelName=name)["ChannelARN"]
    stream = kv.create_stream(StreamName=name, DataRetentionInHours=1)["StreamARN"]
    storage = boto3.client("kinesis-video-webrtc-storage", **options)
    message = refused(
        "joining a channel that is not stored", "InvalidArgumentException", 400, storage.join_storage_session, channelArn=arn
    )
    check("the message says what to do", "UpdateMediaStorageConfiguration" in message, message)
    kv.update_media_storage_configuration(
        ChannelARN=arn, MediaStorageConfiguration={"Status": "ENABLED", "StreamARN": stream}
    )
    endpoints = kv.get_signaling_channel_endpoint(
        ChannelARN=arn,
        SingleMasterChannelEndpointConfiguration={"Protocols": ["WSS", "HTTPS", "WEBRTC"], "Role": "MASTER"},
    )["ResourceEndpointList"]
    found = {endpoint["Protocol"]: endpoint["ResourceEndpoint"] for endpoint in endpoints}
    check("the channel has an endpoint for WEBRTC", found["WEBRTC"].startswith("http"), found)
    storage = boto3.client("kinesis-video-webrtc-storage", **{**options, "endpoint_url": found["WEBRTC"]})
    answer = storage.join_storage_session(channelArn=arn)
    check("JoinStorageSession", answer["ResponseMetadata"]["HTTPStatusCode"] == 200, answer)
    check("its answer is empty", set(answer) == {"ResponseMetadata"}, answer)
    for client in ("a", "b", "c", "a"):
        storage.join_storage_session_as_viewer(channelArn=arn, clientId=client)
    check("JoinStorageSessionAsViewer", True)
    join = storage.join_storage_session_as_viewer
    refused("a fourth viewer", "ClientLimitExceededException", 400, join, channelArn=arn, clientId="d")
    for what, members, member in [
        ("a viewer without a name", {"channelArn": arn}, "clientId"),
        ("a viewer with a blank in its name", {"channelArn": arn, "clientId": "a b"}, "clientId"),
        ("a viewer of no channel", {"clientId": "a"}, "channelArn"),
        ("a viewer of a stream", {"channelArn": stream, "clientId": "a"}, "channelArn"),
    ]:
        message = refused(what, "InvalidArgumentException", 400, join, **members)
        check(f"the message about {what} names {member}", message.startswith(f"{member}: "), message)
    missing = arn.replace(f"/{name}/", "/no-such/")
    refused("a missing channel", "ResourceNotFoundException", 404, storage.join_storage_session, channelArn=missing)
    kv.delete_signaling_channel(ChannelARN=arn)
    refused("a channel that is gone", "ResourceNotFoundException", 404, storage.join_storage_session, channelArn=arn)
    kv.delete_stream(StreamARN=stream)


main()
