"""Faults of a plugin that show only once it is compiled, or loaded: named, and told as its own."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from plait.core.errors import PlaitError, SystemProblem
from plait.core.testing.loading import Loader

GUARD = Path(__file__).parents[1] / "plugins" / "guard"
KEY = "\tstruct guard_key key = { .addr = pkt->daddr };\n"
LEVEL = 'PLAIT_DROP_REASON(GUARD_REFUSED);\nPLAIT_CONST(__u8, guard_level, "a level");\n'


@dataclass(frozen=True)
class Guard:
    """A copy of the plugin `guard`, to spoil."""

    folder: Path
    cache: Path

    def edit(self, file: str, before: str, after: str) -> None:
        path = self.folder / "guard" / file
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after, 1))

    def load(self) -> None:
        loader = Loader(self.cache, self.folder)
        try:
            config = loader.config({"guard": {}, "routing": {}}, {"podCIDRs": ["10.244.1.0/24"]})
            loader.datapath(config, most_entries=2**32)
        finally:
            loader.close()

    def refusal(self) -> PlaitError:
        with pytest.raises(PlaitError) as refused:
            self.load()
        return refused.value


@pytest.fixture
def guard(tmp_path: Path) -> Guard:
    folder = tmp_path / "plugins.d"
    folder.mkdir(mode=0o755)
    shutil.copytree(GUARD, folder / "guard", ignore=shutil.ignore_patterns("__pycache__"))
    return Guard(folder=folder, cache=tmp_path / "cache")


@pytest.mark.parametrize("value", [-128, 255])
def test_a_value_that_its_constant_has_room_for_is_no_fault(guard: Guard, value: int) -> None:
    guard.edit("bpf/guard.h", "PLAIT_DROP_REASON(GUARD_REFUSED);\n", LEVEL)
    guard.edit("bpf/guard.h", KEY, f"{KEY}\tif (guard_level == 7)\n\t\treturn PLAIT_NEXT;\n")
    guard.edit("__init__.py", "        drops={", f"constants={{'guard_level': {value}}}, drops={{")

    guard.load()


@pytest.mark.parametrize("value", [-129, 256])
def test_a_value_that_its_constant_has_no_room_for_is_told_where_it_is_declared(
    guard: Guard, value: int
) -> None:
    guard.edit("bpf/guard.h", "PLAIT_DROP_REASON(GUARD_REFUSED);\n", LEVEL)
    guard.edit("bpf/guard.h", KEY, f"{KEY}\tif (guard_level == 7)\n\t\treturn PLAIT_NEXT;\n")
    guard.edit("__init__.py", "        drops={", f"constants={{'guard_level': {value}}}, drops={{")

    refusal = guard.refusal()

    what = f"plugin guard: {value} does not fit into the constant guard_level, 8 bits"
    assert str(refusal) == f"{guard.folder}/guard/bpf/guard.h:10:19: {what}"


def test_a_map_that_the_kernel_cannot_make_is_named_with_its_size(guard: Guard) -> None:
    guard.edit("__init__.py", "max_entries=16", "max_entries=4_000_000_000")

    refusal = guard.refusal()

    assert isinstance(refusal, SystemProblem)
    assert refusal.what.startswith("the kernel cannot make map guard_refused of guard, 4000000000 ")


@pytest.mark.parametrize("size", [400, 600])
def test_too_much_stack_is_told_as_the_plugins_own(guard: Guard, size: int) -> None:
    guard.edit(
        "bpf/guard.h",
        KEY,
        f"{KEY}\tchar large[{size}];\n"
        "\t__builtin_memset(large, pkt->proto, sizeof(large));\n"
        "\tbpf_map_lookup_elem(&guard_refused, large);\n",
    )

    refusal = guard.refusal()

    assert "stack" in str(refusal)
    assert "the fragments of guard, routing" in str(refusal)
    assert "core" not in str(refusal)


def test_a_loop_without_an_end_is_told_at_its_line(guard: Guard) -> None:
    guard.edit("bpf/guard.h", KEY, f"{KEY}\twhile (bpf_get_prandom_u32() != 7)\n\t\t;\n")

    refusal = guard.refusal()

    assert "plugin guard: the kernel's verifier refused" in refusal.what
    assert "infinite loop" in refusal.what
    assert "while (bpf_get_prandom_u32() != 7)" in refusal.explain()
