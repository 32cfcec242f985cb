"""InfluxEndpoint: the part of InfluxDB 2.x's API that is used, with the answers of 2.7 word for word."""

import asyncio
import gzip
import itertools
import json
import re
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from tests.influx import answers
from tests.influx.grammar import Line, Malformed, Value, lines_of, parse

TOKEN, ORG, BUCKET = "secret-token-of-the-tests", "bots", "market-data"
_TYPES = {float: "float", int: "integer", bool: "boolean", str: "string"}
_CODES = {400: "invalid", 401: "unauthorized", 404: "not found", 413: "request too large"}

Key = tuple[str, tuple[tuple[str, str], ...], int]


class InfluxEndpoint:
    """A server on the loopback; what it was given is in `points`, how often each point in `times`."""

    def __init__(self, *, buckets: tuple[str, ...] = (BUCKET,), largest_body: int = 50_000_000) -> None:
        self.buckets: dict[str, dict[str, Any]] = {name: a_bucket(name) for name in buckets}
        self.tasks: dict[str, dict[str, Any]] = {}
        self.points: dict[Key, dict[str, Value]] = {}
        self.times: Counter[Key] = Counter()
        self.requests: list[tuple[str, str, int]] = []
        #: What the next requests get instead: a status with headers, or None for a connection that is cut.
        self.instead: deque[tuple[int, dict[str, str]] | None] = deque()
        #: So many of the next writes are stored, and their answers lost.
        self.answers_lost = 0
        self.forgets_before_ns: int | None = None
        self.port = 0
        self._types: dict[tuple[str, str], str] = {}
        self._largest_body = largest_body
        self._may_answer = asyncio.Event()
        self._may_answer.set()
        self._runner: web.AppRunner | None = None
        self._holding = 0
        self._numbers = itertools.count()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, Any]:
        """What leads to it."""
        return {"url": self.url, "token": TOKEN, "org": ORG, "bucket": BUCKET}

    @property
    def waiting(self) -> int:
        """How many requests are kept waiting for an answer."""
        return self._holding

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, on the same port as before."""
        application = web.Application(client_max_size=self._largest_body * 2)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(
            application, access_log=None, shutdown_timeout=0.01, auto_decompress=False
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        assert site._server is not None
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]  # of asyncio's own

    async def stop(self) -> None:
        """Be gone; whoever waits for an answer gets none."""
        self.answer()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def fall_silent(self) -> None:
        """Take requests from now on, and answer none."""
        self._may_answer.clear()

    def answer(self) -> None:
        """Answer again, those who wait too."""
        self._may_answer.set()

    def lines(self) -> list[Line]:
        """What it has, as lines."""
        return [Line(name, tags, tuple(sorted(f.items())), at) for (name, tags, at), f in self.points.items()]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if not self._may_answer.is_set():
            self._holding += 1
            try:
                await self._may_answer.wait()
            finally:
                self._holding -= 1
        if self.instead:
            instead = self.instead.popleft()
            if instead is None:
                return self._cut(request)
            status, headers = instead
            return self._answered(request, refusal(status, "as the test says", headers))
        if request.headers.get("Authorization") != f"Token {TOKEN}":
            return self._answered(request, refusal(401, "unauthorized access"))
        if request.query.get("org", ORG) != ORG:
            missing = f'organization name "{request.query["org"]}" not found'
            return self._answered(request, refusal(404, missing))
        response = self._response(request, body)
        if request.path == "/api/v2/write" and self.answers_lost:
            self.answers_lost -= 1
            return self._cut(request)
        return self._answered(request, response)

    def _cut(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    def _answered(self, request: web.Request, response: web.Response) -> web.Response:
        self.requests.append((request.method, request.path, response.status))
        return response

    def _response(self, request: web.Request, body: bytes) -> web.Response:
        ways: dict[str, Callable[[web.Request, bytes], web.Response]] = {
            "write": self._write,
            "query": self._query,
            "delete": self._delete,
            "orgs": lambda *_: web.json_response({"orgs": [{"id": "0a", "name": ORG}]}),
            "buckets": self._bucket,
            "tasks": self._task,
        }
        return ways[request.path.split("/")[3]](request, body)

    def _write(self, request: web.Request, body: bytes) -> web.Response:
        assert request.query["precision"] == "ns"
        assert request.headers["Content-Encoding"] == "gzip"
        if request.query["bucket"] not in self.buckets:
            return refusal(404, f'bucket "{request.query["bucket"]}" not found')
        try:
            text = gzip.decompress(body).decode()
        except (EOFError, zlib.error, OSError, UnicodeDecodeError):
            return refusal(500, "An internal error has occurred - check server logs")
        if len(text) > self._largest_body:
            return refusal(413, "unable to read data: points batch is too large")
        good, bad = [], []
        for line in lines_of(text):
            try:
                good.append(parse(line))
            except Malformed as error:
                bad.append(f"unable to parse '{line}': {error}")
        if bad:
            return refusal(400, "\n".join(bad))
        reasons = [reason for line in good if (reason := self._stored(line))]
        if reasons:
            return refusal(
                422,
                f"failure writing points to database: partial write: {reasons[0]} dropped={len(reasons)}",
            )
        return web.Response(status=204)

    def _stored(self, line: Line) -> str | None:
        """Why *line* is not stored, None where it is."""
        if self.forgets_before_ns is not None and line.at < self.forgets_before_ns:
            return "points beyond retention policy"
        for name, value in line.fields:
            kind = _TYPES[type(value)]
            known = self._types.setdefault((line.measurement, name), kind)
            if known != kind:
                return (
                    f'field type conflict: input field "{name}" on measurement "{line.measurement}" is type '
                    f"{kind}, already exists as type {known}"
                )
        key = (*line.series, line.at)
        self.points.setdefault(key, {}).update(line.fields)
        self.times[key] += 1
        return None

    def _query(self, request: web.Request, body: bytes) -> web.Response:
        question = json.loads(body)
        assert question["type"] == "flux"
        missing: list[str] = []

        def rows(bucket: str) -> Iterator[answers.Row]:
            if bucket not in self.buckets:
                missing.append(bucket)
                return
            for (measurement, tags, at), fields in self.points.items():
                for name, value in fields.items():
                    yield {
                        "_measurement": measurement,
                        "_time": at,
                        "_field": name,
                        "_value": value,
                        **dict(tags),
                    }

        text = answers.answer(question["query"], question["extern"], rows)
        if missing:
            where = "failed to initialize execute state"
            return refusal(404, f'{where}: could not find bucket "{missing[0]}"')
        return web.Response(text=text, content_type="text/csv", charset="utf-8")

    def _delete(self, request: web.Request, body: bytes) -> web.Response:
        asked = json.loads(body)
        if request.query["bucket"] not in self.buckets:
            return refusal(404, f'bucket "{request.query["bucket"]}" not found')
        first, last = _ns(asked["start"]), _ns(asked["stop"])
        wanted = dict(_predicate(asked["predicate"]))
        measurement = wanted.pop("_measurement")
        for key in list(self.points):
            name, tags, at = key
            if name == measurement and first <= at <= last and wanted.items() <= dict(tags).items():
                del self.points[key]
        left = {(name, field) for (name, _, _), fields in self.points.items() for field in fields}
        self._types = {field: kind for field, kind in self._types.items() if field in left}
        return web.Response(status=204)

    def _bucket(self, request: web.Request, body: bytes) -> web.Response:
        if request.method == "POST":
            asked = json.loads(body)
            if asked["name"] in self.buckets:
                return refusal(422, f"bucket with name {asked['name']} already exists")
            self.buckets[asked["name"]] = a_bucket(asked["name"], asked["retentionRules"])
            return web.json_response(self.buckets[asked["name"]], status=201)
        found = self.buckets.get(request.query["name"])
        return web.json_response({"buckets": [found] if found else []})

    def _task(self, request: web.Request, body: bytes) -> web.Response:
        identity = request.path.removeprefix("/api/v2/tasks").strip("/")
        match request.method:
            case "POST":
                asked = json.loads(body)
                named = re.search(r'option task = \{name: "([^"]+)"', asked["flux"])
                assert named is not None
                identity = f"{next(self._numbers):016x}"
                self.tasks[identity] = {"id": identity, "name": named[1], **asked}
                return web.json_response(self.tasks[identity], status=201)
            case "PATCH":
                self.tasks[identity] |= json.loads(body)
                return web.json_response(self.tasks[identity])
            case "DELETE":
                if self.tasks.pop(identity, None) is None:
                    return refusal(404, "failed to delete task: task not found")
                return web.Response(status=204)
        found = [task for task in self.tasks.values() if task["name"] == request.query["name"]]
        return web.json_response({"tasks": found})


def a_bucket(name: str, rules: list[Any] | None = None) -> dict[str, Any]:
    return {"id": name, "name": name, "retentionRules": rules or []}


def refusal(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    body = {"code": _CODES.get(status, "unavailable"), "message": message}
    return web.json_response(body, status=status, headers=headers or {})


_QUOTED = r'"((?:[^"\\]|\\["\\])*)"'


def _predicate(text: str) -> Iterator[tuple[str, str]]:
    """Strictly `"key"="value" AND "key"="value"`."""
    position = 0
    while True:
        found = re.compile(f"{_QUOTED}={_QUOTED}").match(text, position)
        assert found, f"not a predicate: {text}"
        yield tuple(re.sub(r'\\(["\\])', r"\1", part) for part in found.groups())  # type: ignore[misc]  # two of them
        if found.end() == len(text):
            return
        assert text.startswith(" AND ", found.end()), f"not a predicate: {text}"
        position = found.end() + len(" AND ")


def _ns(text: str) -> int:
    found = re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.(\d{9})Z", text)
    assert found, f"not a time with nanoseconds: {text}"
    *moment, fraction = map(int, found.groups())
    whole = datetime(*moment, tzinfo=UTC)  # type: ignore[misc, arg-type]  # six numbers
    return int(whole.timestamp()) * 1_000_000_000 + fraction
