"""Plugins: found, loaded, asked, and blamed by name."""

import os
from dataclasses import dataclass
from importlib.metadata import EntryPoints, entry_points
from pathlib import Path
from textwrap import dedent

import pytest

from plait.core.api import Config, NodeConfig
from plait.core.errors import PlaitError
from plait.core.plugins import Plugins, load_plugins

CONFIG = Config(node=NodeConfig(name="a"), sections={"cache": object()})

CACHE = """\
    from dataclasses import dataclass
    from pathlib import Path
    import click
    from plait.core.api import (
        Contribution, Controller, Feature, Handler, Object, hookimpl, setting
    )

    PLUGIN_API = 1
    __version__ = "1.5"

    @dataclass(frozen=True, slots=True, kw_only=True)
    class CacheConfig:
        size: int = setting(1, doc="entries")

    class Purge(Object):
        kind = "Purge"

    @hookimpl
    def plait_features():
        return (Feature(key="cache", config=CacheConfig, summary="keeps"),)

    @hookimpl
    def plait_kinds():
        return (Purge,)

    @hookimpl
    def plait_contribute(config):
        return Contribution(headers=Path("bpf")) if "cache" in config.sections else None

    @hookimpl
    def plait_handlers(config):
        return (Handler(name="cache", kinds=(), wanted=lambda scope, objects: ()),)

    @hookimpl
    def plait_controllers(config):
        return (Controller(name="purger", settings=1, start=lambda publish: None),)

    @hookimpl
    def plait_commands():
        return (click.Command("purge"),)
"""
HEAD = "from plait.core.api import hookimpl\nPLUGIN_API = 1\n"


@dataclass(frozen=True)
class Folder:
    """A plugins folder, and how to fill it."""

    path: Path

    def add(self, name: str, text: str) -> Path:
        file = self.path / name
        file.parent.mkdir(mode=0o755, exist_ok=True)
        file.write_text(dedent(text))
        file.chmod(0o644)
        return file

    def load(self) -> Plugins:
        return load_plugins(self.path)

    def refusal(self) -> PlaitError:
        with pytest.raises(PlaitError) as refused:
            self.load()
        return refused.value


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A plugins folder on a machine where no plugin is installed as a package."""
    monkeypatch.setattr("plait.core.plugins.load.entry_points", lambda group: EntryPoints())
    (tmp_path / "plugins.d").mkdir(mode=0o755)
    return Folder(tmp_path / "plugins.d")


def test_a_plugin_gives_all_that_its_hooks_return(folder: Folder) -> None:
    file = folder.add("cache.py", CACHE)

    plugins = folder.load()

    [plugin] = plugins.plugins
    [(use, contribution)] = plugins.contributions(CONFIG)
    assert (plugin.name, plugin.version, plugin.file) == ("cache", "1.5", file)
    assert [feature.key for feature in plugins.features()] == ["cache"]
    assert [kind.kind for kind in plugins.kinds()] == ["Purge"]
    assert (use.name, use.version, use.features) == ("cache", "1.5", ("cache",))
    assert contribution.headers == Path("bpf")
    assert [handler.name for handler in plugins.handlers(CONFIG)] == ["cache"]
    assert [controller.name for controller in plugins.controllers(CONFIG)] == ["purger"]
    assert [command.name for command in plugins.commands()] == ["purge"]


def test_a_plugin_whose_features_are_off_contributes_nothing(folder: Folder) -> None:
    folder.add("cache.py", CACHE)

    assert folder.load().contributions(Config(node=NodeConfig(name="a"))) == ()


def test_plugins_are_asked_in_the_order_of_their_names(folder: Folder) -> None:
    for name in ("zeta", "alpha", "mid"):
        command = f"import click\n@hookimpl\ndef plait_commands(): return click.Command('{name}'),"
        folder.add(f"{name}.py", HEAD + command)

    plugins = folder.load()

    assert [command.name for command in plugins.commands()] == ["alpha", "mid", "zeta"]
    assert [plugin.version for plugin in plugins.plugins] == ["0", "0", "0"]


def test_a_package_may_import_its_own_modules(folder: Folder) -> None:
    folder.add("pack/__init__.py", HEAD + "from .inner import VALUE as __version__")
    folder.add("pack/inner.py", "VALUE = '7'")
    folder.add("_private.py", "raise RuntimeError")

    [plugin] = folder.load().plugins

    assert (plugin.name, plugin.version) == ("pack", "7")


def test_a_folder_that_is_not_there_holds_no_plugin(folder: Folder) -> None:
    folder.path.rmdir()

    assert folder.load().plugins == ()


def test_an_installed_package_is_found_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = tmp_path / "acme-2.1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 2.1\n")
    (metadata / "entry_points.txt").write_text("[plait.plugins]\nacme = acme_plugin\n")
    (tmp_path / "acme_plugin.py").write_text(HEAD)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(
        "plait.core.plugins.load.entry_points",
        lambda group: entry_points(group=group, name="acme"),
    )

    [plugin] = load_plugins(tmp_path / "none").plugins

    assert (plugin.name, plugin.version) == ("acme", "2.1")
    assert plugin.file == tmp_path / "acme_plugin.py"


def test_two_plugins_of_one_name_are_both_named(folder: Folder) -> None:
    folder.add("cache.py", HEAD)
    folder.add("cache/__init__.py", HEAD)

    error = folder.refusal()

    assert f"two plugins are named 'cache': from {folder.path}/cache.py and from " in error.what


@pytest.mark.parametrize("name", ["core", "plait", "Upper", "9lives"])
def test_a_name_that_c_names_cannot_start_with_is_refused(folder: Folder, name: str) -> None:
    folder.add(f"{name}.py", HEAD)

    assert folder.refusal().what.startswith(f"a plugin cannot be named '{name}'")


@pytest.mark.parametrize("name", [".", "cache.py", "bpf/cache.h"])
@pytest.mark.parametrize("mode", [0o720, 0o702])
def test_what_others_can_write_is_never_run(folder: Folder, name: str, mode: int) -> None:
    folder.add("cache.py", "raise RuntimeError('was run')")
    folder.add("bpf/cache.h", "")
    (folder.path / name).chmod(mode)

    error = folder.refusal()

    assert str(error).startswith(f"{folder.path / name} can be written by others than root")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_another_user_owns_is_never_run(folder: Folder) -> None:
    file = folder.add("cache.py", "raise RuntimeError('was run')")
    os.chown(file, 12345, 0)

    error = folder.refusal()

    assert str(error).startswith(f"{file} can be written by others than root")


def test_another_plugin_api_is_refused(folder: Folder) -> None:
    file = folder.add("cache.py", "PLUGIN_API = 2")

    error = folder.refusal()

    assert str(error) == f"{file}:1:1: plugin 'cache' is for API 2; expected PLUGIN_API = 1"


def test_a_plugin_must_say_its_api(folder: Folder) -> None:
    folder.add("cache.py", "")

    assert "plugin 'cache' does not say which PLUGIN_API it is" in str(folder.refusal())


def test_a_misspelt_hook_is_refused(folder: Folder) -> None:
    folder.add("cache.py", HEAD + "@hookimpl\ndef plait_contribut(config): ...")

    assert "plugin 'cache': unknown hook 'plait_contribut'" in str(folder.refusal())


def test_a_hook_with_a_wrong_argument_is_refused(folder: Folder) -> None:
    folder.add("cache.py", HEAD + "@hookimpl\ndef plait_contribute(cfg): ...")

    assert "plugin 'cache': Argument(s) {'cfg'}" in str(folder.refusal())


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("\n\nraise ValueError('no luck')", 3, "ValueError: no luck"),
        ("import nowhere_at_all", 1, "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        (
            "import importlib\n\nimportlib.import_module('nowhere_at_all')",
            3,
            "ModuleNotFoundError: No module named 'nowhere_at_all'",
        ),
        ("x = 1\nif x\n", 2, "SyntaxError: expected ':'"),
    ],
)
def test_an_exception_on_import_names_plugin_and_line(
    folder: Folder, text: str, place: int, reason: str
) -> None:
    file = folder.add("cache.py", text)

    error = folder.refusal()

    assert error.what.startswith(f"plugin 'cache' failed to load: {reason}")
    assert error.at
    assert (error.at.file, error.at.line) == (file, place)


def test_a_plugin_that_ends_the_program_is_named(folder: Folder) -> None:
    folder.add("cache.py", "import sys\nsys.exit(0)\n")

    refusal = folder.refusal()

    assert refusal.what == "plugin 'cache' failed to load: SystemExit: 0"
    assert refusal.at and refusal.at.line == 2


def test_every_broken_plugin_is_told_at_once(folder: Folder) -> None:
    folder.add("one.py", "PLUGIN_API = 0")
    folder.add("two.py", "1 / 0")

    error = str(folder.refusal())

    assert "plugin 'one' is for API 0" in error
    assert "plugin 'two' failed to load: ZeroDivisionError" in error


def test_an_exception_in_a_hook_names_plugin_hook_and_line(folder: Folder) -> None:
    folder.add("cache.py", CACHE)
    file = folder.add("zero.py", HEAD + "@hookimpl\ndef plait_contribute(config):\n    1 / 0\n")

    with pytest.raises(PlaitError) as refused:
        folder.load().contributions(CONFIG)

    assert str(refused.value) == (
        f"{file}:5:1: plugin 'zero' failed in plait_contribute: ZeroDivisionError: division by zero"
    )


def test_a_plugins_own_plait_error_is_passed_on(folder: Folder) -> None:
    text = "from plait.core.api import PlaitError\n@hookimpl\ndef plait_contribute(config):\n"
    folder.add("cache.py", HEAD + text + "    raise PlaitError('choose a prime')\n")

    with pytest.raises(PlaitError, match=r"^choose a prime$"):
        folder.load().contributions(CONFIG)


def test_a_hook_that_returns_something_else_is_blamed(folder: Folder) -> None:
    folder.add("cache.py", HEAD + "@hookimpl\ndef plait_features(): return ['cache']")

    with pytest.raises(PlaitError, match=r"'cache' failed in plait_features: .* expected Feature"):
        folder.load().features()


def test_a_config_that_has_no_schema_is_blamed(folder: Folder) -> None:
    folder.add("cache.py", CACHE.replace("size: int", "size: complex"))

    with pytest.raises(PlaitError, match=r"'cache' failed to describe its config: .*complex"):
        folder.load().features()


@pytest.mark.parametrize(
    ("method", "what"),
    [("features", "feature 'cache'"), ("kinds", "kind 'Purge'"), ("commands", "command 'purge'")],
)
def test_two_owners_are_both_named(folder: Folder, method: str, what: str) -> None:
    one = folder.add("one.py", CACHE)
    two = folder.add("two.py", CACHE)

    with pytest.raises(PlaitError) as refused:
        getattr(folder.load(), method)()

    assert refused.value.what == (
        f"{what} has two owners: plugin 'one' in {one} and plugin 'two' in {two}"
    )


def test_two_controllers_of_one_name_are_refused(folder: Folder) -> None:
    folder.add("one.py", CACHE)
    folder.add("two.py", CACHE)

    with pytest.raises(PlaitError, match="controller 'purger' has two owners: plugin 'one' in"):
        folder.load().controllers(CONFIG)
