"""The table of kinds is closed, its rows are whole, and what they say of axes is so."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

import graphws.kinds
from graphws.errors import GraphError
from graphws.kinds import Axes, kind, names, spelled
from graphws.kinds.attributes import REQUIRED, AttributeType, checked, follows_batch, resolved, size, written
from graphws.kinds.library import GROUPS, SAME
from graphws.kinds.spellings import canonical
from tests.kinds.calls import ENTRYWISE, MADE, MIXED, MOVED, POINTWISE, POOLED, Call
from tests.kinds.test_calls import computed, tensors

MODULES = [f"graphws.kinds.{module.name}" for module in pkgutil.iter_modules(graphws.kinds.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_are_true(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("name", sorted(names()))
def test_every_row_can_be_made(name: str) -> None:
    row = kind(name)
    assert row.name == name
    assert row.axes in get_args(Axes)
    assert len({operand.name for operand in row.operands}) == len(row.operands)
    assert {entry.type for entry in row.attributes.values()} <= set(get_args(AttributeType))
    assert sum(operand.many < 0 for operand in row.operands) <= 1, "of two lists the lengths could not be told"
    assert (row.function is None) == (name == "opaque")
    assert str(row).startswith(f"{name}(")
    for attribute, entry in row.attributes.items():
        if entry.default not in (None, REQUIRED):
            checked(entry.type, entry.default, f"{name}, {attribute}")


def test_no_name_stands_for_two_rows() -> None:
    listed = [name for group in GROUPS.values() for name in group]
    assert len(listed) == len(set(listed))
    others = [other for spellings in SAME.values() for other in spellings]
    assert len(others) == len(set(others))
    assert not set(others) & names()
    assert set(SAME) <= set(listed)


def test_a_row_is_found_by_every_spelling() -> None:
    assert spelled("view") is kind("reshape")
    assert spelled("sin") is kind("sine")
    assert spelled("pow") is kind("power")
    assert spelled("detach") is kind("identity")
    assert spelled("opaque") is None
    assert spelled("no_such_operation") is None


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("os.system", ""),
        ("torch.os.system", ""),
        ("exec", ""),
        ("load", ""),
        ("__class__", ""),
        ("leaky_rely", "; did you mean 'leaky_relu'?"),
        ("view", ""),
        ("", ""),
    ],
)
def test_the_table_is_closed(name: str, hint: str) -> None:
    with pytest.raises(GraphError, match=f"^unknown kind of operation {re.escape(repr(name))}{re.escape(hint)}"):
        kind(name)


def test_no_row_draws_numbers_or_writes_into_its_inputs() -> None:
    for name in names():
        assert not name.endswith("_") or name.startswith("__")
        assert not re.search(r"rand|bernoulli|dropout|multinomial|normal$|poisson|exponential$|load|save|file", name)


@pytest.mark.parametrize(
    ("type_", "value", "found"),
    [
        ("int", "4*n-2", "4*n-2"),
        ("int", "-7", -7),
        ("ints", 3, (3,)),
        ("ints", "1,n", (1, "n")),
        ("number", "-inf", float("-inf")),
        ("number", "1e-05", 1e-5),
        ("numbers", [1, 2.5], (1, 2.5)),
        ("dtype", "weights", "weights"),
        ("ints or text", "same", "same"),
        ("ints or text", [1, 2], (1, 2)),
        ("number or text", 2.5, 2.5),
        ("number or text", "fro", "fro"),
        ("number or text", "inf", float("inf")),
    ],
)
def test_attributes_are_read_by_their_type(type_: AttributeType, value: object, found: object) -> None:
    assert checked(type_, value, "here") == found


@pytest.mark.parametrize(
    ("type_", "value", "message"),
    [
        ("bool", 1, "here: must be true or false, got 1"),
        ("int", True, "here: must be a whole number, got True"),
        ("int", 1.5, "here: must be a whole number, got 1.5"),
        ("int", "n*n", "here: must be a whole number, got 'n*n'"),
        ("int", "9" * 30, f"here: must be a whole number, got '{'9' * 30}'"),
        ("int", "__import__('os').system('x')", "here: must be a whole number, got \"__import__('os').system('x')\""),
        ("number", None, "here: must be a number, got None"),
        ("text", 3, "here: must be a text, got 3"),
        ("texts", [3], "here: must be a text, got 3"),
        ("ints", [0] * 1025, "here: 1025 entries, at most 1024 are allowed"),
        ("ints", [[1]], "here: must be a whole number, got [1]"),
        ("dtype", "flaot32", "here: unknown type 'flaot32'; did you mean 'float32'?"),
        ("dtype", 3, "here: must be a type, got 3"),
        ("text", [0] * 1000, f"here: must be a text, got {str([0] * 1000)[:57]}..."),
    ],
)
def test_attributes_of_another_type_are_refused(type_: AttributeType, value: object, message: str) -> None:
    with pytest.raises(GraphError, match=f"^{re.escape(message)}$"):
        checked(type_, value, "here")


def test_sizes_follow_the_batch() -> None:
    assert resolved((size(4, -2), size(1, 0), size(0, 7), "same"), 5) == (18, 5, 7, "same")
    assert follows_batch((1, "n"))
    assert not follows_batch((1, "none", "nan"))
    assert written((1, float("inf"))) == [1, "inf"]


def test_operands_are_filled_in_order() -> None:
    assert kind("linear").arranged(["x", "W"], {}) == {"x": "x", "weight": "W"}
    assert kind("add").arranged(["x"], {"other": 2}) == {"self": "x"}
    assert kind("index").arranged(["x", "", "i"], {}) == {"self": "x", "indices": [None, "i"]}
    assert kind("lstm_cell").arranged(["x", "h", "c", "W", "R"], {}) == {
        "input": "x", "hx": ["h", "c"], "w_ih": "W", "w_hh": "R"
    }  # fmt: skip
    with pytest.raises(GraphError, match=r"^operation 'index_put': got 1 inputs, 'values' is missing$"):
        kind("index_put").arranged(["x"], {})


def _moves(call: Call) -> dict[str, Any]:
    """The call with every tensor of three rows in another order of its rows and columns."""
    rows, columns = torch.tensor([2, 0, 1]), torch.tensor([1, 3, 0, 2])

    def moved(x: Any) -> Any:
        if isinstance(x, Tensor) and x.shape == (3, 4):
            return x[rows][:, columns]
        return x[columns] if isinstance(x, Tensor) and x.shape == (4,) else x

    return {name: moved(x) for name, x in call[1].items()}


def keeps_places(call: Call) -> bool:
    """Whether a call on tensors of three rows and four columns commutes with reordering them."""
    first, second = tensors(computed(call))[0], tensors(computed((call[0], _moves(call))))[0]
    expected = first[torch.tensor([2, 0, 1])][:, torch.tensor([1, 3, 0, 2])]
    return first.shape == (3, 4) and torch.allclose(expected, second, equal_nan=True)


def _flat(calls: list[Call]) -> list[Call]:
    return [call for call in calls if any(isinstance(x, Tensor) and x.shape == (3, 4) for x in call[1].values())]


@pytest.mark.parametrize("call", _flat([*POINTWISE, *ENTRYWISE]), ids=lambda call: call[0])
def test_what_keeps_axes_commutes_with_reordering_them(call: Call) -> None:
    row = spelled(canonical(*call, single=True)[0])  # type: ignore[index]
    assert row is not None
    assert row.axes == "keeps"
    assert keeps_places(call)


def test_what_mixes_or_moves_does_not() -> None:
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for call in (("cumsum", {"self": x, "dim": 1}), ("roll", {"self": x, "shifts": [1], "dims": [1]})):
        assert not keeps_places(call)


@pytest.mark.parametrize(
    ("calls", "axes"),
    [(POOLED, {"pools", "keeps"}), (MIXED, {"mixes", "keeps"}), (MOVED, {"moves", "pads"}), (MADE, {"makes"})],
)
def test_every_call_of_the_tests_stands_in_its_list(calls: list[Call], axes: set[str]) -> None:
    for call in calls:
        row = canonical(*call, single=True)
        assert row is not None
        assert kind(row[0]).axes in axes, call[0]


@pytest.mark.parametrize("name", sorted(name for name in names() if kind(name).pointwise))
def test_a_pointwise_row_is_one_function_of_one_number(name: str) -> None:
    row, t = kind(name), torch.linspace(0.05, 0.95, 11, dtype=torch.float64)
    needed = {"threshold": {"threshold": 0.5, "value": 0.1}, "power": {"exponent": 3.0}}
    if name in ("bitwise_not",):
        t = torch.arange(11)
    if name == "_prelu_kernel":
        pytest.skip("its slope is an operand")

    def function(x: Tensor) -> Tensor:
        operands = [x, *[None] * (len(row.operands) - 1)]
        return tensors(row(*operands, **needed.get(name, {})))[0]

    order = torch.randperm(11, generator=torch.Generator().manual_seed(0))
    values = function(t)
    assert values.shape == t.shape
    assert torch.allclose(function(t[order]), values[order], rtol=0, atol=0, equal_nan=True)
    assert torch.allclose(function(t[3:4]), values[3:4], rtol=1e-15, atol=0, equal_nan=True)


def test_a_row_that_reads_its_neighbours_is_not_pointwise() -> None:
    t = torch.linspace(0.05, 0.95, 11, dtype=torch.float64)
    cumsum: Callable[[Tensor], Tensor] = lambda x: kind("cumsum")(x, dim=0)  # noqa: E731
    assert not torch.equal(cumsum(t.flip(0)), cumsum(t).flip(0))


def test_a_tensor_is_put_together_from_blocks_whose_parameters_have_other_axes() -> None:
    whole = torch.arange(40.0).reshape(10, 4)
    heads, rest = whole[:6].reshape(2, 3, 4), whole[6:]
    assert torch.equal(kind("stored")([heads, rest], merges=(2, 1, 1, 1), grid=(2, 1)), whole)
    assert torch.equal(kind("stored")([whole[:6], rest], merges=(1, 1), grid=(2, 1)), whole)
    assert torch.equal(kind("stored")([whole.reshape(10, 2, 2)], merges=(1, 2)), whole)
    message = r"^operation 'stored': got 6 merges for 2 parts of 2 axes$"
    with pytest.raises(GraphError, match=message):
        kind("stored")([heads, rest], merges=(2, 1, 1, 1, 1, 1), grid=(2, 1))
    with pytest.raises(GraphError, match=r"^operation 'stored': 3 axes do not merge as \(1, 1\)$"):
        kind("stored")([heads, rest], merges=(1, 1), grid=(2, 1))
