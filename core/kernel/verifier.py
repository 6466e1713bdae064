"""What the kernel's verifier said, put as an error that names the plugin, the file and the line."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from plait.codegen.compile import stack_advice
from plait.core.errors import PlaitError, Position
from plait.core.kernel.bpfobject import VerifierRefused

# Linux 6.10 and later end a source line with its place; a file is given by its base name.
_SOURCE = re.compile(r"; (?P<text>.*?)(?: @ (?P<file>[^ ]+):(?P<line>\d+))?")
_STATISTICS = re.compile(r"processed (?P<count>\d+) insns .*")
_STATE = re.compile(r"((cur|old) state: |stack depth |verification time ).*")
_INSTRUCTION = re.compile(r"(\d+: |from \d+ to \d+).*")
_NO_REASON = (_SOURCE, _STATISTICS, _STATE, _INSTRUCTION)
_TOO_COMPLEX = ("BPF program is too large", "too complex")


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A C header, and the plugin that it belongs to ('core' for the framework's own)."""

    plugin: str
    path: Path


def explain(refused: VerifierRefused, headers: Mapping[str, Header]) -> PlaitError:
    """The error to show when a program is refused; `headers` is by base name.

    It says the verifier's last words, at the last source line that it looked at before.
    """
    lines = [line.strip() for line in refused.log.splitlines() if line.strip()]
    reason = _last_words(lines)
    header, at = _place(lines, headers)
    blamed = f"plugin {header.plugin}: " if header else ""
    expected, hint = _advice(reason, lines, headers)
    return PlaitError(
        f"{blamed}the kernel's verifier refused {refused.program}: {reason}",
        at=at,
        expected=expected,
        hint=hint,
    )


def _advice(
    reason: str, lines: list[str], headers: Mapping[str, Header]
) -> tuple[str | None, str | None]:
    if any(words in reason for words in _TOO_COMPLEX):
        expected = f"fewer instructions on its paths ({_cost(lines)})"
        return expected, "shorten a loop, or use bpf_loop()"
    if "infinite loop" in reason:
        return "a loop that ends", "give it a constant bound, or use bpf_loop()"
    if "stack size" in reason:
        return stack_advice(header.plugin for header in headers.values())
    return None, None


def _last_words(lines: list[str]) -> str:
    """The last line that is neither source, instruction, state nor statistics."""
    for line in reversed(lines):
        if not any(kind.fullmatch(line) for kind in _NO_REASON):
            return line
    return "it gave no reason"


def _cost(lines: list[str]) -> str:
    for line in reversed(lines):
        if found := _STATISTICS.fullmatch(line):
            return f"processed {found['count']}"
    return "unknown"


def _place(
    lines: list[str], headers: Mapping[str, Header]
) -> tuple[Header | None, Position | None]:
    found = next((m for line in reversed(lines) if (m := _SOURCE.fullmatch(line))), None)
    if found is None:
        return None, None
    if found["file"] is None:
        return _search(found["text"], headers)
    header = headers.get(Path(found["file"]).name)
    path = header.path if header else Path(found["file"])
    return header, _position(path, int(found["line"]), found["text"])


def _search(text: str, headers: Mapping[str, Header]) -> tuple[Header | None, Position | None]:
    """The place of a line known by its text only, if exactly one header has it."""
    places = [
        (header, number)
        for header in headers.values()
        for number, line in _lines(header.path)
        if line.strip() == text
    ]
    if len(places) != 1:
        return None, None
    header, number = places[0]
    return header, _position(header.path, number, text)


def _position(path: Path, number: int, text: str) -> Position:
    source = dict(_lines(path)).get(number, "")
    column = max(source.find(text), 0) + 1
    return Position(file=path, line=number, column=column, width=max(len(text), 1))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return
    yield from enumerate(text.splitlines(), start=1)
