"""What a viewer in Python does beside WebRTC, for `cargo xtask bench agent`: signaling is done by whoever started it, so that
what is measured is receiving and storing alone.

Standard output has one JSON object a line: `{"offer": SDP}` first, `{"pictures": N}` for each line `count` on standard input. The
first line of standard input is `{"answer": SDP}`; its end is the end of the program.
"""

import asyncio
import json
import sys


def say(**members):
    print(json.dumps(members), flush=True)


async def lines():
    """An asynchronous iterator over the lines of standard input."""
    reader = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def until_the_end(offer, take, count):
    """Gives `offer`, calls `take` with the answer, and `count` for the pictures so far whenever it is asked for."""
    say(offer=offer)
    reader = await lines()
    answer = json.loads(await reader.readline())["answer"]
    await take(answer)
    async for line in reader:
        if line.strip() == b"count":
            say(pictures=count())
