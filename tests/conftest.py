"""Fixtures for all folders of tests."""

from collections.abc import Callable
from pathlib import Path

import pytest

from plait.codegen.compile import compile_sources, find_compiler
from plait.core.errors import SystemProblem

CompileC = Callable[[str], bytes]


@pytest.fixture(scope="session")
def compile_c(tmp_path_factory: pytest.TempPathFactory) -> CompileC:
    """Compiles C source to a BPF object; the same source only once."""
    cache: Path = tmp_path_factory.mktemp("objects")
    try:
        find_compiler()
    except SystemProblem as problem:
        pytest.skip(str(problem))

    def run(source: str) -> bytes:
        return compile_sources({"test": source}, (), cache, {}).objects["test"]

    return run
