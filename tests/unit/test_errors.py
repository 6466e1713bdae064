"""Errors as a person reads them: the place, the line, the hint."""

from pathlib import Path

import pytest

from plait.core.errors import PlaitError, Position


@pytest.mark.parametrize(
    ("line", "column", "width", "shown"),
    [
        ("key: value", 6, 5, ["     1 | key: value", "       |      ^^^^^ hint"]),
        ("\tkey", 2, 3, ["     1 |  key", "       |  ^^^ hint"]),
        (
            f"{'x' * 200}HERE{'y' * 200}",
            201,
            4,
            [
                f"     1 | ...{'x' * 50}HERE{'y' * 46}...",
                f"       | {' ' * 53}^^^^ hint",
            ],
        ),
        (
            f"k: {'x' * 200}",
            4,
            200,
            [f"     1 | k: {'x' * 97}...", f"       |    {'^' * 100} hint"],
        ),
    ],
)
def test_a_line_is_shown_around_the_position(
    tmp_path: Path, line: str, column: int, width: int, shown: list[str]
) -> None:
    file = tmp_path / "plait.yaml"
    file.write_text(f"{line}\n")
    at = Position(file=file, line=1, column=column, width=width)

    told = PlaitError("no", at=at, hint="hint").explain().splitlines()

    assert told[1:] == shown
