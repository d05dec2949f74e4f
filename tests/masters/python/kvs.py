"""What a KVS WebRTC master in Python does beside WebRTC: it joins its channel, takes offers, and says what happens.

Standard output has one JSON object a line (tests/src/stranger.rs). A line `end` on standard input ends the media, and the
end of standard input ends the program.
"""

import argparse
import asyncio
import base64
import json
import pathlib
import sys
import time

import aiohttp
import av
import boto3
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest

FRAME_RATE = 30


def say(event, **members):
    print(json.dumps({"event": event, **members}), flush=True)


def arguments(*flags):
    """`--channel NAME [--video FILE.h264|.h265] [--audio FILE.ogg|.mulaw|.alaw] [--join]`, and `flags` of the stack.

    `--join`: the channel's media is stored, so it is the storage session that offers, once it is joined.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--channel", required=True)
    parser.add_argument("--video")
    parser.add_argument("--audio")
    parser.add_argument("--join", action="store_true")
    for flag in flags:
        parser.add_argument(flag, action="store_true")
    return parser.parse_args()


# The name of a container, or of a byte stream, by the end of a file's name.
FORMATS = {".h264": "h264", ".h265": "hevc", ".ogg": "ogg"}


def packets(path):
    """The packets of a file, as bytes; of G.711 in 20 ms."""
    suffix = pathlib.Path(path).suffix
    if suffix in (".mulaw", ".alaw"):
        sound = pathlib.Path(path).read_bytes()
        return [sound[at : at + 160] for at in range(0, len(sound) - 159, 160)]
    format = FORMATS[suffix]
    with av.open(path, format=format) as container:
        return [bytes(packet) for packet in container.demux() if packet.size]


class Clock:
    """The moment at which both tracks began."""

    def __init__(self):
        self.start = None

    async def until(self, seconds):
        if self.start is None:
            self.start = time.monotonic()
        await asyncio.sleep(self.start + seconds - time.monotonic())


class Master:
    """A master of one channel. Subclasses answer."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.ended = asyncio.Event()
        self.connections = {}
        self.offers = 0
        self.video = arguments.video and packets(arguments.video)
        self.audio = arguments.audio and packets(arguments.audio)
        # `Uris`, `Username`, `Password` of GetIceServerConfig.
        self.servers = []

    def resolve(self):
        """ARN and endpoints of the channel, and its ICE servers."""
        session = boto3.Session()
        control = session.client("kinesisvideo")
        self.arn = control.describe_signaling_channel(ChannelName=self.arguments.channel)["ChannelInfo"]["ChannelARN"]
        protocols = ["WSS", "HTTPS"] + ["WEBRTC"] * self.arguments.join
        endpoints = control.get_signaling_channel_endpoint(
            ChannelARN=self.arn,
            SingleMasterChannelEndpointConfiguration={"Protocols": protocols, "Role": "MASTER"},
        )["ResourceEndpointList"]
        endpoints = {endpoint["Protocol"]: endpoint["ResourceEndpoint"] for endpoint in endpoints}
        if self.arguments.join:
            self.storage = session.client("kinesis-video-webrtc-storage", endpoint_url=endpoints["WEBRTC"])
        signaling = session.client("kinesis-video-signaling", endpoint_url=endpoints["HTTPS"])
        self.servers = signaling.get_ice_server_config(ChannelARN=self.arn)["IceServerList"]
        signer = SigV4QueryAuth(session.get_credentials(), "kinesisvideo", session.region_name, 299)
        request = AWSRequest("GET", endpoints["WSS"], params={"X-Amz-ChannelARN": self.arn})
        signer.add_auth(request)
        return request.prepare().url

    async def run(self):
        url = await asyncio.to_thread(self.resolve)
        async with aiohttp.ClientSession() as session, session.ws_connect(url, heartbeat=30) as socket:
            self.socket = socket
            say("ready")
            if self.arguments.join:
                await asyncio.to_thread(self.storage.join_storage_session, channelArn=self.arn)
            async for message in socket:
                if message.type == aiohttp.WSMsgType.TEXT and message.data:
                    await self.handle(json.loads(message.data))

    async def handle(self, message):
        viewer = message.get("senderClientId")
        kind = message["messageType"]
        if kind not in ("SDP_OFFER", "ICE_CANDIDATE"):
            return
        payload = json.loads(base64.b64decode(message["messagePayload"]))
        if kind == "SDP_OFFER":
            self.offers += 1
            say("offer", connection=self.offers)
            await self.answer(viewer, self.offers, payload["sdp"])
        elif connection := self.connections.get(viewer):
            await self.candidate(connection, payload)

    async def answer(self, viewer, number, sdp):
        """Makes a connection, the `number`th, keeps it in `connections`, and sends an answer."""
        raise NotImplementedError

    async def candidate(self, connection, candidate):
        """A candidate of the viewer: `candidate`, `sdpMid`, `sdpMLineIndex`."""
        raise NotImplementedError

    async def close(self, connection):
        raise NotImplementedError

    async def silence(self):
        """Until nothing more is sent, once `ended` is set. A track asks before it sends: after the longest wait of one."""
        await asyncio.sleep(2 / FRAME_RATE)

    async def send(self, action, viewer, payload):
        """`SDP_ANSWER` or `ICE_CANDIDATE`."""
        text = base64.b64encode(json.dumps(payload).encode()).decode()
        # The storage session has no name.
        recipient = {"recipientClientId": viewer} if viewer else {}
        await self.socket.send_json({"action": action, "messagePayload": text, **recipient})

    async def commands(self):
        """Until standard input ends."""
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        async for line in reader:
            if line.strip() == b"end":
                self.ended.set()
                await self.silence()
                say("ended")

    async def until_the_end(self):
        running = asyncio.create_task(self.run())
        commands = asyncio.create_task(self.commands())
        done, _ = await asyncio.wait([running, commands], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        for connection in self.connections.values():
            await self.close(connection)
        running.cancel()
