"""What a plugin's headers say, as far as text tells it: where functions and constants stand."""

import re
from collections.abc import Iterator
from pathlib import Path

from plait.core.errors import Position

_CONSTANT = re.compile(r"\bPLAIT_CONST\(\s*[^,]+,\s*(\w+)")


def function_line(header: Path, function: str) -> int:
    """Where a header defines a function, or names it first; 1 when it cannot be read, or does not:
    that is a problem of its own.
    """
    try:
        text = header.read_text(encoding="utf-8")
    except OSError:
        return 1
    name = rf"\b{re.escape(function)}\s*\("
    definition = re.compile(rf"^(?:\w[^\n;{{}}]*)?{name}[^;{{}}]*\)\s*\{{", re.MULTILINE)
    found = definition.search(text) or re.search(name, text)
    return text.count("\n", 0, found.start()) + 1 if found else 1


def constants(folder: Path) -> Iterator[tuple[str, Position]]:
    """Every constant that the headers of a folder declare, and where."""
    for header in sorted(folder.glob("*.h")):
        text = header.read_text(encoding="utf-8")
        for found in _CONSTANT.finditer(text):
            line = text.count("\n", 0, found.start(1)) + 1
            column = found.start(1) - text.rfind("\n", 0, found.start(1))
            name = found[1]
            yield name, Position(file=header, line=line, column=column, width=len(name))
