"""`plait plan`: what would run, and what that would change."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from plait.core.cli.context import Context, config_option, json_option, pass_context

if TYPE_CHECKING:
    from plait.core.runtime.preview_model import (
        HookPreview,
        MapPreview,
        PlacePreview,
        Preview,
        ProgramPreview,
    )


@click.command(
    epilog="""\b
Examples:
  plait plan -c configs/quickstart.yaml
  plait plan --load
  plait plan --json | jq '.keys[] | select(.effect == "program swap")'
"""
)
@config_option
@click.option("--load", is_flag=True, help="Also pass the verifier and the packet tests.")
@json_option
@pass_context
def command(context: Context, config: Path, load: bool, as_json: bool) -> None:
    """Show what a config would run, and how it differs from what runs now.

    Compiles, but attaches nothing and writes to no map that is in use. docs/json.md says what the
    JSON has. Exit status 1 when an object would be refused.
    """
    from plait.core.errors import ExitStatus
    from plait.core.runtime.preview import preview

    found = preview(config, context.paths(), context.load_plugins(), load=load)
    if as_json:
        click.echo(json.dumps(found.plain(), indent=1))
    else:
        for warning in found.warnings:
            click.echo(f"warning: {warning}", err=True)
        click.echo("\n".join(describe(found)))
        for problem in found.problems:
            click.echo(problem, err=True)
    if found.problems:
        raise SystemExit(ExitStatus.BAD_INPUT)


def describe(found: "Preview") -> Iterator[str]:
    """A preview as a person reads it, line by line."""
    yield f"node {found.node}"
    yield from ("", "plugins")
    yield from _columns(
        (
            each.name,
            each.version,
            ", ".join(f"features.{key}" for key in each.features),
            f"{each.running} runs" if each.running not in (None, each.version) else "",
        )
        for each in found.plugins
    )
    for hook in found.hooks:
        yield from ("", f"hook {hook.hook}", *_steps(hook))
    yield from ("", "programs", *_columns(map(_program, found.programs)))
    if found.verifier_seconds is not None:
        yield f"  verified and loaded in {found.verifier_seconds * 1000:.0f} ms"
    yield from ("", "maps", *_columns(map(_map, found.maps)))
    grown = f", {_mebibytes(found.bound_bytes)} when they have grown as far as they may"
    yield (
        f"  {_mebibytes(found.bytes)} when they are full"
        f"{grown if found.bound_bytes > found.bytes else ''}"
    )
    yield from _places("devices", ((each.device, each) for each in found.places))
    yield from _places("cgroup", ((each.cgroup, each) for each in found.places))
    if found.sysctls:
        yield from ("", "kernel settings")
        yield from (f"  {each.path}: {each.before} -> {each.after}" for each in found.sysctls)
    yield from ("", _summary(found))
    for key in found.keys:
        yield f"  {key.key}: {key.before} -> {key.after}  ({key.effect or 'not alone'})"


def _places(heading: str, places: "Iterable[tuple[str | None, PlacePreview]]") -> Iterator[str]:
    rows = [(name, each.program, each.mechanism, each.change) for name, each in places if name]
    if rows:
        yield from ("", heading, *_columns(rows))


def _summary(found: "Preview") -> str:
    if found.running is None:
        return "nothing runs yet"
    return f"against generation {found.running}, which runs: {found.effect or 'nothing changes'}"


def _steps(hook: "HookPreview") -> Iterator[str]:
    return _columns(
        (each.stage, each.function, f"{each.plugin}: {each.header}:{each.line}")
        for each in hook.steps
    )


def _program(each: "ProgramPreview") -> tuple[str, ...]:
    if each.instructions is None:
        return each.name, each.change
    return (
        each.name,
        each.change,
        f"{each.instructions:>6} instructions",
        f"the verifier walked {each.walked}",
    )


def _map(each: "MapPreview") -> tuple[str, ...]:
    return (
        each.name,
        each.plugin or "",
        _room(each),
        f"{_mebibytes(each.bytes):>10}" if each.bytes is not None else "",
        _growth(each),
        each.change,
        each.key or "",
    )


def _room(each: "MapPreview") -> str:
    if each.entries is None:
        return ""
    used = f"{each.wanted} of {each.entries}" if each.wanted is not None else str(each.entries)
    return f"{used:>16} entries"


def _growth(each: "MapPreview") -> str:
    if each.bound is None or each.bound_bytes is None or each.bound == each.entries:
        return ""
    return f"up to {each.bound}: {_mebibytes(each.bound_bytes)}"


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"


def _columns(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Rows with their cells in line; a row may have fewer than others."""
    table = list(rows)
    count = max(map(len, table), default=0)
    widths = [max(len(row[n]) for row in table if n < len(row)) for n in range(count)]
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        yield "  " + "  ".join(cells).rstrip()
