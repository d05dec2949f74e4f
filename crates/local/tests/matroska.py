"""Reads what GetMedia and GetMediaForFragmentList send: Matroska documents one behind the other (RFC 8794, RFC 9559).

It asks for exactly the bytes that come next, so that it also reads an answer that does not end.
"""

from dataclasses import dataclass, field

EBML, SEGMENT, INFO, TRACKS, TAGS, CLUSTER = 0x1A45DFA3, 0x18538067, 0x1549A966, 0x1654AE6B, 0x1254C367, 0x1F43B675
TIMECODE, SIMPLE_BLOCK = 0xE7, 0xA3
# Position, SeekHead and Void say nothing about the media.
IGNORED = {0xA7, 0x114D9B74, 0xEC}
LAST_TAG = "AWS_KINESISVIDEO_CONTINUATION_TOKEN"


@dataclass
class Cluster:
    timecode: int = None
    blocks: list = field(default_factory=list)

    def frames(self, track):
        return sum(number == track for number, _, _ in self.blocks)


@dataclass
class Document:
    """A fragment as the service sends it."""

    doc_type: str = None
    tracks: dict = field(default_factory=dict)
    tags: dict = field(default_factory=dict)
    clusters: list = field(default_factory=list)


def vint(data, at, keep_marker=False):
    length = 9 - data[at].bit_length()
    if length > 8 or at + length > len(data):
        raise ValueError(f"no EBML number in {data[at:at + 8].hex()}")
    value = int.from_bytes(data[at : at + length], "big")
    return (value if keep_marker else value & ((1 << 7 * length) - 1)), at + length


def children(data):
    at = 0
    while at < len(data):
        element, at = vint(data, at, keep_marker=True)
        size, at = vint(data, at)
        if at + size > len(data):
            raise ValueError(f"element {element:X} is longer than its parent")
        yield element, data[at : at + size]
        at += size


def only(data, wanted, default=b""):
    return next((content for element, content in children(data) if element == wanted), default)


class Bytes:
    def __init__(self, body):
        self.body = body

    def exactly(self, count):
        data = b""
        while len(data) < count:
            part = self.body.read(count - len(data))
            if not part:
                raise ValueError(f"the media ends {count - len(data)} bytes before the end of an element")
            data += part
        return data

    def head(self):
        """Element id and size of the next element; a size of None is unknown. None at the end."""
        first = self.body.read(1)
        if not first:
            return None
        element = int.from_bytes(first + self.exactly(8 - first[0].bit_length()), "big")
        first = self.exactly(1)
        length = 9 - first[0].bit_length()
        size, _ = vint(first + self.exactly(length - 1), 0)
        return element, None if size == (1 << 7 * length) - 1 else size


def documents(body):
    """The documents of a body with read(count), each as soon as it is complete."""
    source, document = Bytes(body), None
    while True:
        head = source.head()
        if head is None:
            if document:
                yield document
            return
        element, size = head
        if element == EBML:
            if document:
                yield document
            document = Document(doc_type=only(source.exactly(size), 0x4282).decode())
        elif document is None:
            raise ValueError(f"element {element:X} before an EBML header")
        elif element == SEGMENT:
            continue
        elif element == CLUSTER:
            document.clusters.append(Cluster())
        elif size is None:
            raise ValueError(f"element {element:X} of unknown size")
        else:
            read(document, element, source.exactly(size))
            if LAST_TAG in document.tags:
                yield document
                document = None


def read(document, element, content):
    if element == TRACKS:
        for _, entry in children(content):
            document.tracks[int.from_bytes(only(entry, 0xD7), "big")] = only(entry, 0x86).decode()
    elif element == TAGS:
        for _, tag in children(content):
            for kind, simple in children(tag):
                if kind == 0x67C8:
                    document.tags[only(simple, 0x45A3).decode()] = only(simple, 0x4487).decode()
    elif element == TIMECODE:
        document.clusters[-1].timecode = int.from_bytes(content, "big")
    elif element == SIMPLE_BLOCK:
        track, at = vint(content, 0)
        time = int.from_bytes(content[at : at + 2], "big", signed=True)
        document.clusters[-1].blocks.append((track, time, content[at + 3 :]))
    elif element != INFO and element not in IGNORED:
        raise ValueError(f"element {element:X} has no place in a fragment")
