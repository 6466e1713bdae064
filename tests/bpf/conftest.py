"""Fixtures of tests that load programs and maps."""

import ctypes
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from plait.core.kernel.features import check_machine
from plait.core.kernel.pins import BPFFS
from plait.testing import IPV4, IPV6, Addresses

CLONE_NEWNET = 0x40000000


@pytest.fixture
def bpffs() -> Iterator[Path]:
    """An empty folder on bpffs."""
    check_machine()
    folder = BPFFS / f"plaittest-{uuid.uuid4().hex[:6]}"
    folder.mkdir(mode=0o700)
    yield folder
    for pin in folder.iterdir():
        pin.unlink()
    folder.rmdir()


@pytest.fixture
def namespace() -> Iterator[None]:
    """The test runs in an empty network namespace, which goes when the test is over."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    assert libc.unshare(CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
    yield
    assert libc.setns(home, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
    os.close(home)


@pytest.fixture(params=[IPV4, IPV6], ids=["ipv4", "ipv6"])
def net(request: pytest.FixtureRequest) -> Addresses:
    """Addresses of one family, then of the other."""
    assert isinstance(request.param, Addresses)
    return request.param
