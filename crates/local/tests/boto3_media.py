"""Reads a stream of kvs-local back with AWS's own client for Python.

    AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=... boto3_media.py http://127.0.0.1:PORT STREAM [REGION]

STREAM holds at least three fragments. Prints what it checked, one line each, and ends with 0; the first wrong answer
ends it with 1.
"""

import re
import sys
from datetime import timedelta

import boto3
from botocore.config import Config

from boto3_control import check, refused

EBML = b"\x1a\x45\xdf\xa3"
CLUSTER = b"\x1f\x43\xb6\x75"


def tags(chunk):
    """The SimpleTags of a Matroska chunk: TagName is 0x45A3, TagString 0x4487, both with sizes of one or more bytes."""
    found = {}
    for match in re.finditer(rb"\x45\xa3", chunk):
        name, rest = vint_string(chunk, match.end())
        if name is None or chunk[rest : rest + 2] != b"\x44\x87":
            continue
        value, _ = vint_string(chunk, rest + 2)
        if value is not None:
            found.setdefault(name, []).append(value)
    return found


def vint_string(data, at):
    if at >= len(data) or data[at] == 0:
        return None, at
    length = 8 - data[at].bit_length() + 1
    size = int.from_bytes(data[at : at + length], "big") & ((1 << (7 * length)) - 1)
    text = data[at + length : at + length + size]
    return (text.decode("utf-8", "replace"), at + length + size) if len(text) == size else (None, at)


def fragments(archive, stream):
    listed = archive.list_fragments(StreamName=stream)["Fragments"]
    check("ListFragments lists at least three", len(listed) >= 3, listed)
    numbers = [fragment["FragmentNumber"] for fragment in listed]
    check("fragment numbers are unique decimals", len(set(numbers)) == len(numbers) and all(n.isdigit() for n in numbers))
    check("each has a size and a length", all(f["FragmentSizeInBytes"] > 0 and f["FragmentLengthInMilliseconds"] > 0 for f in listed))
    pages, token = [], None
    while True:
        more = {"NextToken": token} if token else {}
        answer = archive.list_fragments(StreamName=stream, MaxResults=1, **more)
        check("a page of one holds at most one", len(answer["Fragments"]) <= 1, answer)
        pages += answer["Fragments"]
        token = answer.get("NextToken")
        if not token:
            break
    check("the pages are the whole", sorted(f["FragmentNumber"] for f in pages) == sorted(numbers))
    by_time = sorted(listed, key=lambda fragment: fragment["ProducerTimestamp"])
    for kind, member in [("PRODUCER_TIMESTAMP", "ProducerTimestamp"), ("SERVER_TIMESTAMP", "ServerTimestamp")]:
        times = sorted(fragment[member] for fragment in listed)
        narrow = {"StartTimestamp": times[1] - timedelta(milliseconds=1), "EndTimestamp": times[1] + timedelta(milliseconds=1)}
        selector = {"FragmentSelectorType": kind, "TimestampRange": narrow}
        chosen = archive.list_fragments(StreamName=stream, FragmentSelector=selector)["Fragments"]
        check(f"{kind} selects", 0 < len(chosen) < len(listed) and all(
            narrow["StartTimestamp"] <= fragment[member] <= narrow["EndTimestamp"] for fragment in chosen), chosen)
        old = {"StartTimestamp": times[0] - timedelta(days=2), "EndTimestamp": times[0] - timedelta(days=1)}
        selector = {"FragmentSelectorType": kind, "TimestampRange": old}
        check(f"{kind} of another day selects nothing",
              archive.list_fragments(StreamName=stream, FragmentSelector=selector)["Fragments"] == [])
    return [fragment["FragmentNumber"] for fragment in by_time]


def media_of_fragments(archive, stream, numbers):
    one = archive.get_media_for_fragment_list(StreamName=stream, Fragments=numbers[:1])
    chunk = one["Payload"].read()
    check("GetMediaForFragmentList is Matroska", chunk.startswith(EBML) and CLUSTER in chunk, chunk[:8])
    check("its type is Matroska's", one["ContentType"] == "video/x-matroska", one["ContentType"])
    named = tags(chunk).get("AWS_KINESISVIDEO_FRAGMENT_NUMBER", [])
    check("the chunk names its fragment", numbers[0] in named, named)
    wanted = list(reversed(numbers[:3]))
    body = archive.get_media_for_fragment_list(StreamName=stream, Fragments=wanted)["Payload"].read()
    seen = tags(body).get("AWS_KINESISVIDEO_FRAGMENT_NUMBER", [])
    check("several fragments come once each", sorted(seen) == sorted(wanted), seen)
    check("with all their bytes", len(body) > len(chunk))


def media(media_client, stream, numbers):
    def read(**selector):
        return media_client.get_media(StreamName=stream, StartSelector=selector)["Payload"]

    body = read(StartSelectorType="EARLIEST")
    data = b""
    while len(set(tags(data).get("AWS_KINESISVIDEO_FRAGMENT_NUMBER", []))) < len(numbers):
        part = body.read(4096)
        if not part:
            break
        data += part
    body.close()
    check("GetMedia is Matroska", data.startswith(EBML) and CLUSTER in data, data[:8])
    seen = list(dict.fromkeys(tags(data).get("AWS_KINESISVIDEO_FRAGMENT_NUMBER", [])))
    check("EARLIEST gives all fragments in order", seen == sorted(numbers, key=int), seen)
    found = tags(data)
    for name in ["AWS_KINESISVIDEO_SERVER_TIMESTAMP", "AWS_KINESISVIDEO_PRODUCER_TIMESTAMP"]:
        check(f"chunks carry {name}", len(found.get(name, [])) >= len(numbers), sorted(found))

    def first(what, expected, **selector):
        body = read(**selector)
        data = b""
        while not tags(data).get("AWS_KINESISVIDEO_FRAGMENT_NUMBER"):
            part = body.read(1024)
            if not part:
                break
            data += part
        body.close()
        seen = tags(data).get("AWS_KINESISVIDEO_FRAGMENT_NUMBER", [None])[0]
        check(f"{what} starts there", seen == expected, seen)

    ordered = sorted(numbers, key=int)
    first("FRAGMENT_NUMBER", ordered[1], StartSelectorType="FRAGMENT_NUMBER", AfterFragmentNumber=ordered[0])
    token = found.get("AWS_KINESISVIDEO_CONTINUATION_TOKEN", [None])[0]
    check("chunks carry a continuation token", token is not None, sorted(found))
    first("CONTINUATION_TOKEN", ordered[1], StartSelectorType="CONTINUATION_TOKEN", ContinuationToken=token)


def main():
    url, stream = sys.argv[1], sys.argv[2]
    options = {
        "region_name": sys.argv[3] if len(sys.argv) > 3 else "us-east-1",
        "config": Config(retries={"max_attempts": 1}, read_timeout=20),
    }
    kv = boto3.client("kinesisvideo", endpoint_url=url, **options)

    def client(service, api):
        endpoint = kv.get_data_endpoint(StreamName=stream, APIName=api)["DataEndpoint"]
        return boto3.client(service, endpoint_url=endpoint, **options)

    archive = client("kinesis-video-archived-media", "LIST_FRAGMENTS")
    numbers = fragments(archive, stream)
    media_of_fragments(client("kinesis-video-archived-media", "GET_MEDIA_FOR_FRAGMENT_LIST"), stream, numbers)
    media(client("kinesis-video-media", "GET_MEDIA"), stream, numbers)
    refused("a missing stream", "ResourceNotFoundException", 404, archive.list_fragments, StreamName="no-such")
    refused("MaxResults 1001", "InvalidArgumentException", 400, archive.list_fragments, StreamName=stream, MaxResults=1001)
    refused("a token of somebody's own", "InvalidArgumentException", 400, archive.list_fragments, StreamName=stream, NextToken="mine")
    refused("a fragment that is not there", "ResourceNotFoundException", 404, archive.get_media_for_fragment_list,
            StreamName=stream, Fragments=["1"])


if __name__ == "__main__":
    main()
