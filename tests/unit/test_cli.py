"""The command line: verbs, exit statuses, and what they print."""

import errno
import json
import subprocess
import sys
from importlib.metadata import EntryPoints
from pathlib import Path
from textwrap import dedent

import click
import pytest

from plait.core import cli
from plait.core.cli import main
from plait.core.cli.context import Context
from plait.core.errors import ExitStatus, PlaitError, SystemProblem

CACHE = """\
    from dataclasses import dataclass
    from pathlib import Path
    import click
    from plait.core.api import (
        Contribution, Feature, Fragment, Hook, PlaitError, Stage, hookimpl, setting
    )

    PLUGIN_API = 1

    @dataclass(frozen=True, slots=True, kw_only=True)
    class CacheConfig:
        size: int = setting(1, doc="entries", minimum=1)

    @hookimpl
    def plait_features():
        return (Feature(key="cache", config=CacheConfig, summary="keeps things"),)

    @hookimpl
    def plait_contribute(config):
        if config.section(CacheConfig):
            look = Fragment(
                hook=Hook.POD_EGRESS, stage=Stage.APPLY, function="cache_look", header="cache.h"
            )
            return Contribution(headers=Path(__file__).parent, fragments=(look,))

    @click.command("purge", help="Empty the cache.")
    def purge():
        raise PlaitError("nothing to purge", hint="fill it")

    @hookimpl
    def plait_commands():
        return (purge,)
"""
CONFIG = "apiVersion: plait/v1\nnode: {name: a}\nfeatures: {cache: {size: 2}}\n"


class Shell:
    """Runs `plait` with a folder of plugins, as a shell would see it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.plugins = folder / "plugins.d"
        self._folder = folder
        self._capsys = capsys

    def write(self, name: str, text: str) -> Path:
        file = self._folder / name
        file.parent.mkdir(mode=0o755, exist_ok=True)
        file.write_text(dedent(text))
        file.chmod(0o644)
        return file

    def run(self, *arguments: str | Path) -> tuple[int, str, str]:
        """Exit status, standard output and standard error."""
        with pytest.raises(SystemExit) as ended:
            main(["--plugins-dir", str(self.plugins), *map(str, arguments)])
        status = ended.value.code
        assert isinstance(status, int)
        return status, *self._capsys.readouterr()

    def run_verb(self, error: Exception, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str, str]:
        """The same, of a verb that raises `error`."""

        def fail() -> None:
            raise error

        verb = click.Command("verb", callback=fail)
        monkeypatch.setattr(cli.plait, "get_command", lambda ctx, name: verb)
        return self.run("verb")


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    """A shell on a machine whose only plugin is `cache`."""
    monkeypatch.setattr("plait.core.plugins.load.entry_points", lambda group: EntryPoints())
    shell = Shell(tmp_path, capsys)
    shell.write("plugins.d/cache.py", CACHE)
    shell.write("plugins.d/cache.h", "static int cache_look() { return 0; }")
    return shell


def test_a_valid_config(shell: Shell) -> None:
    file = shell.write("plait.yaml", CONFIG)

    status, out, err = shell.run("validate", "-c", file)

    assert (status, out, err) == (ExitStatus.OK, f"{file}: valid; features: cache\n", "")


def test_a_wrong_config_is_shown_with_its_line(shell: Shell) -> None:
    file = shell.write("plait.yaml", CONFIG.replace("size", "siez"))

    status, out, err = shell.run("validate", "-c", file)

    assert status == ExitStatus.BAD_INPUT
    assert out == ""
    assert err == (
        f"{file}:3:20: unknown key 'siez' in cache\n"
        "     3 | features: {cache: {siez: 2}}\n"
        "       |                    ^^^^ did you mean 'size'?\n"
    )


def test_problems_as_json(shell: Shell) -> None:
    file = shell.write("plait.yaml", CONFIG.replace("2", "0").replace("v1", "v0"))

    status, out, _ = shell.run("validate", "--json", "-c", file)

    answer = json.loads(out)
    assert status == ExitStatus.BAD_INPUT
    assert answer["valid"] is False
    assert [(each["line"], each["what"]) for each in answer["problems"]] == [
        (1, "apiVersion is 'plait/v0'"),
        (3, "cache.size is 0"),
    ]


def test_a_config_that_turns_nothing_on_is_wrong(shell: Shell) -> None:
    file = shell.write("plait.yaml", CONFIG.replace("cache: {size: 2}", ""))

    status, _, err = shell.run("validate", "-c", file)

    assert status == ExitStatus.BAD_INPUT
    assert err.startswith(f"{file}:3:1: the config turns on nothing that runs at a hook; ")


def test_a_config_whose_feature_lacks_another_is_wrong_at_its_place(shell: Shell) -> None:
    shell.write("plugins.d/cache.py", CACHE.replace("fragments=", "requires=('disk',), fragments="))
    file = shell.write("plait.yaml", CONFIG)

    status, _, err = shell.run("validate", "-c", file)

    assert status == ExitStatus.BAD_INPUT
    assert err.startswith(f"{file}:3:12: plugin 'cache' (wanted by features.cache) needs the")


def test_interfaces_that_this_machine_lacks_are_warnings(shell: Shell) -> None:
    file = shell.write("plait.yaml", CONFIG.replace("name: a", "name: a, devices: [no0, lo, no1]"))

    status, out, err = shell.run("validate", "-c", file)
    warnings = json.loads(shell.run("validate", "--json", "-c", file)[1])["warnings"]

    assert (status, out) == (ExitStatus.OK, f"{file}: valid; features: cache\n")
    assert f"warning: {file}:2:27: node.devices: there is no interface no0; one of " in err
    assert [each["column"] for each in warnings] == [27, 36]


def test_the_schema_has_the_plugins_features(shell: Shell) -> None:
    status, out, _ = shell.run("schema")

    features = json.loads(out)["properties"]["features"]["properties"]
    assert status == ExitStatus.OK
    assert features["cache"]["description"] == "keeps things"


def test_plugins_are_listed(shell: Shell) -> None:
    file = shell.plugins / "cache.py"

    assert shell.run("plugin", "list") == (0, f"cache 0: cache ({file})\n", "")
    assert json.loads(shell.run("plugin", "list", "--json")[1]) == [
        {"name": "cache", "version": "0", "features": ["cache"], "file": str(file)}
    ]


def test_help_lists_the_plugins_commands(shell: Shell) -> None:
    status, out, _ = shell.run("--help")

    assert status == ExitStatus.OK
    assert "validate" in out
    assert "Empty the cache." in out


def test_a_plugins_command_runs(shell: Shell) -> None:
    status, _, err = shell.run("purge")

    assert (status, err) == (ExitStatus.BAD_INPUT, "nothing to purge\n  hint: fill it\n")


def test_a_broken_plugin_leaves_help_standing(shell: Shell) -> None:
    shell.write("plugins.d/cache.py", "1 / 0")

    status, out, err = shell.run("--help")

    assert status == ExitStatus.OK
    assert "validate" in out
    assert "plugin 'cache' failed to load: ZeroDivisionError" in err


def test_a_plugin_cannot_take_a_verbs_name(shell: Shell) -> None:
    shell.write("plugins.d/cache.py", CACHE.replace('"purge"', '"schema"'))

    _, _, err = shell.run("--help")

    assert "a plugin's command is named 'schema', as a verb of Plait is" in err


def test_a_verb_that_there_is_not_is_wrong_usage(shell: Shell) -> None:
    status, _, err = shell.run("valdiate")

    assert status == ExitStatus.USAGE
    assert "No such command 'valdiate'" in err


def test_an_instance_that_is_no_name_is_wrong_usage(shell: Shell) -> None:
    status, _, err = shell.run("--instance", "../x", "schema")

    assert status == ExitStatus.USAGE
    assert "'../x' is not made of letters" in err


def test_the_instance_can_come_from_the_environment(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    verb = click.Command("verb", callback=lambda: seen.append(instance()))
    monkeypatch.setattr(cli.plait, "get_command", lambda ctx, name: verb)
    monkeypatch.setenv("PLAIT_INSTANCE", "lab-a")

    shell.run("verb")

    assert seen == ["lab-a"]


def instance() -> str:
    context = click.get_current_context().find_object(Context)
    assert context
    return context.instance


@pytest.mark.parametrize(
    ("error", "status", "shown"),
    [
        (PlaitError("no"), ExitStatus.BAD_INPUT, "no\n"),
        (SystemProblem("no clang"), ExitStatus.SYSTEM, "no clang\n"),
        (OSError(errno.ENOSPC, None, "/x"), ExitStatus.SYSTEM, "/x: No space left on device\n"),
        (RuntimeError("a bug"), ExitStatus.SYSTEM, "RuntimeError: a bug\n"),
        (OSError(errno.EINVAL, "Invalid argument"), ExitStatus.SYSTEM, "Invalid argument\n"),
        (FileNotFoundError(errno.ENOENT, "No", "/x"), ExitStatus.SYSTEM, "No: '/x'\n"),
    ],
)
def test_what_went_wrong_decides_the_exit_status(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, shown: str
) -> None:
    ended, _, err = shell.run_verb(error, monkeypatch)

    assert ended == status
    assert err.endswith(shown)
    assert err.startswith("Traceback") == (err != shown)


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "/x: Permission denied"),
        (PermissionError(errno.EPERM, "it failed"), "Operation not permitted (it failed)"),
    ],
)
def test_what_a_user_may_not_do_has_a_hint(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, error: OSError, shown: str
) -> None:
    monkeypatch.setattr("plait.core.kernel.features.privileged", lambda: False)
    monkeypatch.setattr("os.geteuid", lambda: 1000)

    status, _, err = shell.run_verb(error, monkeypatch)

    assert (status, err) == (ExitStatus.SYSTEM, f"{shown}\n  hint: run it with sudo\n")


def test_sudo_is_no_hint_for_root(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)

    _, _, err = shell.run_verb(PermissionError(errno.EPERM, None, "/x"), monkeypatch)

    assert err.endswith("hint: root lacks capabilities here: `capsh --print`\n")


def test_what_is_forbidden_to_one_who_may_do_everything_is_a_bug(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plait.core.kernel.features.privileged", lambda: True)

    _, _, err = shell.run_verb(PermissionError(errno.EPERM, "it failed"), monkeypatch)

    assert err.startswith("Traceback")


def test_help_imports_no_heavy_library() -> None:
    heavy = {"elftools", "jinja2", "jsonschema", "pyroute2", "rich", "watchdog"}
    program = (
        "import sys, contextlib, importlib.metadata\n"
        "importlib.metadata.entry_points = lambda group: ()\n"
        "from plait.core.cli import main\n"
        "with contextlib.suppress(SystemExit): main(['--help'])\n"
        f"print(*sorted({heavy} & sys.modules.keys()), file=sys.stderr)\n"
    )

    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert ran.stderr.decode() == "\n"


def test_c_that_cannot_be_written_is_a_problem_of_the_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "core").mkdir()
    config = Path(__file__).parents[2] / "configs" / "quickstart.yaml"

    with pytest.raises(SystemExit) as ended:
        main(["render", "-c", str(config), "-o", str(tmp_path)])

    assert ended.value.code == ExitStatus.SYSTEM
    assert capsys.readouterr().err.startswith("the C cannot be written: [Errno 17] File exists")
