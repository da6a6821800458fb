from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphws.errors import GraphError
from graphws.graph import Action, Axis, NetworkGraph, Operation, Parameter, Space
from graphws.operations import mlp_graph
from tests.graph import samples

GRAPHS = [
    samples.heads(),
    samples.rich_mlp(),
    samples.computing(),
    mlp_graph([2, 3], bias=False, output_activation="tanh"),
    NetworkGraph((), ()),
]


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_graph_comes_back_from_its_text(graph: NetworkGraph) -> None:
    assert NetworkGraph.from_json(graph.to_json()) == graph
    assert NetworkGraph.from_json(graph.to_json()).to_json() == graph.to_json()
    assert NetworkGraph.from_json(graph.to_json()).values == graph.values


def test_constants_come_back_bit_for_bit() -> None:
    graph = samples.computing()
    back = NetworkGraph.from_json(graph.to_json())
    assert all(samples.bits(a.tensor, b.tensor) for a, b in zip(graph.constants, back.constants, strict=True))
    short = graph.to_json(inline=False)
    assert '"data"' not in short
    assert NetworkGraph.from_json(short, {c.name: c.tensor for c in graph.constants}) == graph


NAMES = st.text(st.characters(categories=["L", "N"], include_characters="_.-/"), min_size=1, max_size=6)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
NUMBERS = st.booleans() | st.integers() | st.floats()
SIZES = st.integers(-(2**40), 2**40) | st.sampled_from(["n", "4*n", "n+1", "12*n-3"])


@st.composite
def _operations(draw: st.DrawFn) -> Operation:
    choices: list[tuple[str, dict[str, Any]]] = [
        ("leaky_relu", {"negative_slope": draw(NUMBERS)}),
        ("clamp", {"min": draw(NUMBERS), "max": draw(NUMBERS)}),
        ("reshape", {"shape": draw(st.lists(SIZES, min_size=1, max_size=4))}),
        ("sum", {"dim": draw(st.lists(st.integers(-4, 4), max_size=3)), "keepdim": draw(st.booleans())}),
        ("gelu", {"approximate": draw(TEXTS)}),
        ("cast", {"dtype": draw(st.sampled_from(["weights", "float16", "bool", "complex64"]))}),
        ("opaque", {"name": draw(TEXTS), "why": draw(TEXTS)}),
    ]
    kind, attributes = draw(st.sampled_from(choices))
    return Operation(kind, ("in",), ("out",), attributes)  # type: ignore[arg-type]


@st.composite
def _graphs(draw: st.DrawFn) -> NetworkGraph:
    spaces: list[Space] = []
    for name in draw(st.lists(NAMES, max_size=4, unique=True)):
        parents = [s.name for s in spaces if s.moves and s.action is not Action.LINEAR]
        parent = draw(st.sampled_from([None, *parents]))
        kind = draw(st.sampled_from(["set", "free"] if parent is None else ["nested", "free"]))
        action, role, reason = draw(st.sampled_from(list(Action))), draw(TEXTS), draw(TEXTS)
        spaces.append(Space(name, draw(st.integers(1, 5)), kind, parent, action, role, reason))  # type: ignore[arg-type]
    parameters = []
    printable = NAMES | st.sampled_from(["a b", "W[1]", "α*"])
    for name in draw(st.lists(printable, max_size=4, unique=True)):
        labels = st.sampled_from([s.name for s in spaces]) if spaces else st.nothing()
        axes = draw(st.lists(st.builds(Axis, labels, st.integers(-3, 3)), max_size=3 if spaces else 0))
        parameters.append(Parameter(name, tuple(axes), draw(TEXTS), draw(TEXTS)))
    operation = draw(_operations())
    return NetworkGraph(tuple(spaces), tuple(parameters), (operation,), ("in",), ("out",))


@settings(max_examples=60, deadline=None)
@given(_graphs())
def test_any_graph_comes_back(graph: NetworkGraph) -> None:
    text = graph.to_json()
    assert NetworkGraph.from_json(text) == graph
    assert text.encode().decode() == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in children for place in _places(child, (*path, key)))]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_graph_is_refused_or_read_but_never_crashes(data: st.DataObject) -> None:
    sample = data.draw(st.sampled_from([samples.heads(), samples.computing()]))
    document = json.loads(sample.to_json())
    *path, last = data.draw(st.sampled_from(_places(document)[1:]))
    inner = document
    for key in path:
        inner = inner[key]
    if data.draw(st.booleans()) and isinstance(inner, dict):
        del inner[last]
    else:
        inner[last] = data.draw(JSON)
    try:
        graph = NetworkGraph.from_json(json.dumps(document))
    except GraphError:
        return
    assert NetworkGraph.from_json(graph.to_json()) == graph


@settings(max_examples=60, deadline=None)
@given(JSON | st.text(max_size=30))
def test_other_text_is_refused(value: Any) -> None:
    with pytest.raises(GraphError):
        NetworkGraph.from_json(value if isinstance(value, str) else json.dumps(value))


def _changed(**change: Any) -> str:
    return json.dumps({**json.loads(mlp_graph([2, 3, 1]).to_json()), **change})


def _step(kind: str, **attributes: Any) -> str:
    return _changed(operations=[{"kind": kind, "inputs": ["x0"], "outputs": ["y"], "attributes": attributes}])


def _constant(**change: Any) -> str:
    entry = {"name": "c", "dtype": "float32", "shape": [2], "data": "AAAAAAAAAAA="}
    return _changed(constants=[{**entry, **change}])


def _value(**change: Any) -> str:
    return _changed(values=[{"name": "x0", "shape": ["n", 2], "axes": ["", "input"], **change}])


SPACE = {"name": "h", "size": 3, "kind": "set"}
PARAMETER = {"name": "W", "axes": "h", "kind": "weight"}


def _one(parameter: dict[str, Any] | None = None, **space: Any) -> str:
    parameters = [] if parameter is None else [PARAMETER | parameter]
    return json.dumps({"graphws_graph": 1, "spaces": [SPACE | space], "parameters": parameters})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "graph file, top: a mapping expected, got list"),
        ("{", "graph file is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (_changed(graphws_graph=3), "graph file of format 3; this version reads formats 1 to 2"),
        (_changed(graphws_graph=True), "graph file, top: 'graphws_graph' must be a whole number up to 2^40, got True"),
        (_changed(colour="red"), "graph file, top: unknown field 'colour'"),
        (_changed(spaces={}), "graph file, top: 'spaces' must be a list, got {}"),
        (_changed(spaces=[3]), "graph file, space 0: a mapping expected, got int"),
        (_changed(inputs=[3]), "graph file, top: 'inputs' must be a list of texts, got [3]"),
        (_one(size=2**41), f"graph file, space 0: 'size' must be a whole number up to 2^40, got {2**41}"),
        (_one(size=1.5), "graph file, space 0: 'size' must be a whole number up to 2^40, got 1.5"),
        (_one(name=None), "graph file, space 0: 'name' must be text, got None"),
        (_one(role="\ud800"), "graph file, space 0: 'role' holds half a character (a lone surrogate): '\\ud800'"),
        (
            _one(action="zzz"),
            "space 'h': action must be one of permutation, signed, scaling, monomial, linear; got 'zzz'",
        ),
        (
            _one({"axes": "h^" + "9" * 5}),
            "axis 'h^99999': write a space's name, then nothing, '*' or '^power', as in 'h1*'",
        ),
        (_one({"storage": {"key": "w", "shape": [4]}}), "parameter 'W': its axes hold 3 numbers, its place in 'w' 4"),
        (
            _one({"storage": {"key": "w", "shape": [3], "orders": [1]}}),
            "graph file, parameter 0, storage: 'orders' must be a list of lists of places, got [1]",
        ),
        (
            _one({"storage": {"key": "w", "shape": [3], "orders": [[0, 2, 2]]}}),
            "storage 'w': an order of an axis of 3 that is no permutation of it",
        ),
        (
            _one({"storage": {"key": "w", "shape": [3], "block": [1]}}),
            "graph file, parameter 0, storage: 'block' must be a list of [start, stop], got [1]",
        ),
        (
            _changed(operations=[{"kind": "relu", "inputs": [], "outputs": [], "attributes": {"a": []}}]),
            "graph file, operation 0: operation 'relu': unknown attribute 'a'",
        ),
        (
            _changed(operations=[{"kind": "relu", "inputs": [], "outputs": [], "attributes": {"a": {}}}]),
            "graph file, operation 0: 'attributes' must map names to numbers, texts or lists of them",
        ),
        (_step("os.system"), "graph file, operation 0: unknown kind of operation 'os.system'"),
        (_step("torch.ops.aten.relu"), "graph file, operation 0: unknown kind of operation 'torch.ops.aten.relu'"),
        (_step("relu_"), "graph file, operation 0: unknown kind of operation 'relu_'; did you mean 'relu'?"),
        (
            _step("rand_like"),
            "graph file, operation 0: unknown kind of operation 'rand_like'; did you mean 'ones_like'?",
        ),
        (
            _step("leaky_relu", negative_slop=0.2),
            "graph file, operation 0: operation 'leaky_relu': unknown attribute 'negative_slop'; "
            "did you mean 'negative_slope'?",
        ),
        (
            _step("leaky_relu", negative_slope="steep"),
            "graph file, operation 0: operation 'leaky_relu': attribute 'negative_slope': must be a number, "
            "got 'steep'",
        ),
        (
            _step("sum", dim=[0] * 1025),
            "graph file, operation 0: operation 'sum': attribute 'dim': 1025 entries, at most 1024 are allowed",
        ),
        (
            _step("cast", dtype="float23"),
            "graph file, operation 0: operation 'cast': attribute 'dtype': unknown type 'float23'; "
            "did you mean 'float32'?",
        ),
        (_step("reshape"), "graph file, operation 0: operation 'reshape': needs the attribute 'shape' (ints)"),
        (
            _constant(shape=[2**40, 2**40]),
            "graph file, constant 0: float32 of shape (1099511627776, 1099511627776) has more than 16777216 bytes",
        ),
        (
            _constant(shape=[2**41]),
            f"graph file, constant 0: 'shape' must be a whole number up to 2^40, got {2**41}",
        ),
        (_constant(shape=[3]), "graph file, constant 0: 'data' holds 8 bytes, float32 of shape (3,) has 12"),
        (_constant(data="AAAA!"), "graph file, constant 0: 'data' is not base 64"),
        (_constant(data=None), "graph file, constant 0: 'data' must be text, got None"),
        (_constant(dtype="float31"), "graph file, constant 0: unknown type 'float31'; did you mean 'float32'?"),
        (_constant(follows=1), "graph file, constant 0: 'follows' must be true or false, got 1"),
        (
            _changed(constants=[{"name": "c", "dtype": "int8", "shape": []}]),
            "graph file, constant 0: the numbers of constant 'c' are missing",
        ),
        (_constant(name="W1"), "constant 'W1' has the name of another constant or parameter"),
        (_changed(values=[{"name": "z9", "shape": []}]), "value 'z9' is described twice, or no value of this graph"),
        (_value(shape=["n", 4]), "value x0: n input(4): its axis 'input' should have length 2"),
        (_value(shape=["n"]), "value 'x0': 1 axes and 2 labels"),
        (_value(shape=["n", "m"]), "value 'x0': shape: must be a whole number, got 'm'"),
        (_value(shape=[-1, 2]), "graph file, value 0: 'shape' must be a list of sizes, got [-1, 2]"),
        (_value(dtype="float31"), "value 'x0': unknown type 'float31'; did you mean 'float32'?"),
        (_value(axes=["", "inptu"]), "value 'x0': unknown space 'inptu'; did you mean 'input'?"),
    ],
)
def test_each_mistake_is_named_with_its_place(text: str, message: str) -> None:
    with pytest.raises(GraphError, match=f"^{re.escape(message)}$"):
        NetworkGraph.from_json(text)


def test_bombs_are_refused() -> None:
    with pytest.raises(GraphError, match=r"^graph file is not JSON: "):
        NetworkGraph.from_json("[" * 200_000)
    with pytest.raises(GraphError, match=r"^graph file is not JSON: "):
        NetworkGraph.from_json('{"graphws_graph": ' + "9" * 10_000 + "}")
    with pytest.raises(GraphError, match=r"^graph file: 67108865 characters, at most 67108864 are read$"):
        NetworkGraph.from_json(" " * ((64 << 20) + 1))
    chain = [{"name": "s0", "size": 2**40, "kind": "set"}]
    chain += [{"name": f"s{k}", "size": 2**40, "kind": "nested", "parent": f"s{k - 1}"} for k in range(1, 3000)]  # type: ignore[dict-item]
    with pytest.raises(GraphError, match=r"^space 's16' is nested more than 16 deep$"):
        NetworkGraph.from_json(json.dumps({"graphws_graph": 1, "spaces": chain}))


def test_too_many_constants_are_refused() -> None:
    quarter = base64.b64encode(bytes(16 << 20)).decode()
    entries = [{"name": f"c{k}", "dtype": "uint8", "shape": [16 << 20]} for k in range(5)]
    with pytest.raises(GraphError, match=r"^graph file: \d+ characters, at most 67108864 are read$"):
        NetworkGraph.from_json(_changed(constants=[{**entry, "data": quarter} for entry in entries]))
    numbers = {f"c{k}": torch.zeros(16 << 20, dtype=torch.uint8) for k in range(5)}
    with pytest.raises(GraphError, match=r"^the constants have 83886080 bytes, at most 67108864 are kept$"):
        NetworkGraph.from_json(_changed(constants=entries), numbers)


def test_many_spaces_are_read_in_no_time() -> None:
    spaces = tuple(Space(f"s{k}", 1) for k in range(5_000))
    graph = NetworkGraph(spaces, (Parameter("W", "s0"),))  # type: ignore[arg-type]
    assert NetworkGraph.from_json(graph.to_json()) == graph
