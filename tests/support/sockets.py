"""Sockets in the namespaces of a lab, held by the test itself."""

import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

from plait.core.endpoints import namespaces
from plait.core.lab.state import Place

QUICK = 2.0


def tcp(place: Place, address: str) -> socket.socket:
    """A TCP socket in the namespace of a host or pod, for addresses of that family."""
    return _socket(place, address, socket.SOCK_STREAM)


def udp(place: Place, address: str) -> socket.socket:
    """The same for UDP."""
    return _socket(place, address, socket.SOCK_DGRAM)


def listener(place: Place, address: str, port: int) -> socket.socket:
    """A TCP socket that listens there."""
    sock = tcp(place, address)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    sock.listen()
    return sock


def endpoint(address: str, port: int) -> str:
    """The two as the traffic tools take them."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def ask(sock: socket.socket, question: bytes = b"hello") -> str:
    """Ask a traffic server over a connected socket; the name of the one that answers."""
    sock.sendall(question + b"\n")
    answer = b""
    while not answer.endswith(b"\n"):
        part = sock.recv(65536)
        if not part:
            raise ConnectionResetError
        answer += part
    name, _, echoed = answer.rstrip(b"\n").partition(b" ")
    assert echoed == question
    return name.decode()


def servers(place: Place, address: str, port: int, count: int = 20) -> set[str]:
    """Who answers so many new connections."""
    found = set()
    for _ in range(count):
        with tcp(place, address) as sock:
            sock.connect((address, port))
            found.add(ask(sock))
    return found


def random_bytes(count: int) -> bytes:
    """Content of which no part looks like another."""
    return os.urandom(count)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@contextmanager
def swallowing(place: Place, address: str, port: int) -> Iterator[list[str]]:
    """A server that reads one connection to its end, notes its digest, and sends all of it back."""
    seen: list[str] = []
    server = listener(place, address, port)
    server.settimeout(15)

    def run() -> None:
        connection, _ = server.accept()
        with connection:
            data = receive_all(connection)
            seen.append(digest(data))
            connection.sendall(data)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield seen
    finally:
        thread.join()
        server.close()


def receive_all(sock: socket.socket) -> bytes:
    """What comes until the other side closes."""
    sock.settimeout(15)
    parts = []
    while part := sock.recv(1 << 20):
        parts.append(part)
    return b"".join(parts)


def _socket(place: Place, address: str, kind: socket.SocketKind) -> socket.socket:
    family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
    with namespaces.entered(place.netns):
        sock = socket.socket(family, kind)
    sock.settimeout(QUICK)
    return sock
