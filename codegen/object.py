"""What a compiled object says of itself: its types, maps and load-time constants."""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Symbol, SymbolTableSection

from plait.codegen.btf import Array, Btf, Pointer, Struct, Variable, parse_btf


@dataclass(frozen=True, slots=True, kw_only=True)
class MapDefinition:
    """A map of the `.maps` section.

    Sizes are in bytes. `key_type` and `value_type` are BTF ids, None where the definition gives a
    size and no type. `map_type` is the kernel's enum bpf_map_type.
    """

    name: str
    map_type: int
    max_entries: int
    flags: int
    key_size: int
    value_size: int
    key_type: int | None
    value_type: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """A variable of `.rodata`: its place in the section, in bytes; `doc` is its decl tag's text."""

    name: str
    offset: int
    size: int
    type: int
    doc: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """The types, programs and maps (by name) and constants (by offset) of one object."""

    btf: Btf
    programs: tuple[str, ...]
    maps: tuple[MapDefinition, ...]
    constants: tuple[Constant, ...]


def read_object(image: bytes) -> ObjectInfo:
    """Read an ELF object that clang made for the bpf target with -g. ValueError for any other."""
    try:
        elf = ELFFile(BytesIO(image))
    except ELFError as error:
        raise ValueError(f"not an ELF object: {error}") from error
    section = elf.get_section_by_name(".BTF")
    if section is None:
        raise ValueError("the object has no .BTF section: compile it with -g")
    btf = parse_btf(section.data())
    maps = sorted(_maps(btf), key=lambda definition: definition.name)
    constants = sorted(_constants(btf, elf), key=lambda constant: constant.offset)
    return ObjectInfo(
        btf=btf, programs=tuple(_programs(elf)), maps=tuple(maps), constants=tuple(constants)
    )


def _programs(elf: ELFFile) -> list[str]:
    """The functions in sections of their own; those that only programs call are in `.text`."""
    sections = list(elf.iter_sections())
    return sorted(
        symbol.name
        for symbol in _symbols(elf)
        if symbol["st_info"]["type"] == "STT_FUNC" and sections[symbol["st_shndx"]].name != ".text"
    )


def _maps(btf: Btf) -> Iterator[MapDefinition]:
    for _, variable in _variables(btf, ".maps"):
        definition = btf.resolve(variable.type)
        if isinstance(definition, Struct):
            yield _map(btf, variable.name, definition)


def _map(btf: Btf, name: str, definition: Struct) -> MapDefinition:
    fields = {member.name: member.type for member in definition.members}
    key_type = _pointed(btf, fields.get("key"))
    value_type = _pointed(btf, fields.get("value"))
    return MapDefinition(
        name=name,
        map_type=_number(btf, fields.get("type")),
        max_entries=_number(btf, fields.get("max_entries")),
        flags=_number(btf, fields.get("map_flags")),
        key_size=btf.size(key_type) if key_type else _number(btf, fields.get("key_size")),
        value_size=btf.size(value_type) if value_type else _number(btf, fields.get("value_size")),
        key_type=key_type,
        value_type=value_type,
    )


def _number(btf: Btf, type_id: int | None) -> int:
    """`__uint(name, 5)` of bpf_helpers.h is spelt `int (*name)[5]`."""
    target = _pointed(btf, type_id)
    array = btf.resolve(target) if target is not None else None
    return array.count if isinstance(array, Array) else 0


def _pointed(btf: Btf, type_id: int | None) -> int | None:
    """`__type(key, T)` of bpf_helpers.h is spelt `T *key`."""
    pointer = btf.resolve(type_id) if type_id is not None else None
    return pointer.target if isinstance(pointer, Pointer) else None


def _constants(btf: Btf, elf: ELFFile) -> Iterator[Constant]:
    offsets = _symbol_offsets(elf)
    tags = btf.tags()
    for type_id, variable in _variables(btf, ".rodata"):
        yield Constant(
            name=variable.name,
            offset=offsets[variable.name],
            size=btf.size(variable.type),
            type=variable.type,
            doc=tags.get((type_id, -1)),
        )


def _variables(btf: Btf, section: str) -> Iterator[tuple[int, Variable]]:
    for type_id in btf.section(section):
        variable = btf.types[type_id]
        if isinstance(variable, Variable):
            yield type_id, variable


def _symbol_offsets(elf: ELFFile) -> dict[str, int]:
    # clang leaves the offsets in BTF's section records at zero; the symbol table has them.
    return {symbol.name: symbol["st_value"] for symbol in _symbols(elf)}


def _symbols(elf: ELFFile) -> Iterator[Symbol]:
    symbols = elf.get_section_by_name(".symtab")
    if not isinstance(symbols, SymbolTableSection):
        raise ValueError("the object has no symbol table")
    yield from symbols.iter_symbols()
