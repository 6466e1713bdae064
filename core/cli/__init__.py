"""The `plait` command: one module of this package per verb, and the verbs that plugins add."""

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import cast

import click

from plait.core.cli.context import DEFAULT_PLUGINS, Context, instance_name
from plait.core.errors import ExitStatus, PlaitError, SystemProblem

_NOT_VERBS = {"context"}

_MACHINE = frozenset(
    (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE)
) | {errno.ENOTDIR, errno.EISDIR}
"""Errors of the system that tell of no bug: the user can do something about them."""


class _Verbs(click.Group):
    """Finds a verb in the module of its name, else among the plugins' commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_own_verbs(), *_plugin_commands(ctx, warn=True)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _own_verbs():
            return cast(click.Command, import_module(f"{__name__}.{cmd_name}").command)
        return _plugin_commands(ctx, warn=False).get(cmd_name)


@click.group(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 done, 1 the input is wrong, 2 wrong usage, 3 the machine is at fault.",
)
@click.version_option(package_name="plait", message="plait %(version)s")
@click.option(
    "--instance",
    default="default",
    envvar="PLAIT_INSTANCE",
    show_default=True,
    show_envvar=True,
    callback=instance_name,
    help="The agent to speak of, where a machine runs several.",
)
@click.option(
    "--plugins-dir",
    default=DEFAULT_PLUGINS,
    show_default=True,
    is_eager=True,  # --help lists the plugins' commands
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of plugins that are not installed as packages.",
)
@click.pass_context
def plait(context: click.Context, instance: str, plugins_dir: Path) -> None:
    """A node's network datapath, generated from YAML and plugins."""
    context.obj = Context(instance=instance, plugins_dir=plugins_dir)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, `arguments` or the process's own, and exit with an `ExitStatus`."""
    try:
        plait(arguments, prog_name="plait")
    except PlaitError as error:
        click.echo(error.explain(), err=True)
        sys.exit(error.exit_status)
    except Exception as error:
        if isinstance(error, OSError) and (problem := _of_the_machine(error)):
            click.echo(problem.explain(), err=True)
        else:  # a bug: keep its traceback, but not Python's exit status, which is BAD_INPUT
            traceback.print_exc()
        sys.exit(ExitStatus.SYSTEM)


def _of_the_machine(error: OSError) -> SystemProblem | None:
    """What a user is told of an error of the system, or None when it is a bug.

    What is forbidden to one who may do everything, and is no file, was asked for wrongly.
    """
    from plait.core.kernel.features import how_to_be_privileged, privileged

    if error.errno not in _MACHINE or (error.filename is None and privileged()):
        return None
    why = os.strerror(error.errno)
    if error.strerror not in (None, why):
        why += f" ({error.strerror})"
    hint = how_to_be_privileged() if isinstance(error, PermissionError) else None
    return SystemProblem(f"{error.filename}: {why}" if error.filename else why, hint=hint)


def _own_verbs() -> list[str]:
    modules = {module.name for module in iter_modules(__path__)}
    return sorted(modules - _NOT_VERBS)


def _plugin_commands(ctx: click.Context, *, warn: bool) -> dict[str, click.Command]:
    """The plugins' commands by name; a broken plugin must not take `--help` away."""
    context = Context(plugins_dir=ctx.params.get("plugins_dir", DEFAULT_PLUGINS))
    try:
        commands = {each.name or "": each for each in context.load_plugins().commands()}
        if taken := sorted(commands.keys() & set(_own_verbs())):
            raise PlaitError(f"a plugin's command is named '{taken[0]}', as a verb of Plait is")
    except PlaitError as error:
        if not warn:
            raise
        click.echo(f"warning: without the plugins' commands: {error}", err=True)
        return {}
    return commands
