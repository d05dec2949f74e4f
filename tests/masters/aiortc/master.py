"""A KVS WebRTC master on aiortc: plays an H.264 file and an Ogg Opus file to every viewer that offers.

    AWS_REGION=... AWS_ENDPOINT_URL_KINESIS_VIDEO=... master.py --channel NAME [--video FILE.h264] [--audio FILE.ogg] [--relay]

Nothing is encoded: the access units of the file are sent as they are, so each can be looked for at the other end. aiortc
tells nobody of a PLI, therefore a viewer waits for the key frame that comes next.

Standard output has one JSON object a line (tests/src/stranger.rs). A line `end` on standard input ends the media, and the
end of standard input ends the program.
"""

import argparse
import asyncio
import base64
import fractions
import json
import sys
import time

import aiohttp
import av
import boto3
from aiortc import MediaStreamTrack, RTCBundlePolicy, RTCConfiguration, RTCIceServer, RTCIceTransportPolicy
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from aiortc.sdp import candidate_from_sdp
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest

FRAME_RATE = 30


def say(event, **members):
    print(json.dumps({"event": event, **members}), flush=True)


def packets(path, format):
    """The packets of a file, as bytes."""
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


class Stored(MediaStreamTrack):
    """Packets that were encoded before, each at its time."""

    def __init__(self, clock, ended, packets, duration, rate):
        super().__init__()
        self.clock, self.ended, self.packets = clock, ended, packets
        self.duration, self.rate = duration, rate
        self.sent = 0

    async def recv(self):
        await self.clock.until(self.sent * self.duration / self.rate)
        if self.ended.is_set():
            raise MediaStreamError
        packet = av.Packet(self.next())
        packet.pts = packet.dts = self.sent * self.duration
        packet.time_base = fractions.Fraction(1, self.rate)
        self.sent += 1
        return packet


class Video(Stored):
    kind = "video"

    def __init__(self, clock, ended, packets, connection):
        super().__init__(clock, ended, packets, 90_000 // FRAME_RATE, 90_000)
        self.connection = connection

    def next(self):
        if self.sent == len(self.packets):
            raise MediaStreamError
        say("frame", connection=self.connection, number=self.sent)
        return self.packets[self.sent]


class Audio(Stored):
    kind = "audio"

    def __init__(self, clock, ended, packets):
        super().__init__(clock, ended, packets, 960, 48_000)

    def next(self):
        return self.packets[self.sent % len(self.packets)]


class Master:
    def __init__(self, arguments):
        self.arguments = arguments
        self.ended = asyncio.Event()
        self.connections = {}
        self.offers = 0
        self.video = arguments.video and packets(arguments.video, "h264")
        self.audio = arguments.audio and packets(arguments.audio, "ogg")

    def resolve(self):
        """ARN and endpoints of the channel, and its ICE servers."""
        session = boto3.Session()
        control = session.client("kinesisvideo")
        self.arn = control.describe_signaling_channel(ChannelName=self.arguments.channel)["ChannelInfo"]["ChannelARN"]
        endpoints = control.get_signaling_channel_endpoint(
            ChannelARN=self.arn,
            SingleMasterChannelEndpointConfiguration={"Protocols": ["WSS", "HTTPS"], "Role": "MASTER"},
        )["ResourceEndpointList"]
        endpoints = {endpoint["Protocol"]: endpoint["ResourceEndpoint"] for endpoint in endpoints}
        signaling = session.client("kinesis-video-signaling", endpoint_url=endpoints["HTTPS"])
        servers = signaling.get_ice_server_config(ChannelARN=self.arn)["IceServerList"]
        self.servers = [
            RTCIceServer(urls=server["Uris"], username=server["Username"], credential=server["Password"])
            for server in servers
        ]
        signer = SigV4QueryAuth(session.get_credentials(), "kinesisvideo", session.region_name, 299)
        request = AWSRequest("GET", endpoints["WSS"], params={"X-Amz-ChannelARN": self.arn})
        signer.add_auth(request)
        return request.prepare().url

    async def run(self):
        url = await asyncio.to_thread(self.resolve)
        async with aiohttp.ClientSession() as session, session.ws_connect(url, heartbeat=30) as socket:
            say("ready")
            async for message in socket:
                if message.type == aiohttp.WSMsgType.TEXT and message.data:
                    await self.handle(socket, json.loads(message.data))

    async def handle(self, socket, message):
        viewer = message.get("senderClientId")
        kind = message["messageType"]
        if kind not in ("SDP_OFFER", "ICE_CANDIDATE"):
            return
        payload = json.loads(base64.b64decode(message["messagePayload"]))
        if kind == "SDP_OFFER":
            await self.answer(socket, viewer, payload)
        elif connection := self.connections.get(viewer):
            candidate = candidate_from_sdp(payload["candidate"].removeprefix("candidate:"))
            candidate.sdpMid, candidate.sdpMLineIndex = payload.get("sdpMid"), payload.get("sdpMLineIndex")
            await connection.addIceCandidate(candidate)

    async def answer(self, socket, viewer, offer):
        self.offers += 1
        number = self.offers
        say("offer", connection=number)
        policy = RTCIceTransportPolicy.RELAY if self.arguments.relay else RTCIceTransportPolicy.ALL
        connection = RTCPeerConnection(RTCConfiguration(self.servers, policy, RTCBundlePolicy.MAX_BUNDLE))
        self.connections[viewer] = connection

        @connection.on("connectionstatechange")
        def changed():
            say(connection.connectionState, connection=number)

        await connection.setRemoteDescription(RTCSessionDescription(offer["sdp"], offer["type"]))
        clock = Clock()
        if self.video:
            connection.addTrack(Video(clock, self.ended, self.video, number))
        if self.audio:
            connection.addTrack(Audio(clock, self.ended, self.audio))
        # All candidates are in the answer: aiortc does not trickle.
        await connection.setLocalDescription(await connection.createAnswer())
        description = {"type": "answer", "sdp": connection.localDescription.sdp}
        await socket.send_json(
            {
                "action": "SDP_ANSWER",
                "messagePayload": base64.b64encode(json.dumps(description).encode()).decode(),
                "recipientClientId": viewer,
            }
        )

    async def commands(self):
        """Until standard input ends."""
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        async for line in reader:
            if line.strip() == b"end":
                self.ended.set()
                # A track asks before it sends: after the longest wait of one there is nothing more.
                await asyncio.sleep(2 / FRAME_RATE)
                say("ended")


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--channel", required=True)
    parser.add_argument("--video")
    parser.add_argument("--audio")
    parser.add_argument("--relay", action="store_true")
    master = Master(parser.parse_args())
    running = asyncio.create_task(master.run())
    commands = asyncio.create_task(master.commands())
    done, _ = await asyncio.wait([running, commands], return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
    for connection in master.connections.values():
        await connection.close()
    running.cancel()


asyncio.run(main())
