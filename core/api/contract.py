"""The values a plugin hands to Plait: fragments, maps, drop reasons, entries, handlers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from plait.core.errors import PlaitError
from plait.core.objects.model import Object

PLUGIN_API = 1
"""Version of this contract. A plugin that states another one is refused by name."""


class Hook(StrEnum):
    """A class of kernel attach point. The value is the name of the object that is made for it, and
    of the program in that, if packets run it. Sockets' hooks have a program for each family.
    """

    NETDEV_INGRESS = "netdev_ingress"
    """From the wire, on each uplink."""
    NETDEV_EGRESS = "netdev_egress"
    """From the node's own processes to the wire, on each uplink: packets of flows that there are,
    as a rule answers. None begins here, and what is forwarded has been met where it came in."""
    POD_EGRESS = "pod_egress"
    """From a pod, on the host side of its veth pair."""
    POD_INGRESS = "pod_ingress"
    """From the host's own stack to a pod, on the host side of its veth pair."""
    SOCK_CONNECT = "sock_connect"
    """A socket of the node's cgroup connects, TCP or UDP."""
    SOCK_SENDMSG = "sock_sendmsg"
    """A UDP socket of the node's cgroup sends a datagram, unconnected."""
    SOCK_RECVMSG = "sock_recvmsg"
    """A UDP socket of the node's cgroup is told whom a datagram came from."""
    SOCK_GETPEERNAME = "sock_getpeername"
    """A socket of the node's cgroup is asked whom it is connected to."""

    @property
    def at_sockets(self) -> bool:
        """True when calls of sockets run it, in a cgroup; false when packets do, on a device."""
        return self.value.startswith("sock_")


class Stage(StrEnum):
    """A named step of a hook's pipeline, in the order in which packets meet them.

    ADMIT and APPLY run for every packet; the others only when a flow is decided. Hooks of sockets
    have SERVICE and POLICY only, which run for every call.
    """

    ADMIT = "admit"
    """Every IP packet, before anything is decided or applied; a fragment here has no flow (NULL).
    What no flow can be made of (PLAIT_PACKET_OTHER) meets no other stage."""
    SERVICE = "service"
    """Choose the destination: a backend in place of a service's address."""
    IDENTITY = "identity"
    """Say who the two ends are."""
    POLICY = "policy"
    """Allow the connection, or drop it. Asked at the hooks of both directions, about the packets of
    its opener as they leave; a flow that is dropped here ends, and so do its replies."""
    ROUTE = "route"
    """Choose the way out: a pod, a device and its next hop, the host's own stack."""
    ENCRYPT = "encrypt"
    """Choose how the flow is protected on that way."""
    APPLY = "apply"
    """Every packet of a decided flow, before it is rewritten and leaves."""


class KernelFeature(StrEnum):
    """A kernel ability that a plugin may require; probed, never guessed from a version."""

    TCX = "tcx"
    CLSACT = "clsact"
    REDIRECT_PEER = "redirect_peer"
    REDIRECT_NEIGH = "redirect_neigh"
    FIB_LOOKUP = "fib_lookup"
    CAST_TO_KERNEL_CONTEXT = "cast_to_kernel_context"
    CGROUP_LINK = "cgroup_link"
    SOCK_ERRNO = "sock_errno"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """A C function that runs at one stage of one hook.

    `function` is defined in `header`, a file of the plugin's `bpf/` folder, with the signature

        static __always_inline int f(plait_ctx *ctx, struct plait_pkt *pkt,
                                     struct plait_flow *flow[, PART *part])

    where the last parameter is there when the plugin has a flow part; at a hook of sockets with

        static __always_inline int f(plait_sock_ctx *ctx, struct plait_sock *sock)

    `before` and `after` name functions of other fragments at the same hook and stage; those that
    are absent do not matter.
    """

    hook: Hook
    stage: Stage
    function: str
    header: str
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


class OnReload(Enum):
    """What becomes of a map's entries when a new generation has the map, too."""

    CARRY = "carry"
    """Kept; migrated field by field where the layout or the size changed."""
    RESET = "reset"
    """Started empty."""


Record = Mapping[str, "FieldValue"]
"""A C struct by field names. Nested structs are records, arrays are tuples or bytes; of an array of
structs, records at the end may be left out: they are zero."""

FieldValue = (
    int | bool | bytes | str | IPv4Address | IPv6Address | tuple["FieldValue", ...] | Record
)
"""Integers are in host order as the reader thinks of them: a codec swaps `__be` fields itself. An
IP address goes into `struct plait_addr` (16 bytes, v4 as ::ffff:a.b.c.d); a string `aa:bb:..` or
bytes into an array of `__u8`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapSpec:
    """What YAML decides about a map; its type and layout are in the plugin's header.

    `reconciled` maps hold exactly the entries that handlers want; others belong to the datapath.
    `config_key` is the key that sizes it (`lb.capacity.services`): named when the map is full.
    `grows_to` is the most entries that a reconciled map may have: one that is too small for what is
    wanted is replaced by a larger one while traffic flows. None: it stays as it is.
    `migrate` turns an entry of the layout before into one of this layout, or None to drop it;
    without it, fields are carried over by name.
    """

    name: str
    max_entries: int
    reconciled: bool = False
    config_key: str | None = None
    grows_to: int | None = None
    on_reload: OnReload = OnReload.CARRY
    migrate: Callable[[Record, Record], tuple[Record, Record] | None] | None = field(
        default=None, compare=False
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowPart:
    """The plugin's own sub-struct of every flow entry: `struct NAME`, defined in `header`."""

    name: str
    header: str


class Verdict(StrEnum):
    """What a packet test expects of a hook."""

    PASS = "pass"
    DROP = "drop"
    REDIRECT = "redirect"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One wanted map entry.

    `touches` are the addresses whose flows were decided from it: when the entry changes, the
    flows of these addresses decide again with their next packet.
    """

    map: str
    key: Record
    value: Record
    touches: tuple[IPv4Address | IPv6Address, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketTest:
    """A packet in, and what must come of it; run against every generation before it is attached.

    The generation is tried on maps of its own, filled with `entries` only, never on live ones.
    `output` is the whole frame as it leaves, or None to leave it unchecked.
    """

    name: str
    hook: Hook
    packet: bytes
    verdict: Verdict
    entries: tuple[Entry, ...] = ()
    output: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sysctl:
    """A kernel setting that the feature needs, as a path below /proc/sys; undone on detach."""

    path: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """Everything a plugin adds to the plan for a given config.

    `headers` is the folder that holds its C headers. `drops` maps each PLAIT_DROP_REASON of them to
    a sentence for people, `constants` each PLAIT_CONST to its value, `sizes` each macro that
    sizes an array in a layout to a number. `requires` holds kernel features, and config keys of
    other plugins' features, `hooks` those that must be there even without a fragment: as the
    answers to what the plugin translates pass by there.
    """

    headers: Path
    fragments: tuple[Fragment, ...] = ()
    maps: tuple[MapSpec, ...] = ()
    flow_part: FlowPart | None = None
    constants: Mapping[str, int | bool] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    drops: Mapping[str, str] = field(default_factory=dict)
    tests: tuple[PacketTest, ...] = ()
    sysctls: tuple[Sysctl, ...] = ()
    requires: tuple[KernelFeature | str, ...] = ()
    hooks: tuple[Hook, ...] = ()


def _alone(each: Object) -> tuple[str, ...]:
    return (each.name,)


def _none(_each: Object) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """Control plane: a pure function from objects to wanted map entries.

    Objects of `kinds` are grouped: `scopes` names the groups that one belongs to (none: it is not
    this handler's business); by default each is alone. `wanted` is called once for each scope that
    changed, with all of its objects in name order, those that are `shared` by all scopes among
    them: when such a one changes, every scope is asked. It may raise or yield a `PlaitError` for an
    object that makes no sense: that is reported, and a scope whose `wanted` raised keeps the
    entries it had.
    """

    name: str
    kinds: tuple[type[Object], ...]
    wanted: Callable[[str, Sequence[Object]], Iterable[Entry | PlaitError]]
    scopes: Callable[[Object], Iterable[str]] = _alone
    shared: Callable[[Object], bool] = _none


class MetricKind(StrEnum):
    """How a metric moves."""

    COUNTER = "counter"
    """Only up, until the map that it is read from starts anew."""
    GAUGE = "gauge"
    """Up and down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The value of a metric for these values of its labels."""

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


EntriesByMap = Mapping[str, Iterable[tuple[Record, Record]]]
"""Entries by the name of their map, read when they are asked for; those of a per-CPU map come once
for each CPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """What a plugin tells Prometheus of its maps, read whenever somebody asks (`plait metrics`).

    `name` is `plait_PLUGIN_...` and ends in its unit, that of a counter in `_total`. Each sample
    has a value for each of the `labels`: keep their combinations few.
    """

    name: str
    help: str
    kind: MetricKind
    samples: Callable[[EntriesByMap], Iterable[Sample]]
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """A key under `features:` and the frozen dataclass (see `setting`) that its value becomes."""

    key: str
    config: type
    summary: str
