"""What every verb is given: the instance it speaks of, and the plugins it may need."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plait.core.config.model import Config
    from plait.core.kernel.pins import Paths
    from plait.core.plugins import Plugins

DEFAULT_CONFIG = Path("/etc/plait/plait.yaml")
DEFAULT_PLUGINS = Path("/etc/plait/plugins.d")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The global options. `instance` names the agent, when a machine runs several (labs do)."""

    instance: str = "default"
    plugins_dir: Path = DEFAULT_PLUGINS

    def paths(self) -> "Paths":
        """Where this instance keeps its things. Also checks that the machine can do the work."""
        from plait.core.kernel.features import check_machine
        from plait.core.kernel.pins import Paths

        check_machine()
        return Paths.of(self.instance)

    def kernel(self) -> "Mapping[str, bool]":
        """What this kernel can do; without the privilege to ask, everything is assumed."""
        from plait.core.errors import SystemProblem
        from plait.core.kernel.features import check_machine, probe

        try:
            check_machine()
        except SystemProblem:
            return any_kernel()
        return probe()

    def load_plugins(self) -> "Plugins":
        """The installed plugins; see `plait.core.plugins.load_plugins`."""
        from plait.core.plugins import load_plugins

        return load_plugins(self.plugins_dir)

    def load_config(self, path: Path) -> "Config":
        """The config at `path`, checked against the schema that the installed plugins give it."""
        from plait.core.config.load import load_config

        return load_config(path, self.load_plugins().features())


def any_kernel() -> "Mapping[str, bool]":
    """A kernel that can do everything, for what may run elsewhere."""
    from plait.core.api.contract import KernelFeature

    return {feature.value: True for feature in KernelFeature}


pass_context = click.make_pass_decorator(Context)

config_option = click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    default=DEFAULT_CONFIG,
    show_default=True,
    help="The config: a file, or a folder whose *.yaml are merged in the order of their names.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def instance_name(_context: click.Context, _option: click.Parameter, value: str) -> str:
    """Refuse a name that cannot be a folder's: it becomes one below bpffs and /run."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", value):
        raise click.BadParameter(f"{value!r} is not made of letters, digits, '-' and '_'.")
    return value
