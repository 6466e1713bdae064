"""A plugin for tests: refuses connections to listed addresses, and packets that are no flow's."""

from dataclasses import dataclass
from pathlib import Path

from plait.core.api import (
    Config,
    Contribution,
    Feature,
    Fragment,
    Hook,
    MapSpec,
    Stage,
    hookimpl,
    setting,
)

PLUGIN_API = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardConfig:
    """The section `guard`."""

    strict: bool = setting(False, doc="drop what no flow can be made of")
    tell: bool = setting(False, doc="tell the sender when a connection is refused")


@hookimpl
def plait_features() -> tuple[Feature, ...]:
    return (Feature(key="guard", config=GuardConfig, summary="refuse listed addresses"),)


@hookimpl
def plait_contribute(config: Config) -> Contribution | None:
    guard = config.section(GuardConfig)
    if guard is None:
        return None

    policy = tuple(
        Fragment(
            hook=hook,
            stage=Stage.POLICY,
            function="guard_reject" if guard.tell else "guard_drop",
            header="guard.h",
        )
        for hook in Hook
        if not hook.at_sockets
    )
    admit = Fragment(
        hook=Hook.POD_EGRESS, stage=Stage.ADMIT, function="guard_admit", header="guard.h"
    )
    return Contribution(
        headers=Path(__file__).parent / "bpf",
        fragments=(*policy, admit) if guard.strict else policy,
        maps=(MapSpec(name="guard_refused", max_entries=16),),
        drops={
            "GUARD_REFUSED": "connections to this address are refused",
            "GUARD_NO_FLOW": "no flow can be made of this packet",
        },
    )
