"""The generated C, whole: what changes in it shows in review (pytest --update-golden)."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from plait.codegen.render import render
from support.plans import Case, cases

GOLDEN = Path(__file__).parents[1] / "golden" / "c"

FOLDERS = {
    "quickstart: lb + routing, both families": "quickstart",
    "quickstart: routing, IPv4": "routing-ipv4",
    "detour: detour, both families": "detour",
    "detour: detour, IPv4": "detour-ipv4",
}
CASES = [case for case in cases() if case.name in FOLDERS]


HEADER_LINE = re.compile(r'^#line \d+ (?="[^"]+\.h")', re.MULTILINE)
OWN_LINE = re.compile(r'^#line (\d+) "([^"]+)\.c"$')


def folder(case: Case) -> str:
    return FOLDERS[case.name]


@pytest.mark.parametrize("case", CASES, ids=folder)
def test_the_c_of_a_plan_is_as_it_was(case: Case, golden: Callable[[Path, str], None]) -> None:
    for program, source in render(case.plan).items():
        unnumbered = HEADER_LINE.sub("#line 1 ", source)  # every edit of a header moves them
        golden(GOLDEN / folder(case) / f"{program}.c", unnumbered)


@pytest.mark.parametrize("case", CASES, ids=folder)
def test_a_call_stands_at_the_line_that_defines_its_fragment(case: Case) -> None:
    for hook in case.plan.hooks:
        lines = render(case.plan)[hook.hook].splitlines()

        for step in hook.steps:
            header = case.plan.headers[step.plugin] / step.fragment.header
            at = lines.index(f'#line {step.line} "{step.plugin}/{step.fragment.header}"')
            assert f" {step.fragment.function}(" in lines[at + 1]
            context = "plait_sock_ctx" if hook.hook.at_sockets else "plait_ctx"
            assert f" {step.fragment.function}({context}" in _line(header, step.line)


@pytest.mark.parametrize("case", CASES, ids=folder)
def test_after_a_call_lines_count_as_they_stand(case: Case) -> None:
    counted = [
        (program, match[2], number + 1, int(match[1]))
        for program, source in render(case.plan).items()
        for number, line in enumerate(source.splitlines(), start=1)
        if (match := OWN_LINE.match(line))
    ]

    assert counted
    assert all((name, line) == (program, number) for program, name, number, line in counted)


def test_there_is_no_golden_file_of_a_plan_that_there_is_not() -> None:
    expected = {
        GOLDEN / folder(case) / f"{program}.c" for case in CASES for program in render(case.plan)
    }

    assert set(GOLDEN.rglob("*.c")) == expected


def test_the_same_plan_gives_the_same_bytes() -> None:
    again = {case.name: case.plan for case in cases()}

    assert all(render(again[case.name]) == render(case.plan) for case in CASES)


def _line(file: Path, number: int) -> str:
    return file.read_text().splitlines()[number - 1]
