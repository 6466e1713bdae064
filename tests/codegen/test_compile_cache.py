"""Objects that are kept: taken as they are, but only when they are whole."""

from pathlib import Path

from plait.codegen.compile import Compiled, compile_sources

SOURCE = "int answer = 42;\n"


def compiled(cache: Path) -> Compiled:
    return compile_sources({"answer": SOURCE}, (), cache, {})


def test_what_was_compiled_before_is_not_compiled_again(tmp_path: Path) -> None:
    first, second = compiled(tmp_path), compiled(tmp_path)

    assert (first.cached, second.cached) == (0, 1)
    assert first.objects == second.objects


def test_a_damaged_object_is_compiled_again(tmp_path: Path) -> None:
    first = compiled(tmp_path)
    [kept] = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[:-100])

    again = compiled(tmp_path)

    assert (again.cached, again.objects) == (0, first.objects)
