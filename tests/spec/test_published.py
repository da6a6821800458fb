"""``kind: dwsnet-published`` in specs: what is refused, sizes, and the explanation of its layers."""

from __future__ import annotations

import pytest

from graphws.models import PublishedDWSNet
from graphws.operations import mlp_graph
from graphws.report.block_matrix import draw_block_matrix
from graphws.runtime.model_explanation import explain_model
from graphws.spec import EquivariantHead, InvalidSpec, InvariantHead, PublishedModel, load_spec, parse_spec

GRAPH = mlp_graph([6, 5, 4, 3])
NUMBERS = InvariantHead(kind="invariant", outputs=3)
TEXT = "graphws: 1\ninput: {kind: mlp, widths: [6, 5, 4, 3]}\nhead: {kind: invariant, outputs: 3}\n"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("channels: 12", "model.heads is 8, which does not divide 12 channels; possible: 1, 2, 3, 4, 6, 12"),
        (
            "blocks: {weight_to_weight: none, weight_to_bias: none, bias_to_weight: none, bias_to_bias: none}",
            "model.blocks are all none: the layers would carry nothing",
        ),
        ("reduce: {input: 7}", "model.reduce.input is 7, wider than the space, which has 6"),
        (
            "reduce: {hidden1: 2}",
            "model.reduce.hidden1: the space 'hidden1' is permuted and cannot be reduced; free spaces: input, output",
        ),
        ("norm: layer", "model.norm must be 'batch' or 'none', got 'layer'"),
        ("set_layer: sab", "model.set_layer must be 'attention' or 'deepsets', got 'sab'"),
        ("symmetry: rich", "unknown key 'symmetry' in model"),
    ],
)
def test_mistakes_are_found_before_any_work(model: str, said: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_spec(f"{TEXT}model: {{kind: dwsnet-published, {model}}}\n")
    assert said in str(caught.value)


def test_deepsets_have_no_heads() -> None:
    parse_spec(f"{TEXT}model: {{kind: dwsnet-published, channels: 12, set_layer: deepsets}}\n")


def test_a_size_is_chosen_by_channels_of_a_head() -> None:
    section = PublishedModel(kind="dwsnet-published", layers=2, heads=2)
    sized = section.sized(GRAPH, NUMBERS, 20_000)
    assert sized.channels % 2 == 0
    wider = sized.model_copy(update={"channels": sized.channels + 2})
    assert sized.parameters(GRAPH, NUMBERS) <= 20_000 < wider.parameters(GRAPH, NUMBERS)
    assert isinstance(sized.build(GRAPH, NUMBERS), PublishedDWSNet)


@pytest.mark.parametrize("reduce", ["none", {"input": 2, "output": 2}])
@pytest.mark.parametrize("set_layer", ["attention", "deepsets"])
@pytest.mark.parametrize("head", [NUMBERS, EquivariantHead(kind="equivariant", networks=2)])
def test_layers_are_explained_with_all_their_parameters(
    reduce: str | dict[str, int], set_layer: str, head: InvariantHead | EquivariantHead
) -> None:
    section = PublishedModel(
        kind="dwsnet-published", layers=3, channels=8, heads=4, set_layer=set_layer, reduce=reduce  # type: ignore[arg-type]
    )  # fmt: skip
    model = section.build(GRAPH, head)
    assert isinstance(model, PublishedDWSNet)
    for layer, explained in zip(model.layers, section.explanations((GRAPH,), head), strict=True):
        assert sum(p.numel() for p in layer.parameters()) == explained.parameters
        pairs = sum(block.parameters for block in explained.blocks)
        assert pairs == explained.parameters - explained.free_parameters


def test_an_explanation_says_what_each_pair_does() -> None:
    section = PublishedModel(kind="dwsnet-published", heads=4, channels=8)
    layers = section.explanations((GRAPH,), NUMBERS)
    second = layers[1]
    assert second.block("W2", "b1").rule == "attention among hidden1, 4 heads; for each hidden1: max over hidden2"
    assert second.block("W1", "b2").rule == "max over hidden1, broadcast over hidden2"
    assert len(second.block("W2", "W2").maps) == 4
    assert "one head" in layers[-1].block("b1", "b1").rule
    text = str(second)
    assert "in set layers" in text
    assert "messages:" not in text
    assert "products" not in text
    draw_block_matrix(second)


def test_the_shipped_parent_is_what_the_paper_says() -> None:
    spec = load_spec("base/dwsnet-published")
    assert isinstance(spec.model, PublishedModel)
    head = InvariantHead(kind="invariant", outputs=10)
    assert spec.model.parameters(mlp_graph([2, 32, 32, 1]), head) == 552_650


def test_the_paper_s_row_of_sine_waves_has_the_paper_s_parameters() -> None:
    spec = load_spec("sine-frequency")
    assert isinstance(spec.model, PublishedModel)
    assert spec.head is not None
    assert spec.model.parameters(mlp_graph([1, 32, 32, 1], "sine"), spec.head) == 15_057


def test_explain_counts_the_parts() -> None:
    found = explain_model(parse_spec(f"{TEXT}model: {{kind: dwsnet-published, reduce: {{input: 2}}}}\n"))
    assert [part.name for part in found.parts] == ["layers", "norms", "head"]
    assert found.reductions == ("input: mapped to 2 and back in every layer",)
    assert sum(layer.parameters for layer in found.layers) == found.parts[0].parameters
