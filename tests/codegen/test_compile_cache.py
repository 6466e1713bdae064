"""Objects that are kept: taken as they are, but only when they are whole."""

from pathlib import Path

from plait.codegen.compile import Compiled, compile_sources

SOURCE = "int answer = 42;\n"


def compiled(cache: Path) -> Compiled:
    return compile_sources({"answer": SOURCE}, {}, cache)


def test_what_was_compiled_before_is_not_compiled_again(tmp_path: Path) -> None:
    first, second = compiled(tmp_path), compiled(tmp_path)

    assert (first.cached, second.cached) == (0, 1)
    assert first.objects == second.objects


def test_where_the_headers_lie_makes_no_other_object(tmp_path: Path) -> None:
    source = '#include "lb.h"\nint answer(int x) { return lb_answer(x); }\n'
    header = "static inline int lb_answer(int x)\n{\n\treturn x + 1;\n}\n"
    results = []
    for place in ("here", "there"):
        folder = tmp_path / place
        folder.mkdir()
        (folder / "lb.h").write_text(header)
        results.append(compile_sources({"answer": source}, {"lb": folder}, folder / "cache"))
        kept = compile_sources({"answer": source}, {"lb": folder}, tmp_path / "here" / "cache")

    assert results[0].objects == results[1].objects
    assert b"./lb/lb.h" in results[0].objects["answer"]
    assert kept.cached == 1


def test_a_damaged_object_is_compiled_again(tmp_path: Path) -> None:
    first = compiled(tmp_path)
    [kept] = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[:-100])

    again = compiled(tmp_path)

    assert (again.cached, again.objects) == (0, first.objects)
