"""Kernel maps as the reconciler sees them: records in, batches out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from plait.codegen.codec import Codec
from plait.core.api.contract import Record
from plait.core.kernel.maps import Map
from plait.core.plan.model import MapPlan, Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelTarget:
    """One map of the running generation, with the codecs that its own BTF gives."""

    planned: MapPlan
    map: Map
    key: Codec
    value: Codec

    @property
    def config_key(self) -> str | None:
        return self.planned.spec.config_key

    @property
    def capacity(self) -> int:
        return self.map.info.max_entries

    @property
    def bound(self) -> int:
        return self.planned.bound

    def encode_key(self, record: Record) -> bytes:
        return self.key.encode(record)

    def encode_value(self, record: Record) -> bytes:
        return self.value.encode(record)

    def update_many(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        self.map.update_many(pairs)

    def delete_many(self, keys: Sequence[bytes]) -> None:
        self.map.delete_many(keys)

    def items(self) -> Iterable[tuple[bytes, bytes]]:
        return self.map.items()


def reconciled_targets(plan: Plan, maps: Mapping[str, Map]) -> dict[str, KernelTarget]:
    """The maps that hold what handlers want, in the order of the plan."""
    targets = {}
    for each in plan.maps:
        if each.spec.reconciled:
            found = maps[each.spec.name]
            key, value = found.codecs()
            targets[each.spec.name] = KernelTarget(planned=each, map=found, key=key, value=value)
    return targets
