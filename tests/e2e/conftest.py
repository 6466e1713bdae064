"""Fixtures of tests that make network namespaces."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from plait.core.endpoints import namespaces


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the agents of all tests keep compiled objects: the same program is compiled once."""
    return tmp_path_factory.mktemp("cache")


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
