"""The echo server: TCP lines and UDP datagrams come back with the server's name in front, and on
demand with the address that the client has for it.
"""

import selectors
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from plait.core.lab.traffic.base import ANSWER_SEPARATOR, PATIENCE, Target, Until, widen

_BURST = 64
_CHUNK = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """How much a server answered."""

    name: str
    connections: int
    messages: int
    datagrams: int


@dataclass(slots=True)
class _Connection:
    sock: socket.socket
    prefix: bytes = b""
    partial: bytes = b""
    unsent: bytearray = field(default_factory=bytearray)


class Server:
    """Listens as soon as it is made, on TCP and UDP of every address; answers in `run`.

    One that tells clients is called `NAME@ADDRESS` by each, which is the client's own as it came.
    """

    def __init__(self, name: str, listen: Sequence[Target], *, tell_client: bool = False) -> None:
        self._name = name
        self._tell_client = tell_client
        self._selector = selectors.DefaultSelector()
        self._connections = self._messages = self._datagrams = 0
        for target in listen:
            self._watch(_bound(target, socket.SOCK_STREAM), self._accept)
            self._watch(_bound(target, socket.SOCK_DGRAM), self._answer_datagrams)

    def run(self, until: Until) -> Served:
        """Answer until the end."""
        while not until.over():
            for key, events in self._selector.select(PATIENCE):
                if isinstance(key.data, _Connection):
                    self._serve(key.data, events)
                else:
                    key.data(key.fileobj)
        return Served(
            name=self._name,
            connections=self._connections,
            messages=self._messages,
            datagrams=self._datagrams,
        )

    def _prefix(self, client: str) -> bytes:
        name = f"{self._name}@{client}" if self._tell_client else self._name
        return name.encode() + ANSWER_SEPARATOR

    def _watch(self, sock: socket.socket, ready: Callable[[socket.socket], None]) -> None:
        self._selector.register(sock, selectors.EVENT_READ, ready)

    def _accept(self, listener: socket.socket) -> None:
        sock, client = listener.accept()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections += 1
        self._selector.register(
            sock, selectors.EVENT_READ, _Connection(sock, self._prefix(client[0]))
        )

    def _answer_datagrams(self, sock: socket.socket) -> None:
        for _ in range(_BURST):
            try:
                data, sender = sock.recvfrom(_CHUNK)
                sock.sendto(self._prefix(sender[0]) + data, sender)
            except OSError:
                return  # nothing more to read, or no way back to the sender
            self._datagrams += 1

    def _serve(self, connection: _Connection, events: int) -> None:
        try:
            if events & selectors.EVENT_READ:
                self._read(connection)
            if connection.unsent:
                del connection.unsent[: connection.sock.send(connection.unsent)]
        except BlockingIOError:
            pass
        except OSError:  # the client closed or reset the connection
            self._selector.unregister(connection.sock)
            connection.sock.close()
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.unsent else 0)
        self._selector.modify(connection.sock, wanted, connection)

    def _read(self, connection: _Connection) -> None:
        data = connection.sock.recv(_CHUNK)
        if not data:
            raise ConnectionResetError
        *lines, connection.partial = (connection.partial + data).split(b"\n")
        self._messages += len(lines)
        for line in lines:
            connection.unsent += connection.prefix + line + b"\n"


def _bound(target: Target, kind: socket.SocketKind) -> socket.socket:
    sock = socket.socket(target.family, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if target.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind(target.pair)
    sock.setblocking(False)
    if kind == socket.SOCK_STREAM:
        sock.listen(1024)
    else:
        widen(sock)
    return sock
