"""How much stack the programs of an object take, as kernels count it."""

import struct
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import NamedTuple

from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection

MOST = 512
ROUNDED = 32
"""What a frame counts for is a multiple of this, before Linux 6.8; then, of 16."""

_FRAME, _CALL, _LOAD64 = 10, 0x85, 0x18  # the register, and opcodes
_MOVE, _ADD = 0xBF, 0x07
_LOAD = 1  # a class of opcodes
_STORES = {0x62, 0x63, 0x6A, 0x6B, 0x72, 0x73, 0x7A, 0x7B, 0xC3, 0xDB}

Function = tuple[int, int]
"""Its section's index, and its first instruction's number."""


class _Instruction(NamedTuple):
    code: int
    to: int
    source: int
    offset: int
    value: int


def deepest(image: bytes) -> int:
    """Bytes on the longest way of calls, callbacks among them, through any program."""
    elf = ELFFile(BytesIO(image))
    functions = dict(_functions(elf))
    calls = {function: set(_calls(elf, functions, function)) for function in functions}

    def below(function: Function) -> int:
        own = -(-max(_frame(elf, functions, function), 1) // ROUNDED) * ROUNDED
        return own + max(map(below, calls[function]), default=0)

    return max(map(below, functions))


def _functions(elf: ELFFile) -> Iterator[tuple[Function, int]]:
    """Each function, and the number of the instruction after its last."""
    symbols = elf.get_section_by_name(".symtab")
    assert isinstance(symbols, SymbolTableSection)
    for symbol in symbols.iter_symbols():
        if symbol["st_info"]["type"] == "STT_FUNC" and symbol["st_shndx"] != "SHN_UNDEF":
            start = symbol["st_value"] // 8
            yield (symbol["st_shndx"], start), start + symbol["st_size"] // 8


def _code(
    elf: ELFFile, functions: Mapping[Function, int], function: Function
) -> Iterator[tuple[int, _Instruction]]:
    section, start = function
    data = elf.get_section(section).data()
    for number in range(start, functions[function]):
        code, registers, offset, value = struct.unpack_from("<BBhi", data, number * 8)
        yield number, _Instruction(code, registers & 15, registers >> 4, offset, value)


def _frame(elf: ELFFile, functions: Mapping[Function, int], function: Function) -> int:
    """The farthest from the top that it reaches: directly, or by a pointer that it makes."""
    farthest = 0
    pointers: set[int] = set()
    for _, each in _code(elf, functions, function):
        if each.code == _MOVE and each.source == _FRAME:
            pointers.add(each.to)
        elif each.code == _ADD and each.to in pointers:
            farthest = max(farthest, -each.value)
            pointers.remove(each.to)
        elif (each.code in _STORES and each.to == _FRAME) or (
            each.code & 7 == _LOAD and each.source == _FRAME
        ):
            farthest = max(farthest, -each.offset)
    return farthest


def _calls(
    elf: ELFFile, functions: Mapping[Function, int], function: Function
) -> Iterator[Function]:
    """The functions that it calls, or hands to a helper to be called."""
    targets = dict(_relocated(elf, function[0]))
    for number, each in _code(elf, functions, function):
        local = each.code == _CALL and each.source == 1
        section, start = targets.get(number, (function[0], number + 1 if local else -1))
        if local:
            called = (section, start + each.value + (number in targets))
        elif each.code == _LOAD64 and number in targets:
            called = (section, start + each.value // 8)
        else:
            continue
        if called in functions:
            yield called


def _relocated(elf: ELFFile, section: int) -> Iterator[tuple[int, Function]]:
    """What instructions of a section refer to, by their numbers."""
    for relocations in elf.iter_sections():
        if isinstance(relocations, RelocationSection) and relocations["sh_info"] == section:
            symbols = elf.get_section(relocations["sh_link"])
            assert isinstance(symbols, SymbolTableSection)
            for each in relocations.iter_relocations():
                symbol = symbols.get_symbol(each["r_info_sym"])
                if isinstance(symbol["st_shndx"], int):
                    yield (
                        each["r_offset"] // 8,
                        (symbol["st_shndx"], symbol["st_value"] // 8),
                    )
