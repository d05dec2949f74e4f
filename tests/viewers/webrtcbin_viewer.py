"""A viewer of GStreamer alone: webrtcbin (with libnice) in front of the same `kvssink` that the agent has. Python makes the
pipeline and does nothing while media passes.

    webrtcbin_viewer.py [--video-only] STREAM REGION ENDPOINT CA-FILE PEM-FILE
"""

import argparse
import asyncio
import hashlib
import re
import ssl

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import Gst, GstSdp, GstWebRTC  # noqa: E402

import peer  # noqa: E402

VIDEO = "rtph264depay name=video ! h264parse ! video/x-h264,stream-format=avc,alignment=au ! queue ! sink."
AUDIO = "rtpopusdepay name=audio ! opusdec plc=true ! audioconvert ! audioresample ! voaacenc ! aacparse ! queue ! sink."
# What is asked for, in the order of the offer.
CAPS = {
    "video": "application/x-rtp,media=video,encoding-name=H264,payload=96,clock-rate=90000,"
    "packetization-mode=(string)1,profile-level-id=(string)42e01f,rtcp-fb-nack=true,rtcp-fb-nack-pli=true",
    "audio": "application/x-rtp,media=audio,encoding-name=OPUS,payload=97,clock-rate=48000,encoding-params=(string)2",
}


async def reply(webrtc, signal, *arguments):
    """What webrtcbin answers to an action signal."""
    promise = Gst.Promise.new()
    webrtc.emit(signal, *arguments, promise)
    result = await asyncio.to_thread(promise.wait)
    if result != Gst.PromiseResult.REPLIED:
        raise RuntimeError(f"{signal}: {result}")
    return promise.get_reply()


def fingerprint(pem):
    """Of the certificate, which comes before its key (RFC 8122, section 5)."""
    der = ssl.PEM_cert_to_DER_cert(pem[: pem.index("-----END CERTIFICATE-----") + 25])
    return hashlib.sha256(der).digest().hex(":").upper()


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--video-only", action="store_true")
    parser.add_argument("stream")
    parser.add_argument("region")
    parser.add_argument("endpoint")
    parser.add_argument("ca_file")
    parser.add_argument("pem", help="a certificate of ECDSA and its key")
    arguments = parser.parse_args()
    Gst.init(None)
    parts = [
        "webrtcbin name=webrtc bundle-policy=max-bundle",
        f"kvssink name=sink stream-name={arguments.stream} aws-region={arguments.region} endpoint={arguments.endpoint}"
        f" ca-file={arguments.ca_file}",
        VIDEO,
    ]
    if not arguments.video_only:
        parts.append(AUDIO)
    pipeline = Gst.parse_launch(" ".join(parts))
    webrtc, sink = pipeline.get_by_name("webrtc"), pipeline.get_by_name("sink")
    loop = asyncio.get_running_loop()
    gathered = asyncio.Event()

    def gathering(element, _property):
        if element.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            loop.call_soon_threadsafe(gathered.set)

    def received(_element, pad):
        caps = pad.get_current_caps() or pad.query_caps(None)
        target = pipeline.get_by_name(caps.get_structure(0).get_string("media"))
        if target:
            pad.link(target.get_static_pad("sink"))

    with open(arguments.pem) as file:
        pem = file.read()

    def identify(_bin, _parent, element):
        # Its own is of RSA, which stacks without OpenSSL do not take (str0m, for one).
        factory = element.get_factory()
        if factory and factory.get_name() == "dtlssrtpdec":
            element.set_property("pem", pem)

    webrtc.connect("deep-element-added", identify)
    webrtc.connect("notify::ice-gathering-state", gathering)
    webrtc.connect("pad-added", received)
    for kind in ["video"] if arguments.video_only else ["video", "audio"]:
        direction = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
        transceiver = webrtc.emit("add-transceiver", direction, Gst.Caps.from_string(CAPS[kind]))
        transceiver.set_property("do-nack", kind == "video")
    pipeline.set_state(Gst.State.PLAYING)
    # What a reply holds is gone with it.
    created = await reply(webrtc, "create-offer", None)
    offer = created.get_value("offer")
    webrtc.emit("set-local-description", offer, Gst.Promise.new())
    await gathered.wait()

    async def take(answer):
        result, sdp = GstSdp.SDPMessage.new_from_text(answer)
        assert result == GstSdp.SDPResult.OK, result
        answer = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, sdp)
        webrtc.emit("set-remote-description", answer, Gst.Promise.new())

    def count():
        # Of kvssink's own statistics: nothing is called for each picture.
        return sink.get_property("statistics").get_value("video-frames-in")

    # The offer still names the certificate that webrtcbin began with.
    sdp = webrtc.get_property("local-description").sdp.as_text()
    sdp = re.sub("a=fingerprint:[^\r\n]*", f"a=fingerprint:sha-256 {fingerprint(pem)}", sdp)
    await peer.until_the_end(sdp, take, count)
    pipeline.send_event(Gst.Event.new_eos())
    bus = pipeline.get_bus()
    kinds = Gst.MessageType.EOS | Gst.MessageType.ERROR
    await asyncio.to_thread(bus.timed_pop_filtered, 5 * Gst.SECOND, kinds)
    pipeline.set_state(Gst.State.NULL)


asyncio.run(main())
