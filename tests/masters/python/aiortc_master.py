"""A KVS WebRTC master on aiortc: plays an H.264 file and an Ogg Opus file to every viewer that offers.

    AWS_REGION=... AWS_ENDPOINT_URL_KINESIS_VIDEO=... aiortc_master.py --channel NAME [--video FILE.h264] [--audio FILE.ogg] [--relay]
        [--data]

Nothing is encoded: the access units of the file are sent as they are, so each can be looked for at the other end. aiortc
tells nobody of a PLI, therefore a viewer waits for the key frame that comes next.
"""

import asyncio
import fractions
import time

import av
from aiortc import MediaStreamTrack, RTCBundlePolicy, RTCConfiguration, RTCIceServer, RTCIceTransportPolicy
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from aiortc.sdp import candidate_from_sdp

import kvs
from kvs import FRAME_RATE, Clock, say

# Frames from one message to the next, over each data channel.
MESSAGE_EVERY = 15


class Stored(MediaStreamTrack):
    """Packets that were encoded before, each at its time."""

    # How many there are, if not any number.
    most = None

    def __init__(self, clock, ended, packets, duration, rate):
        super().__init__()
        self.clock, self.ended, self.packets = clock, ended, packets
        self.duration, self.rate = duration, rate
        self.sent = 0
        self.over = asyncio.Event()

    async def recv(self):
        """The next packet. It is asked for when the one before has gone to the transport, and not earlier."""
        if self.sent:
            self.gone(self.sent - 1)
        await self.clock.until(self.sent * self.duration / self.rate)
        if self.ended.is_set() or self.sent == self.most:
            self.over.set()
            raise MediaStreamError
        packet = av.Packet(self.next())
        packet.pts = packet.dts = self.sent * self.duration
        packet.time_base = fractions.Fraction(1, self.rate)
        self.sent += 1
        return packet

    def gone(self, number):
        """This one was sent."""


class Video(Stored):
    kind = "video"

    def __init__(self, clock, ended, packets, connection, channels):
        super().__init__(clock, ended, packets, 90_000 // FRAME_RATE, 90_000)
        self.connection, self.channels = connection, channels
        self.most = len(packets)

    def gone(self, number):
        say("frame", connection=self.connection, number=number)

    def next(self):
        if self.sent % MESSAGE_EVERY == 0:
            for channel in self.channels:
                if channel.readyState == "open":
                    channel.send(str(self.sent))
                    say(f"message-{channel.label}", connection=self.connection, number=self.sent)
        return self.packets[self.sent]


class Audio(Stored):
    kind = "audio"

    def __init__(self, clock, ended, packets):
        super().__init__(clock, ended, packets, 960, 48_000)

    def next(self):
        return self.packets[self.sent % len(self.packets)]


class Master(kvs.Master):
    def __init__(self, arguments):
        super().__init__(arguments)
        self.tracks = []

    async def silence(self):
        """Until every track has been asked once more. One that was never asked, or whose connection has gone, never is."""
        over = [asyncio.create_task(track.over.wait()) for track in self.tracks if track.sent]
        if over:
            await asyncio.wait(over, timeout=5)

    async def answer(self, viewer, number, sdp):
        servers = [
            RTCIceServer(urls=server["Uris"], username=server["Username"], credential=server["Password"])
            for server in self.servers
        ]
        policy = RTCIceTransportPolicy.RELAY if self.arguments.relay else RTCIceTransportPolicy.ALL
        connection = RTCPeerConnection(RTCConfiguration(servers, policy, RTCBundlePolicy.MAX_BUNDLE))
        self.connections[viewer] = connection

        @connection.on("connectionstatechange")
        def changed():
            say(connection.connectionState, connection=number)

        await connection.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        # One that this side opens, and whichever the viewer does.
        channels = []
        if self.arguments.data:
            channels.append(connection.createDataChannel("numbers"))
            connection.on("datachannel", channels.append)
        clock = Clock()
        if self.video:
            self.tracks.append(Video(clock, self.ended, self.video, number, channels))
            connection.addTrack(self.tracks[-1])
        if self.audio:
            self.tracks.append(Audio(clock, self.ended, self.audio))
            connection.addTrack(self.tracks[-1])
        # All candidates are in the answer: aiortc does not trickle.
        await connection.setLocalDescription(await connection.createAnswer())
        await self.send("SDP_ANSWER", viewer, {"type": "answer", "sdp": connection.localDescription.sdp})

    async def candidate(self, connection, candidate):
        found = candidate_from_sdp(candidate["candidate"].removeprefix("candidate:"))
        found.sdpMid, found.sdpMLineIndex = candidate.get("sdpMid"), candidate.get("sdpMLineIndex")
        await connection.addIceCandidate(found)

    async def close(self, connection):
        await connection.close()


asyncio.run(Master(kvs.arguments("--relay", "--data")).until_the_end())
