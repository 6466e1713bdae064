"""Of what transitions are tried on: every field that the balancer heeds."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from itertools import zip_longest
from pathlib import Path

from plait.core.api import EndpointSlice, Meta, Object, Service, ServicePort, SliceEndpoint
from plait.core.objects.kinds import KINDS
from plait.core.objects.parse import kind_table, parse_text
from plait.core.objects.services import SlicePort
from support.toggles import AS_THEY_ARE, TOGGLES, Toggle

HEEDED = (Meta, Service, ServicePort, EndpointSlice, SliceEndpoint, SlicePort)


def test_every_field_of_a_service_and_its_slices_is_toggled() -> None:
    before = objects(Toggle(what="nothing", change={}))

    toggled = {
        place
        for toggle in TOGGLES
        for one, other in zip(before, objects(toggle), strict=True)
        for place in differences(one, other)
    }

    wanted = {f"{kind.__name__}.{each.name}" for kind in HEEDED for each in fields(kind)}
    assert wanted - toggled == {f"{kind.__name__}.at" for kind in (Service, EndpointSlice)}


def objects(toggle: Toggle) -> tuple[Object, ...]:
    """In the order in which they stand, so that those of two toggles are pairs."""
    found: list[Object] = []
    for document in toggle.text().split("---\n"):
        parsed = parse_text(document, Path("toggled.yaml"), kind_table(KINDS))
        assert not (parsed.problems or parsed.warnings), toggle.what
        found += parsed.objects
    assert len(found) == len(AS_THEY_ARE)
    return tuple(found)


def differences(one: object, other: object) -> Iterator[str]:
    """The fields by which two values differ, `Kind.field`, at any depth."""
    if isinstance(one, tuple) and isinstance(other, tuple):
        for each, twin in zip_longest(one, other):
            yield from differences(each, twin)
    if is_dataclass(one) and type(one) is type(other):
        for field in fields(one):
            mine, others = getattr(one, field.name), getattr(other, field.name)
            if mine != others and field.compare:
                yield f"{type(one).__name__}.{field.name}"
                yield from differences(mine, others)
