"""One request of a client, and the answer: as much of HTTP as a health check speaks.

aiohttp would do it, too, and would cost every node 166 ms of start-up and 10 MB; what asyncio has
is there anyway.
"""

import asyncio
import json
import re
from collections.abc import Callable

from plait.core.api import Service

CLIENT_SECONDS = 5.0
"""How long a client may take, from connecting to having read the answer."""

HEAD_MAX = 8192
"""Bytes of a request, at most."""

_REQUEST_LINE = re.compile(rb"(?P<method>[A-Z]+) \S+ HTTP/1\.[01]\r\n")
_END = b"\r\n\r\n"
_STATUSES = {200: "OK", 400: "Bad Request", 503: "Service Unavailable"}


def answer(service: Service, endpoints: int) -> tuple[bytes, bytes]:
    """(head, body) for a Service with so many local endpoints.

    Source: Kubernetes' pkg/proxy/healthcheck/service_health.go.
    """
    body = json.dumps(
        {
            "service": {"namespace": service.meta.namespace, "name": service.meta.name},
            "localEndpoints": endpoints,
            "serviceProxyHealthy": True,
        }
    ).encode()
    headers = (
        "Content-Type: application/json",
        "X-Content-Type-Options: nosniff",
        f"X-Load-Balancing-Endpoint-Weight: {endpoints}",
        f"Content-Length: {len(body)}",
    )
    return _head(200 if endpoints else 503, *headers), body


def _head(status: int, *headers: str) -> bytes:
    lines = (f"HTTP/1.1 {status} {_STATUSES[status]}", *headers, "Connection: close", "", "")
    return "\r\n".join(lines).encode()


class Exchange(asyncio.Protocol):
    """A connection. `answer` gives head and body, `came` and `went` are told of it.

    Who is too slow is cut off, so that clients who hold on to connections cost little.
    """

    def __init__(
        self,
        answer: Callable[[], tuple[bytes, bytes]],
        came: "Callable[[Exchange], None]",
        went: "Callable[[Exchange], None]",
    ) -> None:
        self._answer = answer
        self._came = came
        self._went = went
        self._request = b""
        self._transport: asyncio.Transport | None = None
        self._limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._limit = asyncio.get_running_loop().call_later(CLIENT_SECONDS, self.cut)
        self._came(self)

    def data_received(self, data: bytes) -> None:
        """Some of a request has come. A body, if there is one, does not matter."""
        self._request += data
        if self._transport is None or self._transport.is_closing():
            return
        if len(self._request) > HEAD_MAX:
            self.cut()
        elif _END in self._request:
            self._transport.write(self._answered())
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """It is over, one way or another."""
        if self._limit:
            self._limit.cancel()
        self._went(self)

    def cut(self) -> None:
        """End it at once."""
        if self._transport:
            self._transport.abort()

    def _answered(self) -> bytes:
        line = _REQUEST_LINE.match(self._request)
        if line is None:
            return _head(400, "Content-Length: 0")
        head, body = self._answer()
        return head if line["method"] == b"HEAD" else head + body
