"""A process whose backend goes while it waits for it is told, if nothing else would tell it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from plait.core.lab.lab import Lab
from support.nodes import Node, quickstart

WEB = {4: "10.244.1.11", 6: "fd00:10:244:1::11"}
SERVICE = {4: "10.96.0.10", 6: "fd00:10:96::10"}

WAITS = """
import socket, sys
sock = socket.socket(getattr(socket, sys.argv[1]), getattr(socket, sys.argv[2]))
sock.settimeout(float(sys.argv[4]))
sock.connect((sys.argv[3], 80))
print(sock.getpeername()[0], flush=True)
sock.send(b"?")
try:
    print("heard", sock.recv(16))
except OSError as error:
    print(type(error).__name__)
"""
"""Connects, says whom it is connected to, and waits for an answer that does not come."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with quickstart("e2e-release") as lab:
        yield lab


@pytest.fixture
def node(lab: Lab, cache: Path, tmp_path: Path) -> Iterator[Node]:
    """A node whose service has one backend for each family, where nobody listens."""
    node = Node.make(lab, tmp_path, cache)
    write_backends(node, *WEB.values())
    yield node
    node.detach()


def write_backends(node: Node, *addresses: str) -> None:
    text = (node.objects / "web.yaml").read_text().split("---\n")[0]
    documents = [
        json.dumps(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": f"web-{version}",
                    "labels": {"kubernetes.io/service-name": "web"},
                },
                "addressType": f"IPv{version}",
                "endpoints": [
                    {"addresses": [each]} for each in addresses if (":" in each) == (version == 6)
                ],
                "ports": [
                    {"name": "echo", "port": 8080, "protocol": "TCP"},
                    {"name": "echo-udp", "port": 8080, "protocol": "UDP"},
                ],
            }
        )
        for version in (4, 6)
    ]
    (node.objects / "web.yaml").write_text(
        "---\n".join((text, *(f"{each}\n" for each in documents)))
    )


def waiting(
    node: Node, where: str, family: str, address: str, *, seconds: float = 10
) -> subprocess.Popen[str]:
    """A process that waits for the service, so long at most."""
    arguments = (family, "SOCK_DGRAM", address, str(seconds))
    process = node.lab.popen(where, sys.executable, "-c", WAITS, *arguments)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == address
    return process


def said(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=15)[0].strip()


@pytest.mark.parametrize(
    ("family", "address"),
    [
        ("AF_INET", SERVICE[4]),
        ("AF_INET6", f"::ffff:{SERVICE[4]}"),
        ("AF_INET6", SERVICE[6]),
    ],
    ids=["ipv4", "mapped", "ipv6"],
)
def test_a_process_of_the_node_is_told(node: Node, family: str, address: str) -> None:
    quiet(node)
    node.start()
    process = waiting(node, "node-a", family, address)

    write_backends(node)

    assert said(process) == "ConnectionAbortedError"


def test_a_process_whose_backend_stays_is_not_told(node: Node) -> None:
    quiet(node)
    node.start()
    process = waiting(node, "node-a", "AF_INET", SERVICE[4], seconds=2)

    write_backends(node, WEB[4], "10.244.1.12")

    assert said(process) == "TimeoutError"


def test_a_process_in_a_pod_is_told(node: Node) -> None:
    quiet(node)
    sockets(node, "all")
    node.start()
    process = waiting(node, "client", "AF_INET", SERVICE[4])

    write_backends(node)

    assert said(process) == "ConnectionAbortedError"


def test_a_backend_that_went_while_no_agent_ran_is_told_of_by_the_next(node: Node) -> None:
    quiet(node)
    node.start()
    process = waiting(node, "node-a", "AF_INET", SERVICE[4])
    node.kill()

    write_backends(node)
    node.start()

    assert said(process) == "ConnectionAbortedError"


def quiet(node: Node) -> None:
    """Let nobody answer that a port is not served: no datagram of the pods' stacks comes back."""
    for pod in ("web-1", "web-2"):
        node.lab.run(pod, "sh", "-c", DROP)


DROP = """
nft add table inet quiet
nft 'add chain inet quiet in { type filter hook input priority 0; policy drop; }'
"""


def sockets(node: Node, whose: str) -> None:
    text = node.config.read_text()
    node.config.write_text(
        text.replace("algorithm: maglev", f"algorithm: maglev, sockets: {whose}")
    )
