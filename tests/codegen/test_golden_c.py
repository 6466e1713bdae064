"""The generated C, whole: what changes in it shows in review (pytest --update-golden)."""

from collections.abc import Callable
from pathlib import Path

import pytest

from plait.codegen.render import render
from support.plans import Case, cases

GOLDEN = Path(__file__).parents[1] / "golden" / "c"

FOLDERS = {
    "quickstart: lb + routing, both families": "quickstart",
    "quickstart: routing, IPv4": "routing-ipv4",
}
CASES = [case for case in cases() if case.name in FOLDERS]


def folder(case: Case) -> str:
    return FOLDERS[case.name]


@pytest.mark.parametrize("case", CASES, ids=folder)
def test_the_c_of_a_plan_is_as_it_was(case: Case, golden: Callable[[Path, str], None]) -> None:
    for program, source in render(case.plan).items():
        golden(GOLDEN / folder(case) / f"{program}.c", source)


def test_there_is_no_golden_file_of_a_plan_that_there_is_not() -> None:
    expected = {
        GOLDEN / folder(case) / f"{program}.c" for case in CASES for program in render(case.plan)
    }

    assert set(GOLDEN.rglob("*.c")) == expected


def test_the_same_plan_gives_the_same_bytes() -> None:
    again = {case.name: case.plan for case in cases()}

    assert all(render(again[case.name]) == render(case.plan) for case in CASES)
