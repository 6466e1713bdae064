"""A plugin's header is C like any other: it compiles with nothing generated around it."""

import subprocess
from pathlib import Path

import pytest

from plait.codegen.compile import LIBRARY, compile_flags, find_compiler

ROOT = Path(__file__).parents[2]
PLUGINS = (ROOT / "plugins", ROOT / "tests" / "plugin_example", ROOT / "tests" / "plugins")
HEADERS = sorted(header for folder in PLUGINS for header in folder.glob("*/bpf/*.h"))


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: header.name)
def test_a_header_compiles_alone(header: Path) -> None:
    flags = compile_flags((LIBRARY, header.parent))

    run = subprocess.run(
        [find_compiler(), *flags, "-fsyntax-only", "-xc", "-"],
        input=f'#include "{header.name}"\n',
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.stderr == ""
