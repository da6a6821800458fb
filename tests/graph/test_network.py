from __future__ import annotations

import math
import re

import pytest

from graphws.errors import GraphError
from graphws.graph import NetworkGraph, Operation, Parameter, Space, Storage
from graphws.graph.network import DEEPEST, MOST_BLOCKS
from graphws.operations import mlp_graph, mlp_widths
from tests.graph import samples


def _refused(message: str, *spaces: Space, parameters: tuple[Parameter, ...] = (), **rest: object) -> None:
    with pytest.raises(GraphError, match=f"^{re.escape(message)}$"):
        NetworkGraph(spaces, parameters, **rest)  # type: ignore[arg-type]


H = Space("hidden", 4)


def test_names_are_unique_and_known() -> None:
    _refused("space 'hidden' occurs twice", H, H)
    twice = (Parameter("W", "hidden"), Parameter("W", "hidden"))
    _refused("parameter 'W' occurs twice", H, parameters=twice)
    unknown = (Parameter("W", "hiden"),)
    _refused("parameter 'W': unknown space 'hiden'; did you mean 'hidden'?", H, parameters=unknown)


def test_parents_move_stand_before_their_children_and_split() -> None:
    child = Space("k", 2, "nested", "hidde")
    message = "space 'k': its parent 'hidde' must be a space that stands before it; did you mean 'hidden'?"
    _refused(message, H, child)
    _refused("space 'k': its parent 'k' must be a space that stands before it", Space("k", 2, "nested", "k"))
    free = Space("x", 2, "free")
    message = "space 'k': its parent 'x' is free; give each element a space of its own"
    _refused(message, free, Space("k", 2, "nested", "x"))
    linear = Space("h", 2, action="linear")  # type: ignore[arg-type]
    message = "space 'k': its parent 'h' has a linear action, which splits no children"
    _refused(message, linear, Space("k", 2, "nested", "h"))


def test_nesting_is_bounded() -> None:
    chain = [Space("s0", 1), *(Space(f"s{k}", 1, "nested", f"s{k - 1}") for k in range(1, DEEPEST + 1))]
    assert NetworkGraph(tuple(chain[:-1]), ()).extent(f"s{DEEPEST - 1}") == 1
    _refused(f"space 's{DEEPEST}' is nested more than {DEEPEST} deep", *chain)


def test_operations_read_what_is_there() -> None:
    parameters = (Parameter("W", "hidden"),)
    operation = Operation("linear", ("x0", "WW"), ("y",))
    message = "operation y = linear(x0, WW): 'WW' is not known there; did you mean 'W'?"
    _refused(message, H, parameters=parameters, operations=(operation,), inputs=("x0",))
    good = Operation("linear", ("x0", "W"), ("value1",))
    message = "output 'value2' is written by no operation; did you mean 'value1'?"
    _refused(message, H, parameters=parameters, operations=(good,), inputs=("x0",), outputs=("value2",))


def _stored(name: str, storage: Storage, axes: str = "hidden") -> Parameter:
    return Parameter(name, axes, storage=storage)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ((_stored("W", Storage("w", (5,))),), "parameter 'W': its axes hold 4 numbers, its place in 'w' 5"),
        (
            (_stored("W", Storage("w", (5,), ((0, 4),))),),
            "'w' has 5 numbers, its parameters hold 4: each needs a parameter",
        ),
        (
            (_stored("V", Storage("w", (6,), ((0, 4),))), _stored("W", Storage("w", (6,), ((2, 6),)))),
            "parameters 'V' and 'W' overlap in 'w'",
        ),
        (
            (_stored("V", Storage("w", (4,))), Parameter("w", "hidden")),  # type: ignore[arg-type]
            "parameters 'V' and 'w' overlap in 'w'",
        ),
        (
            (_stored("V", Storage("w", (8,), ((0, 4),))), _stored("W", Storage("w", (2, 4), ((1, 2), (0, 4))))),
            "parameters 'V' and 'W' disagree about shape, view, orders or aliases of 'w'",
        ),
        (
            (_stored("V", Storage("v", (4,), aliases=("w",))), _stored("W", Storage("w", (4,)))),
            "parameter 'V': its alias 'w' is the key of another tensor",
        ),
    ],
)
def test_storage_holds_every_number_once(parameters: tuple[Parameter, ...], message: str) -> None:
    _refused(message, H, parameters=parameters)


def test_the_blocks_of_a_tensor_are_bounded() -> None:
    count = MOST_BLOCKS + 1
    one = Space("one", 1)
    parameters = tuple(_stored(f"p{k}", Storage("w", (count,), ((k, k + 1),)), "one") for k in range(count))
    _refused(f"{count} parameters share 'w', at most {MOST_BLOCKS} are allowed", one, parameters=parameters)


def test_look_ups_name_the_nearest() -> None:
    graph = mlp_graph([2, 3, 1])
    with pytest.raises(GraphError, match=r"^no space 'hiden1' in this graph; did you mean 'hidden1'\?$"):
        graph.space("hiden1")
    with pytest.raises(GraphError, match=r"^no parameter 'X9' in this graph$"):
        graph.parameter("X9")


def test_extents_shapes_and_orders_of_nested_spaces() -> None:
    graph = samples.heads()
    assert (graph.extent("h"), graph.extent("k"), graph.extent("r")) == (3, 6, 6)
    assert graph.shape("Q") == (6, 4)
    assert graph.shape("T") == (3, 6, 2)
    assert graph.shape("s") == ()
    assert graph.numel == 24 + 24 + 8 + 16 + 36 + 6 + 4 + 1 + 1
    assert graph.set_axes("T") == (0, 1)
    assert graph.set_axes("R") == (0, 1), "a free child moves with its parent"
    assert graph.log10_order() == pytest.approx(math.log10(24 * 6 * 2**3))
    assert graph.group().factors == ("S_4", "S_3", "S_2 wr S_3")


def test_equal_graphs_are_equal_values() -> None:
    graph = mlp_graph([2, 3, 1])
    again = NetworkGraph(
        list(graph.spaces),
        list(graph.parameters),
        graph.operations,
        ["x0"],
        ["z2"],
        [],
        list(graph.values),  # type: ignore[arg-type]
    )
    assert again == graph
    assert hash(again) == hash(graph)
    assert {graph: 1}[again] == 1
    assert graph != mlp_graph([2, 3, 1], bias=False)


def test_the_print_out() -> None:
    assert str(mlp_graph([2, 3, 1], activation="tanh")).splitlines() == [
        "NetworkGraph(3 spaces, 4 parameters, 13 numbers, log10|G| = 0.8)",
        "  input: free, 2",
        "  hidden1: set, 3, signed",
        "  output: free, 1",
        "  W1[hidden1, input*] 3x2",
        "  b1[hidden1] 3",
        "  W2[output, hidden1*] 1x3",
        "  b2[output] 1",
    ]


def test_replacing_a_space_drops_what_no_longer_fits() -> None:
    graph = mlp_graph([2, 3, 1]).replace_space(Space("input", 5, "free"))
    assert graph.shape("W1") == (3, 5)
    assert (graph.operations, graph.parameter("W1").storage) == ((), None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"widths": [3]}, "an MLP needs at least two widths, input and output; got [3]"),
        ({"activation": "rleu"}, "unknown activation 'rleu'; did you mean 'relu'?"),
        ({"output_activation": "tahn"}, "unknown activation 'tahn'; did you mean 'tanh'?"),
        ({"activation": ["relu", "tanh"]}, "1 hidden layers need 1 activations, got 2"),
        ({"keys": ["a"]}, "2 layers need 2 state dict prefixes, got 1"),
    ],
)
def test_impossible_mlps_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(GraphError, match=f"^{re.escape(message)}$"):
        mlp_graph(**{"widths": [2, 3, 1], **arguments})  # type: ignore[arg-type]


def test_the_widths_of_an_mlp_come_back() -> None:
    assert mlp_widths(mlp_graph([2, 5, 3, 1])) == (2, 5, 3, 1)
    assert mlp_widths(mlp_graph([2, 3], bias=False)) == (2, 3)
    assert mlp_widths(samples.heads()) is None
