"""Ports on which this node says how many endpoints of a Service it has."""

import asyncio
import errno
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from plait.core.api import Address, PlaitError, Publish, Report, Service
from plait.plugins.lb.health.exchange import Exchange, answer

RETRY = 5.0
"""Seconds after which a port that could not be had is tried again."""

CLIENTS = 64
"""Clients of a port at a time; of more, the one that came first is cut off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """How many endpoints of a Service there are, by the address that is asked."""

    service: Service
    endpoints: Mapping[Address, int]


class _Place(NamedTuple):
    """Where something listens."""

    address: Address
    port: int


class Listeners:
    """All such ports of a node. It is called in one event loop."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._answers: dict[str, Answers] = {}
        self._open: dict[_Place, _Listener] = {}
        self._failed: dict[tuple[str, _Place], PlaitError] = {}
        self._due: asyncio.TimerHandle | None = None

    def set(self, scope: str, answers: Answers | None) -> None:
        """Answer so from now on for a Service; None: not at all."""
        self._answers.pop(scope, None)
        if answers:
            self._answers[scope] = answers
        self._settle_in(0.0)

    def close(self) -> None:
        """Answer no more."""
        for listener in self._open.values():
            listener.close()

    def _settle_in(self, seconds: float) -> None:
        if self._due:
            self._due.cancel()
        self._due = asyncio.get_running_loop().call_later(seconds, self._settle)

    def _settle(self) -> None:
        """Listen where that is wanted, and nowhere else: first let go, then take. A port that goes
        from one Service to another stays open.
        """
        wanted = [
            (scope, _Place(address, answers.service.health_check_node_port), answers)
            for scope, answers in sorted(self._answers.items())
            for address in answers.endpoints
        ]
        for place in self._open.keys() - {place for _, place, _ in wanted}:
            self._open.pop(place).close()
        failed, served = {}, set()
        for scope, place, answers in wanted:
            try:
                listener = self._listener(place, free=place not in served)
            except OSError as error:
                failed[scope, place] = _taken(place, answers.service, error)
            else:
                served.add(place)
                listener.answer = answer(answers.service, answers.endpoints[place.address])
        if failed.keys() != self._failed.keys():
            self._publish(Report(problems=tuple(failed.values())))
        self._failed = failed
        if failed:
            self._settle_in(RETRY)

    def _listener(self, place: _Place, *, free: bool) -> "_Listener":
        """The one of a place, which of two Services the first has. OSError for the second."""
        if not free:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        if place not in self._open:
            self._open[place] = _Listener(place)
        return self._open[place]


class _Listener:
    """A port of an address, or of all addresses of a family. OSError when it cannot be had.

    asyncio's own server leaves a client hanging that connects just when it is closed.
    """

    def __init__(self, place: _Place) -> None:
        self.answer = (b"", b"")
        family = socket.AF_INET if place.address.version == 4 else socket.AF_INET6
        self._socket = socket.create_server(
            (str(place.address), place.port), family=family, backlog=CLIENTS
        )
        self._socket.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._clients: dict[Exchange, None] = {}  # in the order in which they came
        self._tasks: set[asyncio.Task[object]] = set()
        self._listen()

    def close(self) -> None:
        """The port is free when this returns."""
        self._loop.remove_reader(self._socket)
        self._socket.close()
        for client in tuple(self._clients):
            client.cut()

    def _listen(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        try:
            client, _ = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:  # no descriptor is left: to ask again at once would only burn time
            self._loop.remove_reader(self._socket)
            self._loop.call_later(1.0, self._listen)
            return
        client.setblocking(False)
        served = self._loop.connect_accepted_socket(
            lambda: Exchange(lambda: self.answer, self._came, self._went), client
        )
        task = self._loop.create_task(served)
        self._tasks.add(task)  # the loop itself keeps no task from being collected
        task.add_done_callback(self._tasks.discard)

    def _came(self, client: Exchange) -> None:
        if len(self._clients) >= CLIENTS:
            next(iter(self._clients)).cut()
        self._clients[client] = None

    def _went(self, client: Exchange) -> None:
        self._clients.pop(client, None)


def _taken(place: _Place, service: Service, error: OSError) -> PlaitError:
    why = os.strerror(error.errno).lower() if error.errno else str(error)
    return PlaitError(
        f"{service}: health check port {place.port} of {place.address} cannot be had: {why}",
        at=service.at,
        hint=f"ss -ltnp 'sport = :{place.port}'",
    )
