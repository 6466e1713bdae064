"""The documentation is what the code says: printed from it, or compared with it."""

import re
from pathlib import Path

import pytest

from plait.core.api.contract import Hook, Stage
from plait.core.reference.datapath import member_docs
from plait.core.reference.pages import pages
from support.plugin_example import EXAMPLE

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def documents() -> list[Path]:
    return [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]


def test_the_reference_is_what_the_code_prints_now(tmp_path: Path) -> None:
    written = {file.name: file.read_text() for file in (DOCS / "reference").iterdir()}

    printed = pages(tmp_path)

    assert written == printed, "run `make docs`"


@pytest.mark.parametrize("kind", [Hook, Stage])
def test_every_member_is_described(kind: type[Hook | Stage]) -> None:
    assert list(member_docs(kind)) == [member.name for member in kind]


def example_files() -> list[Path]:
    files = (file for file in EXAMPLE.rglob("*") if file.is_file() and file.suffix != ".pyc")
    return sorted(file.relative_to(EXAMPLE) for file in files)


@pytest.mark.parametrize("file", example_files(), ids=str)
def test_the_manual_has_the_example_word_for_word(file: Path) -> None:
    manual = (DOCS / "plugins.md").read_text()

    blocks = dict(re.findall(r"^`([^`\n]+)`:\n\n```\w+\n(.*?)^```$", manual, re.M | re.S))

    assert blocks[str(file)] == (EXAMPLE / file).read_text()


def test_the_manual_has_a_test_that_is_run() -> None:
    manual = (DOCS / "plugins.md").read_text()

    [shown] = re.findall(r"^(def test_.*?)^```$", manual, re.M | re.S)

    assert shown in (ROOT / "tests" / "bpf" / "test_plugin_example.py").read_text()


def test_the_manual_has_a_controller_that_is_run() -> None:
    manual = (DOCS / "plugins.md").read_text()

    [shown] = re.findall(r"^```python\n(class .*?)^```$", manual, re.M | re.S)

    plugin = (ROOT / "tests" / "plugins" / "hosts" / "__init__.py").read_text()
    assert [part for part in shown.split("\n\n\n") if part not in plugin] == []


@pytest.mark.parametrize("document", documents(), ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", document.read_text(), flags=re.S)
    links = re.findall(r"\]\((?!https?:)([^)#]+)", prose)

    assert [link for link in links if not (document.parent / link).exists()] == []
