"""Verdicts: when checks that went well or wrong make a backend count as healthy, or not."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What the checks of a backend came to. `healthy` is None until there is a first verdict.

    `row` is how many of the last checks ended alike, as `last` says.
    """

    healthy: bool | None = None
    last: bool = True
    row: int = 0

    def after(self, good: bool, *, rise: int, fall: int) -> "Health":
        """The same after one more check. It takes `rise` good ones in a row to be healthy, `fall`
        bad ones in a row not to be; in between, what was said last holds.
        """
        row = self.row + 1 if good is self.last else 1
        enough = row >= (rise if good else fall)
        return Health(healthy=good if enough else self.healthy, last=good, row=row)
