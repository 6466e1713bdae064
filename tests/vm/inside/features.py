"""In a machine: what Plait finds out about the kernel."""

import os

from plait.core.kernel.features import probe

EVERYWHERE = {
    "clsact": True,
    "redirect_peer": True,
    "redirect_neigh": True,
    "fib_lookup": True,
    "cgroup_link": True,
    "sock_errno": True,
}
KNOWN = {
    "6.1": {**EVERYWHERE, "tcx": False, "cast_to_kernel_context": False},
    "6.12": {**EVERYWHERE, "tcx": True, "cast_to_kernel_context": True},
}


def test_the_features_of_this_kernel_are_found() -> None:
    series = ".".join(os.uname().release.split(".")[:2])

    assert probe() == KNOWN[series]
