"""The pytest plugin: fixtures for packet tests, golden files, packets compared field by field.

It is loaded into every pytest run of an environment that has Plait: what costs time to import is
imported where it is used.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from plait.core.testing.datapath import Datapath
    from plait.core.testing.loading import Loader

_UPDATE = "--update-golden"


class MakeDatapath(Protocol):
    """Makes a datapath, which is closed when the test is over."""

    def __call__(
        self,
        features: Mapping[str, object],
        *,
        node: Mapping[str, object] | None = None,
        most_entries: int = 1024,
    ) -> "Datapath":
        """`features` and `node` are settings of the config, as plain YAML data."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(_UPDATE, action="store_true", help="write golden files anew (Plait)")


@pytest.fixture(scope="session")
def plait_plugins_folder() -> Path:
    """A folder of plugins besides those that are installed: none. Override it to test one."""
    return Path("/nonexistent")


@pytest.fixture(scope="session")
def plait_loader(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    plait_plugins_folder: Path,
) -> "Iterator[Loader]":
    """Compiles and loads plans; each plan only once, and what did not change not in every run."""
    from plait.core.testing.loading import Loader

    cache = getattr(request.config, "cache", None)  # pytest may run without one
    objects = cache.mkdir("plait") if cache else tmp_path_factory.mktemp("plait")
    loader = Loader(objects, plait_plugins_folder)
    yield loader
    loader.close()


@pytest.fixture
def make_datapath(plait_loader: "Loader") -> Iterator[MakeDatapath]:
    """Makes datapaths from features: `make_datapath({"routing": {}})`."""
    with ExitStack() as exit_stack:

        def make(
            features: Mapping[str, object],
            *,
            node: Mapping[str, object] | None = None,
            most_entries: int = 1024,
        ) -> "Datapath":
            config = plait_loader.config(features, node or {})
            datapath = plait_loader.datapath(config, most_entries=most_entries)
            return exit_stack.enter_context(datapath)

        yield make


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """Compares a text with a file, or writes the file (--update-golden)."""

    def compare(path: Path, text: str) -> None:
        if request.config.getoption(_UPDATE):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert path.exists(), f"{path} is missing: run pytest {_UPDATE}"
        assert text == path.read_text(), f"if {path} is to change: run pytest {_UPDATE}"

    return compare


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Packets that should be equal: the fields in which they differ."""
    if op != "==" or not (hasattr(left, "fields") and hasattr(right, "fields")):
        return None
    from plait.core.testing.packets import Frame

    if not (isinstance(left, Frame) and isinstance(right, Frame)):
        return None
    pairs = zip_longest(left.fields(), right.fields(), fillvalue=("nothing", ""))
    differing = [f"{a[0]} {a[1]!r} != {b[0]} {b[1]!r}" for a, b in pairs if a != b]
    return [f"{left!r}", f"== {right!r}", *differing]
