"""What the control plane needs of a kernel map: a codec, batches, and the key that sizes it."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from plait.core.api.contract import Record


class MapTarget(Protocol):
    """A map that entries go to."""

    @property
    def config_key(self) -> str | None:
        """The config key that sizes the map, named when the map is full."""

    @property
    def capacity(self) -> int:
        """How many entries the map has room for."""

    @property
    def bound(self) -> int:
        """The most entries that the map may ever have room for."""

    def encode_key(self, record: Record) -> bytes:
        """The key's bytes. Raises `PlaitError` for a record that does not fit the layout."""

    def encode_value(self, record: Record) -> bytes:
        """The value's bytes. Raises `PlaitError` for a record that does not fit the layout."""

    def update_many(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """Add or change entries. Raises `MapFull`; some of them may have been written then."""

    def delete_many(self, keys: Sequence[bytes]) -> None:
        """Remove entries; keys that the map does not have are no error."""

    def items(self) -> Iterable[tuple[bytes, bytes]]:
        """All entries that the map has now."""
