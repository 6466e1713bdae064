"""These tests load programs and maps: they need root, and say so where it must not be missing."""

import ctypes
import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from plait.core.kernel.features import check_machine
from plait.core.kernel.pins import BPFFS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() != 0 and "CI" not in os.environ:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="needs root"))


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
