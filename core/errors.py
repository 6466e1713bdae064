"""What a user can fix: errors that carry a position, what is wrong, what would be right, a hint."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path


class ExitStatus(IntEnum):
    """Exit status of the `plait` command; part of the command line's contract."""

    OK = 0
    BAD_INPUT = 1
    USAGE = 2
    SYSTEM = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A place in a file. `line` and `column` count from 1; `width` is how many columns it spans."""

    file: Path
    line: int
    column: int = 1
    width: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class PlaitError(Exception):
    """Something the user can fix: shown without a traceback, with its position and hint.

    `what` says what is wrong, `expected` what would be right, `hint` is a command or an edit.
    """

    exit_status = ExitStatus.BAD_INPUT

    def __init__(
        self,
        what: str,
        *,
        at: Position | None = None,
        expected: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.at = at
        self.expected = expected
        self.hint = hint

    def __str__(self) -> str:
        """One line: `file:line:col: what; expected`."""
        place = f"{self.at}: " if self.at else ""
        return place + "; ".join(part for part in (self.what, self.expected) if part)

    def explain(self) -> str:
        """The error as a person reads it: the line, the source text with a caret, the hint."""
        lines = [str(self)]
        source = _source_line(self.at)
        if self.at and source is not None:
            excerpt, before = _excerpt(source, self.at.column)
            width = min(self.at.width, max(len(excerpt) - before, 1))
            lines.append(f"{self.at.line:>6} | {excerpt}")
            caret = " " * before + "^" * width
            lines.append(f"       | {caret}" + (f" {self.hint}" if self.hint else ""))
        elif self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


class SystemProblem(PlaitError):
    """The machine, not the input, is at fault: no root, no compiler, no bpffs, a full disk."""

    exit_status = ExitStatus.SYSTEM


class Problems(PlaitError):
    """Several errors at once, in the order in which a reader meets them."""

    def __init__(self, errors: Iterable[PlaitError]) -> None:
        self.errors = tuple(errors)
        count = len(self.errors)
        super().__init__(f"{count} problem{'' if count == 1 else 's'}")

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)

    def explain(self) -> str:
        return "\n".join(error.explain() for error in self.errors)


def raise_all(errors: Iterable[PlaitError]) -> None:
    """Raise the one error, or all of them as `Problems`; return when there is none."""
    found = tuple(errors)
    if len(found) == 1:
        raise found[0]
    if found:
        raise Problems(found)


SHOWN = 100
"""Characters of a line or of a value that a message quotes at most."""

_CUT = "..."


def brief(text: str) -> str:
    """A value as a message quotes it: all of it, or how it begins."""
    return text if len(text) <= SHOWN else text[: SHOWN - len(_CUT)] + _CUT


def _excerpt(line: str, column: int) -> tuple[str, int]:
    """What is shown of a line, and how many characters of that come before `column`."""
    shown = "".join(each if each.isprintable() else " " for each in line)
    start = max(column - 1 - SHOWN // 2, 0) if len(line) > SHOWN else 0
    end = start + SHOWN
    left, right = _CUT if start else "", _CUT if end < len(line) else ""
    return left + shown[start:end] + right, len(left) + column - 1 - start


def _source_line(at: Position | None) -> str | None:
    if at is None:
        return None
    try:
        lines = at.file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    return lines[at.line - 1] if 0 < at.line <= len(lines) else None
