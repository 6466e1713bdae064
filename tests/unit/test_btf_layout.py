"""From C to Python: types, maps and constants of an object, and codecs for its structs."""

from array import array
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.codegen.btf import Enum, parse_btf
from plait.codegen.codec import Codec
from plait.codegen.layout import ArrayLayout, Field, Kind, Layout, Scalar, StructLayout, layout_of
from plait.codegen.object import read_object
from plait.core.api import FieldValue, Record
from plait.core.errors import PlaitError

SOURCE = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct plait_addr { __be32 w[4]; };
typedef __be32 plait_ip4;

struct inner { __be32 net; _Bool yes; __u8 pad_inner; __s16 offset; };

struct key { struct plait_addr addr; __be16 port; __u8 proto; __u8 pad; __u32 id; };

enum action { ACTION_NONE = -1, ACTION_GO = 3 };

struct value {
	const volatile __u64 id;
	__u8 mac[6];
	__be16 ports[3];
	__u16 slots[5];
	struct inner inner;
	struct inner many[2];
	union { __u32 first; __u64 second; };
	union named { __u8 low; __u32 all; } either;
	enum action action;
	plait_ip4 ip;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct key);
	__type(value, struct value);
} typed SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

#define CONST(type, name, text) \\
	volatile const type name __attribute__((btf_decl_tag(text)))
CONST(__u32, limit, "how many") = 7;
CONST(_Bool, audit, "record only");
volatile const __u16 plain = 3;

struct bits { __u32 low : 4; };
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bits);
} with_bits SEC(".maps");

struct pointer { void *to; };
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pointer);
} with_pointer SEC(".maps");

SEC("tc") int classify(struct __sk_buff *skb)
{
	struct key key = {};

	return skb->mark + audit + limit + plain + !!bpf_map_lookup_elem(&typed, &key);
}
"""

KEY: Record = {"addr": IPv4Address("10.1.2.3"), "port": 80, "proto": 6, "id": 0x01020304}

VALUE: Record = {
    "id": 2**64 - 1,
    "mac": bytes.fromhex("020000000001"),
    "ports": (1, 2, 0xFFFE),
    "slots": (1, 2, 3, 4, 0xFFFF),
    "inner": {"net": 0x0A000000, "yes": True, "offset": -2},
    "many": ({"net": 1, "yes": False, "offset": 3}, {"net": 2, "yes": True, "offset": 4}),
    "first": 9,
    "either": {"low": 255},
    "action": -1,
    "ip": IPv4Address("192.0.2.1"),
}

CodecOf = Callable[[str], Codec]


@pytest.fixture
def codec(compile_c: Callable[[str], bytes]) -> CodecOf:
    types = read_object(compile_c(SOURCE)).btf

    def make(name: str) -> Codec:
        type_id = types.find(name)
        assert type_id is not None
        return Codec(layout_of(types, type_id))

    return make


def test_an_object_tells_its_maps(compile_c: Callable[[str], bytes]) -> None:
    image = compile_c(SOURCE)

    events, typed, *_ = read_object(image).maps

    assert (events.name, events.map_type, events.max_entries) == ("events", 27, 4096)
    assert (events.key_type, events.key_size, events.flags) == (None, 0, 0)
    assert (typed.name, typed.map_type, typed.max_entries) == ("typed", 1, 1024)
    assert (typed.key_size, typed.value_size, typed.flags) == (24, 80, 1)


def test_an_object_tells_its_constants_and_their_documentation(
    compile_c: Callable[[str], bytes],
) -> None:
    image = compile_c(SOURCE)

    constants = read_object(image).constants

    assert [(c.name, c.offset, c.size, c.doc) for c in constants] == [
        ("limit", 0, 4, "how many"),
        ("plain", 4, 2, None),
        ("audit", 6, 1, "record only"),
    ]


def test_an_object_without_types_is_refused(compile_c: Callable[[str], bytes]) -> None:
    image = compile_c("int nothing;").replace(b".BTF", b".XXX")

    with pytest.raises(ValueError, match=r"no \.BTF section"):
        read_object(image)


def test_what_is_not_btf_is_refused() -> None:
    with pytest.raises(ValueError, match="not BTF"):
        parse_btf(b"\x9f\xeb")


def test_an_enum_has_its_values_with_their_sign(compile_c: Callable[[str], bytes]) -> None:
    types = read_object(compile_c(SOURCE)).btf

    found = types.types[types.find("action") or 0]

    assert isinstance(found, Enum)
    assert found.values == (("ACTION_NONE", -1), ("ACTION_GO", 3))


def test_a_key_is_laid_out_as_in_c(codec: CodecOf) -> None:
    key = codec("key")

    raw = key.encode(KEY)

    address, rest = raw[:16], raw[16:]
    assert address == bytes(10) + b"\xff\xff" + bytes([10, 1, 2, 3])
    assert rest == b"\x00\x50" + b"\x06" + b"\x00" + (0x01020304).to_bytes(4, "little")


def test_every_kind_of_field_comes_back_as_it_went_in(codec: CodecOf) -> None:
    value = codec("value")

    raw = value.encode(VALUE)

    assert len(raw) == 80
    assert value.decode(raw) == VALUE


def test_an_ipv6_address_comes_back(codec: CodecOf) -> None:
    record = {**KEY, "addr": IPv6Address("2001:db8::1")}

    assert codec("key").decode(codec("key").encode(record)) == record


def test_a_mac_may_be_text(codec: CodecOf) -> None:
    value = codec("value")

    assert value.encode({**VALUE, "mac": "02:00:00:00:00:01"}) == value.encode(VALUE)


def test_numbers_may_be_an_array(codec: CodecOf) -> None:
    value = codec("value")
    slots = cast(FieldValue, array("H", (1, 2, 3, 4, 0xFFFF)))

    assert value.encode({**VALUE, "slots": slots}) == value.encode(VALUE)


def test_records_that_are_left_out_at_the_end_of_an_array_are_zero(codec: CodecOf) -> None:
    value = codec("value")
    one = {"net": 1, "yes": True, "offset": 1}
    none = {"net": 0, "yes": False, "offset": 0}

    assert value.encode({**VALUE, "many": ()}) == value.encode({**VALUE, "many": (none, none)})
    assert value.encode({**VALUE, "many": (one,)}) == value.encode({**VALUE, "many": (one, none)})


def test_a_plain_number_is_a_record_of_one_value() -> None:
    codec = Codec(Scalar(size=4, kind=Kind.UNSIGNED))

    raw = codec.encode({"value": 5})

    assert raw == (5).to_bytes(4, "little")
    assert codec.decode(raw) == {"value": 5}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({**KEY, "prot": 6}, "struct key has no field 'prot'"),
        ({"addr": KEY["addr"], "port": 1, "id": 1}, "struct key: field 'proto' is missing"),
        ({**KEY, "port": 70000}, "struct key: port = 70000 does not fit"),
        ({**KEY, "proto": -1}, "struct key: proto = -1 does not fit"),
        ({**KEY, "proto": "tcp"}, "struct key: proto = 'tcp' does not fit"),
        ({**KEY, "port": "http"}, "struct key: port = 'http' does not fit"),
        ({**KEY, "addr": "10.0.0.1"}, "struct key: addr = '10.0.0.1' does not fit"),
    ],
)
def test_a_record_that_does_not_fit_is_refused_by_field(
    codec: CodecOf, record: Record, message: str
) -> None:
    with pytest.raises(PlaitError, match=message):
        codec("key").encode(record)


@pytest.mark.parametrize(
    ("field", "bad", "message"),
    [
        ("mac", "02:00", "struct value: mac = '02:00' does not fit; expected 6 bytes"),
        ("slots", (1, 2), "slots = \\(1, 2\\) does not fit; expected 5 numbers, not 2"),
        ("many", 5, "many = 5 does not fit; expected a tuple of 2 or less"),
        ("many", ({}, {}, {}), "does not fit; expected a tuple of 2 or less"),
        ("inner", 5, "inner = 5 does not fit; expected a record of struct inner"),
        ("inner", {"net": 1, "yes": True}, "struct inner: field 'offset' is missing"),
        ("inner", {"net": 1, "yes": 2, "offset": 1}, "struct inner: yes = 2 does not fit"),
        ("ip", IPv6Address("::1"), "expected an IPv4Address"),
    ],
)
def test_a_part_that_does_not_fit_is_named(
    codec: CodecOf, field: str, bad: FieldValue, message: str
) -> None:
    with pytest.raises(PlaitError, match=message):
        codec("value").encode({**VALUE, field: bad})


@pytest.mark.parametrize(("name", "message"), [("bits", "bit field 'low'"), ("pointer", "pointer")])
def test_what_cannot_be_in_a_map_is_refused(codec: CodecOf, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        codec(name)


# --------------------------------------------------------------------- any layout, any values

SCALARS: dict[Layout, st.SearchStrategy[FieldValue]] = {
    Scalar(size=1, kind=Kind.BOOL): st.booleans(),
    Scalar(size=16, kind=Kind.ADDRESS): st.builds(IPv4Address, st.integers(0, 2**32 - 1))
    | st.builds(IPv6Address, st.integers(2**48, 2**128 - 1)),
    Scalar(size=4, kind=Kind.ADDRESS): st.builds(IPv4Address, st.integers(0, 2**32 - 1)),
    Scalar(size=6, kind=Kind.BYTES): st.binary(min_size=6, max_size=6),
    **{Scalar(size=n, kind=Kind.UNSIGNED): st.integers(0, 256**n - 1) for n in (1, 2, 4, 8)},
    **{Scalar(size=n, kind=Kind.BIG_ENDIAN): st.integers(0, 256**n - 1) for n in (2, 4, 8)},
    **{
        Scalar(size=n, kind=Kind.SIGNED): st.integers(-(256**n) // 2, 256**n // 2 - 1)
        for n in (1, 2, 4, 8)
    },
}


@st.composite
def layouts_and_values(
    draw: st.DrawFn, depth: int = 2
) -> tuple[Layout, st.SearchStrategy[FieldValue]]:
    """A layout, and a strategy for what fits into it."""
    kind = draw(st.sampled_from(("scalar", "array", "struct") if depth else ("scalar",)))
    if kind == "scalar":
        layout = draw(st.sampled_from(list(SCALARS)))
        return layout, SCALARS[layout]
    if kind == "array":
        element, values = draw(layouts_and_values(depth=depth - 1))
        count = draw(st.integers(1, 4))
        size = count * element.size
        return ArrayLayout(size=size, element=element, count=count), st.tuples(*[values] * count)
    return draw(structs_and_records(depth=depth - 1))


@st.composite
def structs_and_records(
    draw: st.DrawFn, depth: int = 2
) -> tuple[StructLayout, st.SearchStrategy[Record]]:
    """A struct with holes anywhere, and a strategy for its records."""
    at, fields, values = 0, [], {}
    for index in range(draw(st.integers(1, 4))):
        layout, strategy = draw(layouts_and_values(depth=depth))
        at += draw(st.integers(0, 3))
        fields.append(Field(name=f"f{index}", offset=at, layout=layout))
        values[f"f{index}"] = strategy
        at += layout.size
    struct = StructLayout(
        size=at + draw(st.integers(0, 3)), name="any", union=False, fields=tuple(fields)
    )
    return struct, st.fixed_dictionaries(values)


@given(data=st.data())
def test_decoding_undoes_encoding(data: st.DataObject) -> None:
    struct, records = data.draw(structs_and_records())
    record = data.draw(records)
    codec = Codec(struct)

    raw = codec.encode(record)

    assert len(raw) == struct.size
    assert codec.decode(raw) == record
