"""`python -m bench [NAME...]`: a table, and build/bench.json."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from bench import backends, connections, packet, programs, reload, services, sockets
from bench.figures import Figure, Run, Suite

SUITES: Sequence[Suite] = (
    packet.SUITE,
    programs.SUITE,
    reload.SUITE,
    services.SUITE,
    backends.SUITE,
    sockets.SUITE,
    connections.SUITE,
)

RESULT = Path("build/bench.json")


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--quick", is_flag=True, help="Fewer samples: a minute or two, and more noise.")
@click.option("--list", "show_list", is_flag=True, help="Show what there is to measure.")
def main(names: tuple[str, ...], quick: bool, show_list: bool) -> None:
    """Measure, print a table, write build/bench.json.

    NAME is a figure, or what figures' names begin with: packet, reload.warm. The default is all.
    Exit status 1 when a goal is missed. What was measured before something failed is written, too.
    """
    console = Console()
    if show_list:
        console.print(_overview())
        return
    figures: list[Figure] = []
    try:
        figures.extend(_measure(names, quick, console))
    finally:
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(json.dumps([figure.plain() for figure in figures], indent=1) + "\n")
    console.print(_table(figures))
    if any(figure.met is False for figure in figures):
        raise SystemExit(1)


def _measure(names: Sequence[str], quick: bool, console: Console) -> Iterator[Figure]:
    for suite in SUITES:
        if names and not any(suite.has(name) for name in names):
            continue
        with console.status(suite.summary) as status:
            for figure in suite.measure(Run(quick=quick, progress=status.update)):
                if not names or any(figure.name.startswith(name) for name in names):
                    console.print(f"{figure.name} {figure.shown} {figure.unit}")
                    yield figure


def _overview() -> Table:
    table = Table("names begin with", "what is measured")
    for suite in SUITES:
        table.add_row(", ".join(suite.prefixes), suite.summary)
    return table


def _table(figures: Sequence[Figure]) -> Table:
    table = Table()
    table.add_column("figure", no_wrap=True)
    for title in ("value", "unit", "goal", ""):
        table.add_column(title, justify="left" if title == "unit" else "right")
    for figure in figures:
        table.add_row(figure.name, figure.shown, figure.unit, figure.shown_goal, _mark(figure))
    return table


def _mark(figure: Figure) -> str:
    return {None: "", True: "[green]ok", False: "[red]missed"}[figure.met]


if __name__ == "__main__":
    main()
