"""Plays what kvs-local has stored with AWS's own client for Python, and has ffmpeg judge every answer.

    AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=... boto3_playback.py http://127.0.0.1:PORT FRAMES [REGION]

The streams play-av (H.264 with B frames, and AAC), play-hevc, play-alaw (H.264 and A-law) and play-sound (AAC alone) hold FRAMES
frames of video each, at 30 a second. Prints what it checked, one line each, and ends with 0; the first wrong answer ends it with 1.
"""

import base64
import json
import subprocess
import sys
import tempfile
from datetime import timedelta
from urllib.request import urlopen

import boto3
from botocore.config import Config

from boto3_control import check, refused
from boto3_media import invalid

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


class Streams:
    def __init__(self, url, region):
        self.kv = boto3.client("kinesisvideo", endpoint_url=url, region_name=region)
        self.region = region

    def client(self, stream, api, **options):
        endpoint = self.kv.get_data_endpoint(StreamName=stream, APIName=api)["DataEndpoint"]
        config = Config(retries={"max_attempts": 1}, read_timeout=60, **options)
        return boto3.client("kinesis-video-archived-media", endpoint_url=endpoint, region_name=self.region, config=config)

    def fragments(self, stream):
        listed = self.client(stream, "LIST_FRAGMENTS").list_fragments(StreamName=stream)["Fragments"]
        return sorted(listed, key=lambda fragment: fragment["ProducerTimestamp"])

    def hls(self, stream, **members):
        client = self.client(stream, "GET_HLS_STREAMING_SESSION_URL")
        return client.get_hls_streaming_session_url(StreamName=stream, **members)["HLSStreamingSessionURL"]

    def dash(self, stream, **members):
        client = self.client(stream, "GET_DASH_STREAMING_SESSION_URL")
        return client.get_dash_streaming_session_url(StreamName=stream, **members)["DASHStreamingSessionURL"]


def run(*command):
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return ended.returncode, ended.stdout, ended.stderr.strip()


def judge(what, source, kinds, frames):
    """ffmpeg decodes all of it and finds nothing wrong; and it is what was recorded: codecs, and frames of video."""
    status, _, said = run("ffmpeg", "-nostdin", "-v", "error", "-xerror", "-i", source, "-map", "0", "-f", "null", "-")
    check(f"{what}: ffmpeg decodes it without a complaint", (status, said) == (0, ""), (status, said[:2000]))
    status, out, said = run("ffprobe", "-v", "error", "-count_packets", "-show_streams", "-of", "json", source)
    check(f"{what}: ffprobe reads it", status == 0 and said == "", said[:2000])
    streams = {stream["codec_name"]: stream for stream in json.loads(out)["streams"]}
    check(f"{what}: it has {', '.join(kinds)}", sorted(streams) == sorted(kinds), sorted(streams))
    for name in kinds:
        if name in ("h264", "hevc"):
            seen = (streams[name]["width"], streams[name]["height"], int(streams[name]["nb_read_packets"]))
            check(f"{what}: all pictures are there", seen == (320, 240, frames), seen)
    return streams


def whole(fragments, member="ProducerTimestamp"):
    return {"StartTimestamp": fragments[0][member], "EndTimestamp": fragments[-1][member]}


def selector(kind, fragments):
    member = "ProducerTimestamp" if kind == "PRODUCER_TIMESTAMP" else "ServerTimestamp"
    return {"FragmentSelectorType": kind, "TimestampRange": whole(fragments, member)}


def players(streams, stream, kinds, frames, hls=True):
    fragments = streams.fragments(stream)
    for kind in ["PRODUCER_TIMESTAMP", "SERVER_TIMESTAMP"]:
        chosen = {"PlaybackMode": "ON_DEMAND"}
        if hls:
            for container in ["FRAGMENTED_MP4", "MPEG_TS"]:
                url = streams.hls(stream, HLSFragmentSelector=selector(kind, fragments), ContainerFormat=container, **chosen)
                # What the server was sent in a burst overlaps by its clock: each fragment begins anew, and is judged by itself.
                if kind == "PRODUCER_TIMESTAMP":
                    judge(f"{stream}, HLS, {container}", url, kinds, frames)
                else:
                    check(f"{stream}, HLS, {container} by the server's time", urlopen(url).read().startswith(b"#EXTM3U"))
    url = streams.dash(stream, PlaybackMode="ON_DEMAND", DASHFragmentSelector=selector("PRODUCER_TIMESTAMP", fragments))
    judge(f"{stream}, MPEG-DASH", url, kinds, frames)


def clip(streams, stream, kinds, frames):
    fragments = streams.fragments(stream)
    client = streams.client(stream, "GET_CLIP")

    def cut(what, chosen, frames, seconds):
        answer = client.get_clip(StreamName=stream, ClipFragmentSelector=chosen)
        check(f"{what} is MP4", answer["ContentType"] == "video/mp4", answer["ContentType"])
        with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
            file.write(answer["Payload"].read())
            file.flush()
            found = judge(what, file.name, kinds, frames)
            data = open(file.name, "rb").read()
            check(f"{what} has its tables in front", data.index(b"moov") < data.index(b"mdat"))
            lengths = {name: float(of["duration"]) for name, of in found.items()}
            check(f"{what} is not shorter than the media", all(length > seconds - 0.8 for length in lengths.values()), lengths)
            return lengths

    lengths = cut(f"{stream}, clip", selector("PRODUCER_TIMESTAMP", fragments), frames, frames / 30)
    check(f"{stream}, clip: tracks end together", all(length < frames / 30 + 0.8 for length in lengths.values()), lengths)
    # It came faster or slower than it was made.
    cut(f"{stream}, clip by the server's time", selector("SERVER_TIMESTAMP", fragments), frames, frames / 30)
    # Ends are included, and a fragment that has begun before is not.
    first = fragments[0]["ProducerTimestamp"] + timedelta(milliseconds=1)
    inner = {"StartTimestamp": first, "EndTimestamp": fragments[2]["ProducerTimestamp"]}
    chosen = {"FragmentSelectorType": "PRODUCER_TIMESTAMP", "TimestampRange": inner}
    cut(f"{stream}, two fragments of a clip", chosen, 120, 4)
    long_ago = {"StartTimestamp": inner["StartTimestamp"] - DAY, "EndTimestamp": inner["StartTimestamp"] - DAY / 2}
    refused(f"{stream}, a clip of nothing", "ResourceNotFoundException", 404, client.get_clip, StreamName=stream,
            ClipFragmentSelector={"FragmentSelectorType": "PRODUCER_TIMESTAMP", "TimestampRange": long_ago})


def size(image):
    with tempfile.NamedTemporaryFile() as file:
        file.write(image)
        file.flush()
        status, out, said = run("ffprobe", "-v", "error", "-show_streams", "-of", "json", file.name)
    check("an image can be read", (status, said) == (0, ""), said)
    found = json.loads(out)["streams"][0]
    return found["codec_name"], found["width"], found["height"]


def quantization(jpeg):
    """Sum of the steps in the first quantization table (ITU-T T.81 section B.2.4.1): the larger, the coarser."""
    at = jpeg.index(b"\xff\xdb") + 5
    return sum(jpeg[at : at + 64])


def images(streams, stream):
    fragments = streams.fragments(stream)
    client = streams.client(stream, "GET_IMAGES")
    start = fragments[0]["ProducerTimestamp"]
    base = {"StreamName": stream, "ImageSelectorType": "PRODUCER_TIMESTAMP", "StartTimestamp": start}

    def get(**members):
        return client.get_images(**{**base, **members})

    found = get(EndTimestamp=start + 3 * SECOND, Format="JPEG", SamplingInterval=500)["Images"]
    times = [image["TimeStamp"] for image in found]
    check(f"{stream}: an image for each time", times == [start + index * SECOND / 2 for index in range(7)], times)
    pictures = [base64.b64decode(image["ImageContent"]) for image in found]
    check(f"{stream}: JPEG of the recorded size", all(size(p) == ("mjpeg", 320, 240) for p in pictures))
    check(f"{stream}: each image is another", len(set(pictures)) == len(pictures))
    steps = []
    for quality in ["1", "80", "100"]:
        image = get(EndTimestamp=start, Format="JPEG", FormatConfig={"JPEGQuality": quality})["Images"][0]
        steps.append(quantization(base64.b64decode(image["ImageContent"])))
    check(f"{stream}: quality counts", steps[0] > 2 * steps[1] > 2 * steps[2], steps)
    default = get(EndTimestamp=start, Format="JPEG")["Images"][0]
    check(f"{stream}: it is 80 by default", quantization(base64.b64decode(default["ImageContent"])) == steps[1])
    for more, expected in [({}, (320, 240)), ({"WidthPixels": 100, "HeightPixels": 90}, (100, 90)), ({"HeightPixels": 120}, (160, 120))]:
        image = get(EndTimestamp=start, Format="PNG", **more)["Images"][0]
        seen = size(base64.b64decode(image["ImageContent"]))
        check(f"{stream}: PNG of {more or 'the recorded size'}", seen == ("png", *expected), seen)

    before = client.get_images(**{**base, "StartTimestamp": start - SECOND}, EndTimestamp=start, Format="JPEG", SamplingInterval=1000)
    seen = [image.get("Error") for image in before["Images"]]
    check(f"{stream}: no media before the first fragment", seen == ["NO_MEDIA", None], seen)
    pages = client.get_paginator("get_images").paginate(
        **base, EndTimestamp=start + 7 * SECOND, Format="JPEG", SamplingInterval=200, HeightPixels=48, PaginationConfig={"PageSize": 25})
    pages = [[image["TimeStamp"] for image in page["Images"]] for page in pages]
    every = [time for page in pages for time in page]
    check(f"{stream}: pages of 25", [len(page) for page in pages] == [25, 11] and len(set(every)) == 36, pages)


def wrong_input(streams, stream):
    """botocore's own checks are off. tests/playback.rs has the list of all members; these are the refusals as boto3 knows them."""
    fragments = streams.fragments(stream)
    client = streams.client(stream, "GET_CLIP", parameter_validation=False)
    past = whole(fragments)
    calls = [
        ("GetHLSStreamingSessionURL", client.get_hls_streaming_session_url, "HLSFragmentSelector"),
        ("GetDASHStreamingSessionURL", client.get_dash_streaming_session_url, "DASHFragmentSelector"),
    ]
    for name, call, member in calls:
        refused(f"{name} of a missing stream", "ResourceNotFoundException", 404, call, StreamName="no-such")
        refused(f"{name} of no stream", "InvalidArgumentException", 400, call)
        refused(f"{name}, live, of an old stream", "ResourceNotFoundException", 404, call, StreamName="play-old")
        refused(f"{name} of a stream that keeps nothing", "NoDataRetentionException", 400, call, StreamName="play-nothing")
        invalid(f"{name}, live, with a range", f"{member}.TimestampRange", call, StreamName=stream,
                **{member: {"FragmentSelectorType": "SERVER_TIMESTAMP", "TimestampRange": past}})
        invalid(f"{name} for a minute", "Expires", call, StreamName=stream, Expires=60)
    invalid("GetClip without a range", "ClipFragmentSelector", client.get_clip, StreamName=stream)
    invalid("GetImages every 100 ms", "SamplingInterval", client.get_images, StreamName=stream, Format="PNG", SamplingInterval=100,
            ImageSelectorType="SERVER_TIMESTAMP", StartTimestamp=past["StartTimestamp"], EndTimestamp=past["EndTimestamp"])


def main():
    url, frames = sys.argv[1], int(sys.argv[2])
    streams = Streams(url, sys.argv[3] if len(sys.argv) > 3 else "us-east-1")
    for name, hours in [("play-old", 1), ("play-nothing", 0)]:
        streams.kv.create_stream(StreamName=name, DataRetentionInHours=hours)
    players(streams, "play-av", ["h264", "aac"], frames)
    players(streams, "play-hevc", ["hevc"], frames)
    players(streams, "play-alaw", ["h264", "pcm_alaw"], frames, hls=False)
    players(streams, "play-sound", ["aac"], 0)
    for stream, kinds in [("play-av", ["h264", "aac"]), ("play-hevc", ["hevc"]), ("play-alaw", ["h264", "pcm_alaw"])]:
        clip(streams, stream, kinds, frames)
    images(streams, "play-av")
    images(streams, "play-hevc")

    chosen = {"PlaybackMode": "ON_DEMAND"}
    for stream, call, member, more in [
        ("play-alaw", "get_hls_streaming_session_url", "HLSFragmentSelector", chosen),
        ("play-sound", "get_clip", "ClipFragmentSelector", {}),
    ]:
        members = {member: selector("PRODUCER_TIMESTAMP", streams.fragments(stream)), **more}
        client = streams.client(stream, "GET_CLIP")
        refused(f"{call} of {stream}", "UnsupportedStreamMediaTypeException", 400, getattr(client, call), StreamName=stream, **members)
    start = streams.fragments("play-sound")[0]["ProducerTimestamp"]
    answer = streams.client("play-sound", "GET_IMAGES").get_images(
        StreamName="play-sound", ImageSelectorType="PRODUCER_TIMESTAMP", Format="PNG", StartTimestamp=start, EndTimestamp=start)
    seen = [image.get("Error") for image in answer["Images"]]
    check("sound has no images", seen == ["MEDIA_ERROR"], seen)

    wrong_input(streams, "play-av")


if __name__ == "__main__":
    main()
