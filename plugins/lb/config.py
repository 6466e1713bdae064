"""The section `lb` of the config."""

from dataclasses import dataclass
from enum import StrEnum

from plait.core.api import setting


class Algorithm(StrEnum):
    """How a new flow chooses its backend."""

    MAGLEV = "maglev"
    RANDOM = "random"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """Sizes of the maps."""

    services: int = setting(
        10_000, doc="cluster IP, port and protocol triples", minimum=1, maximum=1_000_000
    )
    backends: int = setting(
        100_000,
        doc="backends over all ports of services that have more than six: others hold theirs",
        minimum=1,
        maximum=10_000_000,
    )
    growth: int = setting(
        4,
        doc="how many times these sizes a map may grow to when it is full; 1: none grows",
        minimum=1,
        maximum=64,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LbConfig:
    """Load balancing of Services."""

    algorithm: Algorithm = setting(
        Algorithm.MAGLEV,
        doc="how a new flow chooses its backend: `maglev` by a hash of the flow that all nodes "
        "share, so that few flows move when backends come and go; `random` evenly",
    )
    table_size: int = setting(
        1021,
        doc="slots of the Maglev table of a service with more than six backends: a prime, best 100 "
        "times as many as these or more",
        minimum=3,
        maximum=65_537,
    )
    capacity: Capacity = setting(Capacity(), doc="how much fits")

    def __post_init__(self) -> None:
        if any(self.table_size % factor == 0 for factor in range(2, int(self.table_size**0.5) + 1)):
            raise ValueError(f"tableSize {self.table_size} is no prime, such as 1021 or 65537 are")
