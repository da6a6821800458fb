from __future__ import annotations

import re
from typing import Any

import pytest

from graphws.errors import GraphError
from graphws.graph import Action, Axis, Operation, Parameter, Space, Storage


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": ""}, "space name '': use letters, digits, '_', '.', '-' and '/'"),
        ({"name": "a b"}, "space name 'a b': use letters, digits, '_', '.', '-' and '/'"),
        ({"name": "h*"}, "space name 'h*': use letters, digits, '_', '.', '-' and '/'"),
        ({"size": 0}, "space 'h': size must be a whole number of at least 1, got 0"),
        ({"size": True}, "space 'h': size must be a whole number of at least 1, got True"),
        ({"size": 2.0}, "space 'h': size must be a whole number of at least 1, got 2.0"),
        ({"kind": "sett"}, "space 'h': kind must be set, free or nested, got 'sett'; did you mean 'set'?"),
        ({"kind": "nested"}, "space 'h': a nested space needs a parent"),
        ({"parent": "g"}, "space 'h': a set with a parent is of kind 'nested', got kind 'set'"),
        (
            {"action": "sgned"},
            "space 'h': action must be one of permutation, signed, scaling, monomial, linear; got 'sgned'; "
            "did you mean 'signed'?",
        ),
    ],
)
def test_impossible_spaces_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphError, match=f"^{re.escape(message)}$"):
        Space(**{"name": "h", "size": 3, **arguments})


def test_a_space_prints_its_kind_parent_and_action() -> None:
    assert str(Space("h", 3)) == "h: set, 3, permutation"
    assert str(Space("k", 2, "nested", "h", Action.LINEAR)) == "k: nested in h, 2, linear"
    assert str(Space("x", 2, "free")) == "x: free, 2"
    assert Space("x", 2, action="signed") == Space("x", 2, action=Action.SIGNED)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["h", "h*", "h^2", "h^0", "h^-3", "a.b/c-d_1*"])
def test_an_axis_reads_what_it_prints(text: str) -> None:
    assert str(Axis.parse(text)) == text


def test_the_two_ways_to_write_the_plain_powers_are_one() -> None:
    assert Axis.parse("h^1") == Axis.parse("h") == Axis("h", 1)
    assert Axis.parse("h^-1") == Axis.parse("h*") == Axis("h", -1)


@pytest.mark.parametrize("text", ["", "h**", "h^", "h^x", "*", "h ^2", "h^2*", "h^1000"])
def test_other_axes_are_refused(text: str) -> None:
    message = f"axis {text!r}: write a space's name, then nothing, '*' or '^power', as in 'h1*'"
    with pytest.raises(GraphError, match=f"^{re.escape(message)}$"):
        Axis.parse(text)


def test_a_parameter_reads_its_axes_from_text() -> None:
    parameter = Parameter("W", "h1 h0*")  # type: ignore[arg-type]
    assert parameter.axes == (Axis("h1"), Axis("h0", -1))
    assert parameter == Parameter("W", [Axis("h1"), Axis("h0", -1)])  # type: ignore[arg-type]
    assert str(parameter) == "W[h1, h0*]"


def test_a_parameter_needs_a_printable_name() -> None:
    with pytest.raises(GraphError, match=r"^a parameter needs a name$"):
        Parameter("", ())
    with pytest.raises(GraphError, match=r"^parameter name 'a\\n': only printable characters are allowed$"):
        Parameter("a\n", ())


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (((0, 2),), "storage 'w': a block of 1 axes in 2 axes"),
        (((0, 2), (1, 4)), "storage 'w': block 1:4 outside of an axis of 3"),
        (((0, 2), (1, 1)), "storage 'w': block 1:1 outside of an axis of 3"),
        (((-1, 2), (0, 1)), "storage 'w': block -1:2 outside of an axis of 2"),
    ],
)
def test_impossible_blocks_are_refused(block: tuple[tuple[int, int], ...], message: str) -> None:
    with pytest.raises(GraphError, match=f"^{re.escape(message)}$"):
        Storage("w", (2, 3), block)


def test_storage_compares_by_value_whatever_sequences_it_was_given() -> None:
    assert Storage("w", [2, 3], [[0, 2], [1, 3]]) == Storage("w", (2, 3), ((0, 2), (1, 3)))  # type: ignore[arg-type]
    assert Storage("w", (2, 3), ((0, 2), (1, 3))).block_shape == (2, 2)


def test_an_operation_sorts_its_constants() -> None:
    operation = Operation("hardtanh", ("a",), ("b",), (("min_val", -2), ("max_val", 2.5)))
    assert operation == Operation("hardtanh", ("a",), ("b",), {"max_val": 2.5, "min_val": -2})  # type: ignore[arg-type]
    assert str(operation) == "b = hardtanh(a, max_val=2.5, min_val=-2)"
    assert operation.attribute("max_val", 0) == 2.5
    plain = Operation("hardtanh", ("a",), ("b",))
    assert (plain.attribute("max_val", 7), plain.attribute("max_val")) == (7, 1)


def test_operations_are_equal_where_their_constants_and_types_are() -> None:
    one, same, other = (Operation("add", ("a",), ("b",), {"other": x}) for x in (1, 1, 1.0))  # type: ignore[arg-type]
    assert (one == same, hash(one) == hash(same), one == other) == (True, True, False)
    first, second = (Operation("add", ("a",), ("b",), {"other": float("nan")}) for _ in range(2))  # type: ignore[arg-type]
    assert first == second
    assert len({first, second}) == 1


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes", "message"),
    [
        ("reluu", ("a",), {}, "unknown kind of operation 'reluu'; did you mean 'relu'?"),
        ("sine", ("a",), {"omeg": 1.0}, "operation 'sine': unknown attribute 'omeg'; did you mean 'omega'?"),
        ("sine", ("a",), {"omega": "x"}, "operation 'sine': attribute 'omega': must be a number, got 'x'"),
        ("sine", (), {}, "operation 'sine': got 0 inputs, 'x' is missing"),
        ("sine", ("a", "b"), {}, "operation 'sine': got 2 inputs for x"),
        ("add", ("a",), {}, "operation 'add': got 1 inputs, 'other' is missing"),
        ("layer_norm", ("a",), {}, "operation 'layer_norm': needs the attribute 'normalized_shape' (ints)"),
    ],
)
def test_an_operation_that_does_not_fit_its_kind_is_refused(
    kind: str, inputs: tuple[str, ...], attributes: dict[str, object], message: str
) -> None:
    with pytest.raises(GraphError, match=f"^{re.escape(message)}$"):
        Operation(kind, inputs, ("b",), attributes)  # type: ignore[arg-type]
