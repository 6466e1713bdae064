"""The `routing:` section."""

from dataclasses import dataclass
from enum import StrEnum

from plait.core.api import setting


class Mode(StrEnum):
    """How packets reach the pods of other nodes."""

    NATIVE = "native"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingConfig:
    """Which way packets leave the node."""

    mode: Mode = setting(
        Mode.NATIVE, doc="native: the network between the nodes routes the pods' addresses"
    )
