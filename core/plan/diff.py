"""What a changed setting costs: nothing, map entries, programs, or the layout of maps."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from plait.core.config.data import Data, changed_keys, with_key
from plait.core.errors import PlaitError


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


def key_changes(
    before: Data, after: Data, effect: Callable[[Data], Effect | None]
) -> tuple[KeyChange, ...]:
    """Each setting that differs, with the `effect` of the settings before but for this one.

    `effect` may raise PlaitError or ValueError for settings that make no sense.
    """

    def alone(key: str) -> Effect | None:
        try:
            return effect(with_key(before, after, key))
        except (PlaitError, ValueError):
            return None

    return tuple(
        KeyChange(key=key, before=was, after=now, effect=alone(key))
        for key, was, now in changed_keys(before, after)
    )
