"""A TCP proxy that counts how often a client has to wait for the server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import URL

#: Messages of a client that make the server answer: Query, Sync, Flush, CopyDone, CopyFail, FunctionCall.
ASKING: Final = frozenset(b"QSHcfF")
#: Length of a message's type and of its length field.
HEADER: Final = 5


@dataclass(slots=True)
class FrontendMessages:
    """Splits what a client sends into messages, however the packets were cut."""

    started: bool = False
    rest: bytearray = field(default_factory=bytearray)

    def types(self, data: bytes) -> bytes:
        """The types of the messages completed by *data*; those before the session's start have none."""
        self.rest += data
        found = bytearray()
        position = 0
        while len(self.rest) - position >= HEADER:
            at = position + (1 if self.started else 0)
            end = at + int.from_bytes(self.rest[at : at + 4])
            if end > len(self.rest):
                break
            if self.started:
                found.append(self.rest[position])
            else:  # a StartupMessage names a version, the requests before it (TLS, GSS) a code of 1234
                self.started = int.from_bytes(self.rest[at + 4 : at + 6]) != 1234
            position = end
        del self.rest[:position]
        return bytes(found)


class WireCounter:
    """Round trips of all connections through the proxy at `port`.

    A round trip is a burst of the client's messages that asks for an answer, up to the next byte from the
    server: messages sent together, as in a pipeline, are one.
    """

    def __init__(self) -> None:
        self.round_trips = 0
        self.port = 0

    async def carry(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Everything in both directions until one side closes."""
        waiting = False

        async def upstream() -> None:
            nonlocal waiting
            messages = FrontendMessages()
            while data := await client[0].read(1 << 16):
                if ASKING.intersection(messages.types(data)) and not waiting:
                    waiting = True
                    self.round_trips += 1
                server[1].write(data)
                await server[1].drain()
            server[1].write_eof()

        async def downstream() -> None:
            nonlocal waiting
            while data := await server[0].read(1 << 16):
                waiting = False
                client[1].write(data)
                await client[1].drain()
            client[1].close()

        await asyncio.gather(upstream(), downstream(), return_exceptions=True)
        for writer in (client[1], server[1]):
            writer.close()


@asynccontextmanager
async def wire_counter(url: URL) -> AsyncIterator[WireCounter]:
    """A proxy before the server of *url*, listening on this machine only."""
    counter = WireCounter()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await counter.carry((reader, writer), await asyncio.open_connection(url.host, url.port))

    listener = await asyncio.start_server(connected, "127.0.0.1", 0)
    counter.port = listener.sockets[0].getsockname()[1]
    try:
        yield counter
    finally:
        listener.close()
