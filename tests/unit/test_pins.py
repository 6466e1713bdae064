"""Where an instance keeps its things."""

from pathlib import Path

import pytest

from plait.core.errors import PlaitError
from plait.core.kernel.pins import Paths


def test_an_instance_has_folders_of_its_own() -> None:
    paths = Paths.of("edge", {})

    assert paths.pins == Path("/sys/fs/bpf/plait/edge")
    assert paths.run == Path("/run/plait/edge")
    assert paths.state == Path("/var/lib/plait/edge")
    assert paths.cache == Path("/var/cache/plait")


def test_the_environment_moves_the_cache() -> None:
    assert Paths.of("edge", {"PLAIT_CACHE": "/elsewhere"}).cache == Path("/elsewhere")


@pytest.mark.parametrize("name", ["", "a.b", "../up", "a/b", "x" * 65])
def test_a_name_that_is_no_folder_on_bpffs_is_refused(name: str) -> None:
    with pytest.raises(PlaitError, match="cannot be the name of an instance"):
        Paths.of(name, {})


def test_folders_are_made_for_their_owner_only(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("pins", "run", "state", "cache")}

    Paths(**folders).make()

    assert {folder.stat().st_mode & 0o777 for folder in folders.values()} == {0o700}
