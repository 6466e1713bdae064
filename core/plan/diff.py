"""What a changed setting costs: nothing, map entries, programs, or the layout of maps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from plait.codegen.render import render
from plait.core.api.contract import Feature
from plait.core.config.data import Data, changed_keys, config_of, with_key
from plait.core.config.model import Config
from plait.core.errors import PlaitError
from plait.core.plan.model import Plan


class Effect(StrEnum):
    """How a change reaches the datapath; the dearest that applies. Packets are lost by none."""

    LIVE = "live"
    MAP_WRITE = "map write"
    PROGRAM_SWAP = "program swap"
    MAP_MIGRATION = "map migration"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChange:
    """One setting that differs. `effect` is None when it cannot be had alone."""

    key: str
    before: str
    after: str
    effect: Effect | None


def effect(before: Plan, after: Plan) -> Effect:
    """The dearest effect of going from one plan to another."""
    if (before.maps, before.parts, before.sizes) != (after.maps, after.parts, after.sizes):
        return Effect.MAP_MIGRATION
    if render(before) != render(after) or before.constants != after.constants:
        return Effect.PROGRAM_SWAP
    if before.config.sections != after.config.sections:
        return Effect.MAP_WRITE
    return Effect.LIVE


def key_changes(
    before: Data, after: Data, features: Sequence[Feature], plan: Callable[[Config], Plan]
) -> tuple[KeyChange, ...]:
    """Each setting that differs, with the effect that it would have alone."""
    running = plan(config_of(before, features))

    def alone(key: str) -> Effect | None:
        try:
            return effect(running, plan(config_of(with_key(before, after, key), features)))
        except (PlaitError, ValueError):
            return None

    return tuple(
        KeyChange(key=key, before=was, after=now, effect=alone(key))
        for key, was, now in changed_keys(before, after)
    )
