"""What is known of a lab that is up, or half up: a small file under /run."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from plait.core.endpoints.namespaces import RUN
from plait.core.kernel.cgroups import mount_point
from plait.core.lab.topology import Topology

FOLDER = Path("/run/plait/labs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A host, or a pod on `host`: a named network namespace and its addresses, as text."""

    name: str
    namespace: str
    addresses: tuple[str, ...]
    host: str | None = None

    @property
    def netns(self) -> Path:
        return RUN / self.namespace


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The namespaces of a lab. `segments` are those of its bridges, `digest` its topology's."""

    name: str
    digest: str
    hosts: tuple[Place, ...]
    pods: tuple[Place, ...]
    segments: tuple[str, ...]

    @property
    def places(self) -> Mapping[str, Place]:
        return {place.name: place for place in (*self.hosts, *self.pods)}

    @property
    def namespaces(self) -> tuple[str, ...]:
        return (*(place.namespace for place in self.places.values()), *self.segments)

    @property
    def cgroups(self) -> tuple[Path, ...]:
        """Those of the hosts; none where cgroup v2 is not mounted."""
        return tuple(cgroup for host in self.hosts if (cgroup := self.cgroup(host.name)))

    def cgroup(self, where: str) -> Path | None:
        """What the processes on a host and on its pods are in."""
        place, mount = self.places[where], mount_point()
        host = self.places[place.host] if place.host else place
        return mount / f"plait-{host.namespace}" if mount else None


def state_of(topology: Topology, name: str) -> State:
    """What a lab of this topology, called `name`, will consist of."""
    return State(
        name=name,
        digest=hashlib.sha256(repr(topology).encode()).hexdigest()[:16],
        hosts=tuple(
            Place(
                name=host.name,
                namespace=f"{name}-{host.name}",
                addresses=tuple(
                    str(address.ip) for uplink in host.uplinks.values() for address in uplink
                ),
            )
            for host in topology.hosts
        ),
        pods=tuple(
            Place(
                name=pod.name,
                namespace=f"{name}-{host.name}-{pod.name}",
                addresses=tuple(str(address) for address in pod.addresses),
                host=host.name,
            )
            for host in topology.hosts
            for pod in host.pods
        ),
        segments=tuple(
            f"{name}.wire{number}" for number, wire in enumerate(topology.wires) if len(wire) != 2
        ),
    )


def save(state: State) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    draft = _file(state.name).with_suffix(".draft")
    draft.write_text(json.dumps(asdict(state), indent=2), encoding="utf-8")
    draft.replace(_file(state.name))


def load(name: str) -> State | None:
    """The state of the lab `name`; None when it is not up."""
    try:
        data = json.loads(_file(name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return State(
        name=data["name"],
        digest=data["digest"],
        hosts=tuple(_place(each) for each in data["hosts"]),
        pods=tuple(_place(each) for each in data["pods"]),
        segments=tuple(data["segments"]),
    )


def load_all() -> tuple[State, ...]:
    """Every lab that is up, by name."""
    states = (load(file.stem) for file in sorted(FOLDER.glob("*.json")))
    return tuple(state for state in states if state)


def forget(name: str) -> None:
    _file(name).unlink(missing_ok=True)


def _file(name: str) -> Path:
    return FOLDER / f"{name}.json"


def _place(data: Mapping[str, str]) -> Place:
    return Place(
        name=data["name"],
        namespace=data["namespace"],
        addresses=tuple(data["addresses"]),
        host=data["host"],
    )
