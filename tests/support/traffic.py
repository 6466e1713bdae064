"""Traffic that must come to no harm, whatever is done to the node meanwhile."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from plait.core.lab.lab import Lab
from plait.core.lab.running import start
from plait.core.lab.traffic.connect import Connected
from plait.core.lab.traffic.hold import Held
from plait.core.lab.traffic.stream import Streamed

V4, V6 = "10.96.0.10:80", "[fd00:10:96::10]:80"
"""The service of the quickstart."""


@contextmanager
def unharmed_traffic(lab: Lab, connections: int = 50, losses: int = 0) -> Iterator[None]:
    """Numbered UDP both ways and open TCP connections, v4 and v6, of which none comes to harm."""
    streams = {
        (source, target): start(lab, source, Streamed, target, "--rate", "500")
        for source, target in (
            ("client", V4),
            ("client", V6),
            ("client", "10.244.1.11:8080"),
            ("web-3", "[fd00:10:244:1::10]:8080"),
        )
    }
    holds = [
        start(lab, "client", Held, target, "--count", str(connections), "--interval", "0.05")
        for target in (V4, V6)
    ]
    warm = start(lab, "client", Connected, V4, "--seconds", "0.3").result()
    assert warm.errors == {}

    yield
    time.sleep(0.2)

    for stream, running in streams.items():
        streamed = running.stop()
        assert streamed.sent > 50
        assert streamed.lost <= losses, (stream, streamed)
        assert streamed.foreign == 0, (stream, streamed)
        assert len(streamed.servers) == 1, (stream, streamed)
    for each in holds:
        held = each.stop()
        assert held.opened == connections
        assert (held.failed, held.reset, held.stalled, held.corrupt) == (0, 0, 0, 0), held
