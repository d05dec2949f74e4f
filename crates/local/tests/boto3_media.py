"""Reads a stream of kvs-local back with AWS's own client for Python.

    AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=... boto3_media.py http://127.0.0.1:PORT STREAM FRAMES [REGION]

STREAM holds at least three fragments of H.264 and AAC, with FRAMES frames of video in all. Prints what it checked, one
line each, and ends with 0; the first wrong answer ends it with 1.
"""

import sys
from datetime import timedelta
from itertools import islice

import boto3
from botocore.config import Config

from boto3_control import check, refused
from matroska import documents

MILLISECOND = timedelta(milliseconds=1)
NUMBER = "AWS_KINESISVIDEO_FRAGMENT_NUMBER"


def milliseconds(time):
    return round(time.timestamp() * 1000)


def pages(archive, size, **members):
    """All pages of at most `size`, and that each but the last is full."""
    found, token = [], None
    while True:
        more = {"NextToken": token} if token else {}
        answer = archive.list_fragments(MaxResults=size, **members, **more)
        found.append(answer["Fragments"])
        token = answer.get("NextToken")
        if not token:
            break
    check(f"pages of {size} are full up to the last", all(len(page) == size for page in found[:-1]) and len(found[-1]) <= size, found)
    return [fragment for page in found for fragment in page]


def list_fragments(archive, stream):
    """The fragments in the order of the producer's times."""
    listed = archive.list_fragments(StreamName=stream)["Fragments"]
    check("ListFragments lists at least three", len(listed) >= 3, listed)
    numbers = [fragment["FragmentNumber"] for fragment in listed]
    check("fragment numbers are unique decimals", len(set(numbers)) == len(numbers) and all(n.isdigit() for n in numbers))
    check("each has a size and a length", all(f["FragmentSizeInBytes"] > 0 and f["FragmentLengthInMilliseconds"] > 0 for f in listed))
    by_number = lambda fragment: fragment["FragmentNumber"]
    for size in [1, 2, len(listed)]:
        paged = pages(archive, size, StreamName=stream)
        check(f"pages of {size} are the whole", sorted(paged, key=by_number) == sorted(listed, key=by_number), paged)
    for kind, member in [("PRODUCER_TIMESTAMP", "ProducerTimestamp"), ("SERVER_TIMESTAMP", "ServerTimestamp")]:

        def select(start, end, **more):
            selector = {"FragmentSelectorType": kind, "TimestampRange": {"StartTimestamp": start, "EndTimestamp": end}}
            return archive.list_fragments(StreamName=stream, FragmentSelector=selector, **more)

        times = sorted(fragment[member] for fragment in listed)
        chosen = select(times[1], times[1])["Fragments"]
        check(f"{kind}: both ends are in the range", [f[member] for f in chosen] == [times[1]], chosen)
        chosen = select(times[0] + MILLISECOND, times[-1] - MILLISECOND)["Fragments"]
        check(f"{kind}: what is outside is left out", sorted(f[member] for f in chosen) == times[1:-1], chosen)
        page = select(times[1], times[-1], MaxResults=1)
        check(f"{kind} has pages", len(page["Fragments"]) == 1 and page.get("NextToken"), page)
        rest = select(times[1], times[-1], NextToken=page["NextToken"])["Fragments"]
        check(f"{kind}: the next page is the rest", sorted(f[member] for f in page["Fragments"] + rest) == times[1:], rest)
        day = timedelta(days=1)
        check(f"{kind} of another day selects nothing", select(times[0] - 2 * day, times[0] - day)["Fragments"] == [])
    return sorted(listed, key=lambda fragment: fragment["ProducerTimestamp"])


def check_media(what, found, fragment, times):
    """One fragment, sent by either operation."""
    seen = (found.doc_type, found.tags.get(NUMBER), len(found.clusters))
    check(f"{what} is a document of its own", seen == ("matroska", fragment["FragmentNumber"], 1), seen)
    check(f"{what} has its tracks", sorted(found.tracks.values()) == ["A_AAC", "V_MPEG4/ISO/AVC"], found.tracks)
    cluster = found.clusters[0]
    produced = milliseconds(fragment["ProducerTimestamp"])
    check(f"{what} starts at its time", cluster.timecode == produced, (cluster.timecode, produced))
    bounds = (0, fragment["FragmentLengthInMilliseconds"])
    check(f"{what} lasts as long as is listed", all(bounds[0] <= time <= bounds[1] for _, time, _ in cluster.blocks), bounds)
    check(f"{what} has frames of both tracks", all(cluster.frames(track) > 0 for track in found.tracks))
    check(f"{what} is not larger than is listed", sum(len(f) for _, _, f in cluster.blocks) < fragment["FragmentSizeInBytes"])
    for name, member in times.items():
        tag, listed = found.tags.get(f"AWS_KINESISVIDEO_{name}"), milliseconds(fragment[member])
        check(f"{what} carries {name}", tag is not None and round(float(tag) * 1000) == listed, (tag, listed))


def media_of_fragments(archive, stream, fragments):
    """All of them, in another order than they came in."""
    wanted = fragments[1::2] + list(reversed(fragments[::2]))
    numbers = [fragment["FragmentNumber"] for fragment in wanted]
    answer = archive.get_media_for_fragment_list(StreamName=stream, Fragments=numbers)
    check("GetMediaForFragmentList sends Matroska", answer["ContentType"] == "video/x-matroska", answer["ContentType"])
    found = list(documents(answer["Payload"]))
    check("it sends the fragments in the order of the list", [d.tags.get(NUMBER) for d in found] == numbers, numbers)
    times = {"SERVER_SIDE_TIMESTAMP": "ServerTimestamp", "PRODUCER_SIDE_TIMESTAMP": "ProducerTimestamp"}
    for index, (document, fragment) in enumerate(zip(found, wanted)):
        check_media(f"fragment {index} of the list", document, fragment, times)
    return {document.tags[NUMBER]: document.clusters for document in found}


def media(client, stream, fragments, clusters, frames):
    fragments = sorted(fragments, key=lambda fragment: int(fragment["FragmentNumber"]))
    numbers = [fragment["FragmentNumber"] for fragment in fragments]

    def read(count, **selector):
        answer = client.get_media(StreamName=stream, StartSelector=selector)
        check(f"GetMedia {selector['StartSelectorType']} sends Matroska", answer["ContentType"] == "video/x-matroska")
        found = list(islice(documents(answer["Payload"]), count))
        answer["Payload"].close()
        return found

    def starts(what, index, **selector):
        seen = [document.tags[NUMBER] for document in read(len(numbers) - index, **selector)]
        check(f"{what} starts there and goes on", seen == numbers[index:], seen)

    found = read(len(numbers), StartSelectorType="EARLIEST")
    times = {"SERVER_TIMESTAMP": "ServerTimestamp", "PRODUCER_TIMESTAMP": "ProducerTimestamp"}
    for index, (document, fragment) in enumerate(zip(found, fragments, strict=True)):
        what = f"fragment {index} of GetMedia"
        check_media(what, document, fragment, times)
        check(f"{what} says how old it is", document.tags["AWS_KINESISVIDEO_MILLIS_BEHIND_NOW"].isdigit(), document.tags)
        check(f"{what} is that of GetMediaForFragmentList", document.clusters == clusters[fragment["FragmentNumber"]])
    video = next(number for number, codec in found[0].tracks.items() if codec.startswith("V_"))
    seen = sum(document.clusters[0].frames(video) for document in found)
    check(f"all {frames} frames are there", seen == frames, seen)

    for index in range(1, len(numbers)):
        token = found[index - 1].tags["AWS_KINESISVIDEO_CONTINUATION_TOKEN"]
        starts(f"continuation token {index - 1}", index, StartSelectorType="CONTINUATION_TOKEN", ContinuationToken=token)
    starts("FRAGMENT_NUMBER", 1, StartSelectorType="FRAGMENT_NUMBER", AfterFragmentNumber=numbers[0])
    arrived, made = fragments[1]["ServerTimestamp"], fragments[1]["ProducerTimestamp"]
    starts("SERVER_TIMESTAMP", 1, StartSelectorType="SERVER_TIMESTAMP", StartTimestamp=arrived)
    starts("SERVER_TIMESTAMP, a moment later,", 2, StartSelectorType="SERVER_TIMESTAMP", StartTimestamp=arrived + MILLISECOND)
    starts("PRODUCER_TIMESTAMP", 1, StartSelectorType="PRODUCER_TIMESTAMP", StartTimestamp=made)
    starts("PRODUCER_TIMESTAMP within a fragment", 1, StartSelectorType="PRODUCER_TIMESTAMP", StartTimestamp=made + 500 * MILLISECOND)


def invalid(what, member, call, **members):
    message = refused(what, "InvalidArgumentException", 400, call, **members)
    check(f"{what}: the message names {member}", message.startswith(f"{member}: "), message)


def wrong_input(archive, client, stream, fragments):
    """`archive` and `client` send what they are given; botocore's own checks are off."""
    lists = [("ListFragments", archive.list_fragments, {}),
             ("GetMediaForFragmentList", archive.get_media_for_fragment_list, {"Fragments": ["1"]}),
             ("GetMedia", client.get_media, {"StartSelector": {"StartSelectorType": "NOW"}})]
    for name, call, members in lists:
        refused(f"{name} of a missing stream", "ResourceNotFoundException", 404, call, StreamName="no-such", **members)
        refused(f"{name} of no stream", "InvalidArgumentException", 400, call, **members)

    for most in [0, 1001]:
        invalid(f"MaxResults {most}", "MaxResults", archive.list_fragments, StreamName=stream, MaxResults=most)
    invalid("a token of somebody's own", "NextToken", archive.list_fragments, StreamName=stream, NextToken="mine")
    time = fragments[0]["ProducerTimestamp"]
    time_range = {"StartTimestamp": time, "EndTimestamp": time}
    for what, member, selector in [
        ("a selector without a type", "FragmentSelectorType", {"TimestampRange": time_range}),
        ("a selector of another type", "FragmentSelectorType", {"FragmentSelectorType": "NOW", "TimestampRange": time_range}),
        ("a selector without a range", "TimestampRange", {"FragmentSelectorType": "SERVER_TIMESTAMP"}),
        ("a range without an end", "TimestampRange.EndTimestamp",
         {"FragmentSelectorType": "SERVER_TIMESTAMP", "TimestampRange": {"StartTimestamp": time}}),
    ]:
        invalid(what, f"FragmentSelector.{member}", archive.list_fragments, StreamName=stream, FragmentSelector=selector)

    number = fragments[0]["FragmentNumber"]
    for what, member, numbers in [
        ("an empty list of fragments", "Fragments", []),
        ("1001 fragments", "Fragments", [number] * 1001),
        ("a fragment number with letters", "Fragments[1]", [number, "first"]),
    ]:
        invalid(what, member, archive.get_media_for_fragment_list, StreamName=stream, Fragments=numbers)
    refused("a fragment that is not there", "ResourceNotFoundException", 404, archive.get_media_for_fragment_list,
            StreamName=stream, Fragments=[number, "1"])

    invalid("GetMedia without a selector", "StartSelector", client.get_media, StreamName=stream)
    for what, member, selector in [
        ("GetMedia from LATEST", "StartSelectorType", {"StartSelectorType": "LATEST"}),
        ("GetMedia after no fragment", "AfterFragmentNumber", {"StartSelectorType": "FRAGMENT_NUMBER"}),
        ("GetMedia after a word", "AfterFragmentNumber", {"StartSelectorType": "FRAGMENT_NUMBER", "AfterFragmentNumber": "first"}),
        ("GetMedia with a word as token", "ContinuationToken", {"StartSelectorType": "CONTINUATION_TOKEN", "ContinuationToken": "x"}),
        ("GetMedia from no server time", "StartTimestamp", {"StartSelectorType": "SERVER_TIMESTAMP"}),
        ("GetMedia from no producer time", "StartTimestamp", {"StartSelectorType": "PRODUCER_TIMESTAMP"}),
    ]:
        invalid(what, f"StartSelector.{member}", client.get_media, StreamName=stream, StartSelector=selector)


def main():
    url, stream, frames = sys.argv[1], sys.argv[2], int(sys.argv[3])
    region = sys.argv[4] if len(sys.argv) > 4 else "us-east-1"
    kv = boto3.client("kinesisvideo", endpoint_url=url, region_name=region)

    def client(service, api, **options):
        endpoint = kv.get_data_endpoint(StreamName=stream, APIName=api)["DataEndpoint"]
        config = Config(retries={"max_attempts": 1}, read_timeout=20, **options)
        return boto3.client(service, endpoint_url=endpoint, region_name=region, config=config)

    fragments = list_fragments(client("kinesis-video-archived-media", "LIST_FRAGMENTS"), stream)
    archive = client("kinesis-video-archived-media", "GET_MEDIA_FOR_FRAGMENT_LIST")
    clusters = media_of_fragments(archive, stream, fragments)
    media(client("kinesis-video-media", "GET_MEDIA"), stream, fragments, clusters, frames)
    wrong_input(
        client("kinesis-video-archived-media", "LIST_FRAGMENTS", parameter_validation=False),
        client("kinesis-video-media", "GET_MEDIA", parameter_validation=False),
        stream,
        fragments,
    )


if __name__ == "__main__":
    main()
