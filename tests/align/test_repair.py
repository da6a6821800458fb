"""Neurons of merged networks rescaled, beside PyTorch's own modules."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import graphws
from graphws.align import align, average, compare, merge_many, repair
from graphws.align.repair import repairable_layers
from graphws.errors import UsageError
from graphws.graph import Weights
from graphws.operations import mlp_graph
from tests.align.cases import network


class Tied(nn.Module):
    """A layer that is used twice, and one whose output is the network's."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.leave = nn.Linear(8, 6), nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.leave(self.b(self.b(self.a(x).relu()).relu()))
        return out


class Transposed(nn.Module):
    """A weight that is read once more, turned."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.leave = nn.Linear(8, 6), nn.Linear(8, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.leave(self.b((self.a(x).tanh() @ self.a.weight).tanh()).relu())
        return out


def convolutions() -> nn.Module:
    layers = [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3, groups=2), nn.GELU(), nn.ConvTranspose2d(6, 5, 2)]
    return nn.Sequential(*layers, nn.Tanh(), nn.Flatten(), nn.Linear(125, 3))


def normed() -> nn.Module:
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(80, 3))


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 7, bias=False), nn.ReLU(), nn.Linear(7, 3))


def layered() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 12), nn.LayerNorm(12), nn.GELU(), nn.Linear(12, 9), nn.Tanh(), nn.Linear(9, 2))


MODULES = {
    "convolutions": (convolutions, ["0", "2", "4"]),
    "normed": (normed, ["3"]),
    "perceptron": (perceptron, ["0", "2"]),
    "layered": (layered, ["0", "3"]),
    "tied": (Tied, ["a"]),
    "transposed": (Transposed, ["b"]),
}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def points(name: str) -> Tensor:
    shape = (50, 1, 8, 8) if name in ("convolutions", "normed") else (50, 8)
    return torch.randn(*shape, generator=rng(3), dtype=torch.float64) + 0.5


def module(name: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return MODULES[name][0]().double().eval()


def weights_of(made: nn.Module, x: Tensor) -> Weights:
    found = graphws.convert(made, x[:2]).weights
    assert found is not None
    return found


def moments(made: nn.Module, x: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and spread of each layer's neurons, in PyTorch; without a bias 0 and the root mean square."""
    found = {}

    def look(name: str, bias: bool, axis: int, out: Tensor) -> None:
        rows = out.detach().movedim(axis, 0).flatten(1)
        found[name] = (rows.mean(1), rows.std(1, unbiased=False)) if bias else (
            torch.zeros(len(rows), dtype=rows.dtype), rows.square().mean(1).sqrt())  # fmt: skip

    for name, each in made.named_modules():
        if isinstance(each, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            axis = -1 if isinstance(each, nn.Linear) else 1
            each.register_forward_hook(
                lambda _, __, out, name=name, bias=each.bias is not None, axis=axis: look(name, bias, axis, out)
            )
    made(x)
    return found


def loaded(made: nn.Module, weights: Weights) -> nn.Module:
    copied = copy.deepcopy(made)
    copied.load_state_dict(made.state_dict() | weights.to_state_dict())
    return copied


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("share", [0.5, 0.2])
def test_neurons_have_the_mean_and_spread_that_they_have_in_the_parts(name: str, share: float) -> None:
    made, x = [module(name, seed) for seed in (0, 1)], points(name)
    parts = [weights_of(each, x) for each in made]
    assert len(repairable_layers(parts[0].graph)) == len(MODULES[name][1])
    mixed = Weights(parts[0].graph, {n: torch.lerp(t, parts[1][n], 1 - share) if t.is_floating_point() else t
                                     for n, t in parts[0].items()})  # fmt: skip
    repaired = repair(mixed, parts, [share, 1 - share], x)
    both = [moments(copy.deepcopy(each), x) for each in made]
    seen, before = (moments(loaded(made[0], w), x) for w in (repaired, mixed))
    for layer in MODULES[name][1]:
        for k in range(2):
            wanted = share * both[0][layer][k] + (1 - share) * both[1][layer][k]
            torch.testing.assert_close(seen[layer][k], wanted, rtol=1e-9, atol=1e-9)
        assert float((before[layer][1] - wanted).abs().max()) > 1e-3  # control
    last = [
        key
        for key in made[0].state_dict()
        if key.startswith(("leave", "7", "6") if name not in ("tied", "transposed") else "leave")
    ]
    for key in last:
        assert torch.equal(repaired.to_state_dict()[key], mixed.to_state_dict()[key])


def test_a_network_merged_with_itself_stays() -> None:
    x = points("convolutions")
    a = weights_of(module("convolutions"), x)
    repaired = repair(a, [a, a], [0.5, 0.5], x)
    for name, tensor in a.items():
        torch.testing.assert_close(repaired[name], tensor, rtol=1e-9, atol=1e-12)


def test_a_neuron_that_does_not_vary_is_left_alone() -> None:
    graph, x = mlp_graph([8, 12, 3], "relu"), points("perceptron")
    a = network(graph)
    opposite = Weights(graph, {n: -t if n == "W1" else t for n, t in a.items()})
    mean = average(Weights.cat([a, opposite]))  # weights that cancel: what comes is the bias
    repaired = repair(mean, [a, opposite], [0.5, 0.5], x)
    assert bool(repaired.flatten().isfinite().all())
    assert float(repaired["W1"].abs().max()) == 0


def test_the_comparison_and_the_mean_of_many_take_it() -> None:
    graph, x = mlp_graph([8, 12, 12, 3], "relu"), points("perceptron")
    a, b = network(graph, 1), network(graph, 2)
    found = compare(a, b, inputs=x, rescale=True, generator=rng())
    said = (
        "the neurons of 2 layers in the merged network were rescaled to the mean and spread that they have in the "
        "networks"
    )
    assert found.notes[0] == said
    aligned = found.alignment.aligned
    assert found.merged is not None
    wanted = repair(average(Weights.cat([a, aligned])), [a, aligned], [0.5, 0.5], x)
    assert torch.equal(found.merged.flatten(), wanted.flatten())
    many = Weights.cat([a, b, network(graph, 3)])
    assert merge_many(many, inputs=x, rescale=True, generator=rng()).notes[0] == said
    for call in (lambda: compare(a, b, rescale=True), lambda: merge_many(many, rescale=True, generator=rng())):
        with pytest.raises(UsageError, match=r"^neurons are rescaled to what they carry on some inputs: give inputs$"):
            call()


def test_aligned_copies_need_no_repair() -> None:
    graph, x = mlp_graph([8, 12, 12, 3], "relu"), points("perceptron")
    first = network(graph)
    aligned = align(first, graph.group().random(rng(), actions="rich").act(first), generator=rng()).aligned
    mean = average(Weights.cat([first, aligned]))
    torch.testing.assert_close(repair(mean, [first, aligned], [0.5, 0.5], x).flatten(), first.flatten())
