"""Whether the plan's constants fit into the variables that the compiler made of them."""

from collections.abc import Mapping

from plait.core.errors import PlaitError, raise_all
from plait.core.plan.model import Plan
from plait.core.plan.sources import constants
from plait.core.runtime.staging import inspect


def check_constants(plan: Plan, objects: Mapping[str, bytes]) -> None:
    """PlaitError for each value that its constant has no room for."""
    values = dict(plan.constants)
    found = (each for image in objects.values() for each in inspect(image).constants)
    sizes = {each.name: each.size for each in found}
    raise_all(
        _too_big(plan, name, size, values[name])
        for name, size in sorted(sizes.items())
        if name in values and not _fits(values[name], size)
    )


def _fits(value: int, size: int) -> bool:
    bits = 8 * size
    return -(1 << (bits - 1)) <= value < 1 << bits


def _too_big(plan: Plan, name: str, size: int, value: int) -> PlaitError:
    what = f"{value} does not fit into the constant {name}, {8 * size} bits"
    for owner, folder in plan.headers.items():
        for declared, at in constants(folder):
            if declared == name:
                hint = "declare it larger, or bound the setting that it is made of"
                return PlaitError(f"plugin {owner}: {what}", at=at, hint=hint)
    return PlaitError(what)
