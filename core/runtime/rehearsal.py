"""Rehearsal: what objects want of maps, reckoned before there are any."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from plait.codegen.codec import Codec
from plait.core.api.contract import Handler, Record
from plait.core.control.reconciler import Outcome, Reconciler
from plait.core.objects.model import Key, Object
from plait.core.pipeline import Prepared
from plait.core.plan.model import MapPlan
from plait.core.runtime.staging import definitions, layouts


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """A map that is not there, as large as it may ever be: entries are encoded and counted."""

    planned: MapPlan
    key: Codec
    value: Codec

    @property
    def config_key(self) -> str | None:
        return self.planned.spec.config_key

    @property
    def capacity(self) -> int:
        return self.planned.bound

    @property
    def bound(self) -> int:
        return self.planned.bound

    def encode_key(self, record: Record) -> bytes:
        return self.key.encode(record)

    def encode_value(self, record: Record) -> bytes:
        return self.value.encode(record)

    def update_many(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        pass

    def delete_many(self, keys: Collection[bytes]) -> None:
        pass

    def items(self) -> Iterable[tuple[bytes, bytes]]:
        return ()


def rehearse(
    prepared: Prepared, handlers: Sequence[Handler], objects: Mapping[Key, Object]
) -> Outcome:
    """What a first reconciliation would come to, with all maps as large as they may grow."""
    defined = definitions(prepared.compiled.objects)
    targets = {}
    for each in prepared.plan.maps:
        if each.spec.reconciled:
            key, value = layouts(*defined[each.spec.name])
            targets[each.spec.name] = _Target(planned=each, key=Codec(key), value=Codec(value))
    reconciler = Reconciler(handlers, targets, bump=lambda _: None, bump_all=lambda: None)
    return reconciler.sync(objects)
