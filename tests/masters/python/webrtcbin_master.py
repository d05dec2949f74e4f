"""A KVS WebRTC master on GStreamer's webrtcbin (with libnice): plays a file of H.264 or H.265 and one of Opus or G.711 to
every viewer.

    AWS_REGION=... AWS_ENDPOINT_URL_KINESIS_VIDEO=... webrtcbin_master.py --channel NAME [--video FILE.h264|.h265]
        [--audio FILE.ogg|.mulaw|.alaw] [--max-bundle]

Nothing is encoded: the access units of the file are sent as they are, so each can be looked for at the other end. Unless it
is told otherwise webrtcbin does not bundle: each track has a transport, keys and candidates of its own. It trickles.
"""

import asyncio
import pathlib
import re
import site
import sys

# GStreamer's bindings are the system's, those of AWS this environment's.
site.addsitedir("/usr/lib/python3/dist-packages")
import gi  # noqa: E402

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import Gst, GstSdp, GstWebRTC  # noqa: E402

import kvs  # noqa: E402
from kvs import FRAME_RATE, Clock, say  # noqa: E402

# What goes in, what makes RTP of it, and the name in SDP, by the end of the file's name.
CODECS = {
    ".h264": ("video/x-h264,stream-format=byte-stream,alignment=au", "rtph264pay config-interval=-1 aggregate-mode=zero-latency", "H264"),
    ".h265": ("video/x-h265,stream-format=byte-stream,alignment=au", "rtph265pay config-interval=-1 aggregate-mode=zero-latency", "H265"),
    ".ogg": ("audio/x-opus,rate=48000,channels=1,channel-mapping-family=0", "rtpopuspay", "opus"),
    ".mulaw": ("audio/x-mulaw,rate=8000,channels=1", "rtppcmupay", "PCMU"),
    ".alaw": ("audio/x-alaw,rate=8000,channels=1", "rtppcmapay", "PCMA"),
}


def track(name, file, sdp):
    """A part of the pipeline, with the payload type of the offer."""
    caps, payloader, codec = CODECS[pathlib.Path(file).suffix]
    number = re.search(rf"a=rtpmap:(\d+) {codec}/", sdp).group(1)
    return (
        f"appsrc name={name} is-live=true format=time caps={caps} ! {payloader} pt={number}"
        f" ! application/x-rtp,media={name},encoding-name={codec.upper()},payload={number} ! webrtc."
    )


async def reply(webrtc, signal, *arguments):
    """What webrtcbin answers to an action signal."""
    promise = Gst.Promise.new()
    webrtc.emit(signal, *arguments, promise)
    result = await asyncio.to_thread(promise.wait)
    if result != Gst.PromiseResult.REPLIED:
        raise RuntimeError(f"{signal}: {result}")
    return promise.get_reply()


class Connection:
    def __init__(self, master, viewer, number, sdp):
        self.master, self.viewer, self.number, self.sdp = master, viewer, number, sdp
        self.loop = asyncio.get_running_loop()
        policy = "max-bundle" if master.arguments.max_bundle else "none"
        parts = [f"webrtcbin name=webrtc bundle-policy={policy}"]
        if master.audio:
            parts.append(track("audio", master.arguments.audio, sdp))
        if master.video:
            parts.append(track("video", master.arguments.video, sdp))
        self.pipeline = Gst.parse_launch(" ".join(parts))
        self.webrtc = self.pipeline.get_by_name("webrtc")
        self.webrtc.connect("on-ice-candidate", self.found)
        self.webrtc.connect("notify::connection-state", self.changed)
        self.tasks = []

    def found(self, _webrtc, section, candidate):
        candidate = {"candidate": candidate, "sdpMid": None, "sdpMLineIndex": section}
        print(candidate, file=sys.stderr)
        asyncio.run_coroutine_threadsafe(self.master.send("ICE_CANDIDATE", self.viewer, candidate), self.loop)

    def changed(self, webrtc, _property):
        say(webrtc.get_property("connection-state").value_nick, connection=self.number)

    def sends(self):
        """All transports of tracks are up. That of a section without a track never is, nor is the whole connection then."""
        senders = [pad.get_property("transceiver").get_property("sender") for pad in self.webrtc.sinkpads]
        transports = [sender.get_property("transport") for sender in senders]
        connected = GstWebRTC.WebRTCDTLSTransportState.CONNECTED
        return all(transport and transport.get_property("state") == connected for transport in transports)

    async def answer(self):
        self.pipeline.set_state(Gst.State.PLAYING)
        result, offer = GstSdp.SDPMessage.new_from_text(self.sdp)
        assert result == GstSdp.SDPResult.OK
        offer = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.OFFER, offer)
        await reply(self.webrtc, "set-remote-description", offer)
        # What a reply holds is gone with it.
        created = await reply(self.webrtc, "create-answer", None)
        answer = created.get_value("answer")
        self.webrtc.emit("set-local-description", answer, Gst.Promise.new())
        print(f"answer to {self.viewer}:\n{answer.sdp.as_text()}", file=sys.stderr)
        await self.master.send("SDP_ANSWER", self.viewer, {"type": "answer", "sdp": answer.sdp.as_text()})
        self.tasks.append(asyncio.create_task(self.play()))

    async def play(self):
        while not self.sends():
            await asyncio.sleep(0.02)
        clock = Clock()
        begin = self.pipeline.get_clock().get_time() - self.pipeline.get_base_time()
        tracks = []
        if self.master.video:
            tracks.append(self.track(clock, begin, "video", self.master.video, Gst.SECOND / FRAME_RATE))
        if self.master.audio:
            tracks.append(self.track(clock, begin, "audio", self.master.audio, 20 * Gst.MSECOND))
        await asyncio.gather(*tracks)

    async def track(self, clock, begin, name, packets, duration):
        source = self.pipeline.get_by_name(name)
        for number, packet in enumerate(packets):
            await clock.until(number * duration / Gst.SECOND)
            if self.master.ended.is_set():
                return
            buffer = Gst.Buffer.new_wrapped(packet)
            buffer.pts = buffer.dts = begin + int(number * duration)
            if name == "video":
                say("frame", connection=self.number, number=number)
            source.emit("push-buffer", buffer)

    async def close(self):
        for task in self.tasks:
            task.cancel()
        await asyncio.to_thread(self.pipeline.set_state, Gst.State.NULL)


class Master(kvs.Master):
    async def answer(self, viewer, number, sdp):
        self.connections[viewer] = Connection(self, viewer, number, sdp)
        await self.connections[viewer].answer()

    async def candidate(self, connection, candidate):
        connection.webrtc.emit("add-ice-candidate", candidate["sdpMLineIndex"], candidate["candidate"])

    async def close(self, connection):
        await connection.close()


Gst.init(None)
asyncio.run(Master(kvs.arguments("--max-bundle")).until_the_end())
