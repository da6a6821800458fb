from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphws.errors import GraphError
from graphws.graph import Action, Axis, NetworkGraph, Operation, Parameter, Space
from graphws.operations import mlp_graph
from tests.graph import samples

GRAPHS = [
    samples.heads(),
    samples.rich_mlp(),
    mlp_graph([2, 3], bias=False, output_activation="tanh"),
    NetworkGraph((), ()),
]


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_graph_comes_back_from_its_text(graph: NetworkGraph) -> None:
    assert NetworkGraph.from_json(graph.to_json()) == graph
    assert NetworkGraph.from_json(graph.to_json()).to_json() == graph.to_json()


NAMES = st.text(st.characters(categories=["L", "N"], include_characters="_.-/"), min_size=1, max_size=6)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
ATTRIBUTES = st.dictionaries(TEXTS, st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False))


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
    operation = Operation(draw(TEXTS), ("in",), ("out",), draw(ATTRIBUTES))  # type: ignore[arg-type]
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
    document = json.loads(samples.heads().to_json())
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
        (_changed(graphws_graph=2), "graph file of format 2; this version reads format 1"),
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
            _one({"storage": {"key": "w", "shape": [3], "block": [1]}}),
            "graph file, parameter 0, storage: 'block' must be a list of [start, stop], got [1]",
        ),
        (
            _changed(operations=[{"kind": "relu", "inputs": [], "outputs": [], "attributes": {"a": []}}]),
            "graph file, operation 0: 'attributes' must map names to numbers or texts",
        ),
        (
            _changed(operations=[{"kind": "relu", "inputs": [], "outputs": [], "attributes": {"a": float("inf")}}]),
            "operation 'relu': attribute 'a' must be finite, got inf",
        ),
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


def test_many_spaces_are_read_in_no_time() -> None:
    spaces = tuple(Space(f"s{k}", 1) for k in range(5_000))
    graph = NetworkGraph(spaces, (Parameter("W", "s0"),))  # type: ignore[arg-type]
    assert NetworkGraph.from_json(graph.to_json()) == graph
