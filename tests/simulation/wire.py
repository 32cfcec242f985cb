"""The way of one instance to the database server: a relay that knows where a request ends and is answered."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from sqlalchemy import URL

from tests.simulation.gate import Fault, Gate

_STARTUP, _CANCEL, _SSL, _GSS = 196_608, 80_877_102, 80_877_103, 80_877_104
_ENDS_OF_REQUESTS = b"QS"  # simple query, Sync
_TO_BE_SENT = _ENDS_OF_REQUESTS + b"HXp"  # and Flush, Terminate, a password
_READY, _KEY = b"Z", b"K"

_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

#: Ends the backend with this process id, and returns once it is gone.
Terminate = Callable[[int], Awaitable[None]]


class Wire:
    """Passes each request on through a gate.

    While it is *away*, or cut for good, nobody gets through.
    """

    def __init__(self, target: URL, gate: Gate, terminate: Terminate) -> None:
        self._target = target
        self._gate = gate
        self._terminate = terminate
        self._lines: set[_Line] = set()
        self.is_away = False

    @asynccontextmanager
    async def url(self) -> AsyncIterator[URL]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        async with server:
            yield self._target.set(port=server.sockets[0].getsockname()[1])
            self.cut()

    def cut(self) -> None:
        """Break all connections there are."""
        for line in list(self._lines):
            line.break_off()

    async def cut_and_settled(self) -> None:
        """Break all connections, and return once the server has given up whatever they were doing."""
        pids = [line.backend for line in self._lines if line.backend]
        self.cut()
        for pid in pids:
            await self._terminate(pid)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_away or self._gate.killed.is_set():
            writer.transport.abort()
            return
        assert self._target.port is not None
        far_reader, far_writer = await asyncio.open_connection(self._target.host, self._target.port)
        line = _Line((reader, writer), (far_reader, far_writer), self._gate, self._terminate)
        self._lines.add(line)
        try:
            await line.pass_on()
        finally:
            self._lines.discard(line)


class _Line:
    """One connection: both directions, message by message."""

    def __init__(self, near: _Streams, far: _Streams, gate: Gate, terminate: Terminate) -> None:
        self._reader, self._writer = near
        self._far_reader, self._far_writer = far
        self._gate = gate
        self._terminate = terminate
        self._is_idle = True
        self._after_answer: Fault | None = None
        self.backend = 0

    def break_off(self) -> None:
        self._far_writer.transport.abort()
        if self._gate.awake.is_set():  # who is stopped hears of it later
            self._writer.transport.abort()

    async def pass_on(self) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._begin()
            there = asyncio.create_task(self._there())
            await self._back()
            there.cancel()  # it may be held at the gate
            await asyncio.wait({there})
        self.break_off()

    async def _begin(self) -> None:
        """The messages before all others: they have no type."""
        while True:
            length, code = struct.unpack("!ii", head := await self._reader.readexactly(8))
            if code in {_SSL, _GSS}:
                self._writer.write(b"N")
                continue
            self._far_writer.write(head + await self._reader.readexactly(length - 8))
            if code in {_STARTUP, _CANCEL}:
                return

    async def _there(self) -> None:
        with contextlib.suppress(ConnectionError):
            request = b""  # sent as a whole: half of one would be executed, and not committed
            async for messages in _messages(self._reader):
                for kind, message in messages:
                    request += message
                    if kind in _ENDS_OF_REQUESTS and not await self._may_pass():
                        return
                    if kind in _TO_BE_SENT:
                        self._far_writer.write(request)
                        request = b""
        self._far_writer.close()

    async def _may_pass(self) -> bool:
        fault = await self._gate.request(self._time_out)
        if fault is Fault.CUT:
            self.break_off()
            return False
        if fault is Fault.TERMINATE:
            await self._terminate(self.backend)
        elif fault is not None:
            self._after_answer = fault
        return True

    async def _time_out(self) -> None:
        """The process is about to stop for longer than the server leaves an open transaction idle."""
        if not self._is_idle:
            await self._terminate(self.backend)

    async def _back(self) -> None:
        with contextlib.suppress(ConnectionError):
            async for messages in _messages(self._far_reader):
                await self._gate.awake.wait()  # who is stopped hears nothing
                for kind, message in messages:
                    if kind == _KEY:
                        (self.backend,) = struct.unpack("!i", message[5:9])
                    elif kind == _READY:
                        self._is_idle = message[5:6] == b"I"
                if self._after_answer is None:
                    self._writer.write(b"".join(message for _, message in messages))
                elif messages[-1][0] == _READY:
                    self._gate.answered(self._after_answer)
                    self.break_off()
                    break
        await self._gate.awake.wait()
        self._writer.close()


async def _messages(reader: asyncio.StreamReader) -> AsyncIterator[Sequence[tuple[bytes, bytes]]]:
    """What comes, in whole messages with their types, as many at once as there are."""
    rest = b""
    while data := await reader.read(65_536):
        rest += data
        found, start = [], 0
        while len(rest) - start >= 5:
            (length,) = struct.unpack_from("!i", rest, start + 1)
            end = start + 1 + length
            if len(rest) < end:
                break
            found.append((rest[start : start + 1], rest[start:end]))
            start = end
        rest = rest[start:]
        if found:
            yield found
