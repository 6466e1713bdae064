"""How the traffic tools count."""

import pytest

from plait.core.lab.traffic.base import Target, split_answer
from plait.core.lab.traffic.stream import Tally


def test_every_number_that_comes_back_is_received_once() -> None:
    tally = _tally(sent=3, heard=[0, 1, 2])

    report = tally.report(foreign=0, send_errors=0)

    assert (report.sent, report.received, report.lost, report.duplicates) == (3, 3, 0, 0)
    assert report.servers == {"web": 3}


def test_lost_numbers_are_told_as_runs() -> None:
    tally = _tally(sent=10, heard=[1, 2, 5, 7])

    report = tally.report(foreign=0, send_errors=0)

    assert report.lost == 6
    assert report.lost_ranges == ((0, 0), (3, 4), (6, 6), (8, 9))


def test_a_number_that_comes_back_again_is_a_duplicate() -> None:
    tally = _tally(sent=2, heard=[0, 0, 1, 0])

    report = tally.report(foreign=0, send_errors=0)

    assert (report.received, report.duplicates) == (2, 2)


def test_the_longest_silence_is_between_two_answers() -> None:
    tally = Tally()
    for now in (100.0, 100.5, 100.6):
        tally.heard(tally.sent(), "web", now)

    assert tally.report(foreign=0, send_errors=0).max_gap_ms == pytest.approx(500)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("10.0.0.1:80", "10.0.0.1", 80), ("[fd00::1]:8080", "fd00::1", 8080)],
)
def test_targets_of_both_families_are_read(text: str, host: str, port: int) -> None:
    target = Target.parse(text)

    assert target == Target(host=host, port=port)
    assert str(target) == text


def test_an_answer_is_a_name_and_the_message() -> None:
    assert split_answer(b"web-1 12 abc") == ("web-1", b"12 abc")


def _tally(*, sent: int, heard: list[int]) -> Tally:
    tally = Tally()
    for _ in range(sent):
        tally.sent()
    for number in heard:
        tally.heard(number, "web", 1.0)
    return tally
