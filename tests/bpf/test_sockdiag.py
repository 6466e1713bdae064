"""Ending sockets of other processes: those that are named, and no others."""

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from socket import AF_INET, AF_INET6, SOCK_DGRAM, SOCK_STREAM
from subprocess import Popen

import pytest
from pyroute2 import IPRoute

from plait.core.endpoints import namespaces
from plait.core.endpoints.sockdiag import SocketName, destroy_sockets
from plait.core.testing.network import private_network

SO_COOKIE = 57
UDP, TCP = 17, 6


def set_up_loopback() -> None:
    with IPRoute() as netlink:
        netlink.link("set", index=1, state="up")


@pytest.fixture(autouse=True)
def _network() -> Iterator[None]:
    with private_network():
        set_up_loopback()
        yield


def name_of(sock: socket.socket, protocol: int = UDP) -> SocketName:
    cookie = int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8), "little")
    return SocketName(cookie=cookie, netns=namespaces.cookie(), protocol=protocol)


@contextmanager
def connected(
    family: socket.AddressFamily = AF_INET, address: str = "127.0.0.1"
) -> Iterator[socket.socket]:
    with socket.socket(family, SOCK_DGRAM) as sock:
        sock.connect((address, 9))
        sock.settimeout(2)
        yield sock


@pytest.mark.parametrize(
    ("family", "address"),
    [(AF_INET, "127.0.0.1"), (AF_INET6, "::1"), (AF_INET6, "::ffff:127.0.0.1")],
)
def test_a_socket_that_waits_for_an_answer_is_told(
    family: socket.AddressFamily, address: str
) -> None:
    with connected(family, address) as sock:
        assert destroy_sockets([name_of(sock)]) == 1

        with pytest.raises(ConnectionAbortedError):
            sock.recv(1)


def test_other_sockets_are_left_alone() -> None:
    with connected() as one, connected() as other:
        destroy_sockets([name_of(one)])

        other.settimeout(0.05)
        with pytest.raises(TimeoutError):
            other.recv(1)


def test_sockets_that_are_gone_do_not_matter() -> None:
    with connected() as sock:
        name = name_of(sock)

    assert destroy_sockets([name]) == 0


def test_sockets_of_another_namespace_are_found() -> None:
    """By a process that is in it."""
    with private_network():
        set_up_loopback()
        with connected() as sock, Popen(["sleep", "10"]) as inhabitant:
            name = name_of(sock)

            with private_network():
                assert namespaces.cookie() != name.netns
                assert destroy_sockets([name]) == 1

            inhabitant.terminate()
            with pytest.raises(ConnectionAbortedError):
                sock.recv(1)


def test_a_connection_is_reset() -> None:
    with socket.socket(AF_INET, SOCK_STREAM) as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        with socket.create_connection(server.getsockname(), timeout=2) as client:
            accepted = server.accept()[0]
            accepted.settimeout(2)

            assert destroy_sockets([name_of(client, TCP)]) == 1

            with accepted, pytest.raises(ConnectionResetError):
                accepted.recv(1)
            assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in (
                0, errno.ECONNABORTED,
            )  # fmt: skip
