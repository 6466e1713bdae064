"""These tests make network namespaces: they need root, and say so where it must not be missing."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from plait.core.endpoints import namespaces


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() != 0 and "CI" not in os.environ:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture
def node() -> Iterator[Path]:
    """An empty network namespace that plays the node."""
    yield from _namespace("node")


@pytest.fixture
def pod() -> Iterator[Path]:
    """An empty network namespace that plays a workload."""
    yield from _namespace("pod")


def _namespace(role: str) -> Iterator[Path]:
    name = f"plaittest-{role}-{uuid.uuid4().hex[:6]}"
    yield namespaces.create(name)
    namespaces.remove(name)
