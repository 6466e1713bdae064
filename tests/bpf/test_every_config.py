"""Every config here, and every part of one, compiles and passes the kernel's verifier."""

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile

from plait.core.pipeline import prepare
from plait.core.runtime.proving import prove
from plait.core.runtime.staging import inspect, stage
from plait.core.testing.loading import Loader
from support.plans import Case, cases
from support.stack import MOST, deepest

INSTRUCTIONS = Path(__file__).parents[1] / "golden" / "instructions.json"
INSTRUCTION_BYTES = 8

CASES = list(cases())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_passes_the_verifier(case: Case, plait_loader: Loader) -> None:
    prepared = prepare(case.plan, plait_loader.cache)

    staged = stage(case.plan, prepared.compiled.objects, most_entries=64)

    staged.close()
    objects = prepared.compiled.objects.values()
    assert set(staged.programs) == {name for image in objects for name in inspect(image).programs}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_passes_its_own_packet_tests(case: Case, plait_loader: Loader, tmp_path: Path) -> None:
    prove(prepare(case.plan, plait_loader.cache), tmp_path)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_its_stack_is_what_the_oldest_kernels_have(case: Case, plait_loader: Loader) -> None:
    objects = prepare(case.plan, plait_loader.cache).compiled.objects

    taken = {program: deepest(image) for program, image in objects.items()}

    assert max(taken.values()) <= MOST, taken


def test_programs_are_as_long_as_they_were(
    plait_loader: Loader, golden: Callable[[Path, str], None]
) -> None:
    """As clang-19 gives them: what a kernel makes of them is its own affair."""
    counts = {
        case.name: {
            program: instructions(image)
            for program, image in prepare(case.plan, plait_loader.cache).compiled.objects.items()
        }
        for case in CASES
    }

    golden(INSTRUCTIONS, json.dumps(counts, indent=2) + "\n")


def instructions(image: bytes) -> int:
    """How many instructions an object has, in all of its functions."""
    code = (
        section["sh_size"]
        for section in ELFFile(BytesIO(image)).iter_sections()
        if section["sh_flags"] & SH_FLAGS.SHF_EXECINSTR
    )
    return sum(code) // INSTRUCTION_BYTES
