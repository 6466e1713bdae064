"""`plait detach`: leave the host as it was."""

import click

from plait.core.cli.context import Context, pass_context

_PURGE = (
    "Also remove what outlives a reboot: the objects of `plait endpoint add`. The interfaces that "
    "it made stay; to remove both, `plait endpoint del` comes first."
)


@click.command(
    epilog="""\b
Examples:
  plait detach
  plait detach --purge
"""
)
@click.option("--purge", is_flag=True, help=_PURGE)
@pass_context
def command(context: Context, purge: bool) -> None:
    """Take all programs off devices and cgroup, and undo settings.

    What others attached is not touched. May be repeated.
    """
    import shutil

    from plait.core.kernel.features import check_machine
    from plait.core.runtime.datapath import Datapath
    from plait.core.runtime.lock import held

    paths = context.paths()
    check_machine()
    with held(paths):
        Datapath.adopt(paths).detach()
        shutil.rmtree(paths.pins, ignore_errors=True)
        if purge:
            shutil.rmtree(paths.state, ignore_errors=True)
    shutil.rmtree(paths.run, ignore_errors=True)
    click.echo("detached")
