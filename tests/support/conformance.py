"""What Services must do, as data: objects, changes of them, and who is then answered by whom.

A file of tests/e2e/conformance is read once for each family. In it, `$NAME` stands for one of
`ADDRESSES` or `OWN`, for the family (`$family`: IPv4 or IPv6), or for a node port of the file's
own; `$NAME_twin` for the same of the other family.

    objects:                what there is at first, as Kubernetes writes it
    steps:
    - says: a sentence      the behaviour that this step is about
      change:               merged into an object (RFC 7386), by `Kind/name`; null removes it
      add:                  further objects
      wait: 1.5             seconds
      open:                 connections that stay, by name
        first: {who: client, asks: $service, port: 80, by: TCP, gets: web-1}
      expect:               who asks where, and who answers
      - {who: client, asks: $service, port: 80, by: [TCP], gets: [web-1, web-2]}
      - {over: first, gets: [web-1]}

What an expectation `gets` is all the servers that answer, or `refused`, or `silence`, or `nobody`
where no Service is, or `forbidden` where the call fails. `by` is TCP and UDP unless it says
otherwise. `seen_as` is the address that servers know the client by; with `by_one` the same server
answers each time; `pause` is waited before each time. An open connection `gets` who answers `over`
it now, or `reset`, or it is `ended` by the node. What is otherwise for pods whose sockets turn to a
backend is in `by_socket`.
"""

import errno
import itertools
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from types import TracebackType
from typing import Any, Literal, Self

import yaml

from plait.core.kernel import cgroups
from support.nodes import Node
from support.sockets import ask, tcp, udp

FAMILIES = ("IPv4", "IPv6")
UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH)

ADDRESSES: Mapping[str, tuple[str, str]] = {
    "client": ("10.244.1.10", "fd00:10:244:1::10"),
    "web_1": ("10.244.1.11", "fd00:10:244:1::11"),
    "web_2": ("10.244.1.12", "fd00:10:244:1::12"),
    "web_3": ("10.244.2.11", "fd00:10:244:2::11"),
    "node_a": ("192.0.2.1", "2001:db8::1"),
    "outside": ("192.0.2.100", "2001:db8::100"),
    "clients": ("192.0.2.96/27", "2001:db8::100/120"),
    "others": ("198.51.100.0/24", "2001:db8:51::/64"),
}
"""Of the lab of services.yaml, and networks that the machine outside is in, or not."""

OWN: Mapping[str, tuple[str, str]] = {
    "service": ("10.96.1.{}", "fd00:10:96::1:{}"),
    "service_2": ("10.96.2.{}", "fd00:10:96::2:{}"),
    "external": ("203.0.113.{}", "2001:db8:113::{}"),
}
"""Addresses that each file has for itself, by its number: no flow of another file is like its."""

SILENCE = 0.3
TRIES = 200
TRIES_WITH_PAUSE = 20
TRIES_BY_ONE = 12

Documents = Mapping[str, dict[str, object]]
PATIENCE = 5.0  # seconds
Outcome = Literal["refused", "silence", "nobody", "forbidden"]
Protocol = Literal["TCP", "UDP"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """A connection that stays."""

    who: str
    asks: str
    port: int
    by: Protocol = "TCP"
    gets: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What comes of asking."""

    gets: list[str] | Outcome
    who: str
    asks: str
    port: int
    by: Sequence[Protocol] = ("TCP", "UDP")
    seen_as: str | None = None
    by_one: bool = False
    pause: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Still:
    """What has become of the connection that was opened as `over`."""

    over: str
    gets: list[str] | Literal["reset", "ended"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One behaviour."""

    says: str
    change: Mapping[str, Mapping[str, object] | None] = field(default_factory=dict)
    add: Sequence[dict[str, object]] = ()
    wait: float = 0.0
    open: Mapping[str, Open] = field(default_factory=dict)
    expect: Sequence[Expectation | Still] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What a file says, for one family."""

    name: str
    objects: Documents
    steps: tuple[Step, ...]

    @classmethod
    def read(cls, file: Path, number: int, family: str, *, by_socket: bool) -> Self:
        """The file of this number, 1 to 250. TypeError for keys that nobody knows."""
        names = {"node_port": str(30_000 + number)}
        for name, pair in {**ADDRESSES, **OWN, "family": FAMILIES}.items():
            own, twin = pair if family == "IPv4" else reversed(pair)
            names |= {name: own.format(number), f"{name}_twin": twin.format(number)}
        written = yaml.safe_load(Template(file.read_text()).substitute(names))
        assert written.keys() == {"objects", "steps"}, written.keys()
        return cls(
            name=file.stem,
            objects={key_of(each): each for each in written["objects"]},
            steps=tuple(_step(each, by_socket) for each in written["steps"]),
        )


def _step(written: Mapping[str, Any], by_socket: bool) -> Step:
    opened = {name: Open(**each) for name, each in written.get("open", {}).items()}
    expected = []
    for each in written.get("expect", ()):
        otherwise = each.pop("by_socket", {})
        fields = each | otherwise if by_socket else each
        expected.append(Still(**fields) if "over" in fields else Expectation(**fields))
    return Step(**{**written, "open": opened, "expect": expected})


class Conversations(AbstractContextManager["Conversations"]):
    """Asks servers for a story, each time from a port that was not used before."""

    _ports: Iterator[int] = itertools.count(10_000)

    def __init__(self, node: Node) -> None:
        self._node = node
        self._opened: dict[str, socket.socket] = {}

    def open(self, name: str, wanted: Open) -> None:
        """Open a connection that is answered by the server that is wanted."""
        with self._joined(wanted.who):
            self._open(name, wanted)

    def _open(self, name: str, wanted: Open) -> None:
        for _ in range(TRIES):
            sock = self._socket(wanted.who, wanted.asks, wanted.by)
            sock.connect((wanted.asks, wanted.port))
            if _server(ask(sock)) == wanted.gets:
                self._opened[name] = sock
                return
            sock.close()
        raise AssertionError(f"{wanted.gets} never answered: {wanted}")

    def check(self, expected: Expectation | Still) -> None:
        """AssertionError when something else comes of it."""
        if isinstance(expected, Still):
            self._check_opened(expected)
            return
        with self._joined(expected.who):
            self._check(expected)

    def _joined(self, who: str) -> AbstractContextManager[None]:
        """Sockets that are made meanwhile are met by the programs of this one's node."""
        cgroup = self._node.lab.cgroup(who)
        return cgroups.entered(cgroup) if cgroup else nullcontext()

    def _check(self, expected: Expectation) -> None:
        for protocol in expected.by:
            if isinstance(expected.gets, str):
                outcome = self._ask(expected, protocol)
                assert outcome == expected.gets, (protocol, outcome, expected)
            elif expected.by_one:
                answers = {self._ask(expected, protocol) for _ in range(TRIES_BY_ONE)}
                assert len(answers) == 1, (protocol, answers, expected)
                assert answers <= _answers(expected), (protocol, answers, expected)
            else:
                self._check_all(expected, protocol)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for each in self._opened.values():
            each.close()

    def _check_all(self, expected: Expectation, protocol: Protocol) -> None:
        """All who should answer do, nobody else does."""
        wanted, seen = _answers(expected), set[str]()
        for _ in range(TRIES_WITH_PAUSE if expected.pause else TRIES):
            time.sleep(expected.pause)
            seen.add(self._ask(expected, protocol))
            assert seen <= wanted, (protocol, seen, expected)
            if seen == wanted:
                return
        raise AssertionError((protocol, seen, expected))

    def _check_opened(self, expected: Still) -> None:
        deadline = time.monotonic() + PATIENCE
        while (outcome := self._still(expected.over)) != expected.gets:
            # An agent ends sockets by and by; whatever else there is has been so all along.
            assert expected.gets == "ended", (outcome, expected)
            assert time.monotonic() < deadline, (outcome, expected)

    def _still(self, name: str) -> list[str] | str:
        try:
            return [_server(ask(self._opened[name]))]
        except ConnectionResetError:
            return "reset"
        except OSError as error:
            if error.errno not in (errno.ECONNABORTED, errno.EDESTADDRREQ):
                raise
            return "ended"

    def _ask(self, expected: Expectation, protocol: Protocol) -> str:
        """Who answers, or that nobody does."""
        with self._socket(expected.who, expected.asks, protocol) as sock:
            if expected.gets in ("silence", "nobody"):
                sock.settimeout(SILENCE)
            try:
                sock.connect((expected.asks, expected.port))
                name = ask(sock) if protocol == "TCP" else _ask_by_datagram(sock)
            except ConnectionRefusedError:
                return "refused"
            except PermissionError:
                return "forbidden"
            except TimeoutError:  # what UDP is told of an address that nobody has may be nothing
                return "nobody" if expected.gets == "nobody" else "silence"
            except OSError as error:
                if error.errno in UNREACHABLE:
                    return "nobody"
                raise
        return name if expected.seen_as else _server(name)

    def _socket(self, who: str, address: str, protocol: Protocol) -> socket.socket:
        place = self._node.lab.place(who)
        while True:
            sock = (tcp if protocol == "TCP" else udp)(place, address)
            try:
                sock.bind(("", next(self._ports)))
            except OSError as error:
                sock.close()
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return sock


def _ask_by_datagram(sock: socket.socket) -> str:
    sock.send(b"hello")
    name, _, echoed = sock.recv(1000).partition(b" ")
    assert echoed == b"hello"
    return name.decode()


def _server(answer: str) -> str:
    return answer.partition("@")[0]


def _answers(expected: Expectation) -> set[str]:
    seen_as = f"@{expected.seen_as}" if expected.seen_as else ""
    return {f"{server}{seen_as}" for server in expected.gets}


def tell(story: Story, node: Node, conversations: Conversations) -> None:
    """Go through the steps; AssertionError that names the one that fails."""
    objects = {key: deepcopy(each) for key, each in story.objects.items()}
    _put(node, story, objects)
    for step in story.steps:
        for key, change in step.change.items():
            if change is None:
                del objects[key]
            else:
                objects[key] = merged_with(objects[key], change)
        objects |= {key_of(each): each for each in step.add}
        if step.change or step.add:
            _put(node, story, objects)
        time.sleep(step.wait)
        try:
            for name, each in step.open.items():
                conversations.open(name, each)
            for expected in step.expect:
                conversations.check(expected)
        except Exception as error:
            error.add_note(f"{story.name}: {step.says}")
            raise


def _put(node: Node, story: Story, objects: Documents) -> None:
    status = node.write(f"{story.name}.yaml", yaml.safe_dump_all(objects.values(), sort_keys=False))
    assert not status.problems, status.problems


def key_of(document: Mapping[str, object]) -> str:
    metadata = document["metadata"]
    assert isinstance(metadata, dict)
    return f"{document['kind']}/{metadata['name']}"


def merged_with(target: object, patch: Mapping[str, object]) -> dict[str, object]:
    """Source: RFC 7386, JSON Merge Patch."""
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        merged[key] = merged_with(merged.get(key), value) if isinstance(value, dict) else value
    return {key: value for key, value in merged.items() if value is not None}
