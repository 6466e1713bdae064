"""Markdown: pages made of blocks, and tables."""

from collections.abc import Iterable, Sequence


def page(*blocks: str) -> str:
    """Blocks with an empty line between each two."""
    return "\n\n".join(blocks) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; what would end a cell within it is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in line) + " |"
        for line in lines
    )
