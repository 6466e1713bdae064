"""YAML: what is read, what is refused, and where things stand."""

from pathlib import Path

import pytest

from plait.core.config.yaml import load, locate, split_documents
from plait.core.errors import PlaitError

FILE = Path("plait.yaml")


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("1", 1),
        ("-7", -7),
        ("0x10", 16),
        ("0o17", 15),
        ("010", "010"),
        ("1.5", 1.5),
        ("true", True),
        ("yes", "yes"),
        ("no", "no"),
        ("12:34:56", "12:34:56"),
        ("2024-01-01", "2024-01-01"),
        ("null", None),
        ("~", None),
        ("", None),
        ("'1'", "1"),
    ],
)
def test_scalars_follow_yaml_1_2(scalar: str, value: object) -> None:
    data = load(f"key: {scalar}", FILE)

    assert data == {"key": value}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "plait.yaml:3:1: key 'a' stands here a second time"),
        ("a: {b: 1, b: 2}\n", "plait.yaml:1:11: key 'b' stands here a second time"),
        ("a: [1\n", "plait.yaml:1:4: the brackets that open in line 1 are not closed"),
        ("a: [1\nb: {\n", "plait.yaml:2:2: the brackets that open in line 1 are not closed"),
        ("a: 'b\nc: d\n", "plait.yaml:1:4: this quote is not closed"),
        ("a: b: c\n", "plait.yaml:1:5: no key can stand here"),
        ("a:\n\tb: c\n", "plait.yaml:2:1: a tab stands where lines are indented"),
        ("a:\n  b: c\n\td: e\n", "plait.yaml:3:1: a tab stands where lines are indented"),
        ("a: @b\n", "plait.yaml:1:4: text cannot begin with '@'"),
        ("a: *b\n", "plait.yaml:1:4: nothing before this is named so"),
        ("a: !b c\n", "plait.yaml:1:4: the tag !b means nothing here"),
        ("a: !!python/name:b c\n", "plait.yaml:1:4: the tag !!python/name:b means nothing here"),
        ("a:\n  b: c\n d: e\n", "plait.yaml:3:2: this is no key of the mapping that begins in"),
        ("- a\nb: c\n", "plait.yaml:2:1: this is no item of the list that begins in line 1"),
        ("a: é\nb: \x01\n", "plait.yaml:2:4: control characters are not allowed"),
        ("a: 1\n---\nb: 2\n", "plait.yaml:2:1: a second document begins here"),
        ("? [1]\n: 2\n", "plait.yaml:1:3: a list or a mapping cannot be a key"),
    ],
)
def test_broken_yaml_is_refused_with_its_position(text: str, message: str) -> None:
    with pytest.raises(PlaitError) as refused:
        load(text, FILE)

    assert str(refused.value).startswith(message)


def test_a_position_counts_from_the_documents_first_line() -> None:
    with pytest.raises(PlaitError, match=r"plait\.yaml:12:1: key 'a'"):
        load("---\na: 1\na: 2\n", FILE, first_line=10)


def test_merged_keys_may_be_overridden() -> None:
    text = "base: {deep: &base {size: 1, mode: fast}}\nmine:\n  <<: *base\n  size: 2\n"

    assert load(text, FILE) == {
        "base": {"deep": {"size": 1, "mode": "fast"}},
        "mine": {"size": 2, "mode": "fast"},
    }


def test_a_merge_of_a_merge_is_no_duplicate() -> None:
    text = "a: &a {k: 1}\nb: {in: &b {<<: *a, k: 2}}\nc: {<<: *b}\n"

    assert load(text, FILE) == {"a": {"k": 1}, "b": {"in": {"k": 2}}, "c": {"k": 2}}


def test_the_first_of_several_merged_mappings_wins() -> None:
    text = "a: &a {k: 1}\nb: &b {k: 2, l: 2}\nc: {<<: [*a, *b], m: 3}\n"

    assert load(text, FILE) == {"a": {"k": 1}, "b": {"k": 2, "l": 2}, "c": {"k": 1, "l": 2, "m": 3}}


def test_only_mappings_can_be_merged() -> None:
    with pytest.raises(PlaitError, match="2:9: `<<` merges a mapping"):
        load("a: 1\nb: {<<: 7}\n", FILE)


TEXT = """\
node:
  name: node-a
  devices: [eth0, eth1]
common: &common {mode: fast}
lb:
  <<: *common
  lb: {lb: 7}
empty:
"""


@pytest.mark.parametrize(
    ("path", "key", "place", "width"),
    [
        ((), False, "1:1", 1),
        (("node", "name"), False, "2:9", 6),
        (("node", "name"), True, "2:3", 4),
        (("node", "devices", 1), False, "3:19", 4),
        (("lb", "lb", "lb"), True, "7:8", 2),
        (("lb", "mode"), False, "4:24", 4),
        (("node", "missing", "deeper"), False, "2:3", 1),
        (("empty",), True, "8:1", 5),
    ],
)
def test_a_path_is_located(path: tuple[str | int, ...], key: bool, place: str, width: int) -> None:
    at = locate(TEXT, FILE, path, key=key)

    assert (str(at), at.width) == (f"plait.yaml:{place}", width)


def test_a_stream_is_split_where_lines_begin_with_three_dashes() -> None:
    text = "a: 1\n---\nb: |\n  ---\n--- # c\n---x: 3\n---\n"

    documents = split_documents(text)

    assert documents == [
        (1, "a: 1\n"),
        (2, "---\nb: |\n  ---\n"),
        (5, "--- # c\n---x: 3\n"),
        (7, "---\n"),
    ]
    assert load(documents[1][1], FILE) == {"b": "---\n"}


def test_an_empty_document_is_none() -> None:
    assert load("# nothing\n", FILE) is None


@pytest.mark.parametrize("value", ["9" * 5000, "!!timestamp 2024-13-45", "!!int x"])
def test_a_value_that_cannot_be_made_is_refused(value: str) -> None:
    with pytest.raises(PlaitError, match=r"plait\.yaml:1:4: this value cannot be read"):
        load(f"a: {value}\n", FILE)
