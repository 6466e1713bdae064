"""Looking at a running instance from outside: what its files and pins say, changing nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from plait.core.errors import PlaitError
from plait.core.kernel.pins import Paths
from plait.core.runtime.agent import Status
from plait.core.runtime.generation import Generation
from plait.core.runtime.lock import is_held
from plait.core.runtime.state import State, read_json


def read_agent(run: Path) -> Status | None:
    """What the running agent says of itself; None when none runs."""
    try:
        status = read_json(Status, run / "agent.json")
    except (FileNotFoundError, ValueError):
        return None
    return status if is_held(run, status.pid) else None


@contextmanager
def running(paths: Paths) -> Iterator[Generation]:
    """The generation that runs, for reading. PlaitError when nothing runs."""
    state = State.read(paths.run)
    generation = Generation.pinned(paths.pins, state.generation) if state else None
    if generation is None:
        raise PlaitError(f"nothing runs in instance {paths.run.name}", hint="plait apply -c CONFIG")
    try:
        yield generation
    finally:
        generation.close()
