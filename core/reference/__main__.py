"""`python -m plait.core.reference FOLDER` writes the reference pages."""

import sys
from pathlib import Path

from plait.core.cli.context import DEFAULT_PLUGINS
from plait.core.reference.pages import pages


def main(folder: Path) -> None:
    """Write every page into the folder, which is made when it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages(DEFAULT_PLUGINS).items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
