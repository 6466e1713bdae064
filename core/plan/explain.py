"""A plan as a person reads it: the text of `plait plan`."""

from collections.abc import Iterable, Iterator, Mapping

from plait.core.plan.model import HookPlan, MapPlan, Plan


def describe(plan: Plan, map_bytes: Mapping[str, int] | None = None) -> str:
    """Features, plugins, hooks with their fragments in order, and maps.

    `map_bytes` holds the size in bytes of each map by its name, where it is known.
    """
    lines = [f"node {plan.config.node.name}", "", "plugins"]
    lines += _columns(
        (use.name, use.version, ", ".join(f"features.{key}" for key in use.features))
        for use in plan.plugins
    )
    for hook in plan.hooks:
        lines += ["", f"hook {hook.hook}", *_steps(hook)]
    lines += ["", "maps", *_columns(_map(each, map_bytes or {}) for each in plan.maps)]
    return "\n".join(lines) + "\n"


def _steps(hook: HookPlan) -> Iterator[str]:
    return _columns(
        (step.stage, step.fragment.function, f"{step.plugin}: {step.fragment.header}")
        for step in hook.steps
    )


def _map(each: MapPlan, map_bytes: Mapping[str, int]) -> tuple[str, ...]:
    size = map_bytes.get(each.spec.name)
    return (
        each.spec.name,
        each.plugin,
        f"{each.spec.max_entries} entries",
        f"{size / 2**20:.1f} MiB" if size is not None else "",
        each.spec.config_key or "",
    )


def _columns(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    table = list(rows)
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  " + "  ".join(cells).rstrip()
