"""A plugin for tests: sockets that call listed addresses get others instead, and do not know."""

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
class DetourConfig:
    """The section `detour`."""

    host_only: bool = setting(False, doc="leave the sockets of pods alone")
    tell: bool = setting(True, doc="of whom was called; false: try to refuse to tell anything")
    listed: int = setting(16, doc="how many addresses may be listed", minimum=1, maximum=1024)


@hookimpl
def plait_features() -> tuple[Feature, ...]:
    return (Feature(key="detour", config=DetourConfig, summary="send calls elsewhere"),)


@hookimpl
def plait_contribute(config: Config) -> Contribution | None:
    detour = config.section(DetourConfig)
    if detour is None:
        return None

    back = "detour_back" if detour.tell else "detour_silence"
    return Contribution(
        headers=Path(__file__).parent / "bpf",
        fragments=(
            _fragment(Hook.SOCK_CONNECT, "detour_there"),
            _fragment(Hook.SOCK_SENDMSG, "detour_there"),
            _fragment(Hook.SOCK_RECVMSG, back),
            _fragment(Hook.SOCK_GETPEERNAME, back),
        ),
        maps=(
            MapSpec(name="detour_routes", max_entries=detour.listed),
            MapSpec(name="detour_taken", max_entries=64),
        ),
        constants={"detour_host_only": detour.host_only},
    )


def _fragment(hook: Hook, function: str) -> Fragment:
    return Fragment(hook=hook, stage=Stage.SERVICE, function=function, header="detour.h")
