"""The lock of an instance: one holder at a time, and nothing left when it is let go."""

import fcntl
from pathlib import Path

import pytest

from plait.core.errors import SystemProblem
from plait.core.kernel.pins import Paths
from plait.core.runtime.lock import held


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    run = tmp_path / "run" / "node"
    return Paths(pins=tmp_path, run=run, state=tmp_path, cache=tmp_path)


def files(paths: Paths) -> list[str]:
    return sorted(path.name.partition("-")[0] for path in paths.run.parent.rglob("*lock*"))


def test_a_lock_is_held_once_and_leaves_nothing(paths: Paths) -> None:
    with held(paths):
        during = files(paths)
        with (
            pytest.raises(SystemProblem, match="another plait agent already works on"),
            held(paths),
        ):
            pass

    assert during == ["lock", "netns"]
    assert files(paths) == []


def test_a_lock_is_let_go_when_its_holder_fails(paths: Paths) -> None:
    with pytest.raises(ZeroDivisionError), held(paths):
        raise ZeroDivisionError

    assert files(paths) == []


def test_a_lock_that_vanished_while_it_was_taken_is_taken_anew(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    locks: list[int] = []
    lock = fcntl.flock

    def lose_the_first(file: int, how: int) -> None:
        lock(file, how)
        locks.append(how)
        if len(locks) == 1:
            (paths.run / "lock").unlink()

    monkeypatch.setattr("fcntl.flock", lose_the_first)

    with held(paths):
        assert files(paths) == ["lock", "netns"]
    assert len(locks) == 3
