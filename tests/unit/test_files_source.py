"""Objects from files, in real directories: what is read, kept, and noticed."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from plait.core.objects.kinds import KINDS
from plait.core.objects.sources import files
from plait.core.objects.sources.files import FileSource, Snapshot
from plait.core.objects.sources.watch import Watch


def service(name: str, ip: str = "10.96.0.1") -> str:
    return (
        f"---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n"
        f"spec: {{clusterIP: {ip}}}\n"
    )


def names(snapshot: Snapshot) -> list[str]:
    return [each.meta.name for each in snapshot.objects]


def settle(path: Path) -> None:
    """Let a file look as if its last write were long ago, by moving the clock past it."""
    time.sleep(files._TICK_NS / 1e9)
    assert path.exists()


def test_files_below_a_directory_are_read_in_name_order(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.yml").write_text(service("b"))
    (tmp_path / "a.yaml").write_text(service("a1") + service("a2"))
    (tmp_path / "sub" / "c.json").write_text(
        '{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "c"}, "spec": {"ports": []}}'
    )

    snapshot = FileSource([tmp_path], KINDS).scan()

    assert names(snapshot) == ["a1", "a2", "b", "c"]
    assert snapshot.problems == ()


def test_what_belongs_to_editors_is_passed_over(tmp_path: Path) -> None:
    for name in (".a.yaml", "a.yaml~", "a.yaml.swp", ".#a.yaml"):
        (tmp_path / name).write_text(service("a"))

    assert names(FileSource([tmp_path], KINDS).scan()) == []


def test_a_file_that_two_paths_lead_to_is_read_once(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(service("a"))

    assert names(FileSource([tmp_path, file], KINDS).scan()) == ["a"]


def test_a_link_in_a_circle_is_followed_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(service("a"))
    (tmp_path / "again").symlink_to(tmp_path)

    assert names(FileSource([tmp_path], KINDS).scan()) == ["a"]


def test_a_missing_directory_is_only_a_warning(tmp_path: Path) -> None:
    snapshot = FileSource([tmp_path / "later"], KINDS).scan()

    assert (snapshot.objects, snapshot.problems) == ((), ())
    assert "later does not exist" in str(snapshot.warnings[0])


def test_a_kind_that_nobody_knows_is_told_once_for_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("---\napiVersion: apps/v1\nkind: Deployment\n" * 3)

    (warning,) = FileSource([tmp_path], KINDS).scan().warnings

    assert "Deployment (apps/v1) is passed over" in str(warning)


def test_an_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(service("a"))
    settle(file)
    source = FileSource([tmp_path], KINDS)
    before = source.scan()

    after = source.scan()

    assert after.objects[0] is before.objects[0]


def test_two_writes_within_one_tick_are_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    source = FileSource([tmp_path], KINDS)

    seen = []
    for name in "abcdefgh":
        file.write_text(service(name))
        seen += names(source.scan())

    assert seen == list("abcdefgh")


def test_a_file_that_was_written_within_this_tick_is_not_trusted(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(service("a"))
    written = file.stat().st_ctime_ns

    assert files._signature(str(file), written) is None
    assert files._signature(str(file), written + files._TICK_NS) is not None


def test_only_the_document_that_changed_is_parsed_again(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(service("a") + service("b") + service("c"))
    source = FileSource([tmp_path], KINDS)
    before = source.scan().objects

    file.write_text(service("a") + service("b", "10.96.0.2") + service("c"))
    after = source.scan().objects

    assert after[0] is before[0]
    assert after[1] != before[1]
    assert after[2] is before[2]


def test_an_object_below_a_longer_text_knows_its_new_line(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(service("a"))
    source = FileSource([tmp_path], KINDS)
    before = source.scan().objects[0]

    file.write_text("# one\n# two\n" + service("a"))
    after = source.scan().objects[0]

    assert before.at and after.at
    assert after == before
    assert after.at.line == before.at.line + 2


def test_a_bad_document_keeps_its_last_good_object_and_lets_others_proceed(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(service("a") + service("b"))
    (tmp_path / "other.yaml").write_text(service("other"))
    source = FileSource([tmp_path], KINDS)
    good = source.scan().objects[1]

    file.write_text(service("a", "10.96.0.9") + service("b", "nonsense"))
    (tmp_path / "other.yaml").write_text(service("another"))
    snapshot = source.scan()

    assert names(snapshot) == ["a", "b", "another"]
    assert snapshot.objects[1] is good
    assert str(snapshot.objects[0].cluster_ips[0]) == "10.96.0.9"  # type: ignore[attr-defined]
    assert [str(problem) for problem in snapshot.problems] == [
        f"{file}:10:19: clusterIP is 'nonsense'; expected an IP address"
    ]


def test_broken_yaml_takes_nothing_away(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(service("a") + service("b"))
    source = FileSource([tmp_path], KINDS)
    source.scan()

    file.write_text(service("a") + "---\nkind: [\n")
    snapshot = source.scan()

    assert sorted(names(snapshot)) == ["a", "b"]
    assert len(snapshot.problems) == 1


def test_a_file_that_is_good_again_has_no_problem(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(service("a"))
    source = FileSource([tmp_path], KINDS)
    source.scan()
    file.write_text("kind: [\n")
    source.scan()

    file.write_text(service("b"))
    snapshot = source.scan()

    assert names(snapshot) == ["b"]
    assert snapshot.problems == ()


def test_a_file_that_is_no_text_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00")

    (problem,) = FileSource([tmp_path], KINDS).scan().problems

    assert "cannot be read" in problem.what


def test_a_deleted_file_takes_its_objects_with_it(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(service("a"))
    source = FileSource([tmp_path], KINDS)
    source.scan()

    (tmp_path / "a.yaml").unlink()

    assert names(source.scan()) == []


def test_when_it_is_known_which_file_changed_no_other_is_looked_at(tmp_path: Path) -> None:
    source = FileSource([tmp_path], KINDS)
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(service(name))
    source.scan()
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(service(f"new-{name}"))

    snapshot = source.scan(frozenset({str(tmp_path / "a.yaml")}))

    assert names(snapshot) == ["new-a", "b"]


@pytest.mark.parametrize("path", ["c.yaml", "sub", ".", "a.yaml.swp"])
def test_a_change_of_anything_but_a_known_file_makes_it_look_everywhere(
    tmp_path: Path, path: str
) -> None:
    (tmp_path / "a.yaml").write_text(service("a"))
    source = FileSource([tmp_path], KINDS)
    source.scan()
    (tmp_path / "a.yaml").write_text(service("new-a"))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.yaml").write_text(service("c"))

    snapshot = source.scan(frozenset({str(tmp_path / path)}))

    assert names(snapshot) == ["new-a", "c"]


def test_a_file_that_is_linked_to_is_read_by_both_of_its_names(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(service("a"))
    (tmp_path / "b.yaml").symlink_to("a.yaml")
    source = FileSource([tmp_path], KINDS)
    source.scan()
    (tmp_path / "a.yaml").write_text(service("new"))

    snapshot = source.scan(frozenset({str(tmp_path / "a.yaml")}))

    assert names(snapshot) == ["new", "new"]


def test_a_file_that_is_gone_has_no_objects_any_more(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(service("a"))
    source = FileSource([tmp_path], KINDS)
    source.scan()
    (tmp_path / "a.yaml").unlink()

    snapshot = source.scan(frozenset({str(tmp_path / "a.yaml")}))

    assert names(snapshot) == []


class Watched:
    """A watched directory, and how often a change was told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.calls = 0
        self._told = threading.Condition()
        self.watch = Watch([path], self._changed)

    def _changed(self) -> None:
        with self._told:
            self.calls += 1
            self._told.notify()

    def tells(self, act: Callable[[], object], within: float = 0.5) -> bool:
        """True when `act` is told in time, once it and what came before it are over."""
        time.sleep(0.03)
        with self._told:
            before = self.calls
            act()
            return self._told.wait_for(lambda: self.calls > before, within)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    each = Watched(tmp_path / "etc" / "objects.d")
    each.path.mkdir(parents=True)
    (each.path / "a.yaml").write_text(service("a"))
    each.watch.start()
    yield each
    each.watch.stop()


def test_a_write_in_place_is_told(watched: Watched) -> None:
    assert watched.tells(lambda: (watched.path / "a.yaml").write_text(service("b")))


def test_the_file_that_was_written_is_named_once(watched: Watched) -> None:
    path = watched.path / "a.yaml"
    assert watched.tells(lambda: path.write_text(service("b")))

    named, then = watched.watch.news(), watched.watch.news()

    assert named == {str(path)}
    assert not then


def test_a_rename_over_a_file_is_told(watched: Watched, tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.write_text(service("b"))

    assert watched.tells(lambda: new.rename(watched.path / "a.yaml"))


def test_a_deletion_is_told(watched: Watched) -> None:
    assert watched.tells((watched.path / "a.yaml").unlink)


def test_a_file_in_a_new_directory_is_told(watched: Watched) -> None:
    assert watched.tells((watched.path / "sub").mkdir)
    assert watched.tells(lambda: (watched.path / "sub" / "b.yaml").write_text(service("b")))


def test_reading_is_not_told(watched: Watched) -> None:
    assert not watched.tells((watched.path / "a.yaml").read_text, within=0.1)


def test_a_burst_is_told_once(watched: Watched) -> None:
    def burst() -> None:
        for number in range(20):
            (watched.path / f"{number}.yaml").write_text(service("b"))

    assert watched.tells(burst)
    time.sleep(0.1)
    assert watched.calls == 1


def test_a_file_that_is_still_being_written_is_not_told(watched: Watched) -> None:
    with (watched.path / "a.yaml").open("w") as file:

        def write_half() -> None:
            file.write("---\n")
            file.flush()

        assert not watched.tells(write_half, within=0.2)
        assert watched.tells(file.close)


def test_a_configmap_that_is_swapped_is_told(tmp_path: Path) -> None:
    for version in ("1", "2"):
        (tmp_path / f"..{version}").mkdir()
        (tmp_path / f"..{version}" / "a.yaml").write_text(service(f"a{version}"))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    source = FileSource([tmp_path / "a.yaml"], KINDS)
    watched = Watched(tmp_path / "a.yaml")
    watched.watch.start()

    def swap() -> None:
        (tmp_path / "..data_tmp").symlink_to("..2")
        (tmp_path / "..data_tmp").replace(tmp_path / "..data")

    assert names(source.scan()) == ["a1"]
    assert watched.tells(swap)
    assert names(source.scan()) == ["a2"]
    watched.watch.stop()


def test_the_target_of_a_link_is_watched(watched: Watched, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    target = tmp_path / "far" / "b.yaml"
    target.write_text(service("b"))
    assert watched.tells(lambda: (watched.path / "b.yaml").symlink_to(target))

    assert watched.tells(lambda: target.write_text(service("c")))


def test_the_target_of_a_link_in_place_of_a_file_is_watched(
    watched: Watched, tmp_path: Path
) -> None:
    target = tmp_path / "b.yaml"
    target.write_text(service("b"))
    link = tmp_path / "etc" / "link"
    link.symlink_to(target)

    assert watched.tells(lambda: link.rename(watched.path / "a.yaml"))

    assert watched.tells(lambda: target.write_text(service("b", "10.96.0.7")))


def test_a_directory_that_comes_later_is_watched(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "etc" / "objects.d")
    watched.watch.start()

    assert watched.tells((tmp_path / "etc").mkdir)
    assert watched.tells(watched.path.mkdir)
    assert watched.tells(lambda: (watched.path / "a.yaml").write_text(service("a")))
    watched.watch.stop()


def test_a_directory_that_is_made_anew_is_watched(watched: Watched) -> None:
    def remove() -> None:
        (watched.path / "a.yaml").unlink()
        watched.path.rmdir()

    assert watched.tells(remove)
    assert watched.tells(watched.path.mkdir)
    assert watched.tells(lambda: (watched.path / "a.yaml").write_text(service("a")))


def test_a_directory_that_is_replaced_at_once_is_watched(watched: Watched) -> None:
    def replace() -> None:
        (watched.path / "a.yaml").unlink()
        watched.path.rmdir()
        watched.path.mkdir()

    assert watched.tells(replace)
    assert watched.tells(lambda: (watched.path / "a.yaml").write_text(service("a")))


def test_what_happens_beside_the_paths_is_not_told(watched: Watched) -> None:
    beside = watched.path.parent / "unrelated"

    assert not watched.tells(lambda: beside.write_text("x"), within=0.1)


def test_nothing_is_told_after_stop(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.watch.start()
    watched.watch.stop()

    assert not watched.tells(lambda: (tmp_path / "a.yaml").write_text("x"), within=0.1)


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")

    [problem] = FileSource((tmp_path,), KINDS).scan().problems

    assert "no regular file" in problem.what
