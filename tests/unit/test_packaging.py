"""The tree as a package: one import name, walls between its parts, all of it in the wheel."""

import ast
import subprocess
import sys
import tomllib
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LINKS = ROOT / "src" / "plait"
PACKAGES = ("core", "codegen", "plugins")
BUNDLED = sorted(path.parent.name for path in (ROOT / "plugins").glob("*/plugin.py"))


@dataclass(frozen=True)
class Import:
    """An import of a module by a file of ours."""

    file: Path
    line: int
    module: str
    relative: bool

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}: {self.module}"

    def within(self, *packages: str) -> bool:
        return any(f"{self.module}.".startswith(f"{package}.") for package in packages)


def imports(folder: Path) -> Iterator[Import]:
    """Every import in a folder's Python files, wherever in the file it stands."""
    for file in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                for name in node.names:
                    yield Import(file, node.lineno, name.name, False)
            elif isinstance(node, ast.ImportFrom):
                for name in node.names:
                    module = f"{node.module}.{name.name}"
                    yield Import(file, node.lineno, module, node.level > 0)


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the package, built without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(ROOT)], check=True)
    [built] = folder.glob("*.whl")
    return built


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


# ---- one import name ----


def test_links_lead_to_what_the_wheel_takes() -> None:
    only = project()["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    links = {path.name for path in LINKS.iterdir() if path.is_symlink()}
    files = {path.name for path in LINKS.iterdir() if path.is_file()}

    assert {*links, *(f"src/plait/{name}" for name in files)} == set(only)


def test_links_are_relative_and_lead_to_folders_of_the_tree() -> None:
    targets = {path.name: path.readlink() for path in LINKS.iterdir() if path.is_symlink()}

    assert targets == {name: Path("../..") / name for name in targets}
    assert all((ROOT / name).is_dir() for name in targets)


def test_every_top_level_package_is_linked() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"bench", "tests"}

    assert packages == set(PACKAGES)
    assert packages <= {path.name for path in LINKS.iterdir()}


# ---- walls ----


@pytest.mark.parametrize("package", ["core", "codegen"])
def test_the_framework_knows_no_plugin(package: str) -> None:
    found = [str(each) for each in imports(ROOT / package) if each.within("plait.plugins")]

    assert found == []


@pytest.mark.parametrize("plugin", [*BUNDLED, "../tests/plugin_example"])
def test_a_plugin_imports_the_api_and_itself(plugin: str) -> None:
    ours = [each for each in imports(ROOT / "plugins" / plugin) if each.within("plait")]

    allowed = ("plait.core.api", f"plait.plugins.{plugin}")
    assert [str(each) for each in ours if not each.within(*allowed)] == []


@pytest.mark.parametrize("folder", [*PACKAGES, "tests"])
def test_imports_are_absolute_and_by_the_packages_name(folder: str) -> None:
    wrong = [
        str(each) for each in imports(ROOT / folder) if each.relative or each.within(*PACKAGES)
    ]

    assert wrong == []


def test_every_bundled_plugin_has_its_entry_point() -> None:
    declared = project()["project"]["entry-points"]["plait.plugins"]

    assert declared == {name: f"plait.plugins.{name}.plugin" for name in BUNDLED}


def test_names_of_headers_are_unique() -> None:
    headers = Counter(
        path.name
        for folder in ("codegen", "plugins", "tests/plugin_example")
        for path in (ROOT / folder).rglob("bpf/*.h")
    )

    assert [name for name, count in headers.items() if count > 1] == []


# ---- the wheel ----


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    files = {
        f"plait/{path.relative_to(ROOT)}"
        for folder in (*PACKAGES, "configs")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }

    assert files - names_in(wheel) == set()


def test_the_wheel_holds_headers_templates_and_licences(wheel: Path) -> None:
    names = names_in(wheel)

    assert "plait/codegen/bpf/plait.h" in names
    assert "plait/codegen/templates/hook.c.j2" in names
    assert {f"plait/plugins/{name}/bpf/{name}.h" for name in BUNDLED} <= names
    assert sum("/licenses/LICENSES/" in name for name in names) == 3


def test_check_wheel_contents_finds_nothing(wheel: Path) -> None:
    checker = Path(sys.executable).parent / "check-wheel-contents"

    run = subprocess.run(
        [checker, "--config", ROOT / "pyproject.toml", wheel],
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stdout + run.stderr


# ---- docstrings ----


def public_definitions(file: Path) -> Iterator[tuple[str, str | None]]:
    """(place, docstring) of a file's module, public classes and functions, and of their methods."""
    module = ast.parse(file.read_text())
    yield f"{file.relative_to(ROOT)}:1", ast.get_docstring(module)
    for node in module.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            yield f"{file.relative_to(ROOT)}:{node.lineno} {node.name}", ast.get_docstring(node)


@pytest.mark.parametrize("file", sorted((ROOT / "core" / "api").glob("*.py")), ids=lambda f: f.name)
def test_whatever_a_plugin_may_use_has_a_docstring(file: Path) -> None:
    bare = [place for place, docstring in public_definitions(file) if not docstring]

    assert bare == []


@pytest.mark.parametrize("folder", PACKAGES)
def test_every_module_opens_with_a_sentence(folder: str) -> None:
    sources = {file: file.read_text() for file in sorted((ROOT / folder).rglob("*.py"))}

    bare = [str(file) for file, text in sources.items() if text and not opening(text)]
    assert bare == []


def opening(source: str) -> str | None:
    return ast.get_docstring(ast.parse(source))
