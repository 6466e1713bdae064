"""Proving: the packet tests of a plan, run on its programs before they meet live traffic."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from plait.core.api.contract import Entry, PacketTest, Verdict
from plait.core.control.revisions import Revisions
from plait.core.errors import PlaitError, raise_all
from plait.core.kernel.maps import Map
from plait.core.kernel.programs import test_run
from plait.core.pipeline import Prepared
from plait.core.plan.core import REVISIONS
from plait.core.plan.model import Plan
from plait.core.runtime.staging import Staged, stage

VERDICTS = {0xFFFFFFFF: Verdict.PASS, 0: Verdict.PASS, 2: Verdict.DROP, 7: Verdict.REDIRECT}
"""What a program's return value (TC_ACT_*) means."""

_TRIAL_ENTRIES = 64
_FAMILIES = {b"\x08\x00": 4, b"\x86\xdd": 6}  # by EtherType


def prove(prepared: Prepared, cache: Path) -> None:
    """Run every packet test on maps of its own. PlaitError names those that fail.

    Those with packets of an address family that the plan leaves out do not matter.
    What has been proven on this kernel is remembered in `cache`, by content.
    """
    plan = prepared.plan
    proven = cache / "proofs" / _proof_key(prepared)
    if not plan.tests or proven.exists():
        return
    trial = stage(plan, prepared.compiled.objects, most_entries=_TRIAL_ENTRIES)
    try:
        Revisions(trial.maps[REVISIONS]).bump_all()
        tests = [test for test in plan.tests if _matters(test, plan)]
        raise_all(error for test in tests for error in _run(test, trial))
    finally:
        trial.close()
    with suppress(OSError):  # a cache that cannot be written costs time, nothing else
        proven.parent.mkdir(parents=True, exist_ok=True)
        proven.touch()


def _matters(test: PacketTest, plan: Plan) -> bool:
    return _FAMILIES.get(test.packet[12:14]) in (None, *plan.families)


def _proof_key(prepared: Prepared) -> str:
    content = (sorted(prepared.keys.items()), prepared.plan.tests, os.uname().release)
    return sha256(repr(content).encode()).hexdigest()


def _run(test: PacketTest, trial: Staged) -> Iterator[PlaitError]:
    program = trial.programs.get(test.hook.value)
    if program is None:
        yield PlaitError(
            f"packet test '{test.name}' is for hook {test.hook.value}, which is unused"
        )
        return
    for entry in test.entries:
        _put(entry, trial.maps)
    run = test_run(program, test.packet)
    verdict = VERDICTS.get(run.retval)
    if verdict is not test.verdict:
        yield PlaitError(
            f"packet test '{test.name}' failed: {verdict.value if verdict else run.retval}",
            expected=f"expected {test.verdict.value}",
        )
    elif test.output is not None and run.packet != test.output:
        yield PlaitError(
            f"packet test '{test.name}' failed: {run.packet.hex()} leaves",
            expected=f"expected {test.output.hex()}",
        )
    for name, each in trial.maps.items():
        if name != REVISIONS:
            each.clear()


def _put(entry: Entry, maps: Mapping[str, Map]) -> None:
    key, value = maps[entry.map].codecs()
    maps[entry.map].update(key.encode(entry.key), value.encode(entry.value))
