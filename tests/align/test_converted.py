"""Alignment and the moment-map test on networks that graphws cannot run itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from graphws.align import align, align_many, barrier, function_loss
from graphws.checkpoints.conversion import Conversion
from graphws.errors import VerificationError
from graphws.graph import Axis, NetworkGraph, Parameter, Space, Weights
from graphws.matching.scored_parameters import matching_view
from graphws.operations import measure_actions
from tests.align.cases import distance, network

conversion = pytest.importorskip("graphws_converters.modules.conversion")


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Residual(nn.Module):
    """A block with a norm and a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.norm, self.up = nn.Linear(5, 12), nn.LayerNorm(12), nn.Linear(12, 20)
        self.down, self.leave = nn.Linear(20, 12), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        out: Tensor = self.leave(x + self.down(torch.relu(self.up(self.norm(x)))))
        return out


def convolutions() -> tuple[nn.Module, Any]:
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 3, stride=2), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(54, 4)), (torch.randn(4, 3, 8, 8),)


def encoder() -> tuple[nn.Module, Any]:
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, dropout=0.0)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), (torch.randn(3, 5, 16),)


def grouped() -> tuple[nn.Module, Any]:
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=30, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config), {"input_ids": torch.randint(0, 30, (2, 6))}


def experts() -> tuple[nn.Module, Any]:
    transformers = pytest.importorskip("transformers")
    config = transformers.MixtralConfig(
        vocab_size=30, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, num_local_experts=4,
    )  # fmt: skip
    return transformers.MixtralForCausalLM(config), {"input_ids": torch.randint(0, 30, (2, 6))}


MAKERS: dict[str, Callable[[], tuple[nn.Module, Any]]] = {
    "residual block": lambda: (Residual(), (torch.randn(6, 5),)),
    "convolutions and batch norm": convolutions,
    "transformer encoder": encoder,
    "grouped queries": grouped,
    "experts": experts,
}
SLOW = {"grouped queries", "experts", "transformer encoder"}


def converted(name: str) -> tuple[Conversion, Weights]:
    torch.manual_seed(0)
    module, inputs = MAKERS[name]()
    module = module.double().eval()
    for tensor in module.parameters():
        nn.init.normal_(tensor, std=0.3)
    if isinstance(inputs, tuple):
        inputs = tuple(x.double() if x.is_floating_point() else x for x in inputs)
    found = conversion.convert_module(module, inputs, generator=rng())
    assert found.weights is not None
    return found, found.weights


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in MAKERS])
def test_a_moved_copy_of_a_converted_network_comes_back(name: str) -> None:
    found, weights = converted(name)
    for actions in ("permutation", "rich"):
        moved = found.graph.group().random(rng(1), actions=actions).act(weights)  # type: ignore[arg-type]
        aligned = align(weights, moved, generator=rng()).aligned
        for key, tensor in weights.items():
            gap = (tensor - aligned[key]).double().norm()
            assert gap <= 1e-9 * tensor.double().norm(), key


def test_many_converted_networks_and_the_barrier_between_two() -> None:
    found, weights = converted("residual block")
    copies = [weights] + [found.graph.group().random(rng(k), actions="rich").act(weights) for k in range(3)]
    assert distance(weights, align_many(copies, generator=rng()).aligned.select([2])) < 1e-9
    assert found.run is not None
    run = found.run

    def batched(w: Weights) -> Tensor:
        return run(w).unsqueeze(0)

    loss = function_loss(weights, copies[1], torch.zeros(0), batched)
    assert barrier(weights, copies[1], loss).height > 0.1
    attributed = align(weights, copies[1], method="attributions", run=run, generator=rng())
    assert barrier(weights, attributed.aligned, loss).height < 1e-9


@pytest.mark.parametrize("name", ["residual block", "convolutions and batch norm"])
def test_the_moment_map_test_runs_on_the_conversions_own_run(name: str) -> None:
    found, weights = converted(name)
    measured = measure_actions(found.graph, weights, generator=rng(), run=found.run)
    assert {m.verdict for m in measured} == {"confirmed"}


def test_runs_without_a_gradient_are_refused() -> None:
    found, weights = converted("residual block")
    assert found.run is not None
    run = found.run

    def detached(w: Weights) -> Tensor:
        return run(w.map(Tensor.detach))

    def running_statistics(w: Weights) -> Tensor:
        x = torch.ones(2, 3, dtype=torch.float64)
        mean = torch.cat([t.flatten() for _, t in w.items() if t.is_floating_point()])[:3]
        return nn.functional.batch_norm(x, mean, torch.ones_like(mean))

    reasons = {
        detached: "the outputs do not depend differentiably on the weights: nothing can be measured",
        running_statistics: "the network cannot be differentiated in its weights: ",
    }
    for wrong, reason in reasons.items():
        with pytest.raises(VerificationError, match=f"^{reason}"):
            measure_actions(found.graph, weights, generator=rng(), run=wrong)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["transformer encoder", "grouped queries"])
def test_the_moment_map_test_confirms_transformers(name: str) -> None:
    found, weights = converted(name)
    measured = measure_actions(found.graph, weights, generator=rng(), run=found.run, losses=2, disturbances=1)
    assert {m.verdict for m in measured} == {"confirmed", "plain"}


def test_axes_inside_a_parent_are_read_as_one_or_multiplied_away() -> None:
    spaces = (Space("e", 3), Space("h", 4, "nested", "e"), Space("q", 2, "nested", "e"), Space("d", 5))
    axes = {"U": "e d* ~h", "D": "e ~h* d", "G": "e d*", "V": "h d*", "O": "q ~h* d", "n": ""}
    graph = NetworkGraph(spaces, tuple(Parameter(n, a) for n, a in axes.items()))  # type: ignore[arg-type]
    weights = network(graph)
    view = matching_view(weights)
    names = [str(p) for p in view.graph.parameters]
    assert names == ["U[h, d*]", "D[h*, d]", "G[e, d*]", "V[h, d*]", "O|V[q, d, d*]"]
    blocks = weights["O"][0].reshape(3, 2, 4, 5), weights["V"][0].reshape(3, 4, 5)
    wanted = torch.einsum("eqhx,ehy->eqxy", *blocks).reshape(6, 5, 5)
    torch.testing.assert_close(view["O|V"][0], wanted)
    assert torch.equal(view["U"][0].reshape(3, 4, 5), weights["U"][0].transpose(1, 2))
    element = graph.group().random(rng())
    seen = matching_view(element.act(weights))
    for name, moved in type(element)(view.graph, element.maps).act(view).items():
        torch.testing.assert_close(seen[name], moved)
    plain = NetworkGraph(spaces, (Parameter("G", (Axis("e"), Axis("d", -1))),))
    assert matching_view(network(plain)).graph is plain
