"""Explanations agree with the layers that they explain, and read well."""

from __future__ import annotations

import doctest

import pytest

from graphws.errors import GraphError, UsageError
from graphws.layers import EquivariantLinear, Message, expand_blocks
from graphws.layers import explain as module
from graphws.layers.acting.neurons import stages
from graphws.layers.explain import explain
from graphws.layers.stage_explanation import explain_stage
from graphws.messages import FAMILIES
from graphws.operations import mlp_graph
from graphws.pooling import POOLINGS
from tests.layers.cases import GRAPHS, convolution, heads, residual

LAYERS: dict[str, dict[str, object]] = {
    "full": {},
    "diagonal": {"messages": expand_blocks(dict.fromkeys(FAMILIES, "diagonal"))},
    "no biases": {"bias": False},
    "shared by role": {"share": "role"},
    "attention": {"messages": expand_blocks(pool="attention"), "heads": 2},
    "shared attention": {"messages": expand_blocks(pool="attention"), "heads": 2, "share": "role"},
    "messages": {"messages": [Message(pool="max"), Message(pool="mean"), Message(("weight",), "edge", ("weight",))]},
    "nothing": {"messages": []},
}


@pytest.mark.parametrize(
    "name", ["mlp 2-3-3", "mlp 2-2-3-2-2", "mlp 2-1-3-2", "convolution", "residual 3", "heads 3x2"]
)
@pytest.mark.parametrize("options", LAYERS.values(), ids=LAYERS)
def test_the_count_is_that_of_the_layer(name: str, options: dict[str, object]) -> None:
    graph = GRAPHS[name]
    explanation = explain(graph, channels_in=2, channels_out=4, **options)  # type: ignore[arg-type]
    layer = EquivariantLinear(graph, 2, 4, **options)  # type: ignore[arg-type]
    assert explanation.parameters == sum(p.numel() for p in layer.parameters())
    assert explanation.bias_parameters == sum(p.numel() for p in layer.biases.values())
    if options.get("share") != "role":
        assert explanation.matrix_parameters == sum(block.parameters for block in explanation.blocks)
        assert explanation.bias_parameters == sum(explanation.biases)


def rule(graph: object, source: str, target: str) -> str:
    return explain(graph).block(source, target).rule  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("graph", "pair", "words"),
    [
        (mlp_graph([2, 8, 8, 1]), "b1 W3", "max over hidden1, broadcast over hidden2"),
        (
            mlp_graph([2, 8, 8, 1]),
            "W2 W2",
            "max over hidden2 and hidden1, broadcast over hidden2 and hidden1; "
            "for each hidden1: max over hidden2, broadcast over hidden2; "
            "for each hidden2: max over hidden1, broadcast over hidden1; for each hidden1 × hidden2: as it is",
        ),
        (mlp_graph([2, 8, 3]), "b2 b2", "as it is"),
        (mlp_graph([2, 8, 3]), "b1 W1", "max over hidden1, broadcast over hidden1; for each hidden1: as it is"),
        (
            residual(3),
            "A b",
            "max over d[1] and d[2], broadcast over d; take the entries with equal d, max over d, broadcast over d; "
            "for each d: max over d[2]; for each d: max over d[1]; for each d: take the entries with equal d",
        ),
        (
            heads(3, 2),
            "b b",
            "max over h and k, broadcast over h and k; for each h: max over k, broadcast over k; "
            "for each k in h: as it is",
        ),
        (convolution(), "b2 K2", "max over c2, broadcast over c2 and c1; for each c2: broadcast over c1"),
    ],
)
def test_rules_in_words(graph: object, pair: str, words: str) -> None:
    assert rule(graph, *pair.split()) == words


@pytest.mark.parametrize("pool", POOLINGS)
def test_rules_name_the_pooling(pool: str) -> None:
    block = explain(mlp_graph([2, 8, 8, 1]), expand_blocks(pool=pool)).block("b1", "W3")
    assert block.rule == f"{pool} over hidden1, broadcast over hidden2"


def test_a_transpose_is_told_from_a_copy() -> None:
    words = [one.words for one in explain(residual(4)).block("A", "A").maps if one.via == "edge"]
    assert words == ["for each d × d: as it is", "for each d × d: exchange axes"]


def test_levels_and_keys() -> None:
    block = explain(mlp_graph([2, 8, 8, 1])).block("W2", "W2")
    assert [(one.via, one.key) for one in block.maps] == [
        ("network", "network"),
        ("neuron", "hidden1"),
        ("neuron", "hidden2"),
        ("edge", "hidden1 × hidden2"),
    ]
    assert block.finest == "edge"


def test_a_block_that_is_off() -> None:
    block = explain(mlp_graph([2, 8, 8, 1]), expand_blocks({"bias_to_bias": "none"})).block("b1", "b2")
    assert (block.maps, block.parameters, block.finest, block.rule) == ((), 0, None, "nothing")


def test_plain_text() -> None:
    text = str(explain(mlp_graph([2, 8, 1]), expand_blocks(pool="mean"), 1, 3))
    assert (
        text
        == (
            "layer: 1 -> 3 channels, 138 parameters\n"
            "  123 in matrices, 15 in biases\n"
            "messages:\n"
            "  any -> edge (mean) -> any\n"
            "  any -> neuron (mean) -> any\n"
            "  any -> network (mean) -> any\n"
            "products (key: rows x columns):\n"
            "  network  5 x 15  [network]\n"
            "  hidden1  4 x 12  [hidden1]\n"
            "parameters of each block (from across, to down):\n"
            "      W1  b1  W2  b2  bias\n"
            "  W1  24  12  12   6    +6\n"
            "  b1  12   6   6   3    +3\n"
            "  W2  12   6   6   3    +3\n"
            "  b2   6   3   3   3    +3\n"
            "blocks:\n"
            "  W1 -> W1      12  mean over hidden1, broadcast over hidden1\n"
            "                12  for each hidden1: as it is\n"
        )
        + text.partition("for each hidden1: as it is\n")[2]
    )
    assert text.splitlines()[-1] == "  b2 -> b2       3  as it is"


def test_wrong_names() -> None:
    graph = mlp_graph([2, 8, 1])
    with pytest.raises(GraphError) as caught:
        explain(graph).block("W1", "W2b")
    assert str(caught.value) == "no parameter 'W2b' in this graph; did you mean 'W2'?"
    with pytest.raises(UsageError) as wrong:
        explain(graph, share="layer")
    assert str(wrong.value) == "share must be 'none' or 'role'; got 'layer'"


def test_the_example_in_the_docstring() -> None:
    assert doctest.testmod(module, raise_on_error=False).failed == 0


def test_what_weights_carry_is_listed() -> None:
    messages = [
        Message(("any",), "neuron", ("neuron",), "mean"),
        Message(("neuron",), "weight", ("neuron",)),
        Message(("neuron",), "weight", ("weight",)),
    ]
    graph = residual(3)
    text = str(explain_stage(stages([graph], messages, 2, networks=False)[1], [graph], messages, (2, 2)))
    assert text[text.index("weights act:") :].splitlines() == [
        "weights act:",
        "  @d -> @d       4  A carries d[2] to d[1]",
        "  @d -> @d       4  A carries d[1] to d[2]",
        "  @d -> W       16  entries of W times d",
        "  @d -> A        4  entries of A times d[1]",
        "  @d -> A        4  entries of A times d[2]",
        "  @d -> A        4  d[1] times d[2] onto A",
        "  @d -> A        4  d[1] times d[2] onto A",
    ]
    assert ", 40 in what weights carry" in text
    assert "  neuron -> weight -> weight" in text.splitlines()
