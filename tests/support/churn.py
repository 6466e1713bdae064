"""Endpoints that change all the time, and a model of who may answer meanwhile."""

import json
import time
from bisect import bisect_right
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import ip_address
from random import Random
from typing import NamedTuple

from support.nodes import Node, rewrite

LAG = 1.0
"""Seconds after a change in which the answer may still be that of before."""

STRANGERS = 30
"""Endpoints of each slice that nobody is behind: they come and go, and are never ready."""

_REAL_EACH = 40  # every so many changes is one of an endpoint that serves


class State(Enum):
    """What a slice says of an endpoint, as its conditions."""

    ABSENT = None
    READY = (True, True, False)
    UNREADY = (False, False, False)
    LEAVING = (False, True, True)


class Server(NamedTuple):
    """A process that is behind an endpoint, and goes by this name."""

    name: str
    address: str
    port: int


@dataclass(slots=True, kw_only=True)
class Churn:
    """The slices of a service, one for each port, and when who took new connections.

    `history` has pairs in the order of time: from when on, which servers.
    """

    node: Node
    service: str
    servers: tuple[Server, ...]
    dice: Random
    states: dict[Server, State] = field(default_factory=dict)
    strangers: dict[int, set[int]] = field(default_factory=dict)
    history: list[tuple[float, frozenset[str]]] = field(default_factory=list)
    changes: int = 0

    def begin(self) -> None:
        """Write all slices; every server is ready."""
        self.states = dict.fromkeys(self.servers, State.READY)
        self.strangers = {each.port: set() for each in self.servers}
        for port in self.strangers:
            self._write(port)
        self._note()

    def change(self) -> None:
        """Another state of one endpoint."""
        self.changes += 1
        if self.changes % _REAL_EACH:
            port = self.dice.choice(tuple(self.strangers))
            self.strangers[port] ^= {self.dice.randrange(STRANGERS)}
        else:
            server = self.dice.choice(self.servers)
            self.turn(server, self.dice.choice(tuple(State)))
            return
        self._write(port)

    def turn(self, server: Server, state: State) -> None:
        """Another state of this server."""
        self.states[server] = state
        self._write(server.port)
        self._note()

    def takers(self) -> frozenset[str]:
        """Who takes new connections now: who is ready or else who still serves on its way out."""
        for state in (State.READY, State.LEAVING):
            found = frozenset(each.name for each in self.servers if self.states[each] is state)
            if found:
                return found
        return frozenset()

    def allowed(self, answer: str | None, since: float) -> bool:
        """Whether a connection that began then may have had this answer; None: it was refused."""
        first = bisect_right(self.history, since - LAG, key=lambda each: each[0]) - 1
        recent = [takers for _, takers in self.history[max(first, 0) :]]
        return any(answer in takers if answer else not takers for takers in recent)

    def _note(self) -> None:
        takers = self.takers()
        if not self.history or self.history[-1][1] != takers:
            self.history.append((time.monotonic(), takers))

    def _write(self, port: int) -> None:
        endpoints = [
            {"addresses": [str(ip_address("10.250.0.0") + each)], "conditions": {"ready": False}}
            for each in sorted(self.strangers[port])
        ]
        for server, state in self.states.items():
            if server.port == port and state.value is not None:
                conditions = dict(
                    zip(("ready", "serving", "terminating"), state.value, strict=True)
                )
                endpoints.append({"addresses": [server.address], "conditions": conditions})
        document = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{self.service}-{port}",
                "labels": {"kubernetes.io/service-name": self.service},
            },
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": [{"name": "echo", "protocol": "TCP", "port": port}],
        }
        rewrite(self.node.objects / f"{self.service}-{port}.json", json.dumps(document))
