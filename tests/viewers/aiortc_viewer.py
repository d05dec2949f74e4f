"""A viewer on aiortc, as the prototype of this project was one: it decodes what it receives, and drops it or records it.

    aiortc_viewer.py [--video-only] [--record FILE.mkv]
"""

import argparse
import asyncio

from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaBlackhole, MediaRecorder

import peer


class Counted(MediaStreamTrack):
    """A track, and how many frames came out of it."""

    def __init__(self, track):
        super().__init__()
        self.kind, self.track, self.frames = track.kind, track, 0

    async def recv(self):
        frame = await self.track.recv()
        self.frames += 1
        return frame


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--video-only", action="store_true")
    parser.add_argument("--record")
    arguments = parser.parse_args()
    connection = RTCPeerConnection()
    sink = MediaRecorder(arguments.record) if arguments.record else MediaBlackhole()
    video = []

    @connection.on("track")
    def received(track):
        # What the master refuses is a track here all the same, of which nothing comes; a recorder would wait for it.
        if arguments.video_only and track.kind == "audio":
            return
        counted = Counted(track)
        sink.addTrack(counted)
        if track.kind == "video":
            video.append(counted)

    connection.addTransceiver("video", direction="recvonly")
    connection.addTransceiver("audio", direction="recvonly")
    await connection.setLocalDescription(await connection.createOffer())

    async def take(answer):
        await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        await sink.start()

    # All candidates are in the offer: aiortc does not trickle.
    await peer.until_the_end(connection.localDescription.sdp, take, lambda: sum(track.frames for track in video))
    await sink.stop()
    await connection.close()


asyncio.run(main())
