"""Statistics of norms measured anew, beside PyTorch's own modules."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import graphws
from graphws.align import Remeasured, average, barrier, compare, function_loss, merge_many, remeasure
from graphws.align.statistics import other_buffers, running_norms
from graphws.align.stored_entries import StoredEntries
from graphws.errors import DataError, GraphError
from graphws.graph import Operation, Weights
from graphws.operations import forward, mlp_graph
from tests.align.cases import network


class Concatenated(nn.Module):
    """A norm over the channels of two layers: its statistics are stored side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.norm, self.leave = (
            nn.Conv2d(1, 4, 3),
            nn.Conv2d(4, 6, 1),
            nn.BatchNorm2d(10),
            nn.Linear(10, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x).relu()
        out: Tensor = self.leave(self.norm(torch.cat([h, self.b(h).relu()], 1)).mean((2, 3)))
        return out


class Residual(nn.Module):
    """Two blocks with norms around one stream."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.first = nn.Conv2d(1, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.inner, self.second = nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.leave = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(self.enter(x)).relu()
        x = (x + self.second(self.inner(x))).relu()
        out: Tensor = self.leave(x.mean((2, 3)))
        return out


def convolutions() -> nn.Module:
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5, affine=False)]
    return nn.Sequential(*layers, nn.ReLU(), nn.Flatten(), nn.BatchNorm1d(80), nn.Linear(80, 3))


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 3))


MODULES = {"convolutions": convolutions, "concatenated": Concatenated, "residual": Residual, "perceptron": perceptron}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def points(name: str, count: int = 60) -> Tensor:
    shape = (count, 8) if name == "perceptron" else (count, 1, 8, 8)
    return torch.randn(*shape, generator=rng(3), dtype=torch.float64) * 2 + 1


def module(name: str, seed: int = 0) -> nn.Module:
    """With statistics that fit nothing."""
    torch.manual_seed(seed)
    made = MODULES[name]().double().eval()
    for key, tensor in made.state_dict().items():
        if tensor.is_floating_point() and tensor.ndim == 1:
            tensor.copy_(torch.rand_like(tensor) + 0.5 if "bias" not in key else torch.randn_like(tensor))
    return made


def weights_of(made: nn.Module, x: Tensor) -> Weights:
    found = graphws.convert(made, x[:2]).weights
    assert found is not None
    return found


def loaded(made: nn.Module, weights: Weights) -> nn.Module:
    copied = copy.deepcopy(made)
    copied.load_state_dict(made.state_dict() | weights.to_state_dict())
    return copied


def gaps(made: nn.Module, x: Tensor) -> list[float]:
    """How far each norm's statistics are from what reaches it, in PyTorch, over the spread of that."""
    found: list[float] = []

    def look(norm: nn.Module, given: tuple[Tensor]) -> None:
        rows = given[0].transpose(0, 1).flatten(1)
        found.append(float((rows.mean(1) - norm.running_mean).abs().max()))
        found.append(float((rows.var(1) - norm.running_var).abs().max()))

    for each in made.modules():
        if isinstance(each, nn.BatchNorm1d | nn.BatchNorm2d):
            each.register_forward_pre_hook(look)
    with torch.no_grad():
        made(x)
    return found


@pytest.mark.parametrize("name", MODULES)
def test_each_norm_holds_the_statistics_of_what_reaches_it(name: str) -> None:
    made, x = module(name), points(name)
    weights = weights_of(made, x)
    assert min(gaps(copy.deepcopy(made), x)) > 1e-2  # control: before
    measured = remeasure(weights, x)
    assert max(gaps(loaded(made, measured), x)) < 1e-12
    for key, tensor in measured.to_state_dict().items():  # nothing else changes
        assert "running" in key or torch.equal(tensor, made.state_dict()[key])
    assert remeasure(weights.to(dtype=torch.float32), x).dtype == torch.float32


def test_the_first_norm_agrees_with_training_in_pytorch() -> None:
    made, x = module("perceptron"), points("perceptron")
    measured = remeasure(weights_of(made, x), x).to_state_dict()
    norm = made[1]  # type: ignore[index]
    norm.reset_running_stats()
    norm.momentum = None
    made.train()(x)
    torch.testing.assert_close(measured["1.running_mean"], norm.running_mean)
    torch.testing.assert_close(measured["1.running_var"], norm.running_var)


def test_a_norm_that_is_used_twice_holds_the_mean_of_both() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.norm = nn.Linear(8, 5), nn.Linear(5, 5), nn.BatchNorm1d(5)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.norm(self.b(self.norm(self.a(x)).relu()))
            return out.sum(1, keepdim=True)

    torch.manual_seed(0)
    made, x = Twice().double().eval(), points("perceptron")
    measured = remeasure(weights_of(made, x), x).to_state_dict()
    first = made.a(x)
    scaled = (first - first.mean(0)) / (first.var(0) + 1e-5).sqrt()
    second = made.b(scaled.relu())
    torch.testing.assert_close(measured["norm.running_mean"], (first.mean(0) + second.mean(0)) / 2)
    torch.testing.assert_close(measured["norm.running_var"], (first.var(0) + second.var(0)) / 2)


def test_an_instance_norm_takes_the_mean_over_samples() -> None:
    torch.manual_seed(0)
    norm = nn.InstanceNorm2d(4, track_running_stats=True)
    made = nn.Sequential(nn.Conv2d(1, 4, 3), norm, nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)).double().eval()
    x = points("convolutions", 6)
    measured = remeasure(weights_of(made, x), x).to_state_dict()
    rows = made[0](x).flatten(2)
    torch.testing.assert_close(measured["1.running_mean"], rows.mean(2).mean(0))
    torch.testing.assert_close(measured["1.running_var"], rows.var(2).mean(0))


def test_networks_without_statistics_come_back_as_they_are() -> None:
    graph = mlp_graph([8, 5, 3], "relu")
    weights = network(graph)
    assert remeasure(weights, points("perceptron")) is weights
    assert not running_norms(graph)
    layered = nn.Sequential(nn.Linear(8, 6), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 2)).double()
    assert not running_norms(weights_of(layered, points("perceptron")).graph)


def test_many_networks_at_once() -> None:
    made = [module("residual", seed) for seed in (0, 1)]
    x = points("residual")
    single = [weights_of(each, x) for each in made]
    both = remeasure(Weights.cat(single), x)
    for k in range(2):
        assert torch.equal(both.select([k]).flatten(), remeasure(single[k], x).flatten())


def test_a_barrier_measures_statistics_anew_between_the_ends_only() -> None:
    x = points("convolutions")
    a, b = (weights_of(module("convolutions", seed), x) for seed in (0, 1))
    a, b = remeasure(a, x), remeasure(b, x)
    loss = function_loss(a, b, x)
    plain, cured = barrier(a, b, loss, 5), barrier(a, b, loss, 5, Remeasured(x))
    assert plain.losses[0] == cured.losses[0]
    assert plain.losses[-1] == cured.losses[-1]
    assert cured.middle == pytest.approx(float(loss(remeasure(average(Weights.cat([a, b])), x))[0]))
    assert abs(cured.middle - plain.middle) > 1e-3  # control


def test_the_comparison_measures_them_and_says_so() -> None:
    made, x = module("convolutions"), points("convolutions")
    a, b = (weights_of(module("convolutions", seed), x) for seed in (0, 1))
    found = compare(a, b, inputs=x, generator=rng())
    assert found.notes[0] == "the statistics of 3 norms in the merged network were measured anew"
    assert found.merged is not None
    assert max(gaps(loaded(made, found.merged), x)) < 1e-12
    assert found.after is not None
    loss = function_loss(a, b, x)
    assert found.after.middle == pytest.approx(float(loss(found.merged)[0]))
    plain = average(Weights.cat([a, found.alignment.aligned]))
    assert found.uncorrected == pytest.approx(float(loss(plain)[0]))
    other = points("convolutions", 30) - 2
    elsewhere = compare(a, b, inputs=x, generator=rng(), statistics=other)
    assert elsewhere.merged is not None
    assert max(gaps(loaded(made, elsewhere.merged), other)) < 1e-12


def test_without_data_the_result_does_not_hide_them() -> None:
    x = points("convolutions")
    a, b = (weights_of(module("convolutions", seed), x) for seed in (0, 1))
    hidden = (
        "the statistics of 3 norms in the merged network are means of the networks' own, which belong to none of them: "
        "measure them anew over some inputs (--statistics FILE) before it is used"
    )
    assert compare(a, b, generator=rng()).notes[0] == hidden
    assert merge_many(Weights.cat([a, b]), generator=rng()).notes[0] == hidden
    given = merge_many(Weights.cat([a, b]), generator=rng(), statistics=x)
    assert given.notes[0] == "the statistics of 3 norms in the merged network were measured anew"
    assert max(gaps(loaded(module("convolutions"), given.merged), x)) < 1e-12
    bare = Weights(replace(a.graph, operations=()), a.tensors), Weights(replace(b.graph, operations=()), b.tensors)
    (said, _) = compare(*bare, generator=rng()).notes
    assert said == (
        "1.running_mean and 5 more: stored, not trained, averaged as they are; the graph cannot be run to measure them "
        "anew"
    )


def test_many_networks_are_merged_with_statistics_of_their_own() -> None:
    x = points("residual")
    many = Weights.cat([weights_of(module("residual", seed), x) for seed in range(3)])
    found = merge_many(many, generator=rng(), inputs=x)
    assert found.notes[0] == "the statistics of 2 norms in the merged network were measured anew"
    assert max(gaps(loaded(module("residual"), found.merged), x)) < 1e-12
    assert found.uncorrected is not None


def test_what_was_asked_for_in_vain_is_said() -> None:
    graph, x = mlp_graph([8, 5, 3], "relu"), points("perceptron")
    said = "no norm of these networks is known to hold statistics: none were measured anew"
    a, b = network(graph, 1), network(graph, 2)
    assert compare(a, b, statistics=x, generator=rng()).notes[0] == said
    assert merge_many(Weights.cat([a, b]), statistics=x, generator=rng()).notes[0] == said
    assert said not in compare(a, b, inputs=x, generator=rng()).notes


def test_too_few_inputs_are_refused() -> None:
    weights = weights_of(module("perceptron"), points("perceptron"))
    with pytest.raises(DataError, match=r"^1 number for each channel of \w+: statistics need two$"):
        remeasure(weights, points("perceptron", 1))
    with pytest.raises(GraphError, match=r"got 2 inputs, this graph reads 1"):
        remeasure(weights, (points("perceptron"), points("perceptron")))


def test_an_operand_that_is_computed_is_not_taken_for_stored_entries() -> None:
    graph = mlp_graph([3, 4, 2], "relu")
    for kind, wanted in (("identity", True), ("neg", False), ("exp", False), ("square", False)):
        steps = (Operation(kind, ("b1",), ("moved",)), *graph.operations)
        found = StoredEntries.of(replace(graph, operations=steps), "moved")
        assert (found is not None) is wanted, kind
    plain = StoredEntries.of(graph, "W2")
    assert plain is not None
    tensors = {"W2": torch.zeros(2, 4)}
    value = torch.arange(8.0).reshape(2, 4)
    plain.write(tensors, value)
    assert torch.equal(tensors["W2"], value)
    assert StoredEntries.of(graph, "x0") is None


def test_statistics_that_are_stored_with_a_scale_are_left_alone() -> None:
    """Files that store equal tensors once: a norm's bias is its mean, and its scale its variance."""
    made, x = module("perceptron"), points("perceptron")
    weights = weights_of(made, x)
    assert len(running_norms(weights.graph)) == 1
    steps = tuple(
        replace(
            step, inputs=tuple({"1.running_mean": "1.bias", "1.running_var": "1.weight"}.get(n, n) for n in step.inputs)
        )
        for step in weights.graph.operations
    )
    graph = replace(weights.graph, operations=steps)
    shared = Weights(graph, weights.tensors)
    assert not running_norms(graph)
    assert remeasure(shared, x) is shared
    said = "the statistics of 1 norm are stored together with other numbers: they are averaged as they are"
    assert said in compare(shared, shared, inputs=x, statistics=x, generator=rng()).notes
    assert said not in compare(weights, weights, inputs=x, statistics=x, generator=rng()).notes


def test_other_stored_numbers_that_differ_are_named() -> None:
    class Frozen(nn.Module):
        """Statistics that no norm holds."""

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(8, 5), nn.Linear(5, 2)
            self.register_buffer("level", torch.rand(5))

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.b((self.a(x) - self.level).relu())
            return out

    x = points("perceptron")
    torch.manual_seed(0)
    a, b = (weights_of(Frozen().double(), x) for _ in range(2))
    assert other_buffers(a.graph) == ["level"]
    said = "level: stored, not trained, averaged as they are; no statistics of a known norm"
    assert said in compare(a, b, inputs=x, generator=rng()).notes
    assert said not in compare(a, a, inputs=x, generator=rng()).notes
    torch.testing.assert_close(forward(a.graph, a, x), forward(a.graph, remeasure(a, x), x))
