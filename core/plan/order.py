"""The order of fragments at one stage: before and after first, then plugin, then declaration."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from plait.core.api.contract import Fragment
from plait.core.errors import PlaitError


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """A fragment, the plugin that owns it and its place in the plugin's own list."""

    plugin: str
    index: int
    fragment: Fragment


def in_order(fragments: Sequence[Owned]) -> tuple[Owned, ...]:
    """The fragments of one hook and stage as packets meet them, whatever order they come in.

    Raises `PlaitError` naming the functions that wait for each other in a circle.
    """
    by_function = {each.fragment.function: each for each in sorted(fragments, key=_rank)}
    graph: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(by_function, ()))
    for name, owned in by_function.items():
        for earlier in owned.fragment.after:
            if earlier in by_function:
                graph.add(name, earlier)
        for later in owned.fragment.before:
            if later in by_function:
                graph.add(later, name)
    try:
        graph.prepare()
    except CycleError as error:
        raise _circle(error.args[1], by_function) from error
    return tuple(by_function[name] for name in _walk(graph, by_function))


def _walk(graph: "TopologicalSorter[str]", by_function: dict[str, Owned]) -> list[str]:
    """Kahn's algorithm, taking the lowest rank of those that are ready."""
    ready: list[tuple[str, int, str]] = []
    walked: list[str] = []
    while graph.is_active():
        for name in graph.get_ready():
            heapq.heappush(ready, (*_rank(by_function[name]), name))
        *_, name = heapq.heappop(ready)
        walked.append(name)
        graph.done(name)
    return walked


def _rank(owned: Owned) -> tuple[str, int]:
    return owned.plugin, owned.index


def _circle(functions: list[str], by_function: dict[str, Owned]) -> PlaitError:
    first = by_function[functions[0]].fragment
    chain = " before ".join(f"{name} ({by_function[name].plugin})" for name in functions)
    return PlaitError(
        f"fragments at {first.hook}, {first.stage} wait for each other: {chain}",
        expected="expected an order without a circle",
        hint="remove one `before` or `after` of these fragments",
    )
