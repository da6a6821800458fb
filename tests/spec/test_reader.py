"""Scalars of YAML 1.2, locations, and that nothing but a `SpecError` ever escapes."""

from __future__ import annotations

import contextlib
import math

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from graphws.errors import SpecError
from graphws.spec import InvalidSpec, load_spec, parse_spec
from graphws.spec.problems import Document, Location
from graphws.spec.reader import read_text
from graphws.spec.scalars import scalar
from graphws.spec.tree import location_of, plain

SCALARS = [
    *[(text, None) for text in ("null", "Null", "NULL", "~", "")],
    *[(text, True) for text in ("true", "True", "TRUE")],
    *[(text, False) for text in ("false", "False", "FALSE")],
    *[(text, text) for text in ("yes", "no", "on", "off", "y", "n", "Yes", "tRUE", "nULL")],
    *[("0", 0), ("12", 12), ("-12", -12), ("+12", 12), ("012", 12), ("0o17", 15), ("0xfF", 255), ("-0", 0)],
    *[(text, text) for text in ("0o8", "0xg", "1_000", "0b11", "1:30", "190:20:30", "-0x1", "1,5")],
    *[("1e-4", 1e-4), ("1E4", 1e4), ("1.", 1.0), (".5", 0.5), ("-.5", -0.5), ("1.5e+3", 1500.0), ("012.5", 12.5)],
    *[(".inf", math.inf), ("+.Inf", math.inf), ("-.INF", -math.inf)],
    *[(text, text) for text in ("inf", "nan", "1e", "e4", ".", "-", "+", "1.2.3", "2024-01-01", "=", "<<")],
]


@pytest.mark.parametrize(("text", "value"), SCALARS, ids=lambda x: repr(x))
def test_scalar(text, value):
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)


@pytest.mark.parametrize("text", [".nan", ".NaN", ".NAN"])
def test_not_a_number(text):
    assert math.isnan(scalar(text))


def test_yaml_1_1_would_read_some_otherwise():
    """The table is worth something: PyYAML's own loader differs on it."""
    assert sum(yaml.safe_load(text) != value for text, value in SCALARS if text not in ("=", "<<", ".")) > 10


def test_quoted_scalars_are_strings():
    tree, problems = read_text(Document("x", "a: '1'\nb: \"null\"\nc: |\n  true\n"))
    assert not problems
    assert plain(tree) == {"a": "1", "b": "null", "c": "true\n"}


TEXT = """\
one: 1
two:
  three: [4, {five: 6}]
  \u00e9\u00e9: "x"   # accents are one column each
"""


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        ((), (1, 1), (1, 1)),
        (("one",), (1, 6), (1, 1)),
        (("two",), (3, 3), (2, 1)),
        (("two", "three"), (3, 10), (3, 3)),
        (("two", "three", 0), (3, 11), (3, 11)),
        (("two", "three", 1, "five"), (3, 21), (3, 15)),
        (("two", "\u00e9\u00e9"), (4, 7), (4, 3)),
        (("two", "six", "seven"), (2, 1), (2, 1)),
    ],
)
def test_places(path, value, key):
    tree, _ = read_text(Document("x", TEXT))
    locations = [location_of(tree, path), location_of(tree, path, key=True)]
    assert [(location.line, location.column) for location in locations] == [value, key]


def test_a_byte_order_mark_and_windows_line_ends(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "windows.yaml").write_bytes(b"\xef\xbb\xbfgraphws: 1\r\nnmae: x\r\n")
    with pytest.raises(InvalidSpec) as caught:
        load_spec("windows.yaml")
    assert str(caught.value) == "windows.yaml:2:1: unknown key 'nmae'; did you mean 'name'?\n  nmae: x\n  ^"


def test_tabs_stay_under_the_caret():
    location = Location(Document("x", "a:\t1"), 1, 4)
    assert location.excerpt() == "  a:\t1\n    \t^"


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(data)
    _only_spec_errors(lambda: load_spec(path))


YAMLISH = st.text(st.sampled_from(list("ab:-?[]{},&*!|>'\"%@`#\n\t \\<=~.01e+x/\u2028\x85\ud800\ufeff")), max_size=60)


@settings(max_examples=400, deadline=None)
@given(st.one_of(YAMLISH, st.text(max_size=60)))
def test_any_text(text):
    _only_spec_errors(lambda: parse_spec(text))


KEYS = st.sampled_from(
    ["graphws", "model", "kind", "zoo", "input", "train", "lr", "compare", "messages", "extends", "x"]
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(["dwsnet", "mlp", "zoo", "1"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_any_structure(data):
    _only_spec_errors(lambda: parse_spec(yaml.safe_dump({"graphws": 1, **data})))


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from(list("ab.=[]{},:&*!'\" 0")), max_size=20))
def test_any_override(text):
    _only_spec_errors(lambda: parse_spec("graphws: 1", overrides=[text]))


def _only_spec_errors(read):
    with contextlib.suppress(SpecError):
        read()
