"""Models of Hugging Face: each gets its group, verified; without weights it gets the same graph."""

from __future__ import annotations

import pytest
import torch

from graphws_converters.modules.conversion import convert_module
from tests.converters.hugging_face import GROUPS, MODELS, build
from tests.graph import samples

pytest.importorskip("transformers")


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_each_model_gets_its_group_verified(name: str) -> None:
    model, inputs, output = build(name)
    result = convert_module(model, inputs, generator=torch.Generator().manual_seed(1))
    assert result.verification is not None, result.verdict
    assert result.outputs is None or output in result.outputs.counted
    assert result.verification.error < 1e-6, "some norms compute in float32 whatever they are given"
    assert result.verification.control > 1e-3
    assert " · ".join(result.graph.group().factors) == GROUPS[name]
    assert not any(note.startswith("no rule") for note in result.notes)
    assert result.runs is not None
    assert result.runs.error is not None, result.runs.reason
    assert (result.runs.error < 1e-6, result.runs.batch) == (True, "any"), "some norms compute in float32, too"
    assert result.weights is not None
    state, back = model.state_dict(), result.weights.to_state_dict()
    assert sorted(state) == sorted(back)
    assert all(samples.bits(back[key], value) for key, value in state.items())


def test_a_model_without_weights_gets_the_same_graph() -> None:
    model, inputs, _ = build("Llama, grouped queries")
    known = convert_module(model, inputs, generator=torch.Generator().manual_seed(1))
    with torch.device("meta"):
        empty, inputs, _ = MODELS["Llama, grouped queries"]()
        inputs = {name: torch.empty_like(x, device="meta") for name, x in inputs.items()}
    result = convert_module(empty.eval(), inputs, generator=torch.Generator())
    assert result.verdict == "UNVERIFIED (the weights are on the meta device: there are no numbers)"
    assert result.graph.spaces == known.graph.spaces
    assert result.graph.parameters == known.graph.parameters


def test_heads_experts_and_residual_streams_are_told_apart() -> None:
    model, inputs, _ = build("Mixtral")
    graph = convert_module(model, inputs, generator=torch.Generator().manual_seed(1)).graph
    gate = graph.parameter("model.layers.0.mlp.gate.weight")
    experts, stream = gate.spaces
    assert graph.space(experts).size == 4
    assert graph.space(stream).role == "residual"
    up, down = (graph.parameter(f"model.layers.0.mlp.experts.{name}") for name in ("gate_up_proj[0]", "down_proj"))
    assert experts in up.spaces
    assert experts in down.spaces
    value = graph.parameter("model.layers.0.self_attn.v_proj.weight")
    assert graph.space(value.spaces[0]).parent == graph.parameter("model.layers.0.self_attn.k_proj.weight").spaces[0]
    assert str(graph.space(value.spaces[0]).action) == "linear"
