"""For all folders of tests: who may skip, and fixtures.

The folder says what a test needs: those of bpf/ and e2e/ need root. On a laptop they are skipped
without it. In CI ($CI is set) they run whatever comes of it, and a test that skips itself, because
the kernel or a tool is not what it needs, has failed.
"""

import os
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from hypothesis import settings

from plait.codegen.compile import compile_sources, find_compiler
from plait.core.errors import SystemProblem

CompileC = Callable[[str], bytes]

TESTS = Path(__file__).parent
PRIVILEGED = ("bpf", "e2e")

settings.register_profile("plait", deadline=None)  # a machine may be busy with other things
settings.load_profile("plait")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs root, but not in CI."""
    if os.geteuid() == 0 or in_ci():
        return
    for item in items:
        if item.path.relative_to(TESTS).parts[0] in PRIVILEGED:
            item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make a failure of a skip in CI."""
    report = yield
    if report.skipped and in_ci() and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which is a failure in CI: {report.longreprtext}"
    return report


def in_ci() -> bool:
    return bool(os.environ.get("CI"))


@pytest.fixture(scope="session")
def compile_c(tmp_path_factory: pytest.TempPathFactory) -> CompileC:
    """Compiles C source to a BPF object; the same source only once."""
    cache: Path = tmp_path_factory.mktemp("objects")
    try:
        find_compiler()
    except SystemProblem as problem:
        pytest.skip(str(problem))

    def run(source: str) -> bytes:
        return compile_sources({"test": source}, {}, cache).objects["test"]

    return run
